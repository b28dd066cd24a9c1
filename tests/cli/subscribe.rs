//! `evcat subscribe`: groups and their members, what is acked, what dies, and how it ends.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGTERM};
use serde_json::json;

use crate::rig::{Home, Ran, Running};

/// A handler that says it has begun, and works until there is a file `go`; it ends with the evcat that started it.
const SLOW: &str =
    "echo $EVCAT_POSITION >> begun; while ! [ -e go ] && kill -0 $PPID 2>&-; do sleep 0.02; done";

/// A home with the numbers from 1 to this in topic `n`.
fn numbers(up_to: u32) -> Home {
    let home = Home::new();
    let lines: String = (1..=up_to).map(|n| format!("{n}\n")).collect();
    home.feed(&["publish", "n"], lines).ok();
    home
}

const ALL: [&str; 3] = ["--from", "beginning", "--no-follow"];

impl Home {
    /// All that is there for a group of topic `n`, printed or handled.
    fn work(&self, group: &str, args: &[&str]) -> Ran {
        self.run(&[&["subscribe", "n", "-g", group], &ALL[..], args].concat())
    }

    fn member(&self, group: &str, args: &[&str]) -> Running {
        self.start(&[&["subscribe", "n", "-g", group, "--from", "beginning"], args].concat())
    }

    #[track_caller]
    fn has_begun(&self, handlers: usize) {
        self.until("handlers at work", |home| (home.read("begun").lines().count() >= handlers).then_some(()));
    }
}

#[test]
fn printing_acks_what_was_written_and_a_group_goes_on_where_it_was() {
    let home = numbers(3);
    let ran = home.work("g", &["-c", "2"]).ok().printed("1\n2\n");
    ran.said(
        "g is new on n (local): starts at 0, dead letters go to n.g.dlq\ndone: 2 acked, 0 dead, 0 given back",
    );
    assert_eq!(home.group("g")["lag"], 1);
    let ran = home.work("g", &[]).ok().printed("3\n");
    ran.said("warning: g on n is there already and goes on where it was; --from is for a new group");
    home.work("g", &[]).ok().printed("");
    // Every group gets everything.
    home.work("h", &["-F", "%o:%s "]).ok().printed("0:1 1:2 2:3 ");
    home.work("i", &["--select", ".payload * 2"]).ok().printed("2\n4\n6\n");
    home.bash("evcat subscribe n -g j --from beginning | head -1; exit ${PIPESTATUS[0]}").ok().printed("1\n");
}

#[test]
fn a_new_group_starts_now_and_says_what_it_will_not_get() {
    let home = numbers(3);
    let ran = home.run(&["subscribe", "n", "-g", "g", "--no-follow"]).ok().printed("");
    ran.said("3 earlier events will not be delivered; --from beginning takes them");
    home.run(&["publish", "n", "4"]).ok();
    home.run(&["subscribe", "n", "-g", "g", "--no-follow"]).ok().printed("4\n");
    home.run(&["subscribe", "n", "-g", "at", "--from", "2", "--no-follow"]).ok().printed("3\n4\n");
    home.run(&["subscribe", "n", "-g", "time", "--from", "1h", "-c", "1"]).ok().printed("1\n");
}

#[test]
fn new_events_come_until_a_count_a_silence_or_a_time() {
    let home = numbers(1);
    let member = home.member("g", &["-c", "2"]);
    member.prints("1\n");
    home.run(&["publish", "n", "2"]).ok();
    member.end().ok().printed("1\n2\n");
    home.run(&["subscribe", "n", "-g", "g", "--idle-exit", "50ms"]).ok().said("done: 0 acked");
    home.run(&["subscribe", "n", "-g", "g", "--for", "50ms"]).ok().said("done: 0 acked");
    home.run(&["subscribe", "n", "-g", "g", "--for", "50ms", "-c", "1"]).exit(3);
    // What is missing is made here and named, and waited for.
    let member = home.start(&["subscribe", "new", "-g", "g", "-c", "1"]);
    member.says("made topic new\ng is new on new (local)");
    home.run(&["publish", "new", "x"]).ok();
    let ran = member.end().ok().printed("x\n");
    assert!(!ran.err.contains("made topic new.g.dlq"), "its own line tells that: {}", ran.err);
    let ran = home.run(&["subscribe", "n", "-g", "h", "--no-follow"]).ok();
    assert!(!ran.err.contains("made"), "the topic was there: {}", ran.err);
}

