//! Kafka again, on other clusters than the one that a whole run shares: three brokers; one that wants TLS and a login,
//! and gives no more rights than it must; and librdkafka's mock cluster, which lies in this process and is no Kafka.
//!
//! A real one is started by the first case that needs it, and ended by [`down`] when all have run.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::brokers::Private;
use crate::fixture::{TOPICS, World, open_url};
use crate::kick;
use crate::mock::MockCluster;
use crate::scoped::Scoped;
use evcat::broker::Broker;

/// Cases that the mock cluster (librdkafka 2.12) cannot pass whoever asks it, and why not. They are listed as ignored, with
/// these words. What it can is run: publishing, reading, members, their order and their settlements.
pub const MOCK_CANNOT: &[(&str, &str)] = &[
    ("a_time_is_found_exactly_in_disordered_timestamps", FINDS_NO_TIMES),
    ("a_new_group_begins_where_it_was_told_to", FINDS_NO_TIMES),
    ("a_key_is_at_work_in_one_member_at_a_time", LOSES_MEMBERS),
    ("looking_moves_nothing", TELLS_NO_GROUPS),
    ("lag_is_what_is_not_settled", TELLS_NO_GROUPS),
    ("a_group_can_be_moved", TELLS_NO_GROUPS),
    ("a_group_with_members_is_not_moved", TELLS_NO_GROUPS),
    ("a_deleted_group_is_gone", TELLS_NO_GROUPS),
    ("a_group_with_members_is_not_deleted", TELLS_NO_GROUPS),
    ("names_of_groups_are_taken_whole_or_refused", TELLS_NO_GROUPS),
    ("a_lease_that_ends_passes_to_another_member", TELLS_NO_GROUPS),
    ("what_was_taken_over_is_lost_and_changes_nothing", TELLS_NO_GROUPS),
    ("who_still_works_on_what_was_taken_over_is_told", TELLS_NO_GROUPS),
    ("a_group_that_exists_stays_where_it_is", MAKES_NO_TOPICS),
    ("a_topic_is_made_once", MAKES_NO_TOPICS),
    ("options_nobody_knows_are_refused", MAKES_NO_TOPICS),
    ("retention_by_count_drops_the_oldest", MAKES_NO_TOPICS),
    ("a_deleted_topic_is_gone_with_its_groups", MAKES_NO_TOPICS),
    ("what_is_missing_is_named", MAKES_NO_TOPICS),
    ("retention_by_age_drops_the_oldest", TELLS_NO_SETTINGS),
    ("a_group_that_fell_behind_retention_is_told", TELLS_NO_SETTINGS),
    ("a_topic_says_what_it_keeps", TELLS_NO_SETTINGS),
    ("topics_are_listed_by_glob", TELLS_NO_SETTINGS),
    ("names_of_topics_are_taken_whole_or_refused", TELLS_NO_SETTINGS),
    ("only_the_chosen_dead_letters_are_worked_on", TELLS_NO_SETTINGS),
    ("settled_dead_letters_are_not_seen_again", TELLS_NO_SETTINGS),
    ("two_runs_at_once_settle_each_letter_once", TELLS_NO_SETTINGS),
    ("a_run_may_leave_more_than_any_window", TELLS_NO_SETTINGS),
    ("a_run_that_stops_gives_its_letters_back", TELLS_NO_SETTINGS),
    ("dead_letters_are_worked_on_and_what_is_released_stays", TELLS_NO_SETTINGS),
];

/// Seen each time on it, and not on a real broker; why was not found.
const LOSES_MEMBERS: &str = "on the mock cluster a member loses what it holds while a third one joins";
const FINDS_NO_TIMES: &str = "the mock cluster answers no question for a time (ListOffsets)";
const TELLS_NO_GROUPS: &str =
    "the mock cluster neither describes, lists nor deletes groups, nor tells all their places at once";
const MAKES_NO_TOPICS: &str =
    "the mock cluster makes and deletes no topics on request, and has no settings of them";
const TELLS_NO_SETTINGS: &str = "the mock cluster tells no settings of topics (DescribeConfigs), which a list of them and work on dead letters need";

