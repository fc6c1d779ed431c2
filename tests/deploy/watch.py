"""Alarms, dashboard and runbook, compared with the log lines of deployed functions."""

import json
import re

import drift
from store import Tables, to_attribute, to_plain
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
    with test("the outcome of a KMS key that cannot be used leads to its page"):
        source = (ROOT / "shared/src/store/dynamodb/mod.rs").read_text()
        (outcome,) = re.findall(r'code\.starts_with\("KMS"\) => Some\(Refusal::(\w+)\)', source)
        leading = [anchor for anchor, text in known.items() if "(#a-disabled-key)" in text]
        equal(leading, [outcome.lower()])
        page = pages("Emergencies")["a-disabled-key"]
        assert f"(`outcome` *{outcome.lower()}*)" in page, page
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
    "since": ["MOMENT"],
    "copy": ["REGION", "COPY"],
    "again": ["RULE", "BEGAN", "ENDED"],
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
        "MOMENT": "2026-01-31T12:00:00Z",
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
    stack.tables.dynamodb.delete_item(TableName=stack.tables.payments, Key={"pk": {"S": pk}})
    restored(stack, given)
    shifted(stack, given)
    copied(stack, given)
    enabled(stack, given)
    replayed(stack, given)
    for name in ("id_1", "id_2"):
        stack.tables.dynamodb.delete_item(
            TableName=stack.tables.credentials, Key={"pk": {"S": f"{provider}#{name}"}}
        )


def restored(stack, given):
    """The replay onto a restored table, with each way in which a payment can differ in it."""
    dynamodb, table = stack.tables.dynamodb, f"{stack.tables.payments}-restored"
    at = lambda time: f"2026-01-31T{time}Z"  # noqa: E731
    created = {"created_at": at("08:00:00.000"), "updated_at": at("08:00:00.000")}
    approved = created | {"status": "approved"}
    canceled = lambda time, id="c": created | {  # noqa: E731
        "status": "cancelled",
        "canceled_at": at(time),
        "updated_at": at(time),
        "cancellation": {"id": id * 32, "token": id, "fingerprint": "f"},
    }
    settled = lambda time: approved | {"status": "settled", "updated_at": at(time)}  # noqa: E731
    of_another_service = canceled("12:20:00.000")
    del of_another_service["cancellation"]
    before = canceled("11:59:58.000")
    # What each payment is in the old table and in the restored one, and which of both it is after
    # the replay.
    payments = {
        "open": (approved, approved, "restored"),
        "half_a_second_after": (canceled("12:00:00.500"), approved, "old"),
        "at_the_moment": (canceled("12:00:00.000"), approved, "old"),
        "begun_before_and_written_after": (before, approved, "old"),
        "just_before": (before, before, "restored"),
        "by_another_service": (of_another_service, approved, "old"),
        "reopened_and_canceled_again": (
            canceled("12:30:00.000", "d"),
            canceled("09:00:00.000") | approved,
            "old",
        ),
        "reopened_since": (canceled("12:10:00.000") | approved, approved, "restored"),
        "created_since": (canceled("12:10:00.000"), None, "restored"),
        "captured_in_the_new_table": (
            canceled("12:10:00.000"),
            settled("13:00:00.000"),
            "restored",
        ),
        "captured_since": (settled("12:10:00.000"), approved, "restored"),
    }
    pks = {name: f"{given['PROVIDER']}#m_runbook#{name}" for name in payments}
    found = Tables(dynamodb, table)
    with test(
        f"{stack.name}: restored, the old table's cancels since the moment are replayed, no others"
    ):
        # The emulator restores no table: this one is as a restored one would be.
        dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )
        for side, tables in ((0, stack.tables), (1, found)):
            sides = {name: both[side] for name, both in payments.items() if both[side]}
            tables.put({"payments": [{"pk": pks[name]} | item for name, item in sides.items()]})
        shell(stack, blocks(RUNBOOK, "sh restored")[0], given)
        # Twice, because a person repeats what was interrupted.
        for _ in range(2):
            printed = shell(stack, blocks(RUNBOOK, "sh replay")[0], given)
            for name, (old, new, which) in payments.items():
                expected = old if which == "old" else new
                expected = expected and {"pk": pks[name]} | new | expected
                equal(found.payment(pks[name]), expected, name)
            equal(
                set(re.findall(r"^check .*#m_runbook#(\w+)", printed, re.MULTILINE)),
                {"reopened_since", "created_since", "captured_in_the_new_table"},
            )
    with test(f"{stack.name}: restored, what else was written since the moment is listed"):
        printed = shell(stack, blocks(RUNBOOK, "sh since")[0], given)
        listed = [line.split() for line in printed.splitlines() if "#m_runbook#" in line]
        equal(listed, [[pks["captured_since"], "settled", at("12:10:00.000")]])
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=table)
    for pk in pks.values():
        dynamodb.delete_item(TableName=stack.tables.payments, Key={"pk": {"S": pk}})


