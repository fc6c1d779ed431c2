"""Whether the CDK makes what SAM makes, with the defaults and every option, property by property.

Both come from infra/template.yaml: SAM's side by SAM's own code, the CDK's by the construct's.
"""

import contextlib
import copy
import functools
import json
import logging
import os
import re

import samcli.yamlhelper
import samtranslator.translator.transform

from suite import PROVIDERS, ROOT, WORK, equal, group, run, test

REGION, ACCOUNT = "us-east-1", "123456789012"
PSEUDO = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::StackName": "cancel",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackId": (
        f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/cancel/"
        "6a7e8feb-b491-4cf7-a9f1-bf3703467718"
    ),
}
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/6a7e8feb-b491-4cf7-a9f1-bf3703467718"
DOMAIN = {
    "DomainName": "pay.example.com",
    "CertificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1",
}
REST = {"FrontEnd": "rest"}
OWN_TABLES = {
    "PaymentsTableName": "own-payments",
    "CredentialsTableName": "own-credentials",
    "PaymentsStreamLabel": "2026-01-31T12:00:00.000",
}
VPC = {
    "SubnetIds": ["subnet-0123456789abcdef0", "subnet-1123456789abcdef0"],
    "SecurityGroupIds": ["sg-0123456789abcdef0"],
}
THREE_REGIONS = {"ReplicaRegion": "us-east-2", "ThirdRegion": "us-west-2"}
EVENTS = {"EventsOut": True}
OWN_ENDPOINT = {"DynamoDbEndpointUrl": "https://vpce-1.dynamodb.us-east-1.vpce.amazonaws.com"}
CANARY = {"CanarySecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:canary-abcdef"}

# Each parameter with another value than its default, and what else that needs. A parameter that is
# in no row is a failure.
CHANGES = {
    "Providers": {"Providers": ["vtex", "one2pays"]},
    "PaymentsTableName": {"PaymentsTableName": "own-payments"},
    "PaymentsKey": {"PaymentsKey": "new"},
    "PaymentsKey, one's own": {"PaymentsKey": KEY} | EVENTS,
    "CredentialsTableName": {"CredentialsTableName": "own-credentials"},
    "CredentialsKey": {"CredentialsKey": KEY},
    "TableRemoval": {"TableRemoval": "Delete"},
    "ReplicaRegion": THREE_REGIONS,
    "ThirdRegion": THREE_REGIONS,
    "ThirdRegionRole": THREE_REGIONS | {"ThirdRegionRole": "replica"},
    "Architecture": {"Architecture": "x86_64"},
    "MemorySize": {"MemorySize": 256},
    "ReservedConcurrency": {"ReservedConcurrency": 50},
    "CredentialTtlSeconds": {"CredentialTtlSeconds": 300},
    "IssuedKeysOnly": {"IssuedKeysOnly": True},
    "SignatureSingleUse": {"SignatureSingleUse": True},
    "SubnetIds": VPC,
    "SecurityGroupIds": VPC,
    "DynamoDbEndpointUrl": OWN_ENDPOINT,
    "FipsEndpoint": {"FipsEndpoint": True},
    "DualStackEndpoint": {"DualStackEndpoint": True},
    "FrontEnd": REST,
    "EndpointType": REST
    | {"EndpointType": "PRIVATE", "VpcEndpointIds": ["vpce-0123456789abcdef0"]},
    "VpcEndpointIds": REST
    | {
        "EndpointType": "PRIVATE",
        "VpcEndpointIds": ["vpce-0123456789abcdef0", "vpce-1123456789abcdef0"],
    },
    "WebAclArn": REST | {"WebAclArn": f"arn:aws:wafv2:{REGION}:{ACCOUNT}:regional/webacl/a/b"},
    "DomainName": DOMAIN,
    "CertificateArn": DOMAIN,
    "DomainName, rest": DOMAIN | REST,
    "TruststoreUri": DOMAIN | {"TruststoreUri": "s3://bucket/key", "DefaultEndpoint": "disabled"},
    "TruststoreVersion": DOMAIN
    | {"TruststoreUri": "s3://bucket/key", "TruststoreVersion": "v1"}
    | {"DefaultEndpoint": "disabled"},
    "DefaultEndpoint": DOMAIN | REST | {"DefaultEndpoint": "disabled"},
    "CorsOrigins": {"CorsOrigins": "https://shop.example,https://pay.example"},
    **{
        f"{provider}Throttling{what}": {f"{provider}Throttling{what}": 7}
        for provider in PROVIDERS
        for what in ("Rate", "Burst")
    },
    "DeploymentType": {"DeploymentType": "Linear10PercentEvery1Minute"},
    "LogLevel": {"LogLevel": "WARN"},
    "LogRetentionDays": {"LogRetentionDays": 30},
    "LogKeyArn": {"LogKeyArn": KEY},
    "Tracing": REST | {"Tracing": "Active"},
    "AlarmEmail": {"AlarmEmail": "night@example.com"},
    "AlarmTopicArn": {"AlarmTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:night"},
    "RunbookUrl": {"RunbookUrl": "https://example.com/RUNBOOK.md"},
    "ErrorBudget": {"ErrorBudget": 0.001},
    **{
        name: {name: 9}
        for name in (
            "UndecidedThreshold",
            "UnavailableThreshold",
            "InternalThreshold",
            "UnauthenticatedThreshold",
            "ErrorsThreshold",
            "ThrottlesThreshold",
            "ConcurrencyThreshold",
            "TooManyThreshold",
            "SlowMilliseconds",
        )
    },
    "CanarySecretArn": CANARY,
    "CanarySecretArn, rest": CANARY | REST | DOMAIN,
    "EventsOut": EVENTS,
    "PaymentsStreamLabel": EVENTS | OWN_TABLES,
    "ArchiveDays": EVENTS | {"ArchiveDays": 7},
}

