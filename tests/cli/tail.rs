//! `evcat tail`: which events are shown, how, and how it ends.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGTERM};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::rig::{Home, Ran};

/// A home with the numbers from 1 to this in topic `n`.
fn numbers(up_to: u32) -> Home {
    let home = Home::new();
    let lines: String = (1..=up_to).map(|n| format!("{n}\n")).collect();
    home.feed(&["publish", "n"], lines).ok();
    home
}

impl Home {
    /// What there is of topic `n`, on one line.
    #[track_caller]
    fn shown(&self, args: &[&str]) -> String {
        self.look(args).ok().out.trim_end().replace('\n', " ")
    }

    fn look(&self, args: &[&str]) -> Ran {
        self.run(&[&["tail", "n", "--no-follow"], args].concat())
    }
}

#[test]
fn the_last_ten_before_filters_or_as_many_as_asked_for() {
    let home = numbers(25);
    assert_eq!(home.shown(&[]), "16 17 18 19 20 21 22 23 24 25");
    assert_eq!(home.shown(&["-n", "3"]), "23 24 25");
    assert_eq!(home.shown(&["-n", "0"]), "");
    assert_eq!(home.shown(&["-n", "100"]).split(' ').count(), 25);
    let ran = home.look(&["--grep", "^[12]0$"]).ok().printed("20\n");
    ran.said("1 of the last 10 matched");
    home.look(&["--grep", "^1$"]).ok().printed("").said("0 of the last 10 matched");
    home.look(&["-c", "2"]).ok().printed("16\n17\n");
    home.look(&["-n", "2", "-c", "3"]).exit(3).printed("24\n25\n");
}

#[test]
fn ranges_by_position_and_by_time_hold_their_start_and_not_their_end() {
    let home = numbers(5);
    assert_eq!(home.shown(&["--from", "3"]), "4 5");
    assert_eq!(home.shown(&["--from", "1", "--to", "3"]), "2 3");
    assert_eq!(home.shown(&["--since", "beginning", "--until", "2"]), "1 2");
    assert_eq!(home.shown(&["--to", "2"]), "1 2");
    assert_eq!(home.shown(&["--from", "now"]), "");
    assert_eq!(home.shown(&["--from", "end"]), "");
    assert_eq!(home.shown(&["--from", "1h"]), "1 2 3 4 5");
    assert_eq!(home.shown(&["--from", "00:00", "--to", "now"]), "1 2 3 4 5");
    assert_eq!(home.shown(&["--from", "2020-01-01", "--to", "2021-01-01"]), "");

    let home = Home::new();
    for second in 1..=5 {
        let at = format!("2026-01-31T14:05:0{second}Z");
        home.run(&["publish", "n", &second.to_string(), "--timestamp", &at]).ok();
    }
    assert_eq!(home.shown(&["--from", "2026-01-31T14:05:02Z", "--to", "2026-01-31T14:05:04Z"]), "2 3");
    assert_eq!(home.shown(&["--from", "2026-01-31T15:05:04+01:00"]), "4 5");
    assert_eq!(home.shown(&["--from", "@1769868305"]), "5");
    assert_eq!(home.shown(&["--from", "@1769868302000", "--to", "@1769868303000"]), "2");
    assert_eq!(home.shown(&["--from", "2026-01-31", "--to", "2026-02-01"]), "1 2 3 4 5");
    // A time without a zone is local.
    let mut berlin = home.command(&["tail", "n", "--no-follow", "--from", "2026-01-31T15:05:05"]);
    Ran::from(berlin.env("TZ", "Europe/Berlin").output().unwrap()).ok().printed("5\n");
}

