"""Runs schemathesis against the one-machine stack on free ports, and says which answers it got. Arguments go to `st run`."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

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
            yield next(found[1] for found in ready if found)
        finally:
            process.terminate()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    WORK.mkdir(parents=True, exist_ok=True)
    answers = WORK / "answers.json"
    answers.unlink(missing_ok=True)
    with stack() as url:
        command = [pathlib.Path(sys.executable).with_name("st"), "--config-file", HERE / "schemathesis.toml"]
        command += ["run", ROOT / "infra/openapi.yaml", "--url", url, *sys.argv[1:]]
        environment = os.environ | {"PYTHONPATH": str(HERE), "ANSWERS": str(answers)}
        code = subprocess.run(command, cwd=WORK, env=environment).returncode

    print("\nanswers, by status")
    for provider, counts in sorted(json.loads(answers.read_text()).items()):
        print(f"{provider:14}", *(f"{status}: {number:<4}" for status, number in sorted(counts.items())))
        # A run that never got past a refusal has shown nothing.
        for status in ("200", "400", "401", "405"):
            if status not in counts:
                print(f"{provider}: no request was answered with {status}")
                code = code or 1
    sys.exit(code)


main()
