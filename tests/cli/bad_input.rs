//! What a tired or hostile person types, and what a hostile event carries.

use crate::rig::Home;

/// A home with the numbers from 1 to 5 in topic `n`.
fn numbers() -> Home {
    let home = Home::new();
    home.feed(&["publish", "n"], "1\n2\n3\n4\n5\n").ok();
    home
}

#[test]
fn a_filter_that_recurses_without_end_fails_on_its_event_and_nothing_more() {
    let home = numbers();
    let endless = "if .payload == 3 then def f: 1 + f; f else true end";
    let ran = home.run(&["tail", "n", "--no-follow", "--where", endless]).ok().printed("1\n2\n4\n5\n");
    ran.said("failed on 1 event (no match): n 2: --where: it recurses too deep");
    let ran = home.feed(&["publish", "m", "--transform", endless, "--on-error", "continue"], "3\n").exit(1);
    ran.said("--transform: it recurses too deep");
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_known_before_the_first_copy() {
    let home = numbers();
    for (file, exit) in [("no/such/file", 2), (".", 1)] {
        let ran = home.run(&["replay", "n", "--into", "copy", "--resume", file]).exit(exit);
        ran.said(&format!("error: --resume {file}: ")).said("(os error ");
    }
    home.run(&["tail", "copy", "--no-follow"]).exit(2);
    home.run(&["replay", "n", "--into", "copy", "--resume", "here"]).ok();
    assert_eq!(
        std::fs::read_dir(home.path("."))
            .unwrap()
            .filter(|file| { file.as_ref().unwrap().file_name().to_string_lossy().starts_with("here") })
            .count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn what_a_replay_keeps_goes_again_where_its_copy_was_meant_to_go() {
    let home = numbers();
    let flags = ["--on-error", "continue", "--failed-to", "f"];
    let bad = ["--transform", "if .payload == 3 then error(\"three\") else . end"];
    let ran = home.run(&[&["replay", "n", "--into", "the copy"], &flags[..], &bad[..]].concat()).exit(6);
    ran.said("hint: it is in f; after a repair: evcat publish 'the copy' --input events < f\n");
    home.bash("evcat publish 'the copy' --input events < f").ok();
    assert_eq!(home.payloads("the copy"), ["1", "2", "4", "5", "3"]);
    assert_eq!(home.payloads("n").len(), 5);

    // A handler's failure is nothing to publish.
    let ran = home.run(&[&["replay", "n"], &flags[..], &["--", "false"]].concat()).exit(1);
    ran.said("hint: they are in f, as canonical lines\n");
    let ran =
        home.run(&["replay", "n", "--", "sh", "-c", "[ $EVCAT_POSITION = 2 ] && exit 127; true"]).exit(1);
    ran.said("error: stopped at n 2, which was not handled: exit 127");
}

/// What is typed, the exit code, and the words that must be said.
type Wrong = (&'static [&'static str], i32, &'static str);

#[test]
fn a_mistake_is_answered_with_something_right() {
    let wrong: &[Wrong] = &[
        (&["tail", "n", "-c", "0"], 2, "'--count <N>': write a whole number from 1 on, such as 10"),
        (&["tail", "n", "-n", "many"], 2, "'--last <N>': write a whole number, such as 10"),
        (&["publish", "n", "x", "--partition", "x"], 2, "'--partition <N>': write a whole number"),
        (&["publish", "n", "x", "--timestamp", "1500"], 2, "write 2026-01-31T14:05:00Z, 2026-01-31, 14:05"),
        (&["tail", "n["], 2, "error: TOPIC 'n[': unclosed character class"),
        (&["tail", "n", "--no-follow", "--from", "4", "--to", "2"], 2, "--from 4 lies behind --to 2"),
        (&["tail", "n", "--since", "soon"], 2, "invalid value 'soon' for '--since <POINT>': write beginning"),
        (&["replay", "n", "--since=4", "--until", "2"], 2, "error: --since 4 lies behind --until 2, so no"),
        (&["tail", "n", "-F", "%H{}\n"], 2, "%H{tenant}"),
        (&["tail", "n", "-F", "%s", "--pretty"], 2, "--pretty: -F has nothing to indent"),
        (&["tail", "n", "-o", "frames", "--pretty"], 2, "--pretty: -o frames has nothing to indent"),
        (&["replay", "n", "--into", "m", "--pretty"], 2, "--pretty is about printing"),
        (&["tail", "n", "-b", "./my.db"], 2, "hint: a file: -b local:./my.db"),
        (&["tail", "n", "-b", ""], 2, "error: -b: is empty"),
        (&["tail", "n", "--no-follow", "-c", "7"], 3, "warning: it ended after 5 of the 7 events of -c"),
    ];
    let home = numbers();
    for (args, exit, words) in wrong {
        let ran = home.run(args);
        assert_eq!(ran.code, *exit, "{args:?}");
        ran.said(words);
    }
    home.bash("evcat publish n x -k $'\\xff'")
        .exit(2)
        .said("error: an argument is not valid UTF-8\nhint: bytes go in by stdin");
    home.bash("mkdir -p .config/evcat; printf '\\xff' > .config/evcat/config.toml");
    home.run(&["profiles", "list"]).exit(2).said("config.toml: is not text (UTF-8)");
}

#[test]
fn where_there_are_no_topics_it_says_so() {
    let home = Home::new();
    let none = "no topics on local yet; to make one: evcat topics create orders\n";
    let ran = home.run(&["topics", "list"]).ok().printed("");
    assert_eq!(ran.err, none);
    home.run(&["topics", "list", "-o", "json"]).ok().printed("");
    assert!(!home.path(".local").exists(), "a look makes nothing");
    home.run(&["topics", "create", "orders.g.dlq"]).ok();
    let ran = home.run(&["topics", "list"]).ok().printed("");
    assert_eq!(ran.err, "0 topics on local; 1 dead-letter topic: evcat dlq list\n");
    let ran = home.run(&["topics", "list", "x*"]).ok().printed("");
    assert_eq!(ran.err, "no topic on local matches 'x*'\n");
}

#[test]
fn a_delimiter_may_begin_with_a_dash() {
    let home = Home::new();
    home.feed(&["publish", "t", "-d", "--"], "a--b--c").ok();
    home.feed(&["publish", "t", "-K", "-"], "k-d\n").ok();
    assert_eq!(home.payloads("t"), ["a", "b", "c", "d"]);
    assert_eq!(home.column("t", "key")[3], "k");
}

#[test]
fn what_is_quoted_in_an_error_does_nothing_to_a_terminal() {
    let home = Home::new();
    for line in [
        "evcat publish $'a\\e[31mb\\e]0;x\\a' x",
        "evcat publish t -f $'no\\e[2J'",
        "evcat tail t -b $'x\\e[2J'",
    ] {
        let seen = home.terminal(&format!("{line}; true"));
        assert!(
            (seen.contains("\\x1b[") || seen.contains("\\u{1b}["))
                && !seen.contains("\x1b[31mb")
                && !seen.contains("\x1b[2J"),
            "{seen:?}"
        );
    }
}

#[test]
fn a_full_disk_under_failed_to_hides_nothing() {
    let home = Home::new();
    let ran = home.feed(&["publish", "t", "--input", "json", "--failed-to", "/dev/full"], "{\n").exit(1);
    ran.said("error: --failed-to /dev/full: No space left")
        .said("\nnot delivered to t on local: line 1: not JSON");
}

#[test]
fn a_name_that_turns_the_line_around_is_shown_as_it_is_written() {
    let home = Home::new();
    home.run(&["publish", "a\u{202e}b", "x"]).ok();
    let seen = home.terminal("evcat tail $'a\\u202eb' --no-follow");
    assert!(seen.contains("a\\u{202e}b on local: the last 1 of 1 events"), "{seen:?}");
}

#[test]
fn a_name_or_place_that_can_never_be_is_a_mistake_in_what_was_typed() {
    let home = numbers();
    let long = "x".repeat(1000);
    for name in ["", long.as_str(), "a\nb", "orders.*", "a?", "[a]", "{a,b}"] {
        for args in [
            &["publish", name, "x"][..],
            &["topics", "create", name],
            &["tail", name, "--no-follow"],
            &["subscribe", "n", "-g", "g", "--into", name],
            &["dlq", "replay", "n.g.dlq", "--into", name],
            &["subscribe", name, "-g", "g"],
            &["groups", "create", "g", name],
            &["groups", "create", name, "n"],
            &["replay", "n", "--into", name],
        ] {
            let ran = home.run(args).exit(2);
            assert!(ran.err.contains("error: ") && ran.err.len() < 1000, "{args:?}: {}", ran.err);
        }
    }
    // Before the first event, and whether there is one or not.
    let none = ["replay", "n", "--grep", "no such", "--into", "orders.*"];
    home.run(&none).exit(2).said("error: --into: topic 'orders.*': a new name has none of * ? [ ] { }");
    home.run(&["publish", "orders.*", "x", "--dry-run"]).exit(2).said("publish: topic 'orders.*'");
    assert_eq!(home.bash("evcat topics list -o json | wc -l").out, "1\n", "nothing was made");
    home.run(&["groups", "create", "g", "n"]).ok();
    for more in ["--yes", "--dry-run"] {
        let ran = home.run(&["groups", "seek", "g", "n", "--from", "99999", more]).exit(2);
        ran.said("error: --from 99999: n ends at 5\nhint: ");
    }
    home.run(&["groups", "create", "h", "n", "--from", "99999"]).exit(2).said("99999 is beyond its end");
    home.run(&["groups", "seek", "g", "n", "--from", "5", "--yes"]).ok();
    // One event among others stays what it was.
    let lines = format!("fine\n{long}\n");
    home.feed(&["publish", "--topic-from", ".payload", "--on-error", "continue"], lines).exit(6);
}
