//! What is said to a queue of messages that are ours: ten at a time, and each answered by itself.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use futures_util::StreamExt;

use super::client::{AT_A_TIME, Client, Services};
use super::desk::{Source, Ticket};
use super::error::Fault;

/// So many go together.
const TOGETHER: usize = 10;
/// So often it is tried, and the first pause between two tries; twelve seconds in all.
const TRIES: u32 = 7;
const PAUSE: Duration = Duration::from_millis(200);

/// What is to be done with messages.
#[derive(Clone, Copy)]
pub enum What {
    /// They are done.
    Delete,
    /// Nobody else gets them for so many seconds from now.
    Hide(i32),
}

/// How it went with one.
pub type Done = Result<(), Fault>;

/// Does it to all, and says how it went with each, in their order. All of it may be done twice.
pub async fn tell(
    client: &Client,
    services: &Services,
    sources: &[Source],
    tickets: &[Ticket],
    what: What,
) -> Vec<Done> {
    let mut by_source: HashMap<usize, Vec<usize>> = HashMap::new();
    for (at, ticket) in tickets.iter().enumerate() {
        by_source.entry(ticket.source).or_default().push(at);
    }
    let chunks: Vec<(usize, Vec<usize>)> = by_source
        .into_iter()
        .flat_map(|(source, all)| {
            all.chunks(TOGETHER).map(|chunk| (source, chunk.to_vec())).collect::<Vec<_>>()
        })
        .collect();
    let told = futures_util::stream::iter(chunks)
        .map(|(source, chunk)| async move {
            let url = &sources[source].url;
            let done = tell_chunk(client, services, url, tickets, &chunk, what).await;
            chunk.into_iter().zip(done).collect::<Vec<_>>()
        })
        .buffer_unordered(AT_A_TIME)
        .collect::<Vec<_>>()
        .await;
    let mut told: Vec<(usize, Done)> = told.into_iter().flatten().collect();
    told.sort_unstable_by_key(|(at, _)| *at);
    told.into_iter().map(|(_, done)| done).collect()
}

async fn tell_chunk(
    client: &Client,
    services: &Services,
    url: &str,
    tickets: &[Ticket],
    chunk: &[usize],
    what: What,
) -> Vec<Done> {
    let mut answers: Vec<Option<Done>> = chunk.iter().map(|_| None).collect();
    for attempt in 1..=TRIES {
        let open: Vec<usize> = (0..chunk.len())
            .filter(|at| match &answers[*at] {
                None => true,
                Some(Err(fault)) => fault.again,
                Some(Ok(())) => false,
            })
            .collect();
        if open.is_empty() {
            break;
        }
        if attempt > 1 {
            let pause = PAUSE.saturating_mul(1 << (attempt - 2));
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
        let handles: Vec<(usize, &str)> =
            open.iter().map(|at| (*at, tickets[chunk[*at]].handle.as_str())).collect();
        let failed = match what {
            What::Delete => delete(services, url, &handles).await,
            What::Hide(seconds) => hide(services, url, &handles, seconds).await,
        };
        match failed {
            Ok(mut failed) => {
                failed.values().for_each(|fault| client.heed(fault));
                for at in open {
                    answers[at] = Some(failed.remove(&at.to_string()).map_or(Ok(()), Err));
                }
            }
            Err(fault) => {
                client.heed(&fault);
                for at in open {
                    answers[at] = Some(Err(fault.clone()));
                }
            }
        }
    }
    answers.into_iter().map(|answer| answer.unwrap_or(Ok(()))).collect()
}

type Failed = Result<HashMap<String, Fault>, Fault>;

fn failures(failed: &[BatchResultErrorEntry]) -> HashMap<String, Fault> {
    let fault = |one: &BatchResultErrorEntry| Fault::said(one.code(), one.message().unwrap_or_default());
    failed.iter().map(|one| (one.id().to_owned(), fault(one))).collect()
}

fn invalid(error: &dyn std::error::Error) -> Fault {
    Fault::said("InvalidParameter", &error.to_string())
}

async fn delete(services: &Services, url: &str, handles: &[(usize, &str)]) -> Failed {
    let entry = |(at, handle): &(usize, &str)| {
        DeleteMessageBatchRequestEntry::builder().id(at.to_string()).receipt_handle(*handle).build()
    };
    let entries = handles.iter().map(entry).collect::<Result<Vec<_>, _>>().map_err(|e| invalid(&e))?;
    let request = services.sqs_once.delete_message_batch().queue_url(url).set_entries(Some(entries));
    request.send().await.map(|answer| failures(answer.failed())).map_err(|error| Fault::of(&error))
}

async fn hide(services: &Services, url: &str, handles: &[(usize, &str)], seconds: i32) -> Failed {
    let entry = |(at, handle): &(usize, &str)| {
        ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(at.to_string())
            .receipt_handle(*handle)
            .visibility_timeout(seconds)
            .build()
    };
    let entries = handles.iter().map(entry).collect::<Result<Vec<_>, _>>().map_err(|e| invalid(&e))?;
    let request =
        services.sqs_once.change_message_visibility_batch().queue_url(url).set_entries(Some(entries));
    request.send().await.map(|answer| failures(answer.failed())).map_err(|error| Fault::of(&error))
}
