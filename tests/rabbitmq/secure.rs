//! TLS, certificates, passwords and rights.

use std::time::Duration;

use evcat::broker::{Kind, PublishOptions, Start};

use crate::brokers::{Private, or_skip};
use crate::suite::*;
use crate::{said, vhost};

#[test]
fn tls_with_and_without_a_certificate_of_ours() {
    let Some(server) = or_skip(Private::up("rabbitmq:secure")) else { return };
    run(async {
        let url = server.variable("EVCAT_TEST_RABBITMQ_TLS");
        let [ca, other, cert, key] = ["CA", "OTHER_CA", "CERT", "KEY"]
            .map(|name| server.variable(&format!("EVCAT_TEST_RABBITMQ_{name}")));
        let open =
            |url: &str, options: &[(&str, &str)]| try_broker(url, Duration::from_secs(3), options).unwrap();
        open(url, &[("cacertfile", ca)]).check().await.unwrap();
        open(url, &[("cacertfile", ca), ("certfile", cert), ("keyfile", key)]).check().await.unwrap();
        for options in [&[][..], &[("cacertfile", other)]] {
            let error = open(url, options).check().await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unreachable, "{error}");
            assert!(words(&error).contains("cacertfile"), "{}", words(&error));
        }
        let plain = url.replace("amqps://", "amqp://");
        assert_eq!(open(&plain, &[]).check().await.unwrap_err().kind(), Kind::Unreachable);
        let (place, _) = server.url().split_once('?').unwrap();
        let error =
            open(&place.replace("amqp://", "amqps://"), &[("cacertfile", ca)]).check().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
        let error = open(url, &[("cacertfile", "/nonexistent.pem")]).check().await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent.pem"), "{error}");
    });
}

#[test]
fn who_may_not_is_told_so_and_no_secret_is() {
    let Some(vhost) = vhost() else { return };
    run(async {
        crate::with_group(&vhost.url(), "t", "g").await;
        let place = |user: &str, password: &str| {
            format!("amqp://{user}:{password}@{}/{}", vhost.server(), vhost.name)
        };
        let reader = vhost.user(r#"{"configure": "", "write": "", "read": ".*"}"#);
        let error = broker(&place(&reader, "hunter2")).check().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        let may_read = broker(&place(&reader, "p%20w"));
        may_read.check().await.unwrap();
        let error = may_read.create_topic("new", &[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        let publisher = may_read.publisher(PublishOptions::default()).await.unwrap();
        let error = publisher.send(vec![said("t", None, "x")].into()).await.remove(0).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        let error =
            broker(&format!("amqp://{reader}:p%20w@{}/nope", vhost.server())).check().await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        let source = crate::group("t", "new");
        let error = may_read.create_group(&source, &Start::Latest, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
    });
}
