"""What other people's clients do to a topic, for the tests: client.py ADDRESS TOPIC STEP...

Each event's payload is its number. Steps: plain:N, commit:N, abort:N and open:N (in a transaction that is left open, as
of a process that was killed); headers; delete:OFFSET (all records before it); partitions:N; compact:N (keys a and b).
"""

import os
import sys
import uuid

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

address, topic, *steps = sys.argv[1:]
config = {"bootstrap.servers": address, "linger.ms": 0}
published = 0
transactional = None


def publish(producer, count):
    global published
    for _ in range(count):
        producer.produce(topic, str(published), partition=0)
        published += 1
    assert producer.flush(30) == 0


def in_transaction(count):
    global transactional
    if transactional is None:
        own = {"transactional.id": f"t-{uuid.uuid4()}", "transaction.timeout.ms": 60000}
        transactional = Producer(config | own)
        transactional.init_transactions(30)
    transactional.begin_transaction()
    publish(transactional, count)


for step in steps:
    verb, _, number = step.partition(":")
    if verb == "plain":
        publish(Producer(config), int(number))
    elif verb == "commit":
        in_transaction(int(number))
        transactional.commit_transaction(30)
    elif verb == "abort":
        in_transaction(int(number))
        transactional.abort_transaction(30)
    elif verb == "open":
        in_transaction(int(number))
    elif verb == "compact":
        producer = Producer(config)
        for i in range(int(number)):
            producer.produce(topic, str(i), key="ab"[i % 2], partition=0)
        assert producer.flush(30) == 0
    elif verb == "headers":
        producer = Producer(config)
        headers = [("h", b"1"), ("h", None), ("empty", b""), ("binary", b"\x00\xff")]
        producer.produce(topic, b"\x00\xff", key=b"", headers=headers, timestamp=1700000000123, partition=0)
        producer.produce(topic, None, key=b"k", partition=0)
        producer.produce(topic, b"", partition=0)
        assert producer.flush(30) == 0
    elif verb == "delete":
        admin = AdminClient(config)
        asked = admin.delete_records([TopicPartition(topic, 0, int(number))])
        [answer.result(30) for answer in asked.values()]
    elif verb == "partitions":
        admin = AdminClient(config)
        asked = admin.create_partitions([NewPartitions(topic, int(number))])
        [answer.result(30) for answer in asked.values()]
    else:
        sys.exit(f"no such step: {step}")
# As a process that is killed: what is open stays so.
os._exit(0)
