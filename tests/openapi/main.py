"""Runs schemathesis against the one-machine stack, and prints the statuses it got.

Arguments go to `st run`.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/openapi"
WORK = ROOT / "target/openapi"


@contextlib.contextmanager
def stack():
    """The URL of a stack that ends with the block."""
    command = [ROOT / "target/debug/local", "--port", "0", "--dynamodb-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = (re.match(r"ready +(http\S+)", line) for line in process.stdout)
            url = next(found[1] for found in ready if found)
            # It prints a line for each request, and would block on a full pipe.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield url
        finally:
            process.terminate()


@contextlib.contextmanager
def progress(what):
    """A line on a terminal that says what is being done and for how long; elsewhere nothing."""
    over = threading.Event()

    def show():
        began = time.monotonic()
        while not over.wait(0.5):
            print(
                f"\r{what}, {time.monotonic() - began:.0f} s \033[K",
                end="",
                file=sys.stderr,
                flush=True,
            )
        print("\r\033[K", end="", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield
        return
    line = threading.Thread(target=show, daemon=True)
    line.start()
    try:
        yield
    finally:
        over.set()
        line.join()


def attempt(provider, url, which):
    """Runs schemathesis on a provider's operation alone, so that each gets its share: success?"""
    statuses = WORK / f"{provider}.json"
    statuses.unlink(missing_ok=True)
    command = [
        pathlib.Path(sys.executable).with_name("st"),
        "--config-file",
        HERE / "schemathesis.toml",
        "run",
        ROOT / "infra/openapi.yaml",
    ]
    command += ["--url", url, "--include-tag", provider, *sys.argv[1:]]
    environment = os.environ | {"PYTHONPATH": str(HERE), "STATUSES": str(statuses)}
    with progress(f"{provider}, {which}"):
        run = subprocess.run(
            command,
            cwd=WORK,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    counts = json.loads(statuses.read_text()) if statuses.exists() else {}
    # A run that never got past a refusal has shown nothing.
    missing = [status for status in ("200", "400", "401", "405") if status not in counts]
    if run.returncode or missing:
        print(run.stdout)
        print(
            f"{provider}: schemathesis ended with {run.returncode}; "
            f"statuses that no request got: {missing}",
            flush=True,
        )
        return False
    statuses = "  ".join(f"{status}: {number}" for status, number in sorted(counts.items()))
    print(f"{provider:14} {sum(counts.values()):5} requests, no failure   {statuses}", flush=True)
    return True


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    WORK.mkdir(parents=True, exist_ok=True)
    providers = sorted(folder.name for folder in (ROOT / "functions").iterdir() if folder.is_dir())
    with stack() as url:
        well = []
        for number, provider in enumerate(providers, 1):
            well.append(attempt(provider, url, f"{number} of {len(providers)}"))
    sys.exit(0 if well and all(well) else 1)


main()
