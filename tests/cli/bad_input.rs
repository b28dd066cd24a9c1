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
