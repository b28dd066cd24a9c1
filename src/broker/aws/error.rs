//! What the client and the services say went wrong as our kinds, in words, with what to do next.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::broker::{Error, Kind};

/// What was being done, for an error.
#[derive(Clone, Debug)]
pub struct About {
    /// The trait's method.
    pub operation: &'static str,
    /// On what: `topic orders`, `group billing of topic orders`, or nothing.
    pub subject: String,
}

/// Who says who we are.
const CHAIN: &str = "asked in this order: the URL (aws://ACCESS_KEY@REGION), AWS_ACCESS_KEY_ID, the profile of \
                     AWS_PROFILE or -X profile=NAME in ~/.aws (also SSO and credential_process), a web identity token, \
                     the container, the instance; a region that is not enabled for the account answers so too; to see what \
                     the AWS tools find: aws sts get-caller-identity";
/// The same where it may be another region that is meant.
const REGION: &str = "is the region of the URL, aws://REGION, that of the queue or topic, and enabled for the account? and who \
                      we are: aws sts get-caller-identity";
/// Who may do what.
const RIGHTS: &str = "rights come from the policies of the user or role, and from that of the queue or topic";

/// What is known of a failed request.
#[derive(Clone, Debug)]
pub struct Fault {
    /// As ours.
    pub kind: Kind,
    /// In words.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// It left, and nobody knows whether it was done.
    pub in_doubt: bool,
    /// Another try may help.
    pub again: bool,
    /// There were too many requests.
    pub throttled: bool,
}

