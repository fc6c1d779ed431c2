"""Alarms, dashboard and runbook, compared with the log lines of deployed functions."""

import json
import re

import drift
from suite import PROVIDERS, ROOT, equal, group, run, test

RUNBOOK = (ROOT / "infra/RUNBOOK.md").read_text()
OURS = "PaymentCancel"
# Of Logs Insights: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
LANGUAGE = {
    "and",
    "as",
    "asc",
    "avg",
    "bin",
    "by",
    "count",
    "desc",
    "display",
    "fields",
    "filter",
    "like",
    "limit",
    "max",
    "or",
    "pct",
    "sort",
    "source",
    "stats",
    "sum",
    "ispresent",
}


def pages(part):
    """The runbook's pages of a part, by the anchors that Markdown gives their headings."""
    text = re.search(rf"^# {part}$(.+?)(?=^# |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)[1]
    headings = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-"): text
        for heading, text in zip(headings[::2], headings[1::2])
    }


STEPS = ["**Impact.**", "**Is it real.**", "**Do first.**", "**Then.**", "**Escalate"]
EVERYTHING = drift.EVENTS | drift.CHANGES["CanarySecretArn"]


def alarms_of(template):
    kinds = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    return [
        template.properties(name)
        for name, one in template.resources.items()
        if one["Type"] in kinds
    ]


def runbook():
    group("alarms and their pages")
    alarms, known = alarms_of(drift.sam(EVERYTHING)), pages("Alarms")
    with test("each alarm leads to its page in RUNBOOK.md, and each page belongs to an alarm"):
        led = {
            re.search(r": infra/RUNBOOK\.md#([a-z-]+)$", one["AlarmDescription"])[1]
            for one in alarms
        }
        equal(led, set(known))
    with test(
        "each page has impact, is it real, do first, then, escalate; a command at the second"
    ):
        for anchor, text in (known | pages("Emergencies")).items():
            places = [text.find(step) for step in STEPS]
            assert -1 not in places and places == sorted(places), (anchor, places)
            assert "```sh" in text[places[1] : places[2]], f"{anchor}: no command"
    with test("each link within the runbook leads to a page"):
        for anchor in re.findall(r"\]\(#([a-z-]+)\)", RUNBOOK):
            assert anchor in known | pages("Emergencies"), anchor
    with test("the commands set every variable that they use"):
        setup = "".join(blocks(RUNBOOK, "sh setup"))
        for kind, block in every_block():
            given = set(re.findall(r"\b([A-Z]+)=", setup + block)) | set(GIVEN.get(kind, ()))
            used = set(re.findall(r"\$\{?([A-Z]+)\b", block))
            assert used <= given, f"{sorted(used - given)} in\n{block}"
    with test("each provider has each alarm"):
        kinds = {}
        for one in alarms:
            provider = next(
                (
                    provider
                    for provider in PROVIDERS
                    if one["AlarmName"].startswith(f"cancel-{provider}-")
                ),
                "",
            )
            kinds.setdefault(provider, set()).add(
                one["AlarmName"].removeprefix(f"cancel-{provider}-")
            )
        equal(
            kinds.pop(""),
            {
                f"cancel-events-{kind}"
                for kind in ("undelivered", "waiting", "failing", "partial", "silent")
            },
        )
        equal(kinds, {provider: KINDS for provider in PROVIDERS})
    with test("infra/README.md has the number of alarms, and what they cost"):
        plain = alarms_of(drift.sam())
        # An alarm costs by the metrics that it reads.
        read = sum(
            sum("MetricStat" in one for one in alarm["Metrics"]) if "Metrics" in alarm else 1
            for alarm in plain
            if "AlarmRule" not in alarm
        )
        rules = sum("AlarmRule" in alarm for alarm in plain)
        text = " ".join((ROOT / "infra/README.md").read_text().split())
        for words in (
            f"{len(plain)} alarms",
            f"{read} alarm metrics × 0.10 = {read / 10:.2f}",
            f"{rules} composite alarms × 0.50 = {rules / 2:.2f}",
        ):
            assert words in text, words


