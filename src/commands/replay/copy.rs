//! Copies: into another topic, another broker, or both.

use std::sync::Arc;

use crate::broker::{Broker, abilities};
use crate::commands::topics::literal;
use crate::deadletter::copy::run_id;
use crate::event::{Batch, Event, Events, HeadersBuf, Name, Position, cloudevents, own, time};
use crate::outcome::Failure;
use crate::output::words;
use crate::session::{Endpoint, Session, guard, legal, writable};

/// Where copies go and what they are like.
pub struct Copying {
    pub endpoint: Endpoint,
    pub broker: Arc<dyn Broker>,
    /// `None`: the same names.
    pub into: Option<Name>,
    verbatim: bool,
    another: bool,
    run: String,
}

impl Copying {
    /// Chooses the broker; nothing is reached yet.
    pub fn resolve(
        session: &Session,
        into: Option<&str>,
        to_broker: Option<&str>,
        verbatim: bool,
    ) -> anyhow::Result<Copying> {
        let (endpoint, broker) = match to_broker {
            Some(given) => session.second(given)?,
            None => (session.endpoint.clone(), session.broker.clone()),
        };
        writable(&endpoint, "replay --into")?;
        if let Some(into) = into {
            legal(&*broker, "--into", into)?;
        }
        let another = endpoint.backend != session.endpoint.backend;
        let run = run_id(&mut fastrand::Rng::new());
        Ok(Copying { endpoint, broker, into: into.map(Name::from), verbatim, another, run })
    }

    /// `into orders-again on prod`, as a screen may have it.
    pub fn words(&self) -> String {
        match &self.into {
            Some(into) => format!("into {} on {}", words::name(into), self.endpoint.name),
            None => self.whole_words(),
        }
    }

    /// The same with a long name whole, so that two that differ are told apart.
    pub fn whole_words(&self) -> String {
        match &self.into {
            Some(into) => format!("into {into} on {}", self.endpoint.name),
            None => format!("into the same topics on {}", self.endpoint.name),
        }
    }

    /// The command that publishes an event where its copy was meant to go: a kept line names where it came from.
    pub fn again(&self) -> String {
        let into =
            self.into.as_deref().map(|into| format!(" {}", words::shell_quoted(into))).unwrap_or_default();
        format!("evcat publish{into}{}", self.endpoint.flag)
    }

    /// Refuses what the target cannot do, and topics that do not exist where they are not made by themselves.
    pub async fn check(&self, topics: &[Name]) -> anyhow::Result<()> {
        let targets = self.into.as_ref().map_or(topics, std::slice::from_ref);
        for topic in targets {
            legal(&*self.broker, "--to-broker", topic)?;
            if self.verbatim {
                guard(&self.endpoint, &*self.broker, &[("--verbatim", &abilities::TIMESTAMP)], topic)?;
            }
            if self.endpoint.backend != "local" && self.broker.topics(&literal(topic)).await?.is_empty() {
                let message = format!("--into: topic '{topic}' does not exist on {}", self.endpoint.name);
                let make = format!("to make it: evcat topics create {topic}{}", self.endpoint.flag);
                return Err(Failure::usage(message).hint(make).into());
            }
        }
        Ok(())
    }

    /// The copies of these events.
    pub fn copies(&self, events: &[Event]) -> Events {
        let partitions = events.first().is_some_and(|event| {
            self.broker.capabilities(self.into.as_ref().unwrap_or(event.topic())).partitions
        });
        let mut batch = Batch::default();
        for event in events {
            let headers = self.headers(event);
            let topic = self.into.as_ref().unwrap_or(event.topic());
            let place = match event.position().partition() {
                Some(partition) if self.verbatim && partitions => Position::Partition(partition),
                _ => Position::Unknown,
            };
            let at = event.timestamp().filter(|_| self.verbatim);
            batch.push(topic, event.key(), headers.as_headers(), event.payload(), at, place);
        }
        let copies = batch.finish();
        if events.iter().all(|event| event.extra().is_none()) {
            return copies;
        }
        let with = |(copy, event): (&Event, &Event)| match event.extra() {
            Some(extra) => copy.clone().with_extra(extra.clone()),
            None => copy.clone(),
        };
        copies.iter().zip(events).map(with).collect()
    }

    /// `evcat-replay-*` says what it is a copy of. A copy is for everybody, also one of an event that was put back for
    /// one group.
    fn headers(&self, event: &Event) -> HeadersBuf {
        let mut headers = HeadersBuf::default();
        let renamed = match self.another {
            true => cloudevents::rename(event.headers(), cloudevents::Binding::of(self.endpoint.backend)),
            false => {
                headers.extend(event.headers());
                std::mem::take(&mut headers)
            }
        };
        if self.verbatim {
            return renamed;
        }
        const OURS: [&str; 5] = [
            own::REPLAY_RUN,
            own::REPLAY_GROUP,
            own::REPLAY_TOPIC,
            own::REPLAY_POSITION,
            own::REPLAY_TIMESTAMP,
        ];
        for (name, value) in renamed.as_headers().iter() {
            if !OURS.iter().any(|ours| name == ours.as_bytes()) {
                headers.push(name, value);
            }
        }
        headers.push_str(own::REPLAY_RUN, &self.run);
        headers.push_str(own::REPLAY_TOPIC, event.topic());
        if *event.position() != Position::Unknown {
            headers.push_str(own::REPLAY_POSITION, &event.position().to_string());
        }
        if let Some(at) = event.timestamp() {
            headers.push_str(own::REPLAY_TIMESTAMP, &time::text(at));
        }
        headers
    }
}
