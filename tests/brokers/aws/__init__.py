"""SNS and SQS, by those who stand in for them: LocalStack, ministack (fast), and ElasticMQ (SQS alone, strict)."""
import urllib.error
import urllib.request

from instance import HOME

# A stand-in takes any credentials; twelve digits as the access key are an account of their own, except in ElasticMQ.
ACCOUNT = "000000000000"
SECRET = "test"
REGION = "us-east-1"

LOCALSTACK = {
    "SERVICES": "sqs,sns",
    "EAGER_SERVICE_LOADING": "1",
    "STRICT_SERVICE_LOADING": "1",
    "DISABLE_EVENTS": "1",
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "DNS_ADDRESS": "0",
    "PERSISTENCE": "0",
    # Its default server listens on all addresses, whatever it is told.
    "GATEWAY_SERVER": "hypercorn",
    "SQS_ENDPOINT_STRATEGY": "path",
}

ELASTICMQ = """
include classpath("application.conf")
node-address { protocol = http, host = "127.0.0.1", port = %(port)s, context-path = "" }
rest-sqs { enabled = true, bind-port = %(port)s, bind-hostname = "127.0.0.1", sqs-limits = strict }
rest-stats.enabled = false
"""


class Aws:
    """One variant of it."""

    VARIANTS = {"": "localstack", "fast": "ministack", "strict": "elasticmq"}
    name = "aws"
    nodes = 1
    port_names = ["http"]

    def __init__(self, variant):
        self.variant = variant
        self.root = HOME / self.VARIANTS[variant]

    def label(self):
        return f"{self.name}:{self.variant}".rstrip(":")

    def missing(self):
        """Why it cannot run on this machine."""
        if not (self.root / ".pin").exists():
            return f"{self.root} is not there; run tests/brokers/provision.sh"
        return None

    def prepare(self, instance):
        for node in instance.nodes:
            for part in ["volume", "home"]:
                (node.dir / part).mkdir(parents=True)
            (node.dir / "elasticmq.conf").write_text(ELASTICMQ % {"port": node.ports["http"]})

    def command(self, instance, node):
        """The server, as one process."""
        address, home = f"127.0.0.1:{node.ports['http']}", str(node.dir / "home")
        if self.variant == "":
            own = {
                "GATEWAY_LISTEN": address,
                "LOCALSTACK_HOST": address,
                "LOCALSTACK_VOLUME_DIR": str(node.dir / "volume"),
                # It keeps what it knows of itself there: one of its own, so that no other instance's is believed.
                "HOME": home,
                "TMPDIR": home,
            }
            return [str(self.root / "bin/python"), "-m", "localstack.runtime.main"], LOCALSTACK | own
        if self.variant == "fast":
            own = {"GATEWAY_PORT": str(node.ports["http"]), "BIND_HOST": "127.0.0.1", "HOME": home, "TMPDIR": home}
            return [str(self.root / "bin/ministack")], own
        java = ["java", "-Djava.net.preferIPv4Stack=true", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC"]
        java += ["-XX:TieredStopAtLevel=1", f"-Dconfig.file={node.dir / 'elasticmq.conf'}"]
        return [*java, "-cp", str(self.root / "libs/*"), "org.elasticmq.server.Main"], {"HOME": home}

    def ready(self, instance, nodes):
        path = {"": "/_localstack/health", "fast": "/_ministack/health", "strict": "/health"}[self.variant]
        return all(self.answers(node, path) for node in nodes)

    @staticmethod
    def answers(node, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{node.ports['http']}{path}", timeout=5) as answer:
                return answer.status == 200
        except (OSError, ValueError, urllib.error.URLError):
            return False

    def finish(self, instance):
        """Nothing is set while it runs."""

    def variables(self, instance):
        endpoint = f"http://127.0.0.1:{instance.nodes[0].ports['http']}"
        prefix = f"EVCAT_TEST_AWS_{self.variant.upper()}".rstrip("_")
        return {
            prefix: f"aws://{ACCOUNT}:{SECRET}@{REGION}?endpoint={endpoint}",
            f"{prefix}_DIR": instance.dir,
        }
