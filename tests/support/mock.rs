//! The mock cluster of librdkafka, in this process: it speaks enough of the protocol for what a broker seldom does.
#![allow(dead_code, reason = "a suite takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::{CStr, CString, c_char};

use rdkafka_sys::bindings as sys;

/// Three brokers; gone when it is dropped.
pub struct MockCluster {
    rk: *mut sys::rd_kafka_t,
    cluster: *mut sys::rd_kafka_mock_cluster_t,
}

// SAFETY: the library's handles take calls from any thread.
unsafe impl Send for MockCluster {}
// SAFETY: as above.
unsafe impl Sync for MockCluster {}

impl MockCluster {
    /// One without topics.
    pub fn new() -> MockCluster {
        let mut words: [c_char; 512] = [0; 512];
        // SAFETY: a client with the library's defaults, which takes over the configuration.
        unsafe {
            let conf = sys::rd_kafka_conf_new();
            // It would say that it has no broker.
            let (key, value) = (c"log_level".as_ptr(), c"0".as_ptr());
            sys::rd_kafka_conf_set(conf, key, value, words.as_mut_ptr(), words.len());
            let role = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;
            let rk = sys::rd_kafka_new(role, conf, words.as_mut_ptr(), words.len());
            assert!(!rk.is_null(), "{:?}", CStr::from_ptr(words.as_ptr()));
            let cluster = sys::rd_kafka_mock_cluster_new(rk, 3);
            assert!(!cluster.is_null());
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
            MockCluster { rk, cluster }
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        // SAFETY: the cluster is live, and its text with it.
        let bootstraps = unsafe { CStr::from_ptr(sys::rd_kafka_mock_cluster_bootstraps(self.cluster)) };
        format!("kafka://{}", bootstraps.to_str().unwrap())
    }

    /// Makes a topic, for which it has no request.
    pub fn make(&self, topic: &str, partitions: i32) {
        let name = CString::new(topic).unwrap();
        // SAFETY: the cluster is live and the name a C string.
        let code = unsafe { sys::rd_kafka_mock_topic_create(self.cluster, name.as_ptr(), partitions, 3) };
        assert_eq!(code, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR, "{topic}");
    }

    /// Says this of a topic from now on to whoever asks about it: a code of Kafka's protocol, 0 for none.
    pub fn tell(&self, topic: &str, code: sys::rd_kafka_resp_err_t) {
        let name = CString::new(topic).unwrap();
        // SAFETY: the cluster is live and the name a C string.
        unsafe { sys::rd_kafka_mock_topic_set_error(self.cluster, name.as_ptr(), code) }
    }
}

impl Drop for MockCluster {
    fn drop(&mut self) {
        // SAFETY: the last use of both.
        unsafe {
            sys::rd_kafka_mock_cluster_destroy(self.cluster);
            sys::rd_kafka_destroy(self.rk);
        }
    }
}
