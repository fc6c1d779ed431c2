"""Whether SAM's template and the CDK's make the same thing: both as CloudFormation, with their defaults and with everything told, names aside."""

import contextlib
import copy
import json
import logging
import os
import re

import samcli.yamlhelper
import samtranslator.translator.transform

from suite import PROVIDERS, ROOT, WORK, equal, group, run, test

PSEUDO = {"AWS::Region": "us-east-1", "AWS::AccountId": "123456789012", "AWS::Partition": "aws", "AWS::StackName": "cancel", "AWS::URLSuffix": "amazonaws.com"}


# Every parameter of the alarms and the events, none at its default: one that only one side heeds is seen.
TOLD = {
    "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:night", "RunbookUrl": "https://example.com/RUNBOOK.md", "UndecidedThreshold": 2,
    "ServerErrorRate": 0.5, "ThrottledThreshold": 3, "SlowMilliseconds": 1500, "UnauthenticatedThreshold": 7, "SignatureThreshold": 8, "EventsOut": "true",
}
OWN_TABLES = {"PaymentsTableName": "own-payments", "CredentialsTableName": "own-credentials", "PaymentsStreamLabel": "2026-01-31T12:00:00.000"}


# SAM's translator would tell of the metrics that it keeps and nobody asked for.
logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)


class NoManagedPolicies:
    def load(self):
        return {}


def written_out(node, name, value):
    """The body of a loop, with its variable replaced by a value."""
    if isinstance(node, list):
        return [written_out(one, name, value) for one in node]
    if isinstance(node, str):
        return node.replace(f"${{{name}}}", value)
    if not isinstance(node, dict):
        return node
    if node == {"Ref": name}:
        return value
    node = {written_out(key, name, value): written_out(one, name, value) for key, one in node.items()}
    text = node.get("Fn::Sub")
    return text if len(node) == 1 and isinstance(text, str) and "${" not in text else node


def sam(told=()):
    """SAM's template with its loops written out, and its functions translated by SAM's own code."""
    template = samcli.yamlhelper.yaml_parse((ROOT / "infra/template.yaml").read_text())
    parameters = {name: parameter["Default"] for name, parameter in template["Parameters"].items()} | dict(told)
    for key in [key for key in template["Resources"] if key.startswith("Fn::ForEach::")]:
        name, values, body = template["Resources"].pop(key)
        for value in values:
            template["Resources"] |= written_out(body, name, value)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    os.environ.setdefault("AWS_DEFAULT_REGION", PSEUDO["AWS::Region"])
    template["Transform"] = "AWS::Serverless-2016-10-31"
    translated = samtranslator.translator.transform.transform(copy.deepcopy(template), parameters, NoManagedPolicies())
    return Template(translated, parameters)


def cdk(told=()):
    """The CDK's template, as `cdk synth` makes it. Its context values are called as SAM's parameters are."""
    output = WORK / "cdk.out"
    command = ["node_modules/.bin/cdk", "synth", "--quiet", "--output", output, "-c", "stack=cancel"]
    for name, value in dict(told).items():
        command += ["-c", f"{name[0].lower()}{name[1:].removesuffix('Name')}={value}"]
    run("cdk-synth", command, os.environ | {"CI": "true", "CDK_DISABLE_CLI_TELEMETRY": "true"}, ROOT / "infra/cdk")
    return Template(json.loads((output / "cancel.template.json").read_text()), {})