def shifted(stack, given):
    with test(f"{stack.name}: the provider's running deployment is found, and stopped"):
        application, deployments = (
            one["PhysicalResourceId"]
            for logical in ("ServerlessDeploymentApplication", "vtexFunctionDeploymentGroup")
            for one in stack.resources()
            if one["LogicalResourceId"] == logical
        )
        printed = shell(stack, blocks(RUNBOOK, "sh shift")[0], given)
        calls = re.findall(r"^called: deploy (\S+) (.+)$", printed, re.MULTILINE)
        equal([name for name, _ in calls], ["list-deployments", "stop-deployment"])
        names = f"--application-name {application} --deployment-group-name {deployments} "
        assert calls[0][1].startswith(names), calls[0]
        equal(calls[1][1], "--auto-rollback-enabled --deployment-id DeploymentId")


def copied(stack, given):
    """The credentials' copy in another Region, where one of them is already, and revoked."""
    region, table = "us-east-2", "copy"
    there = lambda command: shell(  # noqa: E731
        stack, f"aws dynamodb {command} --region {region} --table-name {table}\n", given
    )
    secret = "signing-secret-of-the-runbook"
    revoked = {"pk": f"{given['PROVIDER']}#id_2", "merchant_id": "m_other", "active": False}
    signing = {"pk": "one2pays#id_3", "merchant_id": "m", "signing_secret": secret}
    stack.tables.put({"credentials": [signing, revoked | {"active": True}]})
    with test(f"{stack.name}: credentials are copied to another Region, and none there replaced"):
        there(
            "create-table --billing-mode PAY_PER_REQUEST --key-schema AttributeName=pk,KeyType=HASH"
            " --attribute-definitions AttributeName=pk,AttributeType=S"
        )
        there(f"put-item --item '{json.dumps(to_attribute(revoked)['M'])}'")
        expected = {one["pk"]: one for one in stack.tables.scan(stack.tables.credentials)}
        assert len(expected) > 2, expected
        block = blocks(RUNBOOK, "sh copy")[0]
        printed = shell(stack, block, given | {"REGION": region, "COPY": table})
        equal(re.findall("^not copied: (.+)$", printed, re.MULTILINE), [revoked["pk"]])
        assert secret not in printed, printed
        found = json.loads(there("scan --query Items"))
        found = {one["pk"]: one for one in (to_plain({"M": item}) for item in found)}
        equal(found, expected | {revoked["pk"]: revoked})
    there("delete-table")
    key = {"pk": {"S": signing["pk"]}}
    stack.tables.dynamodb.delete_item(TableName=stack.tables.credentials, Key=key)


def enabled(stack, given):
    kms, dynamodb = stack.cloud.client("kms"), stack.tables.dynamodb
    tables = (stack.tables.payments, stack.tables.credentials)
    with test(f"{stack.name}: both tables' keys are enabled, a scheduled deletion is canceled"):
        keys = [kms.create_key()["KeyMetadata"]["Arn"] for _ in tables]
        for table, key in zip(tables, keys):
            # The emulator keeps no key of a global table.
            dynamodb.update_table(
                TableName=table,
                SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key},
            )
        kms.disable_key(KeyId=keys[0])
        kms.schedule_key_deletion(KeyId=keys[1], PendingWindowInDays=7)
        shell(stack, blocks(RUNBOOK, "sh enable")[0], given)
        states = [kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for key in keys]
        equal(states, ["Enabled", "Enabled"])
    for table in tables:
        dynamodb.update_table(TableName=table, SSESpecification={"Enabled": False})


def replayed(stack, given):
    events, bus = stack.cloud.client("events"), stack.outputs["BusName"]
    (archive,) = (
        one["PhysicalResourceId"]
        for one in stack.resources()
        if one["LogicalResourceId"] == "Archive"
    )
    with test(f"{stack.name}: the archive is replayed to one listener"):
        # The emulator knows the template's archive by name only.
        source = events.describe_event_bus(Name=bus)["Arn"]
        events.create_archive(ArchiveName=archive, EventSourceArn=source)
        rule = events.put_rule(
            Name="listener", EventBusName=bus, EventPattern='{"source": ["payment-cancel"]}'
        )["RuleArn"]
        times = {"BEGAN": "2026-01-31T12:00:00Z", "ENDED": "2026-01-31T13:00:00Z"}
        block = blocks(RUNBOOK, "sh again")[0]
        shell(stack, block, given | times | {"RULE": "listener"})
        (name,) = (one["ReplayName"] for one in events.list_replays()["Replays"])
        equal(
            events.describe_replay(ReplayName=name)["Destination"],
            {"Arn": source, "FilterArns": [rule]},
        )
    events.delete_rule(Name="listener", EventBusName=bus)
    events.delete_archive(ArchiveName=archive)


CHANGING = ("credential", "reopen", "everyone", "shift", "copy", "enable", "again")
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
    # The CLI's first version heeds AWS_ENDPOINT_URL for every service but SQS. The emulator has no
    # CodeDeploy: the CLI checks the call by AWS's description of it, and makes up a response.
    here = """aws() {
      if [ "$1" = deploy ]; then
        echo "called: $*" >&2
        set -- "$@" --generate-cli-skeleton output
      fi
      command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"
    }
    """
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
