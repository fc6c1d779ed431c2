"""Both stacks on an AWS emulator: deployed with the real tools, called, and deleted."""

import hashlib
import hmac
import json
import os
import re
import shutil
import sys
import time
import uuid

import botocore.exceptions

import drift
import outbox
import rights
import smoke
import watch
from golden import number
from store import Tables, client
from suite import (
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


class Ministack(Process):
    """The emulator, on loopback only. With `asks` it checks signatures and the roles' policies."""

    def __init__(self, asks):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        home = WORK / "ministack"
        home.mkdir(parents=True, exist_ok=True)
        self.keys = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": self.url,
        }
        environment = self.keys | {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "AUTH": str(asks).lower(),
        }
        command = [TARGET / "tools/emulator/bin/python", ROOT / "tests/deploy/cloud.py"]
        super().__init__(f"ministack-{self.port}", command, environment)
        until(lambda: request(self.port, "GET", "/_ministack/health")[0] == 200, 60, "ministack")
        # The tools' environment: as a person's, with the emulator for AWS.
        self.environment = (
            os.environ
            | self.keys
            | {
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_PAGER": "",
                "CI": "true",
                "SAM_CLI_TELEMETRY": "0",
                "__SAM_CLI_APP_DIR": str(WORK / "sam"),
                "CDK_DISABLE_CLI_TELEMETRY": "true",
            }
        )

    def client(self, service):
        return client(service, self.port)

    def call(self, host, method, path, headers, body):
        """To an API, which the emulator tells by the first part of the host name."""
        return request(
            self.port,
            method,
            path,
            headers | {"Host": f"{host.split('.')[0]}.execute-api.localhost:{self.port}"},
            body,
        )


class Stack:
    """A deployed stack, found as its outputs say."""

    def __init__(self, cloud, name):
        self.cloud, self.name = cloud, name
        (stack,) = cloud.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self.tables = Tables(
            cloud.client("dynamodb"),
            self.outputs["PaymentsTableName"],
            self.outputs["CredentialsTableName"],
        )
        self.providers = [provider for provider in PROVIDERS if f"{provider}Url" in self.outputs]
        physical = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in self.resources()}
        # Of an HTTP API all providers' requests are at its root, of REST APIs in each one's stage.
        self.stage = "$default" if "Api" in physical else "live"
        self.apis = {
            provider: physical.get("Api") or physical[f"{provider}Api"]
            for provider in self.providers
        }
        self.logs = {provider: physical[f"{provider}Logs"] for provider in self.providers}
        self.keys = [
            f"arn:aws:kms:us-east-1:000000000000:key/{id}"
            for name, id in physical.items()
            if name.endswith("EncryptionKey")
        ]

    def call(self, provider, path, headers, body, method="POST"):
        """Through API Gateway, by the name that AWS gives the provider's API."""
        region = self.cloud.client("apigateway").meta.region_name
        host = f"{self.apis[provider]}.execute-api.{region}.amazonaws.com"
        prefix = "/live" if self.stage == "live" else ""
        status, received, text = self.cloud.call(host, method, prefix + path, headers, body)
        return status, received, json.loads(text or "{}")

    def resources(self):
        pages = (
            self.cloud.client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=self.name)
        )
        return [one for page in pages for one in page["StackResourceSummaries"]]

    def policy(self, provider):
        """What the role of a provider's function allows, and that it has nothing else."""
        iam = self.cloud.client("iam")
        function = self.cloud.client("lambda").get_function_configuration(
            FunctionName=f"{self.name}-{provider}"
        )
        role = function["Role"].rsplit("/", 1)[-1]
        equal(
            iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"],
            [],
            "attached policies",
        )
        equal(iam.list_role_policies(RoleName=role)["PolicyNames"], ["cancel"], "policies")
        trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
        equal(
            [(one["Effect"], one["Principal"], one["Action"]) for one in trust],
            [("Allow", {"Service": "lambda.amazonaws.com"}, "sts:AssumeRole")],
        )
        return (
            role,
            iam.get_role_policy(RoleName=role, PolicyName="cancel")["PolicyDocument"]["Statement"],
        )

    def log(self, provider):
        """The function's own lines."""
        return log_lines(self.cloud, self.logs[provider])


