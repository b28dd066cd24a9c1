//! What a replay would do: pure, so that the plan that is shown and the run that follows cannot differ.

use std::collections::HashMap;

use super::Letter;
use crate::event::{Name, Position};

/// Where one dead letter goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// To the group that failed and to nobody else.
    Group {
        /// The topic the group reads.
        topic: Name,
        /// The group.
        group: Name,
    },
    /// Into a topic, where every group sees it.
    Topic {
        /// The topic.
        topic: Name,
        /// The group it is meant for: `evcat subscribe` of the others skips it.
        marked: Option<Name>,
    },
    /// It has been round too often.
    Parked {
        /// Where it waits for somebody.
        topic: Name,
    },
    /// To a command that is run here; nothing is published.
    Here,
    /// Nowhere.
    Stays(Why),
}

/// Why a letter that was chosen stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nobody says where it came from.
    NoOrigin,
    /// The topic it came from is no more.
    TopicGone(Name),
    /// The group that failed is no more.
    GroupGone(Name, Name),
    /// It has been put back too often, and cannot be parked: it is parked already, or nothing is settled.
    Parked(u32),
    /// `--transform` or `--schema` refused it; the words say why.
    Refused(String),
}

impl Why {
    /// In words, with what can be done about it.
    pub fn words(&self) -> String {
        match self {
            Why::NoOrigin => "no origin is known (--into TOPIC takes them)".into(),
            Why::TopicGone(topic) => format!("topic {topic} does not exist (--into TOPIC takes them)"),
            Why::GroupGone(topic, group) => {
                format!("{topic} has no group {group} (--all-groups or --into TOPIC takes them)")
            }
            Why::Parked(limit) => format!("put back {limit} times already (--max-replays {})", limit + 1),
            Why::Refused(why) => why.clone(),
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whether put-back letters are settled (not with `--keep`, nor from a file).
    pub settles: bool,
    /// `-- COMMAND`: handled here.
    pub here: bool,
    /// `--into`: this topic, whatever the origin.
    pub into: Option<Name>,
    /// `--all-groups`: the whole topic.
    pub all_groups: bool,
    /// Put back so often, a letter is parked instead.
    pub max_replays: u32,
    /// The topic the letters lie in.
    pub dlq: Name,
}

/// Put back so often, a letter is parked, unless somebody says otherwise.
pub const MAX_REPLAYS: u32 = 3;

impl Rules {
    /// Those of a replay that says nothing else.
    pub fn of(dlq: &Name) -> Rules {
        Rules {
            settles: true,
            here: false,
            into: None,
            all_groups: false,
            max_replays: MAX_REPLAYS,
            dlq: dlq.clone(),
        }
    }
}

/// Behind the name of a dead-letter topic: those that have been round too often.
pub const PARKED: &str = ".parked";

/// What the broker says of a topic that letters came from.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Whether it exists.
    pub exists: bool,
    /// Whether one group of it can be addressed.
    pub address_group: bool,
    /// The groups that read it.
    pub groups: Vec<String>,
}

/// Where this letter goes, given what is known of its origin topic.
pub fn way(letter: &Letter, rules: &Rules, places: &HashMap<String, Place>) -> Way {
    if rules.here {
        return Way::Here;
    }
    if letter.replays >= rules.max_replays {
        return if rules.settles && !rules.dlq.ends_with(PARKED) {
            Way::Parked { topic: format!("{}{PARKED}", rules.dlq).into() }
        } else {
            Way::Stays(Why::Parked(letter.replays))
        };
    }
    if let Some(into) = &rules.into {
        return Way::Topic { topic: into.clone(), marked: None };
    }
    let Some(origin) = &letter.origin.topic else {
        return Way::Stays(Why::NoOrigin);
    };
    let topic: Name = origin.as_str().into();
    let Some(place) = places.get(origin).filter(|place| place.exists) else {
        return Way::Stays(Why::TopicGone(topic));
    };
    if rules.all_groups {
        return Way::Topic { topic, marked: None };
    }
    let group: Option<Name> = letter.group.as_deref().map(Name::from);
    match group {
        Some(group) if place.address_group && !place.groups.iter().any(|known| **known == *group) => {
            Way::Stays(Why::GroupGone(topic, group))
        }
        Some(group) if place.address_group => Way::Group { topic, group },
        marked => Way::Topic { topic, marked },
    }
}

/// How it ended, in two words: `exit 65`, `signal 9`, `timeout`.
pub fn how(letter: &Letter) -> String {
    let error = letter.error.as_deref().unwrap_or_default();
    let number = |prefix: &str| {
        let rest = error.strip_prefix(prefix)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        (digits > 0).then(|| &rest[..digits])
    };
    if let Some(code) = number("exit ") {
        return format!("exit {code}");
    }
    if let Some(signal) = number("killed by signal ") {
        return format!("signal {signal}");
    }
    match &letter.kind {
        Some(kind) => kind.clone(),
        None => "no reason known".into(),
    }
}

/// Counts of things, the most frequent first.
#[derive(Clone, Debug)]
pub struct Tally<T> {
    counts: HashMap<T, u64>,
}

impl<T> Default for Tally<T> {
    fn default() -> Tally<T> {
        Tally { counts: HashMap::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Tally<T> {
    /// One more of it.
    pub fn add(&mut self, thing: T) {
        *self.counts.entry(thing).or_default() += 1;
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Each with its count, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&T, u64)> {
        self.counts.iter().map(|(thing, count)| (thing, *count))
    }

    /// The most frequent first; equals in the order that `name` gives them.
    pub fn sorted<N: Ord>(&self, name: impl Fn(&T) -> N) -> Vec<(&T, u64)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| name(a.0).cmp(&name(b.0))));
        all
    }
}

/// What a run would do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Letters that wait.
    pub total: u64,
    /// Those that match; never more than `--limit`.
    pub chosen: u64,
    /// Where they go.
    pub ways: Tally<Way>,
    /// How those ended that do not match.
    pub left: Tally<String>,
    /// Those that go somewhere, in the order in which they lie there.
    pub positions: Vec<Position>,
}

