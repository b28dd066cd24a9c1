//! What an unsettled reading leaves out.

use std::collections::{HashMap, HashSet};

use super::super::client::Client;
use super::super::error::About;
use super::super::sys::Code;
use super::lane::Lane;
use crate::broker::{Error, Kind, Result};
use crate::event::Name;

/// Dead letters that are settled, by topic, partition and offset.
#[derive(Default)]
pub struct Settled(HashMap<(Name, i32), HashSet<i64>>);

impl Settled {
    /// What is settled of these topics now. Without a topic that says so nothing is.
    pub async fn load(client: &Client, topics: &[Name]) -> Result<Settled> {
        let names: Vec<String> = topics.iter().map(|topic| format!("{topic}.settled")).collect();
        for topic in client.describe_topics(&About::new("reader", ""), &names).await? {
            match topic.trouble {
                Some(trouble) if trouble.code == Code::UNKNOWN_TOPIC_OR_PART => {}
                Some(trouble) => return Err(trouble.error(&About::topic("reader", &topic.name), client)),
                None => {
                    let message = "this evcat cannot read which dead letters are settled";
                    return Err(Error::new(
                        Kind::Unsupported,
                        "reader",
                        format!("topic {}", topic.name),
                        message,
                    ));
                }
            }
        }
        Ok(Settled::default())
    }

    /// Whether an event is left out.
    #[inline]
    pub fn has(&self, lane: &Lane, offset: i64) -> bool {
        !self.0.is_empty()
            && self.0.get(&(lane.topic.clone(), lane.partition)).is_some_and(|all| all.contains(&offset))
    }
}
