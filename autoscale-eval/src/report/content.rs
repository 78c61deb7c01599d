//! What every report of an analysis says, in whatever format.

use super::Document;
use super::table::{Head, Row, Shown, Table};
use crate::analysis::{Analysis, Cell, PolicyAnalysis, PolicyOverall, ScenarioAnalysis, Tally};
use crate::digits::number;
use crate::estimate::Estimate;
use crate::figure::{Figure, figure, figures};
use crate::metric::Direction;
use crate::study::Role;

/// The figures that stand for their family: of each list, the first of which the baseline has a value in at least half of
/// the scenario's episodes.
const SHOWN: [&[&str]; 7] = [
    &["latency_p95"],
    &["scale_toggles"],
    &["pod_hours"],
    &["reaction_time", "undershoot"],
    &["slo_violations"],
    &["cost"],
    &[REGRET],
];

/// On equal episodes the bound is the same for all, so that its difference is that of the cost.
const REGRET: &str = "regret";

/// So many episodes that failed for the same reason are named.
const MOST_LISTED: usize = 5;

/// What stands where there is no value.
const EMPTY: &str = "empty";

/// Where nothing was asked.
const NONE: &str = "–";

pub(super) fn title(analysis: &Analysis) -> String {
    format!("Comparison with {}", analysis.baseline_name())
}

pub(super) fn summary(analysis: &Analysis) -> String {
    let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let contenders = analysis.policies.iter().filter(|policy| policy.role == Role::Contender).count();
    let contenders = if contenders == 1 { "1 policy".to_owned() } else { format!("{contenders} policies") };
    let scenarios = count(analysis.scenarios.len(), "scenario");
    let seers = analysis.policies.iter().filter(|policy| policy.role == Role::Clairvoyant);
    let seers: Vec<&str> = seers.map(|policy| policy.name.as_str()).collect();
    let seer = match seers.as_slice() {
        [] => String::new(),
        [one] => format!(" {one} knows the future, and is not ranked."),
        more => format!(" {} know the future, and are not ranked.", more.join(" and ")),
    };
    format!(
        "{contenders} against {} in {scenarios}, on the same {} of each.{seer}",
        analysis.baseline_name(),
        count(analysis.episodes, "episode"),
    )
}

/// How to read the tables.
pub(super) fn reading(analysis: &Analysis) -> [String; 3] {
    let baseline = analysis.baseline_name();
    [
        format!(
            "Numbers are means over episodes with their 95 % interval in brackets; below them stands the paired difference to \
             {baseline} on equal seeds, with an interval of its own. They are about other episodes: what another training or \
             tuning would have given is not in them."
        ),
        format!(
            "▲ better and ▼ worse than {baseline} beyond noise, · within noise, = identical in every episode; an arrow says \
             which is better, not which is larger."
        ),
        format!(
            "Beyond noise is what has p < 0.05 in a sign-flip test (exact up to 40 episodes) after Holm's correction: for cost among all {} \
             differences of contenders in all scenarios together (confirmatory), for the mean cost over all scenarios among the \
             contenders, and for any other figure among its own differences only (secondary: among so many figures, some wrong \
             verdict has to be expected). The test asks \
             which way differences lean; where a few are far larger than the rest, it and the interval of the mean may \
             disagree.",
            analysis.hypotheses
        ),
    ]
}

/// What failed, a line a group.
pub(super) fn failures(analysis: &Analysis) -> Vec<String> {
    let line = |failure: &crate::analysis::Failure| {
        let n = failure.episodes.len();
        let numbers =
            |episodes: &[usize]| episodes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let which = match failure.episodes.as_slice() {
            [one] => format!("episode {one}"),
            some if n <= MOST_LISTED => format!("episodes {}", numbers(some)),
            many => format!("{n} episodes (the first: {})", numbers(&many[..MOST_LISTED])),
        };
        format!(
            "{} in {}: {which} failed, {} of {} left: {}",
            failure.policy, failure.scenario, failure.left, analysis.episodes, failure.reason
        )
    };
    analysis.failures.iter().map(line).collect()
}

pub(super) fn policies(document: &Document<'_>) -> Table {
    let row = |(k, policy): (usize, &crate::study::StudyPolicy)| {
        let spec = document.specs.get(k).filter(|spec| !spec.is_empty());
        Row {
            name: policy.name.clone(),
            below: String::new(),
            cells: vec![Shown::text(role(policy.role)), Shown::text(spec.map_or(NONE, String::as_str))],
        }
    };
    Table {
        caption: "The policies".to_owned(),
        head: vec![Head::new("policy", ""), Head::new("role", ""), Head::new("asked for as", "")],
        rows: document.analysis.policies.iter().enumerate().map(row).collect(),
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Baseline => "baseline",
        Role::Contender => "contender",
        Role::Clairvoyant => "clairvoyant",
    }
}

