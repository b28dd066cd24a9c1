//! What `profiles check` finds.

use super::Kafka;
use super::admin::Cluster;
use super::error::About;
use crate::broker::Result;

/// See [`Broker::check`](crate::broker::Broker::check). The protocol does not tell a broker's version.
pub async fn check(kafka: &Kafka) -> Result<Vec<(String, String)>> {
    let client = kafka.admin()?;
    let about = About::new("check", "");
    let Cluster { id, nodes, controller, rights } = client.cluster(&about).await?;
    let names = client.topic_names(&about).await?;
    let topics = client.describe_topics(&about, &names).await?;
    let may = |right: &str| topics.iter().filter(|topic| topic.rights.iter().any(|r| r == right)).count();
    let node = |node: &super::admin::Node| {
        let mut words = format!("{} at {}", node.id, node.address);
        if let Some(rack) = &node.rack {
            words.push_str(&format!(" in {rack}"));
        }
        words
    };
    let list = |words: Vec<String>| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("cluster", id),
        fact("brokers", list(nodes.iter().map(node).collect())),
        fact("controller", controller.map_or_else(|| "none".to_owned(), |id| id.to_string())),
        fact("logged in as", client.user().unwrap_or("nobody by name").to_owned()),
    ];
    facts.extend([
        fact("rights on the cluster", list(rights)),
        fact(
            "topics",
            format!("{} seen, {} may be read, {} written", topics.len(), may("READ"), may("WRITE")),
        ),
        fact("client", super::client()),
    ]);
    Ok(facts)
}
