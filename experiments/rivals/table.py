"""Puts the cells' results into one table a kind of start-up: results/table.md."""

import pathlib
import re

FAMILIES = ["constant", "diurnal", "ramp", "step", "batches", "bursty", "flash-crowd"]
RESULTS = pathlib.Path(__file__).parent / "results"
ROW = re.compile(r"^(\S+)\s.*?(\d+\.\d+ \[\d+\.\d+, \d+\.\d+\])")


def cell(family, preset):
    """Cost an hour by policy."""
    costs = {}
    for line in (RESULTS / f"{family}-{preset}.txt").read_text().splitlines():
        found = ROW.match(line)
        if found:
            name, cost = found.groups()
            rule, _, file = name.partition(":")
            costs[f"tuned {rule}" if file else rule] = cost
    return costs


def table(preset):
    cells = {family: cell(family, preset) for family in FAMILIES}
    names = list(dict.fromkeys(name for costs in cells.values() for name in costs))
    rivals = [name for name in names if not name.startswith("(")]
    lines = [f"| `{preset}` | " + " | ".join(FAMILIES) + " |", "|---" * (len(FAMILIES) + 1) + "|"]
    for name in names:
        row = []
        for costs in cells.values():
            cost = costs.get(name, "not found")
            best = min(float(costs[rival].split()[0]) for rival in rivals if rival in costs)
            is_best = name in rivals and name in costs and float(cost.split()[0]) == best
            row.append(f"**{cost}**" if is_best else cost)
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    gap = [1 - float(c["(bound)"].split()[0]) / float(c["(optimum)"].split()[0]) for c in cells.values()]
    lines.append("| gap | " + " | ".join(f"{100 * g:.0f} %" for g in gap) + " |")
    return "\n".join(lines)


(RESULTS / "table.md").write_text("\n\n".join(table(preset) for preset in ["jvm", "fast"]) + "\n")
