"""Draws scores of three policies and writes what rliable says about them.

python answers.py ../../../autoscale-eval/tests/rliable/example.json
"""

import json
import sys
from importlib.metadata import version

import numpy as np
from rliable import library, metrics

SCENARIOS, SEEDS = 6, 30
TARGET = 1.0
THRESHOLDS = [round(0.1 * k, 1) for k in range(-2, 17)]
# An end of an interval is uncertain by 0.7 % of the width with 10,000 resamples, by 1.5 % with 2,000.
RESAMPLES, RESAMPLES_OF_SLOW = 10_000, 2_000

AGGREGATES = {
    "interquartile_mean": metrics.aggregate_iqm,
    "mean": metrics.aggregate_mean,
    "median": metrics.aggregate_median,
    "optimality_gap": lambda scores: metrics.aggregate_optimality_gap(scores, TARGET),
}


def draw(rng):
    """Rows are seeds, columns scenarios, as rliable wants them; one decimal in half of the scenarios, for ties."""
    level = rng.normal(0.7, 0.25, SCENARIOS)
    spread = rng.uniform(0.05, 0.4, SCENARIOS)
    policies = {}
    for name, better in [("a", 0.0), ("b", 0.05), ("c", -0.1)]:
        scores = level + better + spread * rng.gumbel(0.0, 1.0, (SEEDS, SCENARIOS))
        scores[:, ::2] = np.round(scores[:, ::2], 1)
        policies[name] = scores
    # In one scenario two policies did the very same.
    policies["b"][:, 5] = policies["a"][:, 5]
    return policies


def interval(scores, aggregate, resamples=RESAMPLES):
    points, intervals = library.get_interval_estimates(
        {"it": scores}, lambda *drawn: np.array([aggregate(*drawn)]), reps=resamples
    )
    return [float(points["it"][0]), float(intervals["it"][0, 0]), float(intervals["it"][1, 0])]


def main(path):
    rng = np.random.default_rng(20211202)
    # rliable draws its resamples from numpy's global state.
    np.random.seed(1)
    policies = draw(rng)
    profiles, bands = library.create_performance_profile(policies, np.array(THRESHOLDS), reps=RESAMPLES_OF_SLOW)
    pairs = [("a", "b"), ("b", "a"), ("a", "c"), ("b", "c")]
    answers = {
        "versions": {name: version(name) for name in ["rliable", "arch", "numpy", "scipy"]},
        "target": TARGET,
        "thresholds": THRESHOLDS,
        # A list a scenario, of a score a seed.
        "scores": {name: scores.T.tolist() for name, scores in policies.items()},
        # Point, low, high.
        "aggregates": {
            of: {name: interval(scores, aggregate) for name, scores in policies.items()}
            for of, aggregate in AGGREGATES.items()
        },
        "improvement": [
            {
                "x": x,
                "y": y,
                "estimate": interval(
                    [policies[x], policies[y]], metrics.probability_of_improvement, RESAMPLES_OF_SLOW
                ),
            }
            for x, y in pairs
        ],
        "profiles": {name: np.stack([profiles[name], *bands[name]], axis=1).tolist() for name in policies},
    }
    with open(path, "w") as file:
        json.dump(answers, file, separators=(",", ":"))
        file.write("\n")


main(sys.argv[1])
