#!/bin/sh
# Trains each algorithm on three seeds; leaves results/trials.csv. Runs go to runs/learners.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p experiments/learners/results
cargo run --release -- sweep experiments/learners/sweep.toml --out runs/learners --quiet
cp runs/learners/trials.csv experiments/learners/results/trials.csv
