//! What a crash leaves behind: kill -9 at any moment, a power cut at any write, torn files, damage, a full disk.
//!
//! The files are judged by `store.rs`, which shares no code with evcat.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "how much was tried is part of the result")]
#![allow(clippy::disallowed_methods, reason = "EVCAT_REQUIRE_ALL is for tests, and is read by them")]

mod crowd;
mod damage;
mod disk;
mod kill;
mod power;
mod rig;
mod store;
mod torn;
mod vfs;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(crowd::WORKER) {
        return crowd::work(arguments.next().unwrap().as_ref());
    }
    let mut trials = Vec::new();
    trials.extend(power::trials());
    trials.extend(torn::trials());
    trials.extend(damage::trials());
    trials.extend(kill::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A test with a name that reads as a sentence.
fn trial(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || {
        run();
        Ok(())
    })
}
