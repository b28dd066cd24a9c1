//! `evcat subscribe -- COMMAND`: what a handler is given, and what its answers do.

use serde_json::Value;

use crate::rig::{Home, Ran};

impl Home {
    /// Handles all of topic `t` in a new group by a line of shell, tried twice.
    fn handle(&self, group: &str, args: &[&str], script: &str) -> Ran {
        let subscribe = ["subscribe", "t", "-g", group, "--from", "beginning", "--no-follow"];
        let tries = ["--max-attempts", "2", "--backoff", "1ms"];
        self.run(&[&subscribe[..], &tries, args, &["--", "sh", "-c", script]].concat())
    }

    /// The failures of a group's dead letters.
    fn failures(&self, group: &str) -> Vec<Value> {
        let letters = self.run(&["dlq", "peek", &format!("t.{group}.dlq"), "-o", "json"]).ok();
        let failure = |line: &str| serde_json::from_str::<Value>(line).unwrap()["failure"].clone();
        letters.out.lines().map(failure).collect()
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_handler_ends_with_an_evcat_that_is_killed() {
    let ended = |pid: &str| match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // Nobody may have asked how it ended.
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')),
        Err(_) => true,
    };
    for kind in [&["--"][..], &["--worker", "--"]] {
        let home = Home::new();
        home.run(&["publish", "n", "1"]).ok();
        let begun = ["subscribe", "n", "-g", "g", "--from", "beginning"];
        let sleeps = ["sh", "-c", "echo $$ > new; mv new pid; exec sleep 300"];
        let evcat = home.start(&[&begun, kind, &sleeps].concat());
        let pid = home.until("the handler", |home| Some(home.read("pid")).filter(|pid| !pid.is_empty()));
        assert!(!ended(pid.trim()), "{kind:?}: it works");
        evcat.signal(nix::sys::signal::Signal::SIGKILL);
        evcat.end().exit(137);
        home.until("its end", |_| ended(pid.trim()).then_some(()));
    }
}

#[test]
fn the_facts_are_in_its_environment_and_the_payload_on_stdin() {
    let home = Home::new();
    let at = "2026-01-31T14:05:00Z";
    let event = ["publish", "t", "pay\nload", "-k", "A-17", "-H", "h=1", "-H", "h=2", "--timestamp", at];
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut publish = home.command(&event);
    publish
        .args(["--type", "order.placed", "--id", "one"])
        .env("TRACEPARENT", parent)
        .env("TRACESTATE", "a=b");
    assert!(publish.status().unwrap().success());
    home.run(&["publish", "t", "plain"]).ok();
    let show = "env | grep '^EVCAT_\\|^TRACE' | grep -v 'HEADERS\\|1=' | sort; echo \"$(cat).\"";
    let ran = home.handle("g", &[], show).ok();
    let (first, second) = ran.out.split_once("pay\nload.\n").unwrap();
    let always = ["EVCAT_ATTEMPT=1", "EVCAT_BROKER=local:", "EVCAT_GROUP=g"];
    let of = |facts: &[&str]| always.iter().chain(facts).map(|fact| fact.to_string()).collect::<Vec<_>>();
    assert_eq!(
        first.lines().collect::<Vec<_>>(),
        of(&[
            "EVCAT_ID=one",
            "EVCAT_KEY=A-17",
            "EVCAT_POSITION=0",
            "EVCAT_TIMESTAMP=2026-01-31T14:05:00.000Z",
            "EVCAT_TOPIC=t",
            "EVCAT_TYPE=order.placed",
            &format!("TRACEPARENT={parent}"),
            "TRACESTATE=a=b",
        ])
    );
    let second: Vec<_> = second.lines().filter(|line| !line.starts_with("EVCAT_TIMESTAMP")).collect();
    assert_eq!(second, of(&["EVCAT_ID=t/1", "EVCAT_POSITION=1", "EVCAT_TOPIC=t", "plain."]));
    let headers = home.handle("h", &["--key", "A-17"], "echo \"$EVCAT_HEADERS\"").ok();
    let headers: Value = serde_json::from_str(&headers.out).unwrap();
    assert_eq!(headers, home.events("t")[0]["headers"]);

    // A handler that publishes continues the trace.
    home.handle("i", &["--key", "A-17"], "evcat publish next x").ok();
    let next = &home.events("next")[0]["headers"];
    assert!(next.to_string().contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{next}");
}

#[test]
fn the_whole_event_on_stdin_where_that_is_wanted() {
    let home = Home::new();
    home.feed(&["publish", "t", "-K:"], "k:1\n").ok();
    home.run(&["publish", "t", "--tombstone", "-k", "k"]).ok();
    let ran = home.handle("g", &["--stdin", "event"], "cat").ok();
    assert_eq!(ran.out.lines().map(str::to_owned).collect::<Vec<_>>(), home.lines("t"));
    home.handle("h", &["--stdin", "payload"], "wc -c").ok().printed("1\n0\n");
}

#[test]
fn what_no_variable_can_hold_is_left_out_and_named() {
    let home = Home::new();
    let long = "x".repeat(65 << 10);
    let events = format!(
        "{{\"key\":\"a\\u0000b\",\"payload\":1}}\n{{\"key\":\"{long}\",\"headers\":[[\"h\",\"{long}\"]],\"payload\":2}}\n"
    );
    home.feed(&["publish", "t", "--input", "events"], events).ok();
    let ran = home.handle("g", &[], "echo \"${EVCAT_KEY-unset} $EVCAT_OMITTED $EVCAT_POSITION\"").ok();
    ran.printed("unset EVCAT_KEY 0\nunset EVCAT_KEY EVCAT_HEADERS 1\n");
}

#[test]
fn exit_codes_signals_and_timeouts_mean_what_the_contract_says() {
    let home = Home::new();
    home.feed(&["publish", "t", "-K:"], "a:ok\nb:dead\nc:later\nd:killed\ne:hangs\nf:twice\n").ok();
    let script = r#"read x; echo "$EVCAT_KEY $EVCAT_ATTEMPT $EVCAT_ID" >> tries; echo "about $x" >&2; case $x in
        dead) exit 65;; later) exit 3;; killed) kill -9 $$;; hangs) exec sleep 60;;
        twice) test $EVCAT_ATTEMPT = 2;; esac"#;
    let ran = home.handle("g", &["--handler-timeout", "500ms"], script).exit(6);
    let ran = ran
        .said("b  1 try, exit 65: about dead -> t.g.dlq ")
        .said("c  exit 3, try 2 of 2 in 1ms: about later");
    let ran = ran
        .said("c  2 tries -> t.g.dlq ")
        .said("d  killed by signal 9, try 2")
        .said("e  no end after 500ms, try 2");
    ran.said("done: 2 acked, 4 dead, 0 given back");
    let tries = home.read("tries");
    let of = |key: &str| tries.lines().filter(|line| line.starts_with(key)).collect::<Vec<_>>().join(", ");
    assert_eq!([of("a"), of("b")], ["a 1 t/0", "b 1 t/1"], "65 is not tried again");
    assert_eq!(of("f"), "f 1 t/5, f 2 t/5", "the id is the same on every try");
    assert_eq!([of("c"), of("e")], ["c 1 t/2, c 2 t/2", "e 1 t/4, e 2 t/4"]);

    let mut failures = home.failures("g");
    failures.sort_by_key(|failure| failure["origin"]["position"].to_string());
    let errors: Vec<_> = failures.iter().map(|failure| failure["error"].as_str().unwrap()).collect();
    let said = [
        "exit 65: about dead",
        "exit 3: about later",
        "killed by signal 9: about killed",
        "no end after 500ms: about hangs",
    ];
    assert_eq!(errors, said);
    let attempts: Vec<_> = failures.iter().map(|failure| failure["attempts"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 2, 2, 2]);
}

