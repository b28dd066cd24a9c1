//! A broker of one case's own on a server that all cases share: every name gets a prefix on the way in and loses it on
//! the way out. Topics get a suffix too, where a broker reads their kind from that.

use std::sync::Arc;

use async_trait::async_trait;
use evcat::broker::*;
use evcat::event::{Event, Events, Name, Position};

/// `broker`, seen through names that begin with `prefix`, topics through names that end with `suffix`.
pub struct Scoped {
    pub broker: Arc<dyn Broker>,
    pub prefix: String,
    pub suffix: &'static str,
    /// Makes topics where the broker has no request for it.
    pub make: Option<Box<Make>>,
    /// What the server can of what the backend can: a stand-in has not all of it.
    pub less: fn(Capabilities) -> Capabilities,
}

/// Makes the topic of this name with these options.
pub type Make = dyn Fn(&str, &[(String, String)]) + Send + Sync;

/// The names of one case.
#[derive(Clone)]
struct Scope(Arc<str>, &'static str);

impl Scope {
    fn add(&self, name: &str) -> Name {
        format!("{}{name}{}", self.0, self.1).into()
    }

    fn add_group(&self, name: &str) -> Name {
        format!("{}{name}", self.0).into()
    }

    fn cut(&self, name: &str) -> String {
        self.cut_all(name.strip_prefix(&*self.0).unwrap_or(name), "")
    }

    /// Wherever they stand.
    fn cut_all(&self, words: &str, prefix: &str) -> String {
        let mut words = words.to_owned();
        for part in [prefix, self.1].into_iter().filter(|part| !part.is_empty()) {
            words = words.replace(part, "");
        }
        words
    }

    fn add_all(&self, names: &[Name]) -> Vec<Name> {
        names.iter().map(|name| self.add(name)).collect()
    }

    fn add_places(&self, places: &[(Name, Position)]) -> Vec<(Name, Position)> {
        places.iter().map(|(name, position)| (self.add(name), position.clone())).collect()
    }

    fn cut_places(&self, places: &[(Name, Position)]) -> Vec<(Name, Position)> {
        places.iter().map(|(name, position)| (self.cut(name).into(), position.clone())).collect()
    }

    fn start(&self, start: &Start) -> Start {
        match start {
            Start::At(places) => Start::At(self.add_places(places)),
            Start::After(places) => Start::After(self.add_places(places)),
            other => other.clone(),
        }
    }

    fn stop(&self, stop: &Stop) -> Stop {
        match stop {
            Stop::At(places) => Stop::At(self.add_places(places)),
            other => other.clone(),
        }
    }

    fn source(&self, source: &Source) -> Source {
        match source {
            Source::Group { topics, group } => {
                Source::Group { topics: self.add_all(topics), group: self.add_group(group) }
            }
            Source::Queue(queue) => Source::Queue(self.add(queue)),
            Source::DeadLetters { dlq, chosen } => {
                Source::DeadLetters { dlq: self.add(dlq), chosen: chosen.clone() }
            }
        }
    }

    fn add_event(&self, event: &Event) -> Event {
        on(event, &self.add(event.topic()))
    }

    fn cut_group(&self, info: GroupInfo) -> GroupInfo {
        GroupInfo {
            topic: self.cut(&info.topic),
            group: self.cut(&info.group),
            dead_letters: info.dead_letters.map(|name| self.cut(&name)),
            settled: self.cut_places(&info.settled),
            end: self.cut_places(&info.end),
            ..info
        }
    }

    fn cut_event(&self, event: &Event) -> Event {
        on(event, &self.cut(event.topic()).into())
    }
}

/// The same event on another topic.
fn on(event: &Event, topic: &Name) -> Event {
    let (timestamp, position) = (event.timestamp(), event.position().clone());
    let copy = Event::new(topic, event.key(), event.headers(), event.payload(), timestamp, position);
    match event.extra() {
        Some(extra) => copy.with_extra(extra.clone()),
        None => copy,
    }
}

impl Scoped {
    /// Names with this before them, and nothing else.
    pub fn of(broker: Arc<dyn Broker>, prefix: String) -> Scoped {
        Scoped { broker, prefix, suffix: "", make: None, less: |all| all }
    }

    fn scope(&self) -> Scope {
        Scope(self.prefix.as_str().into(), self.suffix)
    }
}

#[async_trait]
impl Broker for Scoped {
    fn capabilities(&self, topic: &str) -> Capabilities {
        (self.less)(self.broker.capabilities(&self.scope().add(topic)))
    }

    fn legal(&self, topic: &str) -> Result<()> {
        self.broker.legal(&self.scope().add(topic))
    }

    async fn check(&self) -> Result<Vec<(String, String)>> {
        self.broker.check().await
    }

    async fn topics(&self, glob: &str) -> Result<Vec<TopicInfo>> {
        let scope = self.scope();
        let cut = |info: TopicInfo| TopicInfo {
            name: scope.cut(&info.name),
            dead_letters_of: info.dead_letters_of.map(|of| scope.cut_all(&of, &scope.0)),
            ..info
        };
        Ok(self.broker.topics(&scope.add(glob)).await?.into_iter().map(cut).collect())
    }

    async fn create_topic(&self, topic: &str, options: &[(String, String)]) -> Result<()> {
        let topic = self.scope().add(topic);
        match &self.make {
            Some(make) => {
                self.broker.legal(&topic)?;
                Ok(make(&topic, options))
            }
            None => self.broker.create_topic(&topic, options).await,
        }
    }

    async fn delete_topic(&self, topic: &str) -> Result<()> {
        self.broker.delete_topic(&self.scope().add(topic)).await
    }

    async fn groups(&self, topics: &str) -> Result<Vec<GroupInfo>> {
        let scope = self.scope();
        Ok(self
            .broker
            .groups(&scope.add(topics))
            .await?
            .into_iter()
            .map(|info| scope.cut_group(info))
            .collect())
    }

    async fn group(&self, topic: &str, group: &str) -> Result<Option<GroupInfo>> {
        let scope = self.scope();
        let found = self.broker.group(&scope.add(topic), &scope.add_group(group)).await?;
        Ok(found.map(|info| scope.cut_group(info)))
    }

    async fn seek_group(&self, topic: &str, group: &str, to: &Start) -> Result<()> {
        let scope = self.scope();
        self.broker.seek_group(&scope.add(topic), &scope.add_group(group), &scope.start(to)).await
    }

    async fn delete_group(&self, topic: &str, group: &str) -> Result<()> {
        let scope = self.scope();
        self.broker.delete_group(&scope.add(topic), &scope.add_group(group)).await
    }

    async fn create_group(
        &self,
        source: &Source,
        from: &Start,
        dead_letters: Option<&str>,
    ) -> Result<Vec<String>> {
        let scope = self.scope();
        let dead_letters = dead_letters.map(|name| scope.add(name));
        let (source, from) = (scope.source(source), scope.start(from));
        let made = self.broker.create_group(&source, &from, dead_letters.as_deref()).await?;
        Ok(made.into_iter().map(|words| scope.cut_all(&words, &scope.0)).collect())
    }

    async fn publisher(&self, options: PublishOptions) -> Result<Box<dyn Publisher>> {
        let inner = self.broker.publisher(options).await?;
        Ok(Box::new(ScopedPublisher { inner, scope: self.scope() }))
    }

    async fn reader(&self, options: ReadOptions) -> Result<Box<dyn Reader>> {
        let scope = self.scope();
        let topics = scope.add_all(&options.topics);
        let (start, stop) = (scope.start(&options.start), scope.stop(&options.stop));
        let inner = self.broker.reader(ReadOptions { topics, start, stop, ..options }).await?;
        let (start, end) = (scope.cut_places(inner.start()), scope.cut_places(inner.end()));
        Ok(Box::new(ScopedReader { inner, scope, start, end }))
    }

    async fn subscription(&self, source: Source, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        let scope = self.scope();
        let stop = scope.stop(&options.stop);
        let inner =
            self.broker.subscription(scope.source(&source), SubscribeOptions { stop, ..options }).await?;
        Ok(Box::new(ScopedSubscription { inner, scope }))
    }

    /// Where to is a name that a plan told.
    async fn native_replay(&self, dlq: &str, wish: NativeWish) -> Result<Box<dyn NativeReplay>> {
        self.broker.native_replay(&self.scope().add(dlq), wish).await
    }
}

struct ScopedPublisher {
    inner: Box<dyn Publisher>,
    scope: Scope,
}

impl Publisher for ScopedPublisher {
    fn send(&self, events: Events) -> Receipts {
        self.inner.send(events.iter().map(|event| self.scope.add_event(event)).collect())
    }
}

struct ScopedReader {
    inner: Box<dyn Reader>,
    scope: Scope,
    start: Vec<(Name, Position)>,
    end: Vec<(Name, Position)>,
}

#[async_trait]
impl Reader for ScopedReader {
    async fn next(&mut self) -> Result<Read> {
        Ok(match self.inner.next().await? {
            Read::Events(events) => {
                Read::Events(events.iter().map(|event| self.scope.cut_event(event)).collect())
            }
            other => other,
        })
    }

    fn start(&self) -> &[(Name, Position)] {
        &self.start
    }

    fn end(&self) -> &[(Name, Position)] {
        &self.end
    }

    fn left(&self) -> Option<u64> {
        self.inner.left()
    }

    fn hold(&mut self, partitions: &[(Name, Option<i32>)]) {
        let held: Vec<_> =
            partitions.iter().map(|(name, partition)| (self.scope.add(name), *partition)).collect();
        self.inner.hold(&held);
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}

struct ScopedSubscription {
    inner: Box<dyn Subscription>,
    scope: Scope,
}

#[async_trait]
impl Subscription for ScopedSubscription {
    async fn receive(&self) -> Result<Received> {
        Ok(match self.inner.receive().await? {
            Received::Deliveries(deliveries) => {
                let cut = |delivery: Delivery| Delivery {
                    event: self.scope.cut_event(&delivery.event),
                    ..delivery
                };
                Received::Deliveries(deliveries.into_iter().map(cut).collect())
            }
            other => other,
        })
    }

    async fn settle(&self, items: Vec<(Token, Settlement)>) -> Result<Vec<Result<Option<Receipt>>>> {
        let add = |(token, settlement)| match settlement {
            Settlement::Move { event, only } => {
                let event = Box::new(self.scope.add_event(&event));
                (token, Settlement::Move { event, only: only.map(|name| self.scope.add_group(&name)) })
            }
            other => (token, other),
        };
        self.inner.settle(items.into_iter().map(add).collect()).await
    }

    async fn extend(&self, tokens: &[Token]) -> Result<()> {
        self.inner.extend(tokens).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}
