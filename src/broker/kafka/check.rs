//! What `profiles check` finds.

use super::client::Client;
use super::error::About;
use crate::broker::Result;

/// See [`Broker::check`](crate::broker::Broker::check).
pub async fn check(client: &Client) -> Result<Vec<(String, String)>> {
    let cluster = client.cluster(&About::new("check", "")).await?;
    let nodes: Vec<_> = cluster.nodes.iter().map(|node| format!("{} at {}", node.id, node.address)).collect();
    let fact = |name: &str, value: String| (name.to_owned(), value);
    Ok(vec![
        fact("cluster", cluster.id),
        fact("brokers", nodes.join(", ")),
        fact("rights on the cluster", cluster.rights.join(", ")),
        fact("client", super::client()),
    ])
}
