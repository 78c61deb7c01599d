"""Writes test vectors for `autoscale_sim::prometheus`: generated series, and what promtool answers for them.

    python3 generate.py --promtool PATH > ../../autoscale-sim/tests/prometheus/vectors.json

Every query is given to `promtool test rules` with an expectation that cannot hold, and the answer is read from its
report. A second run with these answers as expectations, compared exactly, must then succeed.
"""

import argparse
import json
import math
import pathlib
import random
import re
import subprocess
import tempfile

STEP_MS = 100  # evaluation times are multiples of it
DEFAULT_BUCKETS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
FUNCTIONS = {
    "instant": "{m}",
    "rate": "rate({m}[{r}ms])",
    "increase": "increase({m}[{r}ms])",
    "irate": "irate({m}[{r}ms])",
    "quantile": "histogram_quantile({q}, sum by (le) ({m}))",
    "quantile_of_rate": "histogram_quantile({q}, sum by (le) (rate({m}[{r}ms])))",
}


class Cases:
    def __init__(self):
        self.cases = []

    def add(self, family, series, queries, grid_ms=STEP_MS):
        """`series`: list of (labels, [(ms, value or "stale")]); `queries`: list of dicts."""
        for query in queries:
            assert query["at_ms"] % STEP_MS == 0
        self.cases.append({
            "name": f"{family}-{len(self.cases):03}",
            "grid_ms": grid_ms,
            "series": [{"labels": labels, "samples": samples} for labels, samples in series],
            "queries": queries,
        })


def scrape_times(rng, interval, length, jitter=0, loss=0.0, grid=STEP_MS):
    jitter -= jitter % grid
    phase = rng.randrange(0, interval, grid)
    times = []
    for t in range(phase, length, interval):
        if jitter:
            t += rng.randrange(-jitter, jitter + 1, grid)
        if t >= 0 and rng.random() >= loss and (not times or t > times[-1]):
            times.append(t)
    return times


def counter(rng, times, start=0, most=40, resets=0.0):
    value, samples = start, []
    for t in times:
        samples.append([t, value])
        value = rng.randrange(0, 5) if rng.random() < resets else value + rng.randrange(0, most + 1)
    return samples


