//! Publishing.

use super::Kafka;
use crate::broker::{Error, Kind, PublishOptions, Publisher, Result};

/// See [`Broker::publisher`](crate::broker::Broker::publisher).
pub async fn open(_kafka: &Kafka, _options: PublishOptions) -> Result<Box<dyn Publisher>> {
    Err(Error::new(Kind::Unsupported, "publisher", "kafka", "not built yet"))
}
