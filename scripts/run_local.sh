#!/bin/sh
# Builds and runs the main job; further flags are handed on: scripts/run_local.sh --seed 7
cd "$(dirname "$0")/.." && exec cargo run -- train --algo ppo --episodes 200 "$@"
