//! `subscribe` asked for what cannot go well.

use crate::rig::Home;

#[test]
fn nothing_is_written_into_what_is_read() {
    let home = Home::new();
    home.run(&["publish", "orders", "1"]).ok();
    let refused = |more: &[&str]| {
        let args = [&["subscribe", "ord*", "-g", "g", "--from", "beginning", "--no-follow"], more].concat();
        home.run(&args).exit(2).said("would never end");
    };
    let file = format!("local:{}", home.path(".local/share/evcat/local.db").display());
    refused(&["--into", "orders"]);
    refused(&["--to-broker", &file]);
    refused(&["--to-broker", "local:", "--into", "orders"]);
    refused(&["--dlq", "orders", "--", "false"]);
    assert_eq!(home.run(&["groups", "list", "-o", "json"]).ok().out, "", "refused before anything was made");
    assert_eq!(home.payloads("orders"), ["1"]);
    let other = ["--to-broker", "local:other.db"];
    home.run(
        &[&["subscribe", "orders", "-g", "g", "--from", "beginning", "--no-follow"], &other[..]].concat(),
    )
    .ok();
}

#[test]
fn what_the_reader_did_not_wait_for_is_given_back() {
    let home = Home::new();
    let lines: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    home.feed(&["publish", "orders"], lines).ok();
    home.bash("evcat subscribe orders -g g --from beginning | head -1").ok().printed("1\n");
    let lag = home.group("g")["lag"].as_u64().unwrap();
    assert!((2900..3000).contains(&lag), "of 3,000 events one was read, and {lag} wait");
}

#[test]
fn a_reader_who_left_is_noticed_without_another_event() {
    let home = Home::new();
    home.run(&["publish", "orders", "1"]).ok();
    let line = "timeout 30 evcat subscribe orders -g g --from beginning | head -1; echo ${PIPESTATUS[0]}";
    home.bash(line).ok().printed("1\n0\n");
}
