//! What Google Pub/Sub writes when a subscription gives a message to its dead-letter topic.
//!
//! It knows the subscription, how often it was delivered, and when it was published; no error, no id, and not the topic:
//! that is asked for through the subscription by the backend, which says it as a property.

use super::{Decoder, Facts};
use crate::deadletter::{Origin, record};
use crate::event::Event;

/// Pub/Sub's own dead letters.
pub const DECODER: Decoder = Decoder { name: "pubsub", decode, owns };

const PREFIX: &str = "CloudPubSubDeadLetterSource";
/// As the backend calls it.
const TOPIC: &str = "dead_letter_source_topic";

fn owns(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

fn decode(event: &Event) -> Option<Facts> {
    let text = |name: &str| event.headers().text(&format!("{PREFIX}{name}")).filter(|text| !text.is_empty());
    let subscription = text("Subscription")?;
    let property = |(name, value): &(String, String)| (name == TOPIC).then(|| value.clone());
    let topic = event.extra().and_then(|extra| extra.properties.iter().find_map(property));
    let ours = topic
        .as_deref()
        .and_then(|topic| subscription.strip_prefix(topic)?.strip_prefix('.'))
        .filter(|group| !group.is_empty());
    let group = ours.map_or_else(|| format!("subscription:{subscription}"), str::to_owned);
    let attempts = text("DeliveryCount").and_then(|count| count.parse().ok());
    let words = text("DeliveryErrorMessage").map(str::to_owned).unwrap_or_else(|| {
        let often = attempts.map_or_else(|| "as often as it may".to_owned(), |n: u32| format!("{n} times"));
        format!(
            "max_delivery_attempts: subscription {subscription} delivered it {often}, and it was not acked"
        )
    });
    let timestamp = text("TopicPublishTime").and_then(record::parse_time);
    Some(Facts {
        kind: Some("max_delivery_attempts".to_owned()),
        error: Some(words),
        origin: Origin { topic, timestamp, ..Origin::default() },
        group: Some(group),
        attempts,
        handler: None,
        failed_at: event.timestamp(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Extra, HeadersBuf, Position};

    fn dead(topic: Option<&str>) -> Facts {
        let mut headers = HeadersBuf::default();
        for (name, value) in [
            ("DeliveryCount", "5"),
            ("Subscription", "orders.eu.shipping"),
            ("SubscriptionProject", "p"),
            ("TopicPublishTime", "2026-11-21T14:02:11.005+00:00"),
        ] {
            headers.push_str(&format!("{PREFIX}{name}"), value);
        }
        let headers = headers.as_headers();
        let event = Event::new(&"x.dlq".into(), None, headers, Some(b"p"), Some(7), Position::Unknown);
        let property = |topic: &str| (TOPIC.to_owned(), topic.to_owned());
        let extra = Extra { properties: topic.map(property).into_iter().collect() };
        decode(&event.with_extra(extra)).expect("it is one")
    }

    #[test]
    fn the_topic_tells_which_group_it_was() {
        let facts = dead(Some("orders.eu"));
        assert_eq!(facts.origin.topic.as_deref(), Some("orders.eu"));
        assert_eq!((facts.group.as_deref(), facts.attempts), (Some("shipping"), Some(5)));
        assert_eq!(facts.origin.timestamp, record::parse_time("2026-11-21T14:02:11.005Z"));
        assert_eq!(facts.failed_at, Some(7));
    }

    #[test]
    fn any_other_subscription_is_a_group_by_itself() {
        let group = |topic| dead(topic).group;
        assert_eq!(group(Some("mail")).as_deref(), Some("subscription:orders.eu.shipping"));
        assert_eq!(group(None).as_deref(), Some("subscription:orders.eu.shipping"));
        assert_eq!(dead(None).origin.topic, None);
    }
}
