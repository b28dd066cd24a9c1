//! What a name stands for: an SNS topic or an SQS queue, and which names there may be.
//!
//! Neither service knows dots in names but the one of `.fifo`. So the two names that evcat makes up with dots stand for
//! queues by one rule: in `TOPIC.GROUP.dlq`, and in any name that ends with `.parked`, each dot is written as `-`, and
//! `.fifo`, wherever it stands, comes last. `orders.fifo.mail.dlq` is the queue `orders-mail-dlq.fifo`.

use crate::broker::{Error, Kind, Result};

/// The longest name of a queue.
const LONGEST: usize = 80;
/// The longest of a topic by its name, so that the queues of its groups and their dead letters have room for theirs.
const LONGEST_TOPIC: usize = 60;
/// So many characters of a refused name are told.
const SHOWN: usize = 40;
/// What the name of a FIFO topic or queue ends with.
pub const FIFO: &str = ".fifo";
/// What the queue of a tail is called, and what is behind it.
pub const TEMPORARY: &str = "evcat-tail-";

/// What a topic's name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An SNS topic, by its name or ARN.
    Topic(String),
    /// An SQS queue, by its name, ARN or URL.
    Queue(String),
    /// A queue of dead letters, by its name.
    Letters(String),
}

impl Place {
    /// By its name.
    pub fn of(topic: &str) -> Place {
        match topic.strip_prefix("queue:") {
            Some(queue) if queue.ends_with(".parked") => {
                // Of one that is named by its ARN or URL only the last part is a name.
                let at = queue.len() - last_part(queue).len();
                Place::Queue(format!("{}{}", &queue[..at], dashed(&queue[at..])))
            }
            Some(queue) => Place::Queue(queue.to_owned()),
            None if is_letters(topic) => Place::Letters(dashed(topic)),
            None => Place::Topic(topic.to_owned()),
        }
    }

    /// What it is called at AWS.
    pub fn bare(&self) -> &str {
        let (Place::Topic(name) | Place::Queue(name) | Place::Letters(name)) = self;
        last_part(name)
    }

    /// Whether it keeps the order of its groups of messages.
    pub fn is_fifo(&self) -> bool {
        self.bare().ends_with(FIFO)
    }
}

/// Of an ARN or URL the name; any other is one.
pub fn last_part(name: &str) -> &str {
    match name.starts_with("arn:") || name.contains("://") {
        true => name.rsplit([':', '/']).next().unwrap_or(name),
        false => name,
    }
}

/// `TOPIC.GROUP.dlq`, and what is parked of it.
fn is_letters(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').filter(|part| *part != "fifo").collect();
    match &parts[..] {
        [first, second, .., "dlq"] => !first.is_empty() && !second.is_empty(),
        [first, second, .., "dlq", "parked"] => !first.is_empty() && !second.is_empty(),
        _ => false,
    }
}

fn dashed(name: &str) -> String {
    let fifo = name.split('.').any(|part| part == "fifo");
    let parts: Vec<&str> = name.split('.').filter(|part| *part != "fifo").collect();
    format!("{}{}", parts.join("-"), if fifo { FIFO } else { "" })
}

/// The queue of a group.
pub fn queue_of(topic: &str, group: &str) -> String {
    let topic = last_part(topic);
    match topic.strip_suffix(FIFO) {
        Some(bare) => format!("{bare}-{group}{FIFO}"),
        None => format!("{topic}-{group}"),
    }
}

/// The group whose queue of this topic is called so.
pub fn group_of<'a>(topic: &str, queue: &'a str) -> Option<&'a str> {
    let (topic, queue) = match (topic.strip_suffix(FIFO), queue.strip_suffix(FIFO)) {
        (Some(topic), Some(queue)) => (topic, queue),
        (None, None) => (topic, queue),
        _ => return None,
    };
    queue.strip_prefix(topic)?.strip_prefix('-').filter(|group| !group.is_empty())
}

/// What the queue of a group's dead letters is called here: the usual name if it is that, else `queue:NAME`.
pub fn letters_name(topic: &str, group: &str, queue: &str) -> String {
    let usual = format!("{}.{group}.dlq", last_part(topic));
    match Place::of(&usual) {
        Place::Letters(bare) if bare == queue => usual,
        _ => format!("queue:{queue}"),
    }
}

/// Refuses a topic that AWS would refuse.
pub fn topic(operation: &'static str, name: &str) -> Result<()> {
    let place = Place::of(name);
    let bare = place.bare();
    match &place {
        Place::Topic(arn) if arn.starts_with("arn:") => legal(operation, "topic", name, bare, 256),
        Place::Topic(_) => legal(operation, "topic", name, bare, LONGEST_TOPIC),
        Place::Queue(_) | Place::Letters(_) => legal(operation, "queue", name, bare, LONGEST),
    }
}