#[test]
fn several_topics_in_one_group() {
    let home = Home::new();
    home.feed(&["publish", "a"], "a1\na2\n").ok();
    home.feed(&["publish", "b"], "b1\n").ok();
    let args = ["subscribe", "a", "b", "-g", "g", "--from", "beginning", "--no-follow"];
    let ran =
        home.run(&[&args[..], &["--", "sh", "-c", "cat; echo; test $EVCAT_TOPIC = a || exit 65"]].concat());
    let ran = ran
        .exit(6)
        .said("g is new on a (local)")
        .said("g is new on b (local)")
        .said("b 0  -  1 try, exit 65 -> b.g.dlq 0");
    let mut seen: Vec<_> = ran.out.lines().collect();
    seen.sort();
    assert_eq!(seen, ["a1", "a2", "b1"]);
}

#[test]
fn filters_ack_what_does_not_match_and_a_filter_that_fails_is_a_dead_letter() {
    let home = numbers(4);
    home.work("g", &["--where", ".payload > 2"])
        .ok()
        .printed("3\n4\n")
        .said("2 acked, 0 dead, 0 given back, 2 skipped");
    assert_eq!(home.group("g")["lag"], 0);
    home.work("h", &["--grep", "^3$", "--", "cat"])
        .ok()
        .printed("3\n")
        .said("1 acked, 0 dead, 0 given back, 3 skipped");
    home.feed(&["publish", "n"], "{\"x\":5}\n").ok();
    let ran = home.work("i", &["--where", ".payload.x == 5"]).exit(6).printed("{\"x\":5}\n");
    ran.said("the filter failed: --where: cannot index 1 with \"x\" -> n.i.dlq 0").said("1 acked, 4 dead");
    let letters = home.run(&["dlq", "peek", "n.i.dlq", "-o", "json"]).ok().out;
    assert_eq!(letters.matches("\"kind\":\"filter\"").count(), 4);
}

#[test]
fn an_event_that_select_fails_on_is_a_dead_letter_too() {
    let home = Home::new();
    home.feed(&["publish", "n"], "{\"x\":1}\n2\n{\"x\":3}\n4\n").ok();
    let ran = home.work("g", &["--select", ".payload.x"]).exit(6).printed("1\n3\n");
    ran.said("the expression failed: --select: cannot index 2 with \"x\" -> n.g.dlq 0")
        .said("2 acked, 2 dead");
    let letters = home.run(&["dlq", "peek", "n.g.dlq", "-o", "json"]).ok().out;
    assert_eq!(letters.matches("\"kind\":\"filter\"").count(), 2);
    home.work("h", &["--no-dlq", "--select", ".payload.x"]).exit(1).said("n 1 failed, 1 try: the expression");
    assert_eq!(home.group("h")["lag"], 2, "both come again");
}

#[test]
fn what_was_put_back_for_another_group_is_skipped() {
    let home = Home::new();
    home.run(&["publish", "n", "theirs", "-H", "evcat-replay-group=h"]).ok();
    home.run(&["publish", "n", "ours", "-H", "evcat-replay-group=g"]).ok();
    home.run(&["publish", "n", "everybody's"]).ok();
    home.work("g", &[]).ok().printed("ours\neverybody's\n").said("2 acked, 0 dead, 0 given back, 1 skipped");
    home.work("h", &["--", "cat"]).ok().said("2 acked, 0 dead, 0 given back, 1 skipped");
}

