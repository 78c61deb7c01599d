#!/usr/bin/env bash
# Tunes the HPA and trains a policy for each scenario, compares them with what else there is, and keeps the report. What
# is there already in $WORK is not done again.
set -euo pipefail
cd "$(dirname "$0")/../.."
autoscale=${AUTOSCALE:-target/release/autoscale}
[ -x "$autoscale" ] || cargo build --release
work=${WORK:-target/comparison}
here=experiments/comparison
scenarios=match-day,diurnal,bursty,flash-crowd,step,constant
mkdir -p "$work" "$here/tuned"
for scenario in ${scenarios//,/ }; do
    if [ ! -e "$here/tuned/$scenario.yaml" ]; then
        # An HPA that a plain grid beats is searched for longer.
        for budget in 3000 9000 27000; do
            if "$autoscale" tune --policy hpa --scenario "$scenario" --budget $budget \
                --out "$work/tune-$scenario" --force --quiet; then
                cp "$work/tune-$scenario/tuned.yaml" "$here/tuned/$scenario.yaml"
                break
            fi
        done
    fi
    if [ ! -e "$work/ppo-$scenario/comparison.csv" ]; then
        "$autoscale" train --algo ppo --scenario "$scenario" --engine fluid --episodes 400 \
            --out "$work/ppo-$scenario" --force --quiet
    fi
done
for scenario in ${scenarios//,/ }; do
    python3 "$here/rivals.py" "$work/ppo-$scenario" "$scenario" "$here/tuned"
done
# Episodes as long as those that were tuned and trained on, and three times as long.
for part in hour:1 three-hours:3; do
    out="$work/${part%:*}"
    kept="$here/results/${part%:*}"
    mkdir -p "$kept"
    # Nothing is run anew for the second baseline.
    for baseline in tuned hpa; do
        "$autoscale" compare --scenarios $scenarios --hours "${part#*:}" --baseline $baseline --out "$out" --quiet --policies \
            "hpa,tuned=hpa:$here/tuned/{scenario}.yaml,base=hpa:$here/tuned/base/{scenario}.yaml,constant=hpa:$here/tuned/constant/{scenario}.yaml,ppo=model:$work/ppo-{scenario},predictive,square-root,cron,keda,kpa"
        cp "$out/differences.csv" "$kept/against-$baseline.csv"
        # Plots are kept of one report only, and pages for a browser, which are large, of none.
        grep -v '^!' "$out/report.md" >"$kept/against-$baseline.md"
    done
    gzip -9nc "$out/results.csv" >"$kept/episodes.csv.gz"
done
cp "$work/hour/report.md" "$here/results/hour/against-hpa.md"
cp "$work"/hour/*.png "$here/results/hour/"
