//! From the arguments to what is to be done: everything that can be refused is refused here, before any I/O on the
//! broker.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use uuid::Uuid;

use super::prepare::Prepare;
use super::{EventArgs, InputArgs, InputFormat, OnError, PublishArgs, ReceiptFormat, SafetyArgs};
use crate::broker::{Ability, PublishOptions, Start, abilities};
use crate::event::cloudevents::Binding;
use crate::event::{HeaderValue, HeadersBuf, Millis, Name};
use crate::flow::failures::Failures;
use crate::flow::pacer::Pacer;
use crate::flow::schema::Schema;
use crate::input::{CloudEvent, Format, Input, Shape, Source};
use crate::outcome::Failure;
use crate::query::Transform;
use crate::session::{Session, legal};
use crate::settings::point::Point;

/// All that is to be done.
pub(super) struct Plan {
    /// Where to, for screens: `orders on local`.
    pub target: String,
    pub input: Input,
    pub prepare: Prepare,
    pub pacer: Pacer,
    pub options: PublishOptions,
    pub failures: Failures,
    pub receipts: Option<ReceiptFormat>,
    pub stop_at_error: bool,
    pub dry_run: bool,
    /// So many events were asked for, each of which is read once.
    pub count: Option<u64>,
    /// So many are published of each.
    pub repeat: u64,
    /// Bytes that will be read, where that is known.
    pub size: Option<u64>,
    /// One event alone, not a stream of them.
    pub single: bool,
}

pub(super) fn resolve(args: PublishArgs, session: &Session) -> anyhow::Result<Plan> {
    let PublishArgs { topic, payload, input, event, safety } = args;
    let InputArgs { format, delimiter, null, files, each, count, repeat, rate } = input;
    let SafetyArgs { schema, on_error, failed_to, dry_run, output } = safety;
    session.writable("publish")?;

    let payload = payload.filter(|payload| payload != "-");
    let single = payload.is_some() || event.tombstone;
    let given = Given { single, files: !files.is_empty(), each, format, other: delimiter.is_some() || null };
    let format = given.format(&delimiter)?;
    let topic = topic.map(|topic| name(&topic)).transpose()?;
    if topic.is_none() && event.topic_from.is_none() && format != Format::Events {
        return Err(Failure::usage("publish: TOPIC is missing")
            .hint("evcat publish orders '{\"order\":\"A-17\"}'; or --topic-from JQ, or --input events")
            .into());
    }
    if let Some(topic) = &topic {
        legal(&*session.broker, "publish", topic)?;
    }
    guard(&event, topic.as_deref(), session)?;

    let schema = schema.map(|path| Schema::open("--schema", &path)).transpose()?;
    let delay = event.delay;
    let (shape, prepare) = shape(event, topic.clone(), &format, repeat, schema, session)?;

    let sources = match (single, files.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![Source::stdin()?],
        // All of them are opened before the first is read: one that cannot be must not leave half of the work done.
        (false, false) => files.iter().map(|path| Source::open(path)).collect::<Result<_, _>>()?,
    };
    let own: Vec<_> = sources.iter().map(Source::file).collect();
    let failures = Failures::open(failed_to.as_deref(), &own)?;
    if let [Source::Stdin(file)] = &sources[..]
        && std::io::IsTerminal::is_terminal(file)
    {
        session.ui.status("reading events from the terminal, one per line; Ctrl-D ends");
    }
    let size = sources.iter().map(Source::size).sum::<Option<u64>>().filter(|_| !single);
    let stop_at_error = on_error == OnError::Stop;
    let input = match single {
        true => Input::single(payload.as_ref().map(|payload| payload.as_bytes()), shape),
        false => Input::read(sources, format, shape, stop_at_error, count)?,
    };
    let target = match &topic {
        Some(topic) => format!("{} on {}", crate::output::words::name(topic), session.endpoint.name),
        None => session.endpoint.name.clone(),
    };
    let single = single && repeat == 1;
    let in_flight = if single { 1 } else { PublishOptions::default().in_flight };
    Ok(Plan {
        target,
        input,
        prepare,
        pacer: Pacer::new(rate, None),
        options: PublishOptions { in_flight, delay, ..PublishOptions::default() },
        failures,
        receipts: output,
        stop_at_error,
        dry_run,
        count,
        repeat,
        size,
        single,
    })
}

