//! What `profiles check` finds.

use super::error::About;
use super::{RabbitMq, management};
use crate::broker::Result;

/// See [`Broker::check`](crate::broker::Broker::check). AMQP tells no rights: the first call that lacks one says so.
pub async fn check(rabbit: &RabbitMq) -> Result<Vec<(String, String)>> {
    let about = About::new("check", "");
    rabbit.admin(&about).await?;
    let settings = &rabbit.settings;
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut facts = vec![
        fact("server", &settings.server),
        fact("virtual host", settings.vhost()),
        fact("logged in as", settings.user()),
    ];
    match settings.management {
        None => facts.push(fact("management API", "none (-X management=http://host:15672)")),
        Some(_) => {
            let overview = management::overview(settings, &about).await?;
            let text = |name: &str| overview[name].as_str().unwrap_or("unknown").to_owned();
            facts.push(fact("version", &text("rabbitmq_version")));
            facts.push(fact("cluster", &text("cluster_name")));
            let exchanges = management::exchanges(settings, &about).await?.len();
            facts.push(fact("exchanges", &exchanges.to_string()));
        }
    }
    facts.push(fact("client", &super::client()));
    Ok(facts)
}
