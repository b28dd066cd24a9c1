"""boto3 as a script has it: peer.py URL STEP QUEUE ARGUMENT

put QUEUE FILE      sends the lines of a file, ten at a time
drain QUEUE COUNT   receives ten at a time, prints and deletes them, until so many came
one QUEUE PAYLOAD   sends one
"""

import sys
from itertools import islice
from urllib.parse import parse_qs, urlsplit

import boto3

url = urlsplit(sys.argv[1])
step, queue, argument = sys.argv[2:]
sqs = boto3.client(
    "sqs",
    region_name=url.hostname,
    endpoint_url=parse_qs(url.query)["endpoint"][0],
    aws_access_key_id=url.username,
    aws_secret_access_key=url.password,
)
queue = sqs.get_queue_url(QueueName=queue)["QueueUrl"]


def put():
    with open(argument) as lines:
        while ten := list(islice(lines, 10)):
            entries = [{"Id": str(n), "MessageBody": line.rstrip("\n")} for n, line in enumerate(ten)]
            assert not sqs.send_message_batch(QueueUrl=queue, Entries=entries).get("Failed")


def drain():
    left = int(argument)
    while left > 0:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        messages = answer.get("Messages", [])
        for message in messages:
            print(message["Body"])
        if messages:
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            assert not sqs.delete_message_batch(QueueUrl=queue, Entries=entries).get("Failed")
        left -= len(messages)


def one():
    sqs.send_message(QueueUrl=queue, MessageBody=argument)


{"put": put, "drain": drain, "one": one}[step]()
