//! A member at work.

use std::sync::Arc;

use super::file::Place;
use crate::broker::{Error, Kind, Result, Source, SubscribeOptions, Subscription};

/// See [`Broker::subscription`](crate::broker::Broker::subscription).
pub async fn open(
    _place: &Arc<Place>,
    _source: Source,
    _options: SubscribeOptions,
) -> Result<Box<dyn Subscription>> {
    Err(Error::new(Kind::Unsupported, "subscription", "local", "groups are not in this build"))
}
