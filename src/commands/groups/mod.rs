//! `evcat groups`: who reads what, how far behind, and moving them.

mod lag;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::broker::{GroupInfo, ReadOptions, Source, Start, Stop, abilities};
use crate::commands::names::usual_dlq;
use crate::commands::topics::{TableFormat, count, literal, perhaps_meant, print, unknown_topic};
use crate::event::{Name, Position};
use crate::outcome::{Failure, Outcome};
use crate::output::table::{Column, Table};
use crate::output::{confirm, words};
use crate::session::Session;
use crate::settings::point::{self, Point};

/// List, make, move and delete groups, and tell their lag
#[derive(Debug, Args)]
pub struct GroupsArgs {
    #[command(subcommand)]
    command: GroupsCommand,
}

#[derive(Debug, Subcommand)]
enum GroupsCommand {
    /// The groups, with their members and lag
    List(ListArgs),
    /// Make a group on topics, so that it gets what is published from now on
    Create(CreateArgs),
    /// How far behind each group is
    #[command(after_help = lag::EXAMPLES)]
    Lag(lag::LagArgs),
    /// Move a group to another place in its topics; refused while members are at work
    Seek(SeekArgs),
    /// Delete a group from all its topics
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only groups with such a name
    #[arg(value_name = "GLOB", default_value = "*")]
    pattern: String,
    /// How to print: a table, or one JSON object per line
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "human")]
    output: TableFormat,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The group
    group: String,
    /// The topics it reads
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Where it starts: beginning, now, 10m (ago), a time, a date, a position
    #[arg(long, value_name = "POINT", value_parser = point::parse, default_value = "now")]
    from: Vec<Point>,
    /// A pattern of the keys that it gets of a RabbitMQ exchange
    #[arg(long, value_name = "PATTERN")]
    binding: Vec<String>,
}

impl GroupsArgs {
    /// `--binding`: what the broker has to know when it is opened.
    pub fn binding(&self) -> &[String] {
        match &self.command {
            GroupsCommand::Create(args) => &args.binding,
            _ => &[],
        }
    }
}

#[derive(Debug, Args)]
struct SeekArgs {
    /// The group
    group: String,
    /// Its topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Where it goes on: beginning, now, 10m (ago), a time, a date, a position
    #[arg(long, alias = "since", value_name = "POINT", value_parser = point::parse, required = true)]
    from: Vec<Point>,
    /// Say from where to where, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do it without a question
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// The group
    group: String,
    /// Only from these topics
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Do it without a question
    #[arg(long)]
    yes: bool,
}

/// Runs it.
pub async fn run(args: GroupsArgs, session: &Session) -> anyhow::Result<Outcome> {
    match args.command {
        GroupsCommand::List(args) => list(session, args).await,
        GroupsCommand::Create(args) => create(session, args).await,
        GroupsCommand::Lag(args) => lag::run(session, args).await,
        GroupsCommand::Seek(args) => seek(session, args).await,
        GroupsCommand::Delete(args) => delete(session, args).await,
    }
}

async fn list(session: &Session, args: ListArgs) -> anyhow::Result<Outcome> {
    let ListArgs { pattern, output } = args;
    let matcher = globset::Glob::new(&pattern)
        .map_err(|e| Failure::usage(format!("'{pattern}' is not a glob: {e}")))?
        .compile_matcher();
    let groups = session.broker.groups("*").await?;
    let mut bytes = Vec::new();
    use Column::{Left, Right};
    let mut table = Table::new(&[
        ("GROUP", Left),
        ("TOPIC", Left),
        ("MEMBERS", Right),
        ("LAG", Right),
        ("SETTLED BEFORE", Right),
        ("DEAD LETTERS", Left),
    ]);
    for group in groups.iter().filter(|g| matcher.is_match(&g.group)) {
        if output == TableFormat::Json {
            let settled = group.settled.iter().map(|(_, position)| position.to_string()).collect::<Vec<_>>();
            let object = json!({
                "group": group.group,
                "topic": group.topic,
                "members": group.members,
                "lag": group.lag.map(|count| count.events),
                "settled_before": settled,
                "dead_letters": group.dead_letters,
            });
            bytes.extend_from_slice(format!("{object}\n").as_bytes());
            continue;
        }
        table.row([
            group.group.clone(),
            group.topic.clone(),
            group.members.map_or("-".into(), |n| n.to_string()),
            count(group.lag),
            positions(&group.settled),
            group.dead_letters.clone().unwrap_or_else(|| "-".into()),
        ]);
    }
    if output == TableFormat::Human {
        table.print(&mut bytes, session.ui.out);
    }
    print(bytes).await
}

async fn create(session: &Session, args: CreateArgs) -> anyhow::Result<Outcome> {
    let CreateArgs { group, topics, from, binding } = args;
    session.writable("groups create")?;
    session.binds(&binding)?;
    let names: Vec<Name> = topics.iter().map(|t| t.as_str().into()).collect();
    let start = session.start("--from", &from, &names)?;
    for topic in &topics {
        session.guard(&[], topic)?;
        if session.endpoint.backend != "local" && session.broker.topics(&literal(topic)).await?.is_empty() {
            return Err(unknown_topic(session, topic).await.into());
        }
        let source = Source::Group { topics: vec![topic.as_str().into()], group: group.as_str().into() };
        let dead_letters = usual_dlq(topic, &group);
        let made = session.broker.create_group(&source, &start, Some(&dead_letters)).await?;
        if made.is_empty() {
            let broker = &session.endpoint.name;
            let bound =
                if binding.is_empty() { "" } else { "; --binding is for a new group, and changed nothing" };
            session.ui.status(format_args!(
                "{group} on {topic} ({broker}) is there already, and stays where it is{bound}"
            ));
        }
        perhaps_meant(session, topic, &made).await?;
        for what in made {
            session.ui.status(format_args!("made {what}"));
        }
    }
    Ok(Outcome::Done)
}

