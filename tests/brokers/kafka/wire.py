"""Three requests of Kafka's protocol (https://kafka.apache.org/protocol), in versions with plain, old encodings.

Enough to know when a node is ready and to hand out rights, without a JVM for each question.
"""
import socket
import struct
import time

# Resource types and operations of an ACL.
TOPIC, GROUP, TRANSACTIONAL_ID = 2, 3, 5
ALL, READ = 2, 3
ANY, PREFIXED, ALLOW = 1, 4, 3

METADATA, DESCRIBE_ACLS, CREATE_ACLS = 3, 29, 30


def metadata(port):
    """The cluster's id, and the numbers of the nodes that this one takes for alive."""
    answer = ask(port, METADATA, 2, struct.pack(">i", 0))  # of no topic
    brokers = set()
    for _ in range(answer.number(">i")):
        brokers.add(answer.number(">i"))
        answer.text(), answer.number(">i"), answer.text()  # host, port, rack
    return answer.text(), brokers


def create_acls(port, acls):
    """Allows (resource type, prefix of its name, principal, operation) from every host; done when the node knows it."""
    body = struct.pack(">i", len(acls))
    for kind, prefix, principal, operation in acls:
        body += struct.pack(">b", kind) + text(prefix) + struct.pack(">b", PREFIXED)
        body += text(principal) + text("*") + struct.pack(">bb", operation, ALLOW)
    answer = ask(port, CREATE_ACLS, 1, body)
    answer.number(">i")  # throttled for
    for _ in range(answer.number(">i")):
        code, words = answer.number(">h"), answer.text()
        if code != 0:
            raise RuntimeError(f"an ACL was refused: {words} ({code})")
    # The controller has them; the node that clients ask learns of them a moment later.
    until = time.monotonic() + 30
    while count_acls(port) < len(acls):
        if time.monotonic() > until:
            raise RuntimeError("the node does not learn of the ACLs")
        time.sleep(0.02)


def count_acls(port):
    everything = struct.pack(">bhbhhbb", ANY, -1, ANY, -1, -1, ANY, ANY)
    answer = ask(port, DESCRIBE_ACLS, 1, everything)
    answer.number(">i"), answer.number(">h"), answer.text()  # throttled for, error code and words
    count = 0
    for _ in range(answer.number(">i")):
        answer.number(">b"), answer.text(), answer.number(">b")
        for _ in range(answer.number(">i")):
            answer.text(), answer.text(), answer.number(">b"), answer.number(">b")
            count += 1
    return count


def ask(port, key, version, body):
    """Sends one request on a connection of its own. OSError or EOFError: nobody answers."""
    request = struct.pack(">hhi", key, version, 1) + text("evcat-test-brokers") + body
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", exactly(connection, 4))
        exactly(connection, 4)  # the number of the request
        return Answer(exactly(connection, size - 4))


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def exactly(connection, size):
    got = b""
    while len(got) < size:
        more = connection.recv(size - len(got))
        if not more:
            raise EOFError("the connection was closed in an answer")
        got += more
    return got


class Answer:
    """Read from front to back."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, shape):
        (value,) = struct.unpack_from(shape, self.data, self.at)
        self.at += struct.calcsize(shape)
        return value

    def text(self):
        """A string, or None."""
        size = self.number(">h")
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size : self.at].decode()
