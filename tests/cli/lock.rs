//! A process that was stopped in the middle of a write holds the lock of the file.

use std::fs::File;

use crate::rig::Home;

#[test]
fn a_lock_that_nobody_lets_go_of_is_waited_for_as_long_as_was_said() {
    let home = Home::new();
    home.run(&["publish", "n", "1", "-b", "local:f.db"]).ok();
    home.run(&["groups", "create", "g", "n", "-b", "local:f.db", "--from", "beginning"]).ok();
    let bell = File::options().write(true).open(home.path("f.db-bell")).unwrap();
    bell.lock().unwrap();
    for command in [
        &["publish", "n", "2"][..],
        &["subscribe", "n", "-g", "g", "--no-follow"],
        &["topics", "create", "m"],
        &["groups", "delete", "g", "n", "--yes"],
    ] {
        let ran = home.run(&[command, &["-b", "local:f.db", "--timeout", "300ms"]].concat());
        ran.exit(4).said("another process has held the lock for 300ms");
    }
    // Looking needs no lock.
    home.run(&["tail", "n", "--from", "beginning", "--no-follow", "-b", "local:f.db"]).ok().printed("1\n");
    bell.unlock().unwrap();
    home.run(&["publish", "n", "3", "-b", "local:f.db", "--timeout", "300ms"]).ok();
}
