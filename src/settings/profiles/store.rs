//! Changes to `config.toml`: one writer at a time, whole or not at all, for the owner's eyes only.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use toml_edit::{InlineTable, Item, Table, value};

use super::{Profile, Profiles};
use crate::outcome::{Exit, Failure};

impl Profiles {
    /// Reads the file, changes it and writes it back, while no other evcat does the same.
    pub fn change(
        directory: Option<&Path>,
        change: impl FnOnce(&mut Profiles) -> Result<(), Failure>,
    ) -> Result<Profiles, Failure> {
        let Some(directory) = directory else {
            return Err(Failure::usage("profiles have no place: neither XDG_CONFIG_HOME nor HOME is set"));
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| failure(directory, &error))?;
        let handle = File::open(directory).map_err(|error| failure(directory, &error))?;
        let _lock = Flock::lock(handle, FlockArg::LockExclusive)
            .map_err(|(_, error)| failure(directory, &error.into()))?;
        let mut profiles = Profiles::load(Some(directory))?;
        change(&mut profiles)?;
        profiles.save()?;
        Profiles::load(Some(directory))
    }

    /// Adds a profile to the document. Requires: none of this name, the URL was checked.
    pub fn add(&mut self, profile: &Profile) -> Result<(), Failure> {
        let name = &profile.name;
        if self.profiles.iter().any(|other| other.name == *name) {
            return Err(Failure::usage(format!("there is a profile '{name}' already"))
                .hint(format!("to replace it, first: evcat profiles remove {name}")));
        }
        let mut table = Table::new();
        table["url"] = value(profile.url.expose());
        if profile.read_only {
            table["read_only"] = value(true);
        }
        if let Some(password) = &profile.password {
            let (key, text) = password.entry();
            table[key] = value(text);
        }
        if !profile.options.is_empty() {
            let options: InlineTable =
                profile.options.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
            table["options"] = value(options);
        }
        let profiles = self.document.entry("profiles").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        if let Some(inline) = profiles.as_inline_table_mut() {
            inline.insert(name, table.into_inline_table().into());
        } else {
            profiles[name.as_str()] = Item::Table(table);
        }
        self.profiles.push(profile.clone());
        Ok(())
    }

    /// Makes a profile the one in use; `None` takes that away.
    pub fn set_in_use(&mut self, name: Option<&str>) -> Result<(), Failure> {
        match name {
            None => drop(self.document.remove("use")),
            Some(name) => {
                let name = self.get(name)?.name.clone();
                self.document["use"] = value(name);
            }
        }
        Ok(())
    }

    /// Takes a profile out of the document.
    pub fn remove(&mut self, name: &str) -> Result<(), Failure> {
        let name = self.get(name)?.name.clone();
        if self.in_use.as_ref() == Some(&name) {
            self.document.remove("use");
        }
        if let Some(profiles) = self.document.get_mut("profiles").and_then(Item::as_table_like_mut) {
            profiles.remove(&name);
        }
        Ok(())
    }

    /// Another reader sees the old file or the new one, and after a power cut too. A link (as dotfile managers make)
    /// stays one: what it leads to is replaced.
    fn save(&self) -> Result<(), Failure> {
        let Some(path) = &self.path else { return Ok(()) };
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => path.clone(),
            Err(error) => return Err(failure(path, &error)),
        };
        let fresh = PathBuf::from(format!("{}.{}.new", target.display(), std::process::id()));
        let write = || {
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(self.document.to_string().as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &target)?;
            target.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
        };
        write().map_err(|error: std::io::Error| {
            let _ = fs::remove_file(&fresh);
            failure(&target, &error)
        })
    }
}

/// What the file system said about a file of ours.
pub(super) fn failure(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::failed(format!("{}: {error}", path.display()));
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => failure.exit(Exit::Denied),
        _ => failure,
    }
}
