//! `evcat replay`: history to stdout, into topics, to another broker and back, through a command.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGINT, SIGKILL};
use serde_json::{Value, json};

use crate::rig::Home;

/// Events of every kind, as canonical lines without topic and place.
const WILD: &str = r#"{"timestamp":"2020-02-03T04:05:06.789Z","key":"A-17","headers":[["h","1"],["h","2"],["n",null],["e",""]],"payload":{"a":1.0,"b":[1e2]}}
{"timestamp":"2020-02-03T04:05:06.790Z","key":{"base64":"/w=="},"headers":[["b",{"base64":"gIE="}]],"encoding":"base64","payload":"AAEC/w=="}
{"timestamp":"2020-02-03T04:05:06.790Z","key":"gone","headers":[["evcat-replay-count","2"]],"payload":null}
{"timestamp":"2020-02-03T04:05:06.791Z","key":"","headers":[],"encoding":"text","payload":""}
{"timestamp":"2020-02-03T04:05:06.792Z","key":null,"headers":[["ce_id","one"],["ce_type","t"]],"encoding":"text","payload":"null\n\u0000\u202e"}
"#;

/// A home with the numbers from 1 to this in topic `n`.
fn numbers(up_to: u32) -> Home {
    let home = Home::new();
    let lines: String = (1..=up_to).map(|n| format!("{n}\n")).collect();
    home.feed(&["publish", "n"], lines).ok();
    home
}

fn wild() -> Home {
    let home = Home::new();
    home.feed(&["publish", "wild", "--input", "events", "--keep-timestamp"], WILD).ok();
    home
}

fn header(event: &Value, name: &str) -> Option<String> {
    let found = event["headers"].as_array()?.iter().rfind(|pair| pair[0] == name)?;
    Some(found[1].as_str()?.to_owned())
}

#[test]
fn to_stdout_all_or_a_range_or_the_last() {
    let home = numbers(5);
    home.run(&["replay", "n"]).ok().printed("1\n2\n3\n4\n5\n");
    home.run(&["replay", "n", "--from", "1", "--to", "3"]).ok().printed("2\n3\n");
    home.run(&["replay", "n", "--last", "2"]).ok().printed("4\n5\n");
    home.run(&["replay", "n", "--since", "1h", "--where", ".payload > 4"]).ok().printed("5\n");
    home.run(&["replay", "n", "--last", "2", "--transform", ".payload += 1"]).ok().printed("5\n6\n");
    home.run(&["replay", "n", "--transform", "select(.payload == 3)", "-F", "%o:%s"]).ok().printed("2:3");
    home.run(&["replay", "n", "--last", "1", "--select", ".offset"]).ok().printed("4\n");
    home.run(&["replay", "n", "--grep", "none"]).ok().printed("");
}

#[test]
fn the_end_is_fixed_at_the_start_also_into_the_same_topic() {
    let home = numbers(3);
    home.run(&["replay", "n", "--into", "n"]).ok().said("3 of 3 events of n on local went into n on local");
    assert_eq!(home.payloads("n"), ["1", "2", "3", "1", "2", "3"]);
}

#[test]
fn several_topics_tell_one_story_by_time() {
    let home = Home::new();
    for (topic, second) in [("orders", 1), ("payments", 2), ("orders", 3), ("mail", 4)] {
        let at = format!("2026-01-31T14:05:0{second}Z");
        home.run(&["publish", topic, &format!("A-17 {topic} {second}"), "--timestamp", &at]).ok();
        home.run(&["publish", topic, "A-18", "--timestamp", &at]).ok();
    }
    let story = "A-17 orders 1\nA-17 payments 2\nA-17 orders 3\nA-17 mail 4\n";
    home.run(&["replay", "*", "--grep", "A-17"]).ok().printed(story);
    let ran = home.run(&["replay", "*", "--since", "2026-01-31T14:05:03Z", "--grep", "A-17", "-F", "%t\\n"]);
    ran.ok().printed("orders\nmail\n");
    home.run(&["replay", "*", "--into", "all", "--grep", "A-17"]).ok();
    assert_eq!(home.payloads("all").join("\n") + "\n", story);
}

