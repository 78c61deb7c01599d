//! Training and tuning.

use super::axis::Axis;
use super::episode::line;
use super::{BLUE, GREY, Layout, Legend, Mark, ORANGE, Panel, Series, VERMILLION, draw, extent};
use anyhow::Result;
use plotters::style::{BLACK, RGBColor};
use std::path::Path;

/// Episodes that a smoothed return is the mean of.
pub(super) const SMOOTHED: usize = 20;

/// For each episode, the mean of it and those before it.
pub(super) fn smooth(returns: &[f64]) -> Vec<f64> {
    let mean = |k: usize| {
        let window = &returns[(k + 1).saturating_sub(SMOOTHED)..=k];
        window.iter().sum::<f64>() / window.len() as f64
    };
    (0..returns.len()).map(mean).collect()
}

/// Values with the number of their episode, from 1.
pub(super) fn numbered(values: &[f64]) -> Vec<(f64, f64)> {
    values.iter().enumerate().map(|(k, &value)| ((k + 1) as f64, value)).collect()
}

/// `episode_rewards.png`: the return of each training episode and its mean over the last twenty.
pub(crate) fn rewards(folder: &Path, returns: &[f64]) -> Result<()> {
    let smooth = smooth(returns);
    let panel = Panel::new(
        "",
        Axis::between("training episode", (1.0, returns.len() as f64)),
        Axis::linear("return [price]", extent(returns.iter().copied())),
        vec![
            line("episode", GREY, 1, numbered(returns)),
            line("mean of the last 20", BLUE, 5, numbered(&smooth)),
        ],
    );
    let title = "Training: return of each episode (−cost, nearer to 0 is better)";
    let layout = Layout { wide: 0, columns: 1, height: 900, legend: Legend::Own };
    draw(&folder.join("episode_rewards.png"), title, &layout, &[panel])
}

/// `front.png`: candidates by pods and violations, and the line of those that nothing beats in both.
pub(crate) fn tuning_front(
    path: &Path,
    title: &str,
    groups: &[(&str, Vec<(f64, f64)>)],
    front: &[(f64, f64)],
) -> Result<()> {
    const COLOURS: [RGBColor; 4] = [GREY, BLUE, ORANGE, VERMILLION];
    let all = || groups.iter().flat_map(|(_, points)| points);
    let (fewest, most) = extent(all().map(|point| point.0));
    let mut sorted = front.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut series = vec![line("", BLACK, 2, sorted)];
    series.extend(groups.iter().enumerate().map(|(k, (label, points))| Series {
        label,
        colour: COLOURS[k % COLOURS.len()],
        mark: Mark::Dot(if k < 2 { 7 } else { 13 }),
        points: points.clone(),
    }));
    let panel = Panel::new(
        "",
        Axis::between("mean number of pods", (fewest * 0.95, most * 1.05)),
        Axis::linear("violations [% of requests]", extent(all().map(|point| point.1))),
        series,
    );
    draw(path, title, &Layout { wide: 0, columns: 1, height: 900, legend: Legend::Own }, &[panel])
}
