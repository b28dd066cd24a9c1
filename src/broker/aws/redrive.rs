//! Putting back by SQS itself: `StartMessageMoveTask` and what is told of the task.
//!
//! Source: the SQS API reference (`StartMessageMoveTask`, `ListMessageMoveTasks`, `CancelMessageMoveTask`) and AWS's page on
//! troubleshooting a redrive. The queue must be the dead-letter queue of an SQS queue; a queue has one task at a time; a task's
//! handle is listed only while it runs; and a letter that SQS did not move there itself has no queue to go back to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::{ListMessageMoveTasksResultEntry as Task, QueueAttributeName as Attribute};
use tokio::time::Instant;

use super::client::Client;
use super::error::{About, Fault};
use super::name::{self, FIFO, Place, last_part};
use super::queues::arn_of;
use super::work::count;
use super::{groups, subscription};
use crate::broker::{Error, Kind, NativePlan, NativeProgress, NativeReplay, NativeState, NativeWish, Result};

/// What AWS allows.
const MOST_PER_SECOND: u64 = 500;
/// So many tasks are listed, the newest first: the most that there can be.
const LISTED: i32 = 10;
/// Between two tries, beyond those of the client.
const PAUSE: Duration = Duration::from_secs(1);

/// See [`Broker::native_replay`](crate::broker::Broker::native_replay).
pub async fn open(client: &Arc<Client>, dlq: &str, wish: NativeWish) -> Result<Box<dyn NativeReplay>> {
    const OPERATION: &str = "native_replay";
    let NativeWish { into, per_second } = wish;
    let about = About::topic(OPERATION, dlq);
    name::topic(OPERATION, dlq)?;
    let place = subscription::letters_place(&about, dlq)?;
    if let Some(many) = per_second.filter(|many| *many > MOST_PER_SECOND) {
        let message = format!("AWS moves at most {MOST_PER_SECOND} letters in a second, not {many}");
        return Err(about.error(Kind::Unsupported, message));
    }
    let url = client.queue_of(&about, &place).await?;
    let waiting = groups::waiting(client, &about, &url).await?.ok_or_else(|| about.missing())?;
    let sources = sources(client, &about, &url).await?;
    if sources.is_empty() {
        let message = "is the dead-letter queue of no SQS queue, and AWS itself only empties one that is";
        return Err(about
            .error(Kind::Unsupported, message)
            .with_hint("without --native evcat puts them back"));
    }
    let (into, target) = match into {
        None => (sources, None),
        Some(queue) => {
            let arn = target(client, &queue, place.is_fifo()).await?;
            (vec![queue], Some(arn))
        }
    };
    let queue = arn_of(&about, &waiting)?;
    let waiting = count(&waiting, &Attribute::ApproximateNumberOfMessages);
    let plan = NativePlan { waiting, into, under_way: None };
    let client = client.clone();
    let mut redrive = Redrive {
        client,
        about,
        queue,
        target,
        per_second,
        plan,
        before: Vec::new(),
        task: None,
        silent: None,
    };
    let tasks = redrive.tasks().await.map_err(|fault| redrive.about.fault(&fault))?;
    if let Some(running) = tasks.iter().find(|task| is_running(task)) {
        redrive.join(running)?;
        redrive.plan.under_way = Some(redrive.told(running)?);
    }
    redrive.before = tasks.iter().map(Task::started_timestamp).collect();
    Ok(Box::new(redrive))
}

/// The queues whose dead letters these are.
async fn sources(client: &Client, about: &About, url: &str) -> Result<Vec<crate::event::Name>> {
    let request = client.services(about).await?.sqs.list_dead_letter_source_queues().queue_url(url);
    let mut pages = request.into_paginator().items().send();
    let mut sources = Vec::new();
    while let Some(source) = pages.next().await {
        let source = source.map_err(|error| about.map(&error))?;
        sources.push(format!("queue:{}", last_part(&source)).as_str().into());
    }
    Ok(sources)
}

