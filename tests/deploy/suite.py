"""What the deployment tests stand on: a list of tests, and processes that end with it."""

import atexit
import contextlib
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"
# A half of the tests that runs beside the other has a folder of its own: see main.py.
WORK = TARGET / "deploy" / os.environ.get("DEPLOY_HALF", "")
PROVIDERS = sorted(folder.name for folder in (ROOT / "functions").iterdir() if folder.is_dir())
LAMBDA_ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}

passed, failed = 0, []


def progress(text):
    """A line on a terminal, which the next one takes the place of; elsewhere nothing."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def test(name, quiet=False):
    """One test. What is raised in it is its failure, and the next one is run all the same."""
    global passed
    began = time.monotonic()
    progress(f"{passed + len(failed)} done; {name} …")
    try:
        yield
    except Exception as error:  # noqa: BLE001
        progress("")
        failed.append(name)
        where = traceback.extract_tb(error.__traceback__)[-1]
        print(
            f"FAIL  {name}\n      {type(error).__name__}: {error}\n"
            f"      at {where.filename}:{where.lineno}",
            flush=True,
        )
    else:
        progress("")
        passed += 1
        if not quiet:
            print(f"ok    {name}  ({time.monotonic() - began:.1f} s)", flush=True)


def group(name):
    """Says what is being tested now."""
    print(f"\n-- {name}", flush=True)


def close():
    """The closing line, and how the process ends."""
    for name in failed:
        print(f"failed: {name}")
    print(f"\n{passed} passed, {len(failed)} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)


def count(half):
    """Waits for a half of the tests, a process that ends with `close`: its tests count as ours."""
    global passed
    progress("the other half …")
    half.process.wait()
    progress("")
    text = half.text()
    found = re.search(r"^(.*?)((?:failed: .+\n)*)\n(\d+) passed, \d+ failed\n$", text, re.DOTALL)
    if not found:
        failed.append(f"{half.log.stem}, which ended early")
        print(text, flush=True)
        return
    print(found[1], flush=True)
    failed.extend(re.findall("^failed: (.+)$", found[2], re.MULTILINE))
    passed += int(found[3])


def equal(actual, expected, what=""):
    if actual != expected:
        raise AssertionError(f"{what}\n      is        {actual}\n      should be {expected}")


def until(probe, seconds, what):
    """Waits until `probe` gives something true, and gives that."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            if found := probe():
                return found
        except (OSError, http.client.HTTPException) as error:
            last = error
        time.sleep(0.05)
    raise TimeoutError(f"{what}: not within {seconds} s ({last})")


def free_port():
    """A free port of 127.0.0.1."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def request(port, method, path, headers=None, body=None, seconds=30):
    """Status, headers in lower case, and body of a call to this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, text
    finally:
        connection.close()


class Process:
    """A program in its own session, with its output in a file. Its children end with it."""

    running = []

    def __init__(self, name, command, environment, folder=ROOT):
        WORK.mkdir(parents=True, exist_ok=True)
        self.log = WORK / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.id = self.process.pid
        Process.running.append(self)

    def text(self):
        return self.log.read_text(errors="replace")

    def members(self):
        """The processes of its session: itself, and what it has started."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError):
                    if (
                        os.getsid(int(entry.name)) == self.id
                        and (entry / "stat").read_text().rsplit(")")[-1].split()[0] != "Z"
                    ):
                        found.append(int(entry.name))
        return found

    def end(self):
        if self not in Process.running:
            return
        Process.running.remove(self)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.id, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        for member in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        self.process.wait(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def end_all():
    for process in list(Process.running):
        process.end()


atexit.register(end_all)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda *_: sys.exit(1))


def beyond_loopback():
    """Addresses beyond loopback on which a process of these tests listens."""
    inodes = set()
    for process in Process.running:
        for member in process.members():
            for descriptor in pathlib.Path(f"/proc/{member}/fd").glob("*"):
                with contextlib.suppress(OSError):
                    inodes.add(os.readlink(descriptor))
    found = []
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, port = fields[1].split(":")
            # 127.0.0.0/8, also as IPv6, and ::1. The kernel writes an address' words backwards.
            own = re.fullmatch("(0{16}FFFF0000)?.{6}7F|0{24}01000000", address)
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes and not own:
                found.append(f"{address}:{int(port, 16)}")
    return found


def loopback_only(what):
    with test(f"{what}: nothing listens beyond loopback"):
        equal(beyond_loopback(), [])


def run(name, command, environment, folder=ROOT, seconds=300):
    """Runs a command to its end, and fails with what it said."""
    with Process(name, command, environment, folder) as process:
        try:
            code = process.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = f"none after {seconds} s"
        if code != 0:
            raise AssertionError(f"{name}: exit code {code}\n{process.text()[-3000:]}")
        return process.text()
