//! What expressions and the schema make of events between the input and the broker.

use crate::event::cloudevents::{self, Binding};
use crate::event::{Event, Events, Name};
use crate::flow::failures::Failures;
use crate::flow::schema::Schema;
use crate::input::{Chunk, Places};
use crate::outcome::Failure;
use crate::query::{Extract, Part, Query, Transform};

/// Everything between the input and the broker.
pub(super) struct Prepare {
    transform: Option<Transform>,
    extract: Option<Extract>,
    /// What the expressions of `extract` are for, in their order.
    parts: Vec<For>,
    binding: Binding,
    schema: Option<Schema>,
}

#[derive(Clone, Copy, PartialEq)]
enum For {
    Topic,
    Key,
    Id,
}

/// Events that may go, and what was left out.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub events: Events,
    pub places: Places,
    /// Left out by `--transform`.
    pub left_out: u64,
    /// Something failed, and nothing behind it is to go.
    pub stop: bool,
}

impl Prepare {
    pub fn new(
        transform: Option<Transform>,
        topic: Option<&str>,
        key: Option<&str>,
        id: Option<&str>,
        binding: Binding,
    ) -> Result<Prepare, Failure> {
        let wanted =
            [(For::Topic, "--topic-from", topic), (For::Key, "--key-from", key), (For::Id, "--id-from", id)];
        let (mut parts, mut queries) = (Vec::new(), Vec::new());
        for (part, flag, text) in wanted {
            if let Some(text) = text {
                parts.push(part);
                queries.push(Query::compile(flag, text)?);
            }
        }
        let extract = (!queries.is_empty()).then(|| Extract::new(queries));
        Ok(Prepare { transform, extract, parts, binding, schema: None })
    }

    pub fn with_schema(self, schema: Option<Schema>) -> Prepare {
        Prepare { schema, ..self }
    }

    /// Whether events may still get a topic.
    pub fn transforms(&self) -> bool {
        self.transform.is_some()
    }

    /// The events of a chunk that may go. What may not is handed to `failures`; with `stop` nothing behind it goes.
    pub async fn chunk(
        &mut self,
        chunk: Chunk,
        failures: &mut Failures,
        stop: bool,
    ) -> anyhow::Result<Ready> {
        let Chunk { events, places, broken, blank: _, bytes: _ } = chunk;
        let failed_before = failures.count();
        let mut ready = match broken.is_empty() && self.is_plain() {
            true => Ready { events, places, ..Ready::default() },
            false => {
                let mut broken = broken.into_iter().peekable();
                let (mut ready, mut going) = (Ready::default(), Vec::new());
                let made = self.events(&events).await?;
                ready.places = Places { numbers: Vec::new(), ..places.clone() };
                'events: for (index, made) in made.into_iter().map(Some).chain([None]).enumerate() {
                    while let Some(broken) = broken.next_if(|broken| broken.before <= index) {
                        failures.unreadable(places.name_of(broken.number), broken.why, &broken.raw)?;
                        if stop {
                            break 'events;
                        }
                    }
                    match made {
                        None => {}
                        Some(Ok(made)) => {
                            ready.left_out += u64::from(made.is_empty());
                            let number = places.numbers.get(index).copied().unwrap_or_default();
                            ready.places.numbers.resize(going.len() + made.len(), number);
                            going.extend(made);
                        }
                        Some(Err(why)) => {
                            failures.refused(places.name(index), why, &events[index])?;
                            if stop {
                                break 'events;
                            }
                        }
                    }
                }
                ready.events = going.into();
                ready
            }
        };
        ready.stop = stop && failures.count() > failed_before;
        Ok(ready)
    }

    fn is_plain(&self) -> bool {
        self.transform.is_none() && self.extract.is_none() && self.schema.is_none()
    }

    /// What becomes of each event.
    async fn events(&mut self, events: &[Event]) -> anyhow::Result<Vec<Result<Vec<Event>, String>>> {
        let mut made: Vec<Result<Vec<Event>, String>> = match &mut self.transform {
            Some(transform) => transform.apply(events, None).await?,
            None => events.iter().map(|event| Ok(vec![event.clone()])).collect(),
        };
        if let Some(extract) = &mut self.extract {
            let flat: Vec<Event> = made.iter().flatten().flatten().cloned().collect();
            let mut answers = extract.extract(&flat).await?.into_iter();
            for one in &mut made {
                let Ok(several) = one else { continue };
                let parted: Result<Vec<Event>, String> = several
                    .drain(..)
                    .zip(answers.by_ref())
                    .map(|(event, answer)| self.with_parts(&event, answer?))
                    .collect();
                *one = parted;
            }
        }
        for one in &mut made {
            let wrong = one.iter().flatten().find_map(|event| self.check(event).err());
            if let Some(why) = wrong {
                *one = Err(why);
            }
        }
        Ok(made)
    }

    fn check(&self, event: &Event) -> Result<(), String> {
        if event.topic().is_empty() {
            return Err("no topic: none was given, and the event has none".into());
        }
        self.schema.as_ref().map_or(Ok(()), |schema| schema.check(event))
    }

    fn with_parts(&self, event: &Event, found: Vec<Part>) -> Result<Event, String> {
        let mut topic: Name = event.topic().clone();
        let mut key = event.key().map(<[u8]>::to_vec);
        let mut headers = None;
        for (part, found) in self.parts.iter().zip(found) {
            let Part::Text(found) = found else { continue };
            let text = |flag| {
                String::from_utf8(found.clone()).map_err(|_| format!("{flag}: the result is not UTF-8"))
            };
            match part {
                For::Key => key = Some(found),
                For::Topic => topic = text("--topic-from")?.into(),
                For::Id => {
                    let mut list = cloudevents::without(event.headers(), "id");
                    cloudevents::write(&mut list, self.binding, "id", &text("--id-from")?);
                    headers = Some(list);
                }
            }
        }
        let headers = headers.as_ref().map_or(event.headers(), |list| list.as_headers());
        let position = event.position().clone();
        let made = Event::new(&topic, key.as_deref(), headers, event.payload(), event.timestamp(), position);
        Ok(made.with_extra_of(event))
    }
}
