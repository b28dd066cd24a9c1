//! What somebody meets who knows the program from its help alone.

use nix::sys::signal::Signal;

use crate::rig::Home;

#[test]
fn a_dead_letter_names_the_program_and_none_of_its_arguments() {
    let home = Home::new();
    home.write("worker", "#!/bin/sh\nwhile read line; do echo dead no; done\n");
    home.write("plain", "#!/bin/sh\nexit 65\n");
    home.bash("chmod +x worker plain").ok();
    home.run(&["publish", "n", "1"]).ok();
    let take = |group: &str, handler: &[&str]| {
        let args = ["subscribe", "n", "-g", group, "--from", "beginning", "--no-follow"];
        home.run(&[&args, handler].concat()).exit(6);
        let dlq = format!("n.{group}.dlq");
        let shown = home.run(&["dlq", "show", &dlq, "0"]).ok().out;
        (shown, home.run(&["dlq", "replay", &dlq, "--dry-run"]).ok().out)
    };
    let (shown, plan) = take("a", &["--", "sh", "-c", "exit 65", "token-123"]);
    assert!(shown.contains("handler sh …") && shown.contains("n.a.dlq 0 -- COMMAND\n"), "{shown}");
    assert!(!shown.contains("token-123") && !plan.contains("handle them here"), "{shown}{plan}");
    let (shown, plan) = take("b", &["--worker", "--", "./worker"]);
    assert!(shown.contains("handler --worker ./worker") && shown.contains("-- COMMAND\n"), "{shown}");
    assert!(!plan.contains("handle them here"), "a worker would read a payload for nothing: {plan}");
    let (shown, plan) = take("c", &["--", "./plain"]);
    assert!(shown.contains("-- ./plain\n") && plan.contains("… -- ./plain\n"), "{shown}{plan}");
}

#[test]
fn fewer_than_were_asked_for_is_said() {
    let home = Home::new();
    home.run(&["publish", "n", "1"]).ok();
    home.run(&["subscribe", "n", "-g", "g", "--from", "beginning", "-c", "3", "--for", "300ms", "-q"])
        .exit(3)
        .said("warning: it ended after 1 of the 3 events of -c");
}

#[test]
fn the_count_is_of_what_is_read_and_not_of_what_is_made_of_it() {
    let home = Home::new();
    home.feed(&["publish", "n", "--repeat", "2", "-c", "2"], "a\nb\nc\n").ok();
    assert_eq!(home.payloads("n"), ["a", "a", "b", "b"]);
    home.feed(&["publish", "n", "--repeat", "2", "-c", "3"], "a\nb\n").exit(3).said("after 2 of 3 events");
    home.run(&["publish", "n", "x", "--repeat", "3", "-c", "2"]).exit(3).said("after 1 of 2 events");
    // Line by line, as they come through a pipe.
    let mut publish = home.start(&["publish", "m", "--repeat", "2", "-c", "3", "-o", "human"]);
    for (line, last) in [("a\n", "m  1"), ("b\n", "m  3"), ("c\n", "m  5")] {
        publish.write(line);
        publish.prints(last);
    }
    publish.end().ok();
}

#[test]
fn a_value_below_nothing_is_refused_as_a_value() {
    let home = Home::new();
    home.run(&["topics", "list", "--timeout", "-1s"])
        .exit(2)
        .said("invalid value '-1s' for '--timeout <DUR>'");
    home.run(&["tail", "n", "--idle-exit", "0"]).exit(2).said("nothing can come within no time");
    home.run(&["tail", "n", "-7"]).exit(2).said("unexpected argument '-7'");
}

#[test]
fn a_typo_that_makes_a_topic_is_told_with_the_name_that_was_meant() {
    let home = Home::new();
    home.run(&["publish", "orders", "1"]).ok();
    home.run(&["groups", "create", "g", "ordrs"])
        .ok()
        .said("topic 'ordrs' was not there and is new; if 'orders' was meant: evcat topics delete ordrs");
    let ran = home.run(&["groups", "create", "g", "payments"]).ok();
    assert!(!ran.err.contains("was meant"), "{}", ran.err);
}

#[test]
fn a_hint_names_the_broker_that_was_named() {
    let home = Home::new();
    home.run(&["-b", "local:x.db", "publish", "n", "1"]).ok();
    home.run(&["-b", "local:x.db", "publish", "n*", "1"])
        .exit(2)
        .said("which there are: evcat topics list -b local:x.db");
}

#[test]
fn bindings_are_refused_where_nothing_is_bound() {
    let home = Home::new();
    home.run(&["groups", "create", "g", "n", "--binding", "a.*"])
        .exit(2)
        .said("--binding: local has no bindings");
}

#[test]
fn an_expression_that_is_too_deep_is_refused_and_a_long_one_is_not() {
    let home = Home::new();
    home.run(&["publish", "n", "{\"a\":3}"]).ok();
    for deep in ["(".repeat(30_000), ".|".repeat(20_000), "try ".repeat(20_000), "[[{a:(".repeat(5_000)] {
        let expression = format!("{deep}.");
        home.run(&["tail", "n", "--no-follow", "--where", &expression]).exit(2).said("levels deep");
    }
    let either: Vec<_> = (0..1000).map(|n| format!(".payload.a == {n}")).collect();
    let found = home.run(&["tail", "n", "--no-follow", "--where", &either.join(" or ")]).ok();
    assert_eq!(found.out, "{\"a\":3}\n", "{}", found.err);
}

#[test]
fn a_replay_that_read_nothing_has_its_end_all_the_same() {
    let home = Home::new();
    home.run(&["topics", "create", "n"]).ok();
    home.run(&["topics", "create", "m"]).ok();
    let args = ["replay", "n", "--into", "m", "--resume", "at"];
    home.run(&args).ok();
    home.run(&["publish", "n", "1"]).ok();
    home.run(&args).ok().said("going on after the 0 events");
    assert!(home.payloads("m").is_empty(), "what came later belongs to another replay");
}

#[test]
fn a_stopped_run_tells_what_is_left_of_its_limit() {
    let home = Home::new();
    home.bash("seq 9 | evcat publish n").ok();
    home.run(&[
        "subscribe",
        "n",
        "-g",
        "g",
        "--from",
        "beginning",
        "--no-follow",
        "--",
        "sh",
        "-c",
        "exit 65",
    ])
    .exit(6);
    let args = [
        "dlq",
        "replay",
        "n.g.dlq",
        "--limit",
        "5",
        "--yes",
        "--",
        "sh",
        "-c",
        "cat >> seen; echo >> seen; sleep 0.3",
    ];
    let replay = home.start(&args);
    home.until("two were handled", |home| (home.read("seen").lines().count() >= 2).then_some(()));
    replay.signal(Signal::SIGINT);
    let ran = replay.end();
    let handled = home.read("seen").lines().count();
    let left = format!("the same command with --limit {} goes on from there", 5 - handled);
    assert!(ran.err.contains(&left), "{handled} handled: {}", ran.err);
}