KINDS = {
    "undecided",
    "unavailable",
    "internal",
    "unauthenticated",
    "errors",
    "throttles",
    "concurrency",
    "slow",
    "too-many",
    "burn-1h",
    "burn-5m",
    "burn-6h",
    "burn-30m",
    "burn-fast",
    "burn-slow",
    "canary",
}
# What blocks of the runbook are given by hand, by the word behind `sh`.
GIVEN = {
    "record": ["STREAM", "SHARD", "SEQUENCE"],
    "version": ["VERSION"],
    "credential": ["ID"],
    "reopen": ["CANCELED", "CANCELLATION", "STATUS"],
    "restore": ["MOMENT"],
    "replay": ["MOMENT"],
}


def counted(template):
    """The metrics that the template's filters count, their fields, and whose lines they read."""
    metrics, named = set(), {}
    for logical, one in template.resources.items():
        if one["Type"] == "AWS::Logs::MetricFilter":
            properties = template.properties(logical)
            (made,) = properties["MetricTransformations"]
            dimensions = made.get("Dimensions", [])
            metrics.add(
                (
                    made["MetricNamespace"],
                    made["MetricName"],
                    frozenset(pair["Key"] for pair in dimensions),
                )
            )
            text = " ".join(
                [
                    properties["FilterPattern"],
                    made["MetricValue"],
                    *(pair["Value"] for pair in dimensions),
                ]
            )
            named.setdefault(
                "access" if properties["LogGroupName"] == "<AccessLogs>" else "ours", set()
            ).update(re.findall(r"\$\.(\w+)", text))
    return metrics, named


def outcomes():
    """The words that a request may end with, out of the source."""
    source = (ROOT / "shared/src/cancel.rs").read_text()
    body = re.search(r"fn (?:word|as_str)\(&?self\).+?\n    }\n", source, re.DOTALL)[0]
    # Certainly not written: the word is in the source from the commit on that tells it from
    # undecided.
    return {"canceled", "unavailable"} | set(re.findall(r'=> "(\w+)"', body))


class Read:
    """A metric that is read: its namespace, its name, its dimensions and their values."""

    def __init__(self, namespace, name, dimensions):
        self.namespace, self.name, self.dimensions = namespace, name, dimensions

    def key(self):
        return self.namespace, self.name, frozenset(self.dimensions)

    def values(self, dimension):
        return self.dimensions.get(dimension) or []


def of_alarms(alarms):
    found = []
    for alarm in alarms:
        stats = [
            one["MetricStat"]["Metric"] for one in alarm.get("Metrics", []) if "MetricStat" in one
        ] or [alarm]
        found += [
            Read(
                one["Namespace"],
                one["MetricName"],
                {pair["Name"]: [pair["Value"]] for pair in one.get("Dimensions", [])},
            )
            for one in stats
            if "MetricName" in one
        ]
    return found


def of_dashboard(body):
    """What the graphs of a dashboard read; `.` is the value of the row above."""
    found = []
    for widget in body["widgets"]:
        above = []
        for row in widget["properties"].get("metrics", []):
            options = row[-1] if isinstance(row[-1], dict) else {}
            texts = [part for part in row if isinstance(part, str)]
            if "expression" in options:
                for search in re.findall(r"SEARCH\('[^']+', '\w+', \d+\)", options["expression"]):
                    found += of_search(search)
                continue
            texts = [above[n] if part == "." else part for n, part in enumerate(texts)]
            above = texts
            found.append(
                Read(
                    texts[0],
                    texts[1],
                    {name: [value] for name, value in zip(texts[2::2], texts[3::2])},
                )
            )
    return found