class Template:
    """A CloudFormation template, its functions worked out; `Ref` and `GetAtt` of a resource become a name that says what it is."""

    def __init__(self, template, parameters):
        self.template, self.parameters = template, parameters
        self.resources = {
            name: resource for name, resource in template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }
        self.names = {}
        self.names = {name: self.role_of(resource) for name, resource in self.resources.items()}
        assert len(set(self.names.values())) == len(self.names), self.names

    def role_of(self, resource):
        """What a resource is for, whatever it is called: the one of its type, or the one of its provider."""
        kind, properties = resource["Type"].removeprefix("AWS::"), resource.get("Properties", {})
        if kind == "DynamoDB::Table":
            return "payments" if "StreamSpecification" in properties else "credentials"
        if kind == "Logs::LogGroup":
            return f"{kind} {self.value(properties['LogGroupName']).rsplit('-', 1)[-1]}"
        if kind == "CloudWatch::Alarm":
            return f"{kind} {self.value(properties['AlarmName'])}"
        for name, provider in self.providers().items():
            if resource is self.resources[name]:
                return f"{kind} {provider}"
        return f"{kind} {self.value(properties['Description'])}" if kind == "IAM::Role" else kind

    def providers(self):
        """Whose each function, role, route, integration and permission is, as its description or its route tells."""
        paths = {path: provider for provider, path in routes().items()}
        found = {}
        for name, resource in self.resources.items():
            properties = resource.get("Properties", {})
            text = json.dumps([self.value(properties.get(key)) for key in ("Description", "RouteKey", "SourceArn")])
            # The longest path that fits: one ends in another.
            fits = [path for path in paths if path + '"' in text]
            if fits:
                found[name] = paths[max(fits, key=len)]
            for provider in PROVIDERS:
                if resource["Type"] == "AWS::IAM::Role" and f"-{provider} may do" in text:
                    found[name] = provider
        for name, resource in self.resources.items():
            if resource["Type"] == "AWS::ApiGatewayV2::Integration":
                target = self.value(resource["Properties"]["IntegrationUri"])
                found |= {name: provider for other, provider in found.items() if target == f"<{other}>.Arn"}
        return found

    def condition(self, name):
        return self.value(self.template["Conditions"][name])

    def value(self, node):
        if isinstance(node, list):
            return [value for value in map(self.value, node) if value is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            if function == "Ref":
                return NOTHING if argument == "AWS::NoValue" else self.ref(argument)
            if function == "Fn::GetAtt":
                name, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
                return f"<{self.names.get(name, name)}>.{attribute}"
            if function == "Condition" and isinstance(argument, str):
                return self.condition(argument)
            if function == "Fn::If":
                return self.value(argument[1] if self.condition(argument[0]) else argument[2])
            if function == "Fn::Join":
                return argument[0].join(map(str, self.value(argument[1])))
            if function == "Fn::Sub":
                return self.sub(argument)
            if function == "Fn::FindInMap":
                first, second, third = self.value(argument)
                return self.template["Mappings"][first][second][third]
            if function in ("Fn::Equals", "Fn::Or", "Fn::Not"):
                values = self.value(argument)
                return {"Fn::Equals": len({str(value) for value in values}) == 1, "Fn::Or": any(values), "Fn::Not": not values[0]}[function]
            assert not function.startswith("Fn::"), function
        worked = {key: self.value(one) for key, one in node.items()}
        return {key: one for key, one in worked.items() if one is not NOTHING}

    def ref(self, name):
        if name in self.parameters:
            return self.parameters[name]
        return PSEUDO.get(name, f"<{self.names.get(name, name)}>")

    def sub(self, argument):
        text, extra = (argument, {}) if isinstance(argument, str) else argument
        extra = {name: self.value(one) for name, one in extra.items()}

        def named(found):
            name = found[1]
            if name in extra:
                return str(extra[name])
            return str(self.value({"Fn::GetAtt": name}) if "." in name else self.ref(name))

        return re.sub(r"\$\{([^!}][^}]*)\}", named, text)

    def facts(self):
        """Each resource under its role, with all its properties but those that only say where code and tags are."""
        found = {}
        for name, resource in self.resources.items():
            if resource["Type"] in ("AWS::CDK::Metadata",):
                continue
            properties = self.value(resource.get("Properties", {}))
            for key in ("Code", "Tags", "FunctionName" if resource["Type"].endswith("Function") else ""):
                properties.pop(key, None)
            found[self.names[name]] = settle(properties) | {
                f"({policy})": self.value(resource.get(policy, "Delete")) for policy in ("DeletionPolicy", "UpdateReplacePolicy")
            }
        return found


NOTHING = object()


def settle(value):
    """One form for what CloudFormation takes in several: numbers and booleans as text, one thing in a list as the thing, JSON in a text as what it says."""
    if isinstance(value, dict):
        return {key: settle(one) for key, one in value.items()}
    if isinstance(value, list):
        settled = [settle(one) for one in value]
        return settled[0] if len(settled) == 1 else settled
    if isinstance(value, bool):
        return str(value).lower()
    with contextlib.suppress(ValueError):
        if isinstance(value, str) and value.lstrip().startswith("{"):
            return settle(json.loads(value))
    return " ".join(str(value).split())


def routes():
    """Every provider's ROUTE, out of its source."""
    found = {}
    for provider in PROVIDERS:
        source = (ROOT / "functions" / provider / "src/lib.rs").read_text()
        found[provider] = re.search(r"const ROUTE: &'static str = \"([^\"]+)\"", source)[1]
    return found


def key_arn(cloudformation, stack):
    """The ARN of a deployed stack's KMS key."""
    resources = cloudformation.list_stack_resources(StackName=stack)["StackResourceSummaries"]
    (key,) = [one["PhysicalResourceId"] for one in resources if one["ResourceType"] == "AWS::KMS::Key"]
    return f"arn:aws:kms:us-east-1:000000000000:key/{key}"


def compare(how, told):
    left, right = sam(told).facts(), cdk(told).facts()
    with test(f"the same resources, {how}"):
        equal(sorted(left), sorted(right))
    for name in sorted(set(left) & set(right)):
        with test(f"{name}: the same in both, {how}", quiet=True):
            equal(json.dumps(left[name], sort_keys=True, indent=1), json.dumps(right[name], sort_keys=True, indent=1), name)
    print(f"      {how}: {len(left)} resources compared", flush=True)
    return left


def main():
    group("SAM and CDK make the same thing")
    plain = compare("unless told", {})
    everything = compare("with everything told", TOLD)
    compare("with one's own tables", TOLD | OWN_TABLES)
    with test("each parameter of the alarms and the events changes something"):
        for name in TOLD:
            rest = {other: value for other, value in TOLD.items() if other != name}
            assert sam(rest).facts() != everything, name
    with test("no events unless told: no bus, no pipe, no queue, no state machine"):
        kinds = {name.split()[0] for name in plain}
        equal({name.split()[0] for name in everything} - kinds, {"Events::EventBus", "Pipes::Pipe", "SQS::Queue", "StepFunctions::StateMachine"})
    with test("the CDK refuses events without a stream, as SAM does when it deploys"):
        try:
            cdk(TOLD | OWN_TABLES | {"PaymentsStreamLabel": ""})
        except AssertionError as refused:
            assert "needs the label of its stream as paymentsStreamLabel" in str(refused), refused
        else:
            raise AssertionError("events without a stream were synthesized")
    with test("the routes are the providers' own"):
        keys = {name.split()[1]: facts["RouteKey"] for name, facts in plain.items() if name.startswith("ApiGatewayV2::Route")}
        equal(keys, {provider: f"POST {path}" for provider, path in routes().items()})


if __name__ == "__main__":
    import suite

    main()
    suite.close()
