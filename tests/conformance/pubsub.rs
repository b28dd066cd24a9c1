//! Pub/Sub, of which there is no whole stand-in: our own server, and `pstest` for all that it can, so that ours cannot bless
//! our own mistakes.

use std::sync::Arc;
use std::time::Duration;

use evcat::broker::{Broker, Capabilities, missing, pubsub};

use crate::brokers;
use crate::fixture::{Fixture, Habits, World, open_url};
use crate::kit::Case;
use crate::pubsub_fake::Fake;
use crate::scoped::Scoped;

const HABITS: Habits = Habits {
    hands_on_later: false,
    has_queues: false,
    gives_up_order: false,
    releases_at_once: false,
    counts_releases: true,
    knows_dead_letters: true,
    keeps_by_count: false,
};

/// A server of the case's own.
pub const OUR_OWN: Fixture = Fixture {
    name: "pubsub",
    missing: || None,
    capabilities: pubsub::capabilities,
    world: || {
        let fake = Fake::start();
        Box::new(Stage {
            url: fake.url("evcat"),
            fake: Some(fake),
            quiet: "1500ms",
            prefix: prefix(),
            less: |all| all,
        })
    },
    // Counted by evcat: the service's own is 10 s at least.
    lease: Some(Duration::from_secs(2)),
    wake: Duration::from_secs(1),
    habits: HABITS,
};

/// The one of Google's Go client.
pub const PSTEST: Fixture = Fixture {
    name: PSTEST_NAME,
    missing: || brokers::shared_pubsub().err(),
    capabilities: |topic| without_history(pubsub::capabilities(topic)),
    world: || {
        let url = brokers::shared_pubsub().expect("asked for before");
        Box::new(Stage { url, fake: None, quiet: "2s", prefix: prefix(), less: without_history })
    },
    lease: Some(Duration::from_secs(2)),
    wake: Duration::from_secs(1),
    habits: HABITS,
};

const PSTEST_NAME: &str = "pubsub on pstest";

const HISTORY: &str = "a seek into the past ends the process of pstest, so that none is asked for";

const ONE_OF_A_KEY: &str = "pstest hands out one event of a key at a time, and the case holds several";
const SLOW: &str = "pstest streams some 90 events a second, and these are 4000";

/// What `pstest` cannot, by the names of the cases.
const CANNOT: &[(&str, &str)] = &[
    ("refused: history", HISTORY),
    ("refused: a_time", HISTORY),
    ("every_group_gets_every_event", ONE_OF_A_KEY),
    ("what_was_acked_stays_acked", ONE_OF_A_KEY),
    ("a_key_keeps_its_order_when_its_member_leaves", ONE_OF_A_KEY),
    ("closing_gives_back_at_once", ONE_OF_A_KEY),
    ("a_lease_that_ends_passes_to_another_member", ONE_OF_A_KEY),
    ("what_was_taken_over_is_lost_and_changes_nothing", ONE_OF_A_KEY),
    ("who_still_works_on_what_was_taken_over_is_told", ONE_OF_A_KEY),
    ("settling_many_at_once", ONE_OF_A_KEY),
    ("a_group_that_exists_stays_where_it_is", ONE_OF_A_KEY),
    (
        "a_key_held_by_one_member_holds_back_nobody_else",
        "pstest has no flow control: a full member gets more",
    ),
    ("an_empty_topic_takes_a_batch_of_every_size", SLOW),
    (
        "a_group_with_members_is_not_deleted",
        "pstest does not end the streams of a subscription that is deleted",
    ),
];

/// Why this case is not run there.
pub fn cannot(fixture: &str, case: &Case) -> Option<&'static str> {
    if is_spared(fixture, case) {
        return Some(HISTORY);
    }
    let known = |(name, why): &(&str, &'static str)| (*name == case.name).then_some(*why);
    (fixture == PSTEST_NAME).then(|| CANNOT.iter().find_map(known)).flatten()
}

/// Whether Pub/Sub has this case, and `pstest` not: it is listed as one that was not run.
pub fn is_spared(fixture: &str, case: &Case) -> bool {
    let lacks = |have: Capabilities| {
        let needs: Vec<_> = case.needs.iter().map(|ability| ("", *ability)).collect();
        missing(&have, &needs).is_some()
    };
    let whole = pubsub::capabilities("t");
    fixture == PSTEST_NAME && !lacks(whole.clone()) && lacks(without_history(whole))
}

/// Cases that need history are not among its cases then.
fn without_history(all: Capabilities) -> Capabilities {
    Capabilities { read_history: false, read_by_time: false, ..all }
}

struct Stage {
    url: String,
    fake: Option<Fake>,
    quiet: &'static str,
    prefix: String,
    less: fn(Capabilities) -> Capabilities,
}

fn prefix() -> String {
    format!("c{:016x}-", fastrand::u64(..))
}

impl Stage {
    fn open(&self, url: &str) -> Arc<dyn Broker> {
        let mut options = vec![("quiet", self.quiet)];
        if self.fake.is_some() {
            options.push(("topic.retention", "1d"));
        }
        Arc::new(Scoped { less: self.less, ..Scoped::of(open_url(url, &options), self.prefix.clone()) })
    }
}

impl World for Stage {
    fn connect(&self) -> Arc<dyn Broker> {
        self.open(&self.url)
    }

    fn nowhere(&self) -> Arc<dyn Broker> {
        self.open("pubsub://evcat?emulator=127.0.0.1:1")
    }

    /// There is nobody who could tell; what needs a server fails there.
    fn nowhere_is_untouched(&self) -> bool {
        true
    }

    fn cut(&self) {
        panic!("a lease does not end with its connection");
    }
}
