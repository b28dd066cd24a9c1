//! `evcat publish`.

mod plan;
mod prepare;
mod pump;
mod receipt;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::flow::pacer::{self, Rate};
use crate::outcome::Outcome;
use crate::session::Session;
use crate::settings::duration;
use crate::settings::point::{self, Point};

/// Publish events: one from the command line, or many from stdin or files
///
/// An event has been published only when the broker has acknowledged it; exit 0 says that of all of them. Events keep
/// their order. From stdin an event leaves as soon as its line is complete. Stdin is read only where there is no PAYLOAD,
/// or it is '-'.
///
/// Every JQ sees the canonical event, as `tail -o json` prints it. --transform comes first, then --topic-from,
/// --key-from and --id-from, then --schema.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  evcat publish orders '{\"order\":\"A-17\"}' -k A-17
  tail -f app.log | evcat publish logs
  evcat publish orders --input json --key-from .payload.order < orders.json
  evcat tail orders --from beginning --no-follow -o json | evcat publish copy --input events")]
pub struct PublishArgs {
    /// Where to; may be left out with --input events or --topic-from
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
    /// The payload of one event, as it is; without it, or with '-', events are read from stdin
    #[arg(value_name = "PAYLOAD")]
    payload: Option<OsString>,

    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    event: EventArgs,
    #[command(flatten)]
    safety: SafetyArgs,
}

/// What is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
struct InputArgs {
    /// How the input is written [default: lines; with -f: whole]
    #[arg(long = "input", value_name = "FORMAT", value_enum)]
    format: Option<InputFormat>,
    /// Events end with this instead of a line break; several bytes are fine
    #[arg(short, long, value_name = "STR", allow_hyphen_values = true, conflicts_with_all = ["format", "null"])]
    delimiter: Option<String>,
    /// Events end with a NUL byte, as `find -print0` writes them
    #[arg(short = '0', long = "null", conflicts_with = "format")]
    null: bool,
    /// Read these files instead of stdin, each of them one payload unless --input says otherwise
    #[arg(short, long = "file", value_name = "FILE", num_args = 1.., conflicts_with = "payload")]
    files: Vec<PathBuf>,
    /// With --input json: the elements of a top-level array are an event each
    #[arg(long)]
    each: bool,
    /// Stop after so many events of the input, before --repeat; fewer is exit 3
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Publish every event so many times
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// At most so many events in a time: 200/s, 30/m
    #[arg(long, value_name = "N/s", value_parser = pacer::rate)]
    rate: Option<Rate>,
}

/// What an event is to have.
#[derive(Debug, Args)]
#[command(next_help_heading = "Event")]
struct EventArgs {
    /// The key of every event
    #[arg(short, long, conflicts_with_all = ["key_delimiter", "key_from"])]
    key: Option<String>,
    /// The key stands before the first STR of each line; a line without STR is an error
    #[arg(short = 'K', long, value_name = "STR", allow_hyphen_values = true, conflicts_with = "key_from")]
    key_delimiter: Option<String>,
    /// The key is the result: '.payload.order'. null is an error, empty leaves the key as it is
    #[arg(long, value_name = "JQ")]
    key_from: Option<String>,
    /// Add a header; repeatable, order and duplicates are kept
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// Into this partition
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..),
        conflicts_with = "keep_partition")]
    partition: Option<i32>,
    /// The time of every event: RFC 3339, 14:05, 10m (ago), @1769868300; without it the broker's clock
    #[arg(long, value_name = "TIME", value_parser = point::parse_time, conflicts_with = "keep_timestamp")]
    timestamp: Option<Point>,
    /// With --input events: keep the times they name
    #[arg(long)]
    keep_timestamp: bool,
    /// With --input events: keep the partitions they name
    #[arg(long)]
    keep_partition: bool,
    /// One event without a payload, which says that what its key stands for is gone
    #[arg(long, conflicts_with_all = ["payload", "files", "format", "delimiter", "null"])]
    tombstone: bool,
    /// The topic is the result, unless TOPIC is given
    #[arg(long, value_name = "JQ")]
    topic_from: Option<String>,
    /// The event's id is the result; null is an error, empty leaves it as it is
    #[arg(long, value_name = "JQ", conflicts_with = "id")]
    id_from: Option<String>,
    /// Change the event: '.payload.total |= tonumber'. empty leaves it out, several results are several events;
    /// what is not touched stays as it was written
    #[arg(long, value_name = "JQ")]
    transform: Option<String>,
    /// Make it a CloudEvent of this type, with id (UUIDv7), source and time
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// The CloudEvent's source [default: evcat]
    #[arg(long, value_name = "URI", requires = "kind")]
    source: Option<String>,
    /// The CloudEvent's subject
    #[arg(long, requires = "kind")]
    subject: Option<String>,
    /// The event's id, for one event
    #[arg(long)]
    id: Option<String>,
    /// Hold each event back so long, where the broker can
    #[arg(long, value_name = "DUR", value_parser = duration::parse)]
    delay: Option<Duration>,
}

/// What may go wrong, and what is said.
#[derive(Debug, Args)]
#[command(next_help_heading = "Safety and output")]
struct SafetyArgs {
    /// Refuse payloads that break this JSON Schema
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// What to do after an event that cannot be read, is refused or is not delivered
    #[arg(long, value_name = "WHAT", value_enum, default_value = "stop")]
    on_error: OnError,
    /// Add what was not delivered to this file, as canonical lines
    #[arg(long, value_name = "FILE")]
    failed_to: Option<PathBuf>,
    /// Read and check everything, publish nothing; with -o json the events are printed
    #[arg(long)]
    dry_run: bool,
    /// Print a receipt for each event: topic, position, id
    #[arg(short, long, value_name = "FORMAT", value_enum)]
    output: Option<ReceiptFormat>,
}

/// How the input is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    /// One event per line; blank lines are skipped and counted
    Lines,
    /// All of it is one event
    Whole,
    /// JSON values, each published with the bytes it was written with
    Json,
    /// Canonical lines, as `tail -o json` and --failed-to write them
    Events,
    /// A big-endian 32-bit length before each payload, -1 for a tombstone
    Frames,
}

/// After an event that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// Send no more
    Stop,
    /// Go on with the next one
    Continue,
}

/// How receipts are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReceiptFormat {
    /// For people
    Human,
    /// One JSON object per line
    Json,
}

/// Runs it.
pub async fn run(args: PublishArgs, session: &Session) -> anyhow::Result<Outcome> {
    let plan = plan::resolve(args, session)?;
    pump::run(plan, session).await
}