/// The ARN of the one queue that all go into.
async fn target(client: &Client, queue: &str, fifo: bool) -> Result<String> {
    let about = About::topic("native_replay", queue);
    name::topic("native_replay", queue)?;
    let place = Place::of(queue);
    if matches!(place, Place::Topic(_)) {
        let message = "is a topic, and AWS itself moves letters into queues only";
        return Err(about.error(Kind::Unsupported, message).with_hint("--into queue:NAME"));
    }
    if place.is_fifo() != fifo {
        let message =
            format!("AWS itself moves letters between queues that both end with {FIFO} or both do not");
        return Err(about.error(Kind::Unsupported, message));
    }
    let url = client.queue_of(&about, &place).await?;
    let attributes = client.attributes(&about, &url).await?.ok_or_else(|| about.missing())?;
    arn_of(&about, &attributes)
}

fn is_running(task: &Task) -> bool {
    matches!(task.status(), Some("RUNNING" | "CANCELLING"))
}

struct Redrive {
    client: Arc<Client>,
    about: About,
    /// The ARN of the queue.
    queue: String,
    /// The ARN of the one queue that all go into.
    target: Option<String>,
    per_second: Option<u64>,
    plan: NativePlan,
    /// When the tasks began that are none of ours.
    before: Vec<i64>,
    /// Ours: its handle, and when it began once that was told. AWS tells no handle of one that is being cancelled.
    task: Option<(Option<String>, Option<i64>)>,
    /// Since when nothing is told of it.
    silent: Option<Instant>,
}

impl Redrive {
    async fn tasks(&self) -> std::result::Result<Vec<Task>, Fault> {
        let services = self.client.services(&self.about).await.map_err(|error| Fault::from_ours(&error))?;
        let request = services.sqs.list_message_move_tasks().source_arn(&self.queue).max_results(LISTED);
        let answer = request.send().await.map_err(|error| Fault::of(&error))?;
        Ok(answer.results.unwrap_or_default())
    }

    /// Goes on with a task that is under way, if it does what is wished.
    fn join(&mut self, task: &Task) -> Result<()> {
        if task.destination_arn() != self.target.as_deref() {
            let where_to = task.destination_arn().map_or("where they came from", last_part);
            let message = format!("AWS moves them already, and elsewhere: to {where_to}");
            let stop = "aws sqs cancel-message-move-task --task-handle HANDLE";
            return Err(self.about.error(Kind::Rejected, message).with_hint(format!(
                "wait for its end, or end it: {stop} (aws sqs list-message-move-tasks --source-arn {} tells it)",
                self.queue
            )));
        }
        self.task = Some((task.task_handle().map(str::to_owned), Some(task.started_timestamp())));
        Ok(())
    }

    /// Ours among those that are listed.
    fn ours<'a>(&self, tasks: &'a [Task]) -> Option<&'a Task> {
        let (handle, began) = self.task.as_ref()?;
        let is_ours = |task: &&Task| match began {
            Some(began) => task.started_timestamp() == *began,
            None => {
                (handle.is_some() && task.task_handle() == handle.as_deref())
                    || !self.before.contains(&task.started_timestamp())
            }
        };
        tasks.iter().find(is_ours)
    }

    /// What is told of a task.
    fn told(&self, task: &Task) -> Result<NativeProgress> {
        let state = match task.status() {
            Some("RUNNING" | "CANCELLING") => NativeState::Running,
            Some("COMPLETED") => NativeState::Completed,
            Some("CANCELLED") => NativeState::Cancelled,
            Some("FAILED") => failed(task.failure_reason().unwrap_or_default()),
            other => {
                let message = format!("the state of its task is none that is known: {other:?}");
                return Err(self.about.error(Kind::Broken, message));
            }
        };
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(NativeProgress {
            moved: number(task.approximate_number_of_messages_moved()),
            total: task.approximate_number_of_messages_to_move().map(number),
            state,
        })
    }

    /// Nothing was told; an error when that has lasted too long.
    fn nothing_told(&mut self, why: Error) -> Result<()> {
        let now = Instant::now();
        let since = *self.silent.get_or_insert(now);
        let patient = self.client.settings.timeout.is_none_or(|most| now - since < most);
        if patient { Ok(()) } else { Err(why.with_hint(self.goes_on())) }
    }

    fn goes_on(&self) -> String {
        format!(
            "the task may go on at AWS: aws sqs list-message-move-tasks --source-arn {}; or the same command, which joins it",
            self.queue
        )
    }
}

