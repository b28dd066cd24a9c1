"""Leaves a run over dead letters as a broker does that forgot to end its transaction: hang.py ADDRESS TOPIC LETTERS [ENDED]

Three dead letters of partition 0 are copied to the topic, two to partition 0 and one to partition 1, and noted as settled,
in a transaction that the coordinator's log says was completed and that has no marker anywhere: what Kafka 4.3.1 leaves
where a partition has no leader while a commit is carried out. The broker must be restarted before it believes it. In
partition ENDED the copies are committed with a marker.
"""

import json
import os
import socket
import struct
import sys
import uuid

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

address, topic, letters, *ended = sys.argv[1:]
config = {"bootstrap.servers": address, "linger.ms": 0}
settled, name = f"{letters}.settled", f"evcat-dlq-{letters}"


def read(which):
    """All records of these partitions, committed or not."""
    own = {"group.id": f"g-{uuid.uuid4()}", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({"bootstrap.servers": address, "isolation.level": "read_uncommitted"} | own)
    consumer.assign([TopicPartition(topic, number, 0) for topic, number in which])
    found, left = [], len(which)
    while left:
        message = consumer.poll(30)
        assert message is not None, "nothing comes, not even the end"
        if message.error() is None:
            found.append(message)
        else:
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            left -= 1
    return found


def states():
    """What the coordinator's log says of this id, in order, with the producer's id and epoch."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "g"})
    partitions = consumer.list_topics("__transaction_state", 30).topics["__transaction_state"].partitions
    for record in read([("__transaction_state", number) for number in partitions]):
        if name.encode() in record.key() and record.value():
            # TransactionLogValue: the version, the producer's id and its epoch, ...
            version, *producer = struct.unpack_from(">hqh", record.value())
            assert version in (0, 1), version
            yield record, producer


def write(producer, records):
    places = []
    for to, partition, key, value, headers in records:
        producer.produce(
            to, value, key, partition, headers=headers, on_delivery=lambda error, it: places.append((error, it))
        )
    assert producer.flush(30) == 0
    assert all(error is None for error, _ in places), places
    return [f"{it.partition()}:{it.offset()}" for _, it in places]


def note(done):
    return (settled, 0, None, json.dumps({"partition": 0, "run": "hung", "done": done}), None)


producer = Producer(config | {"transactional.id": name, "transaction.timeout.ms": 60000})
producer.init_transactions(30)
producer.begin_transaction()
write(producer, [note([])])
producer.commit_transaction(30)

# The copies, each of which says whose it is as those of evcat do.
producer.begin_transaction()
dead = read([(letters, 0)])[:3]
copies = [
    (topic, to, it.key(), it.value(), [("evcat-replay-run", "hung")]) for it, to in zip(dead, (0, 0, 1), strict=True)
]
# One after the other: their places are told in the order of their partitions, else.
at = [place for copy in copies for place in write(producer, [copy])]
offsets = [it.offset() for it in dead]
write(producer, [note([{"action": "moved", "to": topic, "at": at, "offsets": offsets}])])

# The end of the first transaction is the end of the second now: same producer, same epoch, nothing to do.
record, (producer_id, epoch) = [state for state in states() if len(state[0].value()) < 60][-1]
log = Producer(config | {"client.id": "__admin_client"})
log.produce(record.topic(), record.value(), record.key(), record.partition())
assert log.flush(30) == 0

for partition in map(int, ended):
    # WriteTxnMarkers, version 1: header with client id and tags; one marker, COMMIT, of one partition.
    text = topic.encode()
    body = struct.pack(">Bqh?B", 2, producer_id, epoch, True, 2) + bytes([len(text) + 1]) + text
    body += struct.pack(">BiBiBB", 2, partition, 0, 0, 0, 0)
    request = struct.pack(">hhih1sB", 27, 1, 7, 1, b"t", 0) + body
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
        answer = connection.recv(length, socket.MSG_WAITALL)
        # The error of the one partition, before three empty lists of tags.
        assert answer[-5:-3] == b"\0\0", answer

print(" ".join(it.value().decode() for it in dead))
sys.stdout.flush()
# As a process that is killed: the transaction stays open.
os._exit(0)
