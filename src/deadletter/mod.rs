//! An event that could not be processed: its failure record, and the way back.
//!
//! [`record`] writes our own record and reads everybody's into one [`Letter`]; [`decoders`] holds one file per ecosystem;
//! [`fingerprint`] groups what failed for the same reason; [`choose`] says which letters are meant, [`plan`] where each
//! goes, [`copy`] what it looks like there.

pub mod choose;
pub mod copy;
pub mod decoders;
pub mod fingerprint;
pub mod plan;
pub mod record;
pub mod stats;

pub use record::{Letter, Origin, Record, decode, failure_json, stamp};
