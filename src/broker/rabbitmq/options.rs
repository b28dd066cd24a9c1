//! The keys of `-X` and of the URL's query. Those that RabbitMQ's own URLs have are called as there
//! (<https://www.rabbitmq.com/docs/uri-query-parameters>).

/// Whether the value of a key is never shown.
pub fn is_secret(key: &str) -> bool {
    key == PASSWORD.0 || key == MANAGEMENT.0
}

/// The password of the URL's user.
pub const PASSWORD: (&str, &str) =
    ("password", "the password of the URL's user, better given by a profile [guest for guest]");
/// Which routing keys a new group, or a tail, gets.
pub const BINDING: (&str, &str) =
    ("binding", "which keys a new group or a tail gets, such as orders.eu.*; several by commas [#]");
/// Who signed the server's certificate.
pub const CA: (&str, &str) =
    ("cacertfile", "PEM of who signed the server's certificate, besides the system's");
/// Our certificate.
pub const CERT: (&str, &str) =
    ("certfile", "PEM of our certificate, with those between it and its authority");
/// Its key.
pub const KEY: (&str, &str) = ("keyfile", "PEM of the key of our certificate, PKCS#8");
/// How to log in.
pub const MECHANISM: (&str, &str) =
    ("auth_mechanism", "plain, amqplain or external (by certificate) [plain]");
/// How often the connection shows that it lives.
pub const HEARTBEAT: (&str, &str) =
    ("heartbeat", "seconds between two signs of life, 0 for none [what the server says]");
/// Where the management API is.
pub const MANAGEMENT: (&str, &str) =
    ("management", "URL of the management API, which lists what AMQP cannot: http://host:15672");
/// The largest message the server takes.
pub const MAX_SIZE: (&str, &str) =
    ("max_message_size", "bytes of the largest message that the server takes [16777216]");
/// Options of exchanges that evcat makes.
pub const KIND: (&str, &str) =
    ("topic.type", "exchanges made by evcat: topic, direct, fanout or headers [topic]");

/// All of them.
pub const OPTIONS: &[(&str, &str)] =
    &[KIND, CA, BINDING, CERT, HEARTBEAT, KEY, MANAGEMENT, MAX_SIZE, MECHANISM, PASSWORD];