class Client:
    """A provider's client, as the demo data describes it."""

    def __init__(self, provider):
        self.provider = provider
        self.data = json.loads(
            (ROOT / "functions" / provider / "demo.json").read_text(), parse_float=number
        )
        self.how = self.data["cancel"]
        self.route = drift.routes()[provider]
        source = (ROOT / "functions" / provider / "src/lib.rs").read_text()
        statuses = re.search(r"cancelable: &\[([^\]]+)\],\s*canceled: \"(\w+)\"", source)
        words, self.canceled = re.findall(r'"(\w+)"', statuses[1]), statuses[2]
        self.cancelable = [
            item["pk"].split("#")[2]
            for item in self.data["payments"]
            if item["status"] in words and not item.get("manual_cancellation")
        ]

    def pk(self, payment):
        return f"{self.provider}#m_demo#{payment}"

    def call(self, stack, payment, key=None, wrong=False):
        once = key or str(uuid.uuid4())
        body = self.how.get("body")
        text = (
            None
            if body is None
            else json.dumps(body).replace("{payment_id}", payment).replace("{uuid}", once)
        )
        timestamp = str(time.time_ns() // 1_000_000)
        secret = self.how.get("signing_secret", "").encode()
        signature = hmac.new(
            secret, f"{timestamp}.{text or ''}".encode(), hashlib.sha256
        ).hexdigest()
        headers = dict(line.split(": ", 1) for line in self.how["headers"])
        headers = {
            name: value.replace("{timestamp}", timestamp).replace("{signature}", signature)
            for name, value in headers.items()
        }
        if wrong:
            # The last of what proves who asks, its last character another.
            name = [
                name
                for name in headers
                if re.search("key|token|authorization|signature", name, re.IGNORECASE)
            ][-1]
            headers[name] = headers[name][:-1] + ("1" if headers[name][-1] == "0" else "0")
        if key:
            headers["Idempotency-Key"] = key
        return stack.call(self.provider, re.sub(r"\{\w+\}", payment, self.route), headers, text)


def endpoints(stack):
    """The endpoints through API Gateway: each outcome, and the items afterwards."""
    for provider in stack.providers:
        caller = Client(provider)
        first, second, third = caller.cancelable[:3]
        with test(f"{stack.name}: {provider}: a payment is canceled, a second cancel is refused"):
            stack.tables.put(caller.data)
            before = stack.tables.payment(caller.pk(first))
            status, headers, body = caller.call(stack, first)
            equal(status, 200, body)
            after = stack.tables.payment(caller.pk(first))
            equal(after["status"], caller.canceled)
            changed = {name for name in after if after[name] != before.get(name)}
            equal(changed, {"status", "canceled_at", "updated_at", "cancellation"})
            again, _, refused = caller.call(stack, first)
            equal(stack.tables.payment(caller.pk(first)), after, "the second cancel")
            if "refused" in caller.how["again"]:
                equal(again, caller.how["again"]["refused"]["status"], refused)
                assert caller.how["again"]["refused"]["code"] in json.dumps(refused), refused
            else:
                # VTEX's protocol responds with the existing cancellation; it refuses a
                # settled payment.
                equal((again, refused["cancellationId"]), (200, body["cancellationId"]))
                _, _, settled = caller.call(stack, "VTEX_SETTLED")
                equal((settled["code"], settled["cancellationId"]), ("cancel-failed", None))
            matching = until(
                lambda: [
                    line
                    for line in stack.log(provider)
                    if line.get("request_id") == headers["x-request-id"]
                ],
                60,
                "the log",
            )
            equal(
                [(line["outcome"], line["payment_id"]) for line in matching],
                [("canceled", first)],
                "log",
            )
        with test(f"{stack.name}: {provider}: a replay is replayed"):
            key = str(uuid.uuid4())
            status, headers, body = caller.call(stack, second, key=key)
            equal((status, headers.get("idempotent-replayed")), (200, None), body)
            item = stack.tables.payment(caller.pk(second))
            if provider == "one2pays":
                time.sleep(0.01)  # Another millisecond, another signature.
            status, headers, replayed = caller.call(stack, second, key=key)
            equal((status, headers.get("idempotent-replayed"), replayed), (200, "true", body))
            equal(stack.tables.payment(caller.pk(second)), item, "the replay")
        with test(f"{stack.name}: {provider}: a wrong key is refused"):
            item = stack.tables.payment(caller.pk(third))
            status, _, body = caller.call(stack, third, wrong=True)
            equal(status, 401, body)
            equal(stack.tables.payment(caller.pk(third)), item, "the refused cancel")
    with test(f"{stack.name}: API Gateway has no other route"):
        for method, path in (("POST", "/payments/1/refund"), ("GET", "/payments/1/cancel")):
            equal(stack.call(stack.providers[0], path, {}, None, method)[0], 404)


def least_privilege(stack, single_use=False, traced=False):
    """The deployed roles, by the rules of IAM and by the emulator, which checks every call."""
    world = rights.World(
        stack.name,
        stack.tables.payments,
        stack.tables.credentials,
        stack.keys,
        stack.logs,
        single_use,
        traced,
    )
    for provider in stack.providers:
        with test(f"{stack.name}: {provider}'s role allows what is needed, and nothing else"):
            _, policy = stack.policy(provider)
            tried = rights.check(
                policy, world, provider, [other for other in PROVIDERS if other != provider]
            )
            assert tried > 200, tried


def foreign_keys(stack):
    """A role cannot reach another provider's items (`dynamodb:LeadingKeys`)."""
    sts, iam = stack.cloud.client("sts"), stack.cloud.client("iam")
    role, policy = stack.policy("vtex")
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    anybody = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(anybody))
    session = sts.assume_role(
        RoleArn=f"arn:aws:iam::000000000000:role/{role}", RoleSessionName="test"
    )["Credentials"]
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))
    dynamodb = client("dynamodb", stack.cloud.port, session)

    def update(pk):
        dynamodb.update_item(
            TableName=stack.tables.payments,
            Key={"pk": {"S": pk}},
            UpdateExpression="SET a = :a",
            ExpressionAttributeValues={":a": {"S": "a"}},
        )

    def get(pk):
        dynamodb.get_item(TableName=stack.tables.credentials, Key={"pk": {"S": pk}})

    for what, call in (("payment", update), ("credential", get)):
        with test(f"{stack.name}: with vtex's role, another provider's {what} is out of reach"):
            call("vtex#m_role#1")
            for pk in ("one2pays#m#1", "hyperswitch#m#1", "vtexx#m#1", "m#1", "vtex.signature#m#1"):
                try:
                    call(pk)
                except botocore.exceptions.ClientError as refused:
                    equal(refused.response["Error"]["Code"], "AccessDeniedException", pk)
                else:
                    raise AssertionError(f"{pk} was reached")
    stack.tables.dynamodb.delete_item(
        TableName=stack.tables.payments, Key={"pk": {"S": "vtex#m_role#1"}}
    )


def missing_permission(stack):
    """Without a right to DynamoDB, a function responds with 500, and logs what to check."""
    for provider in stack.providers:
        caller = Client(provider)
        for action, table in (
            ("dynamodb:UpdateItem", stack.tables.payments),
            ("dynamodb:GetItem", stack.tables.credentials),
        ):
            with test(f"{stack.name}: {provider} without {action} says so"):
                iam = stack.cloud.client("iam")
                role, policy = stack.policy(provider)
                grant = lambda statements: iam.put_role_policy(  # noqa: E731
                    RoleName=role,
                    PolicyName="cancel",
                    PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
                )
                grant(rights.without(policy, action))
                stack.tables.put(caller.data)
                item = stack.tables.payment(caller.pk(caller.cancelable[0]))
                try:
                    status, headers, body = caller.call(stack, caller.cancelable[0])
                finally:
                    grant(policy)
                equal(status, 500, body)
                equal(stack.tables.payment(caller.pk(caller.cancelable[0])), item)
                errors = until(
                    lambda: [
                        line["message"]
                        for line in stack.log(provider)
                        if line.get("table") == table
                        and line.get("code") == "AccessDeniedException"
                    ],
                    60,
                    "the log",
                )
                assert len(errors) == 1 and "permissions" in errors[0], errors
                equal(caller.call(stack, caller.cancelable[0])[0], 200, "with its rights again")


