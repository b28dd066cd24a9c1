//! Receipts on stdout: what the broker said of each event.

use super::ReceiptFormat;
use crate::broker::Receipt;
use crate::event::{Event, Position, cloudevents, line};
use crate::output::{sanitize, stdout::Stdout};
use crate::shutdown::Stop;

/// Prints receipts, where they were asked for.
pub(super) struct Receipts {
    format: Option<ReceiptFormat>,
    terminal: bool,
    stdout: Option<Stdout>,
    buffer: Vec<u8>,
    /// Why nothing more can be printed. A reader that left has what it wanted.
    lost: Option<String>,
}

impl Receipts {
    pub fn open(format: Option<ReceiptFormat>, terminal: bool) -> std::io::Result<Receipts> {
        let stdout = format.map(|_| Stdout::open()).transpose()?;
        Ok(Receipts { format, terminal, stdout, buffer: Vec::new(), lost: None })
    }

    pub fn wanted(&self) -> bool {
        self.stdout.is_some()
    }

    pub fn add(&mut self, event: &Event, receipt: &Receipt) {
        let Some(format) = self.format else { return };
        let id = cloudevents::id(event.headers());
        let Receipt { position, duplicate } = receipt;
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let mut text = match format {
            ReceiptFormat::Json => {
                let mut text = format!("{{\"topic\":{}", quoted(event.topic()));
                match position {
                    Position::Unknown => {}
                    Position::Partition(partition) => text += &format!(",\"partition\":{partition}"),
                    Position::Offset(offset) => text += &format!(",\"offset\":{offset}"),
                    Position::At { partition, offset } => {
                        text += &format!(",\"partition\":{partition},\"offset\":{offset}");
                    }
                    other => text += &format!(",\"position\":{}", quoted(&other.to_string())),
                }
                if let Some(id) = id {
                    text += &format!(",\"id\":{}", quoted(id));
                }
                text + if *duplicate { ",\"duplicate\":true}" } else { "}" }
            }
            ReceiptFormat::Human => {
                let id = id.map(|id| format!("  {id}")).unwrap_or_default();
                let again = if *duplicate { "  duplicate" } else { "" };
                format!("{}  {position}{id}{again}", event.topic())
            }
        };
        if self.terminal {
            text = sanitize::text(&text).into_owned();
        }
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(b'\n');
    }

    /// The event itself, where nothing is published.
    pub fn would_be(&mut self, event: &Event) {
        if self.format == Some(ReceiptFormat::Json) {
            line::write(&mut self.buffer, event);
            self.buffer.push(b'\n');
        } else if let Some(ReceiptFormat::Human) = self.format {
            let receipt = Receipt { position: event.position().clone(), duplicate: false };
            self.add(event, &receipt);
        }
    }

    /// Hands what there is to stdout. Where nobody reads it this waits, until the command is to stop.
    pub async fn write(&mut self, stop: &Stop) {
        let bytes = std::mem::take(&mut self.buffer);
        let Some(stdout) = self.stdout.as_mut().filter(|_| self.lost.is_none() && !bytes.is_empty()) else {
            return;
        };
        let failed = tokio::select! {
            written = stdout.write(bytes) => written.err(),
            () = stop.requested() => return,
        };
        if let Some(closed) = failed {
            self.lost = Some(if closed.reader_left() { String::new() } else { closed.to_string() });
        }
    }

    /// Waits until all is written. Answers why it could not be.
    pub async fn finish(&mut self, stop: &Stop) -> Option<String> {
        self.write(stop).await;
        if let Some(stdout) = self.stdout.as_mut().filter(|_| self.lost.is_none()) {
            let failed = tokio::select! {
                flushed = stdout.flush() => flushed.err(),
                () = stop.requested() => None,
            };
            self.lost =
                failed.map(|closed| if closed.reader_left() { String::new() } else { closed.to_string() });
        }
        self.lost.take().filter(|why| !why.is_empty())
    }
}