# Options that do not go together, and what each is refused with.
REFUSED = {
    "needs the label of that table's stream as PaymentsStreamLabel": EVENTS
    | {"PaymentsTableName": "own-payments"},
    "PaymentsKey=new needs a new payments table": {
        "PaymentsKey": "new",
        "PaymentsTableName": "own-payments",
    },
    "needs three Regions": {"ReplicaRegion": "us-east-2"},
    "must be different Regions": {"ReplicaRegion": "us-east-2", "ThirdRegion": "us-east-2"},
    "ReplicaRegion is for a new payments table": THREE_REGIONS
    | {"PaymentsTableName": "own-payments"},
    "Turn SignatureSingleUse off": THREE_REGIONS | {"SignatureSingleUse": True},
    "Leave PaymentsKey empty": THREE_REGIONS | {"PaymentsKey": KEY},
    "must be given together": {"SubnetIds": ["subnet-0123456789abcdef0"]},
    "SubnetIds and SecurityGroupIds must be given together": {
        "SecurityGroupIds": ["sg-0123456789abcdef0"]
    },
    "Leave them out with DynamoDbEndpointUrl": OWN_ENDPOINT | {"FipsEndpoint": True},
    "choose a public name of DynamoDB": OWN_ENDPOINT | {"DualStackEndpoint": True},
    "The canary calls from outside your VPC": CANARY
    | REST
    | {"EndpointType": "PRIVATE", "VpcEndpointIds": ["vpce-0123456789abcdef0"]},
    "The canary has no client certificate": CANARY
    | DOMAIN
    | {"TruststoreUri": "s3://bucket/key", "DefaultEndpoint": "disabled"},
    "TruststoreVersion needs a TruststoreUri": {"TruststoreVersion": "v1"},
    "need a DomainName": {"DefaultEndpoint": "disabled"},
    "DomainName needs a CertificateArn": {"DomainName": "pay.example.com"},
    "Set DefaultEndpoint=disabled": DOMAIN | {"TruststoreUri": "s3://bucket/key"},
    "A web ACL can protect REST APIs only": {
        "WebAclArn": f"arn:aws:wafv2:{REGION}:{ACCOUNT}:regional/webacl/a/b"
    },
    "Only REST APIs can be private": {"EndpointType": "PRIVATE"},
    "has no public domain name": REST
    | DOMAIN
    | {"EndpointType": "PRIVATE", "VpcEndpointIds": ["vpce-0123456789abcdef0"]},
    "EndpointType=PRIVATE needs VpcEndpointIds": REST | {"EndpointType": "PRIVATE"},
    "AlarmEmail creates a topic": {
        "AlarmEmail": "night@example.com",
        "AlarmTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:night",
    },
}

