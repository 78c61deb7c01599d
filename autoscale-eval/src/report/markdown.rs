//! An analysis as Markdown; pictures are files beside it.

use super::table::{Shown, Table, mark};
use super::{Document, Picture, content};
use crate::analysis::ScenarioAnalysis;
use crate::verdict::Verdict;
use std::fmt::Write;

/// The whole report. All figures that its tables leave out are in [`differences`](super::differences).
pub fn markdown(document: &Document<'_>) -> String {
    let analysis = document.analysis;
    let mut page = Page(format!("# {}\n", text(&content::title(analysis))));
    page.paragraph(&content::summary(analysis));
    page.strong(&analysis.verdict);
    page.list(&[content::failures(analysis), analysis.notes.clone()].concat());

    page.heading("What was compared");
    page.table(&content::policies(document));
    page.table(&content::scenarios(analysis));

    page.heading("How to read it");
    page.list(&content::reading(analysis));

    page.heading("All scenarios");
    page.table(&content::overall(analysis));
    page.add("### Verdicts");
    let verdict = |scenario: &ScenarioAnalysis| {
        format!("- **{}**: {}", text(&scenario.scenario.name), text(&scenario.verdict))
    };
    page.add(&analysis.scenarios.iter().map(verdict).collect::<Vec<_>>().join("\n"));
    for picture in document.pictures.iter().filter(|picture| picture.scenario.is_none()) {
        page.picture(picture);
    }
    for (k, scenario) in analysis.scenarios.iter().enumerate() {
        page.heading(&scenario.scenario.name);
        page.paragraph(&scenario.scenario.description);
        page.strong(&scenario.verdict);
        page.table(&content::scenario(analysis, scenario));
        for picture in document.pictures.iter().filter(|picture| picture.scenario == Some(k)) {
            page.picture(picture);
        }
    }
    if let Some(table) = content::exploratory(analysis) {
        page.heading("Every two policies");
        page.table(&table);
    }
    page.heading("Figures");
    page.table(&content::definitions(&content::all_shown(analysis)));
    page.paragraph(
        "differences.csv has all figures of all policies and scenarios, results.csv those of each episode.",
    );
    if !document.provenance.is_empty() {
        page.heading("How to get the same");
        page.list(document.provenance);
    }
    page.0
}

struct Page(String);

impl Page {
    fn add(&mut self, block: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "\n{block}");
    }

    fn heading(&mut self, heading: &str) {
        self.add(&format!("## {}", text(heading)));
    }

    fn paragraph(&mut self, paragraph: &str) {
        if !paragraph.is_empty() {
            self.add(&text(paragraph));
        }
    }

    fn strong(&mut self, sentence: &str) {
        self.add(&format!("**{}**", text(sentence)));
    }

    fn list(&mut self, items: &[String]) {
        let items: Vec<String> = items.iter().map(|item| format!("- {}", text(item))).collect();
        if !items.is_empty() {
            self.add(&items.join("\n"));
        }
    }

    fn picture(&mut self, picture: &Picture) {
        let file = picture.file.replace('\\', "\\\\").replace('<', "\\<").replace('>', "\\>");
        self.add(&format!("### {}", text(&picture.title)));
        self.add(&format!("![{}](<{}>)", text(&picture.title), on_one_line(&file)));
        self.paragraph(&picture.caption);
    }

    fn table(&mut self, table: &Table) {
        self.paragraph(&table.caption);
        let two = |name: &str, below: &str| {
            if below.is_empty() { text(name) } else { format!("{}<br>{}", text(name), text(below)) }
        };
        let head = table.head.iter().map(|head| two(&head.name, &head.below)).collect();
        let rule = table.head.iter().map(|_| "---".to_owned()).collect();
        let rows = table.rows.iter().map(|row| {
            let cells = row.cells.iter().map(cell);
            std::iter::once(two(&row.name, &row.below)).chain(cells).collect()
        });
        let all: Vec<Vec<String>> = [head, rule].into_iter().chain(rows).collect();
        let lines: Vec<String> = all.iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
        self.add(&lines.join("\n"));
    }
}

fn cell(shown: &Shown) -> String {
    let value = text(&shown.value);
    let Some((verdict, below)) = &shown.below else { return value };
    let meaning = match verdict {
        Some(verdict @ (Verdict::Better | Verdict::Worse)) => format!("{} {verdict} ", mark(*verdict)),
        Some(verdict) => format!("{} ", mark(*verdict)),
        None => String::new(),
    };
    format!("{value}<br>{meaning}{}", text(below))
}

/// Text that stays text, on one line and in a cell of a table.
fn text(plain: &str) -> String {
    let mut escaped = String::with_capacity(plain.len());
    let mut before = ' ';
    for c in on_one_line(plain).chars() {
        // Brackets make a link only with what follows; those of intervals stay as they are.
        let special = matches!(c, '\\' | '`' | '*' | '_' | '<' | '>' | '|' | '#' | '~' | '&' | '$' | '!');
        if special || (before == ']' && matches!(c, '(' | '[' | ':')) {
            escaped.push('\\');
        }
        escaped.push(c);
        before = c;
    }
    escaped
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
