#!/usr/bin/env bash
# Three measurements of one controller with ten thousand targets, a line of JSON each: seven minutes a line, on a machine that
# does nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release -p autoscale-live --example ten_thousand
for _ in 1 2 3; do
    "${CARGO_TARGET_DIR:-target}/release/examples/ten_thousand" 10000 20
done
