//! Dead letters through the program: from death to their way back, each exactly once, whoever is killed meanwhile.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::brokers::{self, Private};
use crate::rig::{Home, Ran, Running};
use crate::{DEADLINE, address, unique};

/// A worker of the group that fails on every event, and one that fails on poison.
const ALL_DIE: &str = "echo dead";
const POISON: &str = "case \"$line\" in *poison*) echo 'retry total is not a number';; *) echo ok;; esac";

/// A topic, the dead letters of its group `shipping`, and the program beside them.
struct Site {
    home: Home,
    url: String,
    topic: String,
    dlq: String,
}

impl Site {
    /// Three partitions of each.
    fn new(url: &str) -> Site {
        let topic = unique("dlq");
        let site = Site { home: Home::new(), url: url.into(), dlq: format!("{topic}.shipping.dlq"), topic };
        for name in [&site.topic, &site.dlq] {
            site.run(&["topics", "create", name, "--partitions", "3"]).ok();
        }
        site
    }

    /// The same with so many dead letters, whose payloads are their numbers.
    fn with_dead(url: &str, count: usize) -> Site {
        let site = Site::new(url);
        site.publish(&(0..count).map(|n| format!("{n}\n")).collect::<String>(), ".payload|tostring");
        site.subscribe("shipping", ALL_DIE).exit(6);
        assert_eq!(site.waiting(), count as u64);
        site
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.home.command(args);
        command.env("EVCAT_BROKER", &self.url);
        command
    }

