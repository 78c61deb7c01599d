#!/usr/bin/env bash
# Tunes the rules on each family of loads and each kind of start-up, and compares all rules on test episodes. A cell
# that is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
autoscale=${AUTOSCALE:-target/release/autoscale}
[ -x "$autoscale" ] || cargo build --release
work=${WORK:-target/rivals}
results=experiments/rivals/results
mkdir -p "$work" "$results"
for preset in jvm fast; do
    for family in flash-crowd constant diurnal step ramp bursty batches; do
        cell=$family-$preset
        [ -e "$results/$cell.txt" ] && continue
        {
            echo "preset = \"$preset\""
            "$autoscale" scenario show "$family" | sed "s/^name = .*/name = \"$cell\"/"
            printf '\n[episode]\nevaluation_s = 3600\n'
        } > "$work/$cell.toml"
        policies=hpa,predictive,square-root,lcp,cron,keda,kpa,phpa
        for rule in hpa predictive square-root lcp cron; do
            out=$work/$cell-$rule
            # An HPA that a plain grid beats is searched for longer.
            for budget in 1000 3000 9000; do
                if "$autoscale" tune --policy $rule --scenario "$work/$cell.toml" --budget $budget \
                    --validation-seeds 10 --out "$out" --force --quiet; then
                    file=$(ls "$out"/tuned.*)
                    cp "$file" "$results/$cell-$rule.${file##*.}"
                    policies=$policies,$rule:$results/$cell-$rule.${file##*.}
                    break
                fi
            done
        done
        "$autoscale" evaluate --policies "$policies" --scenario "$work/$cell.toml" --seeds 20 --optimum 12 \
            > "$work/$cell.txt"
        mv "$work/$cell.txt" "$results/$cell.txt"
    done
done
