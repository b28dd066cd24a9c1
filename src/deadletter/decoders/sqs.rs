//! What SQS says of a message that it moved to the dead letters because nobody settled it: from which queue.
//!
//! It knows neither when nor why, and counts on how often it was received, looks included. Put back, a message goes to
//! that queue alone: to the group where the place is called after one of ours, else by `queue:NAME`.

use super::{Decoder, Facts};
use crate::deadletter::Origin;
use crate::event::Event;

/// SQS's own dead letters.
pub const DECODER: Decoder = Decoder { name: "sqs", decode, owns: |_| false };

/// The property with the ARN of the queue.
const SOURCE: &str = "DeadLetterQueueSourceArn";
const FIFO: &str = ".fifo";

fn decode(event: &Event) -> Option<Facts> {
    let properties = &event.extra()?.properties;
    let (_, arn) = properties.iter().find(|(name, _)| name == SOURCE)?;
    let queue = arn.rsplit(':').next().filter(|queue| !queue.is_empty())?;
    let (topic, group) = match group_of(event.topic(), queue) {
        Some((topic, group)) => (topic.to_owned(), Some(group.to_owned())),
        None => (format!("queue:{queue}"), None),
    };
    Some(Facts {
        kind: Some("delivery_limit".into()),
        error: Some(format!("delivery_limit: queue {queue} handed it out as often as it may")),
        origin: Origin { topic: Some(topic), timestamp: event.timestamp(), ..Origin::default() },
        group,
        ..Facts::default()
    })
}

/// Topic and group of `TOPIC.GROUP.dlq`, where the queue is theirs.
fn group_of<'a>(letters: &'a str, queue: &str) -> Option<(&'a str, &'a str)> {
    let (topic, group) = letters.strip_suffix(".dlq")?.rsplit_once('.')?;
    let of = match topic.strip_suffix(FIFO) {
        Some(bare) => format!("{bare}-{group}{FIFO}"),
        None => format!("{topic}-{group}"),
    };
    (of == queue).then_some((topic, group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Extra, Headers, Position};

    fn dead(place: &str, queue: &str) -> (Option<String>, Option<String>) {
        let event =
            Event::new(&place.into(), None, Headers::default(), Some(b"p"), Some(7), Position::Unknown);
        let arn = format!("arn:aws:sqs:eu-west-1:123456789012:{queue}");
        let facts =
            decode(&event.with_extra(Extra { properties: vec![(SOURCE.into(), arn)] })).expect("it is one");
        assert_eq!((facts.kind.as_deref(), facts.origin.timestamp), (Some("delivery_limit"), Some(7)));
        (facts.origin.topic, facts.group)
    }

    #[test]
    fn a_queue_of_a_group_is_that_group() {
        let of = |topic: &str, group: &str| (Some(topic.to_owned()), Some(group.to_owned()));
        assert_eq!(dead("orders.mail.dlq", "orders-mail"), of("orders", "mail"));
        assert_eq!(dead("orders.fifo.mail.dlq", "orders-mail.fifo"), of("orders.fifo", "mail"));
    }

    #[test]
    fn any_other_queue_is_a_place_by_itself() {
        assert_eq!(dead("queue:failed", "work"), (Some("queue:work".into()), None));
        assert_eq!(dead("orders.mail.dlq", "orders-other"), (Some("queue:orders-other".into()), None));
    }
}
