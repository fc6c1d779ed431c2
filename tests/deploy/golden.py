"""The golden cases of `events/` (see `events/README.md`), for anything that runs a function."""

import base64
import datetime
import decimal
import functools
import hashlib
import hmac
import json
import re
import subprocess
import time

from suite import ROOT, TARGET, WORK, equal


def unique(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError(f"a field given twice: {names}")
    return dict(pairs)


def number(text):
    value = decimal.Decimal(text)
    return int(value) if value == value.to_integral_value() else value


def parse(text):
    """JSON without a field given twice, its numbers exact."""
    return json.loads(text, object_pairs_hook=unique, parse_float=number)


def same(actual, expected, what):
    """Equality that tells `true` from 1."""
    canon = [json.dumps(value, sort_keys=True, default=str) for value in (actual, expected)]
    equal(canon[0], canon[1], what)


class Case:
    def __init__(self, provider, case):
        self.name, self.event = case["name"], case["event"]
        self.given, self.then, self.sign = case["given"], case["then"], case["sign"]
        # The complete event where the case has one, else what is rendered of its request.
        self.file = ROOT / "events" / provider / f"{self.name}.json"
        if not self.file.exists():
            self.file = WORK / "events" / provider / f"{self.name}.json"
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(self.event))

    def signed(self):
        """The event as it is sent: signed now, if the case is signed."""
        if self.sign is None:
            return self.event
        event = json.loads(json.dumps(self.event, default=str))
        body = event.get("body") or ""
        body = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
        timestamp = str(time.time_ns() // 1_000_000 - self.sign.get("age_ms", 0))
        digits = hmac.new(
            self.sign["secret"].encode(), timestamp.encode() + b"." + body, hashlib.sha256
        ).hexdigest()
        digits = digits.upper() if self.sign.get("uppercase") else digits
        headers = event["headers"]
        headers.update({"x-timestamp": timestamp, "x-signature": f"sha256={digits}"})
        for name in self.sign.get("omit", []):
            headers.pop(name, None)
        headers.update(self.sign.get("replace", {}))
        return event

    def check(self, began, response, table, writes):
        """Compares the response, the table and the number of writes with what the case says."""
        then = self.then
        equal(response["isBase64Encoded"], False, "isBase64Encoded")
        equal(response["statusCode"], then["status"], f"status, with the body {response['body']}")
        after = {item["pk"]: item for item in table}
        known = self.placeholders(began, response, after)
        parse(response["body"])
        equal(response["body"], fill(then["body"], known), "body")
        same(response["headers"], fill(then["headers"], known), "headers")
        expected = {item["pk"]: item for item in self.given.get("payments", [])}
        expected |= {item["pk"]: item for item in fill(then.get("payments", []), known)}
        same(after, expected, "payments")
        # Every attempt of a write that is lost is one more.
        if self.given.get("store") != "lossy":
            equal(writes, then["writes"], "writes")

    def placeholders(self, began, response, table):
        request_id = response["headers"]["x-request-id"]
        matches(r"[0-9a-f-]{36}", request_id, "x-request-id")
        known = {"{request_id}": request_id}
        changed = self.then.get("payments", [])
        if not changed:
            return known
        item = table[changed[0]["pk"]]
        if at := item.get("canceled_at"):
            matches(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at, "canceled_at")
            moment = datetime.datetime.fromisoformat(at[:-1] + "+00:00").timestamp()
            if not began - 0.001 <= moment <= time.time():
                raise AssertionError(f"canceled_at {at} is not within the call")
            known |= {"{canceled_at_seconds}": at.split(".")[0] + "Z", "{canceled_at}": at}
        cancellation = item.get("cancellation", {})
        token = cancellation.get("token", "")
        if token.startswith("signature "):
            matches("signature [0-9a-f]{64}", token, "cancellation.token")
            known["{token}"] = token
        for name, length in (("id", 32), ("fingerprint", 64)):
            if name in cancellation:
                matches(f"[0-9a-f]{{{length}}}", cancellation[name], f"cancellation.{name}")
                known["{cancellation_id}" if name == "id" else "{fingerprint}"] = cancellation[name]
        return known


def matches(pattern, text, what):
    if not re.fullmatch(pattern, text):
        raise AssertionError(f"{what} is {text}")


def fill(value, known):
    if isinstance(value, str):
        for name, text in known.items():
            value = value.replace(name, text)
        return value
    if isinstance(value, list):
        return [fill(one, known) for one in value]
    if isinstance(value, dict):
        return {name: fill(one, known) for name, one in value.items()}
    return value


@functools.cache
def cases(provider):
    # `cargo run` would build it once more, with fewer features.
    command = [TARGET / "debug/golden", provider]
    found = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [Case(provider, case) for case in json.loads(found, parse_float=number)]