#[test]
fn new_events_follow_until_a_count_a_silence_or_a_time() {
    let home = numbers(2);
    let tail = home.start(&["tail", "n", "-c", "4"]);
    tail.prints("1\n2\n");
    tail.says("n on local: the last 2 of 2 events, then new ones; Ctrl-C ends");
    home.feed(&["publish", "n"], "3\n4\n5\n").ok();
    tail.end().ok().printed("1\n2\n3\n4\n");

    let tail = home.start(&["tail", "n", "-n", "0"]);
    tail.says("n on local: new events; Ctrl-C ends");
    home.run(&["publish", "n", "6"]).ok();
    tail.prints("6\n");
    assert_eq!(tail.out(), "6\n");

    home.run(&["tail", "n", "-n", "1", "--idle-exit", "50ms"]).ok().printed("6\n");
    home.run(&["tail", "n", "-n", "1", "--for", "50ms"]).ok().printed("6\n");
    home.run(&["tail", "n", "-n", "1", "--for", "50ms", "-c", "2"]).exit(3).printed("6\n");
    let begun = Instant::now();
    home.run(&["tail", "n", "-n", "0", "--for", "300ms"]).ok();
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_topic_that_is_not_there_is_waited_for_and_only_then() {
    let home = Home::new();
    let tail = home.start(&["tail", "new", "-c", "1"]);
    tail.says("new does not exist on local yet; waiting for it");
    home.run(&["publish", "new", "x"]).ok();
    tail.end().ok().printed("x\n");
    let ran = home.run(&["tail", "gone", "--no-follow"]).exit(2);
    ran.said("error: topic 'gone' does not exist on local\nhint: to make it: evcat topics create gone");
    home.run(&["tail", "nwe", "--no-follow"]).exit(2).said("hint: did you mean 'new'?");
    home.run(&["tail", "gone*"]).exit(2).said("no topic on local matches 'gone*'");
}

#[test]
fn several_topics_are_merged_by_time_and_globs_leave_dead_letters_out() {
    let home = Home::new();
    for (topic, second) in [("a.x", 1), ("a.y", 2), ("a.x", 3), ("a.x", 4), ("a.y", 5), ("b", 6)] {
        let at = format!("2026-01-31T14:05:0{second}Z");
        home.run(&["publish", topic, &format!("{topic} {second}"), "--timestamp", &at]).ok();
    }
    let args = ["--from", "beginning", "--no-follow"];
    let all = home.run(&[&["tail", "a.*"], &args[..]].concat()).ok();
    let all = all.printed("a.x 1\na.y 2\na.x 3\na.x 4\na.y 5\n");
    assert!(!all.err.contains("warning"), "{}", all.err);
    home.run(&[&["tail", "b", "a.y"], &args[..]].concat()).ok().printed("a.y 2\na.y 5\nb 6\n");
    // The last n are those over all topics.
    home.run(&["tail", "a.*", "-n", "3", "--no-follow"]).ok().printed("a.x 3\na.x 4\na.y 5\n");

    home.run(&["subscribe", "a.x", "-g", "g", "--from", "beginning", "-c", "1", "--", "sh", "-c", "exit 65"])
        .exit(6);
    home.run(&["tail", "a.x.g.dlq", "--no-follow"]).ok().printed("a.x 1\n");
    let all = home.run(&[&["tail", "*"], &args[..]].concat()).ok();
    assert_eq!(all.out.lines().count(), 6, "without the dead letter\n{}", all.out);
    home.run(&[&["tail", "a.x.*"], &args[..]].concat())
        .exit(2)
        .said("dead-letter topics are read when they are named");
}

#[test]
fn looking_moves_nothing() {
    let home = numbers(3);
    home.run(&["groups", "create", "g", "n", "--from", "beginning"]).ok();
    home.look(&["--from", "beginning"]).ok();
    assert_eq!(home.group("g")["lag"], 3);
    assert_eq!(home.shown(&[]), "1 2 3");
    let listed = home.run(&["groups", "list", "-o", "json"]).ok();
    assert_eq!(listed.out.lines().count(), 1, "no group was made for looking");
}

#[test]
fn a_reader_that_leaves_ends_it_with_0_also_while_nothing_comes() {
    let home = numbers(3);
    home.bash("evcat tail n | head -1; exit ${PIPESTATUS[0]}").ok().printed("1\n");
    home.bash("evcat tail n --from beginning --no-follow | head -1; exit ${PIPESTATUS[0]}").ok();
    home.bash("evcat tail n -n 0 2>/dev/null | true; exit ${PIPESTATUS[0]}").ok();
    home.bash("set -o pipefail; evcat tail n -o json | grep -q '\"payload\":2'").ok();
}

#[test]
fn signals_end_it_by_the_same_signal() {
    let home = numbers(1);
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let tail = home.start(&["tail", "n"]);
        tail.prints("1\n");
        tail.signal(signal);
        let ended = tail.end().exit(code).printed("1\n");
        assert!(ended.by_signal, "not an exit code of this number");
    }
    // A reader that does not read does not keep it.
    let many = numbers(50_000);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = many.command(&["tail", "n", "--from", "beginning", "-o", "json"]);
    let mut child = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    reader.read_exact(&mut [0; 1]).unwrap();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), SIGTERM).unwrap();
    let status = many.until("its end", |_| child.try_wait().unwrap());
    assert_eq!(status.signal(), Some(SIGTERM as i32));
    let tail = home.start(&["tail", "n"]);
    tail.prints("1\n");
    tail.signal(SIGKILL);
    tail.end().exit(137);
    assert_eq!(home.shown(&[]), "1", "nothing was broken");
}

