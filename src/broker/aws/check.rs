//! What `profiles check` finds.

use super::client::Client;
use super::error::About;
use super::name::last_part;
use crate::broker::Result;

/// See [`Broker::check`](crate::broker::Broker::check). Rights are not told by AWS: the first call that lacks one says so.
pub async fn check(client: &Client) -> Result<Vec<(String, String)>> {
    let about = About::new("check", "");
    let services = client.services(&about).await?;
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut facts = vec![fact("server", client.settings.server()), fact("region", &services.region)];
    let topics = client.topics(&about).await?;
    // arn:aws:sns:REGION:ACCOUNT:NAME
    if let Some(account) = topics.first().and_then(|arn| arn.split(':').nth(4)) {
        facts.push(fact("account", account));
    }
    facts.push(fact("topics", &topics.len().to_string()));
    if let Some(first) = topics.first() {
        facts.push(fact("such as", last_part(first)));
    }
    let queues = services.sqs.list_queues().max_results(1).send().await;
    queues.map_err(|error| about.map(&error))?;
    facts.push(fact("queues", "may be listed"));
    facts
        .push(fact("credentials", if client.settings.key.is_some() { "of the URL" } else { "of the chain" }));
    facts.push(fact("client", &super::client()));
    Ok(facts)
}
