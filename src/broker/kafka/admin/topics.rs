//! Topics: what they are, making and deleting them.

use std::ffi::c_char;
use std::ptr::NonNull;

use super::super::client::Client;
use super::super::conf::ERROR_TEXT;
use super::super::error::{About, Trouble};
use super::super::queue::Event;
use super::super::sys::{
    self, Code, rd_kafka_NewTopic_t, rd_kafka_Node_t, rd_kafka_TopicDescription_t, rd_kafka_admin_op_t,
    rd_kafka_topic_result_t,
};
use super::cluster::read_rights;
use super::{Options, Right, all_well, array, c_text, trouble};
use crate::broker::{Error, Kind, Result};

/// What the broker says of one topic.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Which topic of that name, where the broker says (from 2.8 on): one made again is another one.
    pub id: Option<String>,
    /// Why nothing more is known: there is no such topic, or we may not see it.
    pub trouble: Option<Trouble>,
    /// By number.
    pub partitions: Vec<Part>,
    /// What we may do with it.
    pub rights: Vec<Right>,
}

/// One partition of a topic; brokers by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: i32,
    /// Who serves it; nobody while one is elected.
    pub leader: Option<i32>,
    /// Who should have it.
    pub replicas: Vec<i32>,
    /// Who has all of it.
    pub in_sync: Vec<i32>,
}

/// A topic to be made.
#[derive(Clone, Debug)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many; `None` is the broker's default.
    pub partitions: Option<i32>,
    /// On how many brokers; `None` is the broker's default.
    pub replication: Option<i32>,
    /// The topic's own settings, such as `retention.ms`.
    pub configs: &'a [(String, String)],
}

impl Client {
    /// What is known of these topics, in the order given.
    pub async fn describe_topics(&self, about: &About, topics: &[impl AsRef<str>]) -> Result<Vec<Described>> {
        self.describe_topics_by(None, about, topics).await
    }

    /// The same, as this broker knows it.
    pub async fn describe_topics_by(
        &self,
        node: Option<i32>,
        about: &About,
        topics: &[impl AsRef<str>],
    ) -> Result<Vec<Described>> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<_> = topics.iter().map(|topic| c_text(topic.as_ref())).collect();
        let call = |options: &Options, queue| {
            let mut first: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
            // SAFETY: all live during the call, which copies the names.
            unsafe {
                let asked = sys::rd_kafka_TopicCollection_of_topic_names(first.as_mut_ptr(), first.len());
                sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.raw(), 1);
                sys::rd_kafka_DescribeTopics(self.raw(), asked, options.raw(), queue);
                sys::rd_kafka_TopicCollection_destroy(asked);
            }
        };
        // SAFETY: the answer to this request, which lives until the event goes; all is copied.
        let read = |event: &Event| unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(event.raw());
            let mut count = 0;
            let first = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            Ok(array(first, count).iter().map(|topic| read_topic(*topic)).collect())
        };
        let op = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        Ok(self.ask_first(node, about, op, call, read).await?.0)
    }

    /// Makes a topic; not every broker may have heard of it when this returns.
    pub async fn create_topic(&self, about: &About, topic: &NewTopic<'_>) -> Result<()> {
        let new = New::of(topic)
            .map_err(|words| Error::new(Kind::Invalid, about.operation, about.subject.clone(), words))?;
        let call = |options: &Options, queue| {
            let mut first = new.raw();
            // SAFETY: all live during the call, which copies the topic.
            unsafe { sys::rd_kafka_CreateTopics(self.raw(), &mut first, 1, options.raw(), queue) }
        };
        // SAFETY: the answer to this request, which lives until the event goes.
        let read = |event: &Event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_CreateTopics_result(event.raw());
            let results = array(sys::rd_kafka_CreateTopics_result_topics(result, &mut count), count);
            all_well(results.iter().map(|result| trouble_of(*result)))
        };
        self.ask(about, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, call, read).await
    }

    /// Deletes a topic and all that is in it.
    pub async fn delete_topic(&self, about: &About, topic: &str) -> Result<()> {
        let name = c_text(topic);
        let call = |options: &Options, queue| {
            // SAFETY: all live during the call, which copies the topic.
            unsafe {
                let mut old = sys::rd_kafka_DeleteTopic_new(name.as_ptr());
                sys::rd_kafka_DeleteTopics(self.raw(), &mut old, 1, options.raw(), queue);
                sys::rd_kafka_DeleteTopic_destroy(old);
            }
        };
        // SAFETY: the answer to this request, which lives until the event goes.
        let read = |event: &Event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteTopics_result(event.raw());
            let results = array(sys::rd_kafka_DeleteTopics_result_topics(result, &mut count), count);
            all_well(results.iter().map(|result| trouble_of(*result)))
        };
        self.ask(about, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS, call, read).await
    }
}

