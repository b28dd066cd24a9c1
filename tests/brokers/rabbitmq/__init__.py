"""RabbitMQ, one node: it runs in a Debian of its own (the stages trixie and bookworm), and writes into its directory."""
import base64
import json
import secrets
import shlex
import shutil
import urllib.error
import urllib.request

from instance import HOME

TLS = HOME / "tls"
# In order: AMQP, AMQP over TLS, the management API, Erlang's own, and its name server's.
PORTS = ["amqp", "amqps", "management", "dist", "epmd"]
PASSWORD = "guest-secret"

# What each has beyond the common settings.
VARIANTS = {
    "": [],
    # A client certificate is asked for and must be ours if there is one.
    "secure": [],
    # More free disk is wanted than there is, so that it takes no publish from the first moment on.
    "alarm": ["disk_free_limit.absolute = 1PB"],
    # The RabbitMQ 3.10 of Debian 12.
    "old": [],
}


class RabbitMQ:
    """One variant of it."""

    VARIANTS = VARIANTS
    name = "rabbitmq"
    nodes = 1
    port_names = PORTS

    def __init__(self, variant):
        self.variant = variant
        self.root = HOME / ("bookworm" if variant == "old" else "trixie")

    def label(self):
        return f"{self.name}:{self.variant}".rstrip(":")

    def server(self):
        found = sorted((self.root / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
        return "/" + str(found[-1].relative_to(self.root)) if found else None

    def missing(self):
        """Why it cannot run on this machine."""
        if not (self.root / ".pin").exists() or not self.server():
            return f"{self.root} is not there; run tests/brokers/provision.sh"
        if self.variant == "secure" and not (TLS / "ca.pem").exists():
            return f"{TLS / 'ca.pem'} is not there; run tests/brokers/provision.sh"
        return None if shutil.which("unshare") else "unshare is not installed"

    def prepare(self, instance):
        """Its settings; the directory of the node is /data inside."""
        for node in instance.nodes:
            for part in ["mnesia", "log", "home"]:
                (node.dir / part).mkdir(parents=True)
            cookie = node.dir / "home/.erlang.cookie"
            cookie.write_text(secrets.token_hex(16))
            cookie.chmod(0o400)
            (node.dir / "rabbitmq.conf").write_text("\n".join(self.settings(node)) + "\n")
            (node.dir / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_stream].\n")
            if self.variant == "secure":
                for file in ["ca.pem", "server.pem", "server.key"]:
                    shutil.copy(TLS / file, node.dir / file)

    def settings(self, node):
        ports = node.ports
        common = [
            f"listeners.tcp.1 = 127.0.0.1:{ports['amqp']}",
            "stream.listeners.tcp = none",
            "management.tcp.ip = 127.0.0.1",
            f"management.tcp.port = {ports['management']}",
            f"default_pass = {PASSWORD}",
            "vm_memory_high_watermark.absolute = 1GB",
            "log.console = true",
            "log.file = false",
        ]
        secure = [
            f"listeners.ssl.1 = 127.0.0.1:{ports['amqps']}",
            "ssl_options.cacertfile = /data/ca.pem",
            "ssl_options.certfile = /data/server.pem",
            "ssl_options.keyfile = /data/server.key",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = false",
        ]
        own = VARIANTS[self.variant] or ["disk_free_limit.absolute = 50MB"]
        return common + own + (secure if self.variant == "secure" else [])

    def command(self, instance, node):
        """The server of a node, as one process: a shell that becomes the Erlang machine."""
        ports = node.ports
        erlang = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
        environment = {
            "HOME": "/data/home",
            "RABBITMQ_HOME": self.server(),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"r{node.number}@localhost",
            "RABBITMQ_DIST_PORT": str(ports["dist"]),
            "RABBITMQ_CONFIG_FILE": "/data/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": "/data/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": "/data/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": "/data/mnesia",
            "RABBITMQ_LOG_BASE": "/data/log",
            "RABBITMQ_PID_FILE": "/data/server.pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang + " -noinput",
            # Else a shell stays in front of it, and a signal to that does not reach it.
            "RABBITMQ_ALLOW_INPUT": "1",
        }
        # The name server dies with the machine that it was started for; started by that one, it would outlive it.
        inside = f"setpriv --pdeathsig KILL epmd -address 127.0.0.1 & exec {self.server()}/sbin/rabbitmq-server"
        root, data = shlex.quote(str(self.root)), shlex.quote(str(node.dir))
        outside = (
            f"mount -t proc proc {root}/proc && mount --bind /dev {root}/dev && mount --bind {data} {root}/data"
            f" && exec chroot {root} sh -c {shlex.quote(inside)}"
        )
        return ["unshare", "-m", "sh", "-c", outside], environment

    def ready(self, instance, nodes):
        return all(self.api(node, "/api/vhosts") is not None for node in nodes)

    def api(self, node, path):
        """What the management API answers; None if it does not."""
        request = urllib.request.Request(f"http://127.0.0.1:{node.ports['management']}{path}")
        word = base64.b64encode(f"guest:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {word}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)
        except (OSError, ValueError, urllib.error.URLError):
            return None

    def finish(self, instance):
        """Nothing is set while it runs."""

    def variables(self, instance):
        ports = instance.nodes[0].ports
        management = f"http://127.0.0.1:{ports['management']}"
        variables = {
            "EVCAT_TEST_RABBITMQ": f"amqp://guest:{PASSWORD}@127.0.0.1:{ports['amqp']}?management={management}",
            "EVCAT_TEST_RABBITMQ_DIR": instance.dir,
        }
        if self.variant == "secure":
            variables |= {
                "EVCAT_TEST_RABBITMQ_TLS": f"amqps://guest:{PASSWORD}@127.0.0.1:{ports['amqps']}",
                "EVCAT_TEST_RABBITMQ_CA": TLS / "ca.pem",
                "EVCAT_TEST_RABBITMQ_OTHER_CA": TLS / "other-ca.pem",
                "EVCAT_TEST_RABBITMQ_CERT": TLS / "client.pem",
                "EVCAT_TEST_RABBITMQ_KEY": TLS / "client.key",
            }
        return variables
