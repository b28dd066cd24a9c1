//! The keys of `-X` and of the URL's query: librdkafka's properties, read from its own documentation when evcat is built.

include!(concat!(env!("OUT_DIR"), "/kafka_properties.rs"));

use super::client::Role;
pub use super::reserved::RESERVED;

/// evcat's own key: the password of the user in the URL.
pub const PASSWORD: (&str, &str) = ("password", "the password of the URL's user, better given by a profile");

/// The keys of `-X`.
pub const OPTIONS: &[(&str, &str)] = {
    const ALL: [(&str, &str); PROPERTIES.len() + 1] = {
        let mut all = [PASSWORD; PROPERTIES.len() + 1];
        let mut i = 0;
        while i < PROPERTIES.len() {
            all[i + 1] = PROPERTIES[i];
            i += 1;
        }
        all
    };
    &ALL
};

/// Whether a property means something to a client of this role; else the library logs a warning for each.
pub fn concerns(key: &str, role: Role) -> bool {
    let others = match role {
        Role::Producer => CONSUMER_ONLY,
        Role::Consumer => PRODUCER_ONLY,
    };
    !others.contains(&key)
}

/// Whether the value of a property is never shown.
pub fn is_secret(key: &str) -> bool {
    let secret = ["password", "secret", "passphrase", "key.pem", "private.key", "oauthbearer.config"];
    secret.iter().any(|word| key.contains(word)) && !key.ends_with(".file") && !key.ends_with(".location")
}

/// Why a property cannot be set, where that is so.
pub fn reserved(key: &str) -> Option<&'static str> {
    RESERVED.iter().find(|(known, _)| *known == key).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_takes_every_key_that_is_offered() {
        let mut refused = Vec::new();
        for (key, _) in PROPERTIES {
            // A value that fits no property: what matters is that the key is known.
            if let Err(words) = super::super::conf::Conf::new().set(key, "\u{1}")
                && words.contains("No such configuration property")
            {
                refused.push(*key);
            }
        }
        assert_eq!(refused, Vec::<&str>::new());
    }

    #[test]
    fn what_is_reserved_exists() {
        for (key, _) in RESERVED {
            let mut conf = super::super::conf::Conf::new();
            let words = conf.set(key, "\u{1}").err().unwrap_or_default();
            assert!(!words.contains("No such configuration property"), "{key}");
        }
    }

    #[test]
    fn a_role_is_not_given_what_concerns_the_other() {
        assert!(!concerns("linger.ms", Role::Consumer) && concerns("linger.ms", Role::Producer));
        assert!(
            !concerns("fetch.wait.max.ms", Role::Producer) && concerns("socket.timeout.ms", Role::Producer)
        );
    }

    #[test]
    fn secrets_are_known_by_name() {
        for key in ["sasl.password", "ssl.key.pem", "ssl.keystore.password", "sasl.oauthbearer.client.secret"]
        {
            assert!(is_secret(key), "{key}");
        }
        for key in ["ssl.key.location", "sasl.username", "ssl.ca.pem", "bootstrap.servers"] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