/// While members come and go the mock cluster waits for the others of them until a second before their sessions end.
const MOCK_OPTIONS: [(&str, &str); 2] = [("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "200")];

/// A cluster that the cases of one row share.
struct Lane {
    name: &'static str,
    up: OnceLock<Result<(), String>>,
    broker: Mutex<Option<Private>>,
}

static CLUSTER: Lane = Lane::of("kafka:cluster");
static SECURE: Lane = Lane::of("kafka:secure");

impl Lane {
    const fn of(name: &'static str) -> Lane {
        Lane { name, up: OnceLock::new(), broker: Mutex::new(None) }
    }

    /// Starts it, or waits until it is started; what is missing for that.
    fn missing(&self) -> Option<String> {
        let start = || {
            let broker = Private::up(self.name)?;
            *self.broker.lock().unwrap_or_else(PoisonError::into_inner) = Some(broker);
            Ok(())
        };
        self.up.get_or_init(start).clone().err()
    }

    fn variable(&self, name: &str) -> String {
        self.missing();
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        broker.as_ref().expect("asked for before").variable(name).to_owned()
    }

    /// The addresses of its listeners without TLS.
    fn plain(&self) -> String {
        self.variable("EVCAT_TEST_KAFKA").split_once("://").unwrap().1.to_owned()
    }
}

/// Ends those that were started.
pub fn down() {
    for lane in [&CLUSTER, &SECURE] {
        drop(lane.broker.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// What is missing for three brokers.
pub fn cluster_missing() -> Option<String> {
    CLUSTER.missing()
}

/// What is missing for a broker with TLS.
pub fn secure_missing() -> Option<String> {
    SECURE.missing()
}

/// Names of one case's own on the three brokers.
pub fn cluster() -> Box<dyn World> {
    Box::new(Shared {
        url: CLUSTER.variable("EVCAT_TEST_KAFKA"),
        options: vec![],
        plain: CLUSTER.plain(),
        prefix: prefix(""),
    })
}

/// The same on the one with TLS, as a user who may do everything with what is named `alice.*` and nothing else.
pub fn secure() -> Box<dyn World> {
    let url = SECURE.variable("EVCAT_TEST_KAFKA_SASL_TLS").replace("://", "://alice@");
    let options = vec![
        ("sasl.mechanism", "SCRAM-SHA-512".into()),
        ("password", SECURE.variable("EVCAT_TEST_KAFKA_ALICE_PASSWORD")),
        ("ssl.ca.location", SECURE.variable("EVCAT_TEST_KAFKA_CA")),
    ];
    Box::new(Shared { url, options, plain: SECURE.plain(), prefix: prefix("alice.") })
}

fn prefix(of: &str) -> String {
    format!("{of}c{:016x}-", fastrand::u64(..))
}

/// A cluster that cases share, and names of one case's own on it.
struct Shared {
    url: String,
    options: Vec<(&'static str, String)>,
    plain: String,
    prefix: String,
}

impl Shared {
    fn open(&self, url: &str) -> Arc<dyn Broker> {
        let own = self.options.iter().map(|(key, value)| (*key, value.as_str()));
        open_url(url, &own.chain(TOPICS).collect::<Vec<_>>())
    }
}

impl World for Shared {
    fn connect(&self) -> Arc<dyn Broker> {
        Arc::new(Scoped::of(self.open(&self.url), self.prefix.clone()))
    }

    fn nowhere(&self) -> Arc<dyn Broker> {
        let (before, _) = self.url.rsplit_once("127.0.0.1:").unwrap();
        self.open(&format!("{}127.0.0.1:1", before.split("127.0.0.1:").next().unwrap()))
    }

    /// There is nobody who could tell; what needs a server fails there.
    fn nowhere_is_untouched(&self) -> bool {
        true
    }

    fn cut(&self) {
        let first = self.plain.split(',').next().unwrap();
        kick::all_members(first, &format!("{}g", self.prefix)).unwrap();
    }
}

/// A mock cluster of one case's own. It has no request that makes topics, so it makes them itself.
pub fn mock() -> Box<dyn World> {
    Box::new(Mock(Arc::new(MockCluster::new())))
}

struct Mock(Arc<MockCluster>);

impl World for Mock {
    fn connect(&self) -> Arc<dyn Broker> {
        let mock = self.0.clone();
        let make = move |topic: &str, options: &[(String, String)]| {
            let partitions = options.iter().find(|(key, _)| key == "partitions");
            mock.make(topic, partitions.map_or(1, |(_, value)| value.parse().unwrap()));
        };
        Arc::new(Scoped {
            make: Some(Box::new(make)),
            ..Scoped::of(open_url(&self.0.url(), &MOCK_OPTIONS), String::new())
        })
    }

    fn nowhere(&self) -> Arc<dyn Broker> {
        open_url("kafka://127.0.0.1:1", &[])
    }

    /// There is nobody who could tell; what needs a server fails there.
    fn nowhere_is_untouched(&self) -> bool {
        true
    }

    fn cut(&self) {
        let url = self.0.url();
        let first = url.split_once("://").unwrap().1.split(',').next().unwrap();
        kick::all_members(first, "g").unwrap();
    }
}
