"""What only a real account can show, in ten minutes: deploys two test stacks, tries, deletes them.

    python tests/deploy/smoke.py                  after `sam build`, with credentials and a Region
    python tests/deploy/smoke.py --tables STACK   reads the tables of a deployed stack

The stacks hold the demo's payments and nothing else. They are always deleted. The last line says
what is left of them. KMS deletes their keys 30 days later. SAM keeps its bucket.
"""

import http.client
import os
import sys
import time

import boto3
import botocore.exceptions

import drift
import emulator
import suite
from suite import PROVIDERS, ROOT, equal, group, run, test, until


class Account:
    """The account that the environment's credentials are of."""

    environment = os.environ

    def client(self, service):
        return boto3.client(service)

    def call(self, host, method, path, headers, body):
        connection = http.client.HTTPSConnection(host, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return (
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read().decode(),
            )
        finally:
            connection.close()


def second_regions(table, region):
    """The other Regions that write copies of their own, which would break "exactly once"."""
    if table.get("MultiRegionConsistency") == "STRONG":
        return []
    names = [one["RegionName"] for one in table.get("Replicas", [])]
    return [name for name in names if name != region]


def border():
    """The rule itself, on tables as AWS describes them."""
    with test("a payments table is refused if a second Region writes its own copy, and only then"):
        replicas = {"Replicas": [{"RegionName": "us-east-1"}, {"RegionName": "eu-west-1"}]}
        for table, expected in (
            ({}, []),
            ({"Replicas": replicas["Replicas"][:1]}, []),
            (replicas, ["eu-west-1"]),
            (replicas | {"MultiRegionConsistency": "EVENTUAL"}, ["eu-west-1"]),
            (replicas | {"MultiRegionConsistency": "STRONG"}, []),
        ):
            equal(second_regions(table, "us-east-1"), expected, table)


def tables(cloud, stack):
    """Refuses a second Region that writes its own copy."""
    region = cloud.client("dynamodb").meta.region_name
    payments = cloud.client("dynamodb").describe_table(
        TableName=stack.outputs["PaymentsTableName"]
    )["Table"]
    credentials = cloud.client("dynamodb").describe_table(
        TableName=stack.outputs["CredentialsTableName"]
    )["Table"]
    with test("the payments table has one Region, or strong consistency across Regions"):
        equal(second_regions(payments, region), [])
    with test("both tables have the key that the functions use"):
        for table in (payments, credentials):
            equal(
                [(one["AttributeName"], one["KeyType"]) for one in table["KeySchema"]],
                [("pk", "HASH")],
                table["TableName"],
            )


def encryption(stack):
    """The keys of both tables."""
    keys = []
    for table in (stack.tables.payments, stack.tables.credentials):
        with test(f"{stack.name}: the table {table} is encrypted with a key of the account"):
            found = stack.tables.dynamodb.describe_table(TableName=table)["Table"]
            equal(found["SSEDescription"]["SSEType"], "KMS")
            keys.append(found["SSEDescription"]["KMSMasterKeyArn"])
    return keys


def rights(cloud, stack, keys):
    """IAM's evaluation of every role: its items, another provider's, the keys."""
    iam, region = cloud.client("iam"), cloud.client("dynamodb").meta.region_name
    payments = stack.tables.dynamodb.describe_table(TableName=stack.tables.payments)["Table"]
    for provider in stack.providers:
        function = cloud.client("lambda").get_function_configuration(
            FunctionName=f"{stack.name}-{provider}"
        )
        other = PROVIDERS[PROVIDERS.index(provider) - 1]

        def decision(action, resource, key, values):
            entry = {
                "ContextKeyName": key,
                "ContextKeyValues": values,
                "ContextKeyType": "stringList" if key == "dynamodb:LeadingKeys" else "string",
            }
            found = iam.simulate_principal_policy(
                PolicySourceArn=function["Role"],
                ActionNames=[action],
                ResourceArns=[resource],
                ContextEntries=[entry] if values else [],
            )
            return found["EvaluationResults"][0]["EvalDecision"]

        def update(*pks):
            return decision(
                "dynamodb:UpdateItem", payments["TableArn"], "dynamodb:LeadingKeys", list(pks)
            )

        def decrypt(key, *services):
            names = [f"{service}.{region}.amazonaws.com" for service in services]
            return decision("kms:Decrypt", key, "kms:ViaService", names)

        decided = ["allowed", "implicitDeny", "implicitDeny"]
        with test(f"{stack.name}: {provider}'s role: IAM allows its own payments, and no others"):
            equal([update(f"{provider}#m#1"), update(f"{other}#m#1"), update()], decided)
        with test(f"{stack.name}: {provider}'s role: IAM allows the keys through DynamoDB only"):
            equal(len(keys), 2, "keys")
            for key in keys:
                equal([decrypt(key, "dynamodb"), decrypt(key, "s3"), decrypt(key)], decided, key)


def metrics(cloud, stack):
    with test(f"{stack.name}: the metric filters count the requests of every provider"):
        cloudwatch = cloud.client("cloudwatch")
        for provider in stack.providers:
            until(
                lambda: cloudwatch.list_metrics(
                    Namespace=f"PaymentCancel/{stack.name}",
                    MetricName="requests",
                    Dimensions=[
                        {"Name": "provider", "Value": provider},
                        {"Name": "outcome", "Value": "canceled"},
                    ],
                )["Metrics"],
                240,
                f"{provider}'s metric",
            )


def groups(cloud, name):
    """The log groups of a stack, which outlive it. A deployment that failed leaves them as well."""
    pages = cloud.client("logs").get_paginator("describe_log_groups")
    return [
        one["logGroupName"]
        for prefix in (f"/aws/lambda/{name}-", f"/aws/vendedlogs/{name}-")
        for page in pages.paginate(logGroupNamePrefix=prefix)
        for one in page["logGroups"]
    ]


def left(cloud, name):
    """What there still is of a stack."""
    try:
        (stack,) = cloud.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        there = [] if stack["StackStatus"] == "DELETE_COMPLETE" else [stack["StackStatus"]]
    except botocore.exceptions.ClientError as error:
        there = [] if "does not exist" in str(error) else [str(error)]
    except botocore.exceptions.BotoCoreError as error:
        there = [str(error)]
    found = [f"the stack {name} ({status})" for status in there]
    try:
        return found + [f"the log group {group_name}" for group_name in groups(cloud, name)]
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        return found + [f"log groups of {name} ({error})"]


def clean_up(cloud, name):
    """Deletes the stack and its log groups, each even if the other fails."""
    with test(f"{name}: the stack is deleted"):
        run(
            f"{name}-delete",
            ["sam", "delete", "--no-prompts", "--stack-name", name],
            cloud.environment,
            ROOT / "infra",
            1200,
        )
    with test(f"{name}: its log groups are deleted"):
        for group_name in groups(cloud, name):
            cloud.client("logs").delete_log_group(logGroupName=group_name)
    with test(f"{name}: nothing is left"):
        equal(left(cloud, name), [])


# What the stacks have in common, and what each is for: the HTTP API with all providers, and the
# REST APIs of two. With a new key, a cancel needs kms:Decrypt on both tables.
OPTIONS = {
    "PaymentsKey": "new",
    "TableRemoval": "Delete",
    "CredentialTtlSeconds": 0,
    "LogRetentionDays": 1,
    "DeploymentType": "AllAtOnce",
}
STACKS = {
    "http": {"FrontEnd": "http"},
    "rest": {"FrontEnd": "rest", "Providers": ["vtex", "one2pays"]},
}


def tried(cloud, name, options, everything):
    """A stack, deployed and called."""
    with test(f"{name}: sam deploy"):
        overrides = [f"{option}={drift.text(value)}" for option, value in options.items()]
        run(
            f"{name}-deploy",
            ["sam", "deploy", "--stack-name", name, "--parameter-overrides", *overrides],
            cloud.environment,
            ROOT / "infra",
            1200,
        )
    stack = None
    with test(f"{name}: its outputs name its tables and its providers"):
        stack = emulator.Stack(cloud, name)
        equal(stack.providers, sorted(options.get("Providers", PROVIDERS)))
    if stack:
        with test(f"{name}: it has the resources that SAM's libraries make of the template here"):
            made = {drift.Template.name(one["LogicalResourceId"]) for one in stack.resources()}
            equal(made, {drift.Template.name(one) for one in drift.sam(options).resources})
        tables(cloud, stack)
        emulator.endpoints(stack)
    if stack and everything:
        rights(cloud, stack, encryption(stack))
        metrics(cloud, stack)


deployed = []


def smoke(cloud, everything=True, architecture="arm64"):
    """Deploys each stack, tries and deletes it."""
    border()
    for kind, options in STACKS.items():
        name = f"smoke-{int(time.time())}-{kind}"
        group(f"{name}: deploy, try, delete")
        deployed.append(name)
        try:
            tried(cloud, name, OPTIONS | {"Architecture": architecture} | options, everything)
        finally:
            clean_up(cloud, name)


def main():
    cloud = Account()
    if sys.argv[1:2] == ["--tables"]:
        tables(cloud, emulator.Stack(cloud, sys.argv[2]))
        suite.close()
    try:
        smoke(cloud)
        suite.close()
    finally:
        found = [one for name in deployed for one in left(cloud, name)]
        print(f"left: {', '.join(found) or 'nothing'}", flush=True)


if __name__ == "__main__":
    main()
