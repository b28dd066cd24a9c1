//! `dlq replay` and `dlq drop` when something is not as it should be: nothing is lost, and it is said.

use crate::rig::Home;

impl Home {
    /// One event of `orders` that `shipping` gave up.
    fn one_letter(&self) {
        self.run(&["publish", "orders", "{\"n\":1}", "-k", "A-17", "--type", "order.placed"]).ok();
        self.fails("orders", "shipping", "exit 65", 6);
    }

    /// Has a group work on all that is there, by this line of shell.
    #[track_caller]
    fn fails(&self, topic: &str, group: &str, line: &str, code: i32) {
        let follow =
            ["subscribe", topic, "-g", group, "--from", "beginning", "--no-follow", "--max-dead", "0"];
        self.run(&[&follow[..], &["--", "sh", "-c", line]].concat()).exit(code);
    }
}

const DLQ: &str = "orders.shipping.dlq";

#[test]
fn what_groups_read_is_not_taken_for_dead_letters() {
    let home = Home::new();
    home.one_letter();
    home.run(&["dlq", "drop", "orders", "0", "--yes"]).exit(2).said("shipping would miss the events");
    home.run(&["dlq", "replay", "orders", "--into", "copy", "--yes"]).exit(2);
    home.run(&["dlq", "replay", "orders", "--yes", "--", "true"]).exit(2);
    assert_eq!(home.payloads("orders"), ["{\"n\":1}"]);
    home.run(&["dlq", "replay", "orders", "--into", "copy", "--keep", "--yes"]).ok();
    assert_eq!(home.payloads("copy"), ["{\"n\":1}"], "a copy takes nothing away");
    // A place that a group was told to use is one, whatever its name.
    let places =
        ["subscribe", "orders", "-g", "mail", "--dlq", "errors", "--from", "beginning", "--no-follow"];
    home.run(&[&places[..], &["--", "sh", "-c", "exit 65"]].concat()).exit(6);
    home.run(&["dlq", "drop", "errors", "0", "--yes"]).ok();
}

#[test]
fn an_empty_id_is_not_the_beginning_of_every_id() {
    let home = Home::new();
    home.one_letter();
    home.run(&["dlq", "drop", DLQ, "", "--yes"]).exit(2);
    home.run(&["dlq", "replay", DLQ, "", "--yes"]).exit(2);
    home.run(&["dlq", "show", DLQ, ""]).exit(2);
    home.run(&["dlq", "list", "--max", "0"]).exit(3);
}

#[test]
fn letters_that_cannot_go_anywhere_are_no_success() {
    let home = Home::new();
    home.one_letter();
    let all_stay = home.run(&["dlq", "replay", DLQ, "--yes", "--transform", "error(\"x\")"]).exit(1);
    all_stay.said("nothing was put back: 1 dead letter cannot go anywhere");
    home.write("schema.json", "{\"properties\":{\"n\":{\"maximum\":2}}}");
    let lines: String = (1..=20).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    home.feed(&["publish", "pay"], lines).ok();
    home.fails("pay", "shipping", "exit 65", 6);
    let some = home.run(&["dlq", "replay", "pay.shipping.dlq", "--yes", "--schema", "schema.json"]).exit(6);
    let some = some.said("14 other reasons").said("2 put back, 0 failed");
    assert!(some.err.lines().count() < 15, "a plan is read by people:\n{}", some.err);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let home = Home::new();
    home.one_letter();
    home.run(&["dlq", "peek", "@kept.jsonl"]).exit(2).said("error: @kept.jsonl: No such file or directory\n");
    home.run(&["dlq", "peek", DLQ, "--ids", "ids"]).exit(2).said("--ids ids: No such file");
    home.run(&["dlq", "drop", DLQ, "0", "--yes", "--save", "no/where"]).exit(2).said("No such file");
}

#[test]
fn a_long_error_is_cut_on_a_terminal_and_whole_on_a_pipe() {
    let home = Home::new();
    home.run(&["publish", "orders", "1"]).ok();
    home.fails("orders", "shipping", "printf '%0200d' 7 >&2; exit 65", 6);
    let screen = home.terminal(&format!("evcat dlq peek {DLQ}"));
    let row = screen.lines().find(|line| line.contains("exit 65")).unwrap();
    assert!(row.ends_with('…') && row.chars().count() == 80, "{row}");
    let piped = home.run(&["dlq", "peek", DLQ]).ok().out;
    assert!(!piped.contains('…') && piped.contains("exit 65: 0000"), "{piped}");
}
