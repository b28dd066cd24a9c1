//! One stream: where it begins and ends, and a consumer of it.
//!
//! AMQP does not tell how long a stream is, but of each message where it lies: its ends are found by looking at the first
//! message and at the last chunk. What was written in compressed batches, which only the stream protocol does, is passed
//! over by the server.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};

use super::WINDOW;
use crate::broker::rabbitmq::error::About;
use crate::broker::rabbitmq::link::{Link, short};
use crate::broker::rabbitmq::message;
use crate::broker::{Kind, Result, Start, Stop};
use crate::event::{Event, Name, Position};

/// So long nothing comes of a stream only if there is nothing that AMQP could bring.
const SILENCE: Duration = Duration::from_secs(20);

/// The window of a look at the end, where a chunk may be long.
const PROBE: u16 = 10_000;
/// So often nothing new must be there, and so long apart, until that was all.
const QUIET: u32 = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// A stream that is read.
pub struct Lane {
    /// `stream:NAME`.
    pub topic: Name,
    /// Where it began to be read.
    pub start: i64,
    /// Where it ended when it was opened.
    pub end: i64,
    /// Before this it stops; `None`: never.
    pub stop: Option<i64>,
    /// Nothing of it is returned now.
    pub held: bool,
    next: i64,
    ahead: Option<Event>,
    channel: Channel,
    consumer: Option<Consumer>,
    about: About,
}

/// What there is of a stream: its first offset, and that behind its last.
async fn extent(link: &Link, about: &About, stream: &str) -> Result<(i64, i64)> {
    link.queue(about, stream).await?.ok_or_else(|| about.missing())?;
    let Some((first, _)) = probe(link, about, stream, "first").await? else { return Ok((0, 0)) };
    match probe(link, about, stream, "last").await? {
        Some((_, last)) => Ok((first, last + 1)),
        None => Ok((first, first)),
    }
}

