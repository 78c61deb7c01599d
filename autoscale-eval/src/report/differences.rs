//! `differences.csv`: what the tables of a report are made of.

use crate::analysis::{Analysis, Cell};
use crate::figure::{Figure, figures};
use crate::metric::Direction;
use std::io::Write;

const HEAD: [&str; 15] = [
    "scenario",
    "policy",
    "baseline",
    "metric",
    "unit",
    "better",
    "baseline_mean",
    "mean",
    "difference",
    "low",
    "high",
    "n",
    "p",
    "p_holm",
    "verdict",
];

/// Writes a row for every figure of every policy but the baseline in every scenario, in order. Means are taken over the
/// `n` episodes in which both have a value; where there is none, `n` is 0, numbers are missing and the verdict is `empty`.
/// The clairvoyant has neither p-values nor a verdict.
///
/// # Errors
/// When the writer does not take it.
pub fn write_csv(analysis: &Analysis, writer: impl Write) -> Result<(), csv::Error> {
    let mut csv = csv::Writer::from_writer(writer);
    csv.write_record(HEAD)?;
    let baseline = analysis.baseline_name();
    for scenario in &analysis.scenarios {
        let others = scenario.policies.iter().enumerate().filter(|(p, _)| *p != analysis.baseline);
        for (_, policy) in others {
            for (figure, cell) in figures().iter().zip(&policy.figures) {
                let whose = [&scenario.scenario.name, &policy.policy, baseline].map(str::to_owned);
                csv.write_record(whose.into_iter().chain(values(figure, cell)))?;
            }
        }
    }
    csv.flush().map_err(csv::Error::from)
}

fn values(figure: &Figure, cell: &Cell) -> Vec<String> {
    let better = match figure.better {
        Direction::Lower => "lower",
        Direction::Higher => "higher",
    };
    let mut values = [figure.name, figure.unit, better].map(str::to_owned).to_vec();
    let Some(against) = &cell.against else {
        values.extend(["", "", "", "", "", "0", "", "", "empty"].map(str::to_owned));
        return values;
    };
    let e = &against.difference;
    values
        .extend([against.baseline_mean, against.mean, e.point, e.low, e.high].map(|value| value.to_string()));
    values.push(e.n.to_string());
    values.extend(match against.test {
        Some(test) => [test.p.to_string(), test.p_holm.to_string(), test.verdict.to_string()],
        None => [String::new(), String::new(), String::new()],
    });
    values
}
