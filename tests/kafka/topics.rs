//! Topics as administrators see them.

use evcat::broker::Kind;

use crate::brokers::kafka;
use crate::{DEADLINE, broker, publish_by_kcat, run, try_broker, unique, words};

fn options(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_topic_is_made_as_it_was_asked_for() {
    let Some(url) = kafka() else { return };
    run(async {
        let topic = unique("made");
        let settings =
            [("topic.cleanup.policy", "compact"), ("topic.retention.ms", "5"), ("replication.factor", "1")];
        let broker = try_broker(&url, DEADLINE, &settings).unwrap();
        broker.create_topic(&topic, &options(&[("partitions", "3"), ("retention", "2h")])).await.unwrap();
        let info = broker.topics(&topic).await.unwrap().remove(0);
        assert_eq!(info.partitions, Some(3));
        let detail =
            |name: &str| info.details.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        assert_eq!(detail("cleanup.policy"), Some("compact"));
        assert_eq!(detail("retention.ms"), Some("7200000"), "--retention goes before -X");
        assert_eq!(info.kept_for, None, "what is compacted is not dropped by age");
        assert_eq!(info.waiting.map(|count| (count.events, count.exact)), Some((0, true)));
    });
}

#[test]
fn what_the_broker_refuses_is_told_in_its_words() {
    let Some(url) = kafka() else { return };
    run(async {
        let broker = try_broker(&url, DEADLINE, &[("replication.factor", "7")]).unwrap();
        let error = broker.create_topic(&unique("t"), &[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected);
        assert!(
            words(&error).contains("eplication factor") && words(&error).contains('7'),
            "{}",
            words(&error)
        );
        let broker = try_broker(&url, DEADLINE, &[("topic.cleanup.policy", "burn")]).unwrap();
        let error = broker.create_topic(&unique("t"), &[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected);
        assert!(words(&error).contains("burn"), "{}", words(&error));
        let (dotted, one) = (unique("orders.eu"), try_broker(&url, DEADLINE, &[]).unwrap());
        one.create_topic(&dotted, &[]).await.unwrap();
        let error = one.create_topic(&dotted.replace('.', "_"), &[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(words(&error).contains("collides"), "{}", words(&error));
    });
}

#[test]
fn the_age_of_what_is_kept_is_known_without_reading() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic) = (broker(&url), unique("age"));
        broker.create_topic(&topic, &options(&[("partitions", "2")])).await.unwrap();
        publish_by_kcat(&url, &topic, 0, "a\nb\n");
        publish_by_kcat(&url, &topic, 1, "c\n");
        let info = broker.topics(&topic).await.unwrap().remove(0);
        assert_eq!(
            info.waiting.map(|count| (count.events, count.exact)),
            Some((3, false)),
            "offsets may have gaps"
        );
        let (oldest, newest) = (info.oldest.unwrap(), info.newest.unwrap());
        assert!(oldest <= newest && newest - oldest < 60_000, "{oldest} {newest}");
    });
}

#[test]
fn a_topic_that_only_has_the_name_of_settled_letters_is_in_nobodys_way() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic) = (broker(&url), unique("payments"));
        for name in [&topic, &format!("{topic}.settled")] {
            broker.create_topic(name, &[]).await.unwrap();
            publish_by_kcat(&url, name, 0, "paid\n");
        }
        let found = broker.topics(&format!("{topic}*")).await.unwrap();
        assert!(found.len() == 2 && found.iter().all(|info| info.waiting.is_some_and(|it| it.events == 1)));
        broker.delete_topic(&topic).await.unwrap();
        assert_eq!(
            broker.topics(&format!("{topic}*")).await.unwrap().len(),
            1,
            "it is not evcat's to delete"
        );
    });
}

#[test]
fn the_brokers_own_topics_are_there_for_who_names_them() {
    let Some(url) = kafka() else { return };
    run(async {
        let broker = broker(&url);
        // A group makes the broker make it.
        let topic = unique("own");
        broker.create_topic(&topic, &[]).await.unwrap();
        let source =
            evcat::broker::Source::Group { topics: vec![topic.as_str().into()], group: unique("g").into() };
        broker.create_group(&source, &evcat::broker::Start::Latest, None).await.unwrap();
        let names = |infos: Vec<evcat::broker::TopicInfo>| {
            infos.into_iter().map(|info| info.name).collect::<Vec<_>>()
        };
        let all = names(broker.topics("*").await.unwrap());
        assert!(all.contains(&topic) && !all.iter().any(|name| name.starts_with("__")), "{all:?}");
        assert_eq!(names(broker.topics("__consumer_offsets").await.unwrap()), ["__consumer_offsets"]);
        assert!(names(broker.topics("__*").await.unwrap()).contains(&"__consumer_offsets".to_owned()));
    });
}

#[test]
fn an_unknown_topic_is_answered_with_the_nearest() {
    let Some(url) = kafka() else { return };
    run(async {
        let (broker, topic) = (broker(&url), unique("orders"));
        broker.create_topic(&topic, &[]).await.unwrap();
        let error = broker.delete_topic(&topic.replace("orders", "ordrs")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(words(&error).contains(&format!("did you mean '{topic}'")), "{}", words(&error));
        broker.delete_topic(&topic).await.unwrap();
        assert!(broker.topics(&topic).await.unwrap().is_empty(), "gone when it returns");
    });
}
