//! Every command of the README, run in a terminal in a fresh home, must print what the README says it prints.
//!
//! A ```console block is a session: `$ ` begins a command, the rest is what a person sees. The
//! sessions run in order, in one home. Times, ids and durations are levelled before they are compared.
//! `EVCAT_BLESS=1 cargo test --test readme` writes what is printed now into the README: read the difference.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[cfg(any(feature = "kafka", feature = "rabbitmq", feature = "aws"))]
#[path = "support/brokers.rs"]
mod brokers;
#[cfg(feature = "pubsub")]
#[path = "support/pubsub_fake/mod.rs"]
mod pubsub_fake;

use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;

struct Step {
    line: usize,
    command: String,
    expected: String,
}

fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (number, line) in readme.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { line: number + 1, command: command.into(), expected: String::new() });
            } else {
                let step = steps.last_mut().expect("a session begins with a command");
                step.expected += &format!("{line}\n");
            }
        }
    }
    steps
}

/// What a terminal shows in the end: of what was drawn over (progress bars), the last.
fn settled(seen: &str) -> String {
    let escapes = Regex::new(r"\x1b\[[0-9;?]*[A-Za-z]").unwrap();
    let lines = seen.split('\n').map(|line| {
        let drawn = line.trim_end_matches('\r').rsplit('\r').map(|part| escapes.replace_all(part, ""));
        drawn.map(|part| part.into_owned()).find(|part| !part.trim().is_empty()).unwrap_or_default()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What differs from run to run is levelled on both sides.
fn level(text: &str) -> String {
    let rules = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "DATE"),
        (r"\d\d:\d\d:\d\d(\.\d+)?", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
        (r"\b[0-9a-f]{12}\b", "ID"),
        (r"\brun [a-z0-9]{4}\b", "run RUN"),
        (r"\b\d+(\.\d+)?(ms|s|m)\b", "DUR"),
        (r"[ \t]+", " "),
    ];
    let mut text = text.to_owned();
    for (from, to) in rules {
        text = Regex::new(from).unwrap().replace_all(&text, to).into_owned();
    }
    // A handler's stdout and what evcat says on stderr meet on the terminal in no fixed order.
    let mut lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The README with what was printed in the place of what it said.
fn blessed(readme: &str, printed: &[String]) -> String {
    let (mut out, mut inside, mut step) = (String::new(), false, 0);
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside && line.starts_with("$ ") {
            let lines: Vec<_> =
                printed[step].lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
            out += &format!("{line}\n{}", lines.iter().map(|line| format!("{line}\n")).collect::<String>());
            step += 1;
            continue;
        } else if inside {
            continue;
        }
        out += &format!("{line}\n");
    }
    out
}

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// What a person sees after each of them, in a terminal and a fresh home.
fn printed(steps: &[Step]) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let mut script = String::from("cd\n");
    for (index, step) in steps.iter().enumerate() {
        script += &format!("printf '\\n@@%d@@\\n' {index}\n{}\n", step.command);
    }
    let file = home.path().join("session.sh");
    std::fs::write(&file, &script).unwrap();

    // `script` gives it a terminal: the README shows what a person sees, stderr included.
    let binary = Path::new(env!("CARGO_BIN_EXE_evcat")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let output = Command::new("script")
        .args(["-qefc", "stty cols 100; bash session.sh", "/dev/null"])
        .current_dir(home.path())
        .env_clear()
        .envs([
            ("PATH", path.as_str()),
            ("NO_COLOR", "1"),
            ("TZ", "UTC"),
            ("TERM", "xterm"),
            ("LANG", "C.UTF-8"),
        ])
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .expect("script(1) of util-linux runs");
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();

    let seen = settled(&seen);
    let printed = |index| {
        let from = seen.split(&format!("@@{index}@@")).nth(1).unwrap_or_default();
        from.split(&format!("@@{}@@", index + 1)).next().unwrap_or_default().to_owned()
    };
    (0..steps.len()).map(printed).collect()
}

/// Each printed what was said of it.
fn compare(steps: &[Step], printed: &[String]) {
    let mut wrong = Vec::new();
    for (step, printed) in steps.iter().zip(printed) {
        let (got, want) = (level(printed), level(&step.expected));
        if got != want {
            wrong.push(format!(
                "README line {}: $ {}\n--- it says\n{want}\n--- it prints\n{got}\n",
                step.line, step.command
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_sessions_of_the_readme_print_what_they_say() {
    let readme = readme();
    let steps = steps(&readme);
    assert!(steps.len() >= 20, "the README lost its sessions");
    let printed = printed(&steps);
    if std::env::var_os("EVCAT_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        std::fs::write(path, blessed(&readme, &printed)).unwrap();
        return;
    }
    compare(&steps, &printed);
}

/// The story runs as it stands on a broker that holds nothing else, where only the URL is another. What a step prints
/// there instead stands beside words of its command.
#[cfg(any(feature = "kafka", feature = "rabbitmq", feature = "aws", feature = "pubsub"))]
fn story_on(url: &str, instead: &[(&str, &str)], last: &str) {
    let mut steps = steps(&readme());
    let begin = steps.iter().position(|step| step.command.starts_with("export EVCAT_BROKER=")).unwrap();
    steps.drain(..begin);
    let shown = evcat::settings::endpoint::mask(url);
    for step in &mut steps {
        if let Some((_, expected)) = instead.iter().find(|(words, _)| step.command.contains(words)) {
            step.expected = (*expected).into();
        }
        step.expected = step.expected.replace("local:tour.db", &shown);
        step.command = step.command.replace("local:tour.db", url);
    }
    let email = steps.iter_mut().rfind(|step| step.command.contains("-g email")).unwrap();
    email.expected = last.replace("local:tour.db", &shown);
    compare(&steps, &printed(&steps));
}

#[cfg(feature = "kafka")]
#[test]
fn the_story_of_the_readme_runs_on_kafka_too() {
    let Some(kafka) = brokers::or_skip(brokers::Private::up("kafka")) else { return };
    // What it prints is the same, but for this: a position has a partition, a put-back is an event of its topic which
    // all groups get and all but one skip, and the end of a transaction has a place in the log.
    let on_kafka = [
        (
            "exit 65",
            "carrier is silent
TIME dead 0:0 A-17 1 try, exit 65: carrier is silent -> orders.shipping.dlq 0:0
done: 0 acked, 1 dead, 0 given back",
        ),
        (
            "dlq peek",
            "ID DIED FROM GROUP TRIES BACK KEY ERROR
0:0 TIME orders 0:0 shipping 1 0 A-17 exit 65: carrier is silent
1 of 1 (-o json has everything)",
        ),
        (
            "dlq replay",
            "PLAN
 from orders.shipping.dlq on local:tour.db, up to 0:1 (TIME)
 chosen 1 of 1 all of them
 into orders 1 where they came from, marked for shipping
 seen by email, invoice, shipping; evcat subscribe of all but shipping skips them, other programs do not
 how each moves in one step: an event is never in both places or in none
run RUN on local:tour.db: 1 put back, 0 failed in DUR; 0 still wait",
        ),
        (
            "groups lag",
            "GROUP TOPIC MEMBERS LAG OLDEST DEAD
email orders 0 0 - 0
invoice orders 0 ~2 DUR 0
shipping orders 0 0 - 0",
        ),
    ];
    story_on(kafka.url(), &on_kafka, "done: 0 acked, 0 dead, 0 given back, 1 skipped");
}

#[cfg(feature = "rabbitmq")]
#[test]
fn the_story_of_the_readme_runs_on_rabbitmq_too() {
    let Some(rabbit) = brokers::or_skip(brokers::Private::up("rabbitmq")) else { return };
    // A queue has no positions, so that letters have names of their own; they are seen by taking them; and what is put
    // back is confirmed and then settled, which is two steps.
    let on_rabbit = [
        (
            "exit 65",
            "carrier is silent
TIME dead - A-17 1 try, exit 65: carrier is silent -> orders.shipping.dlq -
done: 0 acked, 1 dead, 0 given back",
        ),
        (
            "dlq peek",
            "looking takes what waits in orders.shipping.dlq from its other readers until this ends, and counts as a delivery; all is given back, marked as redelivered, and may then come in another order
ID DIED FROM GROUP TRIES BACK KEY ERROR
ID TIME orders shipping 1 0 A-17 exit 65: carrier is silent
1 of 1 (-o json has everything)",
        ),
        (
            "dlq replay",
            "looking takes what waits in orders.shipping.dlq from its other readers until this ends, and counts as a delivery; all is given back, marked as redelivered, and may then come in another order
PLAN
 from orders.shipping.dlq on local:tour.db
 chosen 1 of 1 all of them
 into shipping of orders 1 the group that failed, and nobody else
 seen by shipping alone
 how stored first, then settled: a crash can put one back twice, and loses none
run RUN on local:tour.db: 1 put back, 0 failed in DUR; 0 still wait",
        ),
    ];
    story_on(rabbit.url(), &on_rabbit, "done: 0 acked, 0 dead, 0 given back");
}

#[cfg(feature = "aws")]
#[test]
fn the_story_of_the_readme_runs_on_aws_too() {
    let Some(aws) = brokers::or_skip(brokers::Private::up("aws")) else { return };
    // As with RabbitMQ; and a topic that is not FIFO keeps no order, which is said, while all counts are estimates.
    const WARNING: &str = "warning: local:tour.db keeps no order of 'orders', not even of one key; --ordering none says that this is known\n";
    let handled = |words: &str| format!("{WARNING}{words}\ndone: 1 acked, 0 dead, 0 given back");
    let (mailed, invoiced) = (handled("mail sent for A-17"), handled("invoice written for A-17"));
    let shipped = handled("shipped A-17");
    let dead = format!(
        "{WARNING}carrier is silent
TIME dead ID A-17 1 try, exit 65: carrier is silent -> orders.shipping.dlq ID
done: 0 acked, 1 dead, 0 given back"
    );
    let looking = "looking takes what waits in orders.shipping.dlq from its other readers until this ends, and counts as a delivery; all is given back, marked as redelivered, and may then come in another order";
    let peeked = format!(
        "{looking}
ID DIED FROM GROUP TRIES BACK KEY ERROR
ID TIME orders ID shipping 1 0 A-17 exit 65: carrier is silent
1 of 1 (-o json has everything)"
    );
    let replayed = format!(
        "{looking}
PLAN
 from orders.shipping.dlq on local:tour.db
 chosen 1 of 1 all of them
 into shipping of orders 1 the group that failed, and nobody else
 seen by shipping alone
 how stored first, then settled: a crash can put one back twice, and loses none
run RUN on local:tour.db: 1 put back, 0 failed in DUR; 0 still wait"
    );
    let on_aws = [
        ("mail sent", &*mailed),
        ("invoice written", &*invoiced),
        ("exit 65", &*dead),
        ("shipped", &*shipped),
        ("dlq peek", &*peeked),
        ("dlq replay", &*replayed),
        (
            "groups lag",
            "GROUP TOPIC MEMBERS LAG OLDEST DEAD
email orders - ~0 - ~0
invoice orders - ~0 - ~0
shipping orders - ~0 - ~0",
        ),
    ];
    story_on(aws.url(), &on_aws, &format!("{WARNING}done: 0 acked, 0 dead, 0 given back"));
}

#[cfg(feature = "pubsub")]
#[test]
fn the_story_of_the_readme_runs_on_pubsub_too() {
    let server = pubsub_fake::Fake::start();
    // An event is known by its id, and dead letters are seen by taking them, as with RabbitMQ; what is put back goes to the
    // topic, as with Kafka, confirmed and then settled; and nobody tells how many wait.
    const LOOKING: &str = "looking takes what waits in orders.shipping.dlq from its other readers until this ends, and counts as a delivery; all is given back, marked as redelivered, and may then come in another order";
    let peeked = format!(
        "{LOOKING}
ID DIED FROM GROUP TRIES BACK KEY ERROR
10000000000000002 TIME orders 10000000000000001 shipping 1 0 A-17 exit 65: carrier is silent
1 of 1 (-o json has everything)"
    );
    let replayed = format!(
        "{LOOKING}
PLAN
 from orders.shipping.dlq on local:tour.db
 chosen 1 of 1 all of them
 into orders 1 where they came from, marked for shipping
 seen by email, invoice, shipping; evcat subscribe of all but shipping skips them, other programs do not
 how stored first, then settled: a crash can put one back twice, and loses none
run RUN on local:tour.db: 1 put back, 0 failed in DUR; 0 still wait"
    );
    let on_pubsub = [
        (
            "exit 65",
            "carrier is silent
TIME dead 10000000000000001 A-17 1 try, exit 65: carrier is silent -> orders.shipping.dlq 10000000000000002
done: 0 acked, 1 dead, 0 given back",
        ),
        ("dlq peek", &*peeked),
        ("dlq replay", &*replayed),
        (
            "groups lag",
            "pubsub does not tell how many events wait for a group
GROUP TOPIC MEMBERS LAG OLDEST DEAD
email orders - - - -
invoice orders - - - -
shipping orders - - - -",
        ),
    ];
    story_on(&server.url("evcat"), &on_pubsub, "done: 0 acked, 0 dead, 0 given back, 1 skipped");
}

#[test]
fn the_matrix_of_the_readme_is_the_programs_own() {
    let readme = readme();
    let matrix = evcat::commands::help::matrix();
    assert!(readme.contains(&matrix), "the README's matrix is out of date; it should be\n\n{matrix}");
}