/// What was said about the input, to be checked as a whole.
struct Given {
    single: bool,
    files: bool,
    each: bool,
    format: Option<InputFormat>,
    other: bool,
}

impl Given {
    fn format(&self, delimiter: &Option<String>) -> Result<Format, Failure> {
        if self.single && (self.format.is_some() || self.other) {
            return Err(Failure::usage("--input, -d and -0: stdin is not read, because a payload was given"));
        }
        if self.each && self.format != Some(InputFormat::Json) {
            return Err(Failure::usage("--each: needs --input json"));
        }
        Ok(match (self.format, delimiter, self.other) {
            (_, Some(delimiter), _) if delimiter.is_empty() => {
                return Err(Failure::usage("-d: an empty delimiter ends nothing")
                    .hint("all as one event: --input whole"));
            }
            (_, Some(delimiter), _) => Format::Delimiter(delimiter.as_bytes().to_vec()),
            (_, None, true) => Format::Delimiter(vec![0]),
            (Some(InputFormat::Lines), ..) => Format::Lines,
            (Some(InputFormat::Whole), ..) => Format::Whole,
            (Some(InputFormat::Json), ..) => Format::Json { each: self.each },
            (Some(InputFormat::Events), ..) => Format::Events,
            (Some(InputFormat::Frames), ..) => Format::Frames,
            (None, ..) if self.files => Format::Whole,
            (None, ..) => Format::Lines,
        })
    }
}

fn name(topic: &str) -> Result<Name, Failure> {
    match topic {
        "" => Err(Failure::usage("publish: TOPIC is empty").hint("is a variable of the script unset?")),
        _ => Ok(topic.into()),
    }
}