# SAM's translator would report metrics that it keeps.
logging.disable(logging.WARNING)


class NoManagedPolicies:
    def load(self):
        return {}


@functools.cache
def parsed():
    return samcli.yamlhelper.yaml_parse((ROOT / "infra/template.yaml").read_text())


def source():
    """The template. It is parsed once, which takes longer than to translate it."""
    return copy.deepcopy(parsed())


def text(value):
    """A parameter's value as CloudFormation has it."""
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def written_out(node, bound, parameters):
    """Expands the loops. AWS replaces a loop's variable only in keys, `Fn::Sub` and `Ref`."""
    fill = lambda text: re.sub(
        r"\$\{(\w+)\}", lambda found: bound.get(found[1], found[0]), text
    )  # noqa: E731
    if isinstance(node, list):
        return [written_out(one, bound, parameters) for one in node]
    if not isinstance(node, dict):
        return node
    if node.get("Ref") in list(bound):
        return bound[node["Ref"]]
    result = {}
    for key, value in node.items():
        if key.startswith("Fn::ForEach::"):
            variable, items, body = value
            for item in parameters[items["Ref"]] if isinstance(items, dict) else items:
                result |= written_out(body, bound | {variable: item}, parameters)
        elif key == "Fn::ToJsonString":
            result = json.dumps([parameters[one["Ref"]] for one in value])
        elif key == "Fn::Sub":
            given = value if isinstance(value, list) else [value]
            filled = [fill(given[0]), *written_out(given[1:], bound, parameters)]
            result = (
                filled[0]
                if "${" not in filled[0]
                else {key: filled if len(filled) > 1 else filled[0]}
            )
        else:
            result[fill(key)] = written_out(value, bound, parameters)
    return result


def sam(options=()):
    """SAM's template with its loops written out, and its functions translated by SAM's own code."""
    template = source()
    lists = {
        name
        for name, parameter in template["Parameters"].items()
        if parameter["Type"] == "CommaDelimitedList"
    }
    parameters = {
        name: parameter["Default"] for name, parameter in template["Parameters"].items()
    } | {name: text(value) for name, value in dict(options).items()}
    parameters = {
        name: value.split(",") if name in lists else value for name, value in parameters.items()
    }
    for section in ("Conditions", "Resources", "Outputs"):
        template[section] = written_out(template[section], {}, parameters)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    template["Transform"] = "AWS::Serverless-2016-10-31"
    plain = {name: text(value) for name, value in parameters.items()}
    return Template(
        samtranslator.translator.transform.transform(
            copy.deepcopy(template), plain, NoManagedPolicies()
        ),
        parameters,
    )


def context(options):
    """A stack's options as stacks.json has them."""
    return {f"{name[0].lower()}{name[1:]}": value for name, value in options.items()}


# The app once for each file, in one process: loading the CDK takes it longer than all else.
APPS = """
const app = require.resolve('./build/bin/cancel.js');
const said = process.argv.slice(1).map((file) => {
  process.argv[2] = file;
  delete require.cache[app];
  try {
    require(app);
    return null;
  } catch (error) {
    return error.message;
  }
});
// Ends before the apps that were refused are synthesized.
require('node:fs').writeSync(1, JSON.stringify(said));
process.exit();
"""


