#!/bin/sh
# Runs the sweeps of this folder; leaves results/NAME.csv. Runs go to runs/ablations, and what is there is not done again.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p experiments/ablations/results
for name in ppo ppo-space ppo-base ppo-reward ppo-critic dqn; do
    cargo run --release -- sweep "experiments/ablations/$name.toml" --out "runs/ablations/$name" --quiet
    cp "runs/ablations/$name/trials.csv" "experiments/ablations/results/$name.csv"
done
python3 experiments/ablations/table.py
