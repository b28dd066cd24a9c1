//! What the service calls subscriptions: asked for, made and deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1 as api;
use tonic::Code;

use super::error::About;
use super::link::Link;
use super::name::TEMPORARY;
use super::settings::Server;
use crate::broker::{Kind, Result};
use crate::event::Millis;

/// How often a subscription hands an event out before it gives it to the dead letters by itself: the most there is, so
/// that it acts on events that kill their member for ever, and not on those that are still being tried.
pub const DELIVERY_LIMIT: i32 = 100;
/// The pauses after a lease that ended or was given back.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// How long dead letters stay: the longest there is.
const LETTERS_KEPT: Duration = Duration::from_secs(31 * 24 * 3600);
/// Nobody looked for so long: the service deletes what was left behind. The shortest there is.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);
/// The label of a look: the second of the last sign of its life.
const ALIVE: &str = "evcat-alive";
/// The lease of what nobody said any lease of, in seconds.
const LEASE: i32 = 60;
/// Entries of a list that are asked for at a time.
const PAGE: i32 = 1000;

/// A length of time in the service's words.
pub fn duration(length: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(length.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

/// The last part of `projects/p/subscriptions/NAME`.
pub fn short(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, short)| short)
}

/// What the service knows of a subscription, by its whole name; `None` where there is none.
pub async fn get(link: &Link, about: &About, name: &str) -> Result<Option<api::Subscription>> {
    let request = api::GetSubscriptionRequest { subscription: name.to_owned() };
    let found = link
        .ask(about, &format!("subscription={name}"), request, |mut clients, request| {
            Box::pin(async move { clients.subscriber.get_subscription(request).await })
        })
        .await;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(refusal) if refusal.error.kind() == Kind::NotFound && refusal.error.detail().hint.is_none() => {
            Ok(None)
        }
        Err(refusal) => Err(refusal.error),
    }
}

/// Answered by a server that is there; [`Kind::NotFound`]: the subscription is not.
pub async fn is_there(link: &Link, about: &About, name: &str) -> Result<()> {
    get(link, about, name).await?.map(drop).ok_or_else(|| about.missing())
}

