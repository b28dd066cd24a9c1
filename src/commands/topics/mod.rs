//! `evcat topics`: what there is, and making and deleting it.

mod list;

use clap::{Args, Subcommand, ValueEnum};

use crate::broker::abilities;
use crate::outcome::{Failure, Outcome};
use crate::output::{Stdout, confirm};
use crate::session::Session;

pub(in crate::commands) use list::{
    count, holds_dead_letters, literal, perhaps_meant, print, unknown as unknown_topic,
};

/// List, describe, make and delete topics
#[derive(Debug, Args)]
pub struct TopicsArgs {
    #[command(subcommand)]
    command: TopicsCommand,
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// The topics, with their size, age, groups and dead letters
    List(ListArgs),
    /// All that the broker tells of one topic
    Describe(DescribeArgs),
    /// Make a topic
    Create(CreateArgs),
    /// Delete a topic, its events and its groups
    Delete(DeleteArgs),
    /// Remove the temporary things that a killed evcat left behind
    Gc(GcArgs),
}

/// How a table is printed: aligned for people, or one JSON object per line.
#[allow(missing_docs)] // a comment on each would spread every --help over twice the lines
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    #[default]
    Human,
    Json,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only topics with such a name; dead-letter topics are listed only where a pattern is given
    #[arg(value_name = "GLOB")]
    pattern: Option<String>,
    /// How to print: a table, or one JSON object per line
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "human")]
    output: TableFormat,
}

#[derive(Debug, Args)]
struct DescribeArgs {
    /// The topic
    topic: String,
    /// How to print: a table, or one JSON object per line
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "human")]
    output: TableFormat,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Its name
    name: String,
    /// How many partitions, where the broker has them
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// Keep events so long (`7d`), or so many (`100000`); without it for ever, or as long as the broker likes
    #[arg(long, value_name = "DUR|COUNT")]
    retention: Option<String>,
    /// Acknowledge an event whose id was seen within that time as a duplicate, and do not store it again
    #[arg(long, value_name = "DUR")]
    dedup: Option<String>,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// The topic
    topic: String,
    /// Do it without a question
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct GcArgs {
    /// Do it without a question
    #[arg(long)]
    yes: bool,
}

/// Runs it.
pub async fn run(args: TopicsArgs, session: &Session) -> anyhow::Result<Outcome> {
    match args.command {
        TopicsCommand::List(ListArgs { pattern, output }) => list::list(session, pattern, output).await,
        TopicsCommand::Describe(DescribeArgs { topic, output }) => {
            list::describe(session, &topic, output).await
        }
        TopicsCommand::Create(args) => create(session, args).await,
        TopicsCommand::Delete(args) => delete(session, args).await,
        TopicsCommand::Gc(args) => gc(session, args).await,
    }
}

async fn create(session: &Session, args: CreateArgs) -> anyhow::Result<Outcome> {
    let CreateArgs { name, partitions, retention, dedup } = args;
    let mut needs = vec![("topics create", &abilities::CREATE_TOPICS)];
    let mut options = Vec::new();
    if let Some(partitions) = partitions {
        needs.push(("--partitions", &abilities::PARTITIONS));
        options.push(("partitions".to_owned(), partitions.to_string()));
    }
    if let Some(retention) = retention {
        options.push(("retention".to_owned(), retention));
    }
    if let Some(dedup) = dedup {
        needs.push(("--dedup", &abilities::DEDUP));
        options.push(("dedup".to_owned(), dedup));
    }
    session.guard(&needs, &name)?;
    session.writable("topics create")?;
    session.broker.create_topic(&name, &options).await?;
    session.ui.status(format_args!("made {name} on {}", session.endpoint.name));
    Ok(Outcome::Done)
}

async fn delete(session: &Session, args: DeleteArgs) -> anyhow::Result<Outcome> {
    let DeleteArgs { topic, yes } = args;
    session.writable("topics delete")?;
    let found = session.broker.topics(&literal(&topic)).await?;
    let Some(info) = found.first() else { return Err(unknown_topic(session, &topic).await.into()) };
    let groups = session.broker.groups(&literal(&topic)).await?.len();
    let events = info.waiting.map_or(String::from("its"), |count| crate::output::words::count(count.events));
    let broker = &session.endpoint.name;
    let question = format!("Delete {topic} on {broker}, {events} events and {groups} groups?");
    if !confirm(&session.ui, yes, &question).await? {
        return Err(Failure::failed("nothing was deleted").into());
    }
    session.broker.delete_topic(&topic).await?;
    session.ui.status(format_args!("deleted {topic} on {broker}"));
    Ok(Outcome::Done)
}

async fn gc(session: &Session, args: GcArgs) -> anyhow::Result<Outcome> {
    let GcArgs { yes } = args;
    session.writable("topics gc")?;
    let left: Vec<_> = session.broker.topics("*").await?.into_iter().filter(|t| t.temporary).collect();
    if left.is_empty() {
        session.ui.status(format_args!("nothing was left behind on {}", session.endpoint.name));
        return Ok(Outcome::Done);
    }
    let mut out = Stdout::open()?;
    out.write(left.iter().map(|t| format!("{}\n", t.name)).collect::<String>().into_bytes()).await?;
    out.flush().await?;
    if !confirm(&session.ui, yes, &format!("Remove these {} from {}?", left.len(), session.endpoint.name))
        .await?
    {
        return Err(Failure::failed("nothing was removed").into());
    }
    for topic in &left {
        session.broker.delete_topic(&topic.name).await?;
    }
    session.ui.status(format_args!("removed {}", left.len()));
    Ok(Outcome::Done)
}