def lines(stack):
    return [line for provider in stack.providers for line in stack.log(provider)]


def watched_and_told(stack):
    watch.deployed(stack, lines(stack))
    outbox.events(stack, Client)


def nothing_left(cloud, stack):
    """What a deleted stack leaves behind: its log groups, and nothing else."""
    name, tables = stack.name, [stack.tables.payments, stack.tables.credentials]
    stacks = cloud.client("cloudformation").list_stacks()["StackSummaries"]
    equal(
        [
            one["StackStatus"]
            for one in stacks
            if one["StackName"] == name and one["StackStatus"] != "DELETE_COMPLETE"
        ],
        [],
        "stacks",
    )
    equal(
        [one["FunctionName"] for one in cloud.client("lambda").list_functions()["Functions"]],
        [],
        "functions",
    )
    equal(
        [one["ApiId"] for one in cloud.client("apigatewayv2").get_apis()["Items"]], [], "HTTP APIs"
    )
    equal(
        [one["id"] for one in cloud.client("apigateway").get_rest_apis()["items"]], [], "REST APIs"
    )
    kept = cloud.client("dynamodb").list_tables()["TableNames"]
    equal([table for table in tables if table in kept], [], "tables")
    equal(
        [one["AlarmName"] for one in cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]],
        [],
        "alarms",
    )
    equal(
        [
            one["DashboardName"]
            for one in cloud.client("cloudwatch").list_dashboards()["DashboardEntries"]
        ],
        [],
        "dashboards",
    )
    equal([one["Name"] for one in cloud.client("pipes").list_pipes()["Pipes"]], [], "pipes")
    equal(
        [
            one["Name"]
            for one in cloud.client("events").list_event_buses()["EventBuses"]
            if one["Name"] != "default"
        ],
        [],
        "buses",
    )
    equal(cloud.client("sqs").list_queues().get("QueueUrls", []), [], "queues")
    roles = [role["RoleName"] for role in cloud.client("iam").list_roles()["Roles"]]
    equal(
        [role for role in roles if role.startswith(name) and "hnb659fds" not in role], [], "roles"
    )
    groups = [
        one["logGroupName"] for one in cloud.client("logs").describe_log_groups()["logGroups"]
    ]
    equal(
        [group for group in stack.logs.values() if group not in groups],
        [],
        "log groups that are gone",
    )


def sam_deploy(cloud, name, **options):
    run(
        f"sam-deploy-{name}",
        ["sam", "deploy", "--stack-name", name, "--parameter-overrides", "Architecture=x86_64"]
        + [f"{option}={drift.text(value)}" for option, value in options.items()],
        cloud.environment,
        ROOT / "infra",
    )
    return Stack(cloud, name)


def sam_delete(cloud, stack):
    with test(f"{stack.name}: sam delete leaves the logs and nothing else"):
        run(
            "sam-delete",
            ["sam", "delete", "--no-prompts", "--stack-name", stack.name],
            cloud.environment,
            ROOT / "infra",
        )
        nothing_left(cloud, stack)


def with_sam(cloud):
    group("SAM: deploy, call, delete")
    options = {
        "TableRemoval": "Delete",
        "CredentialTtlSeconds": 0,
        "EventsOut": True,
        "AlarmEmail": "night@example.com",
    } | drift.CHANGES["CorsOrigins"]
    with test("sam deploy"):
        sam_deploy(cloud, "cancel", **options)
    stack = Stack(cloud, "cancel")
    next_commands(stack)
    endpoints(stack)
    browsers(stack)
    least_privilege(stack)
    foreign_keys(stack)
    missing_permission(stack)
    watch.query_fields(stack, lines(stack))
    watched_and_told(stack)
    watch.commands(stack)
    integration(stack)
    versions(stack, lambda: sam_deploy(cloud, "cancel", MemorySize=256))
    operators_tool(stack)
    two_regions(stack)
    with test("the script for a real account, as far as the emulator goes"):
        smoke.smoke(cloud, everything=False, architecture="x86_64")
    loopback_only("SAM on ministack")
    sam_delete(cloud, stack)
    with test("sam deploy again, beside the logs of the stack that is gone"):
        again = sam_deploy(cloud, "cancel", **options)
    sam_delete(cloud, again)
    secret = cloud.client("secretsmanager").create_secret(Name="canary", SecretString="{}")["ARN"]
    stack = sam_deploy(cloud, "production", **PRODUCTION, CanarySecretArn=secret)
    production(cloud, stack)
    canary(cloud, stack, secret)
    sam_delete(cloud, Stack(cloud, "production"))
    settings(cloud)
    private(cloud)
    release(cloud)
    own_tables(cloud)
    kept_tables(cloud)


# REST APIs, keys of one's own for both tables, three providers, and most of what is off by default.
KEYS = {
    which: f"arn:aws:kms:us-east-1:000000000000:key/{n * 8}-0000-0000-0000-000000000000"
    for n, which in (("1", "PaymentsKey"), ("2", "CredentialsKey"))
}
PRODUCTION = (
    drift.DOMAIN
    | drift.CHANGES["CorsOrigins"]
    | {
        "FrontEnd": "rest",
        "Providers": ["vtex", "walletconnect", "one2pays"],
        "PaymentsKey": "new",
        "TableRemoval": "Delete",
        "CredentialTtlSeconds": 0,
        "SignatureSingleUse": True,
        "ReservedConcurrency": 5,
        "Tracing": "Active",
        "DefaultEndpoint": "disabled",
        "WebAclArn": "arn:aws:wafv2:us-east-1:000000000000:regional/webacl/a/b",
    }
    # So high that the emulator, which heeds them, refuses none of the tests' requests.
    | {
        f"{provider}Throttling{what}": limit
        for provider in ("vtex", "walletconnect", "one2pays")
        for what, limit in (("Rate", 7000), ("Burst", 9000))
    }
)