def counter_queries(rng, times, length, windows, count=4):
    """At a scrape, with a scrape on the left border, and at any time."""
    queries = []
    for k in range(count):
        window = rng.choice(windows)
        if k == 0 and times:
            at = rng.choice(times)
        elif k == 1 and times:
            at = rng.choice(times) + window
        else:
            at = rng.randrange(window // 2, length)
        at = max(0, at) // STEP_MS * STEP_MS
        for function in ("rate", "increase", "irate"):
            queries.append({"function": function, "range_ms": window, "at_ms": at})
        queries.append({"function": "instant", "at_ms": at})
    return queries


def counters(cases, rng):
    def add(family, samples, length, windows, grid=STEP_MS, count=4):
        times = [t for t, _ in samples]
        cases.add(family, [({}, samples)], counter_queries(rng, times, length, windows, count), grid)

    for interval in (5_000, 10_000, 15_000, 30_000, 7_500, 15_000):
        times = scrape_times(rng, interval, 300_000)
        add("regular", counter(rng, times, rng.randrange(1000, 9000)), 300_000, [60_000, 90_000, 61_700])
    for interval in (5_000, 10_000, 15_000, 15_000, 15_000, 30_000, 30_000, 10_000):
        times = scrape_times(rng, interval, 400_000, jitter=interval // 4)
        add("jittered", counter(rng, times, rng.randrange(0, 9000)), 400_000, [60_000, 120_000, 47_300])
    for interval in (5_000, 10_000, 15_000, 15_000, 15_000, 30_000, 15_000, 10_000):
        times = scrape_times(rng, interval, 500_000, jitter=1_000, loss=0.4)
        add("gaps", counter(rng, times, rng.randrange(0, 9000)), 500_000, [60_000, 120_000, 240_000])
    for interval in (5_000, 10_000, 15_000, 15_000, 15_000, 30_000, 15_000, 10_000):
        times = scrape_times(rng, interval, 400_000, jitter=800, loss=0.1)
        add("resets", counter(rng, times, rng.randrange(0, 900), resets=0.25), 400_000, [60_000, 120_000, 200_000])
    for interval in (5_000, 10_000, 15_000, 15_000, 15_000, 30_000, 15_000, 10_000):
        times = scrape_times(rng, interval, 400_000, jitter=800)
        samples = counter(rng, times, rng.randrange(0, 900), resets=0.05)
        for sample in samples:
            if rng.random() < 0.25:
                sample[1] = "stale"
        add("stale", samples, 400_000, [60_000, 120_000, 200_000])
    for keep in (1, 1, 2, 2, 3, 3):
        times = sorted(rng.sample(range(0, 120_000, STEP_MS), keep))
        add("few", counter(rng, times, rng.randrange(0, 50)), 180_000, [30_000, 60_000, 120_000])
    for start in (0, 0, 0, 1, 2, 5):
        begin = rng.randrange(60_000, 120_000, STEP_MS)
        times = [t + begin for t in scrape_times(rng, 15_000, 200_000, jitter=1_000)]
        length = begin + 150_000
        times = [t for t in times if t < length]
        samples = counter(rng, times, start, most=20)
        queries = counter_queries(rng, times[:3], length, [60_000, 120_000, 180_000])
        cases.add("zero-start", [({}, samples)], queries)
    for start, most in ((2**53 - 40_000, 500), (10**15, 1000), (4 * 10**12, 3), (10**9, 10**6)):
        times = scrape_times(rng, 15_000, 300_000, jitter=2_000)
        add("large", counter(rng, times, start, most, resets=0.03), 300_000, [60_000, 120_000])
    for _ in range(3):
        times = scrape_times(rng, 10_000, 300_000, jitter=2_000)
        samples = [[t, round(rng.uniform(-20, 60) + t / 5000, 3)] for t in times]
        add("not-a-counter", samples, 300_000, [60_000, 120_000])
    for interval in (15_000, 10_000, 5_000):
        times = scrape_times(rng, interval, 150_000, jitter=37, loss=0.1, grid=1)
        add("milliseconds", counter(rng, times, 100), 150_000, [60_000, 60_017], grid=1)
    for _ in range(2):
        times = scrape_times(rng, 15_000, 300_000)
        samples = counter(rng, times, 100)
        samples[rng.randrange(2, len(samples) - 2)][1] = "NaN"
        add("nan", samples, 300_000, [60_000, 240_000])
    for _ in range(4):
        first = rng.randrange(0, 60_000, STEP_MS)
        samples = [[first, 7], [first + 100_000, 8], [first + 200_000, rng.choice(["stale", 9])]]
        ats = [first - STEP_MS, first, first + 100_000, first + 199_900, first + 200_000, first + 300_000,
               first + 499_900, first + 500_000, first + 500_100]
        cases.add("look-back", [({}, samples)], [{"function": "instant", "at_ms": t} for t in ats if t >= 0])
    for start in (-900, -300):
        times = scrape_times(rng, 15_000, 200_000, jitter=1_000)
        add("negative", counter(rng, times, start, most=90), 200_000, [60_000, 120_000])


def histogram(rng, times, bounds, pod, mean=0.2, resets=0.0):
    """Cumulative bucket series of one pod that observes exponential times between scrapes."""
    edges = [float(b.replace("+Inf", "inf")) for b in bounds]
    counts = [0] * len(bounds)
    series = [({"pod": pod, "le": b}, []) for b in bounds]
    for t in times:
        if rng.random() < resets:
            counts = [0] * len(bounds)
        for _ in range(rng.randrange(0, 30)):
            value = rng.expovariate(1 / mean)
            for k, edge in enumerate(edges):
                counts[k] += value <= edge
        for (_, samples), count in zip(series, counts):
            samples.append([t, count])
    return series


def quantile_queries(rng, function, ats, windows=(60_000,)):
    queries = []
    for at in ats:
        window = rng.choice(windows)
        for q in rng.sample(["0.5", "0.75", "0.9", "0.95", "0.99", "0", "1"], 4):
            queries.append({"function": function, "q": q, "at_ms": at, "range_ms": window})
    for q in ("-0.1", "1.1", "NaN"):
        queries.append({"function": function, "q": q, "at_ms": ats[0], "range_ms": 60_000})
    if function == "quantile":
        for query in queries:
            del query["range_ms"]
    return queries


def histograms(cases, rng):
    windows = (60_000, 90_000, 120_000)
    for pods, jitter, loss, resets in [
        (1, 0, 0, 0), (1, 1_000, 0, 0), (1, 1_000, 0.3, 0), (1, 1_000, 0.1, 0.3),
        (2, 0, 0, 0), (2, 1_000, 0, 0), (2, 1_000, 0.3, 0), (2, 1_000, 0.1, 0.3),
        (3, 500, 0, 0), (3, 500, 0.2, 0.1),
    ]:
        series = []
        for pod in range(pods):
            times = scrape_times(rng, 15_000, 200_000, jitter=jitter, loss=loss)
            series += histogram(rng, times, DEFAULT_BUCKETS, f"p{pod}", rng.choice([0.05, 0.2, 2, 8]), resets)
        ats = [rng.randrange(60_000, 200_000, STEP_MS) for _ in range(3)]
        cases.add("histogram", series, quantile_queries(rng, "quantile_of_rate", ats, windows))
    # Pods that come and go, the gone ones with staleness markers.
    for _ in range(4):
        old = histogram(rng, scrape_times(rng, 15_000, 100_000, jitter=700), DEFAULT_BUCKETS, "old", 0.05)
        for _, samples in old:
            samples.append([115_000, "stale"])
        begin = rng.randrange(80_000, 110_000, STEP_MS)
        times = [t + begin for t in scrape_times(rng, 15_000, 100_000, jitter=700)]
        series = old + histogram(rng, times, DEFAULT_BUCKETS, "new", 1.0)
        ats = [90_000, 114_900, 130_000, rng.randrange(100_000, 200_000, STEP_MS)]
        cases.add("rollout", series, quantile_queries(rng, "quantile_of_rate", ats, windows))
    # Few observations: buckets without any, rank on a border.
    for _ in range(3):
        times = scrape_times(rng, 15_000, 120_000)
        series = histogram(rng, times[:1], ["1", "2", "4", "8", "+Inf"], "p0", 2)
        for _, samples in series:
            base = samples[0][1]
            samples += [[t, base] for t in times[1:]]
        steps = sorted(rng.sample(range(1, len(times)), 2))
        for k, (_, samples) in enumerate(series):
            for i, step in enumerate(steps):
                for sample in samples[step:]:
                    sample[1] += 2 * (k >= 1 + 2 * i)
        cases.add("sparse", series, quantile_queries(rng, "quantile_of_rate", [60_000, 110_000], windows))

    # Counts as they are, without a rate.
    def raw(family, buckets, pods=1, ats=(60_000,)):
        series = [({"pod": f"p{p}", "le": le}, [[0, count]]) for p in range(pods) for le, count in buckets]
        qs = ["0", "0.1", "0.25", "0.5", "0.8", "0.95", "1", "-1", "2", "NaN"]
        cases.add(family, series, [{"function": "quantile", "q": q, "at_ms": at} for at in ats for q in qs])

    raw("negative-bounds", [("-10", 3), ("-5", 9), ("0", 20), ("5", 31), ("+Inf", 40)])
    raw("negative-bounds", [("-1", 0), ("1", 8), ("+Inf", 8)])
    raw("zero-bound", [("0", 5), ("1", 10), ("2", 12), ("+Inf", 13)], pods=2)
    raw("zero-bound", [("0", 0), ("1", 10), ("+Inf", 10)])
    raw("not-monotone", [("1", 10), ("2", 8), ("4", 20), ("8", 19), ("+Inf", 30)])
    raw("not-monotone", [("1", 10), ("2", 30), ("4", 5), ("+Inf", 20)])
    raw("not-monotone", [("0.1", 100), ("0.2", 90.5), ("0.4", 99.25), ("0.8", 150.125), ("+Inf", 140)], pods=3)
    # Relative steps around the tolerance of 1e-12 over the sum of both counts.
    for step in (1, 2, 4):
        base = 10**12
        raw("tolerance", [("1", base), ("2", base + step), ("4", base + 2 * step), ("+Inf", base + 3 * step)])
        raw("tolerance", [("1", base), ("2", base - step), ("4", base + step), ("+Inf", base)])
    raw("tolerance", [("1", 0), ("2", 1e-310), ("4", 1e-300), ("+Inf", 2e-300)])
    raw("no-inf", [("1", 5), ("2", 9)])
    raw("only-inf", [("+Inf", 9)])
    raw("empty", [("1", 0), ("2", 0), ("+Inf", 0)])
    raw("absent", [("1", 1), ("+Inf", 2)], ats=(299_900, 300_000))
    raw("same-bound", [("1", 4), ("1.0", 5), ("2", 12), ("2.00", 3), ("+Inf", 20)])
    raw("unsorted", [("+Inf", 20), ("2", 12), ("0.5", 3), ("1", 4)])
    raw("empty-buckets", [("1", 0), ("2", 0), ("4", 6), ("8", 6), ("16", 6), ("+Inf", 12)])


def notation(samples, grid):
    """promtool's notation: a value a step, `_` for none."""
    out, position = [], 0
    for t, value in samples:
        assert t % grid == 0, t
        index = t // grid
        assert index >= position
        if index > position:
            out.append(f"_x{index - position}" if index - position > 1 else "_")
        out.append(str(value))
        position = index + 1
    # `_xN` stands for N absent steps, and `_` for one.
    return " ".join(out)


def quoted(text):
    return json.dumps(text)


def expression(case, query):
    metric = case["name"].replace("-", "_")
    return FUNCTIONS[query["function"]].format(m=metric, r=query.get("range_ms"), q=query.get("q"))


def test_file(cases, expected):
    """The YAML of all cases; `expected` gives the lines for one query, or None to leave it out."""
    lines = ["evaluation_interval: 100ms", "tests:"]
    for case in cases:
        metric = case["name"].replace("-", "_")
        lines += [f"- name: {case['name']}", f"  interval: {case['grid_ms']}ms", "  input_series:"]
        for series in case["series"]:
            labels = ",".join(f'{k}="{v}"' for k, v in series["labels"].items())
            lines.append(f"  - series: {quoted(metric + '{' + labels + '}')}")
            lines.append(f"    values: {quoted(notation(series['samples'], case['grid_ms']))}")
        lines.append("  promql_expr_test:")
        for query in case["queries"]:
            samples = expected(case, query)
            if samples is not None:
                lines.append(f"  - expr: {quoted(expression(case, query))}")
                lines.append(f"    eval_time: {query['at_ms']}ms")
                lines.append(f"    exp_samples: {samples}")
    return "\n".join(lines) + "\n"


def run(promtool, text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "test.yml")
        path.write_text(text)
        done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def answer(text):
    if text == "nil":
        return None
    labels, value = re.fullmatch(r"(\{[^{}]*\}) (\S+)", text).groups()
    assert "," not in value, text
    if value in ("NaN", "+Inf", "-Inf"):
        return value
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def confirm(case, query):
    value = query["expect"]
    if value is None:
        return "[]"
    if value == "NaN":
        return None  # equal to nothing, not even to itself
    labels = case["name"].replace("-", "_") if query["function"] == "instant" else "{}"
    value = {"+Inf": ".inf", "-Inf": "-.inf"}.get(value, repr(value))
    return f"[{{labels: {quoted(labels)}, value: {value}}}]"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--promtool", default="promtool")
    promtool = parser.parse_args().promtool
    about = subprocess.run([promtool, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"version (\d\S*)", about.stdout + about.stderr)
    cases = Cases()
    counters(cases, random.Random(1))
    histograms(cases, random.Random(2))
    cases = cases.cases

    impossible = '[{labels: \'{no="such"}\', value: 0}]'
    _, report = run(promtool, test_file(cases, lambda *_: impossible))
    found = re.findall(r'expr: (".*"), time: .*,\s*\n\s*exp: .*\n\s*got: (.*)', report)
    queries = [(case, query) for case in cases for query in case["queries"]]
    assert len(found) == len(queries), (len(found), len(queries), report[:2000])
    for (case, query), (expr, got) in zip(queries, found):
        assert json.loads(expr) == expression(case, query), (expr, expression(case, query))
        query["expect"] = answer(got.strip())
    code, report = run(promtool, test_file(cases, confirm))
    assert code == 0, report[:2000]

    print('{"promtool": ' + quoted(version.group(1) if version else "unknown") + ', "cases": [')
    print(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases))
    print("]}")


if __name__ == "__main__":
    main()