#[test]
fn copies_say_what_they_are_copies_of_and_verbatim_ones_are_the_same() {
    let home = wild();
    home.run(&["replay", "wild", "--into", "copy"]).ok();
    let (events, copies) = (home.events("wild"), home.events("copy"));
    let run = header(&copies[0], "evcat-replay-run").unwrap();
    for (event, copy) in events.iter().zip(&copies) {
        assert_eq!((&copy["key"], &copy["payload"]), (&event["key"], &event["payload"]));
        let says = |name: &str| header(copy, &format!("evcat-replay-{name}"));
        assert_eq!((says("topic"), says("run")), (Some("wild".into()), Some(run.clone())));
        assert_eq!(says("position"), Some(event["offset"].to_string()));
        assert_eq!(says("timestamp").as_deref(), event["timestamp"].as_str());
        assert!(copy["timestamp"].as_str() > Some("2026"), "a new event has a new time");
    }
    assert_eq!(events.len(), copies.len());

    home.run(&["replay", "wild", "--into", "same", "--verbatim"]).ok();
    let same: Vec<_> = home.lines("same").iter().map(|line| line.replace("\"same\"", "\"wild\"")).collect();
    assert_eq!(same, home.lines("wild"));
}

#[test]
fn to_another_broker_and_back_nothing_is_lost() {
    let home = wild();
    let ran = home.run(&["replay", "wild", "--to-broker", "local:other.db", "--verbatim"]).ok();
    ran.said("5 of 5 events of wild on local went into the same topics on local:other.db");
    let there =
        ["-b", "local:other.db", "replay", "wild", "--to-broker", "local:", "--into", "back", "--verbatim"];
    home.run(&there).ok();
    let back: Vec<_> = home.lines("back").iter().map(|line| line.replace("\"back\"", "\"wild\"")).collect();
    assert_eq!(back, home.lines("wild"));
}

#[test]
fn a_dry_run_counts_and_does_nothing() {
    let home = numbers(5);
    let plan = |args: &[&str]| home.run(&[&["replay", "n", "--dry-run"], args].concat()).ok().out;
    assert_eq!(
        plan(&["--into", "m", "--where", ".payload > 3"]),
        "PLAN, nothing was done\n  from     n on local, 0 up to 5\n  chosen   2 of 5\n  target   into m on local\n\
         do it: the same without --dry-run\n"
    );
    assert!(plan(&["--to-broker", "local:other.db"]).contains("into the same topics on local:other.db"));
    assert!(
        plan(&["--from", "3", "--", "touch", "ran"]).contains("  chosen   2 of 2\n  target   through touch")
    );
    assert!(!home.path("ran").exists() && !home.path("other.db").exists());
    home.run(&["tail", "m", "--no-follow"]).exit(2);
}

#[test]
fn killed_at_any_point_it_goes_on_and_loses_nothing() {
    let home = numbers(400);
    let args = ["replay", "n", "--into", "m", "--resume", "at.json", "--rate", "400/s", "-q"];
    for _ in 0..3 {
        let before = home.read("at.json");
        let replay = home.start(&args);
        home.until("a step", |home| (home.read("at.json") != before).then_some(()));
        replay.signal(SIGKILL);
        replay.end().exit(137);
        let at: Value = serde_json::from_str(&home.read("at.json")).unwrap();
        assert!(at["next"][0][1].as_str().unwrap().parse::<u32>().unwrap() < 400, "{at}");
        // What comes later is not part of it.
        home.run(&["publish", "n", "later"]).ok();
    }
    let ran = home.run(&["replay", "n", "--into", "m", "--resume", "at.json"]).ok();
    ran.said("going on after the ");
    let copies: Vec<u32> = home.payloads("m").iter().map(|payload| payload.parse().unwrap()).collect();
    let mut first: Vec<u32> = Vec::new();
    copies.iter().for_each(|n| {
        if !first.contains(n) {
            first.push(*n)
        }
    });
    assert_eq!(first, (1..=400).collect::<Vec<_>>(), "each of them, in order");
    // Finished is finished, and it belongs to one command.
    home.run(&["replay", "n", "--into", "m", "--resume", "at.json"]).ok();
    assert_eq!(home.events("m").len(), copies.len());
    let other = home.run(&["replay", "n", "--into", "x", "--resume", "at.json"]).exit(2);
    other.said("--resume at.json: it is of another replay (n on local into m on local)");
    assert!(!home.bash("ls").out.contains("tmp"), "a kill leaves nothing beside it for good");
    home.write("bad.json", "{}");
    home.run(&["replay", "n", "--into", "m", "--resume", "bad.json"])
        .exit(2)
        .said("not a checkpoint of evcat");
}

