//! Which dead letters are meant: by what their records say, and by id.

use std::collections::HashMap;

use globset::GlobMatcher;
use regex::Regex;

use super::Letter;
use crate::event::{Millis, Position};

/// What a record must say. All must hold; within one list any may.
#[derive(Clone, Debug, Default)]
pub struct Criteria {
    /// The text of the failure matches.
    pub error: Vec<Regex>,
    /// The topic it came from, by name or glob.
    pub origin: Vec<GlobMatcher>,
    /// The group that gave it up.
    pub group: Vec<String>,
    /// The fingerprint, or how it begins.
    pub fingerprint: Vec<String>,
    /// The run that put it back last.
    pub run: Vec<String>,
    /// It died at this time or later.
    pub from: Option<Millis>,
    /// It died before this time.
    pub to: Option<Millis>,
}

impl Criteria {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        let Criteria { error, origin, group, fingerprint, run, from, to } = self;
        let lists = error.is_empty() && origin.is_empty() && group.is_empty();
        lists && fingerprint.is_empty() && run.is_empty() && from.is_none() && to.is_none()
    }

    /// Whether this one is meant. What a record does not say never matches.
    pub fn matches(&self, letter: &Letter) -> bool {
        let any = |wanted: &[String], said: Option<&str>| {
            wanted.is_empty() || said.is_some_and(|said| wanted.iter().any(|one| one == said))
        };
        let error = letter.error.as_deref().unwrap_or_default();
        let origin = letter.origin.topic.as_deref();
        let died = letter.failed_at;
        (self.error.is_empty() || self.error.iter().any(|regex| regex.is_match(error)))
            && (self.origin.is_empty() || origin.is_some_and(|t| self.origin.iter().any(|g| g.is_match(t))))
            && any(&self.group, letter.group.as_deref())
            && (self.fingerprint.is_empty()
                || self.fingerprint.iter().any(|f| letter.fingerprint.starts_with(f.as_str())))
            && any(&self.run, letter.run.as_deref())
            && self.from.is_none_or(|from| died.is_some_and(|died| died >= from))
            && self.to.is_none_or(|to| died.is_some_and(|died| died < to))
    }
}

/// Ids as people type them: a position, written whole, or how a message id or an event's own id begins.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    /// Each as typed, with how many letters it was found to mean.
    wanted: Vec<(String, usize)>,
    places: HashMap<Position, usize>,
    names: HashMap<String, usize>,
    /// The lengths of the names in bytes, so that one look per length finds a prefix.
    lengths: Vec<usize>,
}

impl Ids {
    /// The same id twice is one.
    pub fn new(typed: impl IntoIterator<Item = String>) -> Ids {
        let mut ids = Ids::default();
        for text in typed {
            let at = ids.wanted.len();
            let first = match Position::parse(&text) {
                Position::Id(_) | Position::Unknown => *ids.names.entry(text.clone()).or_insert(at),
                place => *ids.places.entry(place).or_insert(at),
            };
            if first == at {
                ids.wanted.push((text, 0));
            }
        }
        ids.lengths = ids.names.keys().map(String::len).collect();
        ids.lengths.sort_unstable();
        ids.lengths.dedup();
        ids
    }

    /// How many were asked for.
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether none was asked for.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether the letter that lies there is meant, and remembers that it was seen. `id` is the event's own.
    pub fn take(&mut self, position: &Position, id: Option<&str>) -> bool {
        let name = match position {
            Position::Id(name) => Some(&**name),
            _ => None,
        };
        let by_name = |text: &str| {
            let parts = self.lengths.iter().filter_map(|length| text.get(..*length));
            parts.filter_map(|part| self.names.get(part).copied()).next_back()
        };
        let found = self.places.get(position).copied();
        match found.or_else(|| name.and_then(by_name)).or_else(|| id.and_then(by_name)) {
            Some(at) => {
                self.wanted[at].1 += 1;
                true
            }
            None => false,
        }
    }

    /// Those that no letter was taken for.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().filter(|(_, seen)| *seen == 0).map(|(text, _)| &**text)
    }

    /// The first that stands for more than one letter, and for how many.
    pub fn ambiguous(&self) -> Option<(&str, usize)> {
        self.wanted.iter().find(|(_, seen)| *seen > 1).map(|(text, seen)| (&**text, *seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadletter::Origin;

    fn letter() -> Letter {
        Letter {
            read_as: Some("evcat"),
            kind: Some("exit".into()),
            error: Some("exit 65: total is not a number".into()),
            origin: Origin { topic: Some("orders.eu".into()), ..Origin::default() },
            group: Some("shipping".into()),
            attempts: Some(5),
            handler: None,
            failed_at: Some(1000),
            replays: 0,
            run: None,
            of: None,
            fingerprint: "f3a9c1".into(),
        }
    }

    fn globs(text: &str) -> Vec<GlobMatcher> {
        vec![globset::Glob::new(text).unwrap().compile_matcher()]
    }

    #[test]
    fn every_criterion_must_hold() {
        let fits = [
            Criteria::default(),
            Criteria {
                error: vec![Regex::new("never").unwrap(), Regex::new("not a").unwrap()],
                ..Default::default()
            },
            Criteria { origin: globs("orders.*"), ..Default::default() },
            Criteria { group: vec!["other".into(), "shipping".into()], ..Default::default() },
            Criteria { fingerprint: vec!["f3a".into()], ..Default::default() },
            Criteria { from: Some(1000), to: Some(1001), ..Default::default() },
        ];
        let does_not = [
            Criteria { error: vec![Regex::new("never").unwrap()], ..Default::default() },
            Criteria { origin: globs("orders"), ..Default::default() },
            Criteria { group: vec!["ship".into()], ..Default::default() },
            Criteria { fingerprint: vec!["3a9".into()], ..Default::default() },
            Criteria { run: vec!["k7m2".into()], ..Default::default() },
            Criteria { from: Some(1001), ..Default::default() },
            Criteria { to: Some(1000), ..Default::default() },
            Criteria { group: vec!["shipping".into()], to: Some(1), ..Default::default() },
        ];
        assert!(fits.iter().all(|criteria| criteria.matches(&letter())));
        assert!(!does_not.iter().any(|criteria| criteria.matches(&letter())));
    }

    #[test]
    fn what_a_record_does_not_say_never_matches() {
        let unknown =
            Letter { error: None, group: None, failed_at: None, origin: Origin::default(), ..letter() };
        assert!(!Criteria { from: Some(0), ..Default::default() }.matches(&unknown));
        assert!(!Criteria { origin: globs("*"), ..Default::default() }.matches(&unknown));
        assert!(!Criteria { group: vec![String::new()], ..Default::default() }.matches(&unknown));
    }

    #[test]
    fn a_position_is_written_whole_and_an_id_may_be_begun() {
        let mut ids = Ids::new(["12", "3:4", "019a-xyz", "12"].map(String::from));
        assert_eq!(ids.len(), 3);
        assert!(!ids.take(&Position::Offset(120), None));
        assert!(ids.take(&Position::Offset(12), None));
        assert!(!ids.take(&Position::Offset(1), Some("019b")));
        assert!(ids.take(&Position::Offset(2), Some("019a-xyz-and-more")));
        assert_eq!(ids.missing().collect::<Vec<_>>(), ["3:4"]);
        assert_eq!(ids.ambiguous(), None);
        assert!(ids.take(&Position::Id("019a-xyz1".into()), None));
        assert_eq!(ids.ambiguous(), Some(("019a-xyz", 2)));
    }
}