/// Refuses a group whose queue could not have its name.
pub fn group(operation: &'static str, topic: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        let message = "a name has letters, digits, '-' and '_' at AWS, because it becomes part of a queue's";
        return Err(refuse(operation, "group", name, message.into()));
    }
    if name.ends_with("-dlq") || name.ends_with("-parked") {
        let message = "its queue would be called like one of dead letters".to_owned();
        return Err(refuse(operation, "group", name, message));
    }
    let queue = queue_of(topic, name);
    if queue.len() + "-dlq-parked".len() > LONGEST {
        let message = format!(
            "its queue would have a name of {} bytes; 69 are allowed, so that its dead letters have room for theirs",
            queue.len()
        );
        return Err(refuse(operation, "group", name, message));
    }
    Ok(())
}

fn legal(operation: &'static str, what: &str, name: &str, bare: &str, longest: usize) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let stem = bare.strip_suffix(FIFO).unwrap_or(bare);
    if stem.is_empty() || !stem.chars().all(plain) {
        let message =
            format!("a {what} of AWS has a name of letters, digits, '-' and '_'; .fifo may come last");
        return Err(refuse(operation, what, name, message));
    }
    if bare.len() > longest {
        let message = match longest {
            LONGEST_TOPIC => format!(
                "it has {} bytes, and {longest} leave room for the queues of its groups; a longer one that is there \
                 is named by its ARN",
                bare.len()
            ),
            _ => format!("it has {} bytes, and a {what}'s name has at most {longest}", bare.len()),
        };
        return Err(refuse(operation, what, name, message));
    }
    Ok(())
}

fn refuse(operation: &'static str, what: &str, name: &str, message: String) -> Error {
    let mut shown: String = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    Error::new(Kind::Invalid, operation, format!("{what} '{shown}'"), message).with_hint(
        "such as orders-eu or orders.fifo; queue:NAME is a queue; TOPIC.GROUP.dlq the dead letters of a group",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_stands_for() {
        assert_eq!(Place::of("orders"), Place::Topic("orders".into()));
        assert_eq!(Place::of("queue:q"), Place::Queue("q".into()));
        for (name, queue) in [
            ("orders.mail.dlq", "orders-mail-dlq"),
            ("orders.mail.dlq.parked", "orders-mail-dlq-parked"),
            ("orders.fifo.mail.dlq", "orders-mail-dlq.fifo"),
            ("orders.fifo.mail.dlq.parked", "orders-mail-dlq-parked.fifo"),
        ] {
            assert_eq!(Place::of(name), Place::Letters(queue.into()));
        }
        assert_eq!(Place::of("queue:q.fifo.parked"), Place::Queue("q-parked.fifo".into()));
        assert_eq!(
            Place::of("queue:arn:aws:sqs:r:1:q.parked"),
            Place::Queue("arn:aws:sqs:r:1:q-parked".into())
        );
        assert!(Place::of("arn:aws:sns:eu-west-1:1:orders.fifo").is_fifo());
    }

    #[test]
    fn a_group_and_its_queue_name_each_other() {
        for (topic, queue) in [("orders", "orders-mail"), ("orders.fifo", "orders-mail.fifo")] {
            assert_eq!(queue_of(topic, "mail"), queue);
            assert_eq!(group_of(topic, queue), Some("mail"));
        }
        assert_eq!(group_of("orders", "orders-mail.fifo"), None);
        assert_eq!(group_of("orders", "mail"), None);
        assert_eq!(letters_name("orders", "mail", "orders-mail-dlq"), "orders.mail.dlq");
        assert_eq!(letters_name("orders.fifo", "mail", "orders-mail-dlq.fifo"), "orders.fifo.mail.dlq");
        assert_eq!(letters_name("orders", "mail", "other"), "queue:other");
    }

    #[test]
    fn names_are_called_as_aws_allows() {
        for name in ["orders", "a_b-C9", "orders.fifo", "queue:x.fifo", "a.b.dlq", "arn:aws:sns:r:1:orders"] {
            assert!(topic("send", name).is_ok(), "{name}");
        }
        for name in ["", "queue:", "a.b", "a b", "ü", ".fifo", "a.dlq", "*", "x:3", "a/b", &"n".repeat(61)] {
            let error = topic("send", name).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{name:?}");
        }
        assert!(group("create_group", "orders", "mail").is_ok());
        for name in ["", "a.b", "x-dlq", &"n".repeat(70)] {
            assert!(group("create_group", "orders", name).is_err(), "{name}");
        }
    }
}
