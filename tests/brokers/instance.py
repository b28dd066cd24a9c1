"""An instance of any broker: its directory, its nodes and their ports, from the first start to the last end.

What is different from broker to broker is a kind (kafka/ is one): a class with VARIANTS, the attributes nodes (how
many) and port_names (of each node), and the methods label, missing, prepare, command, ready, finish and variables.
"""
import json
import os
import random
import shutil
import socket
import tempfile
import time
from pathlib import Path

from node import Failed, Node

PROJECT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("BROKERS_HOME") or PROJECT / "target/brokers").absolute()
RUN = Path(os.environ.get("BROKERS_RUN") or HOME / "run").absolute()

# Below where systems take the ports of outgoing connections from: one of those could sit on the port of a node that is
# down for a moment.
PORTS = range(20000, 32000)
TRIES = 5
# Seconds until a start is given up; a start takes 2 to 5 on an idle machine.
PATIENCE = 120


class Unavailable(Exception):
    """It cannot run on this machine; the words say what is missing."""


class PortTaken(Failed):
    """Somebody was quicker."""


class Instance:
    """One broker, or one cluster, in a directory of its own."""

    def __init__(self, kind, directory, record):
        self.kind, self.dir, self.record = kind, directory, record
        self.nodes = [Node(directory, n + 1, ports) for n, ports in enumerate(record["ports"])]

    @staticmethod
    def find(kind, directory):
        """The instance in `directory`, or the only one that was started without a directory."""
        label = kind.label()
        if directory is None:
            here = [each.dir for each in all_in_run() if each.record["broker"] == label]
            if not here:
                raise Failed(f"no {label} is up in {RUN}")
            if len(here) > 1:
                raise Failed("several are up, so name one: " + " ".join(f"--dir {path}" for path in sorted(here)))
            directory = here[0]
        directory = directory.absolute()
        try:
            record = read(directory / "instance.json")
        except FileNotFoundError:
            raise Failed(f"there is no broker in {directory}") from None
        if record["broker"] != label:
            raise Failed(f"it is {record['broker']} that is in {directory}, not {label}")
        return Instance(kind, directory, record)

    def save(self):
        new = self.dir / "instance.json.new"
        new.write_text(json.dumps(self.record))
        new.replace(self.dir / "instance.json")  # whoever reads it reads all of it

    def start(self):
        """Starts all nodes, and waits until each of them answers."""
        self.kind.prepare(self)
        for node in self.nodes:
            node.start(*self.kind.command(self, node))
        self.wait(self.nodes)
        self.kind.finish(self)

    def restart(self, nodes):
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.start(*self.kind.command(self, node))
        self.wait(nodes)

    def wait(self, started):
        """Until these nodes, and all others that run, answer and know each other."""
        until = time.monotonic() + PATIENCE
        while not self.answers([node for node in self.nodes if node in started or node.state() == "running"]):
            for node in started:
                if node.state() == "ended":
                    taken = "Address already in use" in node.log()
                    raise (PortTaken if taken else Failed)(f"{node} ended while it started:\n{tail(node.log())}")
            if time.monotonic() > until:
                logs = "\n".join(f"{node}:\n{tail(node.log())}" for node in started)
                raise Failed(f"{self.kind.label()} does not answer after {PATIENCE} s:\n{logs}")
            time.sleep(0.02)

    def answers(self, nodes=None):
        """Whether these nodes (all) run and answer in the broker's own protocol, as one cluster."""
        nodes = self.nodes if nodes is None else nodes
        # The state after the answer: what answered may have been somebody else's, while ours died of the taken port.
        return bool(nodes) and self.kind.ready(self, nodes) and all(node.state() == "running" for node in nodes)

    def variables(self):
        return self.kind.variables(self)

    def down(self):
        """Ends all nodes at once, since nobody will read their data, and removes the directory."""
        for node in self.nodes:
            node.kill()
        # Of two who end it at once (a test, and its interrupted run), the one who takes this file removes the rest.
        try:
            (self.dir / "instance.json").unlink()
        except FileNotFoundError:
            return
        shutil.rmtree(self.dir)


def all_in_run():
    """Those that were started without a directory. They can be looked at and ended; what they are, a kind must say."""
    found = []
    for path in RUN.glob("*/instance.json"):
        try:
            found.append(Instance(None, path.parent, read(path)))
        except FileNotFoundError:
            pass  # somebody has just ended it
    return found


def up(kind, directory, base_port):
    """Starts an instance on ports that are free, or on those from `base_port` on."""
    why = kind.missing()
    if why:
        raise Unavailable(why)
    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise Failed(f"{directory} is not empty")
    for attempt in range(1, TRIES + 1):
        made = make(kind, directory, base_port)
        try:
            made.start()
            return made
        except BaseException as error:
            made.down()
            if not isinstance(error, PortTaken) or base_port is not None or attempt == TRIES:
                raise


def make(kind, directory, base_port):
    each = len(kind.port_names)
    numbers = free_ports(kind.nodes * each, base_port)
    ports = [dict(zip(kind.port_names, numbers[n * each :])) for n in range(kind.nodes)]
    if directory is None:
        RUN.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=f"{kind.label().replace(':', '-')}-", dir=RUN))
    directory.mkdir(parents=True, exist_ok=True)
    made = Instance(kind, directory.absolute(), {"broker": kind.label(), "ports": ports})
    made.save()
    return made


def free_ports(count, base_port):
    if base_port is not None:
        wanted = range(base_port, base_port + count)
        taken = [port for port in wanted if not free(port)]
        if taken:
            raise Failed(f"port {', '.join(map(str, taken))} of 127.0.0.1 is taken")
        return list(wanted)
    found = []
    for port in random.sample(PORTS, len(PORTS)):
        if free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise Failed(f"there are no {count} free ports from {PORTS.start} to {PORTS.stop}")


def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a past connection is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def read(path):
    return json.loads(path.read_text())


def tail(log, lines=20):
    return "\n".join(log.splitlines()[-lines:])
