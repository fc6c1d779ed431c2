"""The emulator, with the resource types of the template that it does not know. It keeps their properties and does nothing with them.

Run with the emulator's own Python. `README.md` says what is therefore not shown.
"""

import uuid

from ministack import app
from ministack.services.cloudformation import provisioners

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

    return {"create": create, "update": lambda physical, *_: (physical, {}), "delete": lambda *_: None}


def metric_math(action):
    """Alarms over several metrics are kept by name alone."""
    kept = keep("AlarmName")

    def either(*arguments):
        maths = any(isinstance(one, dict) and "Metrics" in one for one in arguments)
        return (kept if maths else alarm)[action](*arguments)

    return either


for kind, name in NAMES.items():
    assert kind not in provisioners._RESOURCE_HANDLERS, f"the emulator has come to know {kind}: take it out here"
    provisioners._RESOURCE_HANDLERS[kind] = keep(name)
provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"] = alarm | {action: metric_math(action) for action in ("create", "update", "delete")}

app.main()
