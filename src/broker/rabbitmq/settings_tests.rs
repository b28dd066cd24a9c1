#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use super::*;

fn settings(scheme: &str, rest: &str, options: &[(&str, &str)]) -> Result<Settings> {
    let surroundings = Surroundings {
        clock: Arc::new(|| 0),
        timeout: None,
        options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        data_dir: "/nonexistent".into(),
    };
    Settings::of(&Location { scheme: scheme.into(), rest: rest.into() }, &surroundings)
}

#[test]
fn the_parts_of_a_url() {
    let all =
        settings("amqps", "//ann@h:1/a%2Fb?heartbeat=5&binding=x.%23,y", &[("password", "p w")]).unwrap();
    assert_eq!((all.server.as_str(), all.vhost(), all.user()), ("h:1", "a/b", "ann"));
    assert_eq!(all.user_and_password().1, "p w");
    assert_eq!(all.bindings, ["x.#", "y"]);
    assert_eq!(all.uri().query.heartbeat, Some(5));
    let least = settings("amqp", "//h", &[]).unwrap();
    assert_eq!((least.server.as_str(), least.vhost()), ("h:5672", "/"));
    assert_eq!(least.user_and_password(), ("guest", "guest"));
    assert_eq!(settings("amqps", "//[::1]", &[]).unwrap().server, "[::1]:5671");
    let other = settings("amqp", "//h", &[("management", "https://m/rabbit/")]).unwrap().management.unwrap();
    assert_eq!((other.tls, &*other.host, other.port, &*other.path), (true, "m", 15671, "/rabbit"));
}

#[test]
fn what_says_too_little_or_nonsense_is_refused_without_its_secrets() {
    let bad = [
        ("//", &[][..], "host"),
        ("//h:x", &[], "port"),
        ("//a,b", &[], "one host"),
        ("//h?hartbeat=1", &[], "hartbeat"),
        ("//h?heartbeat=soon", &[], "whole number"),
        ("//h", &[("auth_mechanism", "magic")], "external"),
        ("//h", &[("cacertfile", "/ca.pem")], "TLS"),
        ("//h", &[("management", "h:15672")], "http://"),
        ("//h", &[("topic.type", "queue")], "fanout"),
    ];
    for (rest, options, part) in bad {
        let error = settings("amqp", rest, options).err().unwrap_or_else(|| panic!("{rest}"));
        assert_eq!(error.kind(), Kind::Unsupported);
        let words = format!("{error} {}", error.detail().hint.as_deref().unwrap_or_default());
        assert!(words.contains(part), "{rest}: {words}");
    }
    let error = settings("amqp", "//h", &[("management", "http://u:hunter2@m")]).err().unwrap();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
