//! Offsets: of partitions by time and end, and those a group committed.

use std::collections::HashMap;

use super::super::client::Client;
use super::super::error::{About, Trouble};
use super::super::partitions::{self, Partitions};
use super::super::queue::Event;
use super::super::sys::{
    self, Code, rd_kafka_IsolationLevel_t, rd_kafka_admin_op_t, rd_kafka_group_result_t,
};
use super::{Options, all_well, array, c_text, trouble};
use crate::broker::{Error, Kind, Result};
use crate::event::Name;

/// What is asked of a partition in [`Client::offsets`]: the first kept.
pub const EARLIEST: i64 = -2;
/// The end: behind the last event, or with `committed` the last stable offset.
pub const LATEST: i64 = -1;
/// The event with the highest timestamp; from Kafka 3.0 on.
pub const NEWEST: i64 = -3;

/// Where something is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The offset; -1 where there is nothing at or after the time that was asked for.
    pub offset: i64,
    /// The timestamp of the event there, in ms; -1 where it was not asked for.
    pub timestamp: i64,
}

/// What a group committed of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The topic.
    pub topic: Name,
    /// The partition.
    pub partition: i32,
    /// All before it is done.
    pub offset: i64,
    /// What was written with it.
    pub metadata: Vec<u8>,
}

