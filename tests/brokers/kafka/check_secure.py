"""Whom kafka:secure lets in and whom it does not, as somebody else's client sees it.

Run by the Python of provision.sh's stage `clients`, with the variables of `broker env kafka:secure`.
"""
import os
import time

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

PATIENCE = 10


def of(name):
    return os.environ[f"EVCAT_TEST_KAFKA_{name}".rstrip("_")]


def main():
    plain = {"bootstrap.servers": address("")}
    admin = AdminClient(plain)
    for made in admin.create_topics([NewTopic("alice.orders"), NewTopic("readonly.orders")]).values():
        made.result()

    tls = {"bootstrap.servers": address("TLS"), "security.protocol": "SSL", "ssl.ca.location": of("CA")}
    certificate = {"ssl.certificate.location": of("CERT"), "ssl.key.location": of("KEY")}
    outcome("client certificate", tls | certificate, "published")
    outcome("no client certificate", tls, "alert bad certificate")
    outcome("not its CA", tls | certificate | {"ssl.ca.location": of("OTHER_CA")}, "certificate verify failed")

    over = {
        "SASL_SSL": {"bootstrap.servers": address("SASL_TLS"), "ssl.ca.location": of("CA")},
        "SASL_PLAINTEXT": {"bootstrap.servers": address("SASL")},
    }
    for protocol, settings in over.items():
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"]:
            how = settings | {"security.protocol": protocol, "sasl.mechanism": mechanism}
            words = f"{protocol} {mechanism}"
            outcome(f"{words} alice", how | user("alice"), "published")
            outcome(f"{words} bob", how | user("bob"), "TOPIC_AUTHORIZATION_FAILED")
            wrong = how | user("alice") | {"sasl.password": "guess"}
            outcome(f"{words} wrong password", wrong, "_AUTHENTICATION")
    how = over["SASL_SSL"] | {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-256"} | user("alice")
    outcome("reader", how, "TOPIC_AUTHORIZATION_FAILED", topic="readonly.orders")
    alice = AdminClient(how)
    seen = alice.list_topics(timeout=PATIENCE).topics
    assert sorted(seen) == ["alice.orders", "readonly.orders"], f"alice sees {sorted(seen)}"
    for topic, made in alice.create_topics([NewTopic("readonly.new")]).items():
        try:
            made.result()
            raise SystemExit(f"alice made {topic}")
        except KafkaException as error:
            assert error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, error


def address(name):
    return of(name).partition("://")[2]


def user(name):
    return {"sasl.username": name, "sasl.password": of(f"{name.upper()}_PASSWORD")}


def outcome(words, settings, expected, topic="alice.orders"):
    """Publishes one event. Who cannot log in hears so beside it: of the event alone, only that its time ran out."""
    delivered, beside = [], []
    own = {"log_level": 0, "message.timeout.ms": PATIENCE * 1000, "reconnect.backoff.ms": 500}
    own["error_cb"] = lambda error: beside.append(f"{error.name()}: {error.str()}")
    producer = Producer(settings | own)
    done = lambda error, _: delivered.append(error.name() if error else "published")
    producer.produce(topic, b"event", on_delivery=done)
    until = time.monotonic() + PATIENCE
    while not delivered and not any(expected in each for each in beside) and time.monotonic() < until:
        producer.poll(0.1)
    got = delivered or beside
    assert any(expected in each for each in got), f"{words}: {got}, and not '{expected}'"
    print(f"{words}: {expected}")
    producer.purge()
    producer.flush()


main()
