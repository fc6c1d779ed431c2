"""The binaries under AWS's Runtime Interface Emulator and under cargo-lambda's runtime."""

import json
import os
import pathlib
import sys
import time

from golden import cases, parse
from store import Dynoxide, Relay
from suite import (
    LAMBDA_ENVIRONMENT,
    PROVIDERS,
    ROOT,
    TARGET,
    WORK,
    Process,
    equal,
    free_port,
    group,
    loopback_only,
    request,
    run,
    test,
    until,
)

TOOLS = pathlib.Path(sys.prefix)
# What a function may ever ask of DynamoDB. Its role allows these two, and nothing else.
RIGHTS = {("UpdateItem", "payments"), ("GetItem", "credentials")}


class Emulated(Process):
    """A release binary under the Runtime Interface Emulator that aws-sam-cli brings along."""

    def __init__(self, provider, environment):
        (emulator,) = TOOLS.glob(
            "lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-x86_64"
        )
        self.port = free_port()
        command = [
            emulator,
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{self.port}",
            "--runtime-api-address",
            f"127.0.0.1:{free_port()}",
            TARGET / "lambda" / provider / "bootstrap",
        ]
        settings = {
            "AWS_LAMBDA_FUNCTION_TIMEOUT": "10",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "CREDENTIAL_TTL_SECONDS": "0",
        }
        super().__init__(
            f"rie-{provider}",
            command,
            {"PATH": "/usr/bin:/bin"} | LAMBDA_ENVIRONMENT | settings | environment,
        )

    def invoke(self, event):
        path = "/2015-03-31/functions/function/invocations"
        status, _, text = until(
            lambda: request(self.port, "POST", path, body=json.dumps(event, default=str)),
            10,
            "the emulator",
        )
        equal(status, 200, text)
        return parse(text)

    def errors(self):
        lines = [
            line[line.index("{") :]
            for line in self.text().splitlines()
            if '"level":"ERROR"' in line
        ]
        return [json.loads(line) for line in lines]


def play(what, provider, tables, relay, invoke):
    """Every golden case of a provider, from empty tables."""
    found = cases(provider)
    began, requested = time.monotonic(), set()
    for case in found:
        with test(f"{what}: {provider}: {case.name}", quiet=True):
            tables.empty()
            tables.put(case.given)
            relay.hang_up(case.given.get("store") == "unreachable")
            relay.lossy = case.given.get("store") == "lossy"
            relay.take()
            start = time.time()
            response = invoke(case)
            taken = relay.take()
            requested |= set(taken)
            writes = sum(operation == "UpdateItem" for operation, _ in taken)
            case.check(start, response, tables.scan(tables.payments), writes)
    relay.hang_up(False)
    relay.lossy = False
    print(
        f"      {provider}: {len(found)} golden cases in {time.monotonic() - began:.1f} s",
        flush=True,
    )
    return requested


def runtime_interface_emulator(dynoxide):
    group("the Runtime Interface Emulator: every golden case, release binaries")
    relay = Relay(dynoxide.port)
    for provider in PROVIDERS:
        with Emulated(
            provider, {"AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{relay.port}"}
        ) as function:
            requested = play(
                "emulator",
                provider,
                dynoxide.tables,
                relay,
                lambda case: function.invoke(case.signed()),
            )
            with test(f"{provider} asks DynamoDB for what its role allows, and uses all of it"):
                equal(requested, RIGHTS)
            if provider == PROVIDERS[-1]:
                loopback_only("Runtime Interface Emulator")


def bad_settings(dynoxide):
    """With wrong settings, a function starts, responds with 500, and logs what to check."""
    group("wrong settings: the function starts, responds with 500, and logs what to check")
    endpoint = f"http://127.0.0.1:{dynoxide.port}"
    # An address without a listener, as a Region without DynamoDB or a subnet without a route to
    # it.
    unreachable = f"http://127.0.0.1:{free_port()}"
    settings = {
        "no payments table": (
            {"AWS_ENDPOINT_URL_DYNAMODB": endpoint, "PAYMENTS_TABLE": "paymets"},
            "paymets",
        ),
        "no credentials table": (
            {"AWS_ENDPOINT_URL_DYNAMODB": endpoint, "CREDENTIALS_TABLE": "credentails"},
            "credentails",
        ),
        "a region that is none": ({"AWS_REGION": "xx-nowhere-1"}, "credentials"),
        "nothing at the endpoint": ({"AWS_ENDPOINT_URL_DYNAMODB": unreachable}, "credentials"),
    }
    for provider in PROVIDERS:
        case = next(
            case
            for case in cases(provider)
            if case.then["writes"] == 1 and case.then["status"] == 200
        )
        for name, (environment, table) in settings.items():
            with test(f"{provider}: {name}"), Emulated(provider, environment) as function:
                dynoxide.tables.empty()
                dynoxide.tables.put(case.given)
                response = function.invoke(case.signed())
                # Where DynamoDB refuses, nothing can have happened: 500. Without a store, some
                # providers have a 503 for that.
                expected = (500,) if table.startswith(("paymets", "credentails")) else (500, 503)
                assert response["statusCode"] in expected, response
                assert parse(response["body"]), "an empty body"
                errors = function.errors()
                equal(len(errors), 1, f"lines: {errors}")
                equal(errors[0]["table"], table)
                assert "check" in errors[0]["message"], errors[0]


