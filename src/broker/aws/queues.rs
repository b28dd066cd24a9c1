//! The queues and subscriptions that evcat makes, and only where there are none: what is there is used as it is.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde_json::json;

use super::client::Client;
use super::error::About;
use super::name::{FIFO, last_part};
use crate::broker::{Kind, Result};

/// Says which topic a queue was made for.
pub const TOPIC_TAG: &str = "evcat-topic";
/// The longest that a queue keeps a message.
const LONGEST_KEPT: &str = "1209600";

/// Makes a queue with these attributes; its URL and ARN.
pub async fn make(
    client: &Client,
    about: &About,
    queue: &str,
    attributes: &[(Attribute, String)],
    tags: &[(&str, &str)],
) -> Result<(Arc<str>, String)> {
    let services = client.services(about).await?;
    let mut request = services.sqs.create_queue().queue_name(queue);
    if queue.ends_with(FIFO) {
        request = request.attributes(Attribute::FifoQueue, "true");
    }
    for (name, value) in attributes {
        request = request.attributes(name.clone(), value);
    }
    for (name, value) in tags {
        request = request.tags(*name, *value);
    }
    let made = request.send().await.map_err(|error| about.map(&error))?;
    let url = made
        .queue_url()
        .ok_or_else(|| about.error(Kind::Broken, "AWS does not tell the URL of what it made"))?;
    let url: Arc<str> = url.into();
    let arn = arn(client, about, &url).await?;
    Ok((url, arn))
}

/// The ARN of a queue that is there.
pub async fn arn(client: &Client, about: &About, url: &str) -> Result<String> {
    let attributes = client.attributes(about, url).await?.ok_or_else(|| about.missing())?;
    arn_of(about, &attributes)
}

/// The ARN among what a queue says of itself.
pub fn arn_of(about: &About, attributes: &HashMap<Attribute, String>) -> Result<String> {
    let arn = attributes.get(&Attribute::QueueArn).cloned();
    arn.ok_or_else(|| about.error(Kind::Broken, "the queue does not tell its ARN"))
}

/// A queue for dead letters, which keeps them as long as a queue can; its ARN, and whether it had to be made.
pub async fn make_letters(client: &Client, about: &About, queue: &str) -> Result<(String, bool)> {
    if let Some(url) = client.queue(about, queue).await?
        && let Some(attributes) = client.attributes(about, &url).await?
    {
        return Ok((arn_of(about, &attributes)?, false));
    }
    client.forget(&format!("queue:{queue}"));
    let kept = [(Attribute::MessageRetentionPeriod, LONGEST_KEPT.to_owned())];
    let (_, arn) = make(client, about, last_part(queue), &kept, &[]).await?;
    Ok((arn, true))
}

/// What the queue of a group is made with. `letters`: the ARN of its dead letters.
pub fn attributes_of_group(
    client: &Client,
    queue: &str,
    topic: &str,
    letters: Option<&str>,
) -> Vec<(Attribute, String)> {
    let mut attributes = vec![
        (Attribute::MessageRetentionPeriod, LONGEST_KEPT.to_owned()),
        (Attribute::Policy, policy(queue, topic)),
    ];
    if let Some(letters) = letters {
        let most = client.settings.max_receives;
        let redrive = json!({"deadLetterTargetArn": letters, "maxReceiveCount": most});
        attributes.push((Attribute::RedrivePolicy, redrive.to_string()));
    }
    attributes
}

/// Lets this topic, and nobody else, send to a queue of the same account.
pub fn policy(queue: &str, topic: &str) -> String {
    // arn:aws:sns:REGION:ACCOUNT:NAME, and the queue is beside it.
    let resource = match topic.rsplit_once(':') {
        Some((place, _)) => format!("{}:{queue}", place.replacen(":sns:", ":sqs:", 1)),
        None => "*".to_owned(),
    };
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "evcat",
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": resource,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }],
    })
    .to_string()
}

