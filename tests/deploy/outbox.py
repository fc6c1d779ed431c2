"""Events out: a cancel through the deployed functions, its stream record, and the pipe's event.

The emulator runs no pipe with a filter, an enrichment or a bus. So this plays the pipe, and the
emulator runs each of its steps: DynamoDB's stream has the records, EventBridge matches the
template's filter, Step Functions runs the deployed state machine, and EventBridge passes the result
over the deployed bus to a listener.
"""

import decimal
import json
import re

import jsonschema

import drift
import rights
import watch
from store import to_attribute
from suite import PROVIDERS, ROOT, equal, group, test, until

SCHEMA = json.loads((ROOT / "infra/payment.canceled.v1.json").read_text())
VALID = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


class Outbox:
    """The stream of a stack's payments, and all that is between that and a listener."""

    def __init__(self, stack):
        cloud = stack.cloud
        self.streams, self.states, self.events, self.sqs = (
            cloud.client(name) for name in ("dynamodbstreams", "stepfunctions", "events", "sqs")
        )
        resources = {one["ResourceType"]: one["PhysicalResourceId"] for one in stack.resources()}
        self.wording, self.bus = (
            resources["AWS::StepFunctions::StateMachine"],
            stack.outputs["BusName"],
        )
        pipe = cloud.client("pipes").describe_pipe(Name=f"{stack.name}-canceled")
        equal(pipe["CurrentState"], "RUNNING")
        self.stream = pipe["Source"]
        assert f":table/{stack.tables.payments}/stream/" in self.stream, self.stream
        template = drift.sam(drift.EVENTS)
        self.pipe = template.value(template.resources["Pipe"]["Properties"])
        self.batch = self.pipe["SourceParameters"]["DynamoDBStreamParameters"]["BatchSize"]
        # The team that must hear: a rule on the bus, as the README shows it, and a queue.
        self.queue = self.sqs.create_queue(QueueName="listener")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
        self.events.put_rule(
            Name="ledger", EventBusName=self.bus, EventPattern=json.dumps(readme()[1])
        )
        self.events.put_targets(
            Rule="ledger", EventBusName=self.bus, Targets=[{"Id": "listener", "Arn": arn}]
        )
        self.seen = len(self.records())

    def close(self):
        self.events.remove_targets(Rule="ledger", EventBusName=self.bus, Ids=["listener"])
        self.events.delete_rule(Name="ledger", EventBusName=self.bus)
        self.sqs.delete_queue(QueueUrl=self.queue)

    def records(self):
        """All that is in the stream."""
        found = []
        for shard in self.streams.describe_stream(StreamArn=self.stream)["StreamDescription"][
            "Shards"
        ]:
            iterator = self.streams.get_shard_iterator(
                StreamArn=self.stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while iterator:
                page = self.streams.get_records(ShardIterator=iterator)
                found += page["Records"]
                iterator = page.get("NextShardIterator") if page["Records"] else None
        return [json.loads(json.dumps(record, default=str)) for record in found]

    def passes(self, record):
        """Whether the pipe's filter lets a record through, as EventBridge matches patterns."""
        envelope = {
            "id": "1",
            "account": "000000000000",
            "source": "s",
            "time": "2026-01-01T00:00:00Z",
            "region": "us-east-1",
            "resources": [],
            "detail-type": "d",
            "detail": {},
        }
        event = json.dumps(envelope | record)
        filters = self.pipe["SourceParameters"]["FilterCriteria"]["Filters"]
        return any(
            self.events.test_event_pattern(EventPattern=one["Pattern"], Event=event)["Result"]
            for one in filters
        )

    def word(self, records):
        """What the deployed state machine makes of a batch."""
        return self.states.start_sync_execution(
            stateMachineArn=self.wording, input=json.dumps(records)
        )

    def deliver(self):
        """Runs new records through the pipe: how many came, how many passed, the events."""
        every = self.records()
        fresh, self.seen = every[self.seen :], len(every)
        passed = [record for record in fresh if self.passes(record)]
        worded = []
        for start in range(0, len(passed), self.batch):
            response = self.word(passed[start : start + self.batch])
            equal(response["status"], "SUCCEEDED", response)
            events = json.loads(response["output"])
            assert isinstance(events, list), events
            worded += events
        how = self.pipe["TargetParameters"]["EventBridgeEventBusParameters"]
        for start in range(0, len(worded), 10):
            entries = [
                {"EventBusName": self.bus, "Detail": json.dumps(one)} | how
                for one in worded[start : start + 10]
            ]
            equal(self.events.put_events(Entries=entries)["FailedEntryCount"], 0)
        return len(fresh), len(passed), self.heard(len(worded))

    def heard(self, number):
        found = []

        def more():
            for message in self.sqs.receive_message(
                QueueUrl=self.queue, MaxNumberOfMessages=10
            ).get("Messages", []):
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            return len(found) >= number

        until(more, 10, f"{number} events")
        more()
        return found


def event_of(stack, payment):
    """The event that a canceled payment must have, from the item and the data model alone."""
    item = stack.tables.payment(payment)
    provider, merchant, name = payment.split("#", 2)
    detail = {
        "version": 1,
        "provider": provider,
        "merchant_id": merchant,
        "payment_id": name,
        "amount": item["amount"],
        "currency": item["currency"],
        "canceled_at": item["canceled_at"],
        "cancellation_id": item["cancellation"]["id"],
    }
    return detail | (
        {"reason": item["cancellation"]["reason"]} if "reason" in item["cancellation"] else {}
    )


def write(stack, pk, expression, **values):
    """What another service does to a payment."""
    stack.tables.dynamodb.update_item(
        TableName=stack.tables.payments,
        Key={"pk": {"S": pk}},
        UpdateExpression=expression,
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={
            f":{name}": to_attribute(value) for name, value in values.items()
        },
    )


def others(stack, caller, given, ours):
    """Other services' writes, none of them our cancel: their number. `ours` is one we canceled."""
    moved, canceled, made, used = (
        caller.pk(name) for name in ("moved", "canceled", "made", "used")
    )
    stack.tables.put({"payments": [given | {"pk": moved}, given | {"pk": canceled}]})
    write(stack, moved, "SET #s = :s", s="captured")
    # Another service cancels: it leaves no cancellation, and tells of it itself.
    write(
        stack,
        canceled,
        "SET #s = :s, canceled_at = :at",
        s=caller.canceled,
        at="2026-01-01T00:00:00.000Z",
    )
    # A payment that comes canceled into the world, as in a restored table.
    stack.tables.put({"payments": [stack.tables.payment(ours) | {"pk": made}]})
    # A note on a payment that we canceled; then another status, and another service's way back to
    # the canceled one.
    write(
        stack,
        ours,
        "SET #s = :s, updated_at = :at",
        s=caller.canceled,
        at="2026-01-02T00:00:00.000Z",
    )
    write(stack, ours, "SET #s = :s", s=given["status"])
    write(stack, ours, "SET #s = :s", s=caller.canceled)
    # A used signature lies in the same table, until it expires.
    stack.tables.put(
        {"payments": [{"pk": used, "payment_id": "1", "signature_expires_at": 4102444800}]}
    )
    stack.tables.dynamodb.delete_item(TableName=stack.tables.payments, Key={"pk": {"S": used}})
    return 10


def events(stack, client):
    group(f"{stack.name}: events out, from the stream to a listener")
    outbox = Outbox(stack)
    for provider in PROVIDERS:
        caller = client(provider)
        first, second, third = caller.cancelable[:3]
        stack.tables.put(caller.data)
        given = stack.tables.payment(caller.pk(first))
        outbox.deliver()
        with test(
            f"{stack.name}: {provider}: a cancel is one event; refusals and replays are none"
        ):
            equal(caller.call(stack, first)[0], 200)
            caller.call(stack, first)
            for _ in range(2):
                equal(caller.call(stack, second, key="once")[0], 200)
            equal(caller.call(stack, third, wrong=True)[0], 401)
            records, passed, found = outbox.deliver()
            equal((records, passed), (2, 2))
            equal(sorted(one["detail"]["payment_id"] for one in found), sorted([first, second]))
            for one in found:
                pk = caller.pk(one["detail"]["payment_id"])
                equal(one["detail"], event_of(stack, pk))
                VALID.validate(one["detail"])
                equal((one["source"], one["detail-type"]), ("payment-cancel", "payment.canceled"))
                secret = stack.tables.payment(pk)["cancellation"]
                assert secret["token"] not in json.dumps(one) and secret[
                    "fingerprint"
                ] not in json.dumps(one), one
        with test(f"{stack.name}: {provider}: what others do to payments is no event"):
            changes = others(stack, caller, given, caller.pk(first))
            # Only the way back to the canceled word gets past the filter, which cannot compare: the
            # wording sees that the cancellation is an old one.
            equal(outbox.deliver(), (changes, 1, []))
        with test(
            f"{stack.name}: {provider}: a payment re-opened and canceled again is another event"
        ):
            before = event_of(stack, caller.pk(first))
            write(stack, caller.pk(first), "SET #s = :s", s=given["status"])
            equal(caller.call(stack, first)[0], 200)
            (one,) = outbox.deliver()[2]
            equal(one["detail"], event_of(stack, caller.pk(first)))
            assert one["detail"]["cancellation_id"] != before["cancellation_id"], one
    reasons(stack, client, outbox)
    amounts(stack, client, outbox)
    by_hand(stack, outbox)
    outbox.close()
    least_privilege(stack, outbox.stream)


def by_hand(stack, outbox):
    with test(
        f"{stack.name}: the runbook's commands lead from an undelivered event to the payment"
    ):
        shard, *_ = outbox.streams.describe_stream(StreamArn=outbox.stream)["StreamDescription"][
            "Shards"
        ]
        record = outbox.records()[-1]["dynamodb"]
        # The emulator's pipes send none, so this is one in the form that AWS documents, of a real
        # record.
        about = {
            "streamArn": outbox.stream,
            "shardId": shard["ShardId"],
            "startSequenceNumber": record["SequenceNumber"],
        }
        queue = outbox.sqs.get_queue_url(QueueName=f"{stack.name}-undelivered")["QueueUrl"]
        outbox.sqs.send_message(
            QueueUrl=queue,
            MessageBody=json.dumps({"context": {}, "version": "1.0", "DDBStreamBatchInfo": about}),
        )
        equal(
            json.loads(
                watch.shell(
                    stack,
                    next(
                        block for kind, block in watch.every_block() if "receive-message" in block
                    ),
                    {},
                )
            )["DDBStreamBatchInfo"],
            about,
        )
        given = {
            "STREAM": about["streamArn"],
            "SHARD": about["shardId"],
            "SEQUENCE": about["startSequenceNumber"],
        }
        found = watch.shell(stack, watch.blocks(watch.RUNBOOK, "sh record")[0], given)
        equal(json.loads(found)[0], record["NewImage"])


def reasons(stack, client, outbox):
    with test(f"{stack.name}: an event has a reason if the caller gave one"):
        caller = client("hedgepayments")
        stack.tables.put(caller.data)
        outbox.deliver()
        body = caller.how.get("body")
        words = 'too "late" \\ \u2028 <&> {{reason}} <$.x>'
        for payment, given in zip(caller.cancelable, ({"reason": words}, {})):
            caller.how["body"] = given
            equal(caller.call(stack, payment)[0], 200)
        caller.how["body"] = body
        found = {
            one["detail"]["payment_id"]: one["detail"].get("reason") for one in outbox.deliver()[2]
        }
        equal(found, {caller.cancelable[0]: words, caller.cancelable[1]: None})


def amounts(stack, client, outbox):
    caller = client("hyperswitch")
    payment = caller.cancelable[0]
    item = next(item for item in caller.data["payments"] if item["pk"] == caller.pk(payment))
    with test(f"{stack.name}: an amount is a number, to the last of 15 digits"):
        for amount in (0, -1, 999_999_999_999_999, -999_999_999_999_999):
            stack.tables.put({"payments": [item | {"amount": amount}]})
            equal(caller.call(stack, payment)[0], 200)
            (one,) = outbox.deliver()[2]
            equal((one["detail"]["amount"], type(one["detail"]["amount"])), (amount, int))
            VALID.validate(one["detail"])
    with test(
        f"{stack.name}: an amount that cannot be published fails its batch, which goes to the queue"
    ):
        for amount in (decimal.Decimal("10.5"), 1_000_000_000_000_000, decimal.Decimal("1e20")):
            stack.tables.put({"payments": [item | {"amount": amount}]})
            outbox.deliver()
            caller.call(stack, payment)
            equal(stack.tables.payment(caller.pk(payment))["status"], caller.canceled)
            every = outbox.records()
            poison, outbox.seen = every[outbox.seen :], len(every)
            equal([outbox.passes(record) for record in poison], [True])
            response = outbox.word(poison)
            equal(response["status"], "FAILED", response)
            assert "15 digits" in response.get("cause", ""), response


def least_privilege(stack, stream):
    """The pipe's role and the state machine's."""
    iam, region = stack.cloud.client("iam"), "us-east-1:000000000000"
    roles = {
        role["Description"]: role for role in iam.list_roles()["Roles"] if role.get("Description")
    }
    name = f"{stack.name}-canceled"
    with test(
        f"{stack.name}: the pipe has the rights to its stream, state machine, bus and queue only"
    ):
        role = roles[f"What the pipe {name} may do"]["RoleName"]
        equal(iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"], [])
        equal(iam.list_role_policies(RoleName=role)["PolicyNames"], ["tell"])
        policy = iam.get_role_policy(RoleName=role, PolicyName="tell")["PolicyDocument"][
            "Statement"
        ]
        needed = [
            (f"dynamodb:{one}", stream, {})
            for one in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
        ] + [
            ("states:StartSyncExecution", f"arn:aws:states:{region}:stateMachine:{name}", {}),
            ("events:PutEvents", f"arn:aws:events:{region}:event-bus/{stack.name}-payments", {}),
            ("sqs:SendMessage", f"arn:aws:sqs:{region}:{stack.name}-undelivered", {}),
        ]
        for request in needed:
            assert rights.allowed(policy, request), request
        places = [place for _, place, _ in needed]
        places += [place + "-other" for place in places] + [
            stream.split("/stream/")[0],
            stream.split("/stream/")[0] + "/stream/2020-01-01T00:00:00.000",
            "*",
        ]
        actions = (
            [f"dynamodb:{one}" for one in rights.ALL_ON_A_TABLE]
            + [one for one, _, _ in needed]
            + rights.ELSEWHERE
        )
        actions += [
            "states:StartExecution",
            "events:PutRule",
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "kms:Decrypt",
            "logs:PutLogEvents",
        ]
        exact = {(action, place) for action, place, _ in needed}
        for action in set(actions):
            for place in set(places):
                assert (action, place) in exact or not rights.allowed(
                    policy, (action, place, {})
                ), (action, place)
        for action, _, _ in needed:
            assert not all(
                rights.allowed(rights.without(policy, action), request) for request in needed
            ), action
    with test(f"{stack.name}: only that pipe may take its role"):
        trust = roles[f"What the pipe {name} may do"]["AssumeRolePolicyDocument"]["Statement"]
        equal(
            [
                (one["Principal"], one["Condition"]["StringEquals"]["aws:SourceArn"])
                for one in trust
            ],
            [({"Service": "pipes.amazonaws.com"}, f"arn:aws:pipes:{region}:pipe/{name}")],
        )
    with test(f"{stack.name}: the state machine may do nothing"):
        role = roles[f"What the state machine {name} may do"]["RoleName"]
        equal(
            (
                iam.list_role_policies(RoleName=role)["PolicyNames"],
                iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"],
            ),
            ([], []),
        )


def readme():
    """The event and the pattern that the README shows."""
    text = (ROOT / "infra/README.md").read_text()
    return [
        json.loads(block)
        for block in re.findall(r"^```json\n(\{.+?)^```$", text, re.MULTILINE | re.DOTALL)
        if "payment.canceled" in block
    ]


def documents():
    group("events out: the documents")
    with test("the schema is one, and closed"):
        jsonschema.Draft202012Validator.check_schema(SCHEMA)
        equal(SCHEMA["additionalProperties"], False)
        equal(set(SCHEMA["properties"]) - set(SCHEMA["required"]), {"reason"})
    with test("the README's event is of the schema, and its rule lets it through"):
        event, rule = readme()
        VALID.validate(event["detail"])
        for name, allowed in rule.items():
            assert event[name] in allowed, name
    with test("the schema refuses what no event may be"):
        detail = readme()[0]["detail"]
        for wrong in (
            {"token": "t"},
            {"fingerprint": "f"},
            {"amount": "1000"},
            {"amount": 10.5},
            {"version": 2},
            {"canceled_at": "2026-01-01T00:00:00Z"},
            {"merchant_id": "a#b"},
        ):
            assert not VALID.is_valid(detail | wrong), wrong
        for name in SCHEMA["required"]:
            assert not VALID.is_valid(
                {other: value for other, value in detail.items() if other != name}
            ), name
    with test("the filter's words are the providers' canceled words"):
        template = drift.sam(drift.EVENTS)
        (one,) = template.value(template.resources["Pipe"]["Properties"])["SourceParameters"][
            "FilterCriteria"
        ]["Filters"]
        pattern = json.loads(one["Pattern"])["dynamodb"]
        words = {
            re.search(
                r'canceled: "(\w+)"', (ROOT / "functions" / provider / "src/lib.rs").read_text()
            )[1]
            for provider in PROVIDERS
        }
        equal(set(pattern["NewImage"]["status"]["S"]), words)
        equal(set(pattern["OldImage"]["status"]["S"][0]["anything-but"]), words)


def main():
    documents()


if __name__ == "__main__":
    import suite

    main()
    suite.close()
