"""Whether the alarms and the dashboard watch what there is, and the runbook knows them: compared with log lines that deployed functions wrote."""

import json
import re

import drift
from suite import PROVIDERS, ROOT, equal, group, run, test

RUNBOOK = (ROOT / "infra/RUNBOOK.md").read_text()
OURS = "PaymentCancel"
# Of Logs Insights: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
LANGUAGE = {"and", "as", "asc", "avg", "bin", "by", "count", "desc", "display", "fields", "filter", "like", "limit", "max", "or", "pct", "sort", "source", "stats", "sum"}


def paragraphs():
    """The runbook's paragraphs, by the anchors that Markdown gives their headings."""
    headings = re.split(r"^## (.+)$", RUNBOOK, flags=re.MULTILINE)[1:]
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-"): text for heading, text in zip(headings[::2], headings[1::2])}


def runbook():
    group("alarms and their paragraphs")
    told = drift.sam(drift.TOLD | {"RunbookUrl": "infra/RUNBOOK.md"})
    alarms = {name: told.value(one["Properties"]) for name, one in told.resources.items() if one["Type"] == "AWS::CloudWatch::Alarm"}
    known = paragraphs()
    with test("each alarm leads to its paragraph in RUNBOOK.md, and each paragraph belongs to an alarm"):
        led = {re.search(r": infra/RUNBOOK\.md#([a-z-]+)$", one["AlarmDescription"])[1] for one in alarms.values()}
        equal(led, set(known))
    with test("each paragraph has something to run"):
        for anchor, text in known.items():
            assert re.search(r"^```(sh)?\n.+?^```$", text, re.MULTILINE | re.DOTALL), anchor
    with test("each provider has each alarm, and no other has one"):
        kinds = {}
        for one in alarms.values():
            provider = next((provider for provider in PROVIDERS if one["AlarmName"].startswith(f"cancel-{provider}-")), "")
            kinds.setdefault(provider, set()).add(one["AlarmName"].removeprefix(f"cancel-{provider}-"))
        usual = {"undecided", "throttled", "slow", "unauthenticated"}
        # Where the request is signed, the failures are those of signatures.
        signed = usual - {"unauthenticated"} | {"signatures"}
        equal(kinds.pop(""), {"cancel-server-errors", "cancel-events-undelivered", "cancel-events-failing"})
        equal(kinds, {provider: signed if signs(provider) else usual for provider in PROVIDERS})
    with test("the README has the number of alarms, and what they cost"):
        extra = [one for one in alarms.values() if "-events-" in one["AlarmName"]]
        number = len(alarms) - len(extra)
        text = " ".join((ROOT / "README.md").read_text().split())
        assert f"{number} alarms × 0.10 = {number / 10:.2f}" in text, f"{number} alarms"
        assert f"{len(extra)} more alarms" in text, f"{len(extra)} with events"


def signs(provider):
    return "Credential::signature(" in (ROOT / "functions" / provider / "src/lib.rs").read_text()


def emitted(lines):
    """The metrics in lines of embedded metric format: name, and the names of its dimensions."""
    found = set()
    for line in lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in directive["Metrics"]:
                assert isinstance(line[metric["Name"]], (int, float)), line
                for dimensions in directive["Dimensions"]:
                    assert all(isinstance(line[name], str) for name in dimensions), line
                    found.add((directive["Namespace"], metric["Name"], frozenset(dimensions)))
    return found


def outcomes():
    """The words that a request may end with, out of the source."""
    source = (ROOT / "shared/src/cancel.rs").read_text()
    body = re.search(r"fn word\(&self\).+?\n    }\n", source, re.DOTALL)[0]
    return {"canceled"} | set(re.findall(r'=> "(\w+)"', body))


class Read:
    """A metric that is read: its namespace, its name, and its dimensions with the values asked for."""

    def __init__(self, namespace, name, dimensions):
        self.namespace, self.name, self.dimensions = namespace, name, dimensions

    def key(self):
        return self.namespace, self.name, frozenset(self.dimensions)

    def values(self, dimension):
        return self.dimensions.get(dimension) or []


def of_alarms(alarms):
    return [Read(one["Namespace"], one["MetricName"], {pair["Name"]: [pair["Value"]] for pair in one["Dimensions"]}) for one in alarms]


def of_dashboard(body):
    """What the graphs of a dashboard read; `.` repeats the row above."""
    found = []
    for widget in body["widgets"]:
        above = []
        for row in widget["properties"].get("metrics", []):
            options = row[-1] if isinstance(row[-1], dict) else {}
            texts = [part for part in row if isinstance(part, str)]
            if "expression" in options:
                found += of_search(options["expression"])
                continue
            texts = [above[n] if part == "." else part for n, part in enumerate(texts)]
            above = texts
            found.append(Read(texts[0], texts[1], {name: [value] for name, value in zip(texts[2::2], texts[3::2])}))
    return found


def of_search(expression):
    schema, query = re.fullmatch(r"SEARCH\('\{([^}]+)\} (.+)', '(?:Sum|p\d\d)', 300\)", expression).groups()
    namespace, *dimensions = schema.split(",")
    asked = {name: re.findall(r'"([^"]+)"', values) for name, values in re.findall(r'(\w+)=(\([^)]*\)|"[^"]*")', query)}
    names = asked.pop("MetricName")
    assert set(asked) <= set(dimensions), expression
    return [Read(namespace, name, {dimension: asked.get(dimension, []) for dimension in dimensions}) for name in names]


def blocks(text, language):
    return [block for named, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if named == language]


