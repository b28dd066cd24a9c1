"""Apache Kafka in KRaft mode: every node is a broker and a controller."""
import base64
import os
import shutil
import struct
import subprocess
import uuid
from pathlib import Path

from instance import HOME, Failed
from kafka import wire

HERE = Path(__file__).parent
LIBS = HOME / "kafka/libs"
TLS = HOME / "tls"
# As a variable: on a command line a shell would expand the star, and `ps` would show 53 jars.
CLASSPATH = {"CLASSPATH": f"{LIBS}/*"}

# Quick to start; heap, code, classes and buffers are bounded.
SMALL = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=64m", "-Xms128m"]
BOUNDS = ["-XX:MaxMetaspaceSize=192m", "-XX:MaxDirectMemorySize=256m"]

# The controller comes last, and is not for clients.
PLAIN = ["plaintext", "controller"]
SECURE = ["plaintext", "ssl", "sasl_ssl", "sasl_plaintext", "controller"]
# (nodes, JVM, listeners) of each.
VARIANTS = {
    "": (1, SMALL + ["-Xmx512m"], PLAIN),
    "cluster": (3, SMALL + ["-Xmx384m"], PLAIN),
    "secure": (1, SMALL + ["-Xmx512m"], SECURE),
    "perf": (1, ["-XX:+UseG1GC", "-Xms1g", "-Xmx1g"], PLAIN),
}

# Of kafka:secure. Each of them may log in by SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN; admin may do everything.
PASSWORDS = {"admin": "admin-secret", "alice": "alice-secret", "bob": "bob-secret"}
# alice and the client certificate may do everything with topics, groups and transactions named alice.*, work on the dead
# letters of these, and read topics named readonly.* in groups named so. bob may log in, and nothing else.
FRIENDS = ["User:alice", "User:CN=client"]
RIGHTS = [
    (wire.TOPIC, "alice.", wire.ALL),
    (wire.GROUP, "alice.", wire.ALL),
    (wire.TRANSACTIONAL_ID, "alice.", wire.ALL),
    (wire.TRANSACTIONAL_ID, "evcat-dlq-alice.", wire.ALL),
    (wire.TOPIC, "readonly.", wire.READ),
    (wire.GROUP, "readonly.", wire.READ),
]


class Kafka:
    """One variant of it."""

    VARIANTS = VARIANTS
    name = "kafka"

    def __init__(self, variant):
        self.variant = variant
        self.nodes, self.jvm, self.port_names = VARIANTS[variant]

    def label(self):
        return f"{self.name}:{self.variant}".rstrip(":")

    def missing(self):
        """Why it cannot run on this machine."""
        wanted = [LIBS] + ([TLS / "ca.pem"] if self.variant == "secure" else [])
        absent = [str(path) for path in wanted if not path.exists()]
        if absent:
            return f"{', '.join(absent)} is not there; run tests/brokers/provision.sh"
        return None if shutil.which("java") else "java is not installed"

    def prepare(self, instance):
        """Writes the settings and formats the directories of all nodes."""
        cluster = instance.record["cluster"] = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        instance.save()
        formats = []
        for node in instance.nodes:
            (node.dir / "tmp").mkdir(parents=True)
            settings = self.settings(instance, node)
            (node.dir / "server.properties").write_text(settings)
            # In one word, since an id may begin with a dash.
            tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}"]
            formats.append(self.tool(node, tool + ["-c", str(node.dir / "server.properties")] + self.users()))
        try:
            for process in formats:
                said, _ = process.communicate()
                if process.returncode != 0:
                    raise Failed(f"{self.label()} cannot be formatted:\n{said}")
        finally:
            for process in formats:
                process.kill()  # one that goes on would write into a directory that is being removed

    def settings(self, instance, node):
        secure = self.variant == "secure"
        voters = [f"{it.number}@127.0.0.1:{it.ports['controller']}" for it in instance.nodes]
        listeners = [f"{name.upper()}://127.0.0.1:{port}" for name, port in node.ports.items()]
        replicas = self.nodes
        in_sync = min(2, replicas)
        own = {
            "node.id": node.number,
            "controller.quorum.voters": ",".join(voters),
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(listeners[:-1]),  # all but the controller's
            "log.dirs": node.dir / "data",
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
        }
        if secure:
            users = " ".join(f'user_{name}="{password}"' for name, password in PASSWORDS.items())
            plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
            own |= {
                "ssl.keystore.location": TLS / "server-with-key.pem",
                "ssl.truststore.location": TLS / "ca.pem",
                "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
                "listener.name.sasl_plaintext.plain.sasl.jaas.config": plain,
            }
        files = ["server.properties"] + (["secure.properties"] if secure else [])
        common = [(HERE / file).read_text() for file in files]
        return "\n".join(common + [f"{key}={value}" for key, value in own.items()]) + "\n"

    def users(self):
        """The options of `format` that make them: later only one SCRAM mechanism of a user can be set at a time."""
        if self.variant != "secure":
            return []
        words = []
        for who, password in PASSWORDS.items():
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"]:
                words += ["--add-scram", f"{mechanism}=[name={who},password={password}]"]
        return words

    def command(self, instance, node):
        """The server of a node."""
        return self.java(node) + ["kafka.Kafka", str(node.dir / "server.properties")], CLASSPATH

    def tool(self, node, words):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(self.java(node) + words, env=os.environ | CLASSPATH, text=True, **pipes)

    def java(self, node):
        own = [f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}", f"-Djava.io.tmpdir={node.dir / 'tmp'}"]
        # No /tmp/hsperfdata, which a killed one leaves behind; and no heap that is full for ever.
        return ["java"] + self.jvm + BOUNDS + ["-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError"] + own

    def ready(self, instance, nodes):
        """Whether each of them answers, and knows all of them."""
        numbers = {node.number for node in nodes}
        try:
            answers = [wire.metadata(node.ports["plaintext"]) for node in nodes]
        except (OSError, EOFError, ValueError, struct.error):
            return False  # the last two: it is not Kafka that is on that port
        return all(cluster == instance.record["cluster"] and numbers <= brokers for cluster, brokers in answers)

    def finish(self, instance):
        """What can be set only while it runs."""
        if self.variant == "secure":
            acls = [(kind, name, friend, operation) for kind, name, operation in RIGHTS for friend in FRIENDS]
            wire.create_acls(instance.nodes[0].ports["plaintext"], acls)

    def variables(self, instance):
        ports = instance.nodes[0].ports
        plain = ",".join(f"127.0.0.1:{node.ports['plaintext']}" for node in instance.nodes)
        variables = {"EVCAT_TEST_KAFKA": f"kafka://{plain}", "EVCAT_TEST_KAFKA_DIR": instance.dir}
        if self.variant == "secure":
            variables |= {
                "EVCAT_TEST_KAFKA_TLS": f"kafkas://127.0.0.1:{ports['ssl']}",
                "EVCAT_TEST_KAFKA_SASL_TLS": f"kafkas://127.0.0.1:{ports['sasl_ssl']}",
                "EVCAT_TEST_KAFKA_SASL": f"kafka://127.0.0.1:{ports['sasl_plaintext']}",
                "EVCAT_TEST_KAFKA_CA": TLS / "ca.pem",
                "EVCAT_TEST_KAFKA_OTHER_CA": TLS / "other-ca.pem",
                "EVCAT_TEST_KAFKA_CERT": TLS / "client.pem",
                "EVCAT_TEST_KAFKA_KEY": TLS / "client.key",
            }
            for who, password in PASSWORDS.items():
                variables[f"EVCAT_TEST_KAFKA_{who.upper()}_PASSWORD"] = password
        return variables