def production(cloud, stack):
    """What the options of a production setup make, as far as the emulator has it."""
    group(f"{stack.name}: REST APIs, own keys, a subset of providers")
    with test(f"{stack.name}: its providers are there, with an API each, and no other"):
        equal(stack.providers, sorted(PRODUCTION["Providers"]))
        apis = {one["name"]: one for one in cloud.client("apigateway").get_rest_apis()["items"]}
        equal(set(apis), {f"{stack.name}-{provider}" for provider in stack.providers})
        equal(cloud.client("apigatewayv2").get_apis()["Items"], [])
        functions = {
            one["FunctionName"]: one for one in cloud.client("lambda").list_functions()["Functions"]
        }
        functions.pop(f"{stack.name}-canary", None)
        equal(set(functions), {f"{stack.name}-{provider}" for provider in stack.providers})
        equal({one["TracingConfig"]["Mode"] for one in functions.values()}, {"Active"})
    with test(f"{stack.name}: both tables have a key of the account, which is rotated"):
        equal(len(stack.keys), 2)
        equal(
            {
                cloud.client("kms").get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
                for key in stack.keys
            },
            {True},
        )
    with test(f"{stack.name}: each route has its own throttle, and the APIs their domain names"):
        gateway = cloud.client("apigateway")
        stage = gateway.get_stage(restApiId=stack.apis["one2pays"], stageName="live")
        settings = stage["methodSettings"]["*/*"]
        equal(
            (
                settings["throttlingRateLimit"],
                settings["throttlingBurstLimit"],
                settings["dataTraceEnabled"],
            ),
            (7000, 9000, False),
        )
        names = {one["domainName"]: one for one in gateway.get_domain_names()["items"]}
        equal(set(names), {f"{provider}.pay.example.com" for provider in stack.providers})
    # The emulator goes on to serve the default endpoint, which is how the tests call it.
    next_commands(stack)
    endpoints(stack)
    browsers(stack)
    least_privilege(stack, single_use=True, traced=True)
    refusals(stack)
    operators_tool(stack)


def canary(cloud, stack, secret):
    """The canary's function, run once: it replays a canceled payment of each provider."""
    requests, items = {}, {}
    for provider in stack.providers:
        caller, payment = Client(provider), None
        stack.tables.put(caller.data)
        payment = caller.cancelable[0]
        equal(caller.call(stack, payment, key="canary")[0], 200)
        items[caller.pk(payment)] = stack.tables.payment(caller.pk(payment))
        headers = dict(line.split(": ", 1) for line in caller.how["headers"] if "{" not in line)
        api = stack.apis[provider]
        requests[provider] = {
            "url": f"http://127.0.0.1:{cloud.port}/live{re.sub(r'{.+?}', payment, caller.route)}",
            "headers": headers
            | {"Host": f"{api}.execute-api.localhost:{cloud.port}", "Idempotency-Key": "canary"},
            "body": (
                ""
                if caller.how.get("body") is None
                else json.dumps(caller.how["body"])
                .replace("{payment_id}", payment)
                .replace("{uuid}", "canary")
            ),
        } | (
            {"signing_secret": caller.how["signing_secret"]}
            if "signing_secret" in caller.how
            else {}
        )
    client, (logs,) = cloud.client("lambda"), [
        one["PhysicalResourceId"]
        for one in stack.resources()
        if one["LogicalResourceId"] == "CanaryLogs"
    ]

    def lines():
        found = [line for line in log_lines(cloud, logs) if "canary" in line]
        return sorted(found, key=lambda line: line["_aws"]["Timestamp"])

    def seen(value):
        cloud.client("secretsmanager").put_secret_value(
            SecretId=secret, SecretString=json.dumps(value)
        )
        before = len(lines())
        response = client.invoke(FunctionName=f"{stack.name}-canary")
        assert "FunctionError" not in response, response["Payload"].read()
        until(lambda: len(lines()) == before + len(stack.providers), 60, "the canary's lines")
        return {line["provider"]: line["canary"] for line in lines()[before:]}

    with test(
        f"{stack.name}: the canary replays each provider's cancel, finds faults, changes nothing"
    ):
        equal(seen(requests), dict.fromkeys(stack.providers, 1))
        wrong = json.loads(json.dumps(requests))
        for request_of in wrong.values():
            request_of["headers"]["Idempotency-Key"] = "another"
            request_of["body"] = request_of["body"].replace("canary", "another")
        # VTEX takes another request for a canceled payment as done; it is no replay, all the same.
        equal(seen(wrong), dict.fromkeys(stack.providers, 0))
        equal(seen({}), dict.fromkeys(stack.providers, 0))
        equal({pk: stack.tables.payment(pk) for pk in items}, items)


def log_lines(cloud, name):
    logs, lines = cloud.client("logs"), []
    pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=name)
    for stream in (stream for page in pages for stream in page["logStreams"]):
        events = logs.get_log_events(
            logGroupName=name, logStreamName=stream["logStreamName"], startFromHead=True
        )["events"]
        lines += [
            json.loads(event["message"]) for event in events if event["message"].startswith("{")
        ]
    return lines


