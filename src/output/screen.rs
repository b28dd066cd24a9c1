//! Stdout with a printer: many events are one write, and none waits while nothing comes.

use super::Printer;
use super::stdout::{CHUNK, Closed, Stdout};
use crate::event::Event;

/// Events on their way to stdout.
pub struct Screen {
    /// How they are printed.
    pub printer: Printer,
    stdout: Stdout,
    buffer: Vec<u8>,
}

impl Screen {
    /// Opens stdout.
    pub fn open(printer: Printer) -> std::io::Result<Screen> {
        Ok(Screen::new(printer, Stdout::open()?))
    }

    /// The same with another writer.
    pub fn new(printer: Printer, mut stdout: Stdout) -> Screen {
        let buffer = stdout.buffer();
        Screen { printer, stdout, buffer }
    }

    /// Prints events; waits only while the reader of our stdout is far behind.
    pub async fn events(&mut self, events: &[Event]) -> Result<(), Closed> {
        self.printer.prepare(events);
        for event in events {
            self.printer.event(&mut self.buffer, event);
            if self.buffer.len() >= CHUNK {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// Prints results of `--select`.
    pub async fn values(&mut self, values: &[String]) -> Result<(), Closed> {
        for value in values {
            self.printer.value(&mut self.buffer, value);
            if self.buffer.len() >= CHUNK {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// Hands what is there to the thread that writes: nothing more is at hand. Cancel safe.
    pub async fn write(&mut self) -> Result<(), Closed> {
        self.stdout.take(&mut self.buffer).await
    }

    /// Waits until all of it has been written. Cancel safe.
    pub async fn flush(&mut self) -> Result<(), Closed> {
        self.write().await?;
        self.stdout.flush().await
    }

    /// Waits until the other side is known to be gone. Cancel safe.
    pub async fn closed(&self) -> Closed {
        self.stdout.closed().await
    }
}
