//! `--resume FILE`: how far a replay has come, and where it ends, so that a rerun goes on from there.
//!
//! Written before anything is replayed, and then only after what it says was acknowledged; replaced in one step: a crash at any instant leaves the old
//! one or the new one, never half of one.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::broker::{Start, Stop};
use crate::event::{Event, Millis, Name, Position};
use crate::outcome::Failure;
use crate::settings::point::Range;

/// Per topic and partition, the position of the next event.
pub type Places = Vec<(Name, Position)>;

/// What the file holds: one JSON object.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    /// What the file is, and in which version.
    evcat_checkpoint: u32,
    /// What is replayed into what, by which filters, as typed: a rerun of another command must not go on from here.
    command: String,
    /// The range of times as it was when the replay began; `10m` ago is another one by now.
    from: Option<Millis>,
    to: Option<Millis>,
    /// Next event per topic and partition.
    next: Vec<(String, String)>,
    /// The end, fixed when the replay began.
    end: Vec<(String, String)>,
    /// Events that have been replayed.
    replayed: u64,
}

const VERSION: u32 = 2;

/// The file of `--resume`.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    command: String,
    times: (Option<Millis>, Option<Millis>),
    end: Places,
    replayed: u64,
}

/// Where an earlier run stopped.
#[derive(Debug, PartialEq)]
pub struct Resumed {
    /// From where to go on, to where the end was when it began.
    pub range: Range,
    /// Events that were replayed before.
    pub replayed: u64,
}

impl Checkpoint {
    /// Reads the file, if there is one. `command` names all that decides which events go where.
    ///
    /// Errors: it is of another command, or no checkpoint (exit 2); it cannot be read.
    pub fn open(path: &Path, command: &str) -> anyhow::Result<(Checkpoint, Option<Resumed>)> {
        let new = |times, end, replayed| Checkpoint {
            path: path.to_owned(),
            command: command.to_owned(),
            times,
            end,
            replayed,
        };
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok((new((None, None), Vec::new(), 0), None));
            }
            Err(error) => return Err(told(path, error)),
        };
        let foreign = |why: String| {
            Failure::usage(format!("--resume {shown}: {why}"))
                .hint("a checkpoint belongs to one command; give this one a file of its own, or remove it to begin anew")
        };
        let contents: Contents = serde_json::from_str(&text)
            .map_err(|error| foreign(format!("not a checkpoint of evcat: {error}")))?;
        if contents.evcat_checkpoint != VERSION {
            return Err(
                foreign(format!("made by another evcat (version {})", contents.evcat_checkpoint)).into()
            );
        }
        if contents.command != command {
            return Err(foreign(format!("it is of another replay ({})", contents.command)).into());
        }
        let places = |list: Vec<(String, String)>| -> Places {
            list.into_iter().map(|(topic, at)| (Name::from(topic), Position::parse(&at))).collect()
        };
        let (next, end) = (places(contents.next), places(contents.end));
        let Contents { from, to, replayed, .. } = contents;
        let range = Range { start: Some(Start::At(next)), stop: Some(Stop::At(end.clone())), from, to };
        Ok((new((from, to), end, replayed), Some(Resumed { range, replayed })))
    }

    /// Fixes the end, as the reader found it.
    pub fn set_end(&mut self, end: &[(Name, Position)]) {
        self.end = end.to_vec();
    }

    /// Fixes the times of the range.
    pub fn set_times(&mut self, range: &Range) {
        self.times = (range.from, range.to);
    }

    /// Says that all before `next` has been acknowledged, `more` events since the last time.
    pub fn save(&mut self, next: &[(Name, Position)], more: u64) -> anyhow::Result<()> {
        self.replayed += more;
        let text = |places: &[(Name, Position)]| {
            places.iter().map(|(topic, at)| (topic.to_string(), at.to_string())).collect()
        };
        let contents = Contents {
            evcat_checkpoint: VERSION,
            command: self.command.clone(),
            from: self.times.0,
            to: self.times.1,
            next: text(next),
            end: text(&self.end),
            replayed: self.replayed,
        };
        self.replace(&serde_json::to_vec(&contents)?).map_err(|error| told(&self.path, error))
    }

    /// Always the same: what a kill leaves there is overwritten by the next run, and put in place by it.
    fn beside(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".evcat-tmp");
        self.path.with_file_name(name)
    }

    fn replace(&self, bytes: &[u8]) -> std::io::Result<()> {
        let new = self.beside();
        let mut file = std::fs::File::create(&new)?;
        file.write_all(bytes)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)
    }
}

/// What the file system said about the file.
fn told(path: &Path, error: std::io::Error) -> anyhow::Error {
    let message = format!("--resume {}: {error}", path.display());
    anyhow::Error::from(error).context(message)
}

/// How far reading has come: follows the events as they were read, wanted or not.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    next: Places,
}

impl Progress {
    /// At the reader's start.
    pub fn new(start: &[(Name, Position)]) -> Progress {
        Progress { next: start.to_vec() }
    }

    /// This event has been passed.
    pub fn pass(&mut self, event: &Event) {
        let after = successor(event.position());
        let same = |(topic, at): &&mut (Name, Position)| {
            *topic == *event.topic() && at.partition() == after.partition()
        };
        match self.next.iter_mut().find(same) {
            Some((_, at)) => *at = after,
            None => self.next.push((event.topic().clone(), after)),
        }
    }

    /// The next event of every partition.
    pub fn places(&self) -> &Places {
        &self.next
    }
}

/// The first place behind this one.
fn successor(position: &Position) -> Position {
    match position {
        Position::Offset(offset) => Position::Offset(offset + 1),
        Position::At { partition, offset } => Position::At { partition: *partition, offset: offset + 1 },
        Position::Pair(ms, seq) => Position::Pair(*ms, seq + 1),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, Headers};

    #[test]
    fn a_rerun_goes_on_where_the_last_one_was_and_to_the_same_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resume.json");
        let (mut checkpoint, resumed) = Checkpoint::open(&path, "orders into x").unwrap();
        assert_eq!(resumed, None);
        let topic = Name::from("orders");
        let at = |partition, offset| (topic.clone(), Position::At { partition, offset });
        checkpoint.set_end(&[at(0, 10), at(1, 5)]);
        checkpoint.set_times(&Range { from: Some(7), ..Range::default() });
        // As a kill leaves it.
        std::fs::write(checkpoint.beside(), "{\"evcat_check").unwrap();
        let mut progress = Progress::new(&[at(0, 2), at(1, 5)]);
        let mut batch = Batch::default();
        batch.push(&topic, None, Headers::default(), None, None, Position::At { partition: 0, offset: 6 });
        batch.finish().iter().for_each(|event| progress.pass(event));
        checkpoint.save(progress.places(), 1).unwrap();
        let (_, resumed) = Checkpoint::open(&path, "orders into x").unwrap();
        let range = Range {
            start: Some(Start::At(vec![at(0, 7), at(1, 5)])),
            stop: Some(Stop::At(vec![at(0, 10), at(1, 5)])),
            from: Some(7),
            to: None,
        };
        let expected = Resumed { range, replayed: 1 };
        assert_eq!(resumed, Some(expected));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn what_belongs_to_another_command_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resume.json");
        Checkpoint::open(&path, "a").unwrap().0.save(&[], 0).unwrap();
        assert!(Checkpoint::open(&path, "b").unwrap_err().to_string().contains("another replay (a)"));
        std::fs::write(&path, "{}").unwrap();
        assert!(Checkpoint::open(&path, "a").unwrap_err().to_string().contains("not a checkpoint"));
    }
}