def refusals(stack):
    """A REST API's own responses, which its clients must be able to read."""
    template = drift.sam(PRODUCTION)
    words = template.template["Mappings"]
    for provider in stack.providers:
        with test(
            f"{stack.name}: {provider}: API Gateway's own responses are in the provider's envelope"
        ):
            status, headers, body = stack.call(provider, "/no/such/path", {}, "{}")
            expected = json.loads(words["Envelopes"][provider]["NoSuchEndpoint"])
            equal((status, body), (404, expected))
            equal(
                (headers.get("cache-control"), headers.get("content-type")),
                ("no-store", "application/json"),
            )
            gateway, api = stack.cloud.client("apigateway"), stack.apis[provider]
            deployed = {
                one["responseType"]: one
                for one in gateway.get_gateway_responses(restApiId=api, limit=500)["items"]
                if not one["defaultResponse"]
            }
            equal(set(deployed), {one["Type"] for one in words["Refusals"].values()})
            for one in words["Refusals"].values():
                response = deployed[one["Type"]]
                equal(response["statusCode"], one["Status"], one["Type"])
                equal(
                    response["responseTemplates"]["application/json"],
                    words["Envelopes"][provider][one["Words"]],
                )
                # Only where a retry may help.
                retry = "'1'" if one["Words"] in ("TooMany", "Undecided") else None
                sent = response["responseParameters"].get("gatewayresponse.header.Retry-After")
                equal(sent, retry, one["Type"])

        def provoked(status, kind):
            found, headers, body = caller.call(stack, caller.cancelable[0])
            equal((found, body), (status, json.loads(words["Envelopes"][provider][kind])))
            equal((headers["retry-after"], headers["cache-control"]), ("1", "no-store"))
            assert headers["x-request-id"], headers

        caller = Client(provider)
        stack.tables.put(caller.data)
        with test(f"{stack.name}: {provider}: 429 over the throttle, in the provider's envelope"):
            limits = gateway.get_stage(restApiId=api, stageName="live")["methodSettings"]["*/*"]
            throttle(gateway, api, 0, 0)
            provoked(429, "TooMany")
            throttle(gateway, api, limits["throttlingRateLimit"], limits["throttlingBurstLimit"])
        with test(f"{stack.name}: {provider}: 500 without a function, in the provider's envelope"):
            function, lambdas = f"{stack.name}-{provider}", stack.cloud.client("lambda")
            alias = lambdas.get_alias(FunctionName=function, Name="live")
            lambdas.delete_alias(FunctionName=function, Name="live")
            provoked(500, "Undecided")
            lambdas.create_alias(
                FunctionName=function, Name="live", FunctionVersion=alias["FunctionVersion"]
            )
            equal(caller.call(stack, caller.cancelable[0])[0], 200, "with its function again")


def throttle(gateway, api, rate, burst):
    gateway.update_stage(
        restApiId=api,
        stageName="live",
        patchOperations=[
            {"op": "replace", "path": f"/*/*/throttling/{name}Limit", "value": str(value)}
            for name, value in (("rate", rate), ("burst", burst))
        ],
    )


def two_regions(stack):
    """A payments table that a second Region writes, with eventual consistency, is refused."""
    dynamodb, table = stack.tables.dynamodb, stack.tables.payments
    checks = {
        "admin doctor": [TARGET / "debug/admin", "--stack", stack.name, "doctor"],
        "smoke.py --tables": [sys.executable, ROOT / "tests/deploy/smoke.py", "--tables"]
        + [stack.name],
    }
    words = {
        "admin doctor": "is replicated with eventual consistency",
        "smoke.py --tables": "failed: the payments table has one Region",
    }

    def change(action):
        update = [{action: {"RegionName": "us-east-2"}}]
        dynamodb.update_table(TableName=table, ReplicaUpdates=update)

    for what, command in checks.items():
        with test(f"{stack.name}: {what} refuses two Regions with eventual consistency"):
            command = ["bash", "-c", '"$@" || echo "exit code $?"', what, *command]
            before = run("one-region", command, stack.cloud.environment)
            assert words[what] not in before, before
            change("Create")
            found = run("two-regions", command, stack.cloud.environment)
            change("Delete")
            assert words[what] in found and "exit code" in found, found


def settings(cloud):
    """What only AWS gives an effect to: it is deployed as it is set, and payments are canceled."""
    caller, lambdas = Client("vtex"), cloud.client("lambda")
    common = {"TableRemoval": "Delete", "CredentialTtlSeconds": 0, "Providers": ["vtex"]}
    inside = (
        common
        | drift.VPC
        | drift.CHANGES["TruststoreVersion"]
        | drift.CHANGES["LogKeyArn"]
        | drift.CHANGES["AlarmTopicArn"]
        | {"DynamoDbEndpointUrl": cloud.url}
    )
    stack = sam_deploy(cloud, "inside", **inside)
    with test("inside: in a VPC with its own endpoint, mutual TLS, a key for logs and a topic"):
        function = lambdas.get_function_configuration(FunctionName="inside-vtex")
        equal(function["Environment"]["Variables"]["AWS_ENDPOINT_URL_DYNAMODB"], cloud.url)
        (name,) = cloud.client("apigatewayv2").get_domain_names()["Items"]
        equal(name["MutualTlsAuthentication"]["TruststoreVersion"], "v1")
        groups = cloud.client("logs").describe_log_groups()["logGroups"]
        keys = {one["logGroupName"]: one.get("kmsKeyId") for one in groups}
        equal(keys[stack.logs["vtex"]], drift.KEY)
        alarms = cloud.client("cloudwatch").describe_alarms(AlarmNamePrefix="inside-vtex")
        equal(
            {tuple(one["AlarmActions"]) for one in alarms["MetricAlarms"]},
            {(drift.CHANGES["AlarmTopicArn"]["AlarmTopicArn"],)},
        )
        stack.tables.put(caller.data)
        equal(caller.call(stack, caller.cancelable[0])[0], 200)
    sam_delete(cloud, stack)
    names = {"FipsEndpoint": True, "DualStackEndpoint": True}
    stack = sam_deploy(cloud, "regions", **common, **drift.THREE_REGIONS, **names)
    with test("regions: three Regions and the other names of DynamoDB"):
        function = lambdas.get_function_configuration(FunctionName="regions-vtex")
        variables = function["Environment"]["Variables"]
        equal(
            [variables[f"AWS_USE_{name}_ENDPOINT"] for name in ("FIPS", "DUALSTACK")],
            ["true", "true"],
        )
    sam_delete(cloud, stack)


