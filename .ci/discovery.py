#!/usr/bin/env python3
"""Which pods deploy/prometheus/prometheus.yaml finds, and by which labels: .ci/discovery.py PROMTOOL

Pods are given to promtool as static targets with the labels that discovery would give them, since Debian's Prometheus is
built without Kubernetes."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "deploy/prometheus"
META = "__meta_kubernetes_"


def pod(name, address, namespace, **labels):
    about = {"pod_name": name, "namespace": namespace, "pod_phase": "Running", "pod_container_port_name": "http", **labels}
    return {"targets": [address], "labels": {META + key: value for key, value in about.items()}}


def annotated(port):
    return {"pod_annotation_prometheus_io_scrape": "true", "pod_annotation_prometheus_io_port": port}


CONTROLLER = pod(
    "autoscale-0", "10.0.0.1:8080", "autoscale", pod_label_app_kubernetes_io_name="autoscale", **annotated("8080")
)
# Discovery gives a target for each declared port; the annotation says which one is meant.
DEMO = pod(
    "demo-0", "10.0.0.2:9", "default", pod_label_app="demo", pod_label_app_kubernetes_io_name="autoscale-demo", **annotated("8000")
)
PAGES = pod(
    "api-0", "10.0.0.3", "shop", pod_label_app="api", pod_annotation_prometheus_io_path="/stats", **annotated("9000")
)
ENDED = pod("demo-1", "10.0.0.4:8000", "default", pod_label_app="demo", pod_phase="Succeeded", **annotated("8000"))
SILENT = pod("web-0", "10.0.0.5:80", "default", pod_label_app="web")
PODS = [CONTROLLER, DEMO, PAGES, ENDED, SILENT]

EXPECTED = {
    "autoscale": [{"instance": "10.0.0.1:8080", "job": "autoscale", "pod": "autoscale-0"}],
    "services": [
        {"instance": "10.0.0.2:8000", "job": "services", "namespace": "default", "app": "demo", "pod": "demo-0"},
        {"instance": "10.0.0.3:9000", "job": "services", "namespace": "shop", "app": "api", "pod": "api-0"},
    ],
}


def main(promtool):
    text = (FOLDER / "prometheus.yaml").read_text()
    discovery = re.compile(r"^    kubernetes_sd_configs:\n(?:      .*\n)+", re.MULTILINE)
    text, count = discovery.subn(f"    static_configs: {json.dumps(PODS)}\n", text)
    if count != len(EXPECTED):
        sys.exit(f"prometheus.yaml: {count} places that discover; expected {len(EXPECTED)}")
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "prometheus.yaml"
        config.write_text(text)
        (pathlib.Path(folder) / "alerts.yaml").symlink_to(FOLDER / "alerts.yaml")
        subprocess.run([promtool, "check", "config", config], check=True)
        for job, expected in EXPECTED.items():
            command = [promtool, "check", "service-discovery", "--timeout=500ms", config, job]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = [target["labels"] for target in json.loads(said) if target["labels"]]
            paths = sorted(labels.get("__metrics_path__", "") for labels in found)
            found = [{k: v for k, v in labels.items() if not k.startswith("__")} for labels in found]
            # Each pod is a group of its own, and promtool lists groups in no order.
            found.sort(key=lambda labels: labels["instance"])
            if found != expected:
                sys.exit(f"{job} finds {json.dumps(found)}; expected {json.dumps(expected)}")
            if job == "services" and paths != ["/metrics", "/stats"]:
                sys.exit(f"services are scraped at {paths}; expected /metrics and /stats")
    print("the pods are found that are to be found")


if __name__ == "__main__":
    main(sys.argv[1])
