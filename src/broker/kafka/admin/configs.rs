//! The settings of topics and brokers.

use std::ffi::CString;

use super::super::client::Client;
use super::super::error::{About, Trouble};
use super::super::queue::Event;
use super::super::sys::{
    self, Code, rd_kafka_ConfigResource_t, rd_kafka_ResourceType_t, rd_kafka_admin_op_t,
};
use super::{Options, array, c_text};
use crate::broker::Result;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Such as `retention.ms`.
    pub name: String,
    /// `None` where the broker keeps it to itself.
    pub value: Option<String>,
    /// Nobody has set it.
    pub default: bool,
}

impl Client {
    /// The settings of these topics, in the order given; of each, or why they cannot be told.
    pub async fn topic_configs(
        &self,
        about: &About,
        topics: &[impl AsRef<str>],
    ) -> Result<Vec<std::result::Result<Vec<Config>, Trouble>>> {
        let names = topics.iter().map(|topic| c_text(topic.as_ref())).collect();
        self.configs(about, rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, names).await
    }

    async fn configs(
        &self,
        about: &About,
        kind: rd_kafka_ResourceType_t,
        names: Vec<CString>,
    ) -> Result<Vec<std::result::Result<Vec<Config>, Trouble>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let call = |options: &Options, queue| {
            // SAFETY: all live during the call, which copies the request.
            unsafe {
                let new = |name: &CString| sys::rd_kafka_ConfigResource_new(kind, name.as_ptr());
                let mut asked: Vec<_> = names.iter().map(new).collect();
                let (first, count) = (asked.as_mut_ptr(), asked.len());
                sys::rd_kafka_DescribeConfigs(self.raw(), first, count, options.raw(), queue);
                sys::rd_kafka_ConfigResource_destroy_array(first, count);
            }
        };
        // SAFETY: the answer to this request, which lives until the event goes; all is copied.
        let read = |event: &Event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeConfigs_result(event.raw());
            let first = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
            Ok(array(first, count).iter().map(|resource| read_resource(*resource)).collect())
        };
        self.ask(about, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, call, read).await
    }
}

/// # Safety
/// `resource` must be live.
unsafe fn read_resource(
    resource: *const rd_kafka_ConfigResource_t,
) -> std::result::Result<Vec<Config>, Trouble> {
    // SAFETY: the caller's; a value is null where it is not told.
    unsafe {
        match sys::config_resource_error(resource) {
            Code::OK => {}
            code => {
                let words = sys::text(sys::rd_kafka_ConfigResource_error_string(resource));
                return Err(Trouble { code, words });
            }
        }
        let mut count = 0;
        let first = sys::rd_kafka_ConfigResource_configs(resource, &mut count);
        let read = |entry: &*const _| {
            let value = sys::rd_kafka_ConfigEntry_value(*entry);
            Config {
                name: sys::text(sys::rd_kafka_ConfigEntry_name(*entry)),
                value: (!value.is_null()).then(|| sys::text(value)),
                default: sys::rd_kafka_ConfigEntry_is_default(*entry) == 1,
            }
        };
        Ok(array(first, count).iter().map(read).collect())
    }
}
