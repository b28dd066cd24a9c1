//! An event's headers as attributes: text by text, each name once, without an order, 100 at most.
//!
//! What cannot be an attribute (a name that stands twice, no value, bytes that are not UTF-8, a value over 1024 bytes, what
//! is over the number) and the order go into attributes more, `evcat-headers`, `evcat-headers-2`, ...: a JSON list in
//! pieces, of names, and of `[name, value]` as in the canonical line for what stands there alone. Everybody else reads the
//! attributes.

use std::collections::BTreeMap;

use crate::event::{HeaderValue, Headers, HeadersBuf, line};

/// Says how the headers were.
pub const ORDER: &str = "evcat-headers";
/// The limits of the service (<https://cloud.google.com/pubsub/quotas#resource_limits>).
const MOST: usize = 100;
const LONGEST_NAME: usize = 256;
const LONGEST_VALUE: usize = 1024;
/// So many headers are attributes where not all can be: the others, and the order, need room.
const ROOM: usize = 80;

/// Attributes by name.
pub type Attributes = BTreeMap<String, String>;

/// The headers as attributes. Errors: why they cannot be.
pub fn to_attributes(headers: Headers<'_>) -> Result<Attributes, String> {
    let all: Vec<(&[u8], HeaderValue<'_>)> = headers.iter().collect();
    let plain = |at: usize| {
        let (name, value) = all[at];
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name))?;
        let value = String::from_utf8(value.to_text()?.into_owned()).ok()?;
        let again = all[at + 1..].iter().any(|(other, _)| *other == name.as_bytes());
        (value.len() <= LONGEST_VALUE && !again).then_some((name, value))
    };
    let texts: Vec<_> = (0..all.len()).map(plain).collect();
    let natural = texts.iter().all(Option::is_some)
        && all.len() <= MOST
        && all.is_sorted_by(|(before, _), (name, _)| before < name);
    let most = if natural { MOST } else { ROOM };
    let (mut attributes, mut order) = (Attributes::new(), vec![b'[']);
    for (at, text) in texts.into_iter().enumerate() {
        if at > 0 {
            order.push(b',');
        }
        match text.filter(|_| attributes.len() < most) {
            Some((name, value)) => {
                order.extend_from_slice(&serde_json::to_vec(name).unwrap_or_default());
                attributes.insert(name.to_owned(), value);
            }
            None => {
                let mut one = HeadersBuf::default();
                one.push(all[at].0, all[at].1);
                let mut list = Vec::new();
                line::write_headers(&mut list, one.as_headers());
                order.extend_from_slice(&list[1..list.len() - 1]);
            }
        }
    }
    order.push(b']');
    if !natural {
        for (at, piece) in pieces(&String::from_utf8_lossy(&order)).into_iter().enumerate() {
            attributes.insert(piece_name(at), piece);
        }
    }
    match attributes.len() {
        ..=MOST => Ok(attributes),
        many => Err(format!(
            "its {} headers take {many} attributes, and a message has {MOST} at most, of {LONGEST_NAME} bytes a name and \
             {LONGEST_VALUE} a value",
            all.len()
        )),
    }
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.starts_with(ORDER)
}

/// `evcat-headers`, `evcat-headers-2`, ...
fn piece_name(at: usize) -> String {
    if at == 0 { ORDER.to_owned() } else { format!("{ORDER}-{}", at + 1) }
}

/// Cut where characters end.
fn pieces(text: &str) -> Vec<String> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(LONGEST_VALUE));
        pieces.push(piece.to_owned());
        rest = after;
    }
    pieces
}

