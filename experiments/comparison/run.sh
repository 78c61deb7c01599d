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
compare() {
    "$autoscale" compare --scenarios $scenarios --policies \
        "hpa,tuned=hpa:$here/tuned/{scenario}.yaml,ppo=model:$work/ppo-{scenario},predictive,square-root,cron,keda,kpa" "$@"
}
# Episodes as long as those that were tuned and trained on, and three times as long.
compare --hours 1 --out "$work/hour"
compare --hours 3 --out "$work/longer"
# The pages for a browser are made of the same parts, and too large to keep.
mkdir -p "$here/results/longer"
cp "$work"/hour/{report.md,differences.csv,*.png} "$here/results/"
cp "$work/longer/differences.csv" "$here/results/longer/"
