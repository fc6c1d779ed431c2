"""The emulator, extended by what the template needs. Run with the emulator's own Python.

It accepts some resource types by name only; `README.md` lists what is therefore not shown. Added
are the condition key `dynamodb:LeadingKeys`, which the roles need, and lists in conditions and
as parameters with allowed values.
"""

import json
import uuid

from ministack import app
from ministack.core import iam_actions
from ministack.services.cloudformation import changesets, engine, handlers, provisioners, stacks

# What `Ref` gives where it is no random name, by type.
NAMES = {
    "AWS::CloudWatch::CompositeAlarm": "AlarmName",
    "AWS::CodeDeploy::Application": "ApplicationName",
    "AWS::CodeDeploy::DeploymentGroup": "DeploymentGroupName",
    "AWS::Events::Archive": "ArchiveName",
    "AWS::WAFv2::WebACLAssociation": None,
}
alarm = provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"]


def keep(name):
    def create(logical, properties, stack):
        physical = properties.get(name) or f"{stack}-{logical}-{uuid.uuid4().hex[:8]}"
        return physical, {"Arn": f"arn:aws:emulated:us-east-1:000000000000:{physical}"}

    return {
        "create": create,
        "update": lambda physical, *_: (physical, {}),
        "delete": lambda *_: None,
    }


def metric_math(action):
    """Alarms over several metrics are kept by name alone."""
    kept = keep("AlarmName")

    def either(*arguments):
        maths = any(isinstance(one, dict) and "Metrics" in one for one in arguments)
        return (kept if maths else alarm)[action](*arguments)

    return either


for kind, name in NAMES.items():
    assert (
        kind not in provisioners._RESOURCE_HANDLERS
    ), f"the emulator has come to know {kind}: take it out here"
    provisioners._RESOURCE_HANDLERS[kind] = keep(name)
provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"] = alarm | {
    action: metric_math(action) for action in ("create", "update", "delete")
}

table = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::GlobalTable"]


def of_its_region(action):
    """A global table has its protection with its replica; here there is one."""

    def plain(*arguments):
        arguments = list(arguments)
        for n, one in enumerate(arguments):
            if isinstance(one, dict) and one.get("Replicas"):
                arguments[n] = one | {
                    "DeletionProtectionEnabled": one["Replicas"][0].get(
                        "DeletionProtectionEnabled", False
                    )
                }
        return table[action](*arguments)

    return plain


provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::GlobalTable"] = table | {
    action: of_its_region(action) for action in ("create", "update")
}

known = iam_actions.dynamodb_service_context


def with_leading_keys(body):
    """The partition key of a request on one item, as DynamoDB tells IAM of it."""
    key = json.loads(body or b"{}").get("Key") or {}
    leading = [value for attribute in key.values() for value in attribute.values()]
    return known(body) | ({"dynamodb:LeadingKeys": leading} if leading else {})


iam_actions.dynamodb_service_context = with_leading_keys

decided = engine._evaluate_conditions


def with_lists(template, parameters):
    """Conditions with AWS's two functions on lists, which the emulator lacks."""

    def text(node):
        if isinstance(node, list):
            return [text(one) for one in node]
        if not isinstance(node, dict):
            return node
        if "Fn::Join" in node:
            delimiter, parts = node["Fn::Join"]
            parts = text(parts)
            return delimiter.join(parts if isinstance(parts, list) else parts.split(","))
        if "Fn::Split" in node:
            delimiter, whole = text(node["Fn::Split"])
            return whole.split(delimiter)
        if "Ref" in node and isinstance(parameters[node["Ref"]]["Value"], (str, list)):
            return parameters[node["Ref"]]["Value"]
        return {key: text(one) for key, one in node.items()}

    return decided(template | {"Conditions": text(template.get("Conditions", {}))}, parameters)


resolved = engine._resolve_parameters


def members_allowed(template, *arguments):
    """AWS compares each member of a list with AllowedValues; the emulator compares the whole."""
    parameters = template.get("Parameters", {})
    lists = {
        name: one
        for name, one in parameters.items()
        if one["Type"] == "CommaDelimitedList" and "AllowedValues" in one
    }
    plain = {
        name: {key: value for key, value in one.items() if key != "AllowedValues"}
        for name, one in lists.items()
    }
    values = resolved(template | {"Parameters": parameters | plain}, *arguments)
    for name, one in lists.items():
        given = values[name]["Value"]
        for member in given if isinstance(given, list) else given.split(","):
            if member not in one["AllowedValues"]:
                raise ValueError(f"Parameter '{name}': '{member}' is not in AllowedValues")
    return values


for module in (engine, changesets, handlers, stacks, provisioners):
    for name, own in (
        ("_evaluate_conditions", with_lists),
        ("_resolve_parameters", members_allowed),
    ):
        if hasattr(module, name):
            setattr(module, name, own)

app.main()
