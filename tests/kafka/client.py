"""What other people's clients do to a topic, for the tests: client.py ADDRESS TOPIC STEP...

Each event's payload is its number. Steps: plain:N, commit:N, abort:N and open:N (in a transaction that is left open, as
of a process that was killed); headers; delete:OFFSET[:PARTITION] (all records before it); partitions:N; compact:N (keys a and b);
committed and all, which print the payloads of committed transactions, or of all; redrive:TARGET:N, which moves N on
from where it came to the last time, each in a transaction of its own; aborted:TEXT (in a transaction that is given up) and
hung:TEXT (in one that is left open);
drop (the topic);
mixed (whatever a record can hold); dump (prints the records of partition 0); lines (prints the canonical lines of stdin
as `dump` prints records, by Python's own JSON and base64).
"""

import base64
import datetime
import hashlib
import json
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


def mixed():
    """Every part absent, empty, binary, and hard to write down as a line; a payload of 1 MiB."""
    none, every = [None, b""], bytes(range(256))
    texts = ["null", "1.50", '{"a":1e400,"a":2}', ' {"a":1}', '{"a":\n1}', '{"a":1}\r\n', '"\\ud800"', "\ufeff{}", "[1,2"]
    texts += ["\u2028\u0085\u200b", "\x00", '{"encoding":"json","payload":1}', "tab\there", "\U0001f4e6"]
    payloads = none + [every, b"\xff", b"\xf0\x9f"] + [text.encode() for text in texts] + [every * 4096]
    keys = none + [b"k", "\u00fc \U0001f511".encode(), every, b'{"base64":"AA=="}', b"\n"]
    lists = [[("h", b"1"), ("h", b"2"), ("h", None), ("h", b"")], [("b", every), ("\u00fc \"", b"null"), ("n", b"-1.50")]]
    lists += [[("evcat-x", b"a"), ("content-type", b"application/json"), ("traceparent", b"no trace")], [("", b"no name")]]
    for payload in payloads:
        yield b"k", payload, []
    for key in keys:
        yield key, b"p", []
    for headers in lists:
        yield b"k", b"p", headers
        yield None, None, headers


def show(partition, offset, timestamp, key, headers, payload):
    text = lambda part: None if part is None else part.hex() if len(part) < 9999 else hashlib.sha256(part).hexdigest()
    headers = [[name, text(value)] for name, value in headers or []]
    print(json.dumps([partition, offset, timestamp, text(key), headers, text(payload)]))


def lines():
    for line in sys.stdin.buffer:
        event = json.loads(line)
        value = lambda it: base64.b64decode(it["base64"]) if isinstance(it, dict) else it if it is None else it.encode()
        payload = event["payload"]
        match event.get("encoding"):
            case "json":  # as it is written, not what it means
                payload = line.rstrip(b"\n").split(b'"encoding":"json","payload":', 1)[1][:-1]
            case "base64":
                payload = base64.b64decode(payload)
            case "text":
                payload = payload.encode()
        when = datetime.datetime.fromisoformat(event["timestamp"])
        timestamp = (when - datetime.datetime.fromtimestamp(0, datetime.UTC)) // datetime.timedelta(milliseconds=1)
        headers = [(name, value(it)) for name, it in event["headers"]]
        show(event["partition"], event["offset"], timestamp, value(event["key"]), headers, payload)


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
    elif verb == "aborted":
        in_transaction(0)
        transactional.produce(topic, number, partition=0)
        assert transactional.flush(30) == 0
        transactional.abort_transaction(30)
    elif verb == "hung":
        in_transaction(0)
        transactional.produce(topic, number, partition=0)
        assert transactional.flush(30) == 0
    elif verb == "drop":
        admin = AdminClient(config)
        [answer.result(30) for answer in admin.delete_topics([topic]).values()]
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
    elif verb == "mixed":
        producer = Producer(config | {"message.max.bytes": 2000000})
        for number, (key, payload, headers) in enumerate(mixed()):
            at = 1700000000000 + number * 997
            producer.produce(topic, payload, key=key, headers=headers, timestamp=at, partition=0)
        assert producer.flush(30) == 0
    elif verb == "dump":
        consumer = Consumer({"bootstrap.servers": address, "group.id": "dump", "enable.auto.commit": False})
        start, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), 30)
        consumer.assign([TopicPartition(topic, 0, start)])
        for _ in range(start, end):
            it = consumer.poll(30)
            show(it.partition(), it.offset(), it.timestamp()[1], it.key(), it.headers(), it.value())
    elif verb == "lines":
        lines()
    elif verb == "delete":
        admin = AdminClient(config)
        number, _, partition = number.partition(":")
        asked = admin.delete_records([TopicPartition(topic, int(partition or 0), int(number))])
        [answer.result(30) for answer in asked.values()]
    elif verb == "partitions":
        admin = AdminClient(config)
        asked = admin.create_partitions([NewPartitions(topic, int(number))])
        [answer.result(30) for answer in asked.values()]
    else:
        sys.exit(f"no such step: {step}")
sys.stdout.flush()
# As a process that is killed: what is open stays so.
os._exit(0)
