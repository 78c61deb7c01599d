//! `docs/metrics.md`, made from the table of metrics so that it cannot say anything else.

use super::{BUDGET, BUSY, Direction, FLAP_WINDOW, STEP, metrics};
use std::fmt::Write;

fn page() -> String {
    let mut page = format!(
        "# Metrics

Made from the table in `autoscale-eval/src/metric/`; do not edit.
`UPDATE_DOCS=1 cargo test -p autoscale-eval catalogue` writes it anew.

A metric reads a finished `EpisodeRecord` and never the reward. It has no value where it has no meaning: a response
time without an answered request, a share of requests without any, a reaction time without a load step. Means over
time are means over control intervals, which are equally long. How much better than the clairvoyant bound a policy
could be is not in a record; comparisons with the bound say it. Nor are prices: `return` is a comparison's.

Constants:

* What the load **needs** are pods busy for {busy} % of their capacity (`BUSY`), fractions included, and at least the
  workload's minimum. The **demand** is that, rounded up to whole pods.
* A **load step** is a rise of the load to {STEP} times the mean of the four control intervals before (`STEP`).
* The **error budget** is {budget} % of requests (`BUDGET`): the objective is {objective} % within the SLO.
* The **flap window** is {flap} minutes (`FLAP_WINDOW`).

| family | name | unit | better | definition | source |
|---|---|---|---|---|---|
",
        busy = BUSY * 100.0,
        budget = BUDGET * 100.0,
        objective = 100.0 - BUDGET * 100.0,
        flap = FLAP_WINDOW.as_secs() / 60,
    );
    for m in metrics() {
        let better = match m.better() {
            Direction::Lower => "lower",
            Direction::Higher => "higher",
        };
        let (family, name, unit, definition, source) =
            (m.family(), m.name(), m.unit(), m.definition(), m.source());
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
