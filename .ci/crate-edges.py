"""Checks who may depend on whom (normal dependencies only; tests may reach further)."""

import json
import subprocess
import sys

SIBLINGS = {"autoscale-sim", "autoscale-policies", "autoscale-agents", "autoscale-eval", "autoscale-live"}
ONLY = {
    "burn": {"autoscale-agents"},
    "polars": {"autoscale-cli"},
    "plotters": {"autoscale-cli"},
    "ratatui": {"autoscale-cli"},
    "kube": {"autoscale-live"},
    "tokio": {"autoscale-live"},
    "tonic": {"autoscale-live"},
}


def problems(packages):
    for package in packages:
        name = package["name"]
        for dependency in package["dependencies"]:
            other = dependency["name"]
            if dependency["kind"] == "dev":
                continue
            if name in SIBLINGS and other in SIBLINGS:
                yield f"{name} depends on its sibling {other}"
            if name == "autoscale-core" and other.startswith("autoscale-"):
                yield f"{name} depends on {other}"
            if other in ONLY and name not in ONLY[other]:
                yield f"{name} depends on {other}, which belongs to {sorted(ONLY[other])} alone"
            if other.startswith("burn-") and name != "autoscale-agents":
                yield f"{name} depends on {other}, which belongs to autoscale-agents alone"


metadata = subprocess.run(
    ["cargo", "metadata", "--format-version", "1", "--no-deps"], check=True, capture_output=True
).stdout
found = list(problems(json.loads(metadata)["packages"]))
for problem in found:
    print(problem)
sys.exit(bool(found))
