//! The clients of the two services, made by the first call that needs one, and what was found out by name.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_http_client::{Builder, tls};
use tokio::sync::OnceCell;

use super::error::{About, Fault};
use super::name::{Place, last_part};
use super::settings::Settings;
use crate::broker::{Kind, Result};

/// For who connects.
const CONNECT: Duration = Duration::from_secs(5);
/// For one try of a request, beyond what a poll waits.
const ATTEMPT: Duration = Duration::from_secs(30);
/// How to do without a list.
const BY_ARN: &str =
    "without the right to list topics one is named by its ARN: arn:aws:sns:REGION:ACCOUNT:NAME";
/// So many questions at a time about many queues.
pub const AT_A_TIME: usize = 16;

/// Both services.
pub struct Services {
    /// Topics.
    pub sns: aws_sdk_sns::Client,
    /// Queues.
    pub sqs: aws_sdk_sqs::Client,
    /// The same queues for what is tried again by ourselves, if at all: the client would not say that it did.
    pub sqs_once: aws_sdk_sqs::Client,
    /// The same topics.
    pub sns_once: aws_sdk_sns::Client,
    /// Where.
    pub region: String,
}

/// A region of an account.
pub struct Client {
    /// Of what it was made.
    pub settings: Settings,
    services: OnceCell<Services>,
    /// ARNs of topics and URLs of queues, by what they are called here.
    known: Mutex<HashMap<String, Arc<str>>>,
    slowed: AtomicBool,
}

impl Client {
    /// Behaviour: no I/O.
    pub fn new(settings: Settings) -> Client {
        Client {
            settings,
            services: OnceCell::new(),
            known: Mutex::default(),
            slowed: AtomicBool::new(false),
        }
    }

    /// Makes the clients, or says why not. Credentials are asked for by the first request.
    pub async fn services(&self, about: &About) -> Result<&Services> {
        self.services.get_or_try_init(|| self.make(about)).await
    }

    async fn make(&self, about: &About) -> Result<Services> {
        let settings = &self.settings;
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = Builder::new().tls_provider(provider).build_https();
        let attempt = settings.timeout.unwrap_or(ATTEMPT).max(ATTEMPT);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(settings.timeout.unwrap_or(CONNECT).min(CONNECT))
            .operation_attempt_timeout(attempt)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts);
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some((id, secret)) = &settings.key {
            loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "URL"));
        }
        let config = loader.load().await;
        let Some(region) = config.region().map(ToString::to_string) else {
            let message = "no region is named: neither the URL nor the AWS configuration has one";
            return Err(about.error(Kind::Invalid, message).with_hint("aws://eu-central-1"));
        };
        let once = config.to_builder().retry_config(RetryConfig::disabled()).build();
        Ok(Services {
            sns: aws_sdk_sns::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            sqs_once: aws_sdk_sqs::Client::new(&once),
            sns_once: aws_sdk_sns::Client::new(&once),
            region,
        })
    }

    /// Says once that AWS wants fewer requests, and that we comply.
    pub fn heed(&self, fault: &Fault) {
        if fault.throttled && !self.slowed.swap(true, Relaxed) {
            tracing::warn!(
                "AWS {}; it is asked again after a pause, and this is not said again",
                fault.message
            );
        }
    }

    fn known(&self, name: &str) -> Option<Arc<str>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn remember(&self, name: &str, what: &str) -> Arc<str> {
        let what: Arc<str> = what.into();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), what.clone());
        what
    }

    /// What was known of this name is so no more.
    pub fn forget(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The ARN of a topic, if there is one.
    pub async fn topic(&self, about: &About, topic: &str) -> Result<Option<Arc<str>>> {
        if topic.starts_with("arn:") {
            self.same_region(about, topic).await?;
            return Ok(Some(topic.into()));
        }
        if let Some(arn) = self.known(topic) {
            return Ok(Some(arn));
        }
        let arns = self.topics(about).await?;
        Ok(arns.iter().find(|arn| last_part(arn) == topic).map(|arn| self.remember(topic, arn)))
    }

    /// Refuses what is somewhere else.
    async fn same_region(&self, about: &About, arn: &str) -> Result<()> {
        let here = &self.services(about).await?.region;
        match arn.split(':').nth(3) {
            Some(there) if !there.is_empty() && there != here => {
                let message = format!("is in {there}, and this is {here}");
                Err(about.error(Kind::Invalid, message).with_hint(format!("aws://{there}")))
            }
            _ => Ok(()),
        }
    }

    /// The ARNs of all topics: SNS does not find one by its name.
    pub async fn topics(&self, about: &About) -> Result<Vec<String>> {
        let sns = &self.services(about).await?.sns;
        let mut pages = sns.list_topics().into_paginator().items().send();
        let mut arns = Vec::new();
        while let Some(topic) = pages.next().await {
            let topic = topic.map_err(|error| {
                let mut fault = Fault::of(&error);
                if fault.is_forbidden() {
                    fault.hint = Some(BY_ARN.into());
                }
                about.fault(&fault)
            })?;
            arns.extend(topic.topic_arn().map(str::to_owned));
        }
        Ok(arns)
    }

    /// The URL of a queue by its name, ARN or URL, if there is one. One that is named by its URL is there.
    pub async fn queue(&self, about: &About, queue: &str) -> Result<Option<Arc<str>>> {
        if queue.starts_with("http://") || queue.starts_with("https://") {
            return Ok(Some(queue.into()));
        }
        if let Some(url) = self.known(&format!("queue:{queue}")) {
            return Ok(Some(url));
        }
        if queue.starts_with("arn:") {
            self.same_region(about, queue).await?;
        }
        let request = self.services(about).await?.sqs.get_queue_url().queue_name(last_part(queue));
        // arn:aws:sqs:REGION:ACCOUNT:NAME
        let owner = queue.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(3)).map(str::to_owned);
        match request.set_queue_owner_aws_account_id(owner).send().await {
            Ok(found) => Ok(found.queue_url().map(|url| self.remember(&format!("queue:{queue}"), url))),
            Err(error) => match about.map(&error) {
                missing if missing.kind() == Kind::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    /// What is known of a queue by its URL; `None` where it is gone.
    pub async fn attributes(
        &self,
        about: &About,
        url: &str,
    ) -> Result<Option<HashMap<QueueAttributeName, String>>> {
        let request = self.services(about).await?.sqs.get_queue_attributes().queue_url(url);
        match request.attribute_names(QueueAttributeName::All).send().await {
            Ok(found) => Ok(Some(found.attributes.unwrap_or_default())),
            Err(error) => match about.map(&error) {
                missing if missing.kind() == Kind::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    /// The URL of the queue that a place is, which must be there.
    pub async fn queue_of(&self, about: &About, place: &Place) -> Result<Arc<str>> {
        let (Place::Topic(name) | Place::Queue(name) | Place::Letters(name)) = place;
        self.queue(about, name).await?.ok_or_else(|| about.missing())
    }
}
