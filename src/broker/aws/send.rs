//! One batch to one topic or queue.

use std::collections::HashMap;

use aws_sdk_sns::types as sns;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types as sqs;

use super::attributes::{Attributes, Said};
use super::client::{Client, Services};
use super::error::Fault;
use super::flights::Item;
use super::message::TRACE;
use super::name::Place;

type Landed = Vec<(Item, Result<String, Fault>)>;

/// Sends them; each with the id that it got, or what was wrong.
pub async fn send(client: &Client, items: Vec<Item>) -> Landed {
    let Some(first) = items.first() else { return Vec::new() };
    let (about, place) = (first.about.clone(), first.place.clone());
    let services = match client.services(&about).await {
        Ok(services) => services,
        Err(error) => return failed(items, || Fault::from_ours(&error)),
    };
    let target = match &place {
        Place::Topic(topic) => client.topic(&about, topic).await,
        Place::Queue(queue) | Place::Letters(queue) => client.queue(&about, queue).await,
    };
    let target = match target {
        Ok(Some(target)) => target,
        Ok(None) => return failed(items, || Fault::from_ours(&about.missing())),
        Err(error) => return failed(items, || Fault::from_ours(&error)),
    };
    match place {
        Place::Topic(_) => to_topic(services, &target, items).await,
        Place::Queue(_) | Place::Letters(_) => to_queue(services, &target, items).await,
    }
}

fn failed(items: Vec<Item>, fault: impl Fn() -> Fault) -> Landed {
    items.into_iter().map(|item| (item, Err(fault()))).collect()
}

/// Their answers, by the ids that we gave them: their places.
fn answered(
    items: Vec<Item>,
    stored: HashMap<String, String>,
    mut refused: HashMap<String, Fault>,
) -> Landed {
    let answer = |(at, item): (usize, Item)| {
        let at = at.to_string();
        let result = match (stored.get(&at), refused.remove(&at)) {
            (Some(id), _) => Ok(id.clone()),
            (None, Some(fault)) => Err(fault),
            (None, None) => Err(Fault::said("", "")),
        };
        (item, result)
    };
    items.into_iter().enumerate().map(answer).collect()
}

async fn to_queue(services: &Services, url: &str, items: Vec<Item>) -> Landed {
    let mut entries = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let (group, id) = item.out.fifo.clone().unzip();
        let trace = item.out.trace.as_ref().and_then(|trace| {
            let value = sqs::MessageSystemAttributeValue::builder().data_type("String").string_value(trace);
            Some(HashMap::from([(TRACE.into(), value.build().ok()?)]))
        });
        let entry = sqs::SendMessageBatchRequestEntry::builder()
            .id(at.to_string())
            .message_body(&item.out.body)
            .set_message_attributes(queue_attributes(&item.out.attributes))
            .set_message_system_attributes(trace)
            .set_delay_seconds(item.delay.map(|delay| delay.as_secs_f64().ceil() as i32))
            .set_message_group_id(group)
            .set_message_deduplication_id(id);
        match entry.build() {
            Ok(entry) => entries.push(entry),
            Err(error) => return failed(items, || Fault::said("InvalidParameter", &error.to_string())),
        }
    }
    let request = services.sqs_once.send_message_batch().queue_url(url).set_entries(Some(entries));
    match request.send().await {
        Ok(answer) => {
            let stored =
                answer.successful().iter().map(|one| (one.id().to_owned(), one.message_id().to_owned()));
            let refused = answer
                .failed()
                .iter()
                .map(|one| (one.id().to_owned(), Fault::said(one.code(), one.message().unwrap_or_default())));
            answered(items, stored.collect(), refused.collect())
        }
        Err(error) => failed(items, || Fault::of(&error)),
    }
}

async fn to_topic(services: &Services, arn: &str, items: Vec<Item>) -> Landed {
    let mut entries = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let (group, id) = item.out.fifo.clone().unzip();
        let entry = sns::PublishBatchRequestEntry::builder()
            .id(at.to_string())
            .message(&item.out.body)
            .set_message_attributes(topic_attributes(&item.out.attributes))
            .set_message_group_id(group)
            .set_message_deduplication_id(id);
        match entry.build() {
            Ok(entry) => entries.push(entry),
            Err(error) => return failed(items, || Fault::said("InvalidParameter", &error.to_string())),
        }
    }
    let request =
        services.sns_once.publish_batch().topic_arn(arn).set_publish_batch_request_entries(Some(entries));
    match request.send().await {
        Ok(answer) => {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            let stored = answer.successful().iter().map(|one| (text(one.id()), text(one.message_id())));
            let refused = answer
                .failed()
                .iter()
                .map(|one| (one.id().to_owned(), Fault::said(one.code(), one.message().unwrap_or_default())));
            answered(items, stored.collect(), refused.collect())
        }
        Err(error) => failed(items, || Fault::of(&error)),
    }
}

/// `None` where there is none: an empty map is another request, which some servers refuse.
fn queue_attributes(all: &Attributes) -> Option<HashMap<String, sqs::MessageAttributeValue>> {
    let value = |(name, value): (&String, &super::attributes::Value)| {
        let builder = sqs::MessageAttributeValue::builder().data_type(&value.kind);
        let builder = match &value.said {
            Said::Text(text) => builder.string_value(text),
            Said::Bytes(bytes) => builder.binary_value(Blob::new(bytes.clone())),
        };
        Some((name.clone(), builder.build().ok()?))
    };
    (!all.is_empty()).then(|| all.iter().filter_map(value).collect())
}

fn topic_attributes(all: &Attributes) -> Option<HashMap<String, sns::MessageAttributeValue>> {
    let value = |(name, value): (&String, &super::attributes::Value)| {
        let builder = sns::MessageAttributeValue::builder().data_type(&value.kind);
        let builder = match &value.said {
            Said::Text(text) => builder.string_value(text),
            Said::Bytes(bytes) => builder.binary_value(Blob::new(bytes.clone())),
        };
        Some((name.clone(), builder.build().ok()?))
    };
    (!all.is_empty()).then(|| all.iter().filter_map(value).collect())
}
