"""What only a real account can show, in five minutes: deploys a test stack, tries and deletes it.

    python tests/deploy/smoke.py                  after `sam build`, with credentials and a Region
    python tests/deploy/smoke.py --tables STACK   reads the tables of a deployed stack

The stack holds the demo's payments and nothing else. It is always deleted; if that fails, the
last line says what is left.
"""

import http.client
import os
import sys
import time

import boto3

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


def tables(cloud, stack):
    """Refuses a second Region that writes its own copy, which would break "exactly once"."""
    payments = cloud.client("dynamodb").describe_table(
        TableName=stack.outputs["PaymentsTableName"]
    )["Table"]
    credentials = cloud.client("dynamodb").describe_table(
        TableName=stack.outputs["CredentialsTableName"]
    )["Table"]
    with test("the payments table has one Region, or strong consistency across Regions"):
        assert (
            not payments.get("Replicas") or payments.get("MultiRegionConsistency") == "STRONG"
        ), payments.get("Replicas")
    with test("both tables have the key that the functions use"):
        for table in (payments, credentials):
            equal(
                [(one["AttributeName"], one["KeyType"]) for one in table["KeySchema"]],
                [("pk", "HASH")],
                table["TableName"],
            )


def encryption(cloud, stack):
    credentials = cloud.client("dynamodb").describe_table(
        TableName=stack.outputs["CredentialsTableName"]
    )["Table"]
    with test("the credentials are encrypted with a key of the account"):
        equal(credentials["SSEDescription"]["SSEType"], "KMS")


def rights(cloud, stack):
    """IAM's evaluation of every role: its items, another provider's, a request without a key."""
    iam, payments = (
        cloud.client("iam"),
        stack.tables.dynamodb.describe_table(TableName=stack.tables.payments)["Table"]["TableArn"],
    )
    for provider in PROVIDERS:
        function = cloud.client("lambda").get_function_configuration(
            FunctionName=f"{stack.name}-{provider}"
        )
        other = PROVIDERS[PROVIDERS.index(provider) - 1]

        def decision(keys):
            entries = (
                [
                    {
                        "ContextKeyName": "dynamodb:LeadingKeys",
                        "ContextKeyValues": keys,
                        "ContextKeyType": "stringList",
                    }
                ]
                if keys
                else []
            )
            found = iam.simulate_principal_policy(
                PolicySourceArn=function["Role"],
                ActionNames=["dynamodb:UpdateItem"],
                ResourceArns=[payments],
                ContextEntries=entries,
            )
            return found["EvaluationResults"][0]["EvalDecision"]

        with test(f"{provider}'s role: IAM allows its own payments, and no others"):
            equal(
                [decision([f"{provider}#m#1"]), decision([f"{other}#m#1"]), decision([])],
                ["allowed", "implicitDeny", "implicitDeny"],
            )


def metrics(cloud, stack):
    with test("the metric filters count the requests of every provider"):
        cloudwatch = cloud.client("cloudwatch")
        for provider in PROVIDERS:
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


def clean_up(cloud, name, logs):
    with test("everything is deleted"):
        run(
            "smoke-delete",
            ["sam", "delete", "--no-prompts", "--stack-name", name],
            cloud.environment,
            ROOT / "infra",
            600,
        )
        for group_name in logs:
            cloud.client("logs").delete_log_group(logGroupName=group_name)


def smoke(cloud, everything=True, architecture="arm64"):
    name, logs = f"smoke-{int(time.time())}", []
    group(f"{name}: deploy, try, delete")
    try:
        options = {
            "Architecture": architecture,
            "TableRemoval": "Delete",
            "CredentialTtlSeconds": 0,
            "LogRetentionDays": 1,
            "DeploymentType": "AllAtOnce",
        }
        with test("sam deploy"):
            overrides = [f"{option}={drift.text(value)}" for option, value in options.items()]
            run(
                "smoke-deploy",
                ["sam", "deploy", "--stack-name", name, "--parameter-overrides", *overrides],
                cloud.environment,
                ROOT / "infra",
                600,
            )
        stack = emulator.Stack(cloud, name)
        logs += [
            *stack.logs.values(),
            *(
                one["PhysicalResourceId"]
                for one in stack.resources()
                if one["LogicalResourceId"] == "AccessLogs"
            ),
        ]
        tables(cloud, stack)
        emulator.endpoints(stack)
        if everything:
            encryption(cloud, stack)
            rights(cloud, stack)
            metrics(cloud, stack)
    finally:
        clean_up(cloud, name, logs)


def main():
    if sys.argv[1:2] == ["--tables"]:
        tables(Account(), emulator.Stack(Account(), sys.argv[2]))
    else:
        smoke(Account())
    suite.close()


if __name__ == "__main__":
    main()