/// The least and the greatest offset of what the server has from there on. What there is it sends before it answers the
/// next question on the channel, as far as the window goes.
async fn probe(link: &Link, about: &About, stream: &str, from: &str) -> Result<Option<(i64, i64)>> {
    let map = |error: lapin::Error| about.map(&error);
    let channel = link.channel(about).await?;
    let window = if from == "first" { 1 } else { PROBE };
    let mut consumer = consume(about, &channel, stream, AMQPValue::LongString(from.into()), window).await?;
    let (mut found, mut quiet): (Option<(i64, i64)>, u32) = (None, 0);
    while quiet < QUIET {
        channel.basic_qos(window, BasicQosOptions::default()).await.map_err(map)?;
        let mut seen = None;
        while let Some(Some(said)) = consumer.next().now_or_never() {
            let delivery = said.map_err(map)?;
            let at = offset(&delivery).ok_or_else(|| about.error(Kind::Unsupported, "is no stream"))?;
            let (least, most) = found.unwrap_or((at, at));
            found = Some((least.min(at), most.max(at)));
            seen = Some(delivery.delivery_tag);
        }
        match seen {
            Some(_) if from == "first" => break,
            Some(tag) => {
                quiet = 0;
                channel.basic_ack(tag, BasicAckOptions { multiple: true }).await.map_err(map)?;
            }
            None => {
                quiet += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(consumer);
    let _ = channel.close(200, short("done")).await;
    Ok(found)
}

fn offset(delivery: &Delivery) -> Option<i64> {
    message::to_event(&"".into(), delivery, Position::Unknown).1.offset
}

async fn consume(
    about: &About,
    channel: &Channel,
    stream: &str,
    from: AMQPValue,
    window: u16,
) -> Result<Consumer> {
    channel.basic_qos(window, BasicQosOptions::default()).await.map_err(|error| about.map(&error))?;
    let mut arguments = FieldTable::default();
    arguments.insert(short("x-stream-offset"), from);
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(short(stream), short(""), options, arguments).await;
    consuming.map_err(|error| about.map(&error))
}

fn unreadable(about: &About) -> crate::broker::Error {
    let message = "events are there that AMQP 0.9.1 does not bring: they were written in compressed batches";
    about.error(Kind::Broken, message).with_hint("only a client of the stream protocol reads them")
}

impl Lane {
    /// Finds where to begin and to end.
    pub async fn open(link: &Link, topic: &Name, stream: &str, start: &Start, stop: &Stop) -> Result<Lane> {
        let about = About::topic("reader", topic);
        let (first, end) = extent(link, &about, stream).await?;
        let channel = link.channel(&about).await?;
        let at = |places: &[(Name, Position)], behind: i64| {
            let place = places.iter().find(|(name, _)| name == topic).map(|(_, at)| at);
            match place {
                None => Ok(None),
                Some(at) => match at.offset() {
                    Some(offset) => Ok(Some(offset + behind)),
                    None => Err(about.error(Kind::Invalid, format!("'{at}' is no offset in a stream"))),
                },
            }
        };
        let stop = match stop {
            Stop::Never => None,
            Stop::Now => Some(end),
            Stop::At(places) => Some(at(places, 0)?.unwrap_or(end)),
        };
        let (begin, time) = match start {
            Start::Earliest => (first, None),
            Start::Latest => (end, None),
            Start::Last(n) => (end.saturating_sub(i64::try_from(*n).unwrap_or(i64::MAX)).max(first), None),
            Start::Time(time) => (first, Some(*time)),
            Start::At(places) => (at(places, 0)?.unwrap_or(end), None),
            Start::After(places) => (at(places, 1)?.unwrap_or(end), None),
        };
        if begin > end {
            let message = format!("position {begin} lies beyond its end, {end}");
            return Err(about.error(Kind::Invalid, message));
        }
        if begin < first {
            let message = format!("position {begin} is gone: the oldest kept is {first}");
            return Err(about.error(Kind::Gone, message).with_hint("--from beginning reads what is kept"));
        }
        let mut lane = Lane {
            topic: topic.clone(),
            start: begin,
            end,
            stop,
            held: false,
            next: begin,
            ahead: None,
            channel,
            consumer: None,
            about,
        };
        // One that is not named is not read.
        let unnamed = match start {
            Start::At(places) | Start::After(places) => places.iter().all(|(name, _)| name != topic),
            _ => false,
        };
        if unnamed {
            lane.stop = Some(begin);
        }
        if lane.is_over() {
            return Ok(lane);
        }
        let from = match time {
            None => AMQPValue::LongLongInt(begin),
            Some(time) => AMQPValue::Timestamp(u64::try_from(time.div_euclid(1000)).unwrap_or(0)),
        };
        lane.consumer = Some(consume(&lane.about, &lane.channel, stream, from, WINDOW).await?);
        if let Some(time) = time {
            lane.skip_to(time).await?;
        }
        Ok(lane)
    }

    /// The server begins with the chunk that the time falls into, by when events arrived. One without a time of its own
    /// is taken: nothing says that it is earlier.
    async fn skip_to(&mut self, time: i64) -> Result<()> {
        while self.next < self.end {
            let event = self.event().await?;
            if event.timestamp().is_none_or(|at| at >= time) {
                self.next = event.position().offset().unwrap_or(self.next);
                self.ahead = Some(event);
                break;
            }
        }
        self.start = self.next;
        Ok(())
    }

    /// Whether the stop is reached.
    pub fn is_over(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop)
    }

    /// Whether what was there at the beginning was returned.
    pub fn is_caught_up(&self) -> bool {
        self.next >= self.end
    }

    /// How many come before the stop, or were there at the beginning.
    pub fn left(&self) -> u64 {
        u64::try_from(self.stop.unwrap_or(self.end) - self.next).unwrap_or(0)
    }

    /// The next event. Cancel safe: only the client is waited for, and it keeps what it has.
    pub async fn event(&mut self) -> Result<Event> {
        if let Some(event) = self.ahead.take() {
            self.next = event.position().offset().unwrap_or(self.next) + 1;
            return Ok(event);
        }
        let Some(consumer) = &mut self.consumer else {
            return std::future::pending().await;
        };
        let waits = self.next < self.stop.unwrap_or(self.end);
        let said = match waits {
            true => {
                tokio::time::timeout(SILENCE, consumer.next()).await.map_err(|_| unreadable(&self.about))?
            }
            false => consumer.next().await,
        };
        match said {
            Some(Ok(delivery)) => {
                let (event, taken) = message::to_event(&self.topic, &delivery, Position::Unknown);
                self.next = taken.offset.map_or(self.next, |offset| offset + 1);
                // More comes as this is acknowledged; a stream keeps it all the same.
                let ack = self.channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default());
                let _ = Box::pin(ack).now_or_never();
                Ok(event)
            }
            Some(Err(error)) => Err(self.about.map(&error)),
            None => Err(self.about.error(Kind::NotFound, "was deleted")),
        }
    }
}