async fn seek(session: &Session, args: SeekArgs) -> anyhow::Result<Outcome> {
    let SeekArgs { group, topics, from, dry_run, yes } = args;
    let names: Vec<Name> = topics.iter().map(|t| t.as_str().into()).collect();
    let start = session.start("--from", &from, &names)?;
    for topic in &topics {
        session.guard(&[("groups seek", &abilities::SEEK)], topic)?;
    }
    let mut table = Table::new(&[
        ("GROUP", Column::Left),
        ("TOPIC", Column::Left),
        ("SETTLED BEFORE", Column::Right),
        ("GOES TO", Column::Right),
    ]);
    for topic in &topics {
        let Some(at) = session.broker.groups(&literal(topic)).await?.into_iter().find(|g| g.group == group)
        else {
            return Err(unknown_group(session, &group, Some(topic)).await.into());
        };
        let to = landing(session, topic, &start).await?;
        within(topic, &at, &to)?;
        table.row([group.clone(), topic.clone(), positions(&at.settled), positions(&to)]);
    }
    let mut plan = Vec::new();
    if dry_run {
        table.print(&mut plan, session.ui.out);
        return print(plan).await;
    }
    session.writable("groups seek")?;
    table.print(&mut plan, session.ui.err);
    session.ui.status(String::from_utf8_lossy(&plan).trim_end());
    if !confirm(&session.ui, yes, &format!("Move {group} on {}?", session.endpoint.name)).await? {
        return Err(Failure::failed("nothing was moved").into());
    }
    for topic in &topics {
        session.broker.seek_group(topic, &group, &start).await?;
    }
    session.ui.status(format_args!("moved {group} on {}", topics.join(", ")));
    Ok(Outcome::Done)
}

/// Refuses a place beyond the end before anything is asked or moved.
fn within(topic: &str, group: &GroupInfo, to: &[(Name, Position)]) -> Result<(), Failure> {
    for (to, end) in to.iter().zip(&group.end).map(|((_, to), (_, end))| (to, end)) {
        if to.partition() == end.partition() && to.offset() > end.offset() {
            let topic = words::name(topic);
            return Err(Failure::usage(format!("--from {to}: {topic} ends at {end}"))
                .hint("behind all that is there now: --from now"));
        }
    }
    Ok(())
}

/// Where a start lies, as positions: a reader resolves it and reads nothing.
async fn landing(session: &Session, topic: &str, start: &Start) -> anyhow::Result<Vec<(Name, Position)>> {
    let topics = vec![Name::from(topic)];
    let options =
        ReadOptions { topics, partition: None, start: start.clone(), stop: Stop::Now, unsettled: false };
    let reader = session.broker.reader(options).await?;
    let at = reader.start().to_vec();
    reader.close().await?;
    Ok(at)
}

async fn delete(session: &Session, args: DeleteArgs) -> anyhow::Result<Outcome> {
    let DeleteArgs { group, topics, yes } = args;
    session.writable("groups delete")?;
    let all = session.broker.groups("*").await?;
    let here: Vec<_> =
        all.iter().filter(|g| g.group == group && (topics.is_empty() || topics.contains(&g.topic))).collect();
    if let Some(missing) = topics.iter().find(|t| !here.iter().any(|g| g.topic == **t)) {
        return Err(unknown_group(session, &group, Some(missing)).await.into());
    }
    if here.is_empty() {
        return Err(unknown_group(session, &group, None).await.into());
    }
    let lags: Vec<_> = here.iter().map(|g| format!("{} (lag {})", g.topic, count(g.lag))).collect();
    let question = format!("Delete {group} on {} from {}?", session.endpoint.name, lags.join(", "));
    if !confirm(&session.ui, yes, &question).await? {
        return Err(Failure::failed("nothing was deleted").into());
    }
    for group in &here {
        session.broker.delete_group(&group.topic, &group.group).await?;
    }
    session.ui.status(format_args!("deleted {group} on {}; its dead letters stay", session.endpoint.name));
    Ok(Outcome::Done)
}

async fn unknown_group(session: &Session, group: &str, topic: Option<&str>) -> Failure {
    let flag = &session.endpoint.flag;
    let on = topic.map(|topic| format!(" on {topic}")).unwrap_or_default();
    let shown = words::name(group);
    let failure = Failure::usage(format!("group '{shown}' does not exist{on} on {}", session.endpoint.name));
    let known = session.broker.groups("*").await.unwrap_or_default();
    let names: Vec<&str> = known.iter().map(|g| g.group.as_str()).collect();
    let make = format!("to make it: evcat groups create {group} {}{flag}", topic.unwrap_or("TOPIC"));
    failure.hint(match crate::broker::nearest(group, &names) {
        Some(near) if near != group => format!("did you mean '{near}'? {make}"),
        _ => make,
    })
}

/// One position where there is one, else all of them.
fn positions(all: &[(Name, Position)]) -> String {
    match all {
        [] => "-".into(),
        all => all.iter().map(|(_, position)| position.to_string()).collect::<Vec<_>>().join(" "),
    }
}
