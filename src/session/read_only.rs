//! A broker whose profile says `read_only = true`: looking passes, every write is refused before it is sent.
//!
//! A wrapper, so that no command can forget it; `Session::writable` refuses earlier and names the command.

use std::sync::Arc;

use async_trait::async_trait;

use crate::broker::{
    Broker, Capabilities, Error, GroupInfo, Kind, NativeReplay, NativeWish, PublishOptions, Publisher,
    ReadOptions, Reader, Result, Source, Start, SubscribeOptions, Subscription, TopicInfo,
};

pub(super) struct ReadOnly {
    pub broker: Arc<dyn Broker>,
    pub profile: String,
}

impl ReadOnly {
    fn refuse<T>(&self, operation: &'static str, what: &str) -> Result<T> {
        let profile = &self.profile;
        let message = format!("{profile} is for reading only, and this would {what}");
        let hint = format!("read_only = true stands in its profile: evcat profiles show {profile}");
        Err(Error::new(Kind::Denied, operation, "", message).with_hint(hint))
    }
}

#[async_trait]
impl Broker for ReadOnly {
    fn capabilities(&self, topic: &str) -> Capabilities {
        self.broker.capabilities(topic)
    }

    fn legal(&self, topic: &str) -> Result<()> {
        self.broker.legal(topic)
    }

    async fn check(&self) -> Result<Vec<(String, String)>> {
        self.broker.check().await
    }

    async fn topics(&self, glob: &str) -> Result<Vec<TopicInfo>> {
        self.broker.topics(glob).await
    }

    async fn create_topic(&self, _topic: &str, _options: &[(String, String)]) -> Result<()> {
        self.refuse("create_topic", "make a topic")
    }

    async fn delete_topic(&self, _topic: &str) -> Result<()> {
        self.refuse("delete_topic", "delete a topic")
    }

    async fn groups(&self, topics: &str) -> Result<Vec<GroupInfo>> {
        self.broker.groups(topics).await
    }

    async fn group(&self, topic: &str, group: &str) -> Result<Option<GroupInfo>> {
        self.broker.group(topic, group).await
    }

    async fn seek_group(&self, _topic: &str, _group: &str, _to: &Start) -> Result<()> {
        self.refuse("seek_group", "move a group")
    }

    async fn delete_group(&self, _topic: &str, _group: &str) -> Result<()> {
        self.refuse("delete_group", "delete a group")
    }

    async fn create_group(
        &self,
        _source: &Source,
        _from: &Start,
        _dead_letters: Option<&str>,
    ) -> Result<Vec<String>> {
        self.refuse("create_group", "make a group")
    }

    async fn publisher(&self, _options: PublishOptions) -> Result<Box<dyn Publisher>> {
        self.refuse("publisher", "publish")
    }

    async fn reader(&self, options: ReadOptions) -> Result<Box<dyn Reader>> {
        match options.topics.iter().any(|topic| self.capabilities(topic).read_creates) {
            true => self.refuse("reader", "make a temporary queue to look through"),
            false => self.broker.reader(options).await,
        }
    }

    async fn subscription(
        &self,
        _source: Source,
        _options: SubscribeOptions,
    ) -> Result<Box<dyn Subscription>> {
        self.refuse("subscription", "settle events")
    }

    async fn native_replay(&self, _dlq: &str, _wish: NativeWish) -> Result<Box<dyn NativeReplay>> {
        self.refuse("native_replay", "put dead letters back")
    }
}
