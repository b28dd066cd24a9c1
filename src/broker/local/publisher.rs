//! Publishing.

use std::sync::Arc;

use super::file::Place;
use crate::broker::{Error, Kind, PublishOptions, Publisher, Result};

/// See [`Broker::publisher`](crate::broker::Broker::publisher).
pub async fn open(_place: &Arc<Place>, _options: PublishOptions) -> Result<Box<dyn Publisher>> {
    Err(Error::new(Kind::Unsupported, "publisher", "local", "publishing is not in this build"))
}
