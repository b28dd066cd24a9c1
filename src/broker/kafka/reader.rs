//! Looking.

use super::Kafka;
use crate::broker::{Error, Kind, ReadOptions, Reader, Result};

/// See [`Broker::reader`](crate::broker::Broker::reader).
pub async fn open(_kafka: &Kafka, _options: ReadOptions) -> Result<Box<dyn Reader>> {
    Err(Error::new(Kind::Unsupported, "reader", "kafka", "not built yet"))
}
