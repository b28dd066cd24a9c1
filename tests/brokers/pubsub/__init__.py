"""pstest, the Pub/Sub of Google's Go client for tests: one process, all in memory. It is not a whole Pub/Sub."""
import socket

from instance import HOME

SERVER = HOME / "pubsub/pstest"


class PubSub:
    """The one there is."""

    VARIANTS = {"": []}
    name = "pubsub"
    nodes = 1
    port_names = ["grpc"]

    def __init__(self, variant):
        self.variant = variant

    def label(self):
        return self.name

    def missing(self):
        """Why it cannot run on this machine."""
        return None if SERVER.exists() else f"{SERVER} is not there; run tests/brokers/provision.sh"

    def prepare(self, instance):
        """It has no settings."""
        for node in instance.nodes:
            node.dir.mkdir(parents=True, exist_ok=True)

    def command(self, instance, node):
        return [str(SERVER), "-port", str(node.ports["grpc"])], {}

    def ready(self, instance, nodes):
        """It speaks HTTP/2: a server says its settings first."""
        return all(self.greets(node.ports["grpc"]) for node in nodes)

    @staticmethod
    def greets(port):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                # The fourth byte of a frame is its type; that of settings is 4.
                return connection.recv(9)[3:4] == b"\4"
        except OSError:
            return False

    def finish(self, instance):
        """Nothing is set while it runs."""

    def variables(self, instance):
        port = instance.nodes[0].ports["grpc"]
        return {
            "EVCAT_TEST_PUBSUB": f"pubsub://evcat?emulator=127.0.0.1:{port}",
            "EVCAT_TEST_PUBSUB_DIR": instance.dir,
        }