pub(super) fn scenarios(analysis: &Analysis) -> Table {
    let row = |scenario: &ScenarioAnalysis| {
        let of = &scenario.scenario;
        let cells = [
            number(of.length.as_secs_f64() / 3600.0, 3),
            number(of.mean_load.per_second(), 3),
            number(of.slo.as_secs_f64() * 1e3, 3),
            number(of.prices.pod_hour, 3),
            number(of.prices.violation, 3),
            number(of.prices.change, 3),
            of.description.clone(),
        ];
        Row { name: of.name.clone(), below: String::new(), cells: cells.map(Shown::text).into() }
    };
    Table {
        caption: "The scenarios".to_owned(),
        head: vec![
            Head::new("scenario", ""),
            Head::new("episode", "h"),
            Head::new("mean load", "requests/s"),
            Head::new("SLO", "ms"),
            Head::new("pod-hour", "price"),
            Head::new("violated request", "price"),
            Head::new("replica changed", "price, not in cost"),
            Head::new("what it is", ""),
        ],
        rows: analysis.scenarios.iter().map(row).collect(),
    }
}

/// All policies over all scenarios, by place and relative cost.
pub(super) fn overall(analysis: &Analysis) -> Table {
    let baseline = analysis.baseline_name();
    let rows = ranked(analysis).into_iter().map(|policy| {
        let text = |e: Option<Estimate>| Shown::text(e.map_or_else(|| NONE.to_owned(), |e| e.to_string()));
        let verdict = policy.test.map(|test| test.verdict);
        let against = policy.against.map(|difference| (verdict, format!("{difference:+} %")));
        let some = policy.scenarios < analysis.scenarios.len();
        let note = if policy.role == Role::Contender { "" } else { role(policy.role) };
        let part = format!("{} of {} scenarios", policy.scenarios, analysis.scenarios.len());
        Row {
            name: policy.policy.clone(),
            below: if some { part } else { note.to_owned() },
            cells: vec![
                Shown::text(policy.place.map_or_else(|| NONE.to_owned(), |place| place.to_string())),
                Shown { below: against, ..text(policy.relative_cost) },
                text(policy.improvement),
                Shown::text(policy.tally.map_or_else(|| NONE.to_owned(), tally)),
                text(policy.violations),
                text(policy.regret),
            ],
        }
    });
    Table {
        caption: format!(
            "All scenarios. The place is a range where policies cannot be told apart on cost (exploratory: all pairs, Holm). \
             Relative cost is each episode's cost over {baseline}'s mean in the scenario, which is taken as it is, interquartile \
             mean; below it the mean paired difference. Cheaper is the probability that any episode of it costs less than any of {baseline} in the same \
             scenario; it leaves out that episodes are paired and scenarios share their seeds. The other columns are not adjusted for their number."
        ),
        head: vec![
            Head::new("policy", ""),
            Head::new("place", "lowest cost first"),
            Head::new("relative cost", format!("× {baseline}")),
            Head::new("cheaper", "probability, any two episodes"),
            Head::new("won / lost / noise", "scenarios, cost"),
            Head::new("SLO violations", "%"),
            Head::new("regret", "price/h"),
        ],
        rows: rows.collect(),
    }
}

/// By place, and those that may share one by relative cost; who has no place comes last.
pub(super) fn ranked(analysis: &Analysis) -> Vec<&PolicyOverall> {
    let mut ranked: Vec<&PolicyOverall> = analysis.overall.iter().collect();
    let first = |policy: &PolicyOverall| policy.place.map_or(usize::MAX, |place| place.first);
    let cost = |policy: &PolicyOverall| policy.relative_cost.map_or(f64::INFINITY, |e| e.point);
    ranked.sort_by(|a, b| first(a).cmp(&first(b)).then(cost(a).total_cmp(&cost(b))));
    ranked
}

fn tally(tally: Tally) -> String {
    let Tally { won, lost, within_noise, identical, empty } = tally;
    let more = |n: usize, what: &str| if n > 0 { format!(", {n} {what}") } else { String::new() };
    format!("{won} / {lost} / {within_noise}{}{}", more(identical, "identical"), more(empty, EMPTY))
}

/// One scenario: policies × the figures that stand for their families.
pub(super) fn scenario(analysis: &Analysis, scenario: &ScenarioAnalysis) -> Table {
    let baseline = &scenario.policies[analysis.baseline];
    let shown = shown(baseline);
    let heads = shown
        .iter()
        .map(|figure| Head::new(figure.family.to_string(), format!("{}, {}", figure.name, figure.unit)));
    let rows = scenario.policies.iter().enumerate().map(|(p, policy)| Row {
        name: policy.policy.clone(),
        below: note(analysis, p, policy),
        cells: shown.iter().map(|figure| cell(policy.figure(figure.name))).collect(),
    });
    Table {
        caption: format!(
            "{}: mean [95 % interval], and below it the difference to {} with what it means.",
            scenario.scenario.name, baseline.policy
        ),
        head: std::iter::once(Head::new("policy", "")).chain(heads).collect(),
        rows: rows.collect(),
    }
}

