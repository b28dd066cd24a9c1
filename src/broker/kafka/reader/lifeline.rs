//! Whether the broker is still there. The library tries again for ever and says nothing where events just do not come; so
//! once it has told of trouble with a connection, or nothing has come for long though something must, the broker is
//! asked something, which is answered within the patience or not at all.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::super::admin::LATEST;
use super::super::client::Client;
use super::super::error::{About, Trouble};
use super::super::places;
use super::super::sys::Code;
use super::intake::LaneTrouble;
use super::lane::Lane;
use crate::broker::{Error, Kind, Result};

/// What has to come should have by then.
const QUIET: Duration = Duration::from_secs(1);

/// How long until what a leader has is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// The connection of one reader.
pub struct Lifeline {
    client: Client,
    heard: watch::Receiver<u64>,
    asking: Option<BoxFuture<'static, Result<()>>>,
}

impl Lifeline {
    /// Of this client.
    pub fn new(client: &Client) -> Lifeline {
        Lifeline { client: client.clone(), heard: client.news().heard(), asking: None }
    }

    /// Waits until there is a reason to give up, and answers it. `expecting`: something of these lanes has to come.
    /// Behaviour: cancel safe; what was asked is answered in a later call.
    pub async fn broken(&mut self, lanes: &[Lane], expecting: bool) -> Error {
        let Lifeline { client, heard, asking } = self;
        let asked = async {
            loop {
                if let Some(answer) = asking {
                    let answer = answer.await;
                    *asking = None;
                    match answer {
                        Ok(()) => {}
                        Err(error) => return error,
                    }
                }
                let quiet = async {
                    match expecting {
                        true => tokio::time::sleep(QUIET).await,
                        false => std::future::pending().await,
                    }
                };
                tokio::select! {
                    // Fails only without its sender, which lives as long as the client.
                    _ = heard.changed() => {}
                    () = quiet => {}
                }
                *asking = Some(ask(client, lanes));
            }
        };
        tokio::select! {
            error = asked => error,
            trouble = client.refused() => trouble.error(&About::new("read", ""), client),
        }
    }
}

/// Something that the brokers of these lanes have to answer.
fn ask(client: &Client, lanes: &[Lane]) -> BoxFuture<'static, Result<()>> {
    let read = lanes.iter().filter(|lane| !lane.is_done());
    let asked: Vec<_> = read.map(|lane| (lane.topic.clone(), lane.partition)).collect();
    let client = client.clone();
    async move { places::ask(&client, "read", &asked, LATEST).await.map(drop).map_err(deleted) }.boxed()
}

/// A topic that was there at opening and is not now.
pub fn deleted(error: Error) -> Error {
    if error.kind() != Kind::NotFound {
        return error;
    }
    Error::new(Kind::Gone, "read", error.detail().subject.clone(), "was deleted while it was read")
}

/// What is to be said of a lane's trouble, and where its events are gone what is still kept. `Ok`: the leader has what was
/// said not to be there, as a broker says that is behind. Reading can go on.
pub async fn explain(client: Client, lane: Lane, trouble: LaneTrouble) -> Result<()> {
    let LaneTrouble { at: _, trouble } = trouble;
    let subject = lane.subject();
    Err(match trouble.code {
        Code::LOCAL_AUTO_OFFSET_RESET | Code::OFFSET_OUT_OF_RANGE => {
            let places = [(lane.topic.clone(), lane.partition)];
            let (first, end) = tokio::join!(
                places::ask(&client, "read", &places, super::super::admin::EARLIEST),
                places::ask(&client, "read", &places, LATEST),
            );
            let at =
                |answer: Result<Vec<_>>| answer.map(|all: Vec<super::super::admin::Offset>| all[0].offset);
            match (at(first), at(end)) {
                (Err(error), _) | (_, Err(error)) => deleted(error),
                (Ok(first), _) if lane.next < first => {
                    places::gone("read", &lane.topic, lane.partition, lane.next, first)
                }
                (_, Ok(end)) if lane.next <= end => {
                    tracing::debug!(subject, lane.next, "{}", trouble.words);
                    tokio::time::sleep(AGAIN).await;
                    return Ok(());
                }
                (_, Ok(end)) => {
                    let message = format!("was cut off at {end} while it was read, at {}", lane.next);
                    Error::new(Kind::Gone, "read", subject, message)
                        .with_hint("a broker that was behind became the leader, or the topic was made anew")
                }
            }
        }
        Code::LOCAL_BAD_MSG => {
            let message = format!("what lies at {} is damaged: {}", lane.next, trouble.words);
            Error::new(Kind::Broken, "read", subject, client.news().masked(&message)).with_hint(format!(
                "--from {}:{} reads what follows",
                lane.partition,
                lane.next + 1
            ))
        }
        _ => deleted(trouble_of(&client, &lane, trouble)),
    })
}

fn trouble_of(client: &Client, lane: &Lane, trouble: Trouble) -> Error {
    trouble.error(&About::topic("read", &lane.topic), client)
}