#[test]
fn every_filter_and_all_of_them_together() {
    let home = Home::new();
    let publish = |key: &str, kind: &str, header: &str, payload: &str| {
        home.run(&["publish", "n", payload, "-k", key, "--type", kind, "-H", header]).ok();
    };
    publish("A-1", "order.placed", "tenant=a", "{\"total\":10,\"s\":\"x\"}");
    publish("A-2", "order.paid", "tenant=b", "{\"total\":200,\"s\":\"y\"}");
    publish("B-3", "mail.sent", "tenant=a", "{\"total\":300,\"s\":\"x\"}");
    publish("B-4", "order.placed", "other=1", "no json");
    let keys = |args: &[&str]| home.shown(&[args, &["-F", "%k\\n"]].concat());
    assert_eq!(keys(&["--grep", "\"s\":\"x\""]), "A-1 B-3");
    assert_eq!(keys(&["--grep", "200", "--grep", "json"]), "A-2 B-4", "the same flag twice: either");
    assert_eq!(keys(&["--key", "A-*"]), "A-1 A-2");
    assert_eq!(keys(&["--key", "A-1", "--key", "B-?"]), "A-1 B-3 B-4");
    assert_eq!(keys(&["--type", "order.*"]), "A-1 A-2 B-4");
    assert_eq!(keys(&["--header", "tenant"]), "A-1 A-2 B-3");
    assert_eq!(keys(&["--header", "tenant=a"]), "A-1 B-3");
    assert_eq!(keys(&["--header", "tenant=*", "--header", "tenant=b"]), "A-2", "each header must hold");
    assert_eq!(keys(&["--where", ".payload.total > 100", "--where", ".key == \"A-2\""]), "A-2");
    assert_eq!(
        keys(&["--where", "header(\"tenant\") == \"a\" and (headers(\"tenant\") | length) == 1"]),
        "A-1 B-3"
    );
    assert_eq!(keys(&["--key", "B-*", "--type", "order.*", "--grep", "json"]), "B-4", "all must hold");
    // What fails on an event is no match, and is said.
    let ran = home.look(&["--where", ".payload.total > 5", "-F", "%k "]).ok().printed("A-1 A-2 B-3 ");
    ran.said("warning: the filter failed on 1 event (no match): n 3: --where: cannot index");
    home.look(&["--select", "[.key, .payload.total?]"])
        .ok()
        .printed("[\"A-1\",10]\n[\"A-2\",200]\n[\"B-3\",300]\n[\"B-4\"]\n");
    home.look(&["--where", ".payload.total? == 10", "--select", ".payload.s"]).ok().printed("x\n");
}

#[test]
fn a_filter_that_loops_stops_it_after_three_events() {
    let home = numbers(5);
    let ran = home.look(&["--where", "def f: f; f"]).exit(1).printed("");
    ran.said("error: --where: took longer than 1 s on 3 events, the last of them n 2");
}

#[test]
fn templates_have_every_verb() {
    let home = Home::new();
    let args = ["-k", "A-17", "-H", "a=1", "-H", "a=2", "--timestamp", "2026-01-31T14:05:00.123Z"];
    home.run(&[&["publish", "n", "{\"x\":1}", "--type", "t", "--id", "one"], &args[..]].concat()).ok();
    home.run(&["publish", "n", "-k", "", "--tombstone"]).ok();
    let first = |template: &str| home.look(&["--to", "1", "-F", template]).ok().out;
    assert_eq!(first("%t %p %o %k %K %s %S %T"), "n -1 0 A-17 4 {\"x\":1} 7 1769868300123");
    assert!(first("%h\n").starts_with("a=1,a=2,ce_specversion=1.0,ce_id=one,"));
    assert_eq!(first("%i|%y|%H{a}|%H{none}|%%"), "one|t|2||%");
    assert_eq!(first("%d{%Y-%m-%d %H:%M}\\n"), "2026-01-31 14:05\n");
    assert_eq!(first("\\x41\\t\\\\"), "A\t\\");
    assert_eq!(first("%R%s"), "\0\0\0\u{7}{\"x\":1}");
    assert_eq!(home.look(&["--from", "1", "-F", "%k|%K|%s|%S|"]).ok().out, "|0||-1|");
    home.look(&["-F", "%q"]).exit(2).said("error: -F: no verb is called '%q'");
    home.look(&["-F", "%s", "-o", "raw"]).exit(2);
}

