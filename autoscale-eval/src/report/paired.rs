//! Two or a few policies in one scenario, as text and as tidy CSV.

use crate::compare::{Row, compare};
use crate::estimate::{Estimate, bootstrap_mean};
use crate::metric::{Family, metrics};
use crate::scores::Scores;
use crate::suite::PolicyEpisodes;
use autoscale_core::seed::Seed;

/// A table for people: a line a metric, families apart.
pub fn text_table(baseline: &str, candidate: &str, rows: &[Row]) -> String {
    let width = [baseline, candidate].map(|name| name.chars().count().max(10));
    let line = |[family, metric, baseline, candidate, difference, verdict]: [&str; 6]| {
        format!(
            "{family:<15} {metric:<30} {baseline:>0$} {candidate:>1$}   {difference:<30} {verdict}\n",
            width[0], width[1],
        )
    };
    let head = line(["family", "metric", baseline, candidate, "difference [95 % interval]", "verdict"]);
    let rule = "-".repeat(head.chars().count() + 6);
    let mut text = format!("{head}{rule}\n");
    let mut family: Option<Family> = None;
    for row in rows {
        let named = if family == Some(row.family) { String::new() } else { row.family.to_string() };
        family = Some(row.family);
        text += &line([
            &named,
            &format!("{} [{}]", row.metric, row.unit),
            &short(row.baseline.point),
            &short(row.candidate.point),
            &interval(&row.difference),
            &row.verdict.to_string(),
        ]);
    }
    text
}

fn interval(e: &Estimate) -> String {
    format!("{} [{}, {}]", signed(e.point), signed(e.low), signed(e.high))
}

/// Four significant digits or so, without an exponent.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 1000.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", short(value)) } else { short(value) }
}

/// A line a policy: pods, violations, and what both cost an hour, also against the first. Changes of the count are
/// not part of that cost. `bound` is what no policy can be below in each episode, per hour.
pub fn policy_table(policies: &[PolicyEpisodes<Scores>], bound: Option<&[f64]>) -> String {
    let width = policies.iter().map(|r| r.name.chars().count()).max().unwrap_or(0).max(12);
    let Some(first) = policies.first() else { return String::new() };
    let cost = |e: &Scores| e.per_hour(-(e.priced.pods + e.priced.violations));
    let estimate = |values: Vec<f64>| bootstrap_mean(&values, Seed::root(0).child("cost"));
    let range = |e: Option<Estimate>| {
        e.map_or("-".to_owned(), |e| format!("{} [{}, {}]", short(e.point), short(e.low), short(e.high)))
    };
    let baseline: Vec<f64> = first.episodes.iter().map(cost).collect();
    let line = |[name, pods, violations, cost, against]: [&str; 5]| {
        format!("{name:<width$} {pods:>8} {violations:>12}   {cost:<26} {against}").trim_end().to_owned()
            + "\n"
    };
    let against = format!("cost against {}", first.name);
    let head = line(["policy", "pods", "violations", "cost/h [95 % interval]", &against]);
    let rule = "-".repeat(width + 82);
    let mut text = format!("{head}{rule}\n");
    for policy in policies {
        let costs: Vec<f64> = policy.episodes.iter().map(cost).collect();
        let n = policy.episodes.len().max(1) as f64;
        let pods = policy.episodes.iter().map(|e| e.per_hour(e.totals.pod_hours)).sum::<f64>() / n;
        let (violated, arrived) =
            policy.episodes.iter().fold((0, 0), |(v, a), e| (v + e.totals.violations, a + e.totals.arrivals));
        let share = 100.0 * violated as f64 / (arrived.max(1)) as f64;
        let against = estimate(costs.iter().zip(&baseline).map(|(cost, base)| cost - base).collect())
            .filter(|_| policy.name != first.name)
            .map_or(String::new(), |e| interval(&e));
        let share = format!("{} %", short(share));
        text += &line([&policy.name, &short(pods), &share, &range(estimate(costs)), &against]);
    }
    if let Some(bound) = bound {
        text += &line(["(bound)", "", "", &range(estimate(bound.to_vec())), ""]);
    }
    text
}

/// All policies' means in tidy form, a row a policy and metric; then, as policy `A-minus-B`, the paired
/// differences of the last policy to each of the others.
///
/// # Errors
/// When the writer does not take it.
pub fn write_csv(policies: &[PolicyEpisodes<Scores>], writer: impl std::io::Write) -> Result<(), csv::Error> {
    let mut csv = csv::Writer::from_writer(writer);
    csv.write_record(["policy", "metric", "unit", "estimate", "low", "high"])?;
    let mut line = |policy: &str, metric: &str, unit: &str, e: &Estimate| {
        let [point, low, high] = [e.point, e.low, e.high].map(|v| v.to_string());
        csv.write_record([policy, metric, unit, &point, &low, &high])
    };
    for policy in policies {
        let measured = metrics().enumerate().map(|(k, m)| {
            let values = policy.episodes.iter().filter_map(|e| e.metrics[k]).collect();
            (m.name(), m.unit(), values)
        });
        let returns = policy.episodes.iter().map(Scores::return_per_hour).collect();
        for (metric, unit, values) in measured.chain([("return", "price/h", returns)]) {
            let values: Vec<f64> = values;
            if let Some(e) = bootstrap_mean(&values, Seed::root(0).child(metric)) {
                line(&policy.name, metric, unit, &e)?;
            }
        }
    }
    if let Some((candidate, baselines)) = policies.split_last() {
        for baseline in baselines {
            let name = format!("{}-minus-{}", candidate.name, baseline.name);
            for row in compare(baseline, candidate) {
                line(&name, row.metric, row.unit, &row.difference)?;
            }
        }
    }
    csv.flush().map_err(csv::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Direction;
    use crate::verdict::Verdict;

    #[test]
    fn columns_stand_under_their_heads_whatever_the_names() {
        let estimate = |point| Estimate { point, low: point - 1.0, high: point + 1.0, n: 30 };
        let row = Row {
            family: Family::Cost,
            metric: "mean_pods",
            unit: "pods",
            better: Direction::Lower,
            baseline: estimate(12.0),
            candidate: estimate(10.5),
            difference: estimate(-1.5),
            verdict: Verdict::Better,
        };
        let table = text_table("hpa", "a-policy-with-a-long-name", &[row]);
        let lines: Vec<&str> = table.lines().collect();
        let end = |line: &str, part: &str| line.find(part).map(|at| at + part.len());
        assert_eq!(end(lines[0], "hpa"), end(lines[2], "12.00"));
        assert_eq!(end(lines[0], "a-policy-with-a-long-name"), end(lines[2], "10.50"));
        assert_eq!(lines[0].find("difference"), lines[2].find("-1.50 [-2.50, -0.500]"));
        assert!(lines[2].ends_with("better"));
    }
}