#[test]
fn a_checkpoint_is_of_one_choice_of_events() {
    let home = numbers(4);
    let replay =
        |more: &[&str]| home.run(&[&["replay", "n", "--into", "m", "--resume", "at"], more].concat());
    let odd = ["--where", ".payload % 2 == 1", "--since", "1h"];
    replay(&odd).ok();
    for other in [
        &[][..],
        &["--where", ".payload > 2", "--since", "1h"],
        &[&odd[..], &["--grep", "1"]].concat(),
        &[&odd[..], &["--transform", ".payload += 1"]].concat(),
        &[&odd[..], &["--until", "5m"]].concat(),
        &[&odd[..], &["--verbatim"]].concat(),
    ] {
        let ran = replay(other).exit(2).said("hint: a checkpoint belongs to one command");
        ran.said("--resume at: it is of another replay (n on local into m on local --")
            .said(" 1h --where '.payload % 2 == 1')");
    }
    // How fast, and what is done with failures, is another matter.
    replay(&[&odd[..], &["--rate", "100/s", "--on-error", "continue"]].concat()).ok();
    assert_eq!(home.payloads("m"), ["1", "3"]);
}

#[test]
fn a_time_ago_is_that_of_the_first_run() {
    let home = Home::new();
    home.run(&["publish", "n", "old", "--timestamp", "2h"]).ok();
    home.run(&["publish", "n", "new"]).ok();
    let args = ["replay", "n", "--since", "1h", "--into", "m", "--resume", "at"];
    home.run(&args).ok();
    let mut at: Value = serde_json::from_str(&home.read("at")).unwrap();
    let from = at["from"].as_i64().unwrap();
    // As if the first run had been killed two hours ago, before its first event.
    (at["from"], at["next"][0][1]) = ((from - 7_200_000).into(), "0".into());
    home.write("at", at.to_string());
    home.run(&args).ok();
    assert_eq!(home.payloads("m"), ["new", "old", "new"]);
}

#[test]
fn interrupted_it_ends_by_the_signal_and_the_same_command_goes_on() {
    let home = numbers(100);
    let args = ["replay", "n", "--into", "m", "--resume", "at.json", "--rate", "100/s"];
    let replay = home.start(&args);
    home.until("a step", |home| (!home.read("at.json").is_empty()).then_some(()));
    replay.signal(SIGINT);
    assert!(replay.end().exit(130).by_signal);
    home.run(&["replay", "n", "--into", "m", "--resume", "at.json"]).ok();
    let expected: Vec<_> = (1..=100).map(|n| n.to_string()).collect();
    assert_eq!(home.payloads("m"), expected, "after a clean stop nothing is repeated");
}

#[test]
fn what_a_reader_that_stopped_reading_never_got_is_printed_again() {
    let home = Home::new();
    home.bash("seq -f %0100g 40000 | evcat publish n --input lines -q").ok();
    let replay = "evcat replay n -o raw --resume at.json";
    // More than fits into the pipe and into our own hands, and then Ctrl-C.
    let first = format!(
        "mkfifo pipe; {replay} > pipe & exec 3<pipe; sleep 1; kill -INT $!; wait $!; cat <&3 > first; exit 0"
    );
    home.bash(&first).ok();
    home.bash(&format!("{replay} > second")).ok();
    let (first, second) = (home.read("first"), home.read("second"));
    let whole = first.rfind('\n').map_or("", |end| &first[..end]);
    let number = |line: &str| line.parse::<u32>().unwrap();
    let seen: std::collections::BTreeSet<_> = whole.lines().chain(second.lines()).map(number).collect();
    let lost: Vec<_> = (1..=40_000).filter(|n| !seen.contains(n)).collect();
    assert!(lost.is_empty(), "{} are passed and were never printed, from {}", lost.len(), lost[0]);
}