#[test]
fn formats_for_programs() {
    let home = Home::new();
    home.feed(&["publish", "n", "--input", "json", "-k", "k"], "{\"a\": [1, 2]} 5").ok();
    home.run(&["publish", "n", "--tombstone", "-k", "k"]).ok();
    home.look(&["-o", "raw", "--to", "2"]).ok().printed("{\"a\": [1, 2]}\n5\n");
    home.look(&["--to", "1", "--pretty"]).ok().printed("{\n  \"a\": [\n    1,\n    2\n  ]\n}\n");
    let json = home.look(&["-o", "json", "-n", "1"]).ok().out;
    assert!(
        json.starts_with("{\"topic\":\"n\",\"offset\":2,\"timestamp\":\"20")
            && json.ends_with("\"payload\":null}\n")
    );
    let frames = home.look(&["-o", "frames", "--from", "1"]).ok();
    assert_eq!(frames.out.as_bytes()[..5], *b"\0\0\0\x015");
    home.bash("evcat tail n --no-follow -o frames | evcat publish copy --input frames -k k").ok();
    assert_eq!(home.payloads("copy"), home.payloads("n"));
    let human = home.look(&["-o", "human", "--from", "1"]).ok().out;
    assert!(human.ends_with("  k  -  (tombstone)\n") && human.contains("  1  k  -  5\n"), "{human}");
}

#[test]
fn what_acts_on_a_terminal_is_escaped_there_and_untouched_on_a_pipe() {
    let home = Home::new();
    let nasty = "\u{1b}[31mred\u{7}\u{202e}\u{200b}\u{9b}2J";
    home.run(&["publish", "n", nasty, "-k", nasty, "-H", &format!("h={nasty}"), "--type", nasty]).ok();
    for format in ["-o human", "-o raw", "-o json", "--pretty", "--select .payload", "-F '%k %s %h %y\\n'"] {
        let seen = home.terminal(&format!("evcat --color never tail n --no-follow {format}"));
        assert!(seen.contains("red"), "{format}: {seen:?}");
        for bad in ["\u{1b}", "\u{7}", "\u{202e}", "\u{200b}", "\u{9b}"] {
            assert!(!seen.contains(bad), "{format}: {seen:?} has {bad:?}");
        }
        let piped = home.bash(&format!("evcat tail n --no-follow {format}")).ok().out;
        let untouched =
            piped.contains(nasty) || format.contains("json") && home.events("n")[0]["payload"] == nasty;
        assert!(untouched, "{format}: {piped:?}");
    }
}

#[test]
fn what_was_typed_wrong_names_the_flag() {
    let home = numbers(1);
    for (args, words) in [
        (&["n", "--from", "bogus"][..], "'--from <POINT>': write beginning, now, 10m (ago)"),
        (&["n", "--from", "3:3"], "--from 3:3: 'n' has no partitions"),
        (&["n", "--from", "1", "-n", "2"], "cannot be used with"),
        (&["n", "--for", "5"], "'--for <DUR>'"),
        (&["n", "--idle-exit", "soon"], "'--idle-exit <DUR>'"),
        (&["n", "-c", "0"], "'--count <N>'"),
        (&["n", "-n", "x"], "'--last <N>'"),
        (&["n", "--partition", "0"], "--partition: local cannot"),
        (&["n", "--browse"], "--browse: looking at 'n' takes nothing"),
        (&[""], "the name of a topic is empty"),
        (&[], "<TOPIC>..."),
        (&["n", "--where", ".payload >"], "--where: the expression ends"),
        (&["n", "--select", "nope"], "--select: "),
        (&["n", "--grep", "("], "--grep: "),
        (&["n", "--key", "[a"], "--key"),
        (&["n", "--header", "=x"], "--header"),
        (&["n", "-o", "xml"], "[possible values: human, json, raw, frames]"),
        (&["n", "-F", "%s", "--select", ".x"], "-F cannot print"),
    ] {
        let ran = home.run(&[&["tail"], args].concat());
        assert!(ran.code == 2 && ran.err.starts_with("error: "), "{args:?}: {} {}", ran.code, ran.err);
        assert!(ran.err.contains(words) && ran.out.is_empty(), "{args:?}: {}", ran.err);
    }
}