impl Client {
    /// The offsets of these: of each [`EARLIEST`], [`LATEST`], [`NEWEST`] or, by a time in ms, the first event at or after it. One
    /// request to each broker, however many partitions. `committed`: the end is the last stable offset, behind which lie
    /// events of transactions that are open.
    ///
    /// Behaviour: the answers are in the order asked. An unknown topic fails all of it.
    pub async fn offsets(
        &self,
        about: &About,
        asked: &[(Name, i32, i64)],
        committed: bool,
    ) -> Result<Vec<std::result::Result<Offset, Trouble>>> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = Partitions::new(asked.len());
        asked.iter().for_each(|(topic, partition, what)| list.add(topic, *partition, *what, b""));
        let isolation = match committed {
            true => rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            false => rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        };
        let call = |options: &Options, queue| {
            // SAFETY: all live during the call, which copies the list.
            unsafe {
                sys::rd_kafka_AdminOptions_set_isolation_level(options.raw(), isolation);
                sys::rd_kafka_ListOffsets(self.raw(), list.raw(), options.raw(), queue);
            }
        };
        let index: HashMap<(&str, i32), usize> =
            asked.iter().enumerate().map(|(i, (topic, partition, _))| ((&**topic, *partition), i)).collect();
        let read = |event: &Event| {
            // What the broker left out it does not know.
            let mut answers: Vec<_> =
                asked.iter().map(|_| Err(Trouble::of(Code::UNKNOWN_TOPIC_OR_PART))).collect();
            // SAFETY: the answer to this request, which lives until the event goes; all is copied.
            unsafe {
                let mut count = 0;
                let result = sys::rd_kafka_event_ListOffsets_result(event.raw());
                for info in array(sys::rd_kafka_ListOffsets_result_infos(result, &mut count), count) {
                    let part = partitions::read(sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info));
                    let timestamp = sys::rd_kafka_ListOffsetsResultInfo_timestamp(*info);
                    if let Some(i) = index.get(&(part.topic, part.partition)) {
                        answers[*i] = match part.code {
                            // What librdkafka 2.12 says, without an error, of a broker that did not answer.
                            Code::OK if part.offset == i64::from(sys::RD_KAFKA_OFFSET_INVALID) => {
                                return Err(Trouble::of(Code::LOCAL_TIMED_OUT));
                            }
                            Code::OK => Ok(Offset { offset: part.offset, timestamp }),
                            code => Err(Trouble::of(code)),
                        };
                    }
                }
            }
            // Where one broker of several did not answer, its partitions say so.
            let again = |trouble: &Trouble| trouble.is_busy() || trouble.is_lost();
            all_well(answers.iter().map(|answer| answer.clone().err().filter(again)))?;
            Ok(answers)
        };
        self.ask(about, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, call, read).await
    }

    /// What a group committed of these partitions; `None`: of all that it committed for, as far as we may see their topics.
    /// A group that does not exist has none.
    ///
    /// `stable`: waits while a transaction with offsets of the group is open, instead of answering those before it.
    ///
    /// Requires: [`Client::has_group`], any group. librdkafka 2.12 hands an answer of NOT_COORDINATOR to the client's own
    /// group without a look whether it has one, and the process dies of that.
    pub async fn committed(
        &self,
        about: &About,
        group: &str,
        places: Option<&[(Name, i32)]>,
        stable: bool,
    ) -> Result<Vec<Committed>> {
        Ok(self.committed_at(about, group, places, stable).await?.0)
    }

    /// The same, with the number of the coordinator where the library could not find it.
    async fn committed_at(
        &self,
        about: &About,
        group: &str,
        places: Option<&[(Name, i32)]>,
        stable: bool,
    ) -> Result<(Vec<Committed>, Option<i32>)> {
        if places.is_some_and(<[_]>::is_empty) {
            return Ok((Vec::new(), None));
        }
        if !self.has_group() {
            let message = "this client cannot ask what a group committed: it has no group.id";
            return Err(Error::new(Kind::Broken, about.operation, about.subject.clone(), message));
        }
        let name = c_text(group);
        let list = places.map(|places| {
            let mut list = Partitions::new(places.len());
            places.iter().for_each(|(topic, partition)| list.add(topic, *partition, 0, b""));
            list
        });
        let call = |options: &Options, queue| {
            let list = list.as_ref().map_or(std::ptr::null(), |list| list.raw().cast_const());
            // SAFETY: all live during the call, which copies the request. No partitions are all of them.
            unsafe {
                sys::rd_kafka_AdminOptions_set_require_stable_offsets(options.raw(), i32::from(stable));
                let mut asked = sys::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), list);
                sys::rd_kafka_ListConsumerGroupOffsets(self.raw(), &mut asked, 1, options.raw(), queue);
                sys::rd_kafka_ListConsumerGroupOffsets_destroy(asked);
            }
        };
        let read = |event: &Event| {
            let mut all = Vec::new();
            // SAFETY: the answer to this request, which lives until the event goes; all is copied.
            unsafe {
                let mut count = 0;
                let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(event.raw());
                let groups = sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
                each_partition(array(groups, count), |part| {
                    all.push(Committed {
                        topic: part.topic.into(),
                        partition: part.partition,
                        offset: part.offset,
                        metadata: part.metadata.to_vec(),
                    });
                })?;
            }
            // -1 where nothing was committed.
            all.retain(|committed: &Committed| committed.offset >= 0);
            Ok(all)
        };
        let op = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
        self.ask_first(None, about, op, call, read).await
    }

    /// Who the coordinator of a group is, where the library cannot find it; else it knows now. Whoever may change a group
    /// may look at it.
    pub(super) async fn coordinator(&self, about: &About, group: &str) -> Result<Option<i32>> {
        Ok(self.committed_at(about, group, None, false).await?.1)
    }

    /// Writes offsets for a group that nobody is a member of; makes the group. Behaviour: of each, the metadata that were
    /// there are replaced.
    pub async fn commit_for(&self, about: &About, group: &str, places: &[Committed]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let name = c_text(group);
        let mut list = Partitions::new(places.len());
        places.iter().for_each(|at| list.add(&at.topic, at.partition, at.offset, &at.metadata));
        let call = |options: &Options, queue| {
            // SAFETY: all live during the call, which copies the request.
            unsafe {
                let mut new = sys::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), list.raw());
                sys::rd_kafka_AlterConsumerGroupOffsets(self.raw(), &mut new, 1, options.raw(), queue);
                sys::rd_kafka_AlterConsumerGroupOffsets_destroy(new);
            }
        };
        // SAFETY: the answer to this request, which lives until the event goes.
        let read = |event: &Event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(event.raw());
            let groups = sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &mut count);
            each_partition(array(groups, count), |_| ())
        };
        let node = self.coordinator(about, group).await?;
        let op = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS;
        self.ask_first(node, about, op, call, read).await.map(|(done, _)| done)
    }

    /// Forgets what a group committed of these partitions.
    pub async fn forget_commits(&self, about: &About, group: &str, places: &[(Name, i32)]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let name = c_text(group);
        let mut list = Partitions::new(places.len());
        places.iter().for_each(|(topic, partition)| list.add(topic, *partition, 0, b""));
        let call = |options: &Options, queue| {
            // SAFETY: all live during the call, which copies the request.
            unsafe {
                let mut old = sys::rd_kafka_DeleteConsumerGroupOffsets_new(name.as_ptr(), list.raw());
                sys::rd_kafka_DeleteConsumerGroupOffsets(self.raw(), &mut old, 1, options.raw(), queue);
                sys::rd_kafka_DeleteConsumerGroupOffsets_destroy(old);
            }
        };
        // SAFETY: the answer to this request, which lives until the event goes.
        let read = |event: &Event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteConsumerGroupOffsets_result(event.raw());
            let groups = sys::rd_kafka_DeleteConsumerGroupOffsets_result_groups(result, &mut count);
            each_partition(array(groups, count), |_| ())
        };
        let node = self.coordinator(about, group).await?;
        let op = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS;
        self.ask_first(node, about, op, call, read).await.map(|(done, _)| done)
    }
}

/// Every partition of an answer about groups; the first error of one is the answer's.
///
/// # Safety
/// `groups` must be of an answer that lives.
unsafe fn each_partition(
    groups: &[*const rd_kafka_group_result_t],
    mut each: impl FnMut(partitions::Partition<'_>),
) -> std::result::Result<(), Trouble> {
    for group in groups {
        // SAFETY: the caller's.
        let (error, list) = unsafe {
            let error = trouble(sys::rd_kafka_group_result_error(*group));
            (error, partitions::iter(sys::rd_kafka_group_result_partitions(*group)))
        };
        all_well([error])?;
        for part in list {
            all_well([(part.code != Code::OK).then(|| Trouble::of(part.code))])?;
            each(part);
        }
    }
    Ok(())
}
