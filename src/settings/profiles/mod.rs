//! Profiles: named brokers in `config.toml`, read strictly and written so that a person's comments stay.

mod store;

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, TableLike};

use super::Secret;
use crate::broker::nearest;
use crate::outcome::{Exit, Failure};

/// The file, as it was read.
#[derive(Debug, Default)]
pub struct Profiles {
    path: Option<PathBuf>,
    document: DocumentMut,
    profiles: Vec<Profile>,
    in_use: Option<String>,
}

/// A named broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its URL, as written.
    pub url: Secret,
    /// Every write is refused.
    pub read_only: bool,
    /// Where the password comes from.
    pub password: Option<PasswordFrom>,
    /// For the broker's client, as `-X` hands them over.
    pub options: Vec<(String, String)>,
}

/// Where a password comes from, so that it need not be in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum PasswordFrom {
    /// An environment variable.
    Variable(String),
    /// The first line of a file.
    File(PathBuf),
    /// The first line that a shell command prints.
    Command(String),
}

impl PasswordFrom {
    /// Its key in the file, and the value there.
    pub fn entry(&self) -> (&'static str, String) {
        match self {
            PasswordFrom::Variable(name) => ("password_env", name.clone()),
            PasswordFrom::File(path) => ("password_file", path.display().to_string()),
            PasswordFrom::Command(command) => ("password_command", command.clone()),
        }
    }

