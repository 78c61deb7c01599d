#!/bin/sh
# Trains and compares on the default world; leaves results/seed-SEED.csv. The runs themselves go to runs/.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p experiments/default-world/results
for seed in 11 12 13; do
    cargo run -- train --algo ppo --episodes 200 --seed "$seed" --out "runs/default-world-$seed" --force
    cp "runs/default-world-$seed/comparison.csv" "experiments/default-world/results/seed-$seed.csv"
    cargo run -- train --algo ppo --episodes 200 --seed "$seed" --action-space delta \
        --out "runs/default-world-delta-$seed" --force
    cp "runs/default-world-delta-$seed/comparison.csv" "experiments/default-world/results/delta-seed-$seed.csv"
done
