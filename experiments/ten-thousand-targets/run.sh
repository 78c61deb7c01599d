#!/usr/bin/env bash
# Measures one controller with ten thousand targets, a line of JSON a run: twice with autoscalers from a file, twice with custom
# resources. Seven minutes a run, on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release -p autoscale-live --example ten_thousand
for origin in file file cluster cluster; do
    "${CARGO_TARGET_DIR:-target}/release/examples/ten_thousand" 10000 20 "$origin"
done