def private(cloud):
    """Private REST APIs accept only calls through their VPC endpoints, which the tests lack."""
    options = drift.CHANGES["VpcEndpointIds"] | {"TableRemoval": "Delete", "Providers": ["vtex"]}
    stack, caller = sam_deploy(cloud, "private", **options), Client("vtex")
    with test("private: 403 from elsewhere, by the resource policy and in the provider's envelope"):
        envelopes = drift.sam(options).template["Mappings"]["Envelopes"]
        status, _, body = caller.call(stack, caller.cancelable[0])
        equal((status, body), (403, json.loads(envelopes["vtex"]["Forbidden"])))
    sam_delete(cloud, stack)


BRAKES = ("Undecided", "Unavailable", "Internal", "Errors", "Throttles", "FastShort", "Canary")


def versions(stack, deploy_another):
    """A deployment is another version behind the alias. CodeDeploy's calls are made by hand."""
    client, name = stack.cloud.client("lambda"), f"{stack.name}-vtex"
    caller = Client("vtex")

    def cancels():
        stack.tables.put(caller.data)
        equal(caller.call(stack, caller.cancelable[0])[0], 200)

    with test(
        f"{stack.name}: API Gateway calls the alias; a deployment moves it, keeps the old version"
    ):
        before = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        deploy_another()
        after = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        assert int(after) > int(before), (before, after)
        assert {before, after} <= {
            one["Version"]
            for one in client.list_versions_by_function(FunctionName=name)["Versions"]
        }
        equal(
            client.get_function_configuration(FunctionName=name, Qualifier=after)["MemorySize"], 256
        )
        equal(
            client.get_function_configuration(FunctionName=name, Qualifier=before)["MemorySize"],
            128,
        )
        cancels()
    with test(
        f"{stack.name}: a tenth of the traffic to a new version, and back, as CodeDeploy does it"
    ):
        client.update_alias(
            FunctionName=name,
            Name="live",
            FunctionVersion=before,
            RoutingConfig={"AdditionalVersionWeights": {after: 0.1}},
        )
        cancels()
        client.update_alias(
            FunctionName=name,
            Name="live",
            FunctionVersion=before,
            RoutingConfig={"AdditionalVersionWeights": {}},
        )
        cancels()
    with test(f"{stack.name}: every deployment is braked by alarms that there are"):
        template = drift.sam(drift.CANARY)
        groups = {
            name: template.properties(name)
            for name, one in template.resources.items()
            if one["Type"] == "AWS::CodeDeploy::DeploymentGroup"
        }
        equal(len(groups), len(PROVIDERS))
        for logical, one in groups.items():
            provider = logical.removesuffix("FunctionDeploymentGroup")
            brakes = [alarm["Name"] for alarm in one["AlarmConfiguration"]["Alarms"]]
            equal(brakes, [f"<{provider}{kind}>" for kind in BRAKES])
            equal(one["DeploymentConfigName"], "CodeDeployDefault.LambdaCanary10Percent5Minutes")


def release(cloud):
    """A release, as its workflow makes it and infra/README.md deploys it."""
    with test("a release's zips are deployed without a compiler"):
        folder = WORK / "release"
        folder.mkdir(parents=True, exist_ok=True)
        for provider in PROVIDERS:
            shutil.make_archive(
                str(folder / f"{provider}-x86_64"),
                "zip",
                TARGET / "sam/build" / f"{provider}Function",
            )
        workflow = (ROOT / ".github/workflows/release.yml").read_text()
        (made,) = re.findall(r"^ *(sed .+?)(?: > .+)$", workflow, re.MULTILINE)
        template = run(
            "release-template", ["bash", "-c", f"architecture=x86_64; {made}"], cloud.environment
        )
        (folder / "template-x86_64.yaml").write_text(template)
        text = (ROOT / "infra/README.md").read_text()
        command = r"^sam deploy --template-file template-arm64(?:.*\\\n)*.*$"
        command = re.search(command, text, re.MULTILINE)[0]
        command = command.replace("--stack-name cancel", "--stack-name released")
        command = command.replace("template-arm64.yaml", "template-x86_64.yaml")
        options = " --parameter-overrides TableRemoval=Delete CredentialTtlSeconds=0"
        # A stack keeps the value of an earlier deployment, where it is another one.
        try:
            other = f"{command}{options} Architecture=arm64"
            run("release-other", ["bash", "-c", other], cloud.environment, folder)
        except AssertionError as refused:
            assert "Architecture" in str(refused), refused
        else:
            raise AssertionError("x86_64 zips were deployed to arm64 functions")
        run("release-deploy", ["bash", "-c", command + options], cloud.environment, folder)
        stack, caller = Stack(cloud, "released"), Client("vtex")
        function = cloud.client("lambda").get_function_configuration(FunctionName="released-vtex")
        equal(function["Architectures"], ["x86_64"])
        stack.tables.put(caller.data)
        equal(caller.call(stack, caller.cancelable[0])[0], 200)
    sam_delete(cloud, stack)