#[test]
fn dead_letters_keep_the_event_and_go_where_they_are_told() {
    let home = Home::new();
    home.feed(&["publish", "n", "-k", "A-17", "-H", "a=1"], b"\0x\n").ok();
    home.work("g", &["--dlq", "bin", "--", "sh", "-c", "exit 65"])
        .exit(6)
        .said("dead letters go to bin")
        .said("-> bin 0");
    let (event, letter) = (home.events("n").remove(0), home.events("bin").remove(0));
    assert_eq!((&letter["key"], &letter["payload"]), (&event["key"], &event["payload"]));
    let headers = letter["headers"].as_array().unwrap();
    assert_eq!(headers[0], json!(["a", "1"]));
    let has = |name: &str, value: &str| headers.contains(&json!([format!("evcat-dlq-{name}"), value]));
    assert!(
        has("topic", "n") && has("position", "0") && has("group", "g") && has("attempts", "1"),
        "{headers:?}"
    );
    assert!(has("error", "exit 65") && has("handler", "sh …"), "{headers:?}");
    assert_eq!(home.group("g")["lag"], 0);
}

#[test]
fn without_dead_letters_it_stops_at_the_event_which_comes_first_next_time() {
    let home = Home::new();
    home.feed(&["publish", "n", "-k", "k"], "1\n2\n3\n").ok();
    let args =
        ["--no-dlq", "--max-attempts", "2", "--backoff", "1ms", "--", "sh", "-c", "read x; test $x != 2"];
    for _ in 0..2 {
        let ran = home.work("g", &args).exit(1).said("error: n 1 failed, 2 tries: exit 1");
        ran.said("hint: it was given back and comes first next time");
    }
    home.work("g", &["--no-dlq", "--", "sh", "-c", "cat; echo"]).ok().printed("2\n3\n");
    assert!(!home.run(&["topics", "list", "-o", "json"]).ok().out.contains("dlq"));
}

#[test]
fn too_many_dead_in_a_row_and_it_stops() {
    let home = numbers(20);
    let fails = ["--max-attempts", "1", "--", "sh", "-c", "read x; test $x = 3"];
    let ran = home.work("g", &[&["--max-dead", "4"], &fails[..]].concat()).exit(6);
    let ran = ran
        .said("error: 4 events in a row died, so the fault is hardly in the events; nothing more was taken");
    ran.said("hint: what they died of: evcat dlq peek n.g.dlq");
    assert_eq!(home.group("g")["lag"], 13);
    assert_eq!(home.events("n.g.dlq").len(), 6);
    home.work("h", &[&["--max-dead", "0"], &fails[..]].concat()).exit(6).said("done: 1 acked, 19 dead");
    // A bounded run says at its end that something died.
    home.work("i", &["-c", "3", "--max-attempts", "1", "--", "sh", "-c", "read x; test $x = 3"])
        .exit(6)
        .said("done: 1 acked, 2 dead");
}

#[test]
fn into_a_topic_or_another_broker_as_they_were() {
    let home = Home::new();
    let lines = "{\"key\":{\"base64\":\"/w==\"},\"headers\":[[\"h\",\"1\"],[\"h\",null]],\"encoding\":\"base64\",\"payload\":\"AAE=\"}\n{\"key\":\"k\",\"headers\":[],\"payload\":null}\n";
    home.feed(&["publish", "n", "--input", "events"], lines).ok();
    home.work("g", &["--into", "copy"]).ok().said("done: 2 acked");
    let copies: Vec<_> = home.lines("copy").iter().map(|line| line.replace("\"copy\"", "\"n\"")).collect();
    assert_eq!(copies, home.lines("n"));
    home.work("h", &["--to-broker", "local:other.db"]).ok();
    let ran = home.run(&["-b", "local:other.db", "tail", "n", "--no-follow", "-o", "json"]).ok();
    assert_eq!(ran.out.lines().map(str::to_owned).collect::<Vec<_>>(), home.lines("n"));
    // Live, and resumable: killed, it goes on where it was.
    let bridge = home.member("live", &["--into", "bridge"]);
    home.until("two copies", |home| {
        (home.run(&["tail", "bridge", "--no-follow"]).out.lines().count() >= 2).then_some(())
    });
    bridge.signal(SIGKILL);
    bridge.end().exit(137);
    home.run(&["publish", "n", "last"]).ok();
    let bridge = home.member("live", &["--into", "bridge"]);
    home.until("the last", |home| home.payloads("bridge").contains(&"last".into()).then_some(()));
    bridge.signal(SIGTERM);
    bridge.end().exit(143);
    home.work("x", &["--into", "n"]).exit(2).said("would never end");
}

