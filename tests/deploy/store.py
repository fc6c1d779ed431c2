"""A DynamoDB for a function under test: dynoxide, and before it a relay that can hang up."""

import contextlib
import re
import select
import socket
import threading

import boto3
import botocore.config

from golden import number
from suite import LAMBDA_ENVIRONMENT, TARGET, Process, until

# Step Functions' client would call `sync-127.0.0.1`.
QUICK = botocore.config.Config(
    retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20, inject_host_prefix=False
)


def client(service, port, session=None):
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=session["AccessKeyId"] if session else "test",
        aws_secret_access_key=session["SecretAccessKey"] if session else "test",
        aws_session_token=session["SessionToken"] if session else None,
        config=QUICK,
    )


def to_attribute(value):
    """Plain JSON as DynamoDB has it: a string is S, a number N, and so on."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, list):
        return {"L": [to_attribute(one) for one in value]}
    if isinstance(value, dict):
        return {"M": {name: to_attribute(one) for name, one in value.items()}}
    return {"N": str(value)}


def to_plain(attribute):
    ((kind, value),) = attribute.items()
    if kind == "L":
        return [to_plain(one) for one in value]
    if kind == "M":
        return {name: to_plain(one) for name, one in value.items()}
    if kind == "N":
        return number(value)
    return None if kind == "NULL" else value


class Tables:
    """Both tables, wherever they are."""

    def __init__(self, dynamodb, payments="payments", credentials="credentials"):
        self.dynamodb, self.payments, self.credentials = dynamodb, payments, credentials

    def put(self, given):
        for table, items in (
            (self.payments, given.get("payments", [])),
            (self.credentials, given.get("credentials", [])),
        ):
            for item in items:
                self.dynamodb.put_item(TableName=table, Item=to_attribute(item)["M"])

    def scan(self, table):
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=table)
        return [to_plain({"M": item}) for page in pages for item in page["Items"]]

    def payment(self, pk):
        found = self.dynamodb.get_item(
            TableName=self.payments, Key={"pk": {"S": pk}}, ConsistentRead=True
        )
        return to_plain({"M": found["Item"]}) if "Item" in found else None

    def empty(self):
        for table in (self.payments, self.credentials):
            for item in self.scan(table):
                self.dynamodb.delete_item(TableName=table, Key={"pk": {"S": item["pk"]}})


class Dynoxide(Process):
    """The one-machine stack, for its DynamoDB."""

    def __init__(self, name="dynoxide"):
        command = [TARGET / "debug/local", "--port", "0", "--dynamodb-port", "0"]
        super().__init__(name, command, {"PATH": "/usr/bin:/bin"} | LAMBDA_ENVIRONMENT)
        ready = until(
            lambda: re.search(r"DynamoDB on http://127\.0\.0\.1:(\d+)", self.text()),
            60,
            "the one-machine stack",
        )
        self.port = int(ready[1])
        self.tables = Tables(client("dynamodb", self.port))
        self.tables.empty()


class Relay:
    """Relays bytes to a DynamoDB, records operations and tables, and hangs up on request."""

    REQUESTED = re.compile(
        rb'x-amz-target: *DynamoDB_20120810\.(\w+)|"TableName":"([^"]+)"', re.IGNORECASE
    )

    def __init__(self, port):
        self.to, self.closed, self.lossy, self.requested, self.open = port, False, False, [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            if self.closed:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.to))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.open.append((near, far))
            threading.Thread(target=self.relay, args=(near, far), daemon=True).start()

    def relay(self, near, far):
        operation = ""
        with near, far, contextlib.suppress(OSError, ValueError):
            while True:
                for end in select.select([near, far], [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    for found in self.REQUESTED.finditer(data) if end is near else ():
                        operation = (found[1] or b"").decode() or operation
                        if found[2]:
                            self.requested.append((operation, found[2].decode()))
                            if self.lossy and operation == "UpdateItem":
                                return
                    if not (self.lossy and end is near and operation == "UpdateItem"):
                        (far if end is near else near).sendall(data)

    def hang_up(self, closed):
        self.closed = closed
        if closed:
            for pair in self.open:
                for end in pair:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
            self.open = []

    def take(self):
        taken, self.requested = self.requested, []
        return taken