/// All of the project.
pub async fn list(link: &Link, about: &About) -> Result<Vec<api::Subscription>> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    let project = link.settings.project();
    loop {
        let request = api::ListSubscriptionsRequest { project: project.clone(), page_size: PAGE, page_token };
        let page = link
            .call(about, &format!("project={project}"), request, |mut clients, request| {
                Box::pin(async move { clients.subscriber.list_subscriptions(request).await })
            })
            .await?;
        all.extend(page.subscriptions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// Makes one. `Ok(false)`: it was there.
pub async fn make(link: &Link, about: &About, subscription: api::Subscription) -> Result<bool> {
    let of = format!("name={}", subscription.name);
    let made = link
        .ask(about, &of, subscription, |mut clients, request| {
            Box::pin(async move { clients.subscriber.create_subscription(request).await })
        })
        .await;
    match made {
        Ok(_) => Ok(true),
        Err(refusal)
            if refusal.status.as_ref().is_some_and(|status| status.code() == Code::AlreadyExists) =>
        {
            Ok(false)
        }
        Err(refusal) => Err(refusal.error),
    }
}

/// Deletes one, with what is in it.
pub async fn delete(link: &Link, about: &About, name: &str) -> Result<()> {
    let request = api::DeleteSubscriptionRequest { subscription: name.to_owned() };
    link.call(about, &format!("subscription={name}"), request, |mut clients, request| {
        Box::pin(async move { clients.subscriber.delete_subscription(request).await })
    })
    .await
}

/// Moves one: what was published before is settled, what was published since is not.
pub async fn seek(link: &Link, about: &About, name: &str, to: Millis) -> Result<()> {
    let time = prost_types::Timestamp {
        seconds: to.div_euclid(1000),
        nanos: i32::try_from(to.rem_euclid(1000)).unwrap_or_default() * 1_000_000,
    };
    let target = Some(api::seek_request::Target::Time(time));
    let request = api::SeekRequest { subscription: name.to_owned(), target };
    link.call(about, &format!("subscription={name}"), request, |mut clients, request| {
        Box::pin(async move { clients.subscriber.seek(request).await })
    })
    .await
    .map(|_| ())
}

/// One that is deleted by nobody but us.
fn lasting(name: String, topic: String) -> api::Subscription {
    api::Subscription {
        name,
        topic,
        ack_deadline_seconds: LEASE,
        enable_message_ordering: true,
        expiration_policy: Some(api::ExpirationPolicy { ttl: None }),
        ..api::Subscription::default()
    }
}

/// That of a group.
pub fn of_group(link: &Link, name: &str, topic: &str, letters: Option<&str>) -> api::Subscription {
    let [minimum, maximum] = BACKOFF.map(duration);
    api::Subscription {
        enable_exactly_once_delivery: link.settings.exactly_once,
        retry_policy: Some(api::RetryPolicy {
            minimum_backoff: Some(minimum),
            maximum_backoff: Some(maximum),
        }),
        dead_letter_policy: letters.map(|letters| api::DeadLetterPolicy {
            dead_letter_topic: link.settings.topic(letters),
            max_delivery_attempts: DELIVERY_LIMIT,
        }),
        ..lasting(link.settings.subscription(name), link.settings.topic(topic))
    }
}

/// That which keeps dead letters: for as long as there is, which is less where it is an emulator.
pub fn of_letters(link: &Link, topic: &str) -> api::Subscription {
    let service = matches!(link.settings.server, Server::Service(_));
    api::Subscription {
        message_retention_duration: service.then(|| duration(LETTERS_KEPT)),
        ..lasting(link.settings.subscription(topic), link.settings.topic(topic))
    }
}

/// That of a look, which is alive now.
pub fn of_look(link: &Link, topic: &str) -> api::Subscription {
    let now = (link.settings.clock)();
    let name = format!("{TEMPORARY}{}-{:016x}", now / 1000, fastrand::u64(..));
    api::Subscription {
        expiration_policy: Some(api::ExpirationPolicy { ttl: Some(duration(LEFT_BEHIND)) }),
        labels: alive(now),
        ..lasting(link.settings.subscription(&name), link.settings.topic(topic))
    }
}

fn alive(now: Millis) -> BTreeMap<String, String> {
    [(ALIVE.to_owned(), (now / 1000).to_string())].into()
}

/// The look is alive.
pub async fn refresh(link: &Link, about: &About, name: &str) -> Result<()> {
    let labels = alive((link.settings.clock)());
    let subscription = api::Subscription { name: name.to_owned(), labels, ..api::Subscription::default() };
    let request = api::UpdateSubscriptionRequest {
        subscription: Some(subscription),
        update_mask: Some(prost_types::FieldMask { paths: vec!["labels".into()] }),
    };
    link.call(about, &format!("subscription.name={name}"), request, |mut clients, request| {
        Box::pin(async move { clients.subscriber.update_subscription(request).await })
    })
    .await
    .map(drop)
}

/// When a look was made; `None`: it is none.
pub fn look_made(short: &str) -> Option<Millis> {
    let (seconds, _) = short.strip_prefix(TEMPORARY)?.split_once('-')?;
    seconds.parse::<Millis>().ok()?.checked_mul(1000)
}

/// The last sign of life of a look; `None`: it is none.
pub fn look_alive(subscription: &api::Subscription) -> Option<Millis> {
    let made = look_made(short(&subscription.name))?;
    let told = subscription.labels.get(ALIVE).and_then(|seconds| seconds.parse::<Millis>().ok());
    Some(told.and_then(|seconds| seconds.checked_mul(1000)).unwrap_or(made))
}

/// The shortest pause before something that was given back is handed out again.
pub fn least_pause(subscription: &api::Subscription) -> Duration {
    let least = subscription.retry_policy.as_ref().and_then(|policy| policy.minimum_backoff.as_ref());
    least.and_then(|least| Duration::try_from(*least).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_tells_when_it_was_made() {
        assert_eq!(look_made("evcat-tail-1700000000-00ff"), Some(1_700_000_000_000));
        assert_eq!(look_made("orders.billing"), None);
        assert_eq!(look_made("evcat-tail-x-1"), None);
        let mut look = api::Subscription {
            name: "projects/p/subscriptions/evcat-tail-1700000000-00ff".into(),
            ..api::Subscription::default()
        };
        assert_eq!(look_alive(&look), Some(1_700_000_000_000));
        look.labels = alive(1_700_000_060_999);
        assert_eq!(look_alive(&look), Some(1_700_000_060_000));
    }
}
