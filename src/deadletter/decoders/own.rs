//! What evcat itself writes: `evcat-dlq-*`, plain UTF-8, one value each.

use super::{Decoder, Facts};
use crate::deadletter::{Origin, record};
use crate::event::{Event, Position, own};

/// evcat's own dead letters.
pub const DECODER: Decoder = Decoder { name: "evcat", decode, owns };

fn owns(name: &[u8]) -> bool {
    name.starts_with(b"evcat-dlq-")
}

fn decode(event: &Event) -> Option<Facts> {
    let headers = event.headers();
    if !headers.iter().any(|(name, _)| owns(name)) {
        return None;
    }
    let text = |name| headers.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    Some(Facts {
        kind: text(own::DLQ_KIND),
        error: text(own::DLQ_ERROR),
        origin: Origin {
            topic: text(own::DLQ_TOPIC),
            position: headers.text(own::DLQ_POSITION).map_or(Position::Unknown, Position::parse),
            timestamp: headers.text(own::DLQ_TIMESTAMP).and_then(record::parse_time),
        },
        group: text(own::DLQ_GROUP),
        attempts: headers.text(own::DLQ_ATTEMPTS).and_then(|n| n.parse().ok()),
        handler: text(own::DLQ_HANDLER),
        failed_at: headers.text(own::DLQ_FAILED_AT).and_then(record::parse_time),
    })
}