impl Plan {
    /// Takes a letter that does not match.
    pub fn leave(&mut self, letter: &Letter) {
        self.total += 1;
        self.left.add(how(letter));
    }

    /// Takes one that does.
    pub fn choose(&mut self, position: &Position, way: Way) {
        self.total += 1;
        self.chosen += 1;
        if !matches!(way, Way::Stays(_)) {
            self.positions.push(position.clone());
        }
        self.ways.add(way);
    }

    /// How many go to groups, topics or the command, how many are parked, how many of the chosen stay.
    pub fn counts(&self) -> (u64, u64, u64) {
        let (mut back, mut parked, mut stay) = (0, 0, 0);
        for (way, count) in self.ways.iter() {
            match way {
                Way::Group { .. } | Way::Topic { .. } | Way::Here => back += count,
                Way::Parked { .. } => parked += count,
                Way::Stays(_) => stay += count,
            }
        }
        (back, parked, stay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadletter::Origin;

    fn letter(topic: Option<&str>, group: Option<&str>, replays: u32) -> Letter {
        Letter {
            read_as: None,
            kind: Some("exit".into()),
            error: Some("exit 65: no".into()),
            origin: Origin { topic: topic.map(String::from), ..Origin::default() },
            group: group.map(String::from),
            attempts: None,
            handler: None,
            failed_at: None,
            replays,
            run: None,
            of: None,
            fingerprint: String::new(),
        }
    }

    fn rules() -> Rules {
        Rules::of(&"orders.shipping.dlq".into())
    }

    fn places(address_group: bool) -> HashMap<String, Place> {
        let groups = vec!["shipping".into(), "email".into()];
        HashMap::from([("orders".into(), Place { exists: true, address_group, groups })])
    }

    #[test]
    fn the_failed_group_alone_gets_it_where_one_can_be_addressed() {
        let (topic, group): (Name, Name) = ("orders".into(), "shipping".into());
        let failed = letter(Some("orders"), Some("shipping"), 0);
        assert_eq!(
            way(&failed, &rules(), &places(true)),
            Way::Group { topic: topic.clone(), group: group.clone() }
        );
        assert_eq!(
            way(&failed, &rules(), &places(false)),
            Way::Topic { topic: topic.clone(), marked: Some(group) },
            "elsewhere the copy says whom it is for"
        );
        let all = Rules { all_groups: true, ..rules() };
        assert_eq!(way(&failed, &all, &places(true)), Way::Topic { topic, marked: None });
    }

    #[test]
    fn nobody_is_guessed() {
        let stays = |letter: Letter| way(&letter, &rules(), &places(true));
        assert_eq!(stays(letter(None, Some("shipping"), 0)), Way::Stays(Why::NoOrigin));
        assert_eq!(stays(letter(Some("gone"), None, 0)), Way::Stays(Why::TopicGone("gone".into())));
        assert_eq!(
            stays(letter(Some("orders"), Some("old"), 0)),
            Way::Stays(Why::GroupGone("orders".into(), "old".into()))
        );
        let into = Rules { into: Some("rescue".into()), ..rules() };
        assert_eq!(
            way(&letter(None, None, 0), &into, &places(true)),
            Way::Topic { topic: "rescue".into(), marked: None }
        );
    }

    #[test]
    fn past_the_limit_it_is_parked_and_never_parked_twice() {
        let round = letter(Some("orders"), Some("shipping"), 3);
        assert_eq!(
            way(&round, &rules(), &places(true)),
            Way::Parked { topic: "orders.shipping.dlq.parked".into() }
        );
        let below = letter(Some("orders"), Some("shipping"), 2);
        assert!(matches!(way(&below, &rules(), &places(true)), Way::Group { .. }));
        let parked = Rules { dlq: "orders.shipping.dlq.parked".into(), ..rules() };
        assert_eq!(way(&round, &parked, &places(true)), Way::Stays(Why::Parked(3)));
        let keep = Rules { settles: false, into: Some("x".into()), ..rules() };
        assert_eq!(way(&round, &keep, &places(true)), Way::Stays(Why::Parked(3)));
    }

    #[test]
    fn a_plan_accounts_for_every_letter() {
        let mut plan = Plan::default();
        plan.leave(&letter(None, None, 0));
        plan.leave(&Letter { error: Some("killed by signal 9".into()), ..letter(None, None, 0) });
        plan.leave(&letter(None, None, 0));
        for replays in [0, 1, 3] {
            let letter = letter(Some("orders"), Some("shipping"), replays);
            plan.choose(&Position::Offset(i64::from(replays)), way(&letter, &rules(), &places(true)));
        }
        plan.choose(&Position::Offset(9), Way::Stays(Why::NoOrigin));
        assert_eq!((plan.total, plan.chosen, plan.counts()), (7, 4, (2, 1, 1)));
        assert_eq!(plan.positions, [0, 1, 3].map(Position::Offset));
        let left: Vec<_> =
            plan.left.sorted(String::clone).into_iter().map(|(h, n)| (h.as_str(), n)).collect();
        assert_eq!(left, [("exit 65", 2), ("signal 9", 1)]);
    }

    #[test]
    fn how_it_ended_is_two_words() {
        let how = |error: &str| super::how(&Letter { error: Some(error.into()), ..letter(None, None, 0) });
        assert_eq!(how("exit 1"), "exit 1");
        assert_eq!(how("killed by signal 9"), "signal 9");
        assert_eq!(how("exit poll failed"), "exit", "the kind, where the text does not say");
        let unknown = Letter { kind: None, error: None, ..letter(None, None, 0) };
        assert_eq!(super::how(&unknown), "no reason known");
    }
}
