//! Consumer groups: which there are, who is in them.

use std::ffi::c_char;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::super::client::Client;
use super::super::error::{About, Trouble};
use super::super::partitions;
use super::super::queue::Event;
use super::super::sys::{
    self, rd_kafka_ConsumerGroupDescription_t, rd_kafka_MemberDescription_t, rd_kafka_admin_op_t,
    rd_kafka_consumer_group_state_t,
};
use super::{Options, all_well, array, c_text, trouble};
use crate::broker::Result;
use crate::event::Name;

/// So many groups are asked about at a time.
const AT_ONCE: usize = 16;

/// A group as it stands in the list of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// `Stable`, `Empty`, ...: the broker's word.
    pub state: String,
}

/// A group and its members.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Why nothing more is known.
    pub trouble: Option<Trouble>,
    /// Who is at work.
    pub members: Vec<Member>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What its program calls itself.
    pub client: String,
    /// Where it is, such as `/10.0.0.7`.
    pub host: String,
    /// Its partitions.
    pub partitions: Vec<(Name, i32)>,
}

impl Client {
    /// All groups that we may see.
    pub async fn all_groups(&self, about: &About) -> Result<Vec<Group>> {
        let call = |options: &Options, queue| {
            // SAFETY: all live during the call.
            unsafe { sys::rd_kafka_ListConsumerGroups(self.raw(), options.raw(), queue) }
        };
        // SAFETY: the answer to this request, which lives until the event goes; all is copied.
        let read = |event: &Event| unsafe {
            let result = sys::rd_kafka_event_ListConsumerGroups_result(event.raw());
            let (mut valid, mut errors) = (0, 0);
            let first = sys::rd_kafka_ListConsumerGroups_result_errors(result, &mut errors);
            // A list with a broker's groups missing would be taken for the whole.
            all_well(array(first, errors).iter().map(|error| trouble(*error)))?;
            let first = sys::rd_kafka_ListConsumerGroups_result_valid(result, &mut valid);
            let read = |group: &*const _| Group {
                name: sys::text(sys::rd_kafka_ConsumerGroupListing_group_id(*group)),
                state: state(sys::rd_kafka_ConsumerGroupListing_state(*group)),
            };
            Ok(array(first, valid).iter().map(read).collect())
        };
        self.ask(about, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, call, read).await
    }

    /// These groups and their members, in the order given.
    pub async fn describe_groups(
        &self,
        about: &About,
        groups: &[impl AsRef<str>],
    ) -> Result<Vec<Description>> {
        let groups = groups.iter().map(AsRef::as_ref);
        let all = groups.map(|group| self.describe_group(about, group));
        stream::iter(all.collect::<Vec<_>>()).buffered(AT_ONCE).try_concat().await
    }

    /// One of them: each has a coordinator of its own, and where the library cannot find that, all brokers are asked.
    async fn describe_group(&self, about: &About, group: &str) -> Result<Vec<Description>> {
        let name = c_text(group);
        let call = |options: &Options, queue| {
            let mut first: *const c_char = name.as_ptr();
            // SAFETY: all live during the call, which copies the name.
            unsafe { sys::rd_kafka_DescribeConsumerGroups(self.raw(), &mut first, 1, options.raw(), queue) }
        };
        // SAFETY: the answer to this request, which lives until the event goes; all is copied.
        let read = |event: &Event| unsafe {
            let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.raw());
            let mut count = 0;
            let first = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
            let groups: Vec<_> = array(first, count).iter().map(|group| read_group(*group)).collect();
            all_well(groups.iter().map(|group| group.trouble.clone().filter(Trouble::is_busy)))?;
            Ok(groups)
        };
        self.ask(about, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, call, read).await
    }

    /// Deletes a group that nobody is a member of, and all that it committed.
    pub async fn delete_group(&self, about: &About, group: &str) -> Result<()> {
        let name = c_text(group);
        let call = |options: &Options, queue| {
            // SAFETY: all live during the call, which copies the request.
            unsafe {
                let mut old = sys::rd_kafka_DeleteGroup_new(name.as_ptr());
                sys::rd_kafka_DeleteGroups(self.raw(), &mut old, 1, options.raw(), queue);
                sys::rd_kafka_DeleteGroup_destroy(old);
            }
        };
        // SAFETY: the answer to this request, which lives until the event goes.
        let read = |event: &Event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteGroups_result(event.raw());
            let results = array(sys::rd_kafka_DeleteGroups_result_groups(result, &mut count), count);
            all_well(results.iter().map(|group| trouble(sys::rd_kafka_group_result_error(*group))))
        };
        let node = self.coordinator(about, group).await?;
        let op = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS;
        self.ask_first(node, about, op, call, read).await.map(|(done, _)| done)
    }
}

/// The library's word for a state.
fn state(state: rd_kafka_consumer_group_state_t) -> String {
    // SAFETY: a static text.
    unsafe { sys::text(sys::rd_kafka_consumer_group_state_name(state)) }
}

/// # Safety
/// `group` must be live.
unsafe fn read_group(group: *const rd_kafka_ConsumerGroupDescription_t) -> Description {
    // SAFETY: the caller's; there are as many members as it says.
    unsafe {
        let members = sys::rd_kafka_ConsumerGroupDescription_member_count(group);
        let member = |i| read_member(sys::rd_kafka_ConsumerGroupDescription_member(group, i));
        Description {
            name: sys::text(sys::rd_kafka_ConsumerGroupDescription_group_id(group)),
            trouble: trouble(sys::rd_kafka_ConsumerGroupDescription_error(group)),
            members: (0..members).map(member).collect(),
        }
    }
}

/// # Safety
/// `member` must be live.
unsafe fn read_member(member: *const rd_kafka_MemberDescription_t) -> Member {
    // SAFETY: the caller's; a member without partitions has no assignment.
    unsafe {
        let assignment = sys::rd_kafka_MemberDescription_assignment(member);
        let list = match assignment.is_null() {
            true => std::ptr::null(),
            false => sys::rd_kafka_MemberAssignment_partitions(assignment),
        };
        Member {
            client: sys::text(sys::rd_kafka_MemberDescription_client_id(member)),
            host: sys::text(sys::rd_kafka_MemberDescription_host(member)),
            partitions: partitions::iter(list).map(|part| (part.topic.into(), part.partition)).collect(),
        }
    }
}
