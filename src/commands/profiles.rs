//! `evcat profiles`: named brokers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::topics::TableFormat;
use crate::broker::{self, Surroundings, backend_of};
use crate::outcome::{Failure, Outcome};
use crate::output::stdout::print;
use crate::output::table::{Column, Table};
use crate::session::{Choice, Setup, key_value};
use crate::settings::Secret;
use crate::settings::endpoint;
use crate::settings::profiles::{PasswordFrom, Profile, Profiles, is_name};

/// Name brokers, choose the one in use, and check that one can be reached
///
/// Profiles stand in $XDG_CONFIG_HOME/evcat/config.toml (~/.config/evcat/config.toml), to be edited freely. While there
/// is none, a command without -b uses the embedded broker, local:. As soon as there is one, it must be in use or named.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evcat profiles add work local:~/work.db --use
  evcat profiles add prod kafka://kafka-1:9092 --read-only --password-command 'pass show kafka'
  evcat tail orders -b prod
  evcat profiles check prod")]
pub struct ProfilesArgs {
    #[command(subcommand)]
    command: ProfilesCommand,
}

#[derive(Debug, Subcommand)]
enum ProfilesCommand {
    /// The profiles, and which one is in use
    List(ListArgs),
    /// All that one profile says, with its secrets masked
    Show(ShowArgs),
    /// Make a profile the one that counts where no broker is named
    Use(UseArgs),
    /// Add a profile
    Add(AddArgs),
    /// Remove a profile; nothing happens to its broker
    Remove(RemoveArgs),
    /// Reach the broker, log in, and say what was found: server, version, rights
    Check(CheckArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// How to print: a table, or one JSON object per line
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "human")]
    output: TableFormat,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The profile [default: the one in use]
    #[arg(value_name = "PROFILE")]
    name: Option<String>,
    /// How to print: a table, or one JSON object per line
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "human")]
    output: TableFormat,
}

#[derive(Debug, Args)]
struct UseArgs {
    /// The profile
    #[arg(value_name = "PROFILE")]
    name: String,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Its name: letters, digits, '_', '.', '-'
    #[arg(value_parser = name)]
    name: String,
    /// Its broker, such as local:~/work.db or kafka://host:9092; options follow as -X KEY=VALUE
    url: String,
    /// Refuse every write through this profile
    #[arg(long)]
    read_only: bool,
    /// Take the password from this environment variable
    #[arg(long, value_name = "NAME", group = "password")]
    password_env: Option<String>,
    /// Take the password from the first line of this file
    #[arg(long, value_name = "FILE", group = "password")]
    password_file: Option<PathBuf>,
    /// Take the password from the first line that this shell command prints
    #[arg(long, value_name = "COMMAND", group = "password")]
    password_command: Option<String>,
    /// Make it the profile in use
    #[arg(long)]
    r#use: bool,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// The profile
    #[arg(value_name = "PROFILE")]
    name: String,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The profile [default: what -b, EVCAT_BROKER or the profile in use says]
    #[arg(value_name = "PROFILE", conflicts_with = "broker")]
    name: Option<String>,
}

fn name(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a name has letters, digits, '_', '.' and '-', such as prod".into()),
    }
}

/// Runs it.
pub async fn run(args: ProfilesArgs, setup: &Setup) -> anyhow::Result<Outcome> {
    let ProfilesArgs { command } = args;
    let directory = setup.environment.config_dir.as_deref();
    match command {
        ProfilesCommand::List(ListArgs { output }) => list(&Profiles::load(directory)?, output, setup)?,
        ProfilesCommand::Show(ShowArgs { name, output }) => {
            show(&Profiles::load(directory)?, name.as_deref(), output, setup)?;
        }
        ProfilesCommand::Use(UseArgs { name }) => {
            Profiles::change(directory, |profiles| profiles.set_in_use(Some(&name)))?;
            setup.ui.status(format_args!("{name} is in use from now on"));
        }
        ProfilesCommand::Add(args) => add(args, directory, setup)?,
        ProfilesCommand::Remove(RemoveArgs { name }) => remove(&name, directory, setup)?,
        ProfilesCommand::Check(CheckArgs { name }) => return check(name.as_deref(), setup).await,
    }
    Ok(Outcome::Done)
}

