"""Writes what training found on its way as HPA manifests: rivals.py RUN SCENARIO FOLDER

FOLDER/base/SCENARIO.yaml is the HPA that the run's policy multiplies, FOLDER/constant/SCENARIO.yaml the best constant count."""

import csv
import json
import pathlib
import sys

run, scenario, folder = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])


def write(name, least, most, rest):
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": scenario},
        "minReplicas": least,
        "maxReplicas": most,
    }
    manifest = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": spec | rest}
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / f"{scenario}.yaml").write_text(json.dumps(manifest, indent=2) + "\n")


found = json.loads((run / "manifest.json").read_text())["config"]["tuned_hpa"]
target = {"type": "Utilization", "averageUtilization": found["target_utilization_percent"]}
metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
write("base", 1, 100, {"metrics": metrics, "behavior": found["behavior"]})
with open(run / "comparison.csv") as rows:
    policies = {row["policy"] for row in csv.DictReader(rows)}
(count,) = {int(name.removeprefix("constant-")) for name in policies if name.startswith("constant-")}
write("constant", count, count, {})