#[test]
fn five_tries_where_nothing_is_said() {
    let home = Home::new();
    home.run(&["publish", "t", "x"]).ok();
    let args = ["subscribe", "t", "-g", "g", "--from", "beginning", "--no-follow", "--backoff", "1ms..2ms"];
    home.run(&[&args[..], &["--", "sh", "-c", "echo $EVCAT_ATTEMPT; exit 1"]].concat())
        .exit(6)
        .printed("1\n2\n3\n4\n5\n");
}

#[test]
fn a_command_that_cannot_run_stops_it_and_the_event_is_given_back() {
    let home = Home::new();
    home.feed(&["publish", "t"], "1\n2\n").ok();
    for (group, code) in [("g", "126"), ("h", "127")] {
        let ran = home.handle(group, &[], &format!("exit {code}")).exit(1);
        ran.said(&format!("error: the handler cannot work: exit {code}; its event was given back"));
        home.handle(group, &[], "cat; echo").ok().printed("1\n2\n");
    }
    // These are looked up before anything is received or made.
    home.write("plain", "no program");
    for (command, words) in
        [("no-such-command", "is not in PATH"), ("./plain", "may not be executed"), ("./gone", "./gone")]
    {
        home.run(&["subscribe", "t", "-g", "never", "--", command]).exit(2).said(words);
    }
    assert!(!home.run(&["groups", "list"]).ok().out.contains("never"));
}