    /// Fetches it. Runs the command where it is one, with the terminal at its disposal.
    pub fn fetch(&self, profile: &str) -> Result<Secret, Failure> {
        let denied = |why: String| Failure::usage(format!("profile '{profile}': {why}")).exit(Exit::Denied);
        let text = match self {
            PasswordFrom::Variable(name) => super::environment::variable(name)
                .ok_or_else(|| denied(format!("the variable {name} of password_env is not set")))?,
            PasswordFrom::File(path) => std::fs::read_to_string(path)
                .map_err(|error| denied(format!("password_file {}: {error}", path.display())))?,
            PasswordFrom::Command(command) => {
                let run = std::process::Command::new("sh")
                    .args(["-c", command])
                    .stdin(std::process::Stdio::inherit())
                    .stderr(std::process::Stdio::inherit())
                    .output()
                    .map_err(|error| denied(format!("password_command cannot run: {error}")))?;
                if !run.status.success() {
                    return Err(denied(format!("password_command failed: {}", run.status)));
                }
                String::from_utf8(run.stdout)
                    .map_err(|_| denied("password_command printed what is not UTF-8".into()))?
            }
        };
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Secret::new(line)),
            _ => Err(denied(format!("{} gave no password", self.entry().0))),
        }
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9._-]*`: never mistaken for a URL or a flag.
pub fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(word) && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

const KEYS: &[&str] = &["url", "read_only", "password_env", "password_file", "password_command", "options"];

impl Profiles {
    /// Reads `config.toml` in this directory; none yet is no profile.
    pub fn load(directory: Option<&Path>) -> Result<Profiles, Failure> {
        let Some(directory) = directory else { return Ok(Profiles::default()) };
        let path = directory.join("config.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(Failure::usage(format!("{}: is not text (UTF-8)", path.display()))
                    .hint("mend it with an editor, nothing was changed"));
            }
            Err(error) => return Err(store::failure(&path, &error)),
        };
        Profiles::parse(text, path)
    }

    fn parse(text: String, path: PathBuf) -> Result<Profiles, Failure> {
        let wrong = |why: String| {
            Failure::usage(format!("{}: {why}", path.display()))
                .hint("mend it with an editor, nothing was changed")
        };
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            wrong(format!("line {line}: {}", error.message().trim()))
        })?;
        known_keys(document.as_table(), &["use", "profiles"], "").map_err(wrong)?;
        let in_use = text_of(document.as_table(), "use", "").map_err(wrong)?;
        let mut profiles = Vec::new();
        if let Some(item) = document.get("profiles") {
            let table = item.as_table_like().ok_or_else(|| wrong("'profiles' is not a table".into()))?;
            for (name, item) in table.iter() {
                profiles.push(profile(name, item).map_err(wrong)?);
            }
        }
        if let Some(name) = &in_use
            && !profiles.iter().any(|profile: &Profile| profile.name == *name)
        {
            return Err(wrong(format!("use = \"{name}\", and there is no such profile")));
        }
        Ok(Profiles { path: Some(path), document, profiles, in_use })
    }

    /// All of them, in the order of the file.
    pub fn all(&self) -> &[Profile] {
        &self.profiles
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        self.profiles.iter().map(|profile| profile.name.as_str()).collect()
    }

    /// The one that counts where no broker is named.
    pub fn in_use(&self) -> Option<&Profile> {
        self.profiles.iter().find(|profile| Some(&profile.name) == self.in_use.as_ref())
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Result<&Profile, Failure> {
        if let Some(profile) = self.profiles.iter().find(|profile| profile.name == name) {
            return Ok(profile);
        }
        if name.contains(':') {
            // Not repeated: it may have a password in it.
            return Err(Failure::usage("that is a URL, not the name of a profile")
                .hint("evcat profiles add NAME URL makes a profile of it"));
        }
        let names = self.names();
        let hint = if crate::broker::backend_of(name).is_some() {
            format!("the broker of that name is '{name}:', with a colon")
        } else if let Some(near) = nearest(name, &names) {
            format!("did you mean '{near}'?")
        } else if names.is_empty() {
            format!("there are no profiles yet; to make it: evcat profiles add {name} URL")
        } else {
            format!("there are: {}; to make it: evcat profiles add {name} URL", names.join(", "))
        };
        Err(Failure::usage(format!("there is no profile '{name}'")).hint(hint))
    }
}

/// The first key that does not belong there.
fn known_keys(table: &dyn TableLike, known: &[&str], place: &str) -> Result<(), String> {
    match table.iter().find(|(key, _)| !known.contains(key)) {
        None => Ok(()),
        Some((key, _)) => Err(match nearest(key, known) {
            Some(near) => format!("{place}there is no key '{key}', did you mean '{near}'?"),
            None => format!("{place}there is no key '{key}', only {}", known.join(", ")),
        }),
    }
}

fn text_of(table: &dyn TableLike, key: &str, place: &str) -> Result<Option<String>, String> {
    let Some(item) = table.get(key) else { return Ok(None) };
    match item.as_str() {
        Some(text) if !text.is_empty() => Ok(Some(text.to_owned())),
        Some(_) => Err(format!("{place}'{key}' is empty")),
        None => Err(format!("{place}'{key}' is not a text in quotes")),
    }
}

fn profile(name: &str, item: &Item) -> Result<Profile, String> {
    let place = format!("profile '{name}': ");
    if !is_name(name) {
        return Err(format!("'{name}' cannot be the name of a profile: letters, digits, '_', '.', '-'"));
    }
    let table = item.as_table_like().ok_or_else(|| format!("{place}it is not a table"))?;
    known_keys(table, KEYS, &place)?;
    let text = |key| text_of(table, key, &place);
    let url = text("url")?.ok_or_else(|| format!("{place}'url' is missing"))?;
    let read_only = match table.get("read_only") {
        None => false,
        Some(item) => {
            item.as_bool().ok_or_else(|| format!("{place}'read_only' is neither true nor false"))?
        }
    };
    let mut password = [
        text("password_env")?.map(PasswordFrom::Variable),
        text("password_file")?.map(|path| PasswordFrom::File(path.into())),
        text("password_command")?.map(PasswordFrom::Command),
    ]
    .into_iter()
    .flatten();
    let (password, None) = (password.next(), password.next()) else {
        return Err(format!("{place}only one of password_env, password_file, password_command"));
    };
    let options = match table.get("options") {
        None => Vec::new(),
        Some(item) => options(item, &place)?,
    };
    Ok(Profile { name: name.to_owned(), url: Secret::new(url), read_only, password, options })
}

fn options(item: &Item, place: &str) -> Result<Vec<(String, String)>, String> {
    let table = item.as_table_like().ok_or_else(|| format!("{place}'options' is not a table"))?;
    let one = |(key, item): (&str, &Item)| {
        let value = item.as_value().and_then(|value| match value {
            toml_edit::Value::String(text) => Some(text.value().clone()),
            toml_edit::Value::Integer(number) => Some(number.value().to_string()),
            toml_edit::Value::Float(number) => Some(number.value().to_string()),
            toml_edit::Value::Boolean(truth) => Some(truth.value().to_string()),
            _ => None,
        });
        let value =
            value.ok_or_else(|| format!("{place}option '{key}' is neither text, number nor truth"))?;
        Ok((key.to_owned(), value))
    };
    table.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
