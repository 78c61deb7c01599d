#!/bin/sh
# Trains and compares on the default world; leaves seed-SEED.csv here. The runs themselves go to runs/.
set -eu
cd "$(dirname "$0")/../.."
for seed in 11 12 13; do
    cargo run -- train --algo ppo --episodes 200 --seed "$seed" --out "runs/default-world-$seed" --force
    cp "runs/default-world-$seed/comparison.csv" "experiments/default-world/seed-$seed.csv"
    cargo run -- train --algo ppo --episodes 200 --seed "$seed" --action-space delta \
        --out "runs/default-world-delta-$seed" --force
    cp "runs/default-world-delta-$seed/comparison.csv" "experiments/default-world/delta-seed-$seed.csv"
done
