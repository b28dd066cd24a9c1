//! Looking.

use std::sync::Arc;

use super::file::Place;
use crate::broker::{Error, Kind, ReadOptions, Reader, Result};

/// See [`Broker::reader`](crate::broker::Broker::reader).
pub async fn open(_place: &Arc<Place>, _options: ReadOptions) -> Result<Box<dyn Reader>> {
    Err(Error::new(Kind::Unsupported, "reader", "local", "reading is not in this build"))
}