def of_search(expression):
    schema, query = re.fullmatch(
        r"SEARCH\('\{([^}]+)\} (.+)', '(?:Sum|Maximum|p\d\d)', (?:300|3600)\)", expression
    ).groups()
    namespace, *dimensions = schema.split(",")
    query = {
        name: re.findall(r'"([^"]+)"', values)
        for name, values in re.findall(r'(\w+)=(\([^)]*\)|"[^"]*")', query)
    }
    names = query.pop("MetricName")
    assert set(query) <= set(dimensions), expression
    return [
        Read(namespace, name, {dimension: query.get(dimension, []) for dimension in dimensions})
        for name in names
    ]


def blocks(text, language):
    return [
        block
        for named, block in re.findall(r"^```([\w ]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if named == language
    ]


def every_block():
    return re.findall(r"^```sh ?(\w*)\n(.*?)^```$", RUNBOOK, re.MULTILINE | re.DOTALL)


def queries(text):
    """Its Logs Insights queries, which are arguments of `insights`, and their log groups."""
    argument = r"""insights "(?:\$\(physical )?\$?(\w+)\)?" '(.+?)'\n"""
    found = re.findall(argument, text, re.DOTALL)
    return [(group, re.sub(r"'\"\$\w+\"'", "x", query)) for group, query in found]


def fields(query):
    """The fields that a query names, `@timestamp` and the like aside, and what it makes itself."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|/[^/]+/", " ", query)
    made = set(re.findall(r"\bas (\w+)", text))
    return set(re.findall(r"(?<![@\w])[a-z_]\w*", text)) - made - LANGUAGE


def deployed(stack, lines):
    """The alarms and the deployed dashboard, compared with the deployed functions' log lines."""
    template = drift.sam(drift.EVENTS)
    alarms = json.loads(
        json.dumps(alarms_of(template)).replace(
            "PaymentCancel/cancel", f"PaymentCancel/{stack.name}"
        )
    )
    cloudwatch = stack.cloud.client("cloudwatch")
    dashboard = json.loads(cloudwatch.get_dashboard(DashboardName=stack.name)["DashboardBody"])
    metrics, named = counted(template)
    metrics = {
        (space.replace("/cancel", f"/{stack.name}"), name, dimensions)
        for space, name, dimensions in metrics
    }
    with test(f"{stack.name}: the alarms that the emulator knows are the template's"):
        there = {
            one["AlarmName"]
            for page in cloudwatch.get_paginator("describe_alarms").paginate()
            for one in page["MetricAlarms"]
        }
        there = {name for name in there if name.startswith(f"{stack.name}-")}
        equal(
            there,
            {
                one["AlarmName"].replace("cancel-", f"{stack.name}-", 1)
                for one in alarms
                if "Metrics" not in one and "AlarmRule" not in one
            },
        )
    read = of_alarms(alarms) + of_dashboard(dashboard)
    with test(
        f"{stack.name}: alarms and dashboard read the template's metrics, and known values"
    ):
        assert len(alarms) > 70 and len(read) > len(alarms) + 10, (len(alarms), len(read))
        for one in read:
            if one.namespace.startswith(OURS):
                assert one.key() in metrics, f"{one.key()} is none of {metrics}"
                assert set(one.values("provider")) <= set(PROVIDERS), one.dimensions
                assert set(one.values("outcome")) <= outcomes(), one.dimensions
    with test(f"{stack.name}: all metrics that the template makes are read"):
        equal(metrics - {one.key() for one in read}, set())
    with test(
        f"{stack.name}: the filters read members that lines have, and count all lines of requests"
    ):
        requests = [line for line in lines if "outcome" in line]
        assert requests and all(named["ours"] <= set(line) for line in requests), named["ours"]
        equal(named["access"] - set(access_fields()), set())
    with test(f"{stack.name}: the dashboard reads AWS's metrics of what is deployed"):
        functions = {
            one["FunctionName"]
            for one in stack.cloud.client("lambda").list_functions()["Functions"]
        }
        resources = {one["PhysicalResourceId"] for one in stack.resources()}
        there = {
            "FunctionName": functions,
            "ApiId": resources,
            "TableName": {stack.tables.payments},
        }
        for one in of_dashboard(dashboard):
            for name, values in (
                one.dimensions.items() if not one.namespace.startswith(OURS) else ()
            ):
                assert name not in there or values and set(values) <= there[name], (
                    one.key(),
                    values,
                )


def commands(stack):
    """The runbook's commands, as they are printed there, on a test merchant's items."""
    provider = "vtex"
    pk = f"{provider}#m_runbook#pay_1"
    canceled = {
        "status": "cancelled",
        "canceled_at": "2026-01-31T12:00:00.000Z",
        "cancellation": {"id": "c" * 32, "token": "t", "fingerprint": "f"},
    }
    stack.tables.put(
        {
            "payments": [
                {"pk": pk, "amount": 1, "currency": "USD", "created_at": "2026-01-01T00:00:00.000Z"}
                | canceled
            ],
            "credentials": [
                {"pk": f"{provider}#id_1", "merchant_id": "m_runbook", "active": True},
                {"pk": f"{provider}#id_2", "merchant_id": "m_other", "active": True},
            ],
        }
    )
    status = lambda: stack.tables.payment(pk)["status"]  # noqa: E731
    active = lambda name: stack.tables.dynamodb.get_item(
        TableName=stack.tables.credentials, Key={"pk": {"S": f"{provider}#{name}"}}
    )["Item"]["active"][
        "BOOL"
    ]  # noqa: E731
    version = stack.cloud.client("lambda").get_alias(
        FunctionName=f"{stack.name}-{provider}", Name="live"
    )["FunctionVersion"]
    given = {
        "VERSION": version,
        "ID": "id_1",
        "CANCELED": "cancelled",
        "CANCELLATION": "c" * 32,
        "STATUS": "approved",
        "MOMENT": "2026-01-31T11:00:00Z",
        "MERCHANT": "m_runbook",
        "PROVIDER": provider,
        "PAYMENT": "pay_1",
    }
    plain = [
        (n, kind, block)
        for n, (kind, block) in enumerate(every_block())
        if kind not in ("setup", "record") and not any(one in block for one in NOT_THERE)
    ]
    with test(f"{stack.name}: the runbook's commands run, as they are printed there"):
        # In one shell, as a person would: with its setup once. What each prints follows its number.
        printed = shell(
            stack,
            "".join(f"echo @@{n}\n{block}" for n, kind, block in plain if kind not in CHANGING),
            given,
        )
        said = dict(re.findall(r"^@@(\d+)\n(.*?)(?=^@@|\Z)", printed, re.MULTILINE | re.DOTALL))
        equal(len(said), len([one for one in plain if one[1] not in CHANGING]))
        items = [
            json.loads(said[str(n)])
            for n, _, block in plain
            if "get-item" in block and "cancellation.M.id" in block
        ]
        equal(items, [[canceled["status"], canceled["canceled_at"], "c" * 32]])
    for kind, state, before, after in (
        ("credential", lambda: (active("id_1"), active("id_2")), (True, True), (False, True)),
        ("reopen", status, "cancelled", "approved"),
        ("everyone", lambda: (active("id_1"), active("id_2")), (False, True), (False, False)),
    ):
        with test(
            f"{stack.name}: the runbook's command that changes something changes that: {kind}"
        ):
            equal(state(), before)
            shell(stack, blocks(RUNBOOK, f"sh {kind}")[0], given)
            equal(state(), after)
    print(f"      {len(plain)} commands of the runbook ran", flush=True)
    with test(
        f"{stack.name}: restored, the old table's cancels are replayed onto the new one only"
    ):
        dynamodb, restored = stack.tables.dynamodb, f"{stack.tables.payments}-restored"
        # The emulator restores no table: this one is as a restored one would be, with the payment
        # as it was before.
        dynamodb.create_table(
            TableName=restored,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )
        stack.tables.put(
            {
                "payments": [
                    {
                        "pk": pk,
                        "amount": 1,
                        "currency": "USD",
                        "created_at": "2026-01-01T00:00:00.000Z",
                    }
                    | canceled
                ]
            }
        )
        for name in ("pay_1", "pay_2"):
            dynamodb.put_item(
                TableName=restored,
                Item={"pk": {"S": f"{provider}#m_runbook#{name}"}, "status": {"S": "approved"}},
            )
        for kind in ("restored", "replay"):
            shell(stack, blocks(RUNBOOK, f"sh {kind}")[0], given)
        found = {
            item["pk"]["S"].split("#")[2]: item["status"]["S"]
            for item in dynamodb.scan(TableName=restored)["Items"]
        }
        equal(found, {"pay_1": "cancelled", "pay_2": "approved"})
        dynamodb.update_table(TableName=restored, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=restored)
    for name in ("id_1", "id_2"):
        stack.tables.dynamodb.delete_item(
            TableName=stack.tables.credentials, Key={"pk": {"S": f"{provider}#{name}"}}
        )
    stack.tables.dynamodb.delete_item(TableName=stack.tables.payments, Key={"pk": {"S": pk}})


CHANGING = ("credential", "reopen", "everyone")
# Commands that are run elsewhere, or whose subject the emulator or this stack has not.
NOT_THERE = (
    "restore-table-to-point-in-time",
    "receive-message",
    "CanaryLogs",
    "-restored",
    "describe-continuous-backups",
)


def access_fields():
    return drift.sam().facts()["Stage"]["AccessLogSettings"]["Format"]


def query_fields(stack, lines):
    """The queries, against lines of all sorts: of requests, and of what is wrong."""
    with test(
        f"{stack.name}: all queries of the pages and of the dashboard name fields that lines have"
    ):
        ours = {name for line in lines for name in line} | elsewhere()
        dashboard = json.loads(
            stack.cloud.client("cloudwatch").get_dashboard(DashboardName=stack.name)[
                "DashboardBody"
            ]
        )
        every = queries(RUNBOOK) + [("LOGS", query) for query in of_readme()]
        every += [
            ("LOGS", re.sub(r"SOURCE '[^']+' ?\|?", "", widget["properties"]["query"]))
            for widget in dashboard["widgets"]
            if widget["type"] == "log"
        ]
        assert len(every) > 15, every
        for group, query in every:
            known = {
                "ACCESS": set(access_fields()),
                "CanaryLogs": {"provider", "canary", "seen"},
            }.get(group, ours)
            assert fields(query) <= known, f"{query}\n{sorted(fields(query) - known)}"


def of_readme():
    text = "".join(block for block in blocks((ROOT / "infra/README.md").read_text(), ""))
    return [
        " ".join(part.split())
        for part in re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).split("\n\n")
        if part.startswith("filter ")
    ]