    fn start(&self, args: &[&str]) -> Running {
        Running::new(&mut self.command(args))
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Ran {
        self.start(args).end()
    }

    /// `dlq VERB` on these dead letters.
    #[track_caller]
    fn dlq(&self, verb: &str, more: &[&str]) -> Ran {
        self.run(&[&["dlq", verb, &self.dlq], more].concat())
    }

    #[track_caller]
    fn publish(&self, lines: &str, key: &str) {
        let file = std::fs::File::open(self.home.write("lines", lines)).unwrap();
        let mut publish = self.command(&["publish", &self.topic, "--key-from", key]);
        Running::new(publish.stdin(file)).end().ok();
    }

    /// All that there is now, by a worker that notes each event in a file named as its group.
    #[track_caller]
    fn subscribe(&self, group: &str, answer: &str) -> Ran {
        let script = format!(
            "while IFS= read -r line; do\n  printf '%s\\n' \"$line\" >> {group}.log\n  {answer}\ndone\n"
        );
        let script: PathBuf = self.home.write(&format!("{group}.sh"), script);
        let group = ["subscribe", &self.topic, "-g", group, "--from", "beginning", "--no-follow"];
        let retry = ["--max-dead", "100000", "--max-attempts", "2", "--backoff", "1ms..1ms"];
        self.run(&[&group[..], &retry, &["--worker", "--", "sh", script.to_str().unwrap()]].concat())
    }

    /// How many events the group was given since this was asked last.
    fn seen(&self, group: &str) -> usize {
        let seen = self.home.read(&format!("{group}.log")).lines().count();
        self.home.write(&format!("{group}.log"), "");
        seen
    }

    #[track_caller]
    fn letters(&self, dlq: &str, more: &[&str]) -> Vec<Value> {
        let peek = self.run(&[&["dlq", "peek", dlq, "-o", "json"], more].concat()).ok();
        peek.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How many wait, as `dlq list` tells, which does not know while a partition has no leader.
    #[track_caller]
    fn waiting(&self) -> u64 {
        let begun = Instant::now();
        loop {
            let list = self.run(&["dlq", "list", &self.dlq, "--all", "-o", "json"]).ok().out;
            let list: Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
            match list["waiting"].as_u64() {
                Some(count) => return count,
                None => assert!(begun.elapsed() < DEADLINE, "{list}"),
            }
        }
    }

    /// The payloads of a topic as another client reads them: those of committed transactions, or all.
    fn read(&self, topic: &str, how: &str) -> Vec<String> {
        self.by_others(topic, how).lines().map(str::to_owned).collect()
    }

    /// See `hang.py`.
    fn hang(&self, ended: Option<&str>) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/hang.py");
        let mut client = Command::new(brokers::python().unwrap());
        let output =
            client.args([script, address(&self.url), &self.topic, &self.dlq]).args(ended).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What another client does to a topic, and prints.
    fn by_others(&self, topic: &str, step: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/client.py");
        let mut client = Command::new(brokers::python().unwrap());
        let output = client.args([script, address(&self.url), topic, step]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What waits though it is back, and what is back more than once.
    fn astray(&self) -> String {
        let mut times: HashMap<String, usize> = HashMap::new();
        self.read(&self.topic, "committed").into_iter().for_each(|n| *times.entry(n).or_default() += 1);
        let waiting = self.letters(&self.dlq, &[]).into_iter().map(|letter| letter["payload"].to_string());
        let both: Vec<_> = waiting.filter(|n| times.get(n).is_some_and(|times| *times > 1)).collect();
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 2).collect();
        format!("back and waiting: {both:?}; back more than once: {twice:?}")
    }

    /// Everything that died is in its topic twice: as it was published, and put back once.
    #[track_caller]
    fn all_came_back_once(&self, count: usize) {
        let mut times: HashMap<String, usize> = HashMap::new();
        self.read(&self.topic, "committed").into_iter().for_each(|n| *times.entry(n).or_default() += 1);
        assert_eq!(times.len(), count);
        let wrong: Vec<_> = times.iter().filter(|(_, times)| **times != 2).take(10).collect();
        assert!(wrong.is_empty(), "not there twice: {wrong:?}");
    }
}

/// The number before a word of the closing line, such as `10,000 put back`.
#[track_caller]
fn told(said: &str, word: &str) -> u64 {
    let before = said.split(word).next().filter(|before| before.len() < said.len());
    let number = before.unwrap_or_else(|| panic!("no '{word}' in {said}")).split_whitespace().next_back();
    number.unwrap().replace(',', "").parse().unwrap()
}

/// The name of a run, as its closing line has it.
fn run_of(ran: &Ran) -> String {
    let line = ran.err.lines().find_map(|line| line.strip_prefix("run ")).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_poison_event_goes_back_to_the_group_that_failed_and_is_parked_when_it_fails_again_and_again() {
    let Some(url) = brokers::kafka() else { return };
    let site = Site::new(&url);
    let line = |n: usize| match n {
        700 => "{\"k\":\"A-17\",\"total\":\"poison\"}\n".to_owned(),
        n => format!("{{\"k\":\"K-{}\",\"total\":{n}}}\n", n % 100),
    };
    site.publish(&(0..1000).map(line).collect::<String>(), ".payload.k");
    site.subscribe("shipping", POISON).exit(6).said("999 acked, 1 dead");
    site.subscribe("email", "echo ok").ok();
    assert_eq!((site.seen("shipping"), site.seen("email")), (1001, 1000));

    // What is known of it.
    let letters = site.letters(&site.dlq, &[]);
    assert_eq!(letters.len(), 1);
    let id = format!("{}:{}", letters[0]["partition"], letters[0]["offset"]);
    let failure = &letters[0]["failure"];
    assert_eq!(failure["origin"]["topic"], *site.topic);
    assert_eq!((&failure["group"], &failure["attempts"]), (&"shipping".into(), &2.into()));
    assert_eq!((&letters[0]["key"], &failure["replays"]), (&"A-17".into(), &0.into()));
    assert!(failure["error"].as_str().unwrap().contains("total is not a number"));
    let list = site.run(&["dlq", "list", &site.dlq]).ok().out;
    assert!(list.contains(&format!("{}/shipping", site.topic)) && list.contains("evcat"), "{list}");
    site.run(&["dlq", "list", &site.dlq, "--max", "0"]).exit(3);
    let place = failure["origin"]["position"].as_str().unwrap();
    let peek = site.dlq("peek", &[]).ok().out;
    assert!(peek.contains(&format!("{id} ")) && peek.contains(place) && peek.contains("A-17"), "{peek}");
    let show = site.dlq("show", &[&id]).ok().out;
    assert!(show.contains(&format!("put it back: evcat dlq replay {} {id}", site.dlq)), "{show}");
    assert!(site.dlq("stats", &[]).ok().out.contains(failure["fingerprint"].as_str().unwrap()));

    // Nothing happens without a yes, and the plan tells who will see it.
    let plan = site.dlq("replay", &["--dry-run"]).ok().out;
    assert!(plan.contains("PLAN, nothing was changed") && plan.contains("marked for shipping"), "{plan}");
    assert!(plan.contains("email, shipping; evcat subscribe of all but shipping skips them"), "{plan}");
    site.dlq("replay", &[]).exit(2).said("--yes");
    site.dlq("replay", &["--yes", "--expect", "2"]).exit(3);
    assert_eq!((site.waiting(), site.read(&site.topic, "committed").len()), (1, 1000));

    // Back, once, and for the group that failed alone.
    site.dlq("replay", &["--yes", "--expect", "1"]).ok().said("1 put back");
    site.dlq("replay", &["--yes"]).ok().said("nothing to do");
    site.dlq("replay", &[&id, "--yes"]).said(&format!("{id} is settled already"));
    assert_eq!((site.waiting(), site.read(&site.topic, "committed").len()), (0, 1001));
    site.subscribe("shipping", POISON).exit(6).said("0 acked, 1 dead");
    site.subscribe("email", "echo ok").ok().said("1 skipped");
    assert_eq!((site.seen("shipping"), site.seen("email")), (2, 0));

    // Each failure counts, and past the limit it is parked.
    let parked = format!("{}.parked", site.dlq);
    for replays in 1..=3 {
        let letters = site.letters(&site.dlq, &[]);
        assert_eq!((letters.len(), &letters[0]["failure"]["replays"]), (1, &replays.into()));
        if replays < 3 {
            site.dlq("replay", &["--yes"]).ok();
            site.subscribe("shipping", POISON).exit(6);
        }
    }
    assert!(site.dlq("replay", &["--dry-run"]).ok().out.contains(&parked));
    site.dlq("replay", &["--yes"]).ok().said("0 put back, 1 parked").said(&format!("made {parked}"));
    assert_eq!((site.waiting(), site.letters(&parked, &[]).len()), (0, 1));
    let again = site.run(&["dlq", "replay", &parked, "--yes"]).exit(1);
    assert!(again.err.contains("cannot go anywhere"), "{}", again.err);
}

#[test]
fn a_replay_killed_at_any_point_and_begun_again_puts_back_each_exactly_once() {
    const LETTERS: usize = 10_000;
    let Some(private) = brokers::or_skip(Private::up("kafka")) else { return };
    let site = Site::with_dead(private.url(), LETTERS);
    let mut random = fastrand::Rng::new();
    let mut waiting = vec![site.waiting()];
    for round in 0..20 {
        // So slow that all rounds together do not come to the end.
        let mut replay = site.start(&["dlq", "replay", &site.dlq, "--yes", "--rate", "300/s"]);
        replay.says("each moves in one step");
        std::thread::sleep(Duration::from_millis(random.u64(0..1500)));
        if round == 13 {
            // Both at the worst moment.
            private.kill(1);
        }
        replay.insist(Signal::SIGKILL);
        if round == 13 {
            private.restart(1);
        }
        waiting.push(site.waiting());
    }
    assert!(waiting.iter().all(|count| *count > 0), "some were left at each kill: {waiting:?}");
    let moved = waiting.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(moved >= 8, "killed at work: {waiting:?}");
    // A commit that was asked for before the kill is seen a little later.
    let begun = Instant::now();
    let (left, back) = loop {
        let (left, all) = (site.waiting(), site.read(&site.topic, "committed").len());
        if all as u64 + left == 2 * LETTERS as u64 {
            break (left, all);
        }
        if begun.elapsed() >= DEADLINE {
            panic!("{left} wait and {all} are there: what is back is not what is settled: {}", site.astray());
        }
    };
    let all = site.read(&site.topic, "all").len();
    assert!(all > back, "killed in a transaction: {all} of which {back} count");
    // The last one goes on when the broker comes back.
    let last = ["dlq", "replay", &site.dlq, "--yes", "--expect", &left.to_string(), "--rate", "2000/s"];
    let last = site.start(&last);
    let begun = Instant::now();
    while site.waiting() == left {
        assert!(begun.elapsed() < DEADLINE, "{}", last.err());
    }
    private.restart(1);
    last.end().ok().said(&format!("{} put back", evcat::output::words::count(left))).said("; 0 still wait");
    assert_eq!(site.waiting(), 0);
    site.all_came_back_once(LETTERS);
}

/// A broker that was killed may leave a transaction without its end; seen on Kafka 4.3.1.
#[test]
fn a_transaction_that_the_broker_never_ended_is_given_up_whole_or_noted_anew() {
    let Some(private) = brokers::or_skip(Private::up("kafka")) else { return };
    for ended in [None, Some("1")] {
        let site = Site::with_dead(private.url(), 100);
        // Makes the topic of what is settled.
        site.dlq("drop", &["0:0", "--yes"]).ok();
        site.hang(ended);
        private.kill(1);
        private.restart(1);
        let back = site.read(&site.topic, "committed").len();
        assert_eq!((site.waiting(), back), (99, 100 + usize::from(ended.is_some())), "it hangs");
        let replay = site.dlq("replay", &["--yes"]).ok().said("never ended a transaction");
        let settled = u64::from(ended.is_some());
        assert_eq!(told(&replay.err, " put back"), 99 - settled, "{}", replay.err);
        assert_eq!(site.waiting(), 0);
        let mut times: HashMap<String, usize> = HashMap::new();
        site.read(&site.topic, "committed").into_iter().for_each(|n| *times.entry(n).or_default() += 1);
        let once: Vec<_> = times.iter().filter(|(_, times)| **times != 2).collect();
        assert_eq!((times.len(), once.len()), (100, 1), "all came back once but the one dropped: {once:?}");
    }
}

/// What is settled is nobody else's to write.
#[test]
fn a_transaction_of_others_that_hangs_among_what_is_settled_is_told_of() {
    let Some(url) = brokers::kafka() else { return };
    let site = Site::with_dead(&url, 10);
    site.dlq("drop", &["--limit", "1", "--yes"]).ok();
    site.by_others(&format!("{}.settled", site.dlq), "hung:{\"partition\":0,\"done\":[]}");
    let refused = site.dlq("replay", &["--yes", "--timeout", "2s"]).exit(1);
    assert!(refused.err.contains("find-hanging"), "{}", refused.err);
    assert_eq!(site.read(&site.topic, "committed").len(), 10, "{}", refused.err);
}

#[test]
fn of_two_replays_at_once_the_first_is_fenced_says_why_and_nothing_goes_back_twice() {
    const LETTERS: usize = 3000;
    let Some(url) = brokers::kafka() else { return };
    let site = Site::with_dead(&url, LETTERS);
    let first = site.start(&["dlq", "replay", &site.dlq, "--yes", "--rate", "500/s"]);
    let begun = Instant::now();
    while site.waiting() == LETTERS as u64 {
        assert!(begun.elapsed() < DEADLINE, "{}", first.err());
    }
    let second = site.dlq("replay", &["--yes"]).ok();
    let first = first.end().exit(1);
    let name = run_of(&second);
    let words = [format!("run {name} has taken over"), "another run has taken over".to_owned()];
    assert!(words.iter().any(|words| first.err.contains(words)), "{}", first.err);
    assert!(first.err.contains("hint: ") && first.err.contains("the same command again"), "{}", first.err);
    let (mine, theirs) = (told(&first.err, " put back"), told(&second.err, " put back"));
    assert!(mine > 0 && theirs > 0);
    assert_eq!(mine + theirs, LETTERS as u64, "each knows what it did");
    assert!(second.err.contains("; 0 still wait"), "{}", second.err);
    site.all_came_back_once(LETTERS);
}

#[test]
fn what_is_chosen_is_put_back_or_dropped_and_the_rest_waits() {
    let Some(url) = brokers::kafka() else { return };
    let site = Site::with_dead(&url, 60);
    let left = |site: &Site| -> HashSet<u64> {
        site.letters(&site.dlq, &[]).iter().map(|letter| letter["payload"].as_u64().unwrap()).collect()
    };
    site.dlq("drop", &["--yes"]).exit(2).said("which ones?");
    site.dlq("drop", &["--where", ".payload < 10", "--dry-run"]).ok().said("nothing was changed");
    site.dlq("drop", &["--where", ".payload < 10"]).exit(2).said("--yes");
    site.dlq("drop", &["--where", ".payload < 10", "--yes", "--expect", "11"]).exit(3);
    assert_eq!(left(&site).len(), 60);
    let drop = ["--where", ".payload < 10", "--yes", "--expect", "10", "--save", "dropped"];
    site.dlq("drop", &drop).ok().said("dropped 10").said("50 still wait");
    assert_eq!((left(&site), site.home.read("dropped").lines().count()), ((10..60).collect(), 10));
    assert_eq!(site.read(&site.topic, "committed").len(), 60, "nothing came back of what was dropped");

    site.dlq("replay", &["--where", ".payload >= 50", "--yes"])
        .ok()
        .said("10 put back")
        .said("40 still wait");
    assert_eq!(left(&site), (10..50).collect());
    site.dlq("replay", &["--limit", "15", "--yes"]).ok().said("15 put back").said("25 still wait");
    site.dlq("drop", &["--limit", "5", "--yes", "--group", "shipping"]).ok().said("20 still wait");
    let rest = left(&site);
    assert_eq!(rest.len(), 20);
    let one = site.letters(&site.dlq, &["--limit", "1"]).remove(0);
    let id = format!("{}:{}", one["partition"], one["offset"]);
    site.dlq("replay", &[&id, "--yes"]).ok().said("1 put back");
    site.dlq("drop", &[&id, "--yes"]).said(&format!("{id} is settled already"));
    let key = rest.iter().find(|n| **n != one["payload"].as_u64().unwrap()).unwrap().to_string();
    site.dlq("drop", &["--key", &key, "--yes"]).ok().said("dropped 1").said("18 still wait");
    site.dlq("replay", &["--error", "no such error", "--yes"]).ok().said("nothing to do");

    // Handled here: settled, and nothing is published.
    let before = site.read(&site.topic, "committed").len();
    assert_eq!(before, 60 + 10 + 15 + 1);
    site.dlq("replay", &["--limit", "3", "--yes", "--", "cat"]).ok().said("3 handled").said("15 still wait");
    assert_eq!((left(&site).len(), site.read(&site.topic, "committed").len()), (15, before));
}

#[test]
fn what_cannot_go_stays_and_holds_up_nothing() {
    let Some(url) = brokers::kafka() else { return };
    let site = Site::with_dead(&url, 20);
    // Nobody knows where this one came from, and this one is larger than the other topic takes.
    site.run(&["publish", &site.dlq, "a stranger"]).ok();
    let large = "x".repeat(5000);
    site.publish(&format!("{large}\n"), "\"large\"");
    site.subscribe("shipping", ALL_DIE).exit(6);
    let small = unique("small");
    site.run(&["topics", "create", &small, "-X", "topic.max.message.bytes=3000"]).ok();
    let replay = site.dlq("replay", &["--into", &small, "--yes"]).exit(6);
    assert!(replay.err.contains("21 put back, 1 failed"), "{}", replay.err);
    assert!(replay.err.contains("too large for the broker") && replay.err.contains(&small), "{}", replay.err);
    assert_eq!((site.waiting(), site.read(&small, "committed").len()), (1, 21));

    site.run(&["publish", &site.dlq, "another"]).ok();
    let replay = site.dlq("replay", &["--yes"]).exit(6);
    assert!(replay.err.contains("1 put back, 0 failed") && replay.err.contains("stays"), "{}", replay.err);
    assert_eq!(site.letters(&site.dlq, &[])[0]["payload"], "another");
    site.dlq("replay", &["--yes"]).exit(1).said("cannot go anywhere");
    site.dlq("drop", &["--grep", "^another$", "--yes"]).ok().said("0 still wait");
    site.run(&["topics", "delete", &small, "--yes"]).ok();
}

#[test]
fn dead_letters_of_a_topic_made_again_are_not_taken_for_those_that_were_settled() {
    let Some(url) = brokers::kafka() else { return };
    let site = Site::with_dead(&url, 5);
    let settled = format!("{}.settled", site.dlq);
    for deleted_by_others in [true, false] {
        site.dlq("drop", &["--limit", "5", "--yes"]).ok().said("0 still wait");
        match deleted_by_others {
            true => _ = site.by_others(&site.dlq, "drop"),
            false => _ = site.run(&["topics", "delete", &site.dlq, "--yes"]).ok(),
        }
        let left = site.run(&["topics", "list", &settled, "-o", "json"]).out;
        assert_eq!(left.is_empty(), !deleted_by_others, "goes with its topic: {left}");
        // As `subscribe` makes it again.
        site.run(&["topics", "create", &site.dlq, "--partitions", "3"]).ok();
        site.publish("a\nb\nc\nd\ne\n", ".payload");
        site.subscribe("shipping", ALL_DIE).exit(6);
        assert_eq!((site.waiting(), site.letters(&site.dlq, &[]).len()), (5, 5));
    }
    site.dlq("replay", &["--yes"]).ok().said("5 put back");
}

#[test]
fn what_an_aborted_transaction_says_is_settled_waits_still() {
    let Some(url) = brokers::kafka() else { return };
    let site = Site::with_dead(&url, 3);
    site.dlq("drop", &["--limit", "1", "--yes"]).ok().said("2 still wait");
    let all = "{\"partition\":0,\"done\":[{\"action\":\"acked\",\"offsets\":[0,1,2,3]}]}";
    let all = (0..3).map(|n| all.replace("n\":0", &format!("n\":{n}")));
    all.for_each(|note| _ = site.by_others(&format!("{}.settled", site.dlq), &format!("aborted:{note}")));
    for level in ["read_committed", "read_uncommitted", "READ_UNCOMMITTED"] {
        let option = format!("isolation.level={level}");
        assert_eq!(site.letters(&site.dlq, &["-X", &option]).len(), 2, "{level}");
    }
    site.dlq("replay", &["--yes", "-X", "isolation.level=read_uncommitted"]).ok().said("2 put back");
}

#[test]
fn a_letter_of_the_time_0_goes_as_any_other() {
    let Some(url) = brokers::kafka() else { return };
    let site = Site::new(&url);
    // Where nothing goes because it is old.
    let (dlq, topic) = (unique("old.dlq"), unique("old"));
    for name in [&dlq, &topic] {
        site.run(&["topics", "create", name, "-X", "topic.retention.ms=-1"]).ok();
    }
    site.run(&["publish", &dlq, "old", "--timestamp", "@0"]).ok();
    site.run(&["dlq", "replay", &dlq, "--into", &topic, "--yes"])
        .ok()
        .said("1 put back")
        .said("0 still wait");
    assert_eq!(site.read(&topic, "committed"), ["old"]);
}
