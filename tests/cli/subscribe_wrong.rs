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
