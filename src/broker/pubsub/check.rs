//! What `profiles check` finds.

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;

use super::error::About;
use super::link::Link;
use super::settings::Server;
use crate::broker::Result;

/// See [`Broker::check`](crate::broker::Broker::check). Rights are not told: the first call that lacks one says so.
pub async fn check(link: &Link) -> Result<Vec<(String, String)>> {
    let about = About::new("check", "");
    let settings = &link.settings;
    let project = settings.project();
    let request =
        api::ListTopicsRequest { project: project.clone(), page_size: 1, page_token: String::new() };
    let page = link
        .call(&about, &format!("project={project}"), request, |mut clients, request| {
            Box::pin(async move { clients.publisher.list_topics(request).await })
        })
        .await?;
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let login = match settings.server {
        Server::Emulator(_) => "none: it is an emulator",
        Server::Service(_) => "application default credentials",
    };
    Ok(vec![
        fact("server", settings.server.name()),
        fact("project", &settings.project),
        fact("credentials", login),
        fact("topics", if page.topics.is_empty() { "none yet" } else { "can be listed" }),
        fact("client", &super::client()),
    ])
}
