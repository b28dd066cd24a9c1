"""What other people's clients do to a topic, for the tests: client.py ADDRESS TOPIC STEP...

Each event's payload is its number. Steps: plain:N, commit:N, abort:N and open:N (in a transaction that is left open, as
of a process that was killed); headers; delete:OFFSET (all records before it); partitions:N; compact:N (keys a and b);
committed and all, which print the payloads of committed transactions, or of all; redrive:TARGET:N, which moves N on
from where it came to the last time, each in a transaction of its own.
"""

import os
import sys
import uuid

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
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


def read(isolation):
    own = {"group.id": f"g-{uuid.uuid4()}", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({"bootstrap.servers": address, "isolation.level": isolation} | own)
    partitions = consumer.list_topics(topic, 30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    at_end = set()
    while len(at_end) < len(partitions):
        message = consumer.poll(30)
        assert message is not None, "nothing comes, not even the end"
        if message.error() is None:
            sys.stdout.buffer.write((message.value() or b"") + b"\n")
        elif message.error().code() == KafkaError._PARTITION_EOF:
            at_end.add(message.partition())
        else:
            sys.exit(str(message.error()))
    sys.stdout.flush()


def redrive(target, count):
    group = {"group.id": f"redrive-{topic}", "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": address, "isolation.level": "read_committed"} | group)
    producer = Producer(config | {"transactional.id": f"redrive-{topic}"})
    producer.init_transactions(30)
    (place,) = consumer.committed([TopicPartition(topic, 0)], 30)
    consumer.assign([TopicPartition(topic, 0, max(place.offset, 0))])
    for _ in range(count):
        message = consumer.poll(30)
        assert message.error() is None, message.error()
        producer.begin_transaction()
        producer.produce(target, message.value(), message.key(), headers=message.headers())
        assert producer.flush(30) == 0
        after = TopicPartition(topic, 0, message.offset() + 1)
        producer.send_offsets_to_transaction([after], consumer.consumer_group_metadata())
        producer.commit_transaction(30)


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
    elif verb == "redrive":
        target, _, number = number.partition(":")
        redrive(target, int(number))
    elif verb in ("committed", "all"):
        read({"committed": "read_committed", "all": "read_uncommitted"}[verb])
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