/// The headers of attributes. What was in an order of its own is in it again; what somebody added since comes last.
pub fn from_attributes(out: &mut HeadersBuf, attributes: &Attributes) {
    let whole: Vec<&str> =
        (0..MOST).map_while(|at| attributes.get(&piece_name(at)).map(String::as_str)).collect();
    let order: Option<Vec<serde_json::Value>> = serde_json::from_str(&whole.concat()).ok();
    let mut told: Vec<&str> = Vec::new();
    for entry in order.iter().flatten() {
        match entry {
            serde_json::Value::String(name) => {
                if let Some((name, value)) = attributes.get_key_value(name.as_str()) {
                    out.push_str(name, value);
                    told.push(name);
                }
            }
            serde_json::Value::Array(_) => {
                let text = format!("{{\"payload\":null,\"headers\":[{entry}]}}");
                if let Ok(parsed) = line::parse(text.as_bytes()) {
                    out.extend(parsed.headers.as_headers());
                }
            }
            _ => {}
        }
    }
    let ours: Vec<String> =
        if order.is_some() { (0..whole.len()).map(piece_name).collect() } else { Vec::new() };
    for (name, value) in attributes {
        // One that is not ours is a header as any other.
        if !told.contains(&name.as_str()) && !ours.contains(name) {
            out.push_str(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(headers: &HeadersBuf) -> HeadersBuf {
        let attributes = to_attributes(headers.as_headers()).expect("all can be said");
        assert!(attributes.len() <= MOST);
        assert!(
            attributes.iter().all(|(name, value)| name.len() <= LONGEST_NAME && value.len() <= LONGEST_VALUE)
        );
        let mut back = HeadersBuf::default();
        from_attributes(&mut back, &attributes);
        back
    }

    #[test]
    fn what_is_in_order_anyway_needs_no_word_more() {
        let mut headers = HeadersBuf::default();
        headers.push_str("a", "1");
        headers.push_str("b", "");
        assert_eq!(to_attributes(headers.as_headers()).expect("it can be said").len(), 2);
        assert_eq!(there_and_back(&headers), headers);
    }

    #[test]
    fn order_duplicates_and_what_is_no_text_come_back() {
        let mut headers = HeadersBuf::default();
        for (name, value) in [("z", "1"), ("a", "2"), ("a", ""), ("z", "1"), ("m", "\""), ("", "no name")] {
            headers.push_str(name, value);
        }
        headers.push(b"n", HeaderValue::Null);
        headers.push(b"\xff", HeaderValue::Bytes(b"\0\xff"));
        headers.push_str("long", &"ü".repeat(3000));
        headers.push_str(&"x".repeat(300), "a long name");
        headers.push_str(ORDER, "not ours");
        assert_eq!(there_and_back(&headers), headers);
    }

    #[test]
    fn many_come_back_and_too_many_are_refused() {
        let mut headers = HeadersBuf::default();
        (0..100).for_each(|i| headers.push_str(&format!("h{i:03}"), "x"));
        assert_eq!(to_attributes(headers.as_headers()).expect("it can be said").len(), 100);
        assert_eq!(there_and_back(&headers), headers);
        (0..300).for_each(|i| headers.push_str(&format!("more{i}"), "x"));
        assert_eq!(there_and_back(&headers), headers);
        headers.push_str("too much", &"x".repeat(100_000));
        let refusal = to_attributes(headers.as_headers()).expect_err("too much");
        assert!(refusal.contains("100 at most"), "{refusal}");
    }

    #[test]
    fn what_somebody_added_comes_last_and_what_only_has_our_name_is_kept() {
        let mut headers = HeadersBuf::default();
        headers.push_str("z", "1");
        headers.push_str("b", "2");
        let mut attributes = to_attributes(headers.as_headers()).expect("all can be said");
        attributes.insert("a".into(), "3".into());
        let mut back = HeadersBuf::default();
        from_attributes(&mut back, &attributes);
        let names: Vec<_> = back.as_headers().iter().map(|(name, _)| name.to_vec()).collect();
        assert_eq!(names, [b"z", b"b", b"a"]);
        let mut back = HeadersBuf::default();
        from_attributes(&mut back, &[(ORDER.to_owned(), "mine".to_owned())].into());
        assert_eq!(back.as_headers().iter().count(), 1);
    }
}
