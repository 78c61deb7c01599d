"""Compares ours.csv with ciw.csv, simultaneously at 99 %, and prints a table; exits with 1 if a figure differs.

python compare.py > comparison.md
"""

import csv
import json
import math
import sys
from pathlib import Path
from statistics import NormalDist

HERE = Path(__file__).parent
REPLICATIONS = json.loads((HERE / "cases.json").read_text())["replications"]


def read(name):
    with open(HERE / name, newline="") as file:
        return {
            (row["case"], int(row["bin"]), row["figure"]): (float(row["mean"]), float(row["standard_error"]))
            for row in csv.DictReader(file)
        }


def without_last_bins(figures):
    # Some requests of the last bin are still in the system at the end, and missing.
    last = {case: max(b for c, b, _ in figures if c == case) for case, _, _ in figures}
    return {key: value for key, value in figures.items() if key[1] < last[key[0]]}


ours, theirs = without_last_bins(read("ours.csv")), without_last_bins(read("ciw.csv"))
assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
# Bonferroni over all figures, Student's t by its expansion around the normal (Fisher).
normal = NormalDist().inv_cdf(1 - 0.01 / 2 / len(ours))
limit = normal + (normal**3 + normal) / (4 * (2 * REPLICATIONS - 2))
print(f"{len(ours)} figures, all within {limit:.2f} combined standard errors if the simulators agree (99 %).\n")
print("| case | figure | bins | largest difference, standard errors | root mean square | mean of ours over Ciw's |")
print("|---|---|---|---|---|---|")
groups = {}
for key in ours:
    (a, ea), (b, eb) = ours[key], theirs[key]
    error = math.hypot(ea, eb)
    z = (a - b) / error if error > 0 else (0.0 if a == b else math.inf)
    groups.setdefault((key[0], key[2]), []).append((z, a, b))
worst = 0.0
for (case, figure), rows in groups.items():
    largest = max((z for z, _, _ in rows), key=abs)
    square = math.sqrt(sum(z * z for z, _, _ in rows) / len(rows))
    ratio = sum(a for _, a, _ in rows) / sum(b for _, _, b in rows)
    print(f"| {case} | {figure} | {len(rows)} | {largest:+.2f} | {square:.2f} | {ratio:.4f} |")
    worst = max(worst, abs(largest))
print(f"\nVerdict: {'they agree' if worst <= limit else 'THEY DIFFER'} (largest {worst:.2f}, limit {limit:.2f}).")
sys.exit(worst > limit)
