"""A handler that writes down when an event came and which it was, then says that it is done: worker.py LOGS"""

import json
import os
import sys
import time

log = os.open(os.path.join(sys.argv[1], f"{os.getpid()}.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for line in sys.stdin.buffer:
    event = json.loads(line)
    place = f"{event.get('partition', '-')} {event.get('offset', '-')}"  # where there are partitions
    entry = f"{time.time_ns()} {place} {event['key']} {event['payload']}\n"
    os.write(log, entry.encode())  # one write: an entry is whole or not there
    try:
        os.write(1, b"ok\n")
    except BrokenPipeError:
        break  # the member was killed
