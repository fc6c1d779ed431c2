"""What schemathesis cannot invent: demo credentials, signatures, and ids of demo payments."""

import atexit
import collections
import hashlib
import hmac
import itertools
import json
import os
import pathlib
import re
import time

import requests
import schemathesis
import yaml
from hypothesis import strategies

INFRA = pathlib.Path(__file__).resolve().parents[2] / "infra"
DOCUMENT = yaml.safe_load((INFRA / "openapi.yaml").read_text())


class Provider:
    """An operation of the document, with the demo data of its provider."""

    def __init__(self, path, operation):
        name = operation["tags"][0]
        demo = json.loads((INFRA.parent / "functions" / name / "demo.json").read_text())
        self.parameter = re.search("{(.*)}", path)[1]
        self.url = re.compile(re.sub("{.*}", "[^/]*", path) + "$")
        self.payments = [payment["pk"].split("#", 2)[2] for payment in demo["payments"]]
        self.secret = demo["cancel"].get("signing_secret", "").encode()
        schemes = (
            DOCUMENT["components"]["securitySchemes"][name]
            for one in operation["security"]
            for name in one
        )
        self.schemes = {scheme.get("name", "Authorization").lower() for scheme in schemes}
        lines = (line.split(": ", 1) for line in demo["cancel"]["headers"])
        self.ways = len(operation["security"])
        self.credential = {name: value for name, value in lines if name.lower() in self.schemes}

    def headers(self, body):
        timestamp = str(time.time_ns() // 1_000_000)
        signature = hmac.new(
            self.secret, timestamp.encode() + b"." + body, hashlib.sha256
        ).hexdigest()
        fill = {"{timestamp}": timestamp, "{signature}": signature}
        return {
            name: re.sub("{.*?}", lambda found: fill[found[0]], value)
            for name, value in self.credential.items()
        }


PROVIDERS = {path: Provider(path, item["post"]) for path, item in DOCUMENT["paths"].items()}


class Credential(requests.auth.AuthBase):
    """The demo credential, for four requests of five; the fifth keeps what was made up.

    It is set just before the request is sent, because a signature covers the body's bytes.
    """

    number = itertools.count()
    left_out = False

    def __call__(self, request):
        path = request.path_url.split("?")[0]
        for provider in PROVIDERS.values():
            if provider.url.match(path) and not self.left_out and next(self.number) % 5:
                for name in provider.schemes:
                    request.headers.pop(name, None)
                body = request.body or b""
                request.headers.update(
                    provider.headers(body.encode() if isinstance(body, str) else body)
                )
        return request


schemathesis.auth.set_from_requests(Credential())


@schemathesis.hook
def before_generate_path_parameters(context, strategy):
    """Every other request is for a payment of the demo data."""
    if context.operation is None:
        return strategy
    provider = PROVIDERS[context.operation.path]
    demo = strategies.sampled_from(provider.payments)
    return strategies.one_of(strategy, demo.map(lambda payment: {provider.parameter: payment}))


@schemathesis.hook
def before_call(context, case, kwargs):
    provider = PROVIDERS[case.operation.path]
    # A body that names the payment names the one of the path.
    if isinstance(case.body, dict) and isinstance(case.body.get(provider.parameter), str):
        case.body[provider.parameter] = case.path_parameters[provider.parameter]
    # Where there is one way to ask only, a credential is made up, and left out to see what happens.
    given = {name.lower() for name in case.headers or {}}
    Credential.left_out = provider.ways == 1 and not provider.schemes <= given


STATUSES = collections.Counter()


@schemathesis.hook
def after_call(context, case, response):
    STATUSES[response.status_code] += 1


@atexit.register
def report():
    pathlib.Path(os.environ["STATUSES"]).write_text(json.dumps(STATUSES))


@schemathesis.hook
def filter_case(context, case):
    """A header that comes twice with one value has that value, which no schema can express."""
    lists = [
        value.split(",")
        for value in (case.headers or {}).values()
        if isinstance(value, str) and "," in value
    ]
    return not any(len({part.strip() for part in parts}) == 1 for parts in lists)
