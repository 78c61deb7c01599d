"""The cases of cases.json in Ciw: one line per case, bin and figure, over independent replications.

python ciw_side.py > ciw.csv
"""

import json
import math
import random
from pathlib import Path
from statistics import fmean, stdev

import ciw

SETTINGS = json.loads((Path(__file__).parent / "cases.json").read_text())
STEP, BIN = SETTINGS["step_s"], SETTINGS["bin_s"]


def demand(case):
    mean = case["demand"]["mean_ms"] / 1000
    if case["demand"]["distribution"] == "exponential":
        return ciw.dists.Exponential(1 / mean)
    variance = math.log(1 + case["demand"]["cv"] ** 2)
    return ciw.dists.Lognormal(math.log(mean) - variance / 2, math.sqrt(variance))


def arrivals(case):
    rates = case["rates"]
    ends = [STEP * (k + 1) for k in range(len(rates))]
    return ciw.dists.PoissonIntervals(rates=rates, endpoints=ends, max_sample_date=ends[-1])


def pods(case):
    """When each pod is open: the newest close first, a new one opens a second after it was asked for."""
    everyone, open_ones = [], []
    for k, replicas in enumerate(case["replicas"]):
        now = k * STEP
        while len(open_ones) > replicas:
            open_ones.pop()[1] = now
        while len(open_ones) < replicas:
            pod = [now + (1 if k else 0), math.inf]
            open_ones.append(pod)
            everyone.append(pod)
    return everyone


class ToAnOpenPod(ciw.routing.NodeRouting):
    """Each request goes to one of the pods open at this time, all as likely."""

    def __init__(self, everyone):
        self.everyone = everyone

    def next_node(self, ind):
        now = self.simulation.current_time
        choice = [k for k, (begin, end) in enumerate(self.everyone) if begin <= now < end]
        return self.simulation.nodes[2 + random.choice(choice)]


def network(case):
    if "replicas" not in case:
        options = {}
        if "queue_capacity" in case:
            options["queue_capacities"] = [case["queue_capacity"]]
            patience = ciw.dists.Deterministic(case["timeout_ms"] / 1000)
            options["reneging_time_distributions"] = [patience]
        return ciw.create_network(
            arrival_distributions=[arrivals(case)],
            service_distributions=[demand(case)],
            number_of_servers=[case["workers"]],
            **options,
        )
    everyone = pods(case)
    n = len(everyone)
    return ciw.create_network(
        arrival_distributions=[arrivals(case)] + [None] * n,
        service_distributions=[ciw.dists.Deterministic(0)] + [demand(case) for _ in range(n)],
        number_of_servers=[math.inf] + [case["workers"]] * n,
        routing=ciw.routing.NetworkRouting(routers=[ToAnOpenPod(everyone)] + [ciw.routing.Leave()] * n),
    )


def figures(case, seed):
    """Per bin of arrival: mean and 95th percentile of answered responses, shares refused and timed out."""
    ciw.seed(seed)
    simulation = ciw.Simulation(network(case))
    length = STEP * len(case["rates"])
    simulation.simulate_until_max_time(length + 60)
    last = 1 if "replicas" not in case else 2
    timeout = case.get("timeout_ms", math.inf) / 1000
    bins = [{"answered": [], "refused": 0, "timed out": 0} for _ in range(length // BIN)]
    for record in simulation.get_all_records():
        if record.node < last or record.arrival_date >= length:
            continue
        into = bins[int(record.arrival_date // BIN)]
        if record.record_type == "rejection":
            into["refused"] += 1
        elif record.record_type == "renege" or record.exit_date - record.arrival_date > timeout:
            into["timed out"] += 1
        else:
            into["answered"].append(record.exit_date - record.arrival_date)
    for number, bin in enumerate(bins):
        answered = sorted(bin["answered"])
        arrived = len(answered) + bin["refused"] + bin["timed out"]
        yield number, "mean response [s]", fmean(answered)
        yield number, "p95 response [s]", answered[math.ceil(0.95 * len(answered)) - 1]
        if "queue_capacity" in case:
            yield number, "refused [1]", bin["refused"] / arrived
            yield number, "timed out [1]", bin["timed out"] / arrived


def main():
    print("case,bin,figure,mean,standard_error")
    for case in SETTINGS["cases"]:
        found = {}
        for seed in range(1, SETTINGS["replications"] + 1):
            for number, figure, value in figures(case, seed):
                found.setdefault((number, figure), []).append(value)
        for (number, figure), values in found.items():
            error = stdev(values) / math.sqrt(len(values))
            print(f"{case['name']},{number},{figure},{fmean(values):.9g},{error:.6g}")


main()
