//! The thread that reads: stdin and files, in large pieces, as fast as they come.
//!
//! It is never joined. A read that nobody ends (a terminal, a pipe whose writer sleeps) cannot keep the process.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc;

use super::shape::{Shape, Shaper};
use super::split::{Format, MOST, Piece, Splitter};
use super::{Chunk, Places};
use crate::outcome::Failure;

/// Bytes of one read(2), and of a pipe's buffer where it may be made so large.
const PIECE: usize = 1 << 20;
/// Chunks that may wait; with the window of the outbox this bounds what a fast reader holds.
const QUEUE: usize = 4;
/// A batch ends before 4 GiB, so one event cannot be larger.
const LARGEST: usize = 2 << 30;

/// Where bytes come from.
#[derive(Debug)]
pub enum Source {
    /// Stdin.
    Stdin(File),
    /// A file and its name.
    File(String, File),
}

impl Source {
    /// Stdin itself: the lines that `std` would buffer must not be lost between two readers.
    pub fn stdin() -> anyhow::Result<Source> {
        let own = std::io::stdin().as_fd().try_clone_to_owned().context("stdin")?;
        Ok(Source::Stdin(own.into()))
    }

    /// Opens a file; a directory is none.
    pub fn open(path: &std::path::Path) -> anyhow::Result<Source> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| {
            let message = format!("-f {name}: {error}");
            anyhow::Error::from(error).context(message)
        })?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(Failure::usage(format!("-f {name}: is a directory")).into());
        }
        Ok(Source::File(name, file))
    }

    /// The file.
    pub fn file(&self) -> &File {
        match self {
            Source::Stdin(file) | Source::File(_, file) => file,
        }
    }

    /// Its size, where it has one.
    pub fn size(&self) -> Option<u64> {
        self.file().metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len())
    }

    fn name(&self) -> String {
        match self {
            Source::Stdin(_) => "stdin".into(),
            Source::File(name, _) => name.clone(),
        }
    }
}

/// Events on their way in.
pub struct Input {
    chunks: mpsc::Receiver<anyhow::Result<Chunk>>,
}

impl Input {
    /// Starts to read. `stop_at_broken`: nothing is read after what is no event. `most`: so many events at most.
    pub fn read(
        sources: Vec<Source>,
        format: Format,
        shape: Shape,
        stop_at_broken: bool,
        most: Option<u64>,
    ) -> anyhow::Result<Input> {
        let (queue, chunks) = mpsc::channel(QUEUE);
        let reader = Reader {
            queue,
            shaper: Shaper::new(shape),
            left: most.unwrap_or(u64::MAX),
            stop_at_broken,
            several: sources.len() > 1 || matches!(sources[..], [Source::File(..)]),
        };
        let thread = std::thread::Builder::new().name("input".into());
        thread.spawn(move || reader.run(sources, &format)).context("input")?;
        Ok(Input { chunks })
    }

    /// One event that is known already: a payload, or a tombstone.
    pub fn single(payload: Option<&[u8]>, shape: Shape) -> Input {
        let (queue, chunks) = mpsc::channel(1);
        let mut chunk = Chunk::default();
        Shaper::new(shape).single(payload, &mut chunk);
        // There is room for one.
        let _ = queue.try_send(Ok(chunk));
        Input { chunks }
    }

    /// The next events; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Option<anyhow::Result<Chunk>> {
        self.chunks.recv().await
    }
}

struct Reader {
    queue: mpsc::Sender<anyhow::Result<Chunk>>,
    shaper: Shaper,
    left: u64,
    stop_at_broken: bool,
    several: bool,
}

/// Whether there is a reason to read on.
#[derive(PartialEq)]
enum Go {
    On,
    Stop,
}

impl Reader {
    fn run(mut self, sources: Vec<Source>, format: &Format) {
        for source in sources {
            let name = source.name();
            match self.source(source, format) {
                Ok(Go::On) => {}
                Ok(Go::Stop) => return,
                Err(error) => {
                    let message = format!("cannot read {name}: {error}");
                    let error = anyhow::Error::from(error).context(message);
                    let _ = self.queue.blocking_send(Err(error));
                    return;
                }
            }
        }
    }

    fn source(&mut self, source: Source, format: &Format) -> std::io::Result<Go> {
        let places =
            Places { file: self.several.then(|| source.name()), unit: format.unit(), numbers: Vec::new() };
        let (Source::Stdin(mut file) | Source::File(_, mut file)) = source;
        widen(&file);
        let mut splitter = Splitter::new(format);
        let mut buffer = vec![0; PIECE];
        let (mut filled, mut end) = (0, false);
        while !end {
            if filled == buffer.len() {
                if filled >= LARGEST {
                    let message = format!("an event is larger than {} GiB", LARGEST >> 30);
                    return Err(std::io::Error::new(ErrorKind::InvalidData, message));
                }
                buffer.resize(filled * 2, 0);
            }
            let read = read(&mut file, &mut buffer[filled..])?;
            filled += read;
            end = read == 0;
            let (go, used) = self.pieces(&mut splitter, &buffer[..filled], end, &places);
            if go == Go::Stop {
                return Ok(Go::Stop);
            }
            buffer.copy_within(used..filled, 0);
            filled -= used;
            if filled < PIECE / 2 && buffer.len() > 4 * PIECE {
                buffer.truncate(PIECE);
                buffer.shrink_to_fit();
            }
        }
        Ok(Go::On)
    }

    /// Everything complete in these bytes, and how many bytes that took.
    fn pieces(&mut self, splitter: &mut Splitter, input: &[u8], end: bool, places: &Places) -> (Go, usize) {
        let mut used = 0;
        loop {
            let mut pieces = Vec::new();
            let rest = &input[used..];
            let took = splitter.take(rest, end, &mut pieces);
            let full = pieces.len() >= MOST;
            if took == 0 && pieces.is_empty() {
                return (Go::On, used);
            }
            let lost = splitter.is_lost(&pieces);
            let mut chunk = Chunk { places: places.clone(), bytes: took as u64, ..Chunk::default() };
            self.bound(&mut pieces);
            self.shaper.chunk(rest, pieces, &mut chunk);
            self.left = self.left.saturating_sub(chunk.events.len() as u64 / self.shaper.repeat());
            let stop = lost || self.left == 0 || self.stop_at_broken && !chunk.broken.is_empty();
            if stop && self.stop_at_broken {
                cut(&mut chunk);
            }
            used += took;
            if self.queue.blocking_send(Ok(chunk)).is_err() || stop {
                return (Go::Stop, used);
            }
            if !full {
                return (Go::On, used);
            }
        }
    }

    /// No more pieces than events that are still wanted.
    fn bound(&self, pieces: &mut Vec<Piece>) {
        let mut left = self.left;
        let kept = pieces.iter().position(|piece| {
            let wanted = left > 0;
            left -= u64::from(wanted && piece.is_event());
            !wanted
        });
        pieces.truncate(kept.unwrap_or(pieces.len()));
    }
}

/// Nothing behind the first that is broken.
fn cut(chunk: &mut Chunk) {
    if let Some(first) = chunk.broken.first() {
        let before = first.before;
        chunk.broken.truncate(1);
        chunk.events.truncate(before);
        chunk.places.numbers.truncate(before);
    }
}

/// A larger pipe means fewer switches between its writer and us. Where that is not allowed it works all the same.
fn widen(file: &File) {
    let size = PIECE as nix::libc::c_int;
    let _ = nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETPIPE_SZ(size));
}

/// Reads what is there, at least a byte; 0 is the end.
fn read(file: &mut File, into: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match file.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever shares this open file may have made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            result => return result,
        }
    }
}
