//! What a name stands for: a topic or a subscription, and which names there may be.

use crate::broker::{Error, Kind, Result};

/// The longest name of a topic or subscription.
const LONGEST: usize = 255;
/// So many characters of a refused name are told.
const SHOWN: usize = 40;
/// What the subscription of a look is called; behind it the second it was made in, and chance.
pub const TEMPORARY: &str = "evcat-tail-";
/// Before the name of a subscription that is meant as it is.
const SUBSCRIPTION: &str = "subscription:";

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// A topic.
    Topic(&'a str),
    /// `subscription:NAME`, which is a group by itself.
    Subscription(&'a str),
}

impl<'a> Place<'a> {
    /// By its name.
    pub fn of(name: &'a str) -> Place<'a> {
        match name.strip_prefix(SUBSCRIPTION) {
            Some(subscription) => Place::Subscription(subscription),
            None => Place::Topic(name),
        }
    }

    /// The subscription that holds its events, where it is one: that of dead letters is called as their topic is.
    pub fn subscription(self) -> &'a str {
        match self {
            Place::Topic(name) | Place::Subscription(name) => name,
        }
    }
}

/// As people type a subscription that is no group of evcat's.
pub fn typed(subscription: &str) -> String {
    format!("{SUBSCRIPTION}{subscription}")
}

/// What is behind a name that is for dead letters: a subscription that keeps them, besides the topic.
pub fn is_for_letters(name: &str) -> bool {
    name.ends_with(".dlq") || name.ends_with(".parked")
}

/// The subscription of a group, by the name of the group as it is listed.
pub fn subscription_of(topic: &str, group: &str) -> String {
    match Place::of(group) {
        Place::Subscription(subscription) => subscription.to_owned(),
        Place::Topic(group) => format!("{topic}.{group}"),
    }
}

/// The group whose subscription this is: ours by its name, all others as they are. `None`: no group, but a look or the
/// place of dead letters.
pub fn group_of(topic: &str, subscription: &str) -> Option<String> {
    if subscription.starts_with(TEMPORARY) || (subscription == topic && is_for_letters(topic)) {
        return None;
    }
    let ours = subscription.strip_prefix(topic).and_then(|rest| rest.strip_prefix('.'));
    Some(ours.filter(|group| !group.is_empty()).map_or_else(|| typed(subscription), str::to_owned))
}

/// Refuses a topic, or `subscription:NAME`, that Pub/Sub would refuse.
pub fn topic(operation: &'static str, name: &str) -> Result<()> {
    match Place::of(name) {
        Place::Topic(bare) => legal(operation, "topic", name, bare),
        Place::Subscription(bare) => legal(operation, "subscription", name, bare),
    }
}

/// Refuses a group whose subscription could not have its name.
pub fn group(operation: &'static str, topic: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(refuse(operation, "group", name, "a group has a name".into()));
    }
    if is_for_letters(name) {
        let message = "its subscription would be called like one of dead letters".to_owned();
        return Err(refuse(operation, "group", name, message));
    }
    legal(operation, "group", name, &format!("{topic}.{name}"))
}

fn legal(operation: &'static str, what: &str, name: &str, bare: &str) -> Result<()> {
    let refuse = |message: String| Err(refuse(operation, what, name, message));
    let wrong = |c: char| !c.is_ascii_alphanumeric() && !"-._~+%".contains(c);
    if !(3..=LONGEST).contains(&bare.chars().count()) {
        let count = bare.chars().count();
        return refuse(format!("a name has 3 to {LONGEST} characters, and '{}' has {count}", shown(bare)));
    }
    if let Some(c) = bare.chars().find(|c| wrong(*c)) {
        return refuse(format!("{c:?} may not stand in a name: letters, digits and - . _ ~ + % may"));
    }
    if !bare.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return refuse("a name begins with a letter".into());
    }
    if bare.starts_with("goog") {
        return refuse("names that begin with goog are Google's own".into());
    }
    Ok(())
}

fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn refuse(operation: &'static str, what: &str, name: &str, message: String) -> Error {
    Error::new(Kind::Invalid, operation, format!("{what} '{}'", shown(name)), message).with_hint(
        "Pub/Sub: 3 to 255 letters, digits and - . _ ~ + %, a letter first, such as orders.eu; \
         a group's subscription is TOPIC.GROUP",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_says_what_a_name_stands_for() {
        assert_eq!(Place::of("orders"), Place::Topic("orders"));
        assert_eq!(Place::of("subscription:billing"), Place::Subscription("billing"));
    }

    #[test]
    fn a_subscription_is_a_group_by_its_name() {
        let group = |topic, subscription| group_of(topic, subscription);
        assert_eq!(group("orders", "orders.eu.billing").as_deref(), Some("eu.billing"));
        assert_eq!(group("orders", "billing").as_deref(), Some("subscription:billing"));
        assert_eq!(group("orders", "orders.").as_deref(), Some("subscription:orders."));
        assert_eq!(group("orders.g.dlq", "orders.g.dlq"), None);
        assert_eq!(group("orders", "evcat-tail-1700000000-ab"), None);
        assert_eq!(subscription_of("orders", "subscription:billing"), "billing");
        assert_eq!(subscription_of("orders", "billing"), "orders.billing");
    }

    #[test]
    fn names_are_called_as_pubsub_allows() {
        for name in ["orders", "abc", "a-b_c.d~e+f%20", &"x".repeat(255), "subscription:abc"] {
            assert!(topic("send", name).is_ok(), "{name}");
        }
        let long = "x".repeat(256);
        for name in
            ["", "ab", "1abc", "-abc", "a b c", "abc/d", "abc\n", "googles", "ünïcö", &long, "subscription:"]
        {
            let error = topic("send", name).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{name:?}");
            assert!(error.detail().message.len() > 10 && error.to_string().len() < 200, "{error}");
        }
        assert!(group("create_group", "orders", &"x".repeat(249)).is_err());
        assert!(group("create_group", "orders", "a.dlq").is_err());
    }
}
