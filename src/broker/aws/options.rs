//! The keys of `-X` and of the URL's query.

/// Where the services are.
pub const ENDPOINT: (&str, &str) =
    ("endpoint", "URL of SNS and SQS where they are not at AWS, such as http://127.0.0.1:4566");
/// Which profile of the AWS configuration files.
pub const PROFILE: (&str, &str) = ("profile", "a profile of ~/.aws/config [AWS_PROFILE, else default]");
/// The secret of the URL's user.
pub const PASSWORD: (&str, &str) =
    ("password", "the secret access key of the URL's user, better given by a profile [the credential chain]");
/// The longest poll.
pub const WAIT: (&str, &str) =
    ("wait", "seconds that a request to a queue where nothing comes is left open at most, 1 to 20 [20]");
/// The limit of a new group's queue.
pub const RECEIVES: (&str, &str) = (
    "max_receives",
    "so often the queue of a new group hands an event out before AWS itself moves it to the dead letters, 2 to 1000 [1000]",
);
/// How old something temporary must be.
pub const STALE: (&str, &str) =
    ("stale", "seconds without a sign of its tail after which a temporary queue was left behind [900]");

/// All of them.
pub const OPTIONS: &[(&str, &str)] = &[ENDPOINT, RECEIVES, PASSWORD, PROFILE, STALE, WAIT];
