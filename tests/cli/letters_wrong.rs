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
