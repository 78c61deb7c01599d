#!/usr/bin/env python3
"""Makes the tables and the plot of README.md anew, by the commands that it names: scripts/readme.py

With --check it writes nothing, and fails where something differs. A trained policy is the same to the byte on one kind of
processor only, so that another one may give slightly different numbers."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
README, PLOT = ROOT / "README.md", ROOT / "docs/images/replicas.png"
# The rows of the first table that are shown; there are three times as many.
SHOWN = ["latency_p95", "scale_events", "pod_hours", "slo_violations", "return"]


def autoscale(folder, *arguments):
    """What the program prints, run in a folder of its own."""
    program = ["cargo", "run", "--quiet", "--manifest-path", ROOT / "Cargo.toml", "--"]
    return subprocess.run([*program, *arguments], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def shortened(printed, metrics):
    """Head, rule and chosen rows of a table whose first column is filled in a family's first row only."""
    lines, family = printed.splitlines()[:2], ""
    width = lines[0].index("metric")
    for line in printed.splitlines()[2:]:
        family = line[:width].strip() or family
        if line[width:].split(" ", 1)[0] in metrics:
            lines.append(f"{family:{width}}{line[width:]}")
    return lines


def tables(folder):
    """The text of each table by its name."""
    out = autoscale(folder, "train", "--algo", "ppo", "--episodes", "200")
    paragraphs = out.split("\n\n")
    heads = [paragraph.lstrip("\n").split("\n", 1)[0].split() for paragraph in paragraphs]
    first, second, third = (
        next(k for k, head in enumerate(heads) if head[:2] == ["family", "metric"] and head[2].startswith(name))
        for name in ("hpa", "hpa-tuned", "constant")
    )
    against = paragraphs[second - 1].strip()
    trained = shortened(paragraphs[first], SHOWN) + ["", against, ""] + shortened(paragraphs[second], ["return"])
    trained += [""] + shortened(paragraphs[third], ["return"])
    policies = "hpa,model:latest,constant:14"
    elsewhere = autoscale(folder, "evaluate", "--policies", policies, "--scenario", "bursts")
    return {"trained": trained, "elsewhere": elsewhere.strip().splitlines()}


def with_tables(text, contents):
    for name, lines in contents.items():
        block = re.compile(rf"(<!-- table {name} -->\n```text\n).*?(```)", re.DOTALL)
        if len(lines) < 4:
            sys.exit(f"table {name}: the program gave no such table, but {lines}")
        content = "".join(line.rstrip() + "\n" for line in lines)
        text, count = block.subn(lambda found: found[1] + content + found[2], text)
        if count != 1:
            sys.exit(f"README.md: {count} places for table {name}; expected 1")
    return text


def main():
    with tempfile.TemporaryDirectory() as folder:
        text = with_tables(README.read_text(), tables(folder))
        (plot,) = pathlib.Path(folder).glob("runs/2*/final_replicas.png")
        if "--check" in sys.argv[1:]:
            same = text == README.read_text() and plot.read_bytes() == PLOT.read_bytes()
            sys.exit(None if same else "README.md or its plot is not what the program gives: scripts/readme.py")
        README.write_text(text)
        shutil.copy(plot, PLOT)


main()