def two_regions(one):
    """Where "exactly once" ends: with eventual consistency, each Region checks its own copy."""
    group(
        "two stores, as two eventually consistent Regions: both cancel; one captures, one cancels"
    )
    case = next(
        case for case in cases("vtex") if case.then["writes"] == 1 and case.then.get("payments")
    )
    pk = case.then["payments"][0]["pk"]
    before = next(payment["status"] for payment in case.given["payments"] if payment["pk"] == pk)
    with Dynoxide("dynoxide-other") as other:
        regions = [one, other]
        for region in regions:
            region.tables.empty()
            region.tables.put(case.given)
        with test("with the same payment in both, both give 200, cancellations differ"):
            responses = []
            for region in regions:
                with Emulated(
                    "vtex", {"AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{region.port}"}
                ) as function:
                    responses.append(function.invoke(case.signed()))
            equal([response["statusCode"] for response in responses], [200, 200])
            ids = {parse(response["body"])["cancellationId"] for response in responses}
            assert len(ids) == 2 and None not in ids, ids
        with test("with a capture in one, the other still cancels"):
            for region in regions:
                region.tables.put(case.given)
            one.tables.dynamodb.update_item(
                TableName="payments",
                Key={"pk": {"S": pk}},
                UpdateExpression="SET #s = :settled",
                ConditionExpression="#s = :seen",
                ExpressionAttributeNames={"#s": "status"},
                ExpressionAttributeValues={":settled": {"S": "settled"}, ":seen": {"S": before}},
            )
            with Emulated(
                "vtex", {"AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{other.port}"}
            ) as function:
                equal(function.invoke(case.signed())["statusCode"], 200)
            equal(
                [region.tables.payment(pk)["status"] for region in regions],
                ["settled", "cancelled"],
            )


def cargo_lambda(dynoxide):
    group("cargo lambda watch and invoke: the five URLs on one port, every golden case")
    relay, port = Relay(dynoxide.port), free_port()
    environment = (
        os.environ
        | LAMBDA_ENVIRONMENT
        | {
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{relay.port}",
            "CREDENTIAL_TTL_SECONDS": "0",
        }
    )
    command = ["cargo", "lambda", "watch", "-A", "127.0.0.1", "-P", port, "--ignore-changes"]
    with Process("cargo-lambda-watch", command, environment):
        until(lambda: request(port, "GET", "/"), 60, "cargo lambda watch")
        served(dynoxide, port)
        copies = WORK / "signed"
        copies.mkdir(parents=True, exist_ok=True)

        def invoke(provider, case):
            # A signature is good for five minutes: the events that carry one are signed anew, the
            # others taken as they are.
            file = case.file
            if case.sign is not None:
                file = copies / "event.json"
                file.write_text(json.dumps(case.signed(), default=str))
            return invoke_file(provider, file, port, environment)

        for provider in PROVIDERS:
            play(
                "cargo lambda invoke",
                provider,
                dynoxide.tables,
                relay,
                lambda case: invoke(provider, case),
            )
        with test(
            "an event of One2Pays as it is committed has an old signature, and is refused with 401"
        ):
            case = next(case for case in cases("one2pays") if case.then["status"] == 200)
            dynoxide.tables.put(case.given)
            response = invoke_file("one2pays", case.file, port, environment)
            equal(
                (response["statusCode"], parse(response["body"])["error"]["code"]),
                (401, "INVALID_CREDENTIALS"),
            )
        loopback_only("cargo lambda watch")


def invoke_file(provider, file, port, environment):
    # As `cargo lambda` starts it, which takes three times as long to start.
    command = [
        "cargo-lambda",
        "lambda",
        "invoke",
        provider,
        "--data-file",
        file.relative_to(ROOT),
        "-A",
        "127.0.0.1",
        "-P",
        port,
    ]
    return parse(run("cargo-lambda-invoke", command, environment, seconds=15))


def served(dynoxide, port):
    """The URLs as clients call them, on the routes that the functions' own manifests name."""
    for provider in PROVIDERS:
        with test(f"cargo lambda watch serves {provider}'s URL"):
            case = next(
                case
                for case in cases(provider)
                if case.then.get("payments") and not case.event.get("isBase64Encoded")
            )
            dynoxide.tables.empty()
            dynoxide.tables.put(case.given)
            event = case.signed()
            # The first call may have to link the binary.
            status, _, text = request(
                port, "POST", event["rawPath"], event["headers"], event.get("body"), seconds=300
            )
            equal(status, 200, text)
            (changed,) = case.then["payments"]
            equal(dynoxide.tables.payment(changed["pk"])["status"], changed["status"])
    with test("cargo lambda watch serves no other URL"):
        status, _, _ = request(port, "POST", "/payments/1/refund", body="{}")
        assert status >= 400, status


def main():
    with Dynoxide() as dynoxide:
        runtime_interface_emulator(dynoxide)
        bad_settings(dynoxide)
        two_regions(dynoxide)
        cargo_lambda(dynoxide)


if __name__ == "__main__":
    import suite

    main()
    suite.close()
