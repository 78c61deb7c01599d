#!/bin/sh
# Trains on three of every four days of a real trace and compares on the fourth; leaves results/seed-SEED.csv.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p experiments/world-cup/results
trace=../shared/traces/wc98_early.csv
test -f "$trace" || { echo "$trace: not there; this experiment needs the World Cup 98 trace"; exit 1; }
for seed in 11 12 13; do
    cargo run -- train --algo ppo --episodes 200 --seed "$seed" --trace "$trace" --target-mean-rps 200 \
        --test-every-days 4 --out "runs/world-cup-$seed" --force
    cp "runs/world-cup-$seed/comparison.csv" "experiments/world-cup/results/seed-$seed.csv"
done
