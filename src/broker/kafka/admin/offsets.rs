//! Offsets: of partitions by time and end, and those a group committed.

use std::collections::HashMap;

use super::super::client::Client;
use super::super::error::{About, Trouble};
use super::super::partitions::{self, Partitions};
use super::super::sys::{
    self, Code, rd_kafka_IsolationLevel_t, rd_kafka_admin_op_t, rd_kafka_group_result_t,
};
use super::{Sent, array, c_text, trouble};
use crate::broker::Result;
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
        let sent = {
            let mut list = Partitions::new(asked.len());
            asked.iter().for_each(|(topic, partition, what)| list.add(topic, *partition, *what, b""));
            let isolation = match committed {
                true => rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
                false => rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
            };
            Sent::send(self, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, |options, queue| {
                // SAFETY: all live during the call, which copies the list.
                unsafe {
                    sys::rd_kafka_AdminOptions_set_isolation_level(options.raw(), isolation);
                    sys::rd_kafka_ListOffsets(self.raw(), list.raw(), options.raw(), queue);
                }
            })
        };
        let event = sent.answer(about).await?;
        let index: HashMap<(&str, i32), usize> =
            asked.iter().enumerate().map(|(i, (topic, partition, _))| ((&**topic, *partition), i)).collect();
        // What the broker left out it does not know.
        let unknown = || Trouble { code: Code::UNKNOWN_TOPIC_OR_PART, words: String::new() };
        let mut answers: Vec<_> = asked.iter().map(|_| Err(unknown())).collect();
        // SAFETY: the answer to this request, which lives until the event goes; all is copied.
        unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_ListOffsets_result(event.raw());
            for info in array(sys::rd_kafka_ListOffsets_result_infos(result, &mut count), count) {
                let part = partitions::read(sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info));
                let timestamp = sys::rd_kafka_ListOffsetsResultInfo_timestamp(*info);
                if let Some(i) = index.get(&(part.topic, part.partition)) {
                    answers[*i] = match part.code {
                        Code::OK => Ok(Offset { offset: part.offset, timestamp }),
                        code => Err(Trouble { code, words: code.words() }),
                    };
                }
            }
        }
        Ok(answers)
    }

    /// What a group committed, of all partitions that it committed for. A group that does not exist has none.
    ///
    /// `stable`: waits while a transaction with offsets of the group is open, instead of answering those before it.
    pub async fn committed(&self, about: &About, group: &str, stable: bool) -> Result<Vec<Committed>> {
        let sent = {
            let name = c_text(group);
            Sent::send(
                self,
                rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
                |options, queue| {
                    // SAFETY: all live during the call, which copies the request.
                    unsafe {
                        sys::rd_kafka_AdminOptions_set_require_stable_offsets(
                            options.raw(),
                            i32::from(stable),
                        );
                        let mut asked =
                            sys::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), std::ptr::null());
                        sys::rd_kafka_ListConsumerGroupOffsets(
                            self.raw(),
                            &mut asked,
                            1,
                            options.raw(),
                            queue,
                        );
                        sys::rd_kafka_ListConsumerGroupOffsets_destroy(asked);
                    }
                },
            )
        };
        let event = sent.answer(about).await?;
        // SAFETY: the answer to this request, which lives until the event goes.
        let groups = unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(event.raw());
            array(sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count), count)
        };
        let mut all = Vec::new();
        self.each_partition(about, groups, |part| {
            all.push(Committed {
                topic: part.topic.into(),
                partition: part.partition,
                offset: part.offset,
                metadata: part.metadata.to_vec(),
            });
        })?;
        // The broker answers -1 for a partition without a commit where it was asked for by name.
        all.retain(|committed| committed.offset >= 0);
        Ok(all)
    }

    /// Writes offsets for a group that nobody is a member of; makes the group. Behaviour: of each, the metadata that were
    /// there are replaced.
    pub async fn commit_for(&self, about: &About, group: &str, places: &[Committed]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let sent = {
            let name = c_text(group);
            let mut list = Partitions::new(places.len());
            places.iter().for_each(|at| list.add(&at.topic, at.partition, at.offset, &at.metadata));
            Sent::send(
                self,
                rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
                |options, queue| {
                    // SAFETY: all live during the call, which copies the request.
                    unsafe {
                        let mut new = sys::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), list.raw());
                        sys::rd_kafka_AlterConsumerGroupOffsets(
                            self.raw(),
                            &mut new,
                            1,
                            options.raw(),
                            queue,
                        );
                        sys::rd_kafka_AlterConsumerGroupOffsets_destroy(new);
                    }
                },
            )
        };
        let event = sent.answer(about).await?;
        // SAFETY: the answer to this request, which lives until the event goes.
        let groups = unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(event.raw());
            array(sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &mut count), count)
        };
        self.each_partition(about, groups, |_| ())
    }

    /// Forgets what a group committed of these partitions.
    pub async fn forget_commits(&self, about: &About, group: &str, places: &[(Name, i32)]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let sent = {
            let name = c_text(group);
            let mut list = Partitions::new(places.len());
            places.iter().for_each(|(topic, partition)| list.add(topic, *partition, 0, b""));
            Sent::send(
                self,
                rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS,
                |options, queue| {
                    // SAFETY: all live during the call, which copies the request.
                    unsafe {
                        let mut old = sys::rd_kafka_DeleteConsumerGroupOffsets_new(name.as_ptr(), list.raw());
                        sys::rd_kafka_DeleteConsumerGroupOffsets(
                            self.raw(),
                            &mut old,
                            1,
                            options.raw(),
                            queue,
                        );
                        sys::rd_kafka_DeleteConsumerGroupOffsets_destroy(old);
                    }
                },
            )
        };
        let event = sent.answer(about).await?;
        // SAFETY: the answer to this request, which lives until the event goes.
        let groups = unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteConsumerGroupOffsets_result(event.raw());
            array(sys::rd_kafka_DeleteConsumerGroupOffsets_result_groups(result, &mut count), count)
        };
        self.each_partition(about, groups, |_| ())
    }

    /// Every partition of an answer about groups; the first that has an error is the answer's.
    fn each_partition(
        &self,
        about: &About,
        groups: &[*const rd_kafka_group_result_t],
        mut each: impl FnMut(partitions::Partition<'_>),
    ) -> Result<()> {
        for group in groups {
            // SAFETY: of an answer that lives.
            let (error, list) = unsafe {
                let error = trouble(sys::rd_kafka_group_result_error(*group));
                (error, partitions::iter(sys::rd_kafka_group_result_partitions(*group)))
            };
            if let Some(trouble) = error {
                return Err(trouble.error(about, self));
            }
            for part in list {
                if part.code != Code::OK {
                    return Err(Trouble { code: part.code, words: part.code.words() }.error(about, self));
                }
                each(part);
            }
        }
        Ok(())
    }
}