def own_tables(cloud):
    with test(
        "SAM with own tables makes none, cancels in them, publishes from their stream, keeps them"
    ):
        dynamodb = cloud.client("dynamodb")
        for name in ("own-payments", "own-credentials"):
            dynamodb.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            )
        table = dynamodb.describe_table(TableName="own-payments")["Table"]
        deploy = ["sam", "deploy", "--stack-name", "own", "--parameter-overrides"]
        own = [
            "Architecture=x86_64",
            "PaymentsTableName=own-payments",
            "CredentialsTableName=own-credentials",
            *(f"{which}={key}" for which, key in KEYS.items()),
            "EventsOut=true",
        ]
        try:
            run("sam-deploy-no-label", deploy + own, cloud.environment, ROOT / "infra")
        except AssertionError as refused:
            assert "needs the label of that table's stream as PaymentsStreamLabel" in str(
                refused
            ), refused
        else:
            raise AssertionError("events without a stream were deployed")
        run(
            "sam-deploy-own",
            deploy + own + [f"PaymentsStreamLabel={table['LatestStreamLabel']}"],
            cloud.environment,
            ROOT / "infra",
        )
        equal(
            cloud.client("pipes").describe_pipe(Name="own-canceled")["Source"],
            table["LatestStreamArn"],
        )
        stack = Stack(cloud, "own")
        equal(
            (stack.tables.payments, stack.tables.credentials), ("own-payments", "own-credentials")
        )
        equal(
            {one["ResourceType"] for one in stack.resources()}
            & {"AWS::DynamoDB::GlobalTable", "AWS::KMS::Key"},
            set(),
        )
        for provider in PROVIDERS:
            caller = Client(provider)
            stack.tables.put(caller.data)
            equal(caller.call(stack, caller.cancelable[0])[0], 200, provider)
            actions = [
                action
                for statement in stack.policy(provider)[1]
                for action in rights.many(statement["Action"])
            ]
            equal(
                sorted(actions),
                [
                    "dynamodb:GetItem",
                    "dynamodb:UpdateItem",
                    "kms:Decrypt",
                    "kms:Decrypt",
                    "logs:CreateLogStream",
                    "logs:PutLogEvents",
                ],
            )
        # Deployed again with another option and without these, it still has its tables.
        sam_deploy(cloud, "own", MemorySize=256)
        stack = Stack(cloud, "own")
        equal(
            (stack.tables.payments, stack.tables.credentials), ("own-payments", "own-credentials")
        )
        run(
            "sam-delete-own",
            ["sam", "delete", "--no-prompts", "--stack-name", "own"],
            cloud.environment,
            ROOT / "infra",
        )
        assert {"own-payments", "own-credentials"} <= set(dynamodb.list_tables()["TableNames"])


def kept_tables(cloud):
    with test("SAM keeps and protects the tables by default"):
        run(
            "sam-deploy-kept",
            [
                "sam",
                "deploy",
                "--stack-name",
                "kept",
                "--parameter-overrides",
                "Architecture=x86_64",
            ],
            cloud.environment,
            ROOT / "infra",
        )
        stack = Stack(cloud, "kept")
        optional = {
            "AWS::Events::EventBus",
            "AWS::Pipes::Pipe",
            "AWS::SQS::Queue",
            "AWS::StepFunctions::StateMachine",
        }
        equal(
            {one["ResourceType"] for one in stack.resources()} & optional,
            set(),
            "events by default",
        )
        run(
            "sam-delete-kept",
            ["sam", "delete", "--no-prompts", "--stack-name", "kept"],
            cloud.environment,
            ROOT / "infra",
        )
        for table in (stack.tables.payments, stack.tables.credentials):
            found = stack.tables.dynamodb.describe_table(TableName=table)["Table"]
            equal(found["DeletionProtectionEnabled"], True)
            try:
                stack.tables.dynamodb.delete_table(TableName=table)
            except botocore.exceptions.ClientError as refused:
                assert "protect" in str(refused), refused
            else:
                raise AssertionError(f"{table} could be deleted")


def integration(stack):
    """The commands of infra/integrate.md, as they are: a payment is put, and its status moved."""
    with test("infra/integrate.md: a payment is put, and its status moved"):
        table, key = stack.tables.payments, {"pk": {"S": "hedgepayments#m_1#pay_1"}}
        stack.tables.dynamodb.delete_item(TableName=table, Key=key)
        for block in watch.blocks((ROOT / "infra/integrate.md").read_text(), "sh account"):
            here = block.replace("--table-name payments", f"--table-name {table}")
            watch.shell(stack, here, {})
        item = stack.tables.dynamodb.get_item(TableName=table, Key=key)["Item"]
        equal(item["status"], {"S": "processing"})


def next_commands(stack):
    """The commands that the stack's outputs print, as they are: a key, a payment, a cancel."""
    outputs = stack.outputs
    given = re.search(r"--provider (\w+)", outputs["Next1IssueKey"])[1]
    for provider in stack.providers:
        with test(f"{stack.name}: {provider}: the outputs' commands cancel a first payment"):
            url, payment = re.search(
                r"'(https?://[^']+/([^/']+)/cancel\w*)'", outputs[f"Next3{provider}Cancel"]
            ).groups()
            equal(re.sub(r"{\w+}", payment, outputs[f"{provider}Url"]), url)
            issue, put = (
                # They are those of the first provider: the others', with its name and its payment.
                re.sub("m_1 .+", f"m_1 {payment}", outputs[name]).replace(
                    f"--provider {given}", f"--provider {provider}"
                )
                for name in ("Next1IssueKey", "Next2PutPayment")
            )
            assert provider != given or (issue, put) == (
                outputs["Next1IssueKey"],
                outputs["Next2PutPayment"],
            )
            # The tool is built already; the emulator stands behind the name, without TLS.
            scheme, _, host, *_ = url.split("/")
            near = re.sub(r"\.execute-api\..+", f".execute-api.localhost:{stack.cloud.port}", host)
            script = f"""
                cargo() {{
                  [[ "${{*:1:4}}" == "run -p admin --" ]] && {TARGET}/debug/admin "${{@:5}}"
                }}
                curl() {{
                  command curl -sS -H 'Host: {near}' "${{@/{scheme}\\/\\/{host}/{stack.cloud.url}}}"
                }}
                printed=$({issue})
                ID=$(sed -n 's/^ *id *//p' <<<"$printed")
                SECRET=$(sed -n 's/^ *secret *//p' <<<"$printed")
                {put}
                {outputs[f"Next3{provider}Cancel"]}
            """
            command = ["bash", "-euo", "pipefail", "-c", script]
            printed = run("next-commands", command, stack.cloud.environment)
            item = stack.tables.payment(f"{provider}#m_1#{payment}")
            equal(item["status"], Client(provider).canceled, printed)
            equal(item["cancellation"]["token"].endswith("first"), True, item)


# The emulator decodes a path before it finds the route, and takes each body for text.
OF_THE_EMULATOR = {
    "decodes_an_id_once_only",
    "does_not_decode_a_payment_id_twice",
    "ignores_a_body_that_is_not_utf8",
    "refuses_a_body_that_is_not_utf8",
    "refuses_an_encoded_slash",
    "refuses_an_encoded_slash_before_the_right_id",
    "takes_a_signed_body_that_is_no_text",
}


