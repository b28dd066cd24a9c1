//! Answers that a broker gives only for a moment, from a cluster of the library's own making.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::client::Role;
use super::super::settings::Settings;
use super::*;
use crate::broker::{Location, Surroundings};

const TOPIC: &std::ffi::CStr = c"t";

/// A cluster of one broker, which leads one partition.
struct Mock {
    cluster: *mut sys::rd_kafka_mock_cluster_t,
    owner: *mut sys::rd_kafka_t,
}

impl Mock {
    fn new() -> Mock {
        let producer = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
        // SAFETY: a client without a word about what is wrong, and what belongs to it.
        unsafe {
            let owner = sys::rd_kafka_new(producer, sys::rd_kafka_conf_new(), std::ptr::null_mut(), 0);
            let cluster = sys::rd_kafka_mock_cluster_new(owner, 1);
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
        Client::new(Role::Producer, &settings, &[], &[], |_| ()).unwrap()
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
    let mock = Mock::new();
    let client = mock.client();
    let end = async || {
        let about = About::topic("test", "t");
        client.offsets(&about, &[("t".into(), 0, LATEST)], false).await.unwrap()[0].clone().unwrap().offset
    };
    assert_eq!(end().await, 0);
    mock.next_epoch();
    assert_eq!(end().await, 0);
}
