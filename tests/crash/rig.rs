//! The program's own broker, driven in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evcat::broker::*;
use evcat::event::{Batch, Event, Headers, Name, Position};

/// Runs one test's future.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(300), future).await.expect("it ends") })
}

/// The local broker on this file.
pub fn open(path: &Path) -> Arc<dyn Broker> {
    let location = Location { scheme: "local".into(), rest: path.display().to_string() };
    let surroundings = Surroundings {
        clock: Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64),
        timeout: Some(Duration::from_secs(20)),
        options: Vec::new(),
        data_dir: path.parent().unwrap().to_owned(),
    };
    evcat::broker::open(&location, surroundings).unwrap()
}

/// Events of one topic.
pub fn events(topic: &str, parts: impl IntoIterator<Item = (String, String)>) -> Vec<Event> {
    let (topic, mut batch): (Name, _) = (topic.into(), Batch::default());
    for (key, payload) in parts {
        let (key, payload) = (Some(key.as_bytes()), Some(payload.as_bytes()));
        batch.push(&topic, key, Headers::default(), payload, None, Position::Unknown);
    }
    batch.finish().to_vec()
}

/// Publishes, and fails unless all of it was acknowledged.
pub async fn publish(publisher: &dyn Publisher, events: Vec<Event>) -> Vec<Receipt> {
    publisher.send(events.into()).await.into_iter().map(Result::unwrap).collect()
}

/// The payloads of a topic from its beginning to its end as it is now.
pub async fn read(broker: &Arc<dyn Broker>, topic: &str) -> Result<Vec<String>> {
    let options = ReadOptions {
        topics: vec![topic.into()],
        partition: None,
        start: Start::Earliest,
        stop: Stop::Now,
        unsettled: false,
    };
    let mut reader = broker.reader(options).await?;
    let mut all = Vec::new();
    loop {
        match reader.next().await? {
            Read::Events(events) => all.extend(events.iter().map(text)),
            Read::CaughtUp => {}
            Read::End => break,
        }
    }
    reader.close().await?;
    Ok(all)
}

/// The payload as text.
pub fn text(event: &Event) -> String {
    String::from_utf8_lossy(event.payload().unwrap_or_default()).into_owned()
}

/// A member of group `g` on a topic.
pub async fn member(broker: &Arc<dyn Broker>, topic: &str, in_flight: usize) -> Box<dyn Subscription> {
    let source = Source::Group { topics: vec![topic.into()], group: "g".into() };
    broker.create_group(&source, &Start::Earliest, Some("letters")).await.unwrap();
    broker.subscription(source, options(in_flight)).await.unwrap()
}

/// A run over these dead letters.
pub async fn a_run(broker: &Arc<dyn Broker>, letters: &str, chosen: Vec<Position>) -> Box<dyn Subscription> {
    let source = Source::DeadLetters { dlq: letters.into(), chosen: Some(chosen) };
    broker.subscription(source, options(100)).await.unwrap()
}

fn options(in_flight: usize) -> SubscribeOptions {
    SubscribeOptions {
        stop: Stop::Never,
        in_flight,
        lease: Duration::from_secs(60),
        grace: Duration::from_secs(5),
        ordered: true,
    }
}

/// The next deliveries.
pub async fn deliveries(member: &dyn Subscription) -> Vec<Delivery> {
    loop {
        match member.receive().await.unwrap() {
            Received::Deliveries(some) => return some,
            Received::Revoking(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
