//! One text per event that is the same on every try: `EVCAT_ID`.

use uuid::Uuid;

use super::{Event, Position, cloudevents};

/// The event's id, else `topic/position`, else (where a broker has no positions) a hash of topic, key, headers and
/// payload.
pub fn identity(event: &Event) -> String {
    if let Some(id) = cloudevents::id(event.headers()).filter(|id| !id.is_empty()) {
        return id.to_owned();
    }
    match event.position() {
        Position::Unknown | Position::Partition(_) => hash(event),
        position => format!("{}/{position}", event.topic()),
    }
}

/// Each part with its length before it, so that no two events run together; no key and a tombstone are lengths of
/// their own.
fn hash(event: &Event) -> String {
    let mut bytes = Vec::with_capacity(event.size() + event.topic().len() + 32);
    let headers = event.headers().as_packed();
    for part in [Some(event.topic().as_bytes()), event.key(), Some(headers), event.payload()] {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part.unwrap_or_default());
    }
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, Headers, HeadersBuf, Name};

    fn event(key: Option<&[u8]>, headers: Headers<'_>, payload: Option<&[u8]>, position: Position) -> Event {
        let mut batch = Batch::default();
        batch.push(&Name::from("orders"), key, headers, payload, Some(1), position);
        batch.finish()[0].clone()
    }

    #[test]
    fn the_id_then_the_place_then_the_content() {
        let mut headers = HeadersBuf::default();
        cloudevents::write(&mut headers, cloudevents::Binding::Dash, "id", "7");
        let place = Position::At { partition: 3, offset: 881 };
        assert_eq!(identity(&event(None, headers.as_headers(), None, place.clone())), "7");
        assert_eq!(identity(&event(None, Headers::default(), None, place)), "orders/3:881");
        let of = |key: Option<&[u8]>, payload: Option<&[u8]>| {
            identity(&event(key, Headers::default(), payload, Position::Unknown))
        };
        assert_eq!(of(Some(b"k"), Some(b"v")), of(Some(b"k"), Some(b"v")));
        let all = [of(None, None), of(Some(b""), None), of(None, Some(b"")), of(Some(b"kv"), None)];
        assert_eq!(std::collections::HashSet::from(all.clone()).len(), all.len());
    }
}
