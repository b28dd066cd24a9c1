//! Topics: what they are, making and deleting them.

use std::ffi::c_char;
use std::ptr::NonNull;

use super::super::client::Client;
use super::super::conf::ERROR_TEXT;
use super::super::error::{About, Trouble};
use super::super::sys::{
    self, Code, rd_kafka_NewTopic_t, rd_kafka_Node_t, rd_kafka_TopicDescription_t, rd_kafka_admin_op_t,
    rd_kafka_topic_result_t,
};
use super::cluster::read_rights;
use super::{Right, Sent, array, c_text, trouble};
use crate::broker::{Error, Kind, Result};

/// What the broker says of one topic.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Why nothing more is known: there is no such topic, or we may not see it.
    pub trouble: Option<Trouble>,
    /// The broker's own.
    pub internal: bool,
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
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let sent = {
            let names: Vec<_> = topics.iter().map(|topic| c_text(topic.as_ref())).collect();
            let mut first: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
            Sent::send(self, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, |options, queue| {
                // SAFETY: all live during the call, which copies the names.
                unsafe {
                    let asked = sys::rd_kafka_TopicCollection_of_topic_names(first.as_mut_ptr(), first.len());
                    sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.raw(), 1);
                    sys::rd_kafka_DescribeTopics(self.raw(), asked, options.raw(), queue);
                    sys::rd_kafka_TopicCollection_destroy(asked);
                }
            })
        };
        let event = sent.answer(about).await?;
        // SAFETY: the answer to this request, which lives until the event goes; all is copied.
        unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(event.raw());
            let mut count = 0;
            let first = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            Ok(array(first, count).iter().map(|topic| read_topic(*topic)).collect())
        }
    }

    /// Makes a topic; it is there when this returns, though other brokers may not have heard of it.
    pub async fn create_topic(&self, about: &About, topic: &NewTopic<'_>) -> Result<()> {
        let sent = {
            let new = new_topic(topic)
                .map_err(|words| Error::new(Kind::Invalid, about.operation, about.subject.clone(), words))?;
            let mut new = new.as_ptr();
            Sent::send(self, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, |options, queue| {
                // SAFETY: all live during the call, which copies the topic.
                unsafe {
                    sys::rd_kafka_CreateTopics(self.raw(), &mut new, 1, options.raw(), queue);
                    sys::rd_kafka_NewTopic_destroy(new);
                }
            })
        };
        let event = sent.answer(about).await?;
        // SAFETY: the answer to this request, which lives until the event goes.
        let results = unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_CreateTopics_result(event.raw());
            array(sys::rd_kafka_CreateTopics_result_topics(result, &mut count), count)
        };
        self.first_trouble(about, results)
    }

    /// Deletes a topic and all that is in it.
    pub async fn delete_topic(&self, about: &About, topic: &str) -> Result<()> {
        let sent = {
            let name = c_text(topic);
            Sent::send(self, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS, |options, queue| {
                // SAFETY: all live during the call, which copies the topic.
                unsafe {
                    let mut old = sys::rd_kafka_DeleteTopic_new(name.as_ptr());
                    sys::rd_kafka_DeleteTopics(self.raw(), &mut old, 1, options.raw(), queue);
                    sys::rd_kafka_DeleteTopic_destroy(old);
                }
            })
        };
        let event = sent.answer(about).await?;
        // SAFETY: the answer to this request, which lives until the event goes.
        let results = unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteTopics_result(event.raw());
            array(sys::rd_kafka_DeleteTopics_result_topics(result, &mut count), count)
        };
        self.first_trouble(about, results)
    }

    fn first_trouble(&self, about: &About, results: &[*const rd_kafka_topic_result_t]) -> Result<()> {
        for result in results {
            // SAFETY: of an answer that lives.
            let (code, words) = unsafe {
                let words = sys::rd_kafka_topic_result_error_string(*result);
                (sys::topic_result_error(*result), sys::text(words))
            };
            if code != Code::OK {
                return Err(Trouble { code, words }.error(about, self));
            }
        }
        Ok(())
    }
}

/// The library's object of a topic to be made; the caller frees it. Errors: what the library does not take.
fn new_topic(topic: &NewTopic<'_>) -> std::result::Result<NonNull<rd_kafka_NewTopic_t>, String> {
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
        NonNull::new(new).ok_or_else(|| sys::text(words.as_ptr()))?
    };
    for (key, value) in topic.configs {
        let (key, value) = (c_text(key), c_text(value));
        // SAFETY: all live; the object copies both. It takes any text, so there is no error.
        unsafe { sys::rd_kafka_NewTopic_set_config(new.as_ptr(), key.as_ptr(), value.as_ptr()) };
    }
    Ok(new)
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
            trouble: trouble(sys::rd_kafka_TopicDescription_error(topic)),
            internal: sys::rd_kafka_TopicDescription_is_internal(topic) != 0,
            partitions,
            rights: read_rights(operations, rights),
        }
    }
}

/// # Safety
/// `node` must be null or live.
unsafe fn number_of(node: *const rd_kafka_Node_t) -> Option<i32> {
    // SAFETY: the caller's.
    (!node.is_null()).then(|| unsafe { sys::rd_kafka_Node_id(node) }).filter(|id| *id >= 0)
}
