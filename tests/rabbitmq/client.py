"""What somebody else's client does, for the tests: client.py URL EXCHANGE write, client.py URL QUEUE read.

`write` publishes two messages with all that a message can have, `read` takes what is in a queue; both print one JSON object
per message.
"""

import json
import sys
from datetime import datetime, timezone

import pika

url, place, step = sys.argv[1:]
channel = pika.BlockingConnection(pika.URLParameters(url)).channel()

NAMES = ["content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration"]
NAMES += ["message_id", "timestamp", "type", "user_id", "app_id"]


def plain(value):
    """As JSON has it."""
    if isinstance(value, (bytes, bytearray)):
        return {"hex": bytes(value).hex()}
    if isinstance(value, datetime):
        return {"time": value.replace(tzinfo=timezone.utc).timestamp()}
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def tell(routing_key, properties, body):
    told = {name: getattr(properties, name) for name in NAMES}
    told["headers"] = plain({n: v for n, v in (properties.headers or {}).items() if n != "x-delivery-count"})
    print(json.dumps(told | {"routing_key": routing_key, "body": body.hex()}, sort_keys=True))


def write():
    channel.confirm_delivery()
    headers = {
        "int": -7,
        "yes": True,
        "none": None,
        "time": datetime(2023, 11, 14, 22, 13, 20),
        "table": {"a": [1, "x"]},
        "text": "gr\u00fcn",
        "bytes": b"\x00\xff",
    }
    whole = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        priority=5,
        correlation_id="c-1",
        reply_to="answers",
        expiration="3600000",
        message_id="m-1",
        timestamp=1_700_000_000,
        type="order.placed",
        app_id="pika",
        headers=headers,
    )
    bare = pika.BasicProperties(delivery_mode=1, timestamp=1_700_000_001)
    for key, properties, body in [("a.b", whole, b'{"n": 1}'), ("", bare, b"\x00\xff")]:
        channel.basic_publish(place, key, body, properties, mandatory=True)
        tell(key, properties, body)


def read():
    while True:
        method, properties, body = channel.basic_get(place, auto_ack=True)
        if method is None:
            break
        tell(method.routing_key, properties, body)


{"write": write, "read": read}[step]()
channel.connection.close()