#[test]
fn the_invalid_ones_alone_and_exit_6() {
    let home = Home::new();
    home.write("n.json", "{\"type\":\"number\",\"maximum\":2}");
    home.feed(&["publish", "n"], "1\n\"x\"\n3\nnope\n").ok();
    let ran = home.run(&["replay", "n", "--invalid-for", "n.json"]).exit(6).printed("\"x\"\n3\nnope\n");
    ran.said("3 of 4 events break the schema; the first: n 1: not valid for n.json: ");
    home.run(&["replay", "n", "--invalid-for", "n.json", "--to", "1"]).ok().printed("");
    home.run(&["replay", "n", "--invalid-for", "n.json", "--into", "bad"]).exit(6);
    assert_eq!(home.payloads("bad"), ["x", "3", "nope"]);
    home.run(&["replay", "n", "--invalid-for", "gone.json"])
        .exit(2)
        .said("--invalid-for gone.json: No such file");
}

#[test]
fn a_command_gets_the_contract_of_a_handler_and_nothing_is_settled() {
    let home = Home::new();
    home.run(&["publish", "n", "one", "-k", "A-1"]).ok();
    home.run(&["publish", "n", "two", "-k", "A-2"]).ok();
    home.run(&["groups", "create", "g", "n", "--from", "beginning"]).ok();
    let show =
        "read x; echo $x $EVCAT_TOPIC $EVCAT_POSITION $EVCAT_KEY $EVCAT_ATTEMPT \"${EVCAT_GROUP-none}\"";
    let ran = home.run(&["replay", "n", "--", "sh", "-c", show]).ok();
    ran.printed("one n 0 A-1 1 none\ntwo n 1 A-2 1 none\n")
        .said("2 of 2 events of n on local went through sh");
    assert_eq!(home.group("g")["lag"], 2);

    let fails = "read x; test $x != one";
    home.run(&["replay", "n", "--", "sh", "-c", fails]).exit(1).said("error: not handled by sh: n 0: exit 1");
    let args = ["replay", "n", "--on-error", "continue", "--failed-to", "f", "--", "sh", "-c", fails];
    let ran = home.run(&args).exit(6).said("error: 1 of 2 events was not handled by sh\n  n 0  exit 1");
    ran.said("hint: it is in f, as canonical lines\n");
    let kept: Value = serde_json::from_str(&home.read("f")).unwrap();
    assert_eq!((&kept["payload"], &kept["failure"]["error"]), (&json!("one"), &json!("exit 1")));
    home.run(&["replay", "n", "--handler-timeout", "100ms", "--", "sleep", "60"]).exit(1).said("n 0: ");
    let worker = "while read -r line; do echo ok; echo \"$line\" >> seen; done";
    home.run(&["replay", "n", "--worker", "--", "sh", "-c", worker]).ok();
    assert_eq!(home.read("seen").lines().map(str::to_owned).collect::<Vec<_>>(), home.lines("n"));
    home.run(&["replay", "n", "--", "no-such-command"])
        .exit(2)
        .said("the handler 'no-such-command' is not in PATH");
}

#[test]
fn several_handlers_at_a_time_keep_the_order_of_each_key() {
    let home = Home::new();
    let lines: String = (0..40).map(|n| format!("k{}:{n}\n", n % 4)).collect();
    home.feed(&["publish", "n", "-K:"], lines).ok();
    let note = "read x; echo $x >> $EVCAT_KEY";
    home.run(&["replay", "n", "--concurrency", "4", "--", "sh", "-c", note]).ok();
    for key in 0..4 {
        let seen: Vec<u32> =
            home.read(&format!("k{key}")).lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(seen, (0..40).filter(|n| n % 4 == key).collect::<Vec<_>>());
    }
}