def queries(text):
    """Its Logs Insights queries, which lie in blocks of no language, their comments aside."""
    parts = [part for block in blocks(text, "") for part in re.sub(r"^#.*\n", "", block, flags=re.MULTILINE).split("\n\n")]
    return [" ".join(part.split()) for part in parts if re.match(r"(filter|fields) ", part)]


def fields(query):
    """The fields that a query names, `@timestamp` and the like aside, and what it makes itself."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"", " ", query)
    made = set(re.findall(r"\bas (\w+)", text))
    return set(re.findall(r"(?<![@\w])[a-z_]\w*", text)) - made - LANGUAGE


def deployed(stack, lines):
    """The deployed alarms and the deployed dashboard, against what the deployed functions wrote; and the runbook's commands."""
    cloudwatch = stack.cloud.client("cloudwatch")
    alarms = [one for page in cloudwatch.get_paginator("describe_alarms").paginate() for one in page["MetricAlarms"]]
    alarms = [one for one in alarms if one["AlarmName"].startswith(f"{stack.name}-")]
    dashboard = json.loads(cloudwatch.get_dashboard(DashboardName=stack.name)["DashboardBody"])
    read = of_alarms(alarms) + of_dashboard(dashboard)
    with test(f"{stack.name}: alarms and dashboard read metrics that the functions emit, with the words they have"):
        assert len(alarms) > 20 and len(read) > len(alarms) + 10, (len(alarms), len(read))
        known = emitted(lines)
        for one in read:
            if one.namespace == OURS:
                assert one.key() in known, f"{one.key()} is none of {known}"
                assert set(one.values("provider")) <= set(PROVIDERS), one.dimensions
                assert set(one.values("outcome")) <= outcomes(), one.dimensions
    with test(f"{stack.name}: all that the functions emit is read"):
        equal(emitted(lines) - {one.key() for one in read}, set())
    with test(f"{stack.name}: alarms and dashboard read AWS's metrics of what is deployed"):
        functions = {one["FunctionName"] for one in stack.cloud.client("lambda").list_functions()["Functions"]}
        resources = {one["PhysicalResourceId"] for one in stack.resources()}
        there = {
            "FunctionName": functions, "ApiId": resources, "TableName": {stack.tables.payments},
            "QueueName": {name.rsplit("/", 1)[-1] for name in resources}, "PipeName": resources,
        }
        for one in read:
            for name, values in one.dimensions.items() if one.namespace != OURS else ():
                assert values and set(values) <= there[name], (one.key(), values)
    with test(f"{stack.name}: the runbook's command runs a query"):
        # One run of it, since the emulator understands only a little of a query: a filter on members is one that it takes for none.
        answer = json.loads(shell(stack, "start-query", QUERY=queries(RUNBOOK)[0]))
        equal(answer["status"], "Complete")
    with test(f"{stack.name}: the runbook's other commands say what they are to say"):
        (payment, *_) = [item for item in stack.tables.scan(stack.tables.payments) if "cancellation" in item]
        provider, merchant, name = payment["pk"].split("#")
        item = json.loads(shell(stack, "get-item", TABLE=stack.tables.payments, PROVIDER=provider, MERCHANT=merchant, PAYMENT=name))
        equal(item, [payment["status"], payment["canceled_at"], payment["cancellation"]["id"]])
        assert int(shell(stack, "get-account-settings")) > 0
        equal(json.loads(shell(stack, "describe-pipe"))[0], "RUNNING")


def asked(stack, lines):
    """The queries, against lines of all sorts: of requests, and of what is wrong."""
    with test(f"{stack.name}: the queries of README.md, RUNBOOK.md and the dashboard name fields that lines have"):
        ours, access = {name for line in lines for name in line} | elsewhere(), set(drift.sam().facts()["ApiGatewayV2::Stage"]["AccessLogSettings"]["Format"])
        every = queries(RUNBOOK) + queries((ROOT / "README.md").read_text())
        dashboard = json.loads(stack.cloud.client("cloudwatch").get_dashboard(DashboardName=stack.name)["DashboardBody"])
        every += [widget["properties"]["query"] for widget in dashboard["widgets"] if widget["type"] == "log"]
        assert len(every) > 10, every
        for query in every:
            named = fields(query)
            assert named <= ours or named <= access, f"{query}\n{sorted(named - ours)}"


def shell(stack, having, **environment):
    """What a command of the runbook prints, as it is printed there; but for the time to wait, which the emulator does not need."""
    (command,) = [block for block in blocks(RUNBOOK, "sh") if having in block]
    environment = stack.cloud.environment | {"STACK": stack.name} | environment
    # What the AWS CLI prints unless a person has set something else.
    environment |= {"AWS_DEFAULT_OUTPUT": "json"}
    # The CLI's first version heeds AWS_ENDPOINT_URL for every service but SQS.
    here = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }\n'
    return run(f"runbook-{having}", ["bash", "-euo", "pipefail", "-c", here + command.replace("sleep 5", "sleep 0")], environment)


def elsewhere():
    """Fields that the harness has real binaries write, and no test of this folder: there is no trace here, and no payment that breaks the data model."""
    listed = re.findall(r"MEMBERS: \[&str; \d+\] = \[(.+?)\];", (ROOT / "tests/src/log.rs").read_text(), re.DOTALL)
    return {"trace_id", "attribute"} & set(re.findall(r'"(\w+)"', " ".join(listed)))


def main():
    runbook()


if __name__ == "__main__":
    import suite

    main()
    suite.close()