/// # Safety
/// `result` must be live.
unsafe fn trouble_of(result: *const rd_kafka_topic_result_t) -> Option<Trouble> {
    // SAFETY: the caller's.
    let (code, words) =
        unsafe { (sys::topic_result_error(result), sys::rd_kafka_topic_result_error_string(result)) };
    // SAFETY: null or a text that lives as long as the result.
    (code != Code::OK).then(|| Trouble { code, words: unsafe { sys::text(words) } })
}

/// The library's object of a topic to be made.
struct New(NonNull<rd_kafka_NewTopic_t>);

// SAFETY: plain memory with one owner.
unsafe impl Send for New {}
// SAFETY: nothing changes it once it is made.
unsafe impl Sync for New {}

impl New {
    /// Errors: what the library does not take.
    fn of(topic: &NewTopic<'_>) -> std::result::Result<New, String> {
        let name = c_text(topic.name);
        let (partitions, replication) = (topic.partitions.unwrap_or(-1), topic.replication.unwrap_or(-1));
        let mut words: [c_char; ERROR_TEXT] = [0; ERROR_TEXT];
        // SAFETY: the texts live during the call, which ends its own with a NUL.
        let new = unsafe {
            let new = sys::rd_kafka_NewTopic_new(
                name.as_ptr(),
                partitions,
                replication,
                words.as_mut_ptr(),
                words.len(),
            );
            New(NonNull::new(new).ok_or_else(|| sys::text(words.as_ptr()))?)
        };
        for (key, value) in topic.configs {
            let (key, value) = (c_text(key), c_text(value));
            // SAFETY: all live; the object copies both. It takes any text, so there is no error.
            unsafe { sys::rd_kafka_NewTopic_set_config(new.0.as_ptr(), key.as_ptr(), value.as_ptr()) };
        }
        Ok(new)
    }

    fn raw(&self) -> *mut rd_kafka_NewTopic_t {
        self.0.as_ptr()
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // SAFETY: live and ours.
        unsafe { sys::rd_kafka_NewTopic_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
/// `topic` must be live.
unsafe fn read_topic(topic: *const rd_kafka_TopicDescription_t) -> Described {
    // SAFETY: the caller's; each array is as long as it is said to be.
    unsafe {
        let (mut partitions, mut rights) = (0, 0);
        let first = sys::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let operations = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut rights);
        let mut partitions: Vec<Part> = array(first, partitions)
            .iter()
            .map(|part| {
                let (mut replicas, mut in_sync) = (0, 0);
                let leader = sys::rd_kafka_TopicPartitionInfo_leader(*part);
                let first = sys::rd_kafka_TopicPartitionInfo_replicas(*part, &mut replicas);
                let first_in_sync = sys::rd_kafka_TopicPartitionInfo_isr(*part, &mut in_sync);
                Part {
                    number: sys::rd_kafka_TopicPartitionInfo_partition(*part),
                    leader: number_of(leader),
                    replicas: array(first, replicas).iter().filter_map(|node| number_of(*node)).collect(),
                    in_sync: array(first_in_sync, in_sync)
                        .iter()
                        .filter_map(|node| number_of(*node))
                        .collect(),
                }
            })
            .collect();
        partitions.sort_by_key(|part| part.number);
        Described {
            name: sys::text(sys::rd_kafka_TopicDescription_name(topic)),
            id: id_of(sys::rd_kafka_TopicDescription_topic_id(topic)),
            trouble: trouble(sys::rd_kafka_TopicDescription_error(topic)),
            partitions,
            rights: read_rights(operations, rights),
        }
    }
}

/// # Safety
/// `id` must be null or live.
unsafe fn id_of(id: *const sys::rd_kafka_Uuid_t) -> Option<String> {
    /// What is answered where nobody knows.
    const NONE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    // SAFETY: the caller's; the text lives as long as the id.
    let id = (!id.is_null()).then(|| unsafe { sys::text(sys::rd_kafka_Uuid_base64str(id)) })?;
    (!id.is_empty() && id != NONE).then_some(id)
}

/// # Safety
/// `node` must be null or live.
unsafe fn number_of(node: *const rd_kafka_Node_t) -> Option<i32> {
    // SAFETY: the caller's.
    (!node.is_null()).then(|| unsafe { sys::rd_kafka_Node_id(node) }).filter(|id| *id >= 0)
}
