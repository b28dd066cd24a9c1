//! One request for messages of a queue, and what it brings.

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as System};
use tokio::time::Instant;

use super::attributes::{Attributes, Said, Value};
use super::client::Services;
use super::error::Fault;
use super::message::{Incoming, to_event};
use crate::event::{Event, Name};

/// What is asked of each message.
const SYSTEM: [System; 6] = [
    System::SentTimestamp,
    System::ApproximateReceiveCount,
    System::MessageGroupId,
    System::MessageDeduplicationId,
    System::AwsTraceHeader,
    System::DeadLetterQueueSourceArn,
];

/// A message that is ours for a while.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its event.
    pub event: Event,
    /// What it is settled by.
    pub handle: String,
    /// How often it was handed out.
    pub receives: Option<u32>,
    /// Its group in a FIFO queue.
    pub group: Option<String>,
    /// When it came.
    pub at: Instant,
}

/// Asks for at most so many, ten at the most, which are ours for so many seconds; waits so many for the first.
pub async fn receive(
    services: &Services,
    url: &str,
    topic: &Name,
    most: usize,
    visibility: i32,
    wait: i32,
) -> Result<Vec<Taken>, Fault> {
    let answer = services
        .sqs_once
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(i32::try_from(most.clamp(1, 10)).unwrap_or(10))
        .visibility_timeout(visibility)
        .wait_time_seconds(wait)
        .set_message_system_attribute_names(Some(SYSTEM.to_vec()))
        .message_attribute_names("All")
        .send()
        .await
        .map_err(|error| Fault::of(&error))?;
    let at = Instant::now();
    Ok(answer.messages.unwrap_or_default().into_iter().map(|message| taken(topic, message, at)).collect())
}

fn taken(topic: &Name, message: Message, at: Instant) -> Taken {
    let said = message.attributes.unwrap_or_default();
    let attributes: Attributes = message
        .message_attributes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, value)| {
            let said = match (value.string_value, value.binary_value) {
                (Some(text), _) => Said::Text(text),
                (None, Some(bytes)) => Said::Bytes(bytes.into_inner()),
                (None, None) => return None,
            };
            Some((name, Value { kind: value.data_type, said }))
        })
        .collect();
    let incoming = Incoming {
        id: message.message_id.as_deref().unwrap_or_default(),
        body: message.body.as_deref().unwrap_or_default(),
        attributes,
        said: said.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
    };
    let event = to_event(topic, &incoming);
    let (receives, group) = (incoming.receives(), incoming.group().map(str::to_owned));
    Taken { event, handle: message.receipt_handle.unwrap_or_default(), receives, group, at }
}
