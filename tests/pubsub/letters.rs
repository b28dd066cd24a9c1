//! Dead letters that the service itself made, and acks that came too late.

use evcat::broker::{Kind, STORED, Settlement, Source, Stop};
use evcat::deadletter;

use crate::{group, member, one, orders, publish, said, stage, suite};

#[test]
fn what_the_service_gave_up_says_where_it_died() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        let shipping = orders(&broker).await;
        let limit = broker.group("orders", "shipping").await.unwrap().unwrap().max_deliveries;
        assert_eq!(limit, Some(100), "the most there is: evcat itself counts tries");
        fake.state().reconfigure("orders.shipping", |config| {
            config.retry_policy = None;
            config.dead_letter_policy.as_mut().unwrap().max_delivery_attempts = 5;
        });
        publish(&broker, said("orders", "bad")).await.unwrap();
        for attempt in 1..=5 {
            let worker = member(&broker, shipping.clone(), Stop::Never).await;
            assert_eq!(one(&*worker).await.attempt, Some(attempt), "over members");
            worker.close().await.unwrap();
        }
        let letters = Source::DeadLetters { dlq: "orders.shipping.dlq".into(), chosen: None };
        let run = member(&broker, letters, Stop::Now).await;
        let dead = one(&*run).await;
        assert_eq!((dead.event.payload(), dead.event.key()), (Some(&b"bad"[..]), Some(&b"k"[..])));
        let letter = deadletter::decode(&dead.event);
        assert_eq!(letter.read_as, Some("pubsub"));
        assert_eq!(
            (letter.origin.topic.as_deref(), letter.group.as_deref()),
            (Some("orders"), Some("shipping"))
        );
        assert!(letter.origin.timestamp.is_some());
        run.close().await.unwrap();
    });
}

#[test]
fn a_letter_whose_group_cannot_be_looked_up_is_an_error_and_stays() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        let shipping = orders(&broker).await;
        fake.state().reconfigure("orders.shipping", |config| {
            config.retry_policy = None;
            config.dead_letter_policy.as_mut().unwrap().max_delivery_attempts = 5;
        });
        publish(&broker, said("orders", "bad")).await.unwrap();
        for _ in 0..5 {
            let worker = member(&broker, shipping.clone(), Stop::Never).await;
            one(&*worker).await;
            worker.close().await.unwrap();
        }
        let letters = || Source::DeadLetters { dlq: "orders.shipping.dlq".into(), chosen: None };
        let run = member(&broker, letters(), Stop::Now).await;
        fake.state().fail("GetSubscription", tonic::Code::PermissionDenied, 1);
        let error = run.receive().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().contains("orders.shipping, where a dead letter was given up"), "{error}");
        run.close().await.unwrap();
        let run = member(&broker, letters(), Stop::Now).await;
        assert_eq!(deadletter::decode(&one(&*run).await.event).origin.topic.as_deref(), Some("orders"));
        run.close().await.unwrap();
    });
}

#[test]
fn a_letter_that_was_put_back_and_not_acked_says_so() {
    suite::run(async {
        let (fake, broker) = stage(&[("exactly_once", "true")]);
        let shipping = orders(&broker).await;
        publish(&broker, said("orders", "x")).await.unwrap();
        let worker = member(&broker, shipping, Stop::Never).await;
        let held = one(&*worker).await;
        fake.state().forget_leases("orders.shipping");
        let copy = Settlement::Move { event: Box::new(said("orders.shipping.dlq", "x")), only: None };
        let error = worker.settle(vec![(held.token, copy)]).await.unwrap().remove(0).unwrap_err();
        // By which `dlq replay` knows that it need not be stored again when it comes again.
        assert_eq!((error.kind(), error.detail().operation), (Kind::Lost, STORED), "{error}");
        worker.close().await.unwrap();
    });
}

#[test]
fn a_group_with_exactly_once_delivery_is_told_of_an_ack_that_came_too_late() {
    suite::run(async {
        let (fake, broker) = stage(&[("exactly_once", "true")]);
        let shipping = orders(&broker).await;
        assert!(fake.state().config("orders.shipping").unwrap().enable_exactly_once_delivery);
        for payload in ["late", "in time"] {
            publish(&broker, said("orders", payload)).await.unwrap();
            let worker = member(&broker, shipping.clone(), Stop::Never).await;
            let held = one(&*worker).await;
            if payload == "late" {
                fake.state().forget_leases("orders.shipping");
            }
            let answer = worker.settle(vec![(held.token, Settlement::Ack)]).await.unwrap().remove(0);
            match payload {
                "late" => assert_eq!(answer.unwrap_err().kind(), Kind::Lost),
                _ => assert!(answer.is_ok()),
            }
            worker.close().await.unwrap();
            if payload == "late" {
                let next = member(&broker, shipping.clone(), Stop::Never).await;
                let again = one(&*next).await;
                assert_eq!(again.event.payload(), held.event.payload(), "it comes again");
                next.settle(vec![(again.token, Settlement::Ack)]).await.unwrap().remove(0).unwrap();
                next.close().await.unwrap();
            }
        }
    });
}

#[test]
fn nothing_is_acked_whose_copy_was_not_stored() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        let shipping = orders(&broker).await;
        publish(&broker, said("orders", "bad")).await.unwrap();
        let worker = member(&broker, shipping.clone(), Stop::Never).await;
        let held = one(&*worker).await;
        fake.state().fail("Publish", tonic::Code::PermissionDenied, 1);
        let copy = said("orders.shipping.dlq", "bad");
        let moved = || Settlement::Move { event: Box::new(copy.clone()), only: None };
        let answer = worker.settle(vec![(held.token, moved())]).await.unwrap().remove(0);
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), error.detail().operation), (Kind::Denied, "send"));
        assert_eq!(fake.state().calls.get("Acknowledge"), None);
        assert!(worker.settle(vec![(held.token, moved())]).await.unwrap().remove(0).unwrap().is_some());
        assert_eq!(fake.state().calls.get("Acknowledge"), Some(&1));
        worker.close().await.unwrap();
    });
}

#[test]
fn subscriptions_of_others_are_groups_too() {
    suite::run(async {
        let (fake, broker) = stage(&[]);
        orders(&broker).await;
        let foreign = googleapis_tonic_google_pubsub_v1::google::pubsub::v1::Subscription {
            name: "projects/evcat/subscriptions/billing".into(),
            topic: "projects/evcat/topics/orders".into(),
            ..Default::default()
        };
        fake.state().create_subscription(foreign).unwrap();
        let groups = broker.groups("orders").await.unwrap();
        let names: Vec<_> = groups.iter().map(|group| &*group.group).collect();
        assert_eq!(names, ["shipping", "subscription:billing"]);
        publish(&broker, said("orders", "x")).await.unwrap();
        for source in [Source::Queue("subscription:billing".into()), group("orders", "subscription:billing")]
        {
            let worker = member(&broker, source, Stop::Never).await;
            assert_eq!(one(&*worker).await.event.payload(), Some(&b"x"[..]));
            worker.close().await.unwrap();
        }
    });
}
