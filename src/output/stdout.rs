//! Stdout, written by a thread of its own.
//!
//! A reader who stopped reading blocks a write for ever. On the runtime that would make Ctrl-C dead and let leases run
//! out; here it fills a bounded queue and `write` waits, beside signals and timers.

use std::fs::{File, Metadata};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

/// Bytes per write(2): large enough that a pipe's reader is the limit, small enough to recycle.
pub const CHUNK: usize = 256 << 10;

enum Job {
    Write(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

/// The other side of stdout went away, or the disk under it is full.
#[derive(Clone, Debug)]
pub struct Closed(Arc<std::io::Error>);

impl Closed {
    /// The reader left, as somebody else who writes has found out.
    pub fn left() -> Closed {
        Closed(Arc::new(std::io::ErrorKind::BrokenPipe.into()))
    }

    /// The reader left (`| head -1`): not a failure, once what was written is settled.
    pub fn reader_left(&self) -> bool {
        self.0.kind() == std::io::ErrorKind::BrokenPipe
    }
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stdout: {}", self.0)
    }
}

impl std::error::Error for Closed {}

/// Writes a short text that is known whole: help, versions, scripts. Streams of events go through [`Stdout`].
pub fn print(text: &str) -> Result<(), Closed> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Closed(Arc::new(error)))
}

/// The queue to the thread that writes.
pub struct Stdout {
    /// A file or `/dev/null`: nobody reads it who could stop, so nothing is handed to the thread.
    file: Option<File>,
    jobs: mpsc::Sender<Job>,
    spare: mpsc::Receiver<Vec<u8>>,
    failed: Arc<OnceLock<Closed>>,
    written: Arc<AtomicU64>,
    pipe: Option<pipe::Sender>,
}

impl Stdout {
    /// Starts the thread. It writes to the file itself: the line buffer of `std` would cost a write(2) per line. Call it
    /// on the runtime.
    pub fn open() -> std::io::Result<Stdout> {
        let own = || Ok::<_, std::io::Error>(File::from(std::io::stdout().as_fd().try_clone_to_owned()?));
        let mut stdout = Stdout::to(own()?)?;
        let file = own()?;
        let found = file.metadata()?;
        if found.file_type().is_fifo() {
            // Unchecked: only watched, and never set to non-blocking, which everyone who shares the pipe would see.
            stdout.pipe = Some(pipe::Sender::from_file_unchecked(file)?);
        } else if found.is_file() || is_null(&found) {
            stdout.file = Some(file);
        }
        Ok(stdout)
    }

    /// The same to any writer: tests.
    pub fn to(mut out: impl Write + Send + 'static) -> std::io::Result<Stdout> {
        let (jobs, mut queue) = mpsc::channel::<Job>(8);
        let (give_back, spare) = mpsc::channel(8);
        let failed: Arc<OnceLock<Closed>> = Arc::default();
        let seen = failed.clone();
        let written = Arc::<AtomicU64>::default();
        let count = written.clone();
        std::thread::Builder::new().name("stdout".into()).spawn(move || {
            while let Some(job) = queue.blocking_recv() {
                match job {
                    Job::Write(mut bytes) => {
                        if let Err(error) = write_all(&mut out, &bytes, &count).and_then(|()| out.flush()) {
                            let _ = seen.set(Closed(Arc::new(error)));
                            return; // dropping the queue is how writers notice
                        }
                        bytes.clear();
                        let _ = give_back.try_send(bytes);
                    }
                    Job::Flush(done) => {
                        let _ = done.send(());
                    }
                }
            }
        })?;
        Ok(Stdout { file: None, jobs, spare, failed, written, pipe: None })
    }

    /// An empty buffer, used before if one is at hand.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK + (16 << 10)))
    }

    /// Hands bytes to the thread; waits while it is far behind. Cancel safe only in that it is all or nothing.
    pub async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Closed> {
        if bytes.is_empty() || self.write_to_file(&bytes)? {
            return Ok(());
        }
        let sent = self.jobs.send(Job::Write(bytes)).await;
        sent.map_err(|_| self.why())
    }

    /// The same with what is in a buffer, which is empty then. Cancel safe: until there is room all stays where it is.
    pub async fn take(&mut self, buffer: &mut Vec<u8>) -> Result<(), Closed> {
        if buffer.is_empty() {
            return Ok(());
        }
        if self.write_to_file(buffer)? {
            buffer.clear();
            return Ok(());
        }
        let spare = self.buffer();
        let Ok(room) = self.jobs.reserve().await else { return Err(self.why()) };
        room.send(Job::Write(std::mem::replace(buffer, spare)));
        Ok(())
    }

    /// Writes to a file; whether it is one.
    fn write_to_file(&mut self, bytes: &[u8]) -> Result<bool, Closed> {
        let Some(file) = &mut self.file else { return Ok(false) };
        if let Err(error) = write_all(file, bytes, &self.written) {
            let _ = self.failed.set(Closed(Arc::new(error)));
            return Err(self.why());
        }
        Ok(true)
    }

    /// Waits until all that was handed over has been written. Cancel safe.
    pub async fn flush(&mut self) -> Result<(), Closed> {
        let (done, written) = oneshot::channel();
        if self.jobs.send(Job::Flush(done)).await.is_err() || written.await.is_err() {
            return Err(self.why());
        }
        Ok(())
    }

    /// Waits until the other side is known to be gone: the reader of a pipe at once, also while nothing is written.
    /// Cancel safe.
    pub async fn closed(&self) -> Closed {
        tokio::select! {
            () = self.jobs.closed() => {}
            () = self.left() => {}
        }
        self.why()
    }

    /// Waits until nobody has the other end of the pipe any more.
    async fn left(&self) {
        let Some(pipe) = &self.pipe else { return std::future::pending().await };
        match pipe.ready(Interest::ERROR).await {
            Ok(_) => {}
            Err(_) => std::future::pending().await,
        }
    }

    /// Bytes that the other side has, also of a write that failed half way; final once a write or a flush failed.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    fn why(&self) -> Closed {
        self.failed.get().cloned().unwrap_or_else(Closed::left)
    }
}

/// Whether it is `/dev/null`.
fn is_null(found: &Metadata) -> bool {
    found.file_type().is_char_device()
        && std::fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == found.rdev())
}

/// Like that of `std`, counting.
fn write_all(out: &mut impl Write, mut bytes: &[u8], count: &AtomicU64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                count.fetch_add(n as u64, Ordering::Release);
                bytes = &bytes[n..];
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes in all, seven at a time.
    struct Narrow(usize);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let n = bytes.len().min(7).min(self.0);
            self.0 -= n;
            if n == 0 { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(n) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_the_reader_got_before_it_left_is_known() {
        let mut stdout = Stdout::to(Narrow(100)).unwrap();
        stdout.write(vec![b'x'; 60]).await.unwrap();
        stdout.flush().await.unwrap();
        assert_eq!(stdout.written(), 60);
        stdout.write(vec![b'x'; 60]).await.unwrap();
        let closed = stdout.flush().await.unwrap_err();
        assert!(closed.reader_left());
        assert_eq!(stdout.written(), 100);
    }
}
