//! Every number that is promised of SNS and SQS, measured beside its peer on the same stand-in in the same run.
//!
//! `cargo bench --bench aws` starts the stand-ins for it (`tests/brokers/broker up aws:fast`, `aws:strict`), or takes those that
//! `EVCAT_TEST_AWS_FAST` and `EVCAT_TEST_AWS_STRICT` name. Words choose rows: `cargo bench --bench aws -- one-shot bulk`. `chaos`, which takes minutes,
//! runs only by its name, and on a stand-in of its own.
//!
//! Ours and the peer run by turns; each row is done three times and the median counts. Exit code 1: a "must" was missed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench talks and stops"
)]

#[path = "../../tests/support/account.rs"]
mod account;
#[path = "../../tests/support/brokers.rs"]
mod brokers;
mod bulk;
#[path = "../../tests/aws/chaos.rs"]
mod chaos;
#[path = "../local/measure.rs"]
#[allow(dead_code, reason = "some of it is for the embedded broker")]
mod measure;
mod one_shot;
#[path = "../../tests/support/proxy.rs"]
mod proxy;
#[path = "../kafka/spent.rs"]
#[allow(dead_code, reason = "some of it is for Kafka")]
mod spent;
#[path = "../local/table.rs"]
#[allow(dead_code, reason = "some of it is for the embedded broker")]
mod table;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use brokers::Private;
use chaos::Chaos;
use measure::Bench;
use spent::{evcat, spend};
use table::{Row, Unit};

/// A group of rows: the word that chooses it, and the stand-in.
type Group = (&'static str, &'static str, fn(&Bench, &Sqs) -> Vec<Row>);

/// The fast one looks at all that is in a queue for each request, and with many events in it that is what would be measured.
const ROWS: &[Group] = &[
    ("one-shot", "fast", one_shot::one_shot),
    ("bulk", "strict", bulk::bulk),
    ("memory", "strict", bulk::memory),
];

/// An account at a stand-in, and the Python that has the peer.
struct Sqs {
    url: String,
    python: std::path::PathBuf,
    /// It ends with the bench.
    _private: Option<Private>,
}

impl Sqs {
    /// At the shared one, else at one of its own; an error says why there is none.
    fn find(variant: &str) -> Result<Sqs, String> {
        let python = brokers::python()?;
        let (url, private) = match brokers::shared_aws(variant) {
            Ok(url) => (url, None),
            Err(_) => {
                let private = Private::up(if variant == "fast" { "aws:fast" } else { "aws:strict" })?;
                (private.url().to_owned(), Some(private))
            }
        };
        // The strict one has one account for all.
        let url = if variant == "fast" { account::new(&url) } else { url };
        Ok(Sqs { url, python, _private: private })
    }

    /// A queue that nobody else has.
    fn queue(&self) -> String {
        let name = format!("bench-{:016x}", fastrand::u64(..));
        spend(evcat(&self.url).args(["topics", "create", &format!("queue:{name}")]));
        name
    }

    fn delete(&self, queue: &str) {
        spend(evcat(&self.url).args(["topics", "delete", &format!("queue:{queue}"), "--yes"]));
    }

    /// boto3 at work on this queue.
    fn peer(&self, step: &str, queue: &str, argument: impl AsRef<std::ffi::OsStr>) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/aws/peer.py");
        let mut command = Command::new(&self.python);
        command.arg(script).args([self.url.as_str(), step, queue]).arg(argument);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// Run only by its name.
fn chaos_row() -> Row {
    let work = "100,000 events while AWS stands still and members die";
    let broker = match brokers::python().and_then(|_| Private::up("aws:fast")) {
        Ok(broker) => broker,
        Err(missing) => return Row::not_measured(work, &missing),
    };
    let dir = tempfile::tempdir().unwrap();
    let wish = Chaos {
        events: 100_000,
        keys: 2_000,
        rate: 500,
        members: 4,
        kills: 12,
        pauses: 6,
        seed: fastrand::u64(..),
        limit: Duration::from_secs(1800),
    };
    let report = chaos::run(&broker, dir.path(), &wish);
    let value = Some(report.events as f64 / report.took.as_secs_f64());
    let measured = format!("seed {} {report:?}", wish.seed);
    Row { work: work.into(), measured, value, unit: Unit::PerSecond, must: 0.0, aim: 0.0 }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // cargo adds --bench.
    let chosen: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    if chosen.iter().any(|choice| *choice == "chaos") {
        let row = chaos_row();
        println!("{row}");
        std::process::exit(table::verdict(&[row]));
    }
    let bench = Bench::new(false);
    let mut all = Vec::new();
    for (word, variant, rows) in ROWS {
        if chosen.is_empty() || chosen.iter().any(|choice| choice == word) {
            let Some(sqs) = brokers::or_skip(Sqs::find(variant)) else { return };
            let rows = rows(&bench, &sqs);
            rows.iter().for_each(|row| println!("{row}"));
            all.extend(rows);
        }
    }
    std::process::exit(table::verdict(&all));
}
