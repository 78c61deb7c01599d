#!/usr/bin/env bash
# 10^8 fuzzed steps of the controller, half on each of two cores: some ten minutes. Fails when one step breaks a rule.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo test --release -p autoscale-live --test faults --no-run
half() {
    PROPTEST_CASES=${CASES:-50000} PROPTEST_RNG_SEED=$1 cargo test --release -q -p autoscale-live --test faults
}
half 1 &
first=$!
half 2
wait "$first"
