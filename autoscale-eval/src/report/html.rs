//! An analysis as one page of HTML that needs nothing beside it: no script, no font, no picture file.

use super::table::{Shown, Table, mark};
use super::{Document, Picture, content};
use crate::analysis::ScenarioAnalysis;
use crate::figure::figures;
use crate::verdict::Verdict;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Light and dark, telephone and desk.
const STYLE: &str = include_str!("html.css");

/// The whole report.
pub fn html(document: &Document<'_>) -> String {
    let analysis = document.analysis;
    let title = content::title(analysis);
    let warnings = [content::failures(analysis), analysis.notes.clone()].concat();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p { (content::summary(analysis)) }
                    p.verdict { strong { (analysis.verdict) } }
                }
                (contents(document))
                main {
                    @if !warnings.is_empty() {
                        section.warnings aria-labelledby="warnings" {
                            h2 id="warnings" { "Before you read on" }
                            ul { @for warning in &warnings { li { (warning) } } }
                        }
                    }
                    section aria-labelledby="compared" {
                        h2 id="compared" { "What was compared" }
                        (table(&content::policies(document), "words"))
                        (table(&content::scenarios(analysis), "words"))
                    }
                    section aria-labelledby="reading" {
                        h2 id="reading" { "How to read it" }
                        ul { @for sentence in content::reading(analysis) { li { (sentence) } } }
                    }
                    section aria-labelledby="overall" {
                        h2 id="overall" { "All scenarios" }
                        (table(&content::overall(analysis), ""))
                        h3 { "Verdicts" }
                        dl { @for scenario in &analysis.scenarios {
                            dt { (scenario.scenario.name) }
                            dd { (scenario.verdict) }
                        } }
                        (pictures(document, None))
                    }
                    @for (k, one) in analysis.scenarios.iter().enumerate() { (scenario(document, k, one)) }
                    @if let Some(pairs) = content::exploratory(analysis) {
                        section aria-labelledby="pairs" {
                            h2 id="pairs" { "Every two policies" }
                            (table(&pairs, ""))
                        }
                    }
                    section aria-labelledby="figures" {
                        h2 id="figures" { "Figures" }
                        (table(&content::definitions(&content::all_shown(analysis)), "words"))
                        details {
                            summary { "All figures" }
                            (table(&content::definitions(figures()), "words"))
                        }
                    }
                    @if !document.provenance.is_empty() {
                        section aria-labelledby="again" {
                            h2 id="again" { "How to get the same" }
                            ul { @for line in document.provenance { li { code { (line) } } } }
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// Where everything is.
fn contents(document: &Document<'_>) -> Markup {
    html! {
        nav aria-label="Contents" {
            a href="#overall" { "All scenarios" }
            @for (k, scenario) in document.analysis.scenarios.iter().enumerate() {
                " " a href={ "#scenario-" (k) } { (scenario.scenario.name) }
            }
            " " a href="#figures" { "Figures" }
        }
    }
}

fn scenario(document: &Document<'_>, k: usize, scenario: &ScenarioAnalysis) -> Markup {
    let analysis = document.analysis;
    html! {
        section aria-labelledby={ "scenario-" (k) } {
            h2 id={ "scenario-" (k) } { (scenario.scenario.name) }
            @if !scenario.scenario.description.is_empty() { p { (scenario.scenario.description) } }
            p.verdict { (scenario.verdict) }
            (table(&content::scenario(analysis, scenario), ""))
            details {
                summary { "All " (figures().len()) " figures of " (scenario.scenario.name) }
                (table(&content::all_figures(analysis, scenario), ""))
            }
            (pictures(document, Some(k)))
        }
    }
}

/// A table that scrolls for itself where the page is too narrow for it.
fn table(table: &Table, class: &str) -> Markup {
    html! {
        div.scroll role="region" tabindex="0" aria-label=(table.caption) {
            table class=[(!class.is_empty()).then_some(class)] {
                caption { (table.caption) }
                thead { tr {
                    @for head in &table.head { th scope="col" { (two(&head.name, &head.below)) } }
                } }
                tbody { @for row in &table.rows { tr {
                    th scope="row" { (two(&row.name, &row.below)) }
                    @for shown in &row.cells { (cell(shown)) }
                } } }
            }
        }
    }
}

fn two(name: &str, below: &str) -> Markup {
    html! { (name) @if !below.is_empty() { br; small { (below) } } }
}

fn cell(shown: &Shown) -> Markup {
    let class = match shown.below {
        Some((Some(Verdict::Better), _)) => Some("better"),
        Some((Some(Verdict::Worse), _)) => Some("worse"),
        _ => None,
    };
    html! {
        td class=[class] {
            (shown.value)
            @if let Some((verdict, below)) = &shown.below {
                br;
                small {
                    @if let Some(verdict) = verdict {
                        span.mark aria-hidden="true" { (mark(*verdict)) } span.spoken { (verdict) ": " } " "
                    }
                    (below)
                }
            }
        }
    }
}

fn pictures(document: &Document<'_>, scenario: Option<usize>) -> Markup {
    let own = |picture: &&Picture| picture.scenario == scenario;
    html! {
        @for picture in document.pictures.iter().filter(own) {
            figure {
                h3 { (picture.title) }
                img src={ "data:image/png;base64," (STANDARD.encode(&picture.png)) } alt=(picture.title);
                figcaption { (picture.caption) }
            }
        }
    }
}