fn list(profiles: &Profiles, output: TableFormat, setup: &Setup) -> anyhow::Result<()> {
    let in_use = profiles.in_use().map(|profile| &profile.name);
    let mut bytes = Vec::new();
    match output {
        TableFormat::Json => {
            for profile in profiles.all() {
                bytes.extend_from_slice(facts(profile, in_use == Some(&profile.name)).to_string().as_bytes());
                bytes.push(b'\n');
            }
        }
        TableFormat::Human if profiles.all().is_empty() => {
            setup.ui.status("no profiles yet; the first: evcat profiles add work local:~/work.db");
        }
        TableFormat::Human => {
            let left = ["PROFILE", "IN USE", "BROKER", "READ ONLY", "URL"].map(|head| (head, Column::Left));
            let mut table = Table::new(&left);
            for profile in profiles.all() {
                let Profile { name, read_only, .. } = profile;
                let yes = |yes: bool| if yes { "yes" } else { "-" }.to_owned();
                let [broker, url] = [backend(profile), shown_url(profile)];
                table.row([name.clone(), yes(in_use == Some(name)), broker, yes(*read_only), url]);
            }
            table.print(&mut bytes, setup.ui.out);
        }
    }
    Ok(print(&String::from_utf8_lossy(&bytes))?)
}

fn show(profiles: &Profiles, name: Option<&str>, output: TableFormat, setup: &Setup) -> anyhow::Result<()> {
    let in_use = profiles.in_use();
    let profile = match (name, in_use) {
        (Some(name), _) => profiles.get(name)?,
        (None, Some(profile)) => profile,
        (None, None) => {
            return Err(Failure::usage("no profile is in use").hint("evcat profiles list").into());
        }
    };
    let used = in_use.is_some_and(|other| other.name == profile.name);
    if output == TableFormat::Json {
        return Ok(print(&format!("{}\n", facts(profile, used)))?);
    }
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let password = match &profile.password {
        Some(from) => {
            let (key, text) = from.entry();
            format!("{key} {text}")
        }
        None => "-".into(),
    };
    let mut lines = vec![
        ("profile".to_owned(), profile.name.clone()),
        ("url".into(), shown_url(profile)),
        ("in use".into(), yes(used)),
        ("read only".into(), yes(profile.read_only)),
        ("password".into(), password),
    ];
    lines.extend(shown_options(profile).map(|(key, value)| (format!("-X {key}"), value)));
    Ok(print(&pairs(&lines, setup))?)
}

fn pairs(lines: &[(String, String)], setup: &Setup) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(String, String)| {
        format!("{}  {value}\n", setup.ui.out.faint(&format!("{name:width$}")))
    };
    lines.iter().map(line).collect()
}

fn facts(profile: &Profile, in_use: bool) -> Value {
    let Profile { name, read_only, password, .. } = profile;
    let options: Map<String, Value> =
        shown_options(profile).map(|(key, value)| (key, Value::from(value))).collect();
    json!({
        "profile": name,
        "url": shown_url(profile),
        "broker": backend(profile),
        "in_use": in_use,
        "read_only": read_only,
        "password": password.as_ref().map(|from| from.entry().0),
        "options": options,
    })
}

fn shown_url(profile: &Profile) -> String {
    endpoint::mask(profile.url.expose())
}

fn backend(profile: &Profile) -> String {
    let scheme = profile.url.expose().split(':').next().unwrap_or_default();
    backend_of(&scheme.to_ascii_lowercase()).map_or_else(|| "unknown".into(), |backend| backend.name.into())
}

fn shown_options(profile: &Profile) -> impl Iterator<Item = (String, String)> {
    profile.options.iter().map(|(key, value)| match endpoint::sounds_secret(key) {
        true => (key.clone(), "***".into()),
        false => (key.clone(), value.clone()),
    })
}

