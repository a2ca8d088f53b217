"""Checks a Camtrap DP package with frictionless, the reference implementation of Data Packages.

    pip install frictionless
    pugmark convert labels.json --to camtrap-dp --out package ...
    python crates/pugmark-data/tests/validate_camtrap_dp.py package

With the network, `--online` takes the package as it is: frictionless fetches the profile and the table schemas that
`datapackage.json` names. Without it, the tables below stand in for them: names, types, limits and keys of Camtrap DP
1.0.2. Offline, the description is checked for what a Data Package demands and for the properties that Camtrap DP adds,
but not against the published profile.
"""

import argparse
import json
import pathlib
import sys

import frictionless

TIME = {"type": "datetime", "format": "%Y-%m-%dT%H:%M:%S%z"}
TEXT, BOOL = {"type": "string"}, {"type": "boolean"}


def number(low, high=None, kind="number"):
    limits = {"minimum": low} if high is None else {"minimum": low, "maximum": high}
    return {"type": kind, "constraints": limits}


def words(*known):
    return {"type": "string", "constraints": {"enum": list(known)}}


def field(name, kind, required):
    constraints = dict(kind.get("constraints", {}), **({"required": True} if required else {}))
    return dict(kind, name=name, constraints=constraints)


def schema(fields, keys):
    """Fields whose name ends in `*` are required; the first one is the primary key."""
    listed = [field(name.rstrip("*"), kind, name.endswith("*")) for name, kind in fields]
    foreign = [{"fields": [key], "reference": {"resource": table, "fields": [key]}} for key, table in keys]
    return {
        "fields": listed,
        "missingValues": ["", "NA", "NaN", "nan"],
        "primaryKey": [listed[0]["name"]],
        "foreignKeys": foreign,
    }


FEATURES = ("roadPaved roadDirt trailHiking trailGame roadUnderpass roadOverpass roadBridge culvert burrow nestSite "
            "carcass waterSource fruitingTree").split()

SCHEMAS = {
    "deployments": schema([
        ("deploymentID*", TEXT), ("locationID", TEXT), ("locationName", TEXT), ("latitude*", number(-90, 90)),
        ("longitude*", number(-180, 180)), ("coordinateUncertainty", number(1, kind="integer")),
        ("deploymentStart*", TIME), ("deploymentEnd*", TIME), ("setupBy", TEXT), ("cameraID", TEXT),
        ("cameraModel", TEXT), ("cameraDelay", number(0, kind="integer")), ("cameraHeight", number(0)),
        ("cameraDepth", number(0)), ("cameraTilt", number(-90, 90, "integer")),
        ("cameraHeading", number(0, 360, "integer")), ("detectionDistance", number(0)), ("timestampIssues", BOOL),
        ("baitUse", BOOL), ("featureType", words(*FEATURES)), ("habitat", TEXT), ("deploymentGroups", TEXT),
        ("deploymentTags", TEXT), ("deploymentComments", TEXT),
    ], []),
    "media": schema([
        ("mediaID*", TEXT), ("deploymentID*", TEXT), ("captureMethod", words("activityDetection", "timeLapse")),
        ("timestamp*", TIME),
        ("filePath*", {"type": "string", "constraints": {"pattern": r"(?=[^./~])((?!\.{2}).)*"}}),
        ("filePublic*", BOOL), ("fileName", TEXT),
        ("fileMediatype*", {"type": "string", "constraints": {"pattern": "(image|video|audio)/.*"}}),
        ("exifData", {"type": "object"}), ("favorite", BOOL), ("mediaComments", TEXT),
    ], [("deploymentID", "deployments")]),
    "observations": schema([
        ("observationID*", TEXT), ("deploymentID*", TEXT), ("mediaID", TEXT), ("eventID", TEXT), ("eventStart*", TIME),
        ("eventEnd*", TIME), ("observationLevel*", words("media", "event")),
        ("observationType*", words("animal", "human", "vehicle", "blank", "unknown", "unclassified")),
        ("cameraSetupType", words("setup", "calibration")), ("scientificName", TEXT),
        ("count", number(1, kind="integer")), ("lifeStage", words("adult", "subadult", "juvenile")),
        ("sex", words("female", "male")), ("behavior", TEXT), ("individualID", TEXT),
        ("individualPositionRadius", number(0)), ("individualPositionAngle", number(-90, 90)),
        ("individualSpeed", number(0)), ("bboxX", number(0, 1)), ("bboxY", number(0, 1)),
        ("bboxWidth", number(1e-15, 1)), ("bboxHeight", number(1e-15, 1)),
        ("classificationMethod", words("human", "machine")), ("classifiedBy", TEXT),
        ("classificationTimestamp", TIME), ("classificationProbability", number(0, 1)), ("observationTags", TEXT),
        ("observationComments", TEXT),
    ], [("deploymentID", "deployments"), ("mediaID", "media")]),
}

REQUIRED = {
    "": "resources profile created contributors project spatial temporal taxonomic",
    "project": "title samplingDesign captureMethod individualAnimals observationLevel",
    "temporal": "start end",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=pathlib.Path, help="folder with datapackage.json")
    parser.add_argument("--online", action="store_true", help="use the published profile and schemas")
    arguments = parser.parse_args()
    file = arguments.package / "datapackage.json"
    description = json.loads(file.read_text(encoding="utf-8"))
    wrong = []
    if not arguments.online:
        for part, names in REQUIRED.items():
            where = description.get(part, {}) if part else description
            wrong += [f"datapackage.json: no {part or 'top'}.{name}" for name in names.split() if name not in where]
        found = [resource["name"] for resource in description["resources"]]
        wrong += [f"no resource {name}" for name in SCHEMAS if name not in found]
        for resource in description["resources"]:
            resource["schema"] = SCHEMAS[resource["name"]]
        description["profile"] = "data-package"
    package = frictionless.Package.from_descriptor(description, basepath=str(arguments.package))
    report = package.validate()
    wrong += [" | ".join(map(str, row)) for row in report.flatten(["title", "rowNumber", "fieldName", "message"])]
    rows = {task.name: task.stats.get("rows") for task in report.tasks}
    print(f"frictionless {frictionless.__version__}: {len(wrong)} errors in {rows}", *wrong[:20], sep="\n")
    sys.exit(1 if wrong or not all(rows.get(name) for name in SCHEMAS) else 0)


if __name__ == "__main__":
    main()
