//! The cluster: its id, its nodes, and what we may do with it.

use super::super::client::Client;
use super::super::error::About;
use super::super::queue::Event;
use super::super::sys::{
    self, rd_kafka_AclOperation_t, rd_kafka_Node_t, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
};
use super::{Options, array};
use crate::broker::Result;

/// What can be allowed on a resource: `READ`, `WRITE`, ...; the broker's names.
pub type Right = String;

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: i32,
    /// `host:port`.
    pub address: String,
    /// Where it stands, if it says.
    pub rack: Option<String>,
}

/// The cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The same for all of its brokers.
    pub id: String,
    /// Its brokers that are up.
    pub nodes: Vec<Node>,
    /// The number of the one that administrates.
    pub controller: Option<i32>,
    /// What we may do with the cluster as a whole.
    pub rights: Vec<Right>,
}

impl Client {
    /// The cluster as it is now.
    pub async fn cluster(&self, about: &About) -> Result<Cluster> {
        let call = |options: &Options, queue| {
            // SAFETY: all live during the call. The error of an option that fits its request is null.
            unsafe {
                sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.raw(), 1);
                sys::rd_kafka_DescribeCluster(self.raw(), options.raw(), queue);
            }
        };
        // SAFETY: the answer to this request.
        self.ask(about, RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, call, |event| unsafe { Ok(read_cluster(event)) })
            .await
    }
}

/// # Safety
/// `event` must be the answer to a question for the cluster.
unsafe fn read_cluster(event: &Event) -> Cluster {
    // SAFETY: the caller's; all of it lives until the event goes.
    unsafe {
        let result = sys::rd_kafka_event_DescribeCluster_result(event.raw());
        let (mut nodes, mut rights) = (0, 0);
        let first = sys::rd_kafka_DescribeCluster_result_nodes(result, &mut nodes);
        let nodes = array(first, nodes).iter().map(|node| read_node(*node)).collect();
        let first = sys::rd_kafka_DescribeCluster_result_authorized_operations(result, &mut rights);
        let controller = sys::rd_kafka_DescribeCluster_result_controller(result);
        Cluster {
            id: sys::text(sys::rd_kafka_DescribeCluster_result_cluster_id(result)),
            nodes,
            controller: (!controller.is_null()).then(|| sys::rd_kafka_Node_id(controller)),
            rights: read_rights(first, rights),
        }
    }
}

/// # Safety
/// `node` must be live.
unsafe fn read_node(node: *const rd_kafka_Node_t) -> Node {
    // SAFETY: the caller's; the rack is null where there is none.
    unsafe {
        let (host, rack) = (sys::text(sys::rd_kafka_Node_host(node)), sys::rd_kafka_Node_rack(node));
        Node {
            id: sys::rd_kafka_Node_id(node),
            address: format!("{host}:{}", sys::rd_kafka_Node_port(node)),
            rack: (!rack.is_null()).then(|| sys::text(rack)),
        }
    }
}

/// # Safety
/// `first` must be null or point to `count` operations.
pub(super) unsafe fn read_rights(first: *const rd_kafka_AclOperation_t, count: usize) -> Vec<Right> {
    if first.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's; the library makes them of the bits that it knows.
    let operations = unsafe { std::slice::from_raw_parts(first, count) };
    // SAFETY: the names are static.
    operations
        .iter()
        .map(|operation| unsafe { sys::text(sys::rd_kafka_AclOperation_name(*operation)) })
        .collect()
}
