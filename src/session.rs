//! What a command works with: the broker it was given, how to talk, when to stop.

use std::sync::Arc;

use crate::broker::{Broker, Surroundings};
use crate::output::Ui;
use crate::shutdown::Stop;

/// The surroundings of one command.
pub struct Session {
    /// How to talk.
    pub ui: Ui,
    /// When to stop.
    pub stop: Stop,
    /// The broker that was chosen.
    pub endpoint: Endpoint,
    /// Opened, not yet reached.
    pub broker: Arc<dyn Broker>,
    /// What it was opened with; a second broker (`--to-broker`) gets the same.
    pub surroundings: Surroundings,
}

/// A chosen broker, by the names that screens use.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `local`, or the profile's name, or the URL with its secrets masked.
    pub name: String,
    /// The backend's name: `local`, `kafka`.
    pub backend: &'static str,
    /// ` -b prod` where it was given and a pasted command must repeat it, else empty.
    pub flag: String,
    /// Writing is refused.
    pub read_only: bool,
}