def operators_tool(stack):
    """`admin` against the deployed stack, through its APIs."""
    base = f"{stack.cloud.url}/_aws/execute-api"
    urls = [f"--url={name}={base}/{api}/{stack.stage}" for name, api in stack.apis.items()]
    admin = [TARGET / "debug/admin", "--stack", stack.name, "--json"]
    with test(f"{stack.name}: admin verify finds every provider as it must be"):
        verify = [*admin, "verify", "--samples", "2", *urls]
        reports = json.loads(run("admin-verify", verify, stack.cloud.environment))
        equal(sorted(one["provider"] for one in reports if one["passed"]), stack.providers)
    with test(f"{stack.name}: admin conformance finds no difference that is not the emulator's"):
        # It exits with 3 where there are differences.
        command = ["bash", "-c", '"$@" || [ $? = 3 ]', "admin", *admin, "conformance", *urls]
        played = json.loads(
            run("admin-conformance", command, stack.cloud.environment, seconds=900)
        )
        failed = [one for one in played if one["result"] == "failed"]
        assert {one["case"] for one in failed} <= OF_THE_EMULATOR, failed
        passed = sum(one["result"] == "passed" for one in played)
        assert passed > 0.9 * len(played) > 90 * len(stack.providers), (passed, len(played))
        print(f"      {passed} of {len(played)} cases passed", flush=True)


def browsers(stack):
    """A page of an allowed origin may call the providers that browsers may call; no other page."""
    allowed = drift.CHANGES["CorsOrigins"]["CorsOrigins"].split(",")[0]
    for provider in set(drift.browsers()) & set(stack.providers):
        path = re.sub(r"{\w+}", "none", drift.routes()[provider])
        with test(f"{stack.name}: {provider}: a page of an allowed origin may call, and no other"):
            for origin in (allowed, "https://another.example"):
                expected = origin if origin == allowed else None
                preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
                # The emulator responds to each preflight of an HTTP API itself. AWS does not.
                for method in ("POST", "OPTIONS") if stack.stage == "live" else ("POST",):
                    status, headers, _ = stack.call(provider, path, preflight, None, method)
                    equal(headers.get("access-control-allow-origin"), expected, method)
                    equal(status, 200 if method == "OPTIONS" else 401, method)


def with_cdk(cloud):
    group("CDK: deploy, call, delete")
    folder, file = ROOT / "infra/cdk", WORK / "deployed.json"
    secret = cloud.client("secretsmanager").create_secret(Name="canary", SecretString="{}")["ARN"]
    setup = drift.context(PRODUCTION | {"Architecture": "x86_64", "CanarySecretArn": secret})
    options = {
        "Architecture": "x86_64",
        "TableRemoval": "Delete",
        "CredentialTtlSeconds": 0,
        "EventsOut": True,
        "AlarmEmail": "night@example.com",
    } | drift.CHANGES["CorsOrigins"]
    file.write_text(
        json.dumps(
            {
                "cancel-cdk": drift.context(options),
                "production-cdk": setup,
            }
        )
    )
    cdk = ["node_modules/.bin/cdk", "--app", f"node build/bin/cancel.js {file}"]
    with test("npx cdk bootstrap and npx cdk deploy, as infra/README.md prints them"):
        text = (ROOT / "infra/README.md").read_text()
        commands = "\n".join(re.findall(r"^npx cdk .+$", text, re.MULTILINE))
        # There is no prompt to confirm the roles.
        environment = cloud.environment | {"CDK_REQUIRE_APPROVAL": "never"}
        run("readme-cdk", ["bash", "-euc", commands], environment, folder)
        (name,) = json.loads((folder / "stacks.json").read_text())
        equal(Stack(cloud, name).providers, PROVIDERS)
        run("readme-cdk-destroy", ["npx", "cdk", "destroy", "--force", name], environment, folder)
    with test("cdk deploy"):
        run(
            "cdk-deploy",
            cdk + ["deploy", "cancel-cdk", "--require-approval", "never"],
            cloud.environment,
            folder,
        )
    stack = Stack(cloud, "cancel-cdk")
    next_commands(stack)
    endpoints(stack)
    browsers(stack)
    least_privilege(stack)
    watched_and_told(stack)

    def deploy_another():
        file.write_text(json.dumps({"cancel-cdk": drift.context(options | {"MemorySize": 256})}))
        run(
            "cdk-deploy-another",
            cdk + ["deploy", "cancel-cdk", "--require-approval", "never"],
            cloud.environment,
            folder,
        )

    versions(stack, deploy_another)
    operators_tool(stack)
    loopback_only("CDK on ministack")
    with test("cdk destroy leaves the logs and nothing else"):
        run("cdk-destroy", cdk + ["destroy", "--force", "cancel-cdk"], cloud.environment, folder)
        nothing_left(cloud, stack)
    file.write_text(json.dumps({"production-cdk": setup}))
    with test("cdk deploy of REST APIs, own keys and three providers"):
        run(
            "cdk-deploy-production",
            cdk + ["deploy", "--require-approval", "never"],
            cloud.environment,
            folder,
        )
    production(cloud, Stack(cloud, "production-cdk"))
    canary(cloud, Stack(cloud, "production-cdk"), secret)
    with test("cdk destroy of that"):
        stack = Stack(cloud, "production-cdk")
        run(
            "cdk-destroy-production",
            cdk + ["destroy", "--force", "--all"],
            cloud.environment,
            folder,
        )
        nothing_left(cloud, stack)


def sam():
    with Ministack(asks=True) as cloud:
        with_sam(cloud)


def cdk():
    # Where it asks, it keeps the CDK's own publishing role from its bucket. What the functions'
    # roles allow is checked all the same.
    with Ministack(asks=False) as cloud:
        with_cdk(cloud)


if __name__ == "__main__":
    import suite

    sam()
    cdk()
    suite.close()
