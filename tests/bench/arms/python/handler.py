"""One conditional UpdateItem on boto3, behind a loop that polls the Runtime API."""

import http.client
import json
import os

import boto3

client = boto3.client("dynamodb")


def handler(event, request_id):
    text = lambda value: {"S": value}  # noqa: E731
    output = client.update_item(
        TableName="payments",
        Key={"pk": text("hyperswitch#m_demo#" + event["pathParameters"]["payment_id"])},
        UpdateExpression=(
            "SET #status = :canceled, canceled_at = :at, updated_at = :at, "
            "cancellation = :cancellation"
        ),
        ConditionExpression=(
            "#status IN (:from0, :from1, :from2, :from3) "
            "AND (attribute_not_exists(manual_cancellation) OR manual_cancellation = :false) "
            "AND attribute_type(amount, :N) AND attribute_type(currency, :S) "
            "AND attribute_type(created_at, :S) "
            "AND (attribute_not_exists(details) OR attribute_type(details, :M))"
        ),
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={
            ":from0": text("requires_payment_method"),
            ":from1": text("requires_capture"),
            ":from2": text("requires_confirmation"),
            ":from3": text("requires_customer_action"),
            ":canceled": text("cancelled"),
            ":at": text("2026-01-01T00:00:00.000Z"),
            ":cancellation": {
                "M": {"id": text("c_1"), "token": text(request_id), "fingerprint": text("0" * 16)}
            },
            ":false": {"BOOL": False},
            ":N": text("N"),
            ":S": text("S"),
            ":M": text("M"),
        },
        ReturnValues="ALL_NEW",
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    body = {name: plain(value) for name, value in output["Attributes"].items()}
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def plain(value):
    ((kind, inner),) = value.items()
    if kind == "N":
        return float(inner) if "." in inner else int(inner)
    if kind == "M":
        return {name: plain(each) for name, each in inner.items()}
    if kind == "L":
        return [plain(each) for each in inner]
    return inner


def main():
    runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        runtime.request("GET", "/2018-06-01/runtime/invocation/next")
        response = runtime.getresponse()
        request_id = response.headers["lambda-runtime-aws-request-id"]
        body = json.dumps(handler(json.loads(response.read()), request_id))
        runtime.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", body)
        runtime.getresponse().read()


main()
