//! `evcat dlq show`.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::choosing::{ChooseArgs, Chooser};
use super::heap::{Dead, Dlq, Heap, reader};
use super::words::{expires, handler, or_dash, origin};
use crate::broker::{Read, Start, Stop};
use crate::commands::topics::{TableFormat, print};
use crate::deadletter::plan::{Rules, Way, way};
use crate::event::{Name, Position, cloudevents, trace};
use crate::outcome::{Exit, Failure, Outcome};
use crate::output::{sanitize, words};
use crate::session::Session;

/// All that is known of one dead letter
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The topic of dead letters, or @FILE that was kept
    #[arg(value_name = "DLQ", value_parser = Dlq::parse)]
    dlq: Dlq,
    /// Its id, the first column of dlq peek: a position, or how a message id begins
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    id: String,
    /// Keep all that was read in this file; later looks can read it as @FILE
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// How to print: for people, or the canonical line with its .failure
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "human")]
    output: TableFormat,
}

/// Bytes of a payload that a terminal gets.
const SHOWN: usize = 4096;

/// Runs it.
pub async fn run(args: ShowArgs, session: &Session) -> anyhow::Result<Outcome> {
    let ShowArgs { dlq, id, snapshot, output } = args;
    let interrupted = || Outcome::Interrupted(session.stop.signal().unwrap_or_default());
    let Some(mut chooser) = Chooser::resolve(ChooseArgs::default(), vec![id.clone()], session).await? else {
        return Ok(interrupted());
    };
    let mut heap = Heap::open(session, &dlq, snapshot.as_deref()).await?;
    let (mut found, mut alike) = (None, HashMap::<String, u64>::new());
    while let Some(dead) = heap.next().await? {
        let chosen = chooser.choose(&dead).await?;
        for (dead, chosen) in dead.into_iter().zip(chosen) {
            *alike.entry(dead.letter.fingerprint.clone()).or_default() += 1;
            if chosen {
                found = Some(dead);
            }
        }
    }
    let (stopped, info) = (heap.stopped(), heap.info.clone());
    heap.close().await?;
    if stopped {
        return Ok(interrupted());
    }
    chooser.finish(&dlq, session)?;
    let (dead, settled) = match (found, &dlq) {
        (Some(dead), _) => (dead, false),
        (None, Dlq::Topic(name)) => match settled(session, name, &id).await? {
            Some(dead) => (dead, true),
            None => return Err(no_such(session, &dlq, &id).into()),
        },
        (None, Dlq::File(_)) => return Err(no_such(session, &dlq, &id).into()),
    };
    let replay = match (&dlq, settled, &output) {
        (Dlq::Topic(name), false, TableFormat::Human) => Some(where_to(session, name, &dead).await?),
        _ => None,
    };
    let mut out = Vec::new();
    match output {
        TableFormat::Json => dead.line(&mut out),
        TableFormat::Human => {
            let like = alike.get(&dead.letter.fingerprint).copied().unwrap_or(0);
            let expires = expires(&info, dead.event.timestamp(), session.now());
            let view = View { dead: &dead, dlq: &dlq, settled, like, expires, replay, session };
            view.text(&mut out);
        }
    }
    print(out).await
}

/// That id does not stand for any letter.
pub fn no_such(session: &Session, dlq: &Dlq, id: &str) -> Failure {
    let flag = &session.endpoint.flag;
    Failure::usage(format!("no dead letter {id} in {}", dlq.title(session)))
        .hint(format!("the ids: evcat dlq peek {}{flag}", dlq.typed()))
        .exit(Exit::Usage)
}

/// A letter that does not wait any more, where the broker still has it.
pub async fn settled(session: &Session, dlq: &Name, id: &str) -> anyhow::Result<Option<Dead>> {
    let position = Position::parse(id);
    if matches!(position, Position::Id(_) | Position::Unknown)
        || !session.broker.capabilities(dlq).read_by_position
    {
        return Ok(None);
    }
    let start = Start::At(vec![(dlq.clone(), position.clone())]);
    let mut reader = reader(session, dlq, start, Stop::Now, false).await?;
    let found = loop {
        match reader.next().await? {
            Read::CaughtUp => (),
            Read::End => break None,
            Read::Events(events) => {
                break events.first().filter(|event| *event.position() == position).cloned();
            }
        }
    };
    reader.close().await?;
    Ok(found.map(Dead::of))
}

