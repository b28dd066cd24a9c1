//! The library's and the broker's codes as our kinds, in words, with what to do next.

use super::client::Client;
use super::sys::Code;
use crate::broker::{Error, Kind};

/// What was being done, for an error.
#[derive(Clone, Debug)]
pub struct About {
    /// The trait's method.
    pub operation: &'static str,
    /// On what: `topic orders`.
    pub subject: String,
}

impl About {
    /// Such a method on such a thing.
    pub fn new(operation: &'static str, subject: impl Into<String>) -> About {
        About { operation, subject: subject.into() }
    }
}

/// What went wrong, as the library said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its code.
    pub code: Code,
    /// Its words, perhaps none.
    pub words: String,
}

impl Trouble {
    /// The same as an error of ours; where the broker was not reached, with what the client said of its connections.
    pub fn error(&self, about: &About, client: &Client) -> Error {
        let kind = kind(self.code);
        let mut message = client.news().masked(&self.words);
        if kind == Kind::Unreachable
            && let Some(reason) = client.news().reasons().last()
        {
            message = reason.words.clone();
        }
        if message.is_empty() {
            message = self.code.words();
        }
        Error::new(kind, about.operation, about.subject.clone(), message)
    }
}

/// The kind of a code.
pub fn kind(code: Code) -> Kind {
    match code {
        Code::LOCAL_UNKNOWN_TOPIC
        | Code::LOCAL_UNKNOWN_PARTITION
        | Code::UNKNOWN_TOPIC_OR_PART
        | Code::GROUP_ID_NOT_FOUND => Kind::NotFound,
        Code::LOCAL_AUTHENTICATION
        | Code::SASL_AUTHENTICATION_FAILED
        | Code::TOPIC_AUTHORIZATION_FAILED
        | Code::GROUP_AUTHORIZATION_FAILED
        | Code::CLUSTER_AUTHORIZATION_FAILED
        | Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => Kind::Denied,
        Code::LOCAL_TRANSPORT
        | Code::LOCAL_RESOLVE
        | Code::LOCAL_ALL_BROKERS_DOWN
        | Code::LOCAL_TIMED_OUT
        | Code::LOCAL_TIMED_OUT_QUEUE
        | Code::LOCAL_SSL => Kind::Unreachable,
        Code::LOCAL_MSG_TIMED_OUT | Code::REQUEST_TIMED_OUT => Kind::InDoubt,
        _ => Kind::Rejected,
    }
}