impl Fault {
    fn new(kind: Kind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into(), hint: None, in_doubt: false, again: false, throttled: false }
    }

    fn hint(self, hint: &'static str) -> Fault {
        Fault { hint: Some(hint.to_owned()), ..self }
    }

    fn again(self) -> Fault {
        Fault { again: true, ..self }
    }

    fn in_doubt(self) -> Fault {
        Fault { in_doubt: true, ..self }
    }

    /// Whether it is known who we are, and that one may not.
    pub fn is_forbidden(&self) -> bool {
        self.kind == Kind::Denied && self.hint.as_deref() == Some(RIGHTS)
    }

    /// Of what the client says.
    pub fn of<E, R>(error: &SdkError<E, R>) -> Fault
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: std::fmt::Debug + 'static,
    {
        tracing::debug!("{}", words(error));
        if let Some(why) = find::<CredentialsError>(error) {
            return Fault::credentials(why);
        }
        match error {
            SdkError::ServiceError(service) => {
                let error = service.err();
                let (code, message) = (error.code().unwrap_or_default(), error.message().unwrap_or_default());
                Fault::said(code, message)
            }
            SdkError::TimeoutError(_) => {
                Fault::new(Kind::Unreachable, "no answer came in time").again().in_doubt()
            }
            SdkError::DispatchFailure(failure) => {
                let words = words(error);
                if words.contains("(Connect)") || failure.is_user() {
                    return Fault::connect(&words).again();
                }
                let message = "the connection was lost before the answer came";
                Fault::new(Kind::Unreachable, message).again().in_doubt()
            }
            SdkError::ResponseError(_) => {
                // Also an answer that broke off, so that another try may help.
                let message = "the answer is none of SNS or SQS, or not a whole one";
                Fault::new(Kind::Unreachable, message)
                    .hint("-X endpoint=URL says where they are")
                    .again()
                    .in_doubt()
            }
            other => Fault::new(Kind::Broken, words(other)),
        }
    }

    /// Of an error of ours, from before anything was sent.
    pub fn from_ours(error: &Error) -> Fault {
        let detail = error.detail();
        Fault {
            kind: detail.kind,
            message: detail.message.clone(),
            hint: detail.hint.clone(),
            in_doubt: false,
            again: detail.kind == Kind::Unreachable,
            throttled: false,
        }
    }

    fn credentials(why: &CredentialsError) -> Fault {
        let message = match why {
            CredentialsError::CredentialsNotLoaded(_) => "no credentials were found".to_owned(),
            why => format!("no credentials: {}", words(why)),
        };
        Fault::new(Kind::Denied, message).hint(CHAIN)
    }

    fn connect(words: &str) -> Fault {
        if words.contains("certificate") || words.contains("UnknownIssuer") {
            return Fault::new(Kind::Unreachable, format!("its certificate is not accepted: {words}"))
                .hint("roots are those of the system; SSL_CERT_FILE names others");
        }
        if words.contains("dns error") || words.contains("lookup address") {
            return Fault::new(Kind::Unreachable, "its host has no address").hint(
                "is the region spelled as AWS does, such as eu-central-1? -X endpoint=URL names another place",
            );
        }
        let refused = words.contains("onnection refused");
        let message = if refused { "the connection was refused" } else { "it cannot be connected to" };
        Fault::new(Kind::Unreachable, message)
    }

    /// Of the code and words of a service, also for one entry of a batch.
    pub fn said(code: &str, message: &str) -> Fault {
        let code = code.rsplit('.').next().unwrap_or(code);
        let words = match message {
            "" => code.to_owned(),
            message => message.trim_end_matches('.').to_owned(),
        };
        match code {
            "NonExistentQueue"
            | "QueueDoesNotExist"
            | "NotFound"
            | "NotFoundException"
            | "ResourceNotFound"
            | "ResourceNotFoundException" => Fault::new(Kind::NotFound, "does not exist")
                .hint("names are per region and account: is it this one? evcat topics list"),
            "AccessDenied"
            | "AccessDeniedException"
            | "AuthorizationError"
            | "AuthorizationErrorException"
            | "KmsAccessDenied"
            | "KMSAccessDenied"
            | "KMSAccessDeniedException" => Fault::new(Kind::Denied, words).hint(RIGHTS),
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
                Fault::new(Kind::Denied, format!("the credentials have expired: {words}"))
                    .hint("log in again, such as: aws sso login")
            }
            "SignatureDoesNotMatch" | "InvalidSignatureException" | "OptInRequired"
                if words.contains("region") =>
            {
                Fault::new(Kind::Denied, words).hint(REGION)
            }
            "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSecurity"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignature"
            | "OptInRequired"
            | "AuthFailure"
            | "InvalidSignatureException" => Fault::new(Kind::Denied, words).hint(CHAIN),
            "Throttling"
            | "ThrottlingException"
            | "Throttled"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "SlowDown"
            | "KmsThrottled"
            | "KMSThrottlingException" => {
                let message = format!("asked for slower requests: {words}");
                Fault { throttled: true, ..Fault::new(Kind::Unreachable, message).again() }
            }
            "ReceiptHandleIsInvalid" | "MessageNotInflight" => Fault::lost(),
            "InvalidParameterValue" | "InvalidParameter" | "InvalidParameterValueException"
                if words.contains("eceipt handle") || words.contains("VisibilityTimeout") =>
            {
                Fault::lost()
            }
            "OverLimit" => Fault::new(Kind::Full, format!("too many messages are out: {words}")).again(),
            "QueueDeletedRecently" => Fault::new(Kind::Rejected, "a queue of that name was deleted just now")
                .hint("AWS gives a name free 60 seconds after its queue was deleted"),
            "InvalidAction"
            | "UnknownOperationException"
            | "UnsupportedOperation"
            | "UnsupportedOperationException"
            | "NotImplemented" => Fault::new(Kind::Unsupported, words),
            "InternalError" | "InternalFailure" | "InternalErrorException" | "InternalServerError" => {
                Fault::new(Kind::Unreachable, format!("failed by itself: {words}")).again().in_doubt()
            }
            "ServiceUnavailable" | "ServiceUnavailableException" => {
                Fault::new(Kind::Unreachable, format!("not available: {words}")).again()
            }
            "" => Fault::new(Kind::Unreachable, "an error came without a word").again().in_doubt(),
            _ => Fault::new(Kind::Rejected, format!("{words} ({code})")),
        }
    }

    fn lost() -> Fault {
        Fault::new(
            Kind::Lost,
            "the lease ended while it was worked on, and the queue hands the event out again",
        )
    }
}

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

    /// A fault as an error.
    pub fn fault(&self, fault: &Fault) -> Error {
        let error = self.error(fault.kind, fault.message.clone());
        match &fault.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    }

    /// The client's error as ours.
    pub fn map<E, R>(&self, error: &SdkError<E, R>) -> Error
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: std::fmt::Debug + 'static,
    {
        self.fault(&Fault::of(error))
    }
}

/// An error and all below it.
fn words(error: &(dyn StdError + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(below) = next {
        let said = below.to_string();
        if !words.ends_with(&said) {
            words = format!("{words}: {said}");
        }
        next = below.source();
    }
    words
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next: Option<&'a (dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_protocols_mean_the_same() {
        for code in ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NotFound"] {
            assert_eq!(Fault::said(code, "x").kind, Kind::NotFound);
        }
        let stale = Fault::said(
            "InvalidParameterValue",
            "Value x for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
        );
        assert_eq!(stale.kind, Kind::Lost);
        assert_eq!(Fault::said("InvalidParameterValue", "x").kind, Kind::Rejected);
        assert!(Fault::said("ThrottledException", "").again);
        assert!(!Fault::said("ThrottledException", "").in_doubt);
        assert!(Fault::said("InternalFailure", "").in_doubt);
    }
}
