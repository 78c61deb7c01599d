//! `docs/metrics.md`, made from the table of figures so that it cannot say anything else.

use super::{BUDGET, BUSY, Direction, FLAP_WINDOW, STEP};
use crate::figure::{Figure, figures};
use std::fmt::Write;

fn page() -> String {
    let mut page = format!(
        "# Metrics

Made from the tables in `autoscale-eval/src/metric/` and `autoscale-eval/src/figure.rs`; do not edit.
`UPDATE_DOCS=1 cargo test -p autoscale-eval catalogue` writes it anew.

A metric reads a finished `EpisodeRecord` and never the reward. It has no value where it has no meaning: a response
time without an answered request, a share of requests without any, a reaction time without a load step. Means over
time are means over control intervals, which are equally long. Prices are not in a record, nor is the bound that `regret`
is counted from: the last four figures are a comparison's. Verdicts of `autoscale compare` are about `cost`.

Constants:

* What the load **needs** are pods busy for {busy} % of their capacity (`BUSY`), fractions included, and at least the
  workload's minimum. The **demand** is that, rounded up to whole pods.
* A **load step** is a rise of the load to {STEP} times the mean of the four control intervals before (`STEP`).
* The **error budget** is {budget} % of requests (`BUDGET`): the objective is {objective} % within the SLO.
* The **flap window** is {flap} minutes (`FLAP_WINDOW`).
* **Areas**: `undershoot_area` is of load steps alone. Over a whole episode the areas in pod-min/h are 60 times `overshoot` and
  60 times `undershoot`. An overshoot has no area of a step's own: a step says when a shortage begins, but nothing when an
  excess should end. A step that is not caught up with, and an incident that is not over, last until the episode's end.

| family | name | unit | better | definition | source |
|---|---|---|---|---|---|
",
        busy = BUSY * 100.0,
        budget = BUDGET * 100.0,
        objective = 100.0 - BUDGET * 100.0,
        flap = FLAP_WINDOW.as_secs() / 60,
    );
    for figure in figures() {
        let better = match figure.better {
            Direction::Lower => "lower",
            Direction::Higher => "higher",
        };
        let Figure { family, name, unit, definition, source, .. } = figure;
        writeln!(page, "| {family} | `{name}` | {unit} | {better} | {definition} | {source} |").unwrap();
    }
    page
}

#[test]
fn the_page_of_metrics_says_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        page(),
        "docs/metrics.md is out of date: UPDATE_DOCS=1 cargo test -p autoscale-eval catalogue"
    );
}
