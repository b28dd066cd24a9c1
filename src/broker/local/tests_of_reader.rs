//! What a reader makes of files that changed or broke under it. Starts and stops are proved by the conformance suite.

use std::sync::Arc;

use super::file::{Bell, Durability};
use super::log::{self, row_id};
use super::settled;
use super::testing::{Bench, event, text};
use crate::broker::{Broker, Error, Kind, Read, ReadOptions, Reader, Start, Stop};
use crate::event::Position;

fn options(topics: &[&str], start: Start, stop: Stop) -> ReadOptions {
    let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
    ReadOptions { topics, partition: None, start, stop, unsettled: false }
}

async fn all(mut reader: Box<dyn Reader>) -> Result<Vec<String>, Error> {
    let mut texts = vec![];
    loop {
        match reader.next().await? {
            Read::Events(events) => texts.extend(events.iter().map(text)),
            Read::CaughtUp => {}
            Read::End => return Ok(texts),
        }
    }
}

impl Bench {
    async fn read(&self, options: ReadOptions) -> Result<Vec<String>, Error> {
        all(self.broker.reader(options).await?).await
    }

    /// 3,000 events of 100 bytes.
    async fn filled(&self) {
        self.offsets((0..3000).map(|i| event("t", &format!("{i:0100}"), None)).collect()).await;
    }

    fn change(&self, statement: &str, id: i64) {
        let change = |sql: &rusqlite::Connection| Ok(sql.execute(statement, [id])?);
        assert_eq!(self.store().write(Durability::Power, Bell::Ring, change).unwrap(), 1);
    }

    /// The second block of topic 1: its id, first offset and end.
    fn second_block(&self) -> (i64, i64, i64) {
        let find = "SELECT id, n FROM block WHERE id > ?1 ORDER BY id LIMIT 1";
        let row = |row: &rusqlite::Row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let (id, n) = self.store().sql().query_row(find, [row_id(1, 0)], row).unwrap();
        (id, log::offset_of(id), log::offset_of(id) + n)
    }
}

#[tokio::test]
async fn damage_is_named_and_read_on_behind() {
    for statement in [
        "UPDATE block SET data = CAST(substr(data, 1, 99) || x'00' || substr(data, 101) AS BLOB) WHERE id=?1",
        "DELETE FROM block WHERE id=?1",
    ] {
        let bench = Bench::new();
        bench.filled().await;
        let (id, first, end) = bench.second_block();
        bench.change(statement, id);
        let mut reader = bench.broker.reader(options(&["t"], Start::Earliest, Stop::Now)).await.unwrap();
        let mut sound = 0;
        let error = loop {
            match reader.next().await {
                Ok(Read::Events(events)) => sound += events.len() as i64,
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(sound, first, "all that can be read before it comes first");
        assert_eq!(error.kind(), Kind::Broken);
        assert!(error.to_string().contains(&format!("{first} to {}", end - 1)), "{error}");
        assert!(error.detail().hint.as_ref().unwrap().contains(&format!("--from {end}")), "{error:?}");
        let at = Start::At(vec![("t".into(), Position::Offset(end))]);
        let rest = bench.read(options(&["t"], at, Stop::Now)).await.unwrap();
        assert_eq!(rest.len() as i64, 3000 - end);
        let before = Stop::At(vec![("t".into(), Position::Offset(first))]);
        let before = bench.read(options(&["t"], Start::Earliest, before)).await.unwrap();
        assert_eq!(before.len() as i64, first);
    }
}

#[tokio::test]
async fn history_that_is_gone_is_counted() {
    let bench = Bench::new();
    bench.broker.create_topic("t", &[("retention".into(), "1000".into())]).await.unwrap();
    bench.filled().await;
    let at = |offset| Start::At(vec![("t".into(), Position::Offset(offset))]);
    let error = bench.read(options(&["t"], at(500), Stop::Now)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Gone);
    assert!(error.to_string().contains("1500 events from 500"), "{error}");
    assert_eq!(bench.read(options(&["t"], at(2000), Stop::Now)).await.unwrap().len(), 1000);
    assert_eq!(bench.read(options(&["t"], Start::Earliest, Stop::Now)).await.unwrap().len(), 1000);
    assert_eq!(bench.read(options(&["t"], Start::Last(5000), Stop::Now)).await.unwrap().len(), 1000);
    let before = bench.read(options(&["t"], Start::Time(0), Stop::Now)).await.unwrap();
    assert_eq!(before.len(), 1000, "a time before the first event is its beginning");
}

#[tokio::test]
async fn retention_that_overtakes_a_reader_is_told() {
    let bench = Bench::new();
    bench.broker.create_topic("t", &[("retention".into(), "1000".into())]).await.unwrap();
    bench.filled().await;
    let reader = bench.broker.reader(options(&["t"], Start::Earliest, Stop::Never)).await.unwrap();
    // It reads a few batches ahead and then waits for us.
    for _ in 0..20 {
        bench.filled().await;
    }
    let error = all(reader).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Gone, "{error}");
}

#[tokio::test]
async fn settled_dead_letters_are_left_out_and_do_not_count() {
    let bench = Bench::new();
    bench.filled().await;
    let settle = |sql: &rusqlite::Connection| {
        (0..3000).filter(|offset| ![0, 7, 2999].contains(offset)).try_for_each(|o| settled::add(sql, 1, o))
    };
    bench.store().write(Durability::Process, Bell::Ring, settle).unwrap();
    let unsettled = |start| ReadOptions { unsettled: true, ..options(&["t"], start, Stop::Now) };
    let reader = bench.broker.reader(unsettled(Start::Earliest)).await.unwrap();
    assert_eq!(reader.left(), Some(3));
    let texts: Vec<_> = [0, 7, 2999].map(|i| format!("{i:0100}")).into();
    assert_eq!(all(reader).await.unwrap(), texts);
    assert_eq!(bench.read(unsettled(Start::Last(2))).await.unwrap(), texts[1..]);
    let info = bench.broker.topics("t").await.unwrap().remove(0);
    assert_eq!(info.waiting.unwrap().events, 3);
}

#[tokio::test]
async fn a_topic_that_is_made_later_is_read_from_its_beginning() {
    let bench = Bench::new();
    let missing = bench.read(options(&["t"], Start::Earliest, Stop::Now)).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
    assert!(!bench.place.path.exists(), "looking makes nothing");
    let mut reader = bench.broker.reader(options(&["t"], Start::Latest, Stop::Never)).await.unwrap();
    assert!(matches!(reader.next().await.unwrap(), Read::CaughtUp));
    bench.offsets(vec![event("t", "first", None)]).await;
    let Read::Events(events) = reader.next().await.unwrap() else { panic!("the event comes") };
    assert_eq!(text(&events[0]), "first");
    assert!(matches!(reader.next().await.unwrap(), Read::CaughtUp));
    bench.broker.delete_topic("t").await.unwrap();
    bench.offsets(vec![event("t", "again", None)]).await;
    let Read::Events(events) = reader.next().await.unwrap() else { panic!("the event comes") };
    assert_eq!((text(&events[0]).as_str(), events[0].position()), ("again", &Position::Offset(0)));
}