#[test]
fn nothing_is_made_where_that_was_forbidden() {
    let home = numbers(1);
    let ran = home.run(&["subscribe", "n", "-g", "g", "--no-create", "--", "true"]).exit(2);
    ran.said("error: --no-create: group 'g' does not exist on n (local)\nhint: to make it: evcat groups create g n");
    assert_eq!(home.run(&["groups", "list", "-o", "json"]).ok().out, "");
    home.run(&["groups", "create", "g", "n", "--from", "beginning"]).ok();
    home.run(&["subscribe", "n", "-g", "g", "--no-create", "--no-follow"]).ok().printed("1\n");
    let other = ["subscribe", "n", "-g", "g", "--no-create", "--no-follow", "--dlq", "elsewhere"];
    home.run(&other).exit(2).said("the dead-letter topic 'elsewhere' does not exist on local");
}

#[test]
fn members_share_the_work_of_few_keys() {
    let home = Home::new();
    let lines: String = (0..400).map(|n| format!("k{}:{n}\n", n % 50)).collect();
    home.feed(&["publish", "n", "-K:"], lines).ok();
    let handler = format!("{SLOW}; sleep 0.02; echo $PPID >> shares");
    let args = ["--no-follow", "--concurrency", "4", "--", "sh", "-c", &handler];
    let first = home.member("g", &args);
    home.has_begun(4);
    let second = home.member("g", &args);
    // The first has all it wants and is busy: what the second needs for its lanes is still there.
    home.has_begun(8);
    home.write("go", "");
    first.end().ok();
    second.end().ok();
    let shares = home.read("shares");
    let one = shares.lines().next().unwrap();
    let its = shares.lines().filter(|line| *line == one).count();
    assert_eq!(shares.lines().count(), 400);
    assert!((100..=300).contains(&its), "{its} of 400 by one of two");
}

#[test]
fn a_second_member_takes_over_from_one_that_was_killed() {
    let home = numbers(4);
    let first = home.member("g", &["--concurrency", "2", "--", "sh", "-c", SLOW]);
    home.has_begun(2);
    assert_eq!(home.group("g")["members"], 1);
    first.signal(SIGKILL);
    first.end().exit(137);
    let begun = Instant::now();
    let second = home.member("g", &["-c", "4", "--", "sh", "-c", "cat; echo \" $EVCAT_ATTEMPT\""]);
    let ran = second.end().ok();
    assert!(begun.elapsed() < Duration::from_secs(10), "within 10 s: {:?}", begun.elapsed());
    let mut seen: Vec<_> = ran.out.lines().collect();
    seen.sort();
    // What the dead one had in hand counts as a try.
    let events: Vec<_> = seen.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(events, ["1", "2", "3", "4"]);
    assert!(seen[..2] == ["1 2", "2 2"], "{seen:?}");
}

