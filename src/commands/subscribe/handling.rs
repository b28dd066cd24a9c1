//! From arguments to a handler at work, and which events it gets.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::args::{Handling, Plan};
use crate::broker::{Broker, Delivery, PublishOptions};
use crate::commands::topics::literal;
use crate::event::{Event, Name, cloudevents::Binding, own};
use crate::flow::driver::{Hands, Judge};
use crate::flow::filter::{Filter, Verdict};
use crate::flow::handler::{self, Command, Copying, Crew, Lines, Printed, Relay};
use crate::flow::lanes::{Failure, Task};
use crate::flow::outbox::Window;
use crate::outcome;
use crate::output::{Printer, Stdout};
use crate::session::{Endpoint, Session, guard, legal, writable};

/// The filters, and those copies that were put back for another group.
pub struct Judging {
    pub filter: Filter,
    pub group: Option<Name>,
}

impl Judging {
    /// Whether every event may be assumed to pass.
    pub fn is_plain(&self) -> bool {
        self.filter.is_empty()
    }

    /// Whether it was put back or replayed for another group: ours has handled it before.
    fn is_for_others(&self, event: &Event) -> bool {
        match (&self.group, event.headers().text(own::REPLAY_GROUP)) {
            (Some(group), Some(meant)) => **group != *meant,
            _ => false,
        }
    }
}

#[async_trait]
impl Judge for Judging {
    async fn judge(&mut self, deliveries: &[Delivery]) -> anyhow::Result<Vec<Task>> {
        let task = |delivery: &Delivery| match self.is_for_others(&delivery.event) {
            true => Task::Skip,
            false => Task::Handle,
        };
        let mut tasks: Vec<_> = deliveries.iter().map(task).collect();
        if self.filter.is_empty() {
            return Ok(tasks);
        }
        let open: Vec<_> = (0..deliveries.len()).filter(|at| tasks[*at] == Task::Handle).collect();
        let asked: Vec<_> = open.iter().map(|at| deliveries[*at].event.clone()).collect();
        for (at, verdict) in open.into_iter().zip(self.filter.judge(&asked, None).await?) {
            tasks[at] = match verdict {
                Verdict::Keep => Task::Handle,
                Verdict::Skip => Task::Skip,
                Verdict::Failed(why) => {
                    Task::Dead(Box::new(Failure::new("filter", "the filter failed").said(why)))
                }
            };
        }
        Ok(tasks)
    }
}

/// Another broker.
pub type Target = (Endpoint, Arc<dyn Broker>);

impl Handling {
    /// The broker of `--to-broker`, refused before anything is made.
    pub fn target(&self, session: &Session) -> anyhow::Result<Option<Target>> {
        let Handling::Copy { to_broker, into } = self else { return Ok(None) };
        let second = to_broker.as_ref().map(|given| session.second(given)).transpose()?;
        if let Some((endpoint, _)) = &second {
            writable(endpoint, "subscribe --to-broker")?;
        }
        if let Some(into) = into {
            legal(second.as_ref().map_or(&*session.broker, |(_, broker)| &**broker), "--into", into)?;
        }
        Ok(second)
    }

    /// Begins: workers are started, a publisher is opened. `target` is of [`Handling::target`].
    pub async fn begin(
        self,
        target: Option<Target>,
        session: &Session,
        plan: &Plan,
        in_flight: usize,
        several: bool,
    ) -> anyhow::Result<Crew<Hands>> {
        let (tell, told) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        match self {
            Handling::Print { mut printer, select } => {
                printer.show_topics(several);
                let lines = Box::new(Printing { printer, select });
                Ok(handler::print(Stdout::open()?, lines, tell, told, tasks).with(Hands::Stream))
            }
            Handling::Run { program, args, worker, whole_event, timeout } => {
                let relay = Relay::open(tell.clone(), &mut tasks)?;
                let command = Command {
                    program,
                    args,
                    whole_event,
                    timeout,
                    group: plan.group.as_ref().map(|group| group.to_string()),
                    broker: session.endpoint.given.expose().to_owned(),
                    relay,
                };
                let begin = if worker { handler::worker } else { handler::exec };
                Ok(begin(command, plan.concurrency, tell, told, tasks).with(Hands::Lanes))
            }
            Handling::Copy { into, to_broker: _ } => {
                let (endpoint, broker) =
                    target.unwrap_or_else(|| (session.endpoint.clone(), session.broker.clone()));
                if let Some(into) = &into {
                    guard(&endpoint, &*broker, &[], into)?;
                    if endpoint.backend != "local" && broker.topics(&literal(into)).await?.is_empty() {
                        let message = format!("--into: topic '{into}' does not exist on {}", endpoint.name);
                        let make = format!("to make it: evcat topics create {into}{}", endpoint.flag);
                        return Err(outcome::Failure::usage(message).hint(make).into());
                    }
                }
                let options = PublishOptions { in_flight, ..PublishOptions::default() };
                let copying = Copying {
                    publisher: broker.publisher(options).await?,
                    binding: Binding::of(endpoint.backend),
                    keep_timestamp: broker
                        .capabilities(into.as_deref().unwrap_or(&plan.topics[0]))
                        .set_timestamp,
                    into,
                };
                let window = Window { events: in_flight, ..Window::default() };
                Ok(handler::copy(copying, window, tell, told, tasks).with(Hands::Stream))
            }
        }
    }
}

struct Printing {
    printer: Box<Printer>,
    select: Option<Box<Filter>>,
}

#[async_trait]
impl Lines for Printing {
    async fn write(
        &mut self,
        events: &[Event],
        out: &mut Vec<u8>,
        printed: &mut Vec<Printed>,
    ) -> anyhow::Result<()> {
        let Some(select) = &mut self.select else {
            self.printer.prepare(events);
            for event in events {
                self.printer.event(out, event);
                printed.push(Printed { end: out.len(), failed: None });
            }
            return Ok(());
        };
        for answer in select.answers(events, None).await? {
            let failed = match answer {
                Ok(results) => {
                    results.iter().for_each(|json| self.printer.value(out, json));
                    None
                }
                Err(why) => Some(Failure::new("filter", "the expression failed").said(why)),
            };
            printed.push(Printed { end: out.len(), failed });
        }
        Ok(())
    }
}