#[test]
fn at_the_pace_of_old_or_faster() {
    let home = Home::new();
    for at in ["00.000", "00.100", "00.300"] {
        let at = format!("2026-01-31T14:05:{at}Z");
        home.run(&["publish", "n", &at, "--timestamp", &at]).ok();
    }
    let took = |speed: &str| {
        let begun = Instant::now();
        let ran = home.run(&["replay", "n", "--speed", speed]).ok();
        assert_eq!(ran.out.lines().map(str::to_owned).collect::<Vec<_>>(), home.payloads("n"));
        begun.elapsed()
    };
    assert!(took("1x") >= Duration::from_millis(300));
    assert!(took("2x") >= Duration::from_millis(150));
    took("max");
    let begun = Instant::now();
    home.run(&["replay", "n", "--rate", "10/s"]).ok();
    assert!(begun.elapsed() >= Duration::from_millis(200), "three at 10/s take two pauses");
}

#[test]
fn what_was_typed_wrong_names_the_flag_and_does_nothing() {
    let home = numbers(2);
    for (args, words) in [
        (&["gone"][..], "topic 'gone' does not exist on local"),
        (&["gone*"], "no topic on local matches 'gone*'"),
        (&["n", "--from", "bogus"], "'--from <POINT>'"),
        (&["n", "--last", "1", "--from", "1"], "cannot be used with"),
        (&["n", "--into", "m", "--", "true"], "cannot be used with"),
        (&["n", "--verbatim"], "--verbatim is about copies"),
        (&["n", "--worker"], "--worker is about a command"),
        (&["n", "--concurrency", "2"], "--concurrency is about a command"),
        (&["n", "--handler-timeout", "1s"], "--handler-timeout is about a command"),
        (&["n", "--failed-to", "f"], "--failed-to is about copies and commands"),
        (&["n", "--into", "m", "-o", "json"], "-o is about printing"),
        (&["n", "--into", "m", "--select", ".x"], "--select is about printing"),
        (&["n", "--rate", "5"], "'--rate <N/s>'"),
        (&["n", "--speed", "fast"], "'--speed <SPEED>': a speed is 1x, 10x, 0.5x or max"),
        (&["n", "--transform", ".payload."], "--transform: the expression ends"),
        (&["n", "--to-broker", "locla:"], "knows no broker 'locla'"),
        (&["n", "--to-broker", "nosuch"], "there is no profile 'nosuch'"),
        (&["n", "--into", ""], "--into"),
    ] {
        let ran = home.run(&[&["replay"], args].concat());
        assert!(ran.code == 2 && ran.err.starts_with("error: "), "{args:?}: {} {}", ran.code, ran.err);
        assert!(ran.err.contains(words) && ran.out.is_empty(), "{args:?}: {}", ran.err);
    }
    home.run(&["tail", "m", "--no-follow"]).exit(2);
    home.run(&["profiles", "add", "safe", "local:safe.db", "--read-only"]).ok();
    home.run(&["replay", "n", "--to-broker", "safe"]).exit(5).said("safe");
}

#[test]
fn what_cannot_be_changed_ends_it_there_and_the_rerun_goes_on_from_it() {
    let home = numbers(20);
    let fails = "if .payload == 7 then error(\"x\") else . end";
    let args = ["replay", "n", "--into", "m", "--resume", "at.json"];
    home.run(&[&args[..], &["--transform", fails]].concat()).exit(6);
    let first = |to: u32| (1..=to).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(home.payloads("m"), first(6), "nothing behind it was sent");
    let at: Value = serde_json::from_str(&home.read("at.json")).unwrap();
    assert_eq!(at["next"][0][1], "6", "{at}");
}

#[test]
fn a_command_keeps_its_place_by_the_event_and_the_first_signal_is_heard_when_all_is_read() {
    let home = numbers(20);
    let args = ["replay", "n", "--resume", "at.json", "--", "sh", "-c", "echo $(cat) >> seen; sleep 0.1"];
    let replay = home.start(&args);
    home.until("a step", |home| home.read("seen").lines().nth(2).map(drop));
    replay.signal(SIGINT);
    replay.end().exit(130);
    let seen = home.read("seen").lines().count();
    assert!(seen < 20, "{seen}");
    home.run(&args).ok();
    let all: Vec<String> = home.read("seen").lines().map(str::to_owned).collect();
    assert_eq!(all, (1..=20).map(|n| n.to_string()).collect::<Vec<_>>(), "each once");
}