#[test]
fn asked_to_stop_it_waits_for_handlers_and_gives_the_rest_back() {
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let home = numbers(5);
        let member = home.member("g", &["--concurrency", "2", "--", "sh", "-c", SLOW]);
        home.has_begun(2);
        member.signal(signal);
        // What has begun may end, and no more begins once it knows.
        home.write("go", "");
        let ran = member.end().exit(code);
        assert!(ran.by_signal);
        let begun = home.read("begun").lines().count();
        ran.said(&format!("stopped: {begun} acked, 0 dead, {} given back", 5 - begun));
        let rest: String = (begun + 1..=5).map(|n| format!("{n}\n")).collect();
        home.work("g", &[]).ok().printed(&rest);
    }
}

#[test]
fn a_handler_that_does_not_end_is_killed_after_the_drain_and_its_event_comes_again() {
    let home = numbers(1);
    let member = home.member("g", &["--drain", "100ms", "--", "sh", "-c", SLOW]);
    home.has_begun(1);
    member.signal(SIGINT);
    member.end().exit(130).said("stopped: 0 acked, 0 dead, 1 given back");
    home.work("g", &[]).ok().printed("1\n");
    // Who asks twice does not wait.
    let home = numbers(1);
    let mut member = home.member("g", &["--", "sh", "-c", SLOW]);
    home.has_begun(1);
    member.insist(SIGINT);
    assert!(member.end().exit(130).by_signal);
    home.work("g", &[]).ok().printed("1\n");
}

#[test]
fn what_was_typed_wrong_names_the_flag_and_makes_nothing() {
    let home = numbers(1);
    for (args, words) in [
        (&["n"][..], "-g GROUP is missing"),
        (&["n", "-g", ""], "error: "),
        (&["n", "-g", "g", "--concurrency", "2"], "--concurrency is about a command"),
        (&["n", "-g", "g", "--max-attempts", "2"], "--max-attempts is about a command"),
        (&["n", "-g", "g", "--worker"], "--worker is about a command"),
        (&["n", "-g", "g", "-o", "json", "--", "true"], "--output is about printing"),
        (&["n", "-g", "g", "--into", "m", "--select", ".x"], "--select is about printing"),
        (&["n", "-g", "g", "--into", "m", "--", "true"], "cannot be used with"),
        (&["n", "-g", "g", "--concurrency", "0", "--", "true"], "--concurrency 0"),
        (&["n", "-g", "g", "--max-attempts", "0", "--", "true"], "'--max-attempts <N>'"),
        (&["n", "-g", "g", "--backoff", "1m..1s", "--", "true"], "the longest wait is shorter"),
        (&["n", "-g", "g", "--backoff", "5", "--", "true"], "'--backoff <A..B>'"),
        (&["n", "-g", "g", "--dlq", "d", "--no-dlq"], "cannot be used with"),
        (&["n", "-g", "g", "--worker", "--stdin", "event", "--", "true"], "cannot be used with"),
        (&["n", "-g", "g", "--ordering", "none", "--", "gone"], "'gone' is not in PATH"),
        (&["n", "-g", "g", "--ordering", "random", "--", "true"], "[possible values: "),
        (&["n", "-g", "g", "--from", "3:1"], "--from 3:1"),
        (&["n", "-g", "g", "--where", "("], "--where: "),
        (&["n", "-g", "g", "--binding", "x"], "--binding: local has no bindings"),
        (&["gone*", "-g", "g"], "no topic on local matches 'gone*'"),
        (&["n", "-g", "g", "--to-broker", "nosuch"], "there is no profile 'nosuch'"),
    ] {
        let ran = home.run(&[&["subscribe"], args].concat());
        assert!(ran.code == 2 && ran.err.contains("error: "), "{args:?}: {} {}", ran.code, ran.err);
        assert!(ran.err.contains(words) && ran.out.is_empty(), "{args:?}: {}", ran.err);
    }
    assert_eq!(home.run(&["groups", "list", "-o", "json"]).ok().out, "");
    assert_eq!(home.run(&["topics", "list", "-o", "json"]).ok().out.lines().count(), 1);
}
