//! The handlers' output on its way to ours, in whole lines, so that those of several lanes do not run into each other.

use std::os::fd::AsFd;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::flow::driver::{Tell, Told};
use crate::output::Stdout;

/// A line may be longer; it then arrives in parts.
const LONGEST: usize = 64 << 10;

/// Both streams. Clones write to the same.
#[derive(Clone)]
pub struct Relay {
    out: mpsc::Sender<Vec<u8>>,
    err: mpsc::Sender<Vec<u8>>,
}

impl Relay {
    /// Writes through threads of their own, until all clones are dropped. Where nobody reads our stdout any more, that
    /// is told.
    pub fn open(tell: Tell, tasks: &mut JoinSet<()>) -> std::io::Result<Relay> {
        let stderr = std::fs::File::from(std::io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Relay::to(Stdout::open()?, Stdout::to(stderr)?, tell, tasks))
    }

    /// The same to any two streams: tests.
    pub fn to(mut stdout: Stdout, mut stderr: Stdout, tell: Tell, tasks: &mut JoinSet<()>) -> Relay {
        let (out, mut lines) = mpsc::channel::<Vec<u8>>(64);
        tasks.spawn(async move {
            let written = async {
                while let Some(bytes) = lines.recv().await {
                    stdout.write(bytes).await?;
                }
                stdout.flush().await
            };
            if let Err(closed) = written.await {
                let left = closed.reader_left();
                let _ = tell.send(if left { Told::ReaderLeft } else { Told::Broken(closed.into()) });
                // Handlers go on to write until they are done.
                while lines.recv().await.is_some() {}
            }
        });
        let (err, mut lines) = mpsc::channel::<Vec<u8>>(64);
        tasks.spawn(async move {
            while let Some(bytes) = lines.recv().await {
                // Nobody left to tell is no reason to fail.
                let _ = stderr.write(bytes).await;
            }
            let _ = stderr.flush().await;
        });
        Relay { out, err }
    }

    /// Passes a handler's stdout on until it ends.
    pub async fn out(&self, from: impl AsyncRead + Unpin) {
        pass(from, &self.out, |_| ()).await;
    }

    /// Passes a handler's stderr on until it ends, and shows it to `see`.
    pub async fn err(&self, from: impl AsyncRead + Unpin, see: impl FnMut(&[u8])) {
        pass(from, &self.err, see).await;
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, to: &mpsc::Sender<Vec<u8>>, mut see: impl FnMut(&[u8])) {
    let mut rest = Rest { bytes: Vec::new(), to };
    loop {
        let before = rest.bytes.len();
        match from.read_buf(&mut rest.bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => see(&rest.bytes[before..]),
        }
        let end = match memchr::memrchr(b'\n', &rest.bytes[before..]) {
            Some(at) => before + at + 1,
            None if rest.bytes.len() >= LONGEST => rest.bytes.len(),
            None => continue,
        };
        let after = rest.bytes.split_off(end);
        let _ = to.send(std::mem::replace(&mut rest.bytes, after)).await;
    }
}

/// What was read of a line that has not ended. Nobody may wait for its end: a handler that is over leaves what it has.
struct Rest<'a> {
    bytes: Vec<u8>,
    to: &'a mpsc::Sender<Vec<u8>>,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.bytes.push(b'\n');
            let (to, bytes) = (self.to.clone(), std::mem::take(&mut self.bytes));
            if let Err(mpsc::error::TrySendError::Full(bytes)) = to.try_send(bytes) {
                tokio::spawn(async move { to.send(bytes).await });
            }
        }
    }
}
