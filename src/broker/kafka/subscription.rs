//! Working: members of groups, and dead letters.

use super::Kafka;
use crate::broker::{Error, Kind, Result, Source, SubscribeOptions, Subscription};

/// See [`Broker::subscription`](crate::broker::Broker::subscription).
pub async fn open(
    _kafka: &Kafka,
    _source: Source,
    _options: SubscribeOptions,
) -> Result<Box<dyn Subscription>> {
    Err(Error::new(Kind::Unsupported, "subscription", "kafka", "not built yet"))
}