def refusals(many):
    """What the CDK app says to each such stacks.json, or None where it refuses nothing."""
    WORK.mkdir(parents=True, exist_ok=True)
    files = [WORK / f"stacks-{n}.json" for n in range(len(many))]
    for file, stacks in zip(files, many):
        file.write_text(
            json.dumps({name: context(options) for name, options in stacks.items()})
        )
    said = run("cdk-apps", ["node", "-e", APPS, *files], os.environ, ROOT / "infra/cdk")
    return json.loads(said.splitlines()[-1])


def synthesize(stacks, extra=()):
    """The templates that the CDK makes of stacks, in one run."""
    output, file = WORK / "cdk.out", WORK / "stacks.json"
    WORK.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({name: context(options) for name, options in stacks.items()}))
    command = [
        "node_modules/.bin/cdk",
        "synth",
        "--quiet",
        "--app",
        f"node build/bin/cancel.js {file}",
        "--output",
        output,
        *extra,
    ]
    printed = run(
        "cdk-synth",
        command,
        os.environ | {"CI": "true", "CDK_DISABLE_CLI_TELEMETRY": "true"},
        ROOT / "infra/cdk",
    )
    warnings = [
        line[:200] for line in printed.splitlines() if line.startswith(("WARNING", "ERROR"))
    ]
    equal(warnings, [], "the CDK's own validation")
    return {
        name: Template(json.loads((output / f"{name}.template.json").read_text()), {})
        for name in stacks
    }


# Versions of a function have names of the tools' own.
OWN_NAMES = {
    (
        r"(?:CancelApi)?(\w+)Function"
        r"(?:Version[0-9a-f]{10}|CurrentVersion[0-9A-F]{8}[0-9a-f]{32})"
    ): r"\1Version",
}


