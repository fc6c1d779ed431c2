"""What a role allows, evaluated as IAM does: enough of its language for these templates."""

import fnmatch
import re

ALL_ON_A_TABLE = [
    "BatchGetItem",
    "BatchWriteItem",
    "ConditionCheckItem",
    "CreateBackup",
    "DeleteItem",
    "DeleteTable",
    "DescribeTable",
    "ExportTableToPointInTime",
    "GetItem",
    "PartiQLDelete",
    "PartiQLInsert",
    "PartiQLSelect",
    "PartiQLUpdate",
    "PutItem",
    "PutResourcePolicy",
    "Query",
    "RestoreTableToPointInTime",
    "Scan",
    "TagResource",
    "UpdateItem",
    "UpdateTable",
    "UpdateTimeToLive",
]
ALL_ON_A_KEY = [
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "DisableKey",
    "Encrypt",
    "GenerateDataKey",
    "PutKeyPolicy",
    "ReEncryptFrom",
    "ScheduleKeyDeletion",
]
ALL_ON_A_LOG = [
    "CreateLogGroup",
    "CreateLogStream",
    "DeleteLogGroup",
    "FilterLogEvents",
    "GetLogEvents",
    "PutLogEvents",
    "PutRetentionPolicy",
]
ELSEWHERE = [
    "iam:PassRole",
    "lambda:InvokeFunction",
    "s3:GetObject",
    "secretsmanager:GetSecretValue",
    "sns:Publish",
    "sqs:SendMessage",
    "sts:AssumeRole",
]


def many(value):
    return value if isinstance(value, list) else [value]


def like(text, pattern):
    """`*` and `?` as IAM has them; everything else is itself."""
    return fnmatch.fnmatchcase(text, re.sub(r"\[", "[[]", pattern))


def holds(operator, key, expected, context):
    given = context.get(key)
    if operator == "Null":
        return (given is None) == (expected == "true")
    sets = operator.startswith("ForAllValues:")
    compare = {"StringLike": like, "StringEquals": lambda text, pattern: text == pattern}[
        operator.removeprefix("ForAllValues:")
    ]
    if given is None:
        return sets  # Without the key, every value fits, so the policies require it with Null.
    return all(any(compare(value, pattern) for pattern in many(expected)) for value in many(given))


def allows(statement, action, resource, context):
    assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}, statement
    return (
        any(like(action.lower(), pattern.lower()) for pattern in many(statement["Action"]))
        and any(like(resource, pattern) for pattern in many(statement["Resource"]))
        and all(
            holds(operator, key, expected, context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def allowed(policy, request):
    """Allowed by a statement. There is none that denies."""
    assert all(statement["Effect"] == "Allow" for statement in policy), policy
    return any(allows(statement, *request) for statement in policy)


class World:
    """The things of a stack, as requests name them. `keys` are the KMS keys of its tables."""

    def __init__(
        self,
        stack,
        payments,
        credentials,
        keys,
        logs,
        single_use=False,
        traced=False,
        region="us-east-1",
        account="000000000000",
    ):
        self.stack, self.payments, self.credentials, self.keys, self.logs = (
            stack,
            payments,
            credentials,
            keys,
            logs,
        )
        self.single_use, self.traced = single_use, traced
        self.region, self.account = region, account

    def table(self, name):
        return f"arn:aws:dynamodb:{self.region}:{self.account}:table/{name}"

    def stream(self, group):
        stream = f"{group}:log-stream:2026/01/01/[$LATEST]0"
        return f"arn:aws:logs:{self.region}:{self.account}:log-group:{stream}"

    def via(self, service):
        return {"kms:ViaService": f"{service}.{self.region}.amazonaws.com"}

    def needed(self, provider):
        """Every request that a function, or Lambda and DynamoDB in its name, makes."""
        leading = lambda *keys: {"dynamodb:LeadingKeys": list(keys)}  # noqa: E731
        used = (
            [
                (
                    "dynamodb:UpdateItem",
                    self.table(self.payments),
                    leading(f"{provider}.signature#m#digest"),
                )
            ]
            if self.single_use and provider == "one2pays"
            else []
        )
        return [
            ("dynamodb:UpdateItem", self.table(self.payments), leading(f"{provider}#key")),
            ("dynamodb:GetItem", self.table(self.credentials), leading(f"{provider}#key")),
            # The read before the first request.
            ("dynamodb:GetItem", self.table(self.credentials), leading(f"{provider}#")),
            ("logs:CreateLogStream", self.stream(self.logs[provider]), {}),
            ("logs:PutLogEvents", self.stream(self.logs[provider]), {}),
            *used,
            *(
                (f"xray:{action}", "*", {})
                for action in ("PutTelemetryRecords", "PutTraceSegments")
                if self.traced
            ),
            *(("kms:Decrypt", key, self.via("dynamodb")) for key in self.keys),
        ]

    def refused(self, provider, others):
        """A great many that it has no business to make."""
        needed = self.needed(provider)
        every = []
        for table in (self.payments, self.credentials, "other"):
            for action in ALL_ON_A_TABLE:
                for place in ("", "/index/by-status", "/stream/2026-01-01T00:00:00.000"):
                    every.append(
                        (
                            f"dynamodb:{action}",
                            self.table(table) + place,
                            {"dynamodb:LeadingKeys": [f"{provider}#key"]},
                        )
                    )
        denied = [[f"{name}#key"] for name in others] + [
            [f"{name}.signature#m#1"] for name in others
        ]
        denied += [
            ["key"],
            [provider],
            [f"x{provider}#key"],
            ["#"],
            [f"{provider}#m#1", f"{others[0]}#m#1"],
            [f"{provider}x#m#1"],
        ]
        if not (self.single_use and provider == "one2pays"):
            denied.append([f"{provider}.signature#m#1"])
        # And a request that names no key at all.
        for context in [{"dynamodb:LeadingKeys": keys} for keys in denied] + [{}]:
            every.append(("dynamodb:GetItem", self.table(self.credentials), context))
            every.append(("dynamodb:UpdateItem", self.table(self.payments), context))
        for action in ALL_ON_A_LOG:
            every += [(f"logs:{action}", self.stream(group), {}) for group in self.logs.values()]
        for key in [*self.keys, "arn:aws:kms:us-east-1:000000000000:key/other"]:
            for action in ALL_ON_A_KEY:
                every += [
                    (f"kms:{action}", key, self.via("dynamodb")),
                    (f"kms:{action}", key, {"kms:ViaService": "s3.amazonaws.com"}),
                ]
        every += [(action, "*", {}) for action in ELSEWHERE]
        return [request for request in every if str(request) not in map(str, needed)]


def without(policy, action):
    """The policy with one action taken away."""
    rest = []
    for statement in policy:
        actions = [one for one in many(statement["Action"]) if one != action]
        if actions:
            rest.append(statement | {"Action": actions})
    return rest


def check(policy, world, provider, others):
    """Everything needed is allowed, and nothing else."""
    needed = world.needed(provider)
    for request in needed:
        if not allowed(policy, request):
            raise AssertionError(f"{provider} may not {request}")
    refused = world.refused(provider, others)
    for request in refused:
        if allowed(policy, request):
            raise AssertionError(f"{provider} may {request}")
    actions = [action for statement in policy for action in many(statement["Action"])]
    for action in actions:
        rest = without(policy, action)
        if all(allowed(rest, request) for request in needed):
            raise AssertionError(f"{provider} does not need {action}")
    return len(refused)
