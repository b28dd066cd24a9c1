//! Topics as they are typed: names, and globs over what exists.

use super::topics::{holds_dead_letters, literal, unknown_topic};
use crate::broker::TopicInfo;
use crate::event::Name;
use crate::outcome::Failure;
use crate::output::sanitize;
use crate::session::Session;

/// The topics that were meant, and what is known of them; a plain name that does not exist has `None`.
pub struct Topics(pub Vec<(Name, Option<TopicInfo>)>);

/// Whether a name is a glob.
pub fn is_glob(name: &str) -> bool {
    name.contains(['*', '?', '[', '{'])
}

/// Resolves names and globs. A glob never matches dead-letter, `.parked`, `.settled` or temporary topics.
///
/// Errors: a glob that matches nothing (exit 2).
pub async fn resolve(session: &Session, typed: &[String]) -> anyhow::Result<Topics> {
    let mut topics: Vec<(Name, Option<TopicInfo>)> = Vec::new();
    for name in typed {
        let glob = if is_glob(name) { name.clone() } else { literal(name) };
        if let Err(error) = globset::Glob::new(&glob) {
            let shown = sanitize::text(name);
            return Err(Failure::usage(format!("TOPIC '{shown}': {}", error.kind()))
                .hint("a glob is such as 'orders.*'; what is special in a name: 'a[[]b'")
                .into());
        }
        let found = session.broker.topics(&glob).await?;
        if !is_glob(name) {
            topics.push((Name::from(name.as_str()), found.into_iter().find(|info| info.name == *name)));
            continue;
        }
        let mut plain: Vec<_> = found.into_iter().filter(|info| !is_special(info)).collect();
        if plain.is_empty() {
            let shown = sanitize::text(name);
            let refusal = format!("no topic on {} matches '{shown}'", session.endpoint.name);
            let hint = format!(
                "which there are: evcat topics list{}; dead-letter topics are read when they are named",
                session.endpoint.flag
            );
            return Err(Failure::usage(refusal).hint(hint).into());
        }
        plain.sort_by(|a, b| a.name.cmp(&b.name));
        topics.extend(plain.into_iter().map(|info| (Name::from(info.name.as_str()), Some(info))));
    }
    let mut seen = std::collections::HashSet::new();
    topics.retain(|(name, _)| seen.insert(name.clone()));
    Ok(Topics(topics))
}

/// The dead-letter topic of a group on a topic, where nobody named another.
pub fn usual_dlq(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.dlq")
}

/// What a person does not mean by `*`.
fn is_special(info: &TopicInfo) -> bool {
    info.temporary || holds_dead_letters(info)
}

impl Topics {
    /// Their names.
    pub fn names(&self) -> Vec<Name> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Those that do not exist.
    pub fn missing(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, info)| info.is_none()).map(|(name, _)| &**name).collect()
    }

    /// Events in all of them, where every one is known exactly.
    pub fn events(&self) -> Option<u64> {
        let known = |info: &Option<TopicInfo>| info.as_ref().map_or(Some(0), |i| i.waiting.map(|n| n.events));
        self.0.iter().map(|(_, info)| known(info)).sum()
    }

    /// `orders`, `orders, payments`, `7 topics`.
    pub fn words(&self) -> String {
        match &self.0[..] {
            all @ ([_] | [_, _] | [_, _, _]) => {
                all.iter().map(|(name, _)| sanitize::text(name)).collect::<Vec<_>>().join(", ")
            }
            many => format!("{} topics", many.len()),
        }
    }

    /// Refuses topics that do not exist, with the nearest name that does.
    pub async fn must_exist(&self, session: &Session) -> anyhow::Result<()> {
        match self.missing().first() {
            Some(name) => Err(unknown_topic(session, name).await.into()),
            None => Ok(()),
        }
    }
}