class Template:
    """A CloudFormation template, its functions evaluated; `Ref` and `GetAtt` become names."""

    def __init__(self, template, parameters):
        self.template, self.parameters = template, parameters
        self.resources = {
            name: resource
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    @staticmethod
    def name(logical):
        for pattern, canonical in OWN_NAMES.items():
            if re.fullmatch(pattern, logical):
                return re.sub(pattern, canonical, logical)
        return logical

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
            if function == "Condition" and isinstance(argument, str):
                return self.condition(argument)
            if function == "Fn::If":
                return self.value(argument[1] if self.condition(argument[0]) else argument[2])
            if function == "Fn::Sub":
                return self.sub(argument)
            if function == "Fn::GetAtt":
                name, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
                return f"<{self.name(name)}>.{attribute}"
            if function in CALLS:
                return CALLS[function](self.value(argument))
            if function == "Fn::FindInMap":
                first, second, third = self.value(argument)
                return self.template["Mappings"][first][second][third]
            assert not function.startswith("Fn::"), function
        worked = {key: self.value(one) for key, one in node.items()}
        return {key: one for key, one in worked.items() if one is not NOTHING}

    def ref(self, name):
        if name in self.parameters:
            return self.parameters[name]
        return PSEUDO.get(name, f"<{self.name(name)}>")

    def sub(self, argument):
        text, extra = (argument, {}) if isinstance(argument, str) else argument
        extra = {name: self.value(one) for name, one in extra.items()}

        def named(found):
            name = found[1]
            if name in extra:
                return str(extra[name])
            return str(self.value({"Fn::GetAtt": name}) if "." in name else self.ref(name))

        return re.sub(r"\$\{([^!}][^}]*)\}", named, text)

    def properties(self, logical):
        return self.value(self.resources[logical].get("Properties", {}))

    def facts(self):
        """Each resource with all its properties but those that only say where code and tags are."""
        found = {}
        for logical, resource in self.resources.items():
            if resource["Type"] == "AWS::CDK::Metadata":
                continue
            properties = self.properties(logical)
            for key in (
                ("Code", "Tags")
                if resource["Type"] == "AWS::Lambda::Function"
                and "ZipFile" not in properties["Code"]
                else ()
            ):
                properties.pop(key, None)
            # The text by which SAM publishes versions.
            properties.get("Environment", {}).get("Variables", {}).pop("SETTINGS", None)
            policies = {
                f"({policy})": self.value(resource.get(policy, "Delete"))
                for policy in ("DeletionPolicy", "UpdateReplacePolicy", "UpdatePolicy")
            }
            # SAM keeps old versions, and says nothing of a replacement, which a version never has.
            if resource["Type"] == "AWS::Lambda::Version":
                policies.pop("(UpdateReplacePolicy)")
            found[self.name(logical)] = settle({"(Type)": resource["Type"]} | properties | policies)
        return found

    def outputs(self):
        outputs = self.template["Outputs"].items()
        return {
            name: settle(self.value(one["Value"]))
            for name, one in outputs
            if "Condition" not in one or self.condition(one["Condition"])
        }


CALLS = {
    "Fn::Join": lambda values: values[0].join(map(str, values[1])),
    "Fn::Split": lambda values: values[1].split(values[0]),
    "Fn::Select": lambda values: values[1][int(values[0])],
    "Fn::Equals": lambda values: len({str(value) for value in values}) == 1,
    "Fn::And": all,
    "Fn::Or": any,
    "Fn::Not": lambda values: not values[0],
}
NOTHING = object()


def settle(value):
    """A value's normal form: numbers and booleans as text, no JSON in text."""
    if isinstance(value, dict):
        return {
            key: sorted(one) if key == "Events" else settle(one)
            for key, one in value.items()
            if one not in ([], {})
        }
    if isinstance(value, list):
        return [settle(one) for one in value]
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
        rust = (ROOT / "functions" / provider / "src/lib.rs").read_text()
        found[provider] = re.search(r"const ROUTE: &'static str = \"([^\"]+)\"", rust)[1]
    return found


def browsers():
    """The providers that a browser may call, out of their source."""
    sources = {name: ROOT / "functions" / name / "src/lib.rs" for name in PROVIDERS}
    return [name for name, file in sources.items() if "BROWSER_HEADERS" in file.read_text()]


def compare():
    cases = {"the defaults": {}} | {f"another {name}": options for name, options in CHANGES.items()}
    names = {what: f"case-{n}" for n, what in enumerate(cases)}
    made = synthesize({names[what]: options for what, options in cases.items()})
    plain, compared = sam().facts(), 0
    for what, options in cases.items():
        with test(f"SAM and CDK make the same, with {what}", quiet=True):
            left, right = sam(options), made[names[what]]
            mine, others = left.facts(), right.facts()
            equal(sorted(mine), sorted(others), "resources")
            for name, facts in mine.items():
                equal(
                    json.dumps(facts, sort_keys=True, indent=1),
                    json.dumps(others[name], sort_keys=True, indent=1),
                    name,
                )
            equal(
                left.outputs(), {name: value for name, value in right.outputs().items()}, "outputs"
            )
            assert not options or mine != plain, "no resource changes"
            compared += len(mine)
    print(
        f"      {len(cases)} sets of options, {compared} resources; {len(plain)} of the defaults",
        flush=True,
    )
    return plain


def checkov():
    """What checkov finds in the defaults and in a production setup, synthesized."""
    with test("checkov finds nothing that is not acknowledged with a reason"):
        setups = {
            "defaults": {},
            "production": REST
            | DOMAIN
            | EVENTS
            | CHANGES["CanarySecretArn"]
            | {"PaymentsKey": "new", "AlarmEmail": "night@example.com"},
        }
        synthesize(setups)
        files = [
            part
            for name in setups
            for part in ("--file", WORK / "cdk.out" / f"{name}.template.json")
        ]
        command = [
            ROOT / "target/tools/checkov/bin/checkov",
            "--config-file",
            ROOT / "tests/deploy/checkov.yaml",
            *files,
        ]
        run("checkov", command, os.environ)
    with test("cfn-lint finds nothing in what the CDK synthesizes"):
        # The CDK writes dependencies that a reference has already (W3005).
        command = [ROOT / "target/tools/aws/bin/cfn-lint", "--ignore-checks", "W3005", "--"]
        run("cfn-lint", command + files[1::2], os.environ)


def refused():
    said = refusals([{"refused": options} for options in REFUSED.values()])
    for why, found in zip(REFUSED, said):
        with test(f"the CDK refuses what SAM's rules refuse: {why}", quiet=True):
            assert why in (found or "it was synthesized"), found
    with test("each of the template's rules is among these"):
        found = [
            assertion["AssertDescription"]
            for rule in source()["Rules"].values()
            for assertion in rule["Assertions"]
        ]
        for one in found:
            assert any(why in one for why in REFUSED), one
    with test("the CDK refuses an option that is none, and options on the command line"):
        wrong = {
            "memorySzie": {"refused": {"MemorySzie": 1}},
            "must be a number from 128": {"refused": {"MemorySize": 1}},
            "must be of hyperswitch, hedgepayments": {"refused": {"Providers": ["vtx"]}},
            "must be a list of at least one": {"refused": {"Providers": []}},
            "and each once": {"refused": {"Providers": ["vtex", "vtex"]}},
        }
        for why, found in zip(wrong, refusals(list(wrong.values()))):
            assert why in (found or "it was synthesized"), f"{why}: {found}"
        try:
            synthesize({"refused": {}}, ["-c", "paymentsTable=own"])
        except AssertionError as error:
            assert "paymentsTable: unknown context" in str(error), error
        else:
            raise AssertionError("an option on the command line: it was synthesized")


def main():
    group("SAM and CDK make the same thing")
    with test("a change of an option of the functions is a new version of them with SAM, too"):
        version = lambda options: [
            name for name in sam(options).resources if name.startswith("vtexFunctionVersion")
        ]  # noqa: E731
        changed = (
            "PaymentsTableName",
            "CredentialsTableName",
            "MemorySize",
            "CredentialTtlSeconds",
            "IssuedKeysOnly",
            "SignatureSingleUse",
            "CorsOrigins",
            "SubnetIds",
            "DynamoDbEndpointUrl",
            "FipsEndpoint",
            "DualStackEndpoint",
            "LogLevel",
            "Tracing",
            "Architecture",
        )
        for name in changed:
            assert version(CHANGES[name]) != version({}), name
    with test("every parameter is among the changes"):
        equal({name.split(",")[0] for name in CHANGES}, set(source()["Parameters"]))
    plain = compare()
    checkov()
    refused()
    with test("no events, no canary and no topic by default"):
        kinds = {facts["(Type)"] for facts in plain.values()}
        extra = {
            "AWS::Events::EventBus",
            "AWS::Pipes::Pipe",
            "AWS::SQS::Queue",
            "AWS::StepFunctions::StateMachine",
            "AWS::SNS::Topic",
            "AWS::Events::Rule",
        }
        equal(kinds & extra, set())
    with test("the routes are the providers' own, of the HTTP API and of the REST APIs"):
        keys = {
            name.removesuffix("Route"): facts["RouteKey"]
            for name, facts in plain.items()
            if facts["(Type)"] == "AWS::ApiGatewayV2::Route"
        }
        expected = {provider: f"POST {path}" for provider, path in routes().items()}
        # A browser sends OPTIONS before the cancel, where the provider lets browsers in.
        expected |= {
            f"{provider}Preflight": f"OPTIONS {routes()[provider]}" for provider in browsers()
        }
        equal(keys, expected)
        rest = sam(REST)
        for provider, path in routes().items():
            equal(rest_path(rest, provider), path, provider)
            method = "ANY" if provider in browsers() else "POST"
            equal(rest.properties(f"{provider}Method")["HttpMethod"], method, provider)


def rest_path(template, provider):
    """The path of a REST API's one method, from its resources."""
    facts, path, place = template.facts(), "", f"{provider}Cancel"
    while place != f"{provider}Api":
        path, parent = f"/{facts[place]['PathPart']}{path}", facts[place]["ParentId"]
        place = re.match(r"<(\w+)>", parent)[1]
    return path


if __name__ == "__main__":
    import suite

    main()
    suite.close()
