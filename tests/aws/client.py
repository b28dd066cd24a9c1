"""What somebody else's client does, for the tests: client.py URL STEP ARGUMENT...

publish TOPIC   publishes messages with all that one can have, and prints them
send QUEUE      the same to a queue
read QUEUE      takes what is in a queue and prints it
fail QUEUE N    receives each message N times and settles none
subscriptions TOPIC
All print one JSON object per message, or per subscription.
"""

import base64
import json
import sys
import time
from urllib.parse import parse_qs, urlsplit

import boto3

url = urlsplit(sys.argv[1])
step, place, *rest = sys.argv[2:]
here = {
    "region_name": url.hostname,
    "endpoint_url": parse_qs(url.query)["endpoint"][0],
    "aws_access_key_id": url.username,
    "aws_secret_access_key": url.password,
}
sqs, sns = boto3.client("sqs", **here), boto3.client("sns", **here)

ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": "gr\u00fcn"},
    "number": {"DataType": "Number", "StringValue": "1.50"},
    "int": {"DataType": "Number", "StringValue": "-7"},
    "label": {"DataType": "String.json", "StringValue": "{}"},
    "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
}
MESSAGES = [('{"n": 1}', ATTRIBUTES), ("plain", {})]


def tell(body, attributes, more):
    def plain(value):
        told = {name: value[name] for name in ("DataType", "StringValue") if name in value}
        if "BinaryValue" in value:
            told["BinaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
        return told

    told = {name: plain(value) for name, value in attributes.items()}
    print(json.dumps({"body": body, "attributes": told} | more, sort_keys=True))


def queue_url():
    return sqs.get_queue_url(QueueName=place)["QueueUrl"]


def publish():
    arn = next(t["TopicArn"] for t in sns.list_topics()["Topics"] if t["TopicArn"].endswith(f":{place}"))
    for body, attributes in MESSAGES:
        sns.publish(TopicArn=arn, Message=body, MessageAttributes=attributes)
        tell(body, attributes, {})


def send():
    fifo = {"MessageGroupId": "A-17", "MessageDeduplicationId": "id-1"} if place.endswith(".fifo") else {}
    for number, (body, attributes) in enumerate(MESSAGES):
        if fifo:
            fifo["MessageDeduplicationId"] = f"id-{number}"
        sqs.send_message(QueueUrl=queue_url(), MessageBody=body, MessageAttributes=attributes, **fifo)
        tell(body, attributes, {})


def receive(wait):
    answer = sqs.receive_message(
        QueueUrl=queue_url(),
        MaxNumberOfMessages=10,
        WaitTimeSeconds=wait,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    )
    return answer.get("Messages", [])


def read():
    while messages := receive(1):
        for message in messages:
            system = message["Attributes"]
            names = ("MessageGroupId", "MessageDeduplicationId")
            more = {name: system[name] for name in names if name in system}
            tell(message["Body"], message.get("MessageAttributes", {}), more)
            sqs.delete_message(QueueUrl=queue_url(), ReceiptHandle=message["ReceiptHandle"])


def fail():
    times = int(rest[0])
    until = time.monotonic() + 30
    most = 0
    # The receive after the last one is that in which the queue moves it.
    while time.monotonic() < until:
        messages = receive(1)
        if not messages and most >= times:
            break
        for message in messages:
            most = max(most, int(message["Attributes"]["ApproximateReceiveCount"]))
            handle = message["ReceiptHandle"]
            sqs.change_message_visibility(QueueUrl=queue_url(), ReceiptHandle=handle, VisibilityTimeout=0)


def subscriptions():
    arn = next(t["TopicArn"] for t in sns.list_topics()["Topics"] if t["TopicArn"].endswith(f":{place}"))
    for one in sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]:
        print(json.dumps({"endpoint": one["Endpoint"]}))


{"subscriptions": subscriptions, "publish": publish, "send": send, "read": read, "fail": fail}[step]()