/// The figures shown for a scenario in which the baseline is this.
pub(super) fn shown(baseline: &PolicyAnalysis) -> Vec<Figure> {
    let choose = |candidates: &&[&'static str]| {
        // What only few episodes have says little of all.
        let has_value =
            |name: &&&str| baseline.figure(name).mean.is_some_and(|m| 2 * m.n >= baseline.finished);
        candidates.iter().find(has_value).or(candidates.last()).and_then(|name| figure(name))
    };
    SHOWN.iter().filter_map(choose).map(|(_, figure)| figure).collect()
}

fn note(analysis: &Analysis, position: usize, policy: &PolicyAnalysis) -> String {
    let role = match analysis.policies[position].role {
        Role::Contender => "",
        other => role(other),
    };
    if policy.finished == analysis.episodes {
        return role.to_owned();
    }
    let left = format!("{} of {} episodes", policy.finished, analysis.episodes);
    if role.is_empty() { left } else { format!("{role}, {left}") }
}

/// One scenario: all figures × policies.
pub(super) fn all_figures(analysis: &Analysis, scenario: &ScenarioAnalysis) -> Table {
    let heads = scenario.policies.iter().enumerate();
    let heads = heads.map(|(p, policy)| Head::new(policy.policy.clone(), note(analysis, p, policy)));
    let rows = figures().iter().enumerate().map(|(k, figure)| Row {
        name: figure.name.to_owned(),
        below: figure.unit.to_owned(),
        cells: scenario.policies.iter().map(|policy| cell(&policy.figures[k])).collect(),
    });
    Table {
        caption: format!("All figures of {}.", scenario.scenario.name),
        head: std::iter::once(Head::new("figure", "unit")).chain(heads).collect(),
        rows: rows.collect(),
    }
}

fn cell(cell: &Cell) -> Shown {
    let Some(mean) = cell.mean else { return Shown::text(EMPTY) };
    let against = cell.against.as_ref().filter(|_| cell.metric != REGRET);
    let below =
        against.map(|against| (against.test.map(|test| test.verdict), format!("{:+}", against.difference)));
    Shown { value: mean.to_string(), below }
}

/// Every two policies; `None` with fewer than three, of which the overall table says it all.
pub(super) fn exploratory(analysis: &Analysis) -> Option<Table> {
    let ranked: Vec<&PolicyOverall> =
        ranked(analysis).into_iter().filter(|policy| policy.place.is_some()).collect();
    let difference = |row: &str, column: &str| {
        let found = analysis.pairs.iter().find_map(|pair| pair.difference_of(row, column));
        Shown::text(found.map_or_else(|| NONE.to_owned(), |e| format!("{e:+}")))
    };
    let row = |policy: &&PolicyOverall| Row {
        name: policy.policy.clone(),
        below: String::new(),
        cells: ranked.iter().map(|other| difference(&policy.policy, &other.policy)).collect(),
    };
    let heads = ranked.iter().map(|policy| Head::new(policy.policy.clone(), ""));
    (ranked.len() > 2).then(|| Table {
        caption: format!(
            "Exploratory: what the policy of the row costs more than that of the column, in per cent of {}'s mean cost, mean \
             over all scenarios. Each interval speaks for itself and is not adjusted: of {} pairs, about one in twenty \
             misses the truth.",
            analysis.baseline_name(),
            analysis.pairs.len()
        ),
        head: std::iter::once(Head::new("policy", "minus")).chain(heads).collect(),
        rows: ranked.iter().map(row).collect(),
    })
}

/// What figures mean.
pub(super) fn definitions(figures: &[Figure]) -> Table {
    let row = |figure: &Figure| Row {
        name: figure.name.to_owned(),
        below: String::new(),
        cells: [
            figure.family.to_string(),
            figure.unit.to_owned(),
            match figure.better {
                Direction::Lower => "lower".to_owned(),
                Direction::Higher => "higher".to_owned(),
            },
            figure.definition.to_owned(),
            figure.source.to_owned(),
        ]
        .map(Shown::text)
        .into(),
    };
    Table {
        caption: "What the figures mean".to_owned(),
        head: ["figure", "family", "unit", "better", "definition", "source"]
            .map(|name| Head::new(name, ""))
            .into(),
        rows: figures.iter().map(row).collect(),
    }
}

/// All figures that some scenario's table shows, by family.
pub(super) fn all_shown(analysis: &Analysis) -> Vec<Figure> {
    let mut all: Vec<Figure> = Vec::new();
    for scenario in &analysis.scenarios {
        for figure in shown(&scenario.policies[analysis.baseline]) {
            if !all.contains(&figure) {
                all.push(figure);
            }
        }
    }

    all.sort_by_key(|figure| figure.family);
    all
}