fn add(args: AddArgs, directory: Option<&Path>, setup: &Setup) -> anyhow::Result<()> {
    let AddArgs { name, url, read_only, password_env, password_file, password_command, r#use } = args;
    let password = password_env
        .map(PasswordFrom::Variable)
        .or_else(|| password_file.map(PasswordFrom::File))
        .or_else(|| password_command.map(PasswordFrom::Command));
    let options = setup.global.options.iter().map(|option| key_value(option)).collect::<Result<_, _>>()?;
    let profile = Profile { name, url: Secret::new(absolute(url)?), read_only, password, options };
    // All that can be wrong with it is found now, and its password is not fetched for that.
    let choice = Choice::profile(&profile, setup.environment)?;
    // There is one, or will be: some brokers refuse a user without.
    let has_password = choice.password.is_some() || choice.address.password.is_some();
    let stand_in = has_password.then(|| ("password".to_owned(), "x".to_owned()));
    let surroundings = Surroundings {
        clock: Arc::new(|| 0),
        timeout: None,
        options: choice.options.iter().cloned().chain(stand_in).collect(),
        data_dir: setup.environment.data_dir.clone().unwrap_or_default(),
    };
    broker::open(&choice.address.location, surroundings)?;
    if choice.address.password.is_some() {
        setup
            .ui
            .warn("the password in the URL is kept in config.toml; --password-command keeps it elsewhere");
    }
    let Profile { name, .. } = &profile;
    Profiles::change(directory, |profiles| {
        profiles.add(&profile)?;
        if r#use { profiles.set_in_use(Some(name)) } else { Ok(()) }
    })?;
    let next = match r#use {
        true => format!("in use from now on; to try it: evcat profiles check {name}"),
        false => format!("to try it: evcat profiles check {name}; for good: evcat profiles use {name}"),
    };
    setup.ui.status(format_args!("added {name} ({}), {next}", shown_url(&profile)));
    Ok(())
}

/// A relative path would mean another file in every directory.
fn absolute(url: String) -> Result<String, Failure> {
    match url.strip_prefix("local:") {
        Some(path) if !path.is_empty() && !path.starts_with(['/', '~']) => {
            let path =
                std::path::absolute(path).map_err(|error| Failure::failed(format!("{url}: {error}")))?;
            Ok(format!("local:{}", path.display()))
        }
        _ => Ok(url),
    }
}

fn remove(name: &str, directory: Option<&Path>, setup: &Setup) -> anyhow::Result<()> {
    let before = Profiles::load(directory)?;
    let (url, used) = (shown_url(before.get(name)?), before.in_use().is_some_and(|used| used.name == name));
    let after = Profiles::change(directory, |profiles| profiles.remove(name))?;
    let next = match (used, after.all().is_empty()) {
        (_, true) => "; without profiles, local: is the default again",
        (true, false) => "; no profile is in use now",
        (false, false) => "",
    };
    setup.ui.status(format_args!("removed {name} ({url}){next}"));
    Ok(())
}

async fn check(name: Option<&str>, setup: &Setup) -> anyhow::Result<Outcome> {
    let session = match name {
        None => setup.session()?,
        Some(name) => {
            let profiles = Profiles::load(setup.environment.config_dir.as_deref())?;
            setup.open(Choice::profile(profiles.get(name)?, setup.environment)?)?
        }
    };
    let found = tokio::select! {
        found = session.broker.check() => found?,
        () = session.stop.requested() => return Ok(Outcome::Interrupted(session.stop.signal().unwrap_or(2))),
    };
    let mut lines = vec![("broker".to_owned(), session.endpoint.name.clone())];
    lines.extend(found);
    if session.endpoint.read_only {
        lines.push(("read only".into(), "yes, by its profile".into()));
    }
    print(&pairs(&lines, setup))?;
    Ok(Outcome::Done)
}
