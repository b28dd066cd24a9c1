//! What a broker says for a moment only, from a cluster that says it when it is told to.

use std::time::Duration;

use evcat::broker::{PublishOptions, Received, Settlement, Source, Start};
use evcat::event::{Event, Events, Headers, Position};
use rdkafka_sys::bindings::rd_kafka_resp_err_t as Answer;
use tokio::time::timeout;

use crate::members::working;
use crate::mock::MockCluster;
use crate::{DEADLINE, run, try_broker};

fn numbered(n: usize) -> Events {
    let text = n.to_string();
    let headers = Headers::default();
    [Event::new(&"t".into(), None, headers, Some(text.as_bytes()), None, Position::Unknown)]
        .into_iter()
        .collect()
}

#[test]
fn a_member_outlives_that_a_broker_does_not_know_its_topic_yet() {
    let mock = MockCluster::new();
    mock.make("t", 1);
    // As soon as it is said, and asked for often.
    let quick = [("topic.metadata.propagation.max.ms", "0"), ("topic.metadata.refresh.interval.ms", "100")];
    let session = [("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "200")];
    let broker = try_broker(&mock.url(), DEADLINE, &[quick, session].concat()).unwrap();
    run(async {
        let source = Source::Group { topics: vec!["t".into()], group: "g".into() };
        broker.create_group(&source, &Start::Earliest, None).await.unwrap();
        // It hears nothing of it.
        let other = try_broker(&mock.url(), DEADLINE, &[]).unwrap();
        let publisher = other.publisher(PublishOptions::default()).await.unwrap();
        let member = broker.subscription(source, working(10)).await.unwrap();
        for n in 0..3 {
            publisher.send(numbered(n)).await.remove(0).unwrap();
            let deliveries = loop {
                match timeout(DEADLINE, member.receive()).await.expect("it is delivered").unwrap() {
                    Received::Deliveries(deliveries) => break deliveries,
                    Received::End => panic!("nobody set an end"),
                    // The library takes the topic for gone, and for there again.
                    Received::Revoking(_) | Received::Lost(_) => {}
                }
            };
            assert_eq!(deliveries.len(), 1);
            assert_eq!(deliveries[0].event.payload(), Some(n.to_string().as_bytes()), "each once, in order");
            member.settle(vec![(deliveries[0].token, Settlement::Ack)]).await.unwrap().remove(0).unwrap();
            mock.tell("t", Answer::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
            let said = timeout(Duration::from_millis(1500), member.receive()).await;
            assert!(!matches!(said, Ok(Err(_) | Ok(Received::End))), "{said:?}");
            mock.tell("t", Answer::RD_KAFKA_RESP_ERR_NO_ERROR);
        }
        member.close().await.unwrap();
    });
}
