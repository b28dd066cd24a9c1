//! One list of cases, run for every broker: what a backend claims is proved, what it denies is proved to be refused.
//!
//! A backend is one row in `fixture.rs`. A case names the abilities it needs; a fixture that lacks one of them does not
//! run it, and runs the refusal of that ability instead (`refuse.rs`). A fixture whose broker is not there is listed as
//! ignored, and `EVCAT_REQUIRE_ALL=1` makes that a failure.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "the one variable of this suite is read here")]
#![allow(clippy::cloned_ref_to_slice_refs, clippy::unit_arg, reason = "the plainer words")]

#[cfg(feature = "aws")]
#[path = "../support/account.rs"]
mod account;
mod admin;
#[cfg(any(feature = "kafka", feature = "rabbitmq", feature = "aws", feature = "pubsub"))]
#[path = "../support/brokers.rs"]
mod brokers;
mod claim;
mod fixture;
mod groups;
#[cfg(feature = "kafka")]
#[path = "../support/kick.rs"]
mod kick;
mod kit;
#[cfg(feature = "kafka")]
mod lanes;
mod letters;
mod member;
#[cfg(feature = "kafka")]
#[path = "../support/mock.rs"]
mod mock;
mod names;
mod order;
mod publish;
#[cfg(feature = "pubsub")]
mod pubsub;
#[cfg(feature = "pubsub")]
#[path = "../support/pubsub_fake/mod.rs"]
mod pubsub_fake;
mod queues;
#[cfg(feature = "rabbitmq")]
#[path = "../support/rabbit.rs"]
mod rabbit;
mod read;
mod refuse;
#[cfg(any(feature = "kafka", feature = "aws", feature = "pubsub"))]
mod scoped;
mod settle;
#[path = "../support/simulated/mod.rs"]
mod simulated;

use std::time::Duration;

use evcat::broker::{abilities, missing};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use fixture::{FIXTURES, Fixture};
use kit::{Case, Rig};

/// No case takes longer than this, whatever hangs.
const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    let require_all = std::env::var("EVCAT_REQUIRE_ALL").is_ok_and(|value| value == "1");
    let mut trials = vec![Trial::test("every ability is proved and refused", || Ok(every_ability()))];
    for fixture in FIXTURES {
        let have = (fixture.capabilities)("t");
        for case in cases() {
            let needs: Vec<_> = case.needs.iter().map(|ability| ("", *ability)).collect();
            #[cfg(feature = "pubsub")]
            let listed = pubsub::is_spared(fixture.name, case);
            #[cfg(not(feature = "pubsub"))]
            let listed = false;
            if missing(&have, &needs).is_none() || listed {
                trials.push(trial(fixture, case, require_all));
            }
        }
        for refusal in refuse::REFUSALS {
            if !(refusal.ability.has)(&have) {
                trials.push(trial(fixture, &refusal.case, require_all));
            }
        }
    }
    let mut arguments = Arguments::from_args();
    // Most cases wait most of the time, so more of them than there are processors go on at once.
    arguments.test_threads.get_or_insert(8);
    let conclusion = libtest_mimic::run(&arguments, trials);
    #[cfg(feature = "kafka")]
    lanes::down();
    conclusion.exit();
}

fn cases() -> impl Iterator<Item = &'static Case> {
    [
        publish::CASES,
        read::CASES,
        groups::CASES,
        order::CASES,
        claim::CASES,
        settle::CASES,
        letters::CASES,
        admin::CASES,
        names::CASES,
        queues::CASES,
    ]
    .into_iter()
    .flatten()
}

fn trial(fixture: &'static Fixture, case: &'static Case, require_all: bool) -> Trial {
    let name = format!("{}: {}", fixture.name, case.name.replace('_', " "));
    if let Some(why) = cannot(fixture, case) {
        return Trial::ignorable_test(name, move || Ok(Completion::ignored_with(why)));
    }
    Trial::ignorable_test(name, move || match (fixture.missing)() {
        #[cfg(feature = "pubsub")]
        None if let Some(why) = pubsub::cannot(fixture.name, case) => Ok(Completion::ignored_with(why)),
        Some(what) if require_all => Err(Failed::from(format!("{what}, and EVCAT_REQUIRE_ALL is set"))),
        Some(what) => Ok(Completion::ignored_with(what)),
        None => {
            run(fixture, case);
            Ok(Completion::Completed)
        }
    })
}

/// Why a broker cannot pass a case that its like passes.
fn cannot(fixture: &Fixture, case: &Case) -> Option<&'static str> {
    if is_slow(fixture) && !std::env::var("EVCAT_TEST_SLOW").is_ok_and(|value| value == "1") {
        return Some("EVCAT_TEST_SLOW=1 runs it");
    }
    #[cfg(feature = "kafka")]
    if fixture.name == "kafka:mock" {
        return lanes::MOCK_CANNOT.iter().find(|(name, _)| *name == case.name).map(|(_, why)| *why);
    }
    let _ = (fixture, case);
    None
}

/// On a busy machine their members or their stand-in miss their time now and then.
fn is_slow(fixture: &Fixture) -> bool {
    fixture.name.starts_with("kafka:") || fixture.name.starts_with("aws")
}

fn run(fixture: &'static Fixture, case: &'static Case) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let rig = Rig::new(fixture);
        let limit = if is_slow(fixture) { 3 * LIMIT } else { LIMIT };
        if tokio::time::timeout(limit, (case.run)(rig)).await.is_err() {
            panic!("not done after {limit:?}: something waits for ever");
        }
    });
}

/// The list of cases is whole: each ability is needed by a case that proves it, and has a refusal.
fn every_ability() {
    for ability in abilities::ALL {
        let same = |other: &&evcat::broker::Ability| other.name == ability.name;
        assert!(cases().any(|case| case.needs.iter().any(same)), "nothing proves '{}'", ability.name);
        assert!(
            refuse::REFUSALS.iter().any(|refusal| same(&refusal.ability)),
            "nothing shows how '{}' is refused",
            ability.name
        );
    }
    #[cfg(feature = "kafka")]
    for (name, _) in lanes::MOCK_CANNOT {
        assert!(cases().any(|case| case.name == *name), "there is no case '{name}'");
    }
}
