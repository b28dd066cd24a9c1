//! What the service says went wrong as our kinds, in words, with what to do next.

use std::collections::BTreeMap;

use prost::Message;
use tonic::{Code, Status};

use crate::broker::{Error, Kind};

/// What was being done, for an error.
#[derive(Clone, Debug)]
pub struct About {
    /// The trait's method.
    pub operation: &'static str,
    /// On what: `topic orders`, `group billing of topic orders`, or nothing.
    pub subject: String,
}

/// Where it says what may be done by whom.
const RIGHTS: &str = "publishing needs roles/pubsub.publisher, subscribing roles/pubsub.subscriber, making topics and \
                      subscriptions roles/pubsub.editor: gcloud projects add-iam-policy-binding PROJECT --member=... --role=...";

impl About {
    /// Such a method on such a thing.
    pub fn new(operation: &'static str, subject: impl Into<String>) -> About {
        About { operation, subject: subject.into() }
    }

    /// On this topic.
    pub fn topic(operation: &'static str, topic: &str) -> About {
        About::new(operation, format!("topic {topic}"))
    }

    /// On this group of it.
    pub fn group(operation: &'static str, topic: &str, group: &str) -> About {
        About::new(operation, format!("group {group} of topic {topic}"))
    }

    /// An error of ours.
    pub fn error(&self, kind: Kind, message: impl Into<String>) -> Error {
        Error::new(kind, self.operation, self.subject.clone(), message)
    }

    /// There is none.
    pub fn missing(&self) -> Error {
        self.error(Kind::NotFound, "does not exist")
    }

    /// The service's word as ours.
    pub fn map(&self, status: &Status) -> Error {
        tracing::debug!(operation = self.operation, "{status}");
        let words = status.message();
        let (kind, message, hint) = match status.code() {
            // A project that is not there is told in the same way as a topic.
            Code::NotFound if words.to_ascii_lowercase().contains("project not found") => {
                (Kind::NotFound, words.into(), Some("the project is the URL's host: pubsub://PROJECT"))
            }
            Code::NotFound => (Kind::NotFound, "does not exist".into(), None),
            Code::AlreadyExists => (Kind::Rejected, "it is there already".into(), None),
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
                (Kind::Rejected, words.into(), None)
            }
            Code::PermissionDenied => (Kind::Denied, words.into(), Some(RIGHTS)),
            Code::Unauthenticated => (Kind::Denied, words.into(), Some(super::link::CHAIN)),
            // Asked again for as long as patience lasted.
            Code::ResourceExhausted => (
                Kind::Full,
                format!("the project's quota is used up: {words}"),
                Some("gcloud quotas, or less --rate"),
            ),
            Code::Unimplemented => (Kind::Unsupported, format!("this server cannot do that: {words}"), None),
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Cancelled
            | Code::Unknown => (Kind::Unreachable, transport(status), None),
            Code::Ok | Code::DataLoss => (Kind::Broken, words.into(), None),
        };
        let error = self.error(kind, message).with_source(status.clone());
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// The innermost cause, which says more than "transport error".
fn transport(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.downcast_ref::<Status>() {
        Some(status) if status.message().is_empty() => format!("the server broke off: {}", status.code()),
        Some(status) => status.message().to_owned(),
        None => cause.to_string(),
    }
}

/// Whether the same may go well a moment later.
pub fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Cancelled
            | Code::Unknown
            | Code::ResourceExhausted
    )
}

/// Whether the request never left: there was no connection to leave by.
pub fn never_left(status: &Status) -> bool {
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// `google.rpc.Status`, which comes with an error.
#[derive(Clone, PartialEq, Message)]
struct Detailed {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

/// Per ack id why it was refused, of a subscription with exactly-once delivery: `PERMANENT_FAILURE_INVALID_ACK_ID`,
/// `TRANSIENT_FAILURE_...` (<https://cloud.google.com/pubsub/docs/exactly-once-delivery>).
pub fn refused_acks(status: &Status) -> BTreeMap<String, String> {
    let details = Detailed::decode(status.details()).map(|status| status.details).unwrap_or_default();
    let infos = details.iter().filter(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"));
    infos.filter_map(|any| ErrorInfo::decode(&*any.value).ok()).flat_map(|info| info.metadata).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_read_out_of_the_details() {
        let info = ErrorInfo {
            reason: "any".into(),
            metadata: [("a1".to_owned(), "PERMANENT_FAILURE_INVALID_ACK_ID".to_owned())].into(),
        };
        let any = prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
            value: info.encode_to_vec(),
        };
        let details = Detailed { details: vec![any] }.encode_to_vec();
        let status = Status::with_details(Code::InvalidArgument, "no", details.into());
        assert_eq!(refused_acks(&status).len(), 1);
        assert!(refused_acks(&Status::unavailable("away")).is_empty());
    }

    #[test]
    fn a_kind_for_each_code() {
        let kind = |code, words| About::topic("send", "orders").map(&Status::new(code, words)).kind();
        assert_eq!(kind(Code::NotFound, "Resource not found"), Kind::NotFound);
        assert_eq!(kind(Code::PermissionDenied, "User not authorized"), Kind::Denied);
        assert_eq!(kind(Code::Unavailable, "away"), Kind::Unreachable);
        assert_eq!(kind(Code::InvalidArgument, "no"), Kind::Rejected);
        let error = About::new("check", "").map(&Status::not_found("Requested project not found or ..."));
        assert!(error.detail().hint.as_deref().is_some_and(|hint| hint.contains("pubsub://")), "{error}");
    }
}
