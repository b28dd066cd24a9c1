//! Where an event lies in its topic.

use super::Name;

/// Where an event lies; ordered only within one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Position {
    /// Nobody knows, or it was not stored yet.
    #[default]
    Unknown,
    /// On the way in: the partition that was asked for.
    Partition(i32),
    /// Local, JetStream, RabbitMQ streams: counted through the whole topic.
    Offset(i64),
    /// Kafka: counted from 0 within the partition.
    At {
        /// Which partition.
        partition: i32,
        /// The offset within it.
        offset: i64,
    },
    /// Redis `ms-seq`.
    Pair(u64, u64),
    /// SQS, Pub/Sub: a name, not a place; nothing can seek to it.
    Id(Name),
}

impl Position {
    /// The partition, where there is one.
    pub fn partition(&self) -> Option<i32> {
        match self {
            Position::Partition(partition) | Position::At { partition, .. } => Some(*partition),
            _ => None,
        }
    }

    /// The offset within the topic or partition, where there is one.
    pub fn offset(&self) -> Option<i64> {
        match self {
            Position::Offset(offset) | Position::At { offset, .. } => Some(*offset),
            _ => None,
        }
    }

    /// The other direction of its text. Whatever is no number, pair of partition and offset, or pair of milliseconds and
    /// sequence is an id.
    pub fn parse(text: &str) -> Position {
        fn two<A: std::str::FromStr, B: std::str::FromStr>(text: &str, at: char) -> Option<(A, B)> {
            let (a, b) = text.split_once(at)?;
            Some((a.parse().ok()?, b.parse().ok()?))
        }
        if text.is_empty() || text == "-" {
            return Position::Unknown;
        }
        if let Ok(offset) = text.parse() {
            return Position::Offset(offset);
        }
        if let Some((partition, offset)) = two(text, ':') {
            return Position::At { partition, offset };
        }
        match two(text, '-') {
            Some((ms, seq)) => Position::Pair(ms, seq),
            None => Position::Id(text.into()),
        }
    }
}

/// As people type it: `123`, `3:123`, `1526919030474-55`, an id as it is.
impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Position::Unknown => f.write_str("-"),
            Position::Partition(partition) => write!(f, "{partition}:?"),
            Position::Offset(offset) => write!(f, "{offset}"),
            Position::At { partition, offset } => write!(f, "{partition}:{offset}"),
            Position::Pair(ms, seq) => write!(f, "{ms}-{seq}"),
            Position::Id(id) => f.write_str(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_position_is_read_back() {
        let all = [
            Position::Unknown,
            Position::Offset(41),
            Position::At { partition: 3, offset: 123 },
            Position::Pair(1526919030474, 55),
            Position::Id("019aa5b2-7c1e-7000-8000-000000000000".into()),
        ];
        for position in all {
            assert_eq!(Position::parse(&position.to_string()), position);
        }
    }
}
