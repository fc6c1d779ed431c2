"""CycloneDX bills of materials of the functions and of the operator's tool: their linked crates.

`cargo tree` lists the crates, with their features and targets; digests are those of Cargo.lock.
Written to target/sbom, with the same bytes for the same commit, and checked against the CycloneDX
1.6 schema.
"""

import datetime
import json
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "target" / "sbom"
TARGET = "aarch64-unknown-linux-gnu"
FUNCTIONS = sorted(path.name for path in (ROOT / "functions").iterdir() if path.is_dir())
# As the release builds it.
FEATURES = {"admin": ("--features", "account")}

# `3name v1.2.3 (proc-macro) (/path) (*)|MIT`: depth, name, version, what else cargo knows, licence.
LINE = re.compile(
    r"(?P<depth>\d+)(?P<name>[\w-]+) v(?P<version>[^ |]+)(?P<rest>[^|]*)\|(?P<licence>.*)"
)


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def locked_crates():
    """The SHA-256 of each crate's archive, by name and version; this tree's crates have none."""
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    digests = {(crate["name"], crate["version"]): crate.get("checksum") for crate in locked}
    return digests, {crate["name"] for crate in locked if "source" not in crate}


def tree(package):
    """The crates in the package's binary, the package first: license and dependencies of each."""
    printed = run(
        *(
            "cargo",
            "tree",
            "--locked",
            "--package",
            package,
            *FEATURES.get(package, ()),
            "--edges",
            "normal,no-proc-macro",
        ),
        *("--target", TARGET, "--prefix", "depth", "--no-dedupe", "--format", "{p}|{l}"),
    )
    crates, path = {}, []
    for line in printed.splitlines():
        found = LINE.fullmatch(line)
        if not found:
            sys.exit(f"cargo tree printed a line that is not understood: {line}")
        crate = found["name"], found["version"]
        licence, needs = crates.setdefault(crate, (found["licence"].replace("/", " OR "), set()))
        del path[int(found["depth"]) :]
        if path:
            crates[path[-1]][1].add(crate)
        path.append(crate)
    return crates


def component(crate, licence, checksum, kind=ComponentType.LIBRARY):
    name, version = crate
    return Component(
        type=kind,
        name=name,
        version=version,
        bom_ref=f"{name}@{version}",
        # A crate of this tree is in no registry.
        purl=PackageURL("cargo", None, name, version) if checksum else None,
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [],
    )


def bill(package, locked, commit, at):
    crates = tree(package)
    made = {
        crate: component(
            crate,
            licence,
            locked[crate],
            ComponentType.APPLICATION if crate[0] == package else ComponentType.LIBRARY,
        )
        for crate, (licence, _) in crates.items()
    }
    root, *linked = made
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{package}@{commit}"))
    bom.metadata.timestamp = at
    bom.metadata.component = made[root]
    for crate in linked:
        bom.components.add(made[crate])
    for crate, (_, needs) in crates.items():
        bom.register_dependency(made[crate], [made[need] for need in needs])
    return JsonV1Dot6(bom).output_as_string(indent=2), crates


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    locked, tree_crates = locked_crates()
    commit, at = run("git", "log", "-1", "--format=%H %cI").split()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for package in [*FUNCTIONS, "admin"]:
        text, crates = bill(package, locked, commit, datetime.datetime.fromisoformat(at))
        if fault := validator.validate_str(text):
            sys.exit(f"{package}: not CycloneDX 1.6: {fault}")
        # Read again, plainly: each crate once, with a licence, and with a digest if it is not ours.
        components = json.loads(text)["components"]
        names = {(one["name"], one["version"]) for one in components}
        unknown = {one["name"] for one in components if "hashes" not in one} - tree_crates
        if len(components) != len(names) or len(names) != len(crates) - 1:
            sys.exit(f"{package}: {len(components)} components for {len(crates) - 1} crates")
        if missing := [one["name"] for one in components if not one.get("licenses")]:
            sys.exit(f"{package}: no licence: {missing}")
        if unknown:
            sys.exit(f"{package}: without a digest: {unknown}")
        (OUTPUT / f"{package}.cdx.json").write_text(text + "\n")
        print(f"{package}: {len(components)} crates, target/sbom/{package}.cdx.json")


if __name__ == "__main__":
    main()