/// Subscribes a queue to a topic, so that it gets the messages as they are; the subscription's ARN.
pub async fn subscribe(client: &Client, about: &About, topic: &str, queue: &str) -> Result<String> {
    let request = client.services(about).await?.sns.subscribe();
    let request = request.topic_arn(topic).protocol("sqs").endpoint(queue);
    let made = request.attributes("RawMessageDelivery", "true").return_subscription_arn(true).send().await;
    let made = made.map_err(|error| about.map(&error))?;
    made.subscription_arn
        .ok_or_else(|| about.error(Kind::Broken, "AWS does not tell the ARN of a subscription"))
}

/// The queues that are subscribed to a topic: subscription and queue, both by their ARN.
pub async fn subscribers(client: &Client, about: &About, topic: &str) -> Result<Vec<(String, String)>> {
    let sns = &client.services(about).await?.sns;
    let (mut all, mut page) = (Vec::new(), None);
    loop {
        let request = sns.list_subscriptions_by_topic().topic_arn(topic).set_next_token(page);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => match about.map(&error) {
                // It was deleted meanwhile.
                missing if missing.kind() == Kind::NotFound => return Ok(all),
                error => return Err(error),
            },
        };
        for one in answer.subscriptions() {
            if let (Some("sqs"), Some(subscription), Some(queue)) =
                (one.protocol(), one.subscription_arn(), one.endpoint())
            {
                all.push((subscription.to_owned(), queue.to_owned()));
            }
        }
        match answer.next_token() {
            Some(next) if !next.is_empty() => page = Some(next.to_owned()),
            _ => return Ok(all),
        }
    }
}

/// Ends a subscription; one that is gone already is well.
pub async fn unsubscribe(client: &Client, about: &About, subscription: &str) -> Result<()> {
    // One that nobody has confirmed has a word in the place of its ARN.
    if !subscription.starts_with("arn:") {
        return Ok(());
    }
    let ended = client.services(about).await?.sns.unsubscribe().subscription_arn(subscription).send().await;
    gone(ended.map(drop).map_err(|error| about.map(&error)))
}

/// Deletes a queue and whatever is in it; one that is gone already is well.
pub async fn delete(client: &Client, about: &About, url: &str) -> Result<()> {
    let ended = client.services(about).await?.sqs.delete_queue().queue_url(url).send().await;
    gone(ended.map(drop).map_err(|error| about.map(&error)))
}

fn gone(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        done => done,
    }
}

/// What is written on a queue.
pub async fn tags(client: &Client, about: &About, url: &str) -> Result<HashMap<String, String>> {
    let answer = client.services(about).await?.sqs.list_queue_tags().queue_url(url).send().await;
    answer.map(|answer| answer.tags.unwrap_or_default()).map_err(|error| about.map(&error))
}

/// Where a queue moves what was handed out too often, by its ARN, and how often that is.
pub fn redrive(attributes: &HashMap<Attribute, String>) -> Option<(String, u32)> {
    let policy: serde_json::Value = serde_json::from_str(attributes.get(&Attribute::RedrivePolicy)?).ok()?;
    let most = &policy["maxReceiveCount"];
    // It is written as a number by some and as text by others.
    let most = most.as_u64().or_else(|| most.as_str()?.parse().ok())?;
    Some((policy["deadLetterTargetArn"].as_str()?.to_owned(), u32::try_from(most).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_lets_one_topic_send_to_one_queue() {
        let policy: serde_json::Value =
            serde_json::from_str(&policy("orders-mail", "arn:aws:sns:eu-west-1:123456789012:orders"))
                .expect("JSON");
        let statement = &policy["Statement"][0];
        assert_eq!(statement["Resource"], "arn:aws:sqs:eu-west-1:123456789012:orders-mail");
        assert_eq!(
            statement["Condition"]["ArnEquals"]["aws:SourceArn"],
            "arn:aws:sns:eu-west-1:123456789012:orders"
        );
    }

    #[test]
    fn a_redrive_policy_is_read_as_anybody_writes_it() {
        for most in ["5", "\"5\""] {
            let policy = format!("{{\"deadLetterTargetArn\":\"a:q\",\"maxReceiveCount\":{most}}}");
            let attributes = HashMap::from([(Attribute::RedrivePolicy, policy)]);
            assert_eq!(redrive(&attributes), Some(("a:q".into(), 5)));
        }
        assert_eq!(redrive(&HashMap::new()), None);
    }
}