/// Refuses what this broker cannot do.
fn guard(event: &EventArgs, topic: Option<&str>, session: &Session) -> Result<(), Failure> {
    let twice = |names: &[String]| {
        let mut names: Vec<_> = names.iter().map(|header| header.split('=').next()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    };
    let wants: [(bool, &str, &Ability); 11] = [
        (event.key.is_some(), "--key", &abilities::KEY),
        (event.key_delimiter.is_some(), "--key-delimiter", &abilities::KEY),
        (event.key_from.is_some(), "--key-from", &abilities::KEY),
        (!event.headers.is_empty(), "--header", &abilities::HEADERS),
        (twice(&event.headers), "--header", &abilities::DUPLICATE_HEADERS),
        (event.kind.is_some(), "--type", &abilities::HEADERS),
        (event.partition.is_some(), "--partition", &abilities::PARTITIONS),
        (event.keep_partition, "--keep-partition", &abilities::PARTITIONS),
        (event.timestamp.is_some() || event.keep_timestamp, "--timestamp", &abilities::TIMESTAMP),
        (event.tombstone, "--tombstone", &abilities::TOMBSTONE),
        (event.delay.is_some(), "--delay", &abilities::DELAY),
    ];
    let needs: Vec<_> =
        wants.into_iter().filter(|(wanted, ..)| *wanted).map(|(_, flag, ability)| (flag, ability)).collect();
    session.guard(&needs, topic.unwrap_or_default())
}

fn shape(
    event: EventArgs,
    topic: Option<Name>,
    format: &Format,
    repeat: u64,
    schema: Option<Schema>,
    session: &Session,
) -> anyhow::Result<(Shape, Prepare)> {
    let EventArgs {
        key,
        key_delimiter,
        key_from,
        headers,
        partition,
        timestamp,
        keep_timestamp,
        keep_partition,
        tombstone: _,
        topic_from,
        id_from,
        transform,
        kind,
        source,
        subject,
        id,
        delay: _,
    } = event;
    let canonical = *format == Format::Events;
    for (given, flag) in [(keep_timestamp, "--keep-timestamp"), (keep_partition, "--keep-partition")] {
        if given && !canonical {
            return Err(Failure::usage(format!("{flag}: needs --input events")).into());
        }
    }
    match key_delimiter.as_deref() {
        Some("") => return Err(Failure::usage("-K: an empty delimiter ends nothing").into()),
        Some(_) if matches!(format, Format::Json { .. } | Format::Events | Format::Frames) => {
            let refusal = "-K: cuts the key off lines, and the input is not made of them";
            return Err(Failure::usage(refusal)
                .hint("--key-from '.payload.order' takes it from the event")
                .into());
        }
        _ => {}
    }
    for (text, flag) in [(&kind, "--type"), (&source, "--source"), (&subject, "--subject"), (&id, "--id")] {
        if text.as_ref().is_some_and(String::is_empty) {
            return Err(Failure::usage(format!("{flag}: is empty")).into());
        }
    }
    if id.is_some() && repeat > 1 {
        let refusal = "--id: names one event, and --repeat makes several";
        return Err(Failure::usage(refusal).hint("--id-from JQ takes each from its event").into());
    }
    let binding = Binding::of(session.endpoint.backend);
    let clock = session.surroundings.clock.clone();
    let cloud = (kind.is_some() || id.is_some()).then(|| CloudEvent {
        binding,
        id,
        kind,
        source: source.unwrap_or_else(|| "evcat".into()),
        subject,
        ids: Arc::new(|| Uuid::now_v7().to_string()),
        clock,
    });
    let environment = session.environment();
    let topic_from = topic_from.filter(|_| topic.is_none());
    let transform = transform.map(|text| Transform::compile("--transform", &text)).transpose()?;
    let prepare =
        Prepare::new(transform, topic_from.as_deref(), key_from.as_deref(), id_from.as_deref(), binding)?;
    let shape = Shape {
        needs_topic: topic_from.is_none() && !prepare.transforms(),
        timestamp: timestamp.map(|point| time(&point, topic.as_ref(), session)).transpose()?,
        topic,
        canonical,
        key: key.map(String::into_bytes),
        key_delimiter: key_delimiter.map(String::into_bytes),
        headers: header_list(&headers)?,
        cloud,
        trace: environment.traceparent.clone().map(|parent| (parent, environment.tracestate.clone())),
        keep_timestamp,
        keep_partition,
        partition,
        repeat,
    };
    Ok((shape, prepare.with_schema(schema)))
}

fn header_list(headers: &[String]) -> Result<HeadersBuf, Failure> {
    let mut list = HeadersBuf::default();
    for header in headers {
        match header.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                list.push(name.as_bytes(), HeaderValue::Bytes(value.as_bytes()));
            }
            _ => {
                let refusal = format!("-H {header}: a header is NAME=VALUE");
                return Err(Failure::usage(refusal).hint("such as -H source=web; an empty value: -H source="));
            }
        }
    }
    Ok(list)
}

/// A POINT that is a time.
fn time(point: &Point, topic: Option<&Name>, session: &Session) -> Result<Millis, Failure> {
    let topics = [topic.cloned().unwrap_or_else(|| "".into())];
    let refuse = || {
        Failure::usage(format!("--timestamp {point}: is not a time"))
            .hint("such as 2026-01-31T14:05:00Z, 14:05, 10m (ago), @1769868300")
    };
    match session.point("--timestamp", std::slice::from_ref(point), &topics)? {
        Start::Time(at) => Ok(at),
        Start::Latest => Ok(session.now()),
        _ => Err(refuse()),
    }
}
