"""One process of a broker: started on its own, remembered in a file, signalled only while it is ours."""
import os
import signal
import subprocess
import time
from pathlib import Path

# Seconds that a signal has to do its work; after that, what should end in order is killed. The last node of a cluster
# waits 7 s for a quorum that has left.
GRACE = 30


class Failed(Exception):
    """It did not work; the words are for a person."""


class Node:
    """Its directory is DIR/nN; beside what the broker keeps there it has `pid` and `out.log`."""

    def __init__(self, instance_dir, number, ports):
        self.number, self.ports = number, ports
        self.dir = instance_dir / f"n{number}"

    def __str__(self):
        return f"node {self.number}"

    def start(self, argv, environment):
        """Detached, so that a Ctrl-C meant for the tests does not end it."""
        self.dir.mkdir(exist_ok=True)
        with open(self.dir / "out.log", "ab") as log:
            process = subprocess.Popen(
                argv,
                cwd=self.dir,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.dir / "pid").write_text(f"{process.pid} {look(process.pid)[1]}")

    def pid(self):
        """Of the process, while it is there and is the one that was started: numbers are used again."""
        try:
            pid, started = (self.dir / "pid").read_text().split(maxsplit=1)
        except (FileNotFoundError, ValueError):
            return None
        found = look(int(pid))
        # A zombie has ended: it waits for a parent that may take its time.
        return int(pid) if found and found[0] != "Z" and found[1] == started else None

    def state(self):
        """running, paused or ended."""
        pid = self.pid()
        found = pid and look(pid)
        if not found or found[0] == "Z":
            return "ended"
        return "paused" if found[0] == "T" else "running"

    def log(self):
        try:
            return (self.dir / "out.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def kill(self):
        self.signal(signal.SIGKILL)
        self.expect("ended")

    def pause(self):
        self.signal(signal.SIGSTOP)
        self.expect("paused")

    def resume(self):
        self.signal(signal.SIGCONT)
        self.expect("running")

    def terminate(self):
        """An orderly end."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if not self.becomes("ended"):
            self.kill()

    def signal(self, which):
        pid = self.pid()
        if pid:
            try:
                os.kill(pid, which)
            except ProcessLookupError:
                pass

    def expect(self, state):
        if not self.becomes(state):
            raise Failed(f"{self} is {self.state()}, and not {state}")

    def becomes(self, state):
        until = time.monotonic() + GRACE
        while (found := self.state()) != state:
            # Nothing becomes of what has ended.
            if found == "ended" or time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True


def look(pid):
    """The state letter of a process and when it started, or None if there is no such process."""
    if Path("/proc/self/stat").exists():
        try:
            # The name, in brackets, may hold anything; what comes after the last bracket is plain.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The first thread of a killed process may be gone while others still write their files.
        ending = fields[0] == "Z" and int(fields[17]) > 1
        return "D" if ending else fields[0], fields[19]
    said = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True).stdout
    state, _, started = said.strip().partition(" ")
    return (state[0], started.strip()) if state else None
