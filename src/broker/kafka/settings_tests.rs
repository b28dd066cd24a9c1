//! What holds for URLs and options.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;

/// The settings of a URL with options; secrets stand in the options, as `settings` hands them over.
fn of(url: &str, options: &[(&str, &str)]) -> std::result::Result<Settings, String> {
    let (scheme, rest) = url.split_once(':').unwrap();
    let location = Location { scheme: scheme.into(), rest: rest.into() };
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let surroundings =
        Surroundings { clock: Arc::new(|| 0), timeout: None, options, data_dir: PathBuf::new() };
    Settings::of(&location, &surroundings)
        .map_err(|e| format!("{e} / {}", e.detail().hint.as_deref().unwrap_or("")))
}

/// The last word on a property, as the library takes it.
fn value<'a>(settings: &'a Settings, key: &str) -> Option<&'a str> {
    settings.pairs(Role::Producer, &[], &[]).filter(|(known, _)| *known == key).map(|(_, value)| value).last()
}

#[test]
fn hosts_have_ports() {
    for (url, servers) in [
        ("kafka://h", "h:9092"),
        ("kafka://h:1,h2/", "h:1,h2:9092"),
        ("kafka://[::1]:7,[::2]", "[::1]:7,[::2]:9092"),
        ("kafka://h?linger.ms=3", "h:9092"),
    ] {
        assert_eq!(of(url, &[]).unwrap().servers, servers, "{url}");
    }
    for url in [
        "kafka://",
        "kafka://h,",
        "kafka://h:0",
        "kafka://h:x",
        "kafka://h/topic",
        "kafka://::1",
        "kafka://:1",
    ] {
        assert!(of(url, &[]).is_err(), "{url}");
    }
}

#[test]
fn the_scheme_and_a_user_say_how_to_connect() {
    let password = ("password", "p");
    for (url, options, protocol, mechanism) in [
        ("kafka://h", &[][..], "plaintext", None),
        ("kafkas://h", &[], "ssl", None),
        ("kafkas://u@h", &[password], "sasl_ssl", Some("PLAIN")),
        ("kafkas://u@h", &[password, ("sasl.mechanism", "SCRAM-SHA-256")], "sasl_ssl", Some("SCRAM-SHA-256")),
        ("kafka://u@h?sasl.mechanism=PLAIN", &[password], "sasl_plaintext", Some("PLAIN")),
        ("kafka://u@h", &[password, ("security.protocol", "SASL_SSL")], "sasl_ssl", Some("PLAIN")),
    ] {
        let settings = of(url, options).unwrap();
        assert_eq!(
            value(&settings, "security.protocol").map(str::to_ascii_lowercase).as_deref(),
            Some(protocol)
        );
        assert_eq!(value(&settings, "sasl.mechanism"), mechanism, "{url}");
    }
    let settings = of("kafkas://a%40b@h", &[("password", "p%")]).unwrap();
    assert_eq!((settings.user(), value(&settings, "sasl.password")), (Some("a@b"), Some("p%")));
    assert_eq!(settings.secrets(), ["p%"]);
}

#[test]
fn what_is_missing_to_log_in_is_said() {
    for (url, options, words) in [
        ("kafka://u@h", &[("password", "p")][..], "SCRAM-SHA-512"),
        ("kafkas://u@h", &[], "no password"),
        ("kafkas://h", &[("password", "p")], "security.protocol=ssl"),
        ("kafkas://h?sasl.mechanism=SCRAM-SHA-512", &[], "needs a user"),
        ("kafkas://h?sasl.mechanism=GSSAPI", &[], "Kerberos"),
        ("kafkas://h?sasl.mechanism=OAUTHBEARER", &[], "libcurl"),
    ] {
        let refused = of(url, options).err().unwrap_or_default();
        assert!(refused.contains(words), "{url}: {refused}");
    }
}

#[test]
fn a_key_that_is_unknown_or_not_for_users_is_refused() {
    let refused = |url| of(url, &[]).err().unwrap_or_default();
    assert!(refused("kafka://h?lingr.ms=1").contains("did you mean 'linger.ms'"));
    assert!(refused("kafka://h?linger.ms").contains("no value"));
    assert!(refused("kafka://h?group.id=x").contains("-g"));
    let refused = of("kafka://h", &[("enable.auto.commit", "true")]).err().unwrap_or_default();
    assert!(refused.contains("cannot be set"), "{refused}");
}

#[test]
fn the_users_word_goes_before_a_default_and_after_what_is_fixed() {
    let settings = of("kafka://h?linger.ms=1", &[("linger.ms", "7"), ("replication.factor", "3")]).unwrap();
    let defaults = [("linger.ms", "0"), ("acks", "all"), ("fetch.wait.max.ms", "5")];
    let pairs: Vec<_> = settings.pairs(Role::Producer, &defaults, &[("acks", "1")]).collect();
    let last = |key: &str| pairs.iter().rfind(|(known, _)| *known == key).map(|(_, value)| *value);
    assert_eq!((last("linger.ms"), last("acks")), (Some("7"), Some("1")));
    assert_eq!(last("fetch.wait.max.ms"), None, "that is a consumer's");
    assert_eq!(last("replication.factor"), None, "the library does not know it");
    assert_eq!(settings.given("replication.factor"), Some("3"));
}

#[test]
fn values_are_taken_in_any_case_as_the_library_takes_them() {
    for (level, committed) in
        [("read_uncommitted", false), ("READ_Uncommitted", false), ("Read_Committed", true)]
    {
        let settings = of("kafka://h", &[("isolation.level", level)]).unwrap();
        assert_eq!(settings.reads_committed(), committed, "{level}");
        assert!(settings.committed().reads_committed(), "{level}");
    }
}
