//! W3C trace context in headers: which trace an event belongs to.

use super::{Headers, HeadersBuf, cloudevents};

/// Where producers put it: the transport's own header, then what Google's clients write, then the CloudEvents
/// extension, which holds where the trace began rather than the last hop.
const PARENTS: [&str; 2] = ["traceparent", "googclient_traceparent"];

/// `traceparent` and `tracestate` of an event, if its parent is well formed.
pub fn context(headers: Headers<'_>) -> Option<(&str, Option<&str>)> {
    if headers.is_empty() {
        return None;
    }
    let parent = PARENTS.iter().find_map(|name| headers.text(name).filter(|parent| valid(parent)));
    if let Some(parent) = parent {
        return Some((parent, headers.text("tracestate")));
    }
    let parent = cloudevents::attribute(headers, "traceparent").filter(|parent| valid(parent))?;
    Some((parent, cloudevents::attribute(headers, "tracestate")))
}

/// The id of the trace, 32 hex digits.
pub fn id(headers: Headers<'_>) -> Option<&str> {
    context(headers).and_then(|(parent, _)| parent.get(3..35))
}

/// Whether this is a `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zeros.
pub fn valid(parent: &str) -> bool {
    let hex =
        |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &str| part.bytes().any(|b| b != b'0');
    let mut parts = parent.splitn(5, '-');
    let (Some(version), Some(trace), Some(span), Some(flags)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let more = parts.next().is_some();
    hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && some(trace)
        && hex(span, 16)
        && some(span)
        && hex(flags, 2)
        && !(more && version == "00")
}

/// Adds the trace that this process is part of (`TRACEPARENT`, `TRACESTATE`), unless the event has one or it is not
/// well formed.
pub fn inject(headers: &mut HeadersBuf, parent: &str, state: Option<&str>) {
    if !valid(parent) || headers.as_headers().last(PARENTS[0]).is_some() {
        return;
    }
    headers.push_str(PARENTS[0], parent);
    if let Some(state) = state.filter(|state| !state.is_empty()) {
        headers.push_str("tracestate", state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_injected_is_read_back_once() {
        let mut headers = HeadersBuf::default();
        inject(&mut headers, PARENT, Some("a=b"));
        inject(&mut headers, PARENT, None);
        assert_eq!(headers.as_headers().iter().count(), 2);
        assert_eq!(context(headers.as_headers()), Some((PARENT, Some("a=b"))));
        assert_eq!(id(headers.as_headers()), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    }

    #[test]
    fn the_transport_wins_over_the_cloudevents_extension() {
        let mut headers = HeadersBuf::default();
        headers.push_str("ce_traceparent", &PARENT.replace("4bf", "000"));
        assert_eq!(id(headers.as_headers()), Some("00092f3577b34da6a3ce929d0e0e4736"));
        headers.push_str("traceparent", PARENT);
        assert_eq!(id(headers.as_headers()), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    }

    #[test]
    fn a_malformed_parent_is_no_trace() {
        for bad in [
            "",
            "00",
            "00-1-2-3",
            &PARENT.to_uppercase(),
            &PARENT.replace("00-", "ff-"),
            &format!("{PARENT}-x"),
        ] {
            assert!(!valid(bad), "{bad}");
        }
        assert!(!valid("00-00000000000000000000000000000000-00f067aa0ba902b7-01"));
        assert!(valid(&format!("01{}-more", &PARENT[2..])), "a later version may have more");
    }
}