/// Why a task ended by itself.
fn failed(reason: &str) -> NativeState {
    let into =
        "all of them into one queue: --native --into queue:NAME; or without --native, and evcat puts back";
    let (why, hint) = match reason.rsplit('.').next().unwrap_or_default() {
        "CouldNotDetermineMessageSource" => (
            "one of them was not moved there by SQS itself but sent (by evcat, SNS, Lambda, a program), so that AWS does \
             not know its queue"
                .to_owned(),
            into,
        ),
        "NonExistentQueue" | "QueueDoesNotExist" => ("the queue that one of them is from is gone".to_owned(), into),
        code if code.starts_with("AccessDenied") || code.starts_with("Kms") || code.starts_with("KMS") => (
            format!("AWS may not move them ({code})"),
            "needed: sqs:StartMessageMoveTask, sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes of the \
             dead letters, sqs:SendMessage where they go, and kms:Decrypt and kms:GenerateDataKey where a queue is encrypted",
        ),
        "" => ("AWS does not say why".to_owned(), into),
        _ => (format!("AWS says: {reason}"), into),
    };
    NativeState::Failed(why, Some(hint.to_owned()))
}

#[async_trait]
impl NativeReplay for Redrive {
    fn plan(&self) -> &NativePlan {
        &self.plan
    }

    async fn start(&mut self) -> Result<()> {
        if self.task.is_some() {
            return Ok(());
        }
        let services = self.client.services(&self.about).await?;
        let request = services.sqs.start_message_move_task().source_arn(&self.queue);
        let request = request.set_destination_arn(self.target.clone());
        let per_second = self.per_second.and_then(|many| i32::try_from(many).ok());
        match request.set_max_number_of_messages_per_second(per_second).send().await {
            Ok(started) => self.task = Some((started.task_handle, None)),
            Err(error) => {
                let error = self.about.map(&error);
                // Somebody was faster; or it is ours, and its answer was lost.
                let tasks = self.tasks().await.unwrap_or_default();
                let Some(running) = tasks.iter().find(|task| is_running(task)) else { return Err(error) };
                self.join(running)?;
            }
        }
        Ok(())
    }

    async fn progress(&mut self) -> Result<NativeProgress> {
        loop {
            let why = match self.tasks().await {
                Ok(tasks) => match self.ours(&tasks) {
                    Some(task) => {
                        let (told, began) = (self.told(task)?, task.started_timestamp());
                        self.silent = None;
                        if let Some((_, known)) = &mut self.task {
                            *known = Some(began);
                        }
                        return Ok(told);
                    }
                    None => {
                        self.about.error(Kind::Unreachable, "AWS does not tell of the task that was begun")
                    }
                },
                Err(fault) if fault.again => self.about.fault(&fault),
                Err(fault) => return Err(self.about.fault(&fault).with_hint(self.goes_on())),
            };
            self.nothing_told(why)?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn cancel(&mut self) -> Result<()> {
        let Some((handle, _)) = &self.task else { return Ok(()) };
        let handle = match handle {
            Some(handle) => handle.clone(),
            None => {
                let tasks = self.tasks().await.map_err(|fault| self.about.fault(&fault))?;
                let ours = self.ours(&tasks);
                // Somebody else is ending it, or it has ended.
                if ours.is_some_and(|task| task.status() != Some("RUNNING")) {
                    return Ok(());
                }
                let told = ours.and_then(|task| task.task_handle().map(str::to_owned));
                told.ok_or_else(|| {
                    let message = "AWS tells no handle of its task, without which it cannot be ended";
                    self.about.error(Kind::Rejected, message).with_hint(self.goes_on())
                })?
            }
        };
        let services = self.client.services(&self.about).await?;
        let Err(error) = services.sqs.cancel_message_move_task().task_handle(handle).send().await else {
            return Ok(());
        };
        let error = self.about.map(&error);
        // One that has just ended cannot be cancelled.
        match self.progress().await?.state {
            NativeState::Running => Err(error.with_hint(self.goes_on())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_task_failed_is_told_in_words_with_what_to_do() {
        let words = |reason: &str| match failed(reason) {
            NativeState::Failed(why, hint) => format!("{why} / {}", hint.unwrap_or_default()),
            other => panic!("{other:?}"),
        };
        assert!(words("CouldNotDetermineMessageSource").contains("--into queue:NAME"));
        assert!(words("AWS.SimpleQueueService.NonExistentQueue").contains("is gone"));
        assert!(words("AccessDenied").contains("sqs:SendMessage where they go"));
        assert!(words("Else").contains("AWS says: Else"));
    }
}