def shell(stack, command, environment):
    """What a command of the runbook prints after its setup, without the wait."""
    setup = blocks(RUNBOOK, "sh setup")[0]
    for name, value in ({"STACK": stack.name} | environment).items():
        setup = re.sub(rf"^export {name}=.*$", f"export {name}={value}", setup, flags=re.MULTILINE)
    # What the AWS CLI prints by default.
    environment = stack.cloud.environment | environment | {"AWS_DEFAULT_OUTPUT": "json"}
    # The CLI's first version heeds AWS_ENDPOINT_URL for every service but SQS.
    here = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }\n'
    return run(
        "runbook",
        ["bash", "-euo", "pipefail", "-c", here + (setup + command).replace("sleep 5", "sleep 0")],
        environment,
    )


def elsewhere():
    """Fields that only the harness makes binaries write: no test here has such a trace or item."""
    listed = re.findall(
        r"MEMBERS: \[&str; \d+\] = \[(.+?)\];",
        (ROOT / "tests/src/contract/logs.rs").read_text(),
        re.DOTALL,
    )
    return {"trace_id", "attribute", "type"} & {"type"} | {"trace_id", "attribute"} & set(
        re.findall(r'"(\w+)"', " ".join(listed))
    )


def main():
    runbook()


if __name__ == "__main__":
    import suite

    main()
    suite.close()
