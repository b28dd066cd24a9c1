//! Answers that a broker gives only for a moment, from a cluster of the library's own making.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::client::Role;
use super::super::settings::Settings;
use super::*;
use crate::broker::{Location, Surroundings};

const TOPIC: &std::ffi::CStr = c"t";

/// A cluster whose first broker leads one partition.
struct Mock {
    cluster: *mut sys::rd_kafka_mock_cluster_t,
    owner: *mut sys::rd_kafka_t,
}

impl Mock {
    fn of(brokers: i32) -> Mock {
        let producer = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
        // SAFETY: a client without a word about what is wrong, and what belongs to it.
        unsafe {
            let owner = sys::rd_kafka_new(producer, sys::rd_kafka_conf_new(), std::ptr::null_mut(), 0);
            let cluster = sys::rd_kafka_mock_cluster_new(owner, brokers);
            sys::rd_kafka_mock_topic_create(cluster, TOPIC.as_ptr(), 1, 1);
            Mock { cluster, owner }
        }
    }

    fn client(&self) -> Client {
        // SAFETY: the cluster is live.
        let rest = format!("//{}", unsafe { sys::text(sys::rd_kafka_mock_cluster_bootstraps(self.cluster)) });
        let (timeout, clock) = (Some(Duration::from_secs(5)), Arc::new(|| 0));
        let surroundings = Surroundings { clock, timeout, options: Vec::new(), data_dir: PathBuf::new() };
        let settings = Settings::of(&Location { scheme: "kafka".into(), rest }, &surroundings).unwrap();
        Client::new(Role::Consumer, &settings, &[], &[("group.id", "any")], |_| ()).unwrap()
    }

    /// This broker knows the group `g` from now on.
    fn coordinates(&self, broker: i32) {
        // SAFETY: the cluster is live.
        unsafe { sys::rd_kafka_mock_coordinator_set(self.cluster, c"group".as_ptr(), c"g".as_ptr(), broker) };
    }

    /// This broker closes its connections and takes no more.
    fn goes_down(&self, broker: i32) {
        // SAFETY: the cluster is live.
        unsafe { sys::rd_kafka_mock_broker_set_down(self.cluster, broker) };
    }

    /// The leader leads in a new epoch.
    fn next_epoch(&self) {
        // SAFETY: the cluster is live.
        unsafe { sys::rd_kafka_mock_partition_set_leader(self.cluster, TOPIC.as_ptr(), 0, 1) };
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // SAFETY: both are ours, and go in this order.
        unsafe {
            sys::rd_kafka_mock_cluster_destroy(self.cluster);
            sys::rd_kafka_destroy(self.owner);
        }
    }
}

#[tokio::test]
async fn a_leader_of_a_new_epoch_is_found_again() {
    let mock = Mock::of(1);
    let client = mock.client();
    let end = async || {
        let about = About::topic("test", "t");
        client.offsets(&about, &[("t".into(), 0, LATEST)], false).await.unwrap()[0].clone().unwrap().offset
    };
    assert_eq!(end().await, 0);
    mock.next_epoch();
    assert_eq!(end().await, 0);
}

#[tokio::test]
async fn a_coordinator_is_found_though_the_one_before_is_gone() {
    let mock = Mock::of(3);
    let client = mock.client();
    let (about, places) = (About::group("test", "g"), [("t".into(), 0)]);
    let asked = async || client.committed(&about, "g", Some(&places), false).await.unwrap();
    mock.coordinates(1);
    assert_eq!(asked().await, []);
    // It has no place for the group to go to before it is gone.
    mock.goes_down(1);
    mock.coordinates(2);
    assert_eq!(asked().await, []);
    let place = Committed { topic: "t".into(), partition: 0, offset: 0, metadata: Vec::new() };
    client.commit_for(&about, "g", std::slice::from_ref(&place)).await.unwrap();
    assert_eq!(asked().await, [place]);
}