struct View<'a> {
    dead: &'a Dead,
    dlq: &'a Dlq,
    settled: bool,
    like: u64,
    expires: String,
    replay: Option<String>,
    session: &'a Session,
}

/// Where a replay would put it.
async fn where_to(session: &Session, dlq: &Name, dead: &Dead) -> anyhow::Result<String> {
    let rules = Rules::of(dlq);
    let mut places = HashMap::new();
    if let Some(topic) = &dead.letter.origin.topic {
        let group = dead.letter.group.as_deref();
        places.insert(topic.clone(), super::replay::place_of(session, topic, group).await?);
    }
    let groups = |topic: &Name| match places.get(&**topic) {
        Some(place) if !place.groups.is_empty() => format!("; {} see it", place.groups.join(", ")),
        _ => String::new(),
    };
    Ok(match way(&dead.letter, &rules, &places) {
        Way::Group { topic, group } => format!("would go to {group} of {topic}; nobody else sees it"),
        Way::Topic { topic, .. } => format!("would go into {topic}{}", groups(&topic)),
        Way::Parked { topic } => {
            format!("put back {} times already: would go to {topic}", dead.letter.replays)
        }
        Way::Here => String::new(),
        Way::Stays(why) => format!("would stay: {}", why.words()),
    })
}

impl View<'_> {
    fn text(&self, out: &mut Vec<u8>) {
        let View { dead: Dead { event, letter, .. }, dlq, session, .. } = self;
        let (now, zone, style) = (session.now(), session.zone(), session.ui.out);
        let id = event.position().to_string();
        let mut row = |name: &str, value: &str| {
            let value = if style.terminal { sanitize::text(value) } else { value.into() };
            out.extend_from_slice(format!("{} {value}\n", style.faint(&format!("{name:12}"))).as_bytes());
        };
        row("dead letter", &format!("{id} in {}", dlq.title(session)));
        if self.settled {
            row("settled", "already: put back, parked, handled or dropped");
        }
        let died = letter.failed_at.map(|at| {
            let expires =
                if self.expires == "-" { "".into() } else { format!(", expires in {}", self.expires) };
            format!("{} ({} ago){expires}", words::clock(at, now, &zone), words::ago(at, now))
        });
        row("died", &or_dash(died));
        let published = letter.origin.timestamp.map(|at| words::clock(at, now, &zone));
        let published = published.map_or(String::new(), |at| format!(", published {at}"));
        row("from", &format!("{}{published}", origin(&letter.origin)));
        let handler =
            letter.handler.as_ref().map_or(String::new(), |handler| format!("      handler {handler}"));
        row("group", &format!("{}{handler}", or_dash(letter.group.clone())));
        let tries = or_dash(letter.attempts.map(|n| n.to_string()));
        let run = letter.run.as_ref().map_or(String::new(), |run| format!(", last by run {run}"));
        row("tries", &format!("{tries}     put back before {}{run}", letter.replays));
        let error = letter.error.as_deref().or(letter.kind.as_deref());
        for (at, line) in error.unwrap_or("-").lines().enumerate() {
            row(if at == 0 { "error" } else { "" }, line);
        }
        let like = match self.like {
            0 | 1 => "no other like it".to_owned(),
            n => format!("{} like it", words::count(n)),
        };
        row("fingerprint", &format!("{}, {like}", letter.fingerprint));
        let headers = event.headers();
        let identity: Vec<String> = [
            cloudevents::id(headers).map(String::from),
            cloudevents::kind(headers).map(|kind| format!("type {kind}")),
            trace::id(headers).map(|trace| format!("trace {trace}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !identity.is_empty() {
            let none = if cloudevents::id(headers).is_none() { "-    " } else { "" };
            row("id", &format!("{none}{}", identity.join("    ")));
        }
        if let Some(of) = &letter.of {
            row("edited from", of);
        }
        row(
            "read as",
            &match (letter.read_as, session.ui.verbose) {
                (Some(name), true) => name.to_owned(),
                (Some(name), false) => format!("{name}; -v adds the raw headers"),
                (None, _) => "no known record of a failure".to_owned(),
            },
        );
        for (at, (name, value)) in self.headers().into_iter().enumerate() {
            row(if at == 0 { "headers" } else { "" }, &format!("{name} = {value}"));
        }
        row(
            "key",
            &match event.key() {
                None => "-".into(),
                Some(key) => String::from_utf8_lossy(key).into_owned(),
            },
        );
        self.payload(out);
        self.next(out, &id);
    }

    /// The event's own, and with -v those of the record too.
    fn headers(&self) -> Vec<(String, String)> {
        let shown = |name: &[u8]| {
            let text = String::from_utf8_lossy(name);
            let told =
                crate::deadletter::decoders::is_record_header(name) || text.starts_with("evcat-replay-");
            self.session.ui.verbose || !told
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = |value| match value {
            crate::event::HeaderValue::Bytes(bytes) => text(bytes),
            crate::event::HeaderValue::Null => "null".into(),
            other => format!("{other:?}"),
        };
        let headers = self.dead.event.headers();
        headers.iter().filter(|(name, _)| shown(name)).map(|(name, v)| (text(name), value(v))).collect()
    }

    fn payload(&self, out: &mut Vec<u8>) {
        let style = self.session.ui.out;
        let label = |kind: &str| format!("{} {kind}\n", style.faint(&format!("{:12}", "payload")));
        let Some(payload) = self.dead.event.payload() else {
            return out.extend_from_slice(label("(tombstone)").as_bytes());
        };
        let size = words::bytes(payload.len() as u64);
        let json = serde_json::from_slice::<serde_json::Value>(payload)
            .ok()
            .and_then(|value| serde_json::to_string_pretty(&value).ok());
        let (kind, text) = match (json, std::str::from_utf8(payload)) {
            (Some(json), _) => ("json", json),
            (None, Ok(text)) => ("text", text.to_owned()),
            (None, Err(_)) => {
                let line = format!("binary, {size}; -o json has it in base64");
                return out.extend_from_slice(label(&line).as_bytes());
            }
        };
        out.extend_from_slice(label(&format!("{kind}, {size}")).as_bytes());
        let (shown, more) = match style.terminal && text.len() > SHOWN {
            true => text.split_at(text.floor_char_boundary(SHOWN)),
            false => (text.as_str(), ""),
        };
        for line in shown.lines() {
            let line = if style.terminal { sanitize::text(line) } else { line.into() };
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        if !more.is_empty() {
            let more = words::bytes(more.len() as u64);
            out.extend_from_slice(format!("… {more} more, -o json shows all\n").as_bytes());
        }
    }

    fn next(&self, out: &mut Vec<u8>, id: &str) {
        let (Dlq::Topic(_), false) = (self.dlq, self.settled) else { return };
        let View { dead, dlq, session, .. } = self;
        let (typed, flag, style) = (dlq.typed(), &session.endpoint.flag, session.ui.out);
        if let Some(replay) = &self.replay {
            let replay = if style.terminal { sanitize::text(replay) } else { replay.into() };
            out.extend_from_slice(
                format!("{} {replay}\n", style.faint(&format!("{:12}", "replay"))).as_bytes(),
            );
        }
        let handler = handler(&dead.letter).unwrap_or("COMMAND");
        let command = format!("evcat dlq replay {typed}{flag} {}", words::shell_quoted(id));
        let lines = format!(
            "{} {command} -- {handler}\n{} {command}\n",
            style.hint("try it here:"),
            style.hint("put it back:")
        );
        out.extend_from_slice(lines.as_bytes());
    }
}
