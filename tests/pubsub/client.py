"""Google's own client: `publish TOPIC` what stands on stdin, `pull SUBSCRIPTION N` to stdout; JSON, an object per line.
With its default settings, for benches: `bulk TOPIC` publishes the lines of stdin, `drain SUBSCRIPTION N` prints and acks."""
import base64
import json
import os
import sys
import threading

from google.cloud import pubsub_v1

verb, name = sys.argv[1:3]
project = os.environ["PROJECT"]

if verb == "publish":
    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    publisher = pubsub_v1.PublisherClient(publisher_options=options)
    for line in sys.stdin:
        said = json.loads(line)
        data = base64.b64decode(said["data"])
        topic = publisher.topic_path(project, name)
        publisher.publish(topic, data, ordering_key=said["key"], **said["attributes"]).result(timeout=30)
elif verb == "bulk":
    publisher = pubsub_v1.PublisherClient()
    topic = publisher.topic_path(project, name)
    sent = [publisher.publish(topic, line.rstrip(b"\n")) for line in sys.stdin.buffer]
    for future in sent:
        future.result(timeout=120)
elif verb == "drain":
    subscriber = pubsub_v1.SubscriberClient()
    left, done = int(sys.argv[3]), threading.Event()
    lock = threading.Lock()

    def handle(message):
        global left
        with lock:
            sys.stdout.buffer.write(message.data + b"\n")
            left -= 1
            if left == 0:
                done.set()
        message.ack()

    streaming = subscriber.subscribe(subscriber.subscription_path(project, name), callback=handle)
    done.wait(timeout=300) or sys.exit("not all came")
    streaming.cancel()
    streaming.result()
else:
    subscriber = pubsub_v1.SubscriberClient()
    subscription = subscriber.subscription_path(project, name)
    left = int(sys.argv[3])
    while left > 0:
        for received in subscriber.pull(subscription=subscription, max_messages=left, timeout=30).received_messages:
            message = received.message
            said = {
                "data": base64.b64encode(message.data).decode(),
                "key": message.ordering_key,
                "attributes": dict(message.attributes),
            }
            print(json.dumps(said))
            subscriber.acknowledge(subscription=subscription, ack_ids=[received.ack_id])
            left -= 1