#[test]
fn handlers_that_behave_badly_hold_nobody_up() {
    let home = Home::new();
    let big = "x".repeat(1 << 20);
    home.feed(&["publish", "t"], format!("{big}\n2\n")).ok();
    // It reads nothing.
    home.handle("ignores", &[], "exit 0").ok().said("done: 2 acked");
    // It leaves a child behind that holds its streams open, until we say so.
    home.handle("forks", &[], "(while ! [ -e over ]; do sleep 0.05; done) & exit 0").ok();
    home.write("over", "");
    // It prints megabytes: all of them pass, in whole lines.
    let ran = home.handle("prints", &[], "yes abc | head -500000; yes def | head -100000 >&2").ok();
    assert_eq!(ran.out.len(), 4_000_000);
    assert!(ran.out.lines().all(|line| line == "abc"));
    assert_eq!(ran.err.lines().filter(|line| *line == "def").count(), 200_000);
    // The end of what it said is kept, and not all of it.
    home.handle("fails", &["-c", "1"], "yes def | head -100000 >&2; echo the end >&2; exit 65").exit(6);
    let failures = home.failures("fails");
    let error = failures[0]["error"].as_str().unwrap();
    assert!(error.len() <= 4200 && error.trim_end().ends_with("def\nthe end"), "{}", error.len());
}

#[test]
fn no_shell_is_involved() {
    let home = Home::new();
    home.run(&["publish", "t", "x"]).ok();
    let args = [
        "subscribe",
        "t",
        "-g",
        "g",
        "--from",
        "beginning",
        "--no-follow",
        "--",
        "echo",
        "$HOME",
        "a  b",
        "; ls",
    ];
    home.run(&args).ok().printed("$HOME a  b ; ls\n");
}

#[test]
fn a_worker_gets_lines_and_answers_lines() {
    let home = Home::new();
    home.feed(&["publish", "t", "-K:"], "a:1\nb:2\nc:3\nd:4\n").ok();
    let worker = r#"echo $$ >> pids; while IFS= read -r line; do echo "$line" >> seen
        case $line in *'"payload":2'*) echo retry not yet;; *'"payload":3'*) echo dead no good;; *) echo ok;; esac; done"#;
    let ran = home.handle("g", &["--worker"], worker).exit(6);
    let ran =
        ran.said("b  worker: retry, try 2 of 2 in 1ms: not yet").said("c  1 try, worker: dead: no good -> ");
    ran.said("done: 2 acked, 2 dead, 0 given back");
    assert_eq!(home.read("pids").lines().count(), 1, "started once");
    let mut seen: Vec<_> = home.read("seen").lines().map(str::to_owned).collect();
    assert_eq!(seen.len(), 5, "one of them twice");
    seen.sort();
    seen.dedup();
    assert_eq!(seen, home.lines("t"), "canonical lines");
    let mut errors: Vec<_> = home.failures("g").iter().map(|failure| failure["error"].to_string()).collect();
    errors.sort();
    assert_eq!(errors, ["\"worker: dead: no good\"", "\"worker: retry: not yet\""]);
}

#[test]
fn a_worker_that_answers_nonsense_dies_or_never_starts() {
    let home = Home::new();
    home.run(&["publish", "t", "1"]).ok();
    let handle = |group: &str, tries: &str, worker: &str| {
        let once = ["--worker", "--backoff", "1ms", "--max-attempts", tries];
        let args = ["subscribe", "t", "-g", group, "--from", "beginning", "--no-follow"];
        home.run(&[&args[..], &once, &["--", "sh", "-c", worker]].concat())
    };
    let ran = handle("nonsense", "1", "read x; echo bogus; read y");
    ran.exit(6).said("the worker answered 'bogus', which is none of ok, retry, dead");
    handle("dies", "1", "read x; exit 3").exit(6).said("the worker ended with exit 3");
    let ran = handle("never", "3", "exit 3").exit(1);
    ran.said("error: the worker ends at every start, before it is given an event: exit 3");
    assert_eq!(home.group("never")["lag"], 1);
}

#[test]
fn keys_keep_their_order_among_first_deliveries_whatever_the_concurrency() {
    let home = Home::new();
    let lines: String = (0..400).map(|n| format!("k{}:{n}\n", n % 16)).collect();
    home.feed(&["publish", "t", "-K:"], lines).ok();
    let worker = r#"while IFS= read -r line; do n=${line##*:}; n=${n%\}}; echo $n >> seen
        case $n in *7) if [ -e tried.$n ]; then echo ok; else : > tried.$n; echo retry; fi;; *) echo ok;; esac; done"#;
    home.handle("g", &["--worker", "--concurrency", "8"], worker).ok().said("done: 400 acked, 0 dead");
    let mut first: Vec<u32> = Vec::new();
    let seen: Vec<u32> = home.read("seen").lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(seen.len(), 440, "each ending in 7 twice");
    seen.iter().for_each(|n| {
        if !first.contains(n) {
            first.push(*n)
        }
    });
    for key in 0..16 {
        let of_key: Vec<u32> = first.iter().copied().filter(|n| n % 16 == key).collect();
        assert_eq!(of_key, (0..400).filter(|n| n % 16 == key).collect::<Vec<_>>(), "key {key}");
    }
    // One at a time also while one of the key waits for its next try.
    for (at, n) in seen.iter().enumerate().filter(|(_, n)| *n % 10 == 7) {
        let next = seen[at + 1..].iter().find(|later| *later % 16 == n % 16);
        let again = seen[..at].contains(n);
        assert!(again || next == Some(n), "{n} was overtaken by {next:?}");
    }
}
