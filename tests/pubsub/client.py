"""Google's own client: `publish TOPIC` what stands on stdin, `pull SUBSCRIPTION N` to stdout; JSON, an object per line."""
import base64
import json
import os
import sys

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
