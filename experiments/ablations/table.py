"""Puts the sweeps' results into one table: results/table.md."""

import csv
import pathlib

RESULTS = pathlib.Path(__file__).parent / "results"
VARIED = ["set", "action-space", "base", "reward-scale", "critic"]


def row(variant, runs, seeds):
    cells = []
    for seed in seeds:
        run = runs[seed]
        point, low, high = (float(run[f"model-minus-hpa {part}"]) for part in ("estimate", "low", "high"))
        text = f"{point:+.2f} [{low:+.2f}, {high:+.2f}]"
        cells.append(f"**{text}**" if low > 0 or high < 0 else text)
    mean = sum(float(runs[seed]["model-minus-hpa estimate"]) for seed in seeds) / len(seeds)
    return f"| {variant} | " + " | ".join(cells) + f" | {mean:+.2f} |"


def table(name):
    variants = {}
    for run in csv.DictReader((RESULTS / f"{name}.csv").open()):
        named = [f"{flag} {run[flag]}" if flag != "set" else run[flag] for flag in VARIED if run.get(flag)]
        variants.setdefault(", ".join(named) or "as it comes", {})[run["seed"]] = run
    seeds = sorted(next(iter(variants.values())))
    head = f"| {name} | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean |"
    rule = "|---" * (len(seeds) + 2) + "|"
    return "\n".join([head, rule] + [row(variant, runs, seeds) for variant, runs in variants.items()])


names = ["ppo", "ppo-space", "ppo-base", "ppo-reward", "ppo-critic", "dqn"]
(RESULTS / "table.md").write_text("\n\n".join(table(name) for name in names) + "\n")
