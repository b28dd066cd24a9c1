//! Logging in, and what is said where it does not succeed.

use std::time::{Duration, Instant};

use evcat::broker::{Error, Kind, Source, Start};

use crate::brokers::{Private, or_skip};
use crate::{DEADLINE, run, try_broker, unique, words};

struct Secure(Private);

impl Secure {
    fn up() -> Option<Secure> {
        or_skip(Private::up("kafka:secure")).map(Secure)
    }

    /// The URL of a listener with a user in it.
    fn url(&self, listener: &str, user: &str) -> String {
        let url = self.0.variable(&format!("EVCAT_TEST_KAFKA_{listener}"));
        if user.is_empty() { url.to_owned() } else { url.replace("://", &format!("://{user}@")) }
    }

    fn file(&self, name: &str) -> &str {
        self.0.variable(&format!("EVCAT_TEST_KAFKA_{name}"))
    }

    /// What `check` says, and how soon.
    fn check(
        &self,
        url: &str,
        options: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Duration, (Error, Duration)> {
        let begun = Instant::now();
        let answer = run(async { try_broker(url, timeout, options)?.check().await });
        match answer {
            Ok(_) => Ok(begun.elapsed()),
            Err(error) => Err((error, begun.elapsed())),
        }
    }
}

/// One broker for all of it, because it takes seconds to start.
#[test]
fn who_may_gets_in_and_who_may_not_is_told_why() {
    let Some(secure) = Secure::up() else { return };
    let ca = ("ssl.ca.location", secure.file("CA"));
    let certificate =
        [("ssl.certificate.location", secure.file("CERT")), ("ssl.key.location", secure.file("KEY"))];
    let alice = ("password", secure.file("ALICE_PASSWORD"));
    let sasl_tls = secure.url("SASL_TLS", "alice");

    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for (listener, options) in [("SASL_TLS", &[ca][..]), ("SASL", &[])] {
            let options = [options, &[alice, ("sasl.mechanism", mechanism)]].concat();
            secure.check(&secure.url(listener, "alice"), &options, DEADLINE).expect(mechanism);
        }
    }
    secure
        .check(&secure.url("TLS", ""), &[&[ca][..], &certificate].concat(), DEADLINE)
        .expect("a certificate");

    // Patience helps with none of these, so there is none.
    let other = ("ssl.ca.location", secure.file("OTHER_CA"));
    let wrong = ("password", "guess");
    let scram = ("sasl.mechanism", "SCRAM-SHA-512");
    for (url, options, kind, word) in [
        (&sasl_tls, vec![ca, wrong, scram], Kind::Denied, "SASL authentication error"),
        (&sasl_tls, vec![ca, wrong], Kind::Denied, "SASL authentication error"),
        (&sasl_tls, vec![other, alice], Kind::Unreachable, "ssl.ca.location"),
        (&sasl_tls, vec![alice], Kind::Unreachable, "ssl.ca.location"),
        (&secure.url("TLS", ""), vec![ca], Kind::Denied, "ssl.certificate.location"),
    ] {
        let (error, took) = secure.check(url, &options, DEADLINE).expect_err(word);
        assert_eq!(error.kind(), kind, "{}", words(&error));
        assert!(words(&error).contains(word), "{}", words(&error));
        assert!(!words(&error).contains("guess"), "{}", words(&error));
        assert!(took < DEADLINE / 2, "{took:?}: {}", words(&error));
    }

    // A port that closes the connection may be one that comes up, so these are waited for.
    for (url, word) in [
        (secure.url("SASL", ""), "kafka://USER@host"),
        (secure.url("TLS", "").replace("kafkas://", "kafka://"), "kafkas:// instead of kafka://"),
    ] {
        let (error, _) = secure.check(&url, &[], Duration::from_millis(700)).expect_err(word);
        assert!(words(&error).contains(word), "{}", words(&error));
    }

    rights(&secure, ca, alice);
}

/// alice may do everything with what is named alice.*, bob may log in.
fn rights(secure: &Secure, ca: (&str, &str), alice: (&str, &str)) {
    let bob = ("password", secure.file("BOB_PASSWORD"));
    run(async {
        let alice = try_broker(&secure.url("SASL_TLS", "alice"), DEADLINE, &[ca, alice]).unwrap();
        let bob = try_broker(&secure.url("SASL_TLS", "bob"), DEADLINE, &[ca, bob]).unwrap();
        let topic = unique("alice.t");
        alice.create_topic(&topic, &[]).await.unwrap();
        let group = |name: &str| Source::Group { topics: vec![topic.as_str().into()], group: name.into() };
        alice.create_group(&group("alice.g"), &Start::Earliest, None).await.unwrap();
        assert_eq!(alice.groups(&topic).await.unwrap().len(), 1);

        let no_topic = alice.create_topic("secret", &[]).await.unwrap_err();
        let no_group = alice.create_group(&group("secret"), &Start::Earliest, None).await.unwrap_err();
        let no_look = bob.topics(&topic).await.unwrap_err();
        let no_delete = bob.delete_topic(&topic).await.unwrap_err();
        for (error, right) in [
            (&no_topic, "--allow-principal User:alice --operation Create --topic secret"),
            (&no_group, "--allow-principal User:alice --operation Read --group secret"),
            (&no_look, &format!("--allow-principal User:bob --operation Describe --topic {topic}")),
            (&no_delete, &format!("--allow-principal User:bob --operation Delete --topic {topic}")),
        ] {
            assert_eq!(error.kind(), Kind::Denied, "{}", words(error));
            assert!(words(error).contains(right), "{}", words(error));
        }
        assert!(bob.topics("*").await.unwrap().is_empty(), "what may not be seen is not there");
    });
}
