use super::html::html;
use super::markdown::markdown;
use super::*;
use crate::analysis::sample::{noise, of_seed, study};
use crate::figure::{Figure, figures};
use crate::study::{Place, Role, Study};
use scraper::{ElementRef, Html, Selector};
use std::sync::LazyLock;

/// A name that means something in Markdown, in HTML and in CSV.
const NASTY: &str = "<b>x</b> & \"y\"|*z*, [a](b)";

/// In a, the second policy is cheaper and misses more, and the third does what the baseline does. In b, the second has
/// nothing left; nothing there has a reaction time.
fn sample() -> Study {
    let policies = [
        ("hpa", Role::Baseline),
        (NASTY, Role::Contender),
        ("same", Role::Contender),
        ("noisy", Role::Contender),
        ("(optimum)", Role::Clairvoyant),
    ];
    study(&policies, &["a", "b"], 30, |place, figure| {
        let Place { scenario, policy, .. } = place;
        if (scenario, policy) == (1, 1) || (scenario == 1 && figure.name == "reaction_time") {
            return None;
        }
        let shift = match (policy, figure.name) {
            (1, "slo_violations") => 0.5,
            (1, _) => -0.5,
            (3, _) => {
                if place.episode % 2 == 0 {
                    1.0
                } else {
                    -1.0
                }
            }
            (4, _) => -2.0,
            _ => 0.0,
        };
        Some(10.0 + of_seed(place) + shift)
    })
}

fn pictures() -> Vec<Picture> {
    let picture = |file: &str, scenario| Picture {
        file: file.to_owned(),
        title: format!("What {NASTY} does"),
        caption: "Lower is better.".to_owned(),
        scenario,
        png: b"no real picture".to_vec(),
    };
    vec![picture("front.png", None), picture("my timeline.png", Some(1))]
}

/// Made once for all tests.
static SAMPLE: LazyLock<Analysis> = LazyLock::new(|| Analysis::of(&sample()));

fn with_document<T>(analysis: &Analysis, use_it: impl FnOnce(&Document<'_>) -> T) -> T {
    let specs = ["hpa".to_owned(), format!("model:{NASTY}")];
    let provenance = ["autoscale compare --policies 'hpa,x=<y>'".to_owned()];
    use_it(&Document { analysis, specs: &specs, pictures: &pictures(), provenance: &provenance })
}

fn page() -> Html {
    Html::parse_document(&with_document(&SAMPLE, html))
}

fn all<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

fn words(element: &ElementRef<'_>) -> String {
    element.text().collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The table whose caption begins so: of each row its cells, the first of which is its name.
fn rows(page: &Html, caption: &str) -> Vec<Vec<String>> {
    let cells = Selector::parse("th, td").unwrap();
    let captioned = |table: &ElementRef<'_>| {
        table.select(&Selector::parse("caption").unwrap()).any(|c| words(&c).starts_with(caption))
    };
    let table = all(page, "table").into_iter().find(captioned).unwrap();
    let rows = Selector::parse("tr").unwrap();
    table.select(&rows).map(|row| row.select(&cells).map(|cell| words(&cell)).collect()).collect()
}

#[test]
fn html_is_well_formed_and_needs_nothing_beside_it() {
    let page = page();
    assert_eq!(page.errors, Vec::<std::borrow::Cow<'static, str>>::new());
    assert!(all(&page, "script, link, iframe, object, b").is_empty());
    let sources: Vec<&str> = all(&page, "[src]").iter().filter_map(|e| e.attr("src")).collect();
    assert_eq!(sources, ["data:image/png;base64,bm8gcmVhbCBwaWN0dXJl"; 2]);
    // Every link within the page leads somewhere, and every section is named by a heading that exists.
    for (element, attribute) in [("a", "href"), ("section", "aria-labelledby")] {
        for found in all(&page, element) {
            let id = found.attr(attribute).unwrap().trim_start_matches('#');
            assert_eq!(all(&page, &format!("#{id}")).len(), 1, "{id}");
        }
    }
}

#[test]
fn html_can_be_heard_as_well_as_seen() {
    let page = page();
    assert_eq!((all(&page, "h1").len(), all(&page, "main").len()), (1, 1));
    let tables = all(&page, "table").len();
    assert_eq!(
        (all(&page, ".scroll > table > caption").len(), all(&page, "table > thead").len()),
        (tables, tables)
    );
    assert!(all(&page, "img").iter().all(|img| img.attr("alt").is_some_and(|alt| alt.contains(NASTY))));
    // What a colour says, a word says too.
    let marked = all(&page, "td.better, td.worse");
    assert!(!marked.is_empty());
    for cell in marked {
        assert!(words(&cell).contains(cell.attr("class").unwrap()), "{}", words(&cell));
    }
}

#[test]
fn the_table_of_a_scenario_has_values_differences_and_what_they_mean() {
    let page = page();
    let a = rows(&page, "a: mean");
    assert_eq!(a.len(), 1 + 5);
    let column = |name: &str| a[0].iter().position(|head| head.contains(name)).unwrap();
    let cell = |row: usize, name: &str| a[row][column(name)].as_str();
    assert!(cell(1, "cost,").starts_with("10.") && !cell(1, "cost,").contains('▲'));
    assert!(cell(2, "cost,").contains("▲ better: −0.5000 [−0.5000, −0.5000]"), "{}", cell(2, "cost,"));
    assert!(cell(2, "slo_violations").contains("▼ worse: +0.5000 ["));
    assert!(cell(3, "cost,").contains("= identical: 0 [0, 0]"));
    assert!(cell(4, "cost,").contains("· within noise:"), "{}", cell(4, "cost,"));
    // The clairvoyant has a difference, and no verdict on it; a regret differs as a cost does.
    assert!(cell(5, "cost,").ends_with("−2.000 [−2.000, −2.000]") && !cell(5, "cost,").contains('▲'));
    assert!(!cell(2, "regret").contains('▲'));
    assert!(a[0].iter().any(|head| head.contains("reaction_time, s")));
    assert!(rows(&page, "b: mean")[0].iter().any(|head| head.contains("undershoot, pods")));
    assert_eq!(rows(&page, "All figures of a")[1..].len(), figures().len());
}

#[test]
fn what_failed_is_listed_and_its_cells_are_empty() {
    let page = page();
    let warnings = all(&page, ".warnings li");
    let warned: Vec<String> = warnings.iter().map(words).collect();
    let failed = format!("{NASTY} in b: 30 episodes (the first: 0, 1, 2, 3, 4) failed, 0 of 30 left: ");
    assert!(warned[0].starts_with(&failed) && warned[0].ends_with("<none> & void"), "{warned:?}");
    let b = rows(&page, "b: mean");
    assert_eq!(b[2][0], format!("{NASTY} 0 of 30 episodes"));
    assert!(b[2][1..].iter().all(|cell| cell == "empty"), "{:?}", b[2]);
    let overall = rows(&page, "All scenarios");
    assert_eq!(overall.last().unwrap()[..2], [format!("{NASTY} 1 of 2 scenarios"), "–".to_owned()]);
}

#[test]
fn two_policies_need_no_table_of_pairs() {
    let exploratory = rows(&page(), "Exploratory");
    assert_eq!(exploratory[0].len(), 1 + 3);
    assert!(exploratory.iter().flatten().all(|cell| cell != "(optimum)"));
    let two = [("hpa", Role::Baseline), ("x", Role::Contender)];
    let two = study(&two, &["a"], 5, |place, _| Some(of_seed(place)));
    assert!(!with_document(&Analysis::of(&two), html).contains("Exploratory"));
}

#[test]
fn markdown_says_the_same_and_names_stay_names() {
    let text = with_document(&SAMPLE, markdown);
    assert!(text.starts_with(
        "# Comparison with hpa\n\n3 policies against hpa in 2 scenarios, on the same 30 episodes of each."
    ));
    let name = r#"\<b\>x\</b\> \& "y"\|\*z\*, [a]\(b)"#;
    let row = text
        .lines()
        .filter(|line| line.starts_with(&format!("| {name} |")) && line.contains('▲'))
        .collect::<Vec<_>>();
    assert_eq!(row.len(), 1, "{text}");
    assert!(row[0].contains("<br>▲ better −0.5000 [−0.5000, −0.5000] |"), "{}", row[0]);
    assert!(text.contains("<br>▼ worse +0.5000 ["));
    assert!(text.contains("(<my timeline.png>)") && !text.contains("<b>"));
    assert!(text.contains("Exploratory") && text.contains("- autoscale compare --policies 'hpa,x=\\<y\\>'"));
    // Every row of a table has as many cells as its head.
    let mut cells = None;
    for line in text.lines() {
        let bars = line.replace("\\|", "").matches('|').count();
        assert!(bars == 0 || cells.is_none_or(|cells| cells == bars), "{line}");
        cells = (bars > 0).then_some(bars);
    }
}

#[test]
fn differences_have_a_row_a_figure() {
    let mut csv = Vec::new();
    differences::write_csv(&SAMPLE, &mut csv).unwrap();
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    let head: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2 * 4 * figures().len());
    let get =
        |row: &csv::StringRecord, name: &str| row[head.iter().position(|h| h == name).unwrap()].to_owned();
    let find = |scenario: &str, policy: &str| {
        let wanted = |row: &&csv::StringRecord| &row[0] == scenario && &row[1] == policy && &row[3] == "cost";
        rows.iter().find(wanted).unwrap()
    };
    let cheaper = find("a", NASTY);
    let names = ["baseline", "unit", "better", "n", "verdict"].map(|name| get(cheaper, name));
    assert_eq!(names, ["hpa", "price/h", "lower", "30", "better"]);
    let [base, mean, difference, p, p_holm] = ["baseline_mean", "mean", "difference", "p", "p_holm"]
        .map(|name| get(cheaper, name).parse::<f64>().unwrap());
    assert!((mean - base - difference).abs() < 1e-9 && (difference + 0.5).abs() < 1e-9);
    // Two contenders in b, three in a.
    assert!((p_holm - 5.0 * p).abs() < 1e-15);
    let empty = find("b", NASTY);
    assert_eq!(["mean", "n", "p", "verdict"].map(|name| get(empty, name)), ["", "0", "", "empty"]);
    assert_eq!(["p", "p_holm", "verdict"].map(|name| get(find("a", "(optimum)"), name)), ["", "", ""]);
}

#[test]
fn the_terminal_gets_the_table_and_the_verdicts() {
    let table = text::table(&SAMPLE);
    let lines: Vec<&str> = table.lines().collect();
    let end = lines.iter().position(|line| line.is_empty()).unwrap();
    assert_eq!(end, 3 + 5);
    assert!(lines[3..end].iter().any(|line| line.starts_with("hpa ")));
    assert!(lines[end + 1].starts_with(&format!("a  Cheaper than hpa: {NASTY} by 0.5000 ")), "{table}");
    assert!(lines[end + 2].starts_with("b  Keep hpa: nothing is cheaper beyond noise."), "{table}");
    assert!(lines[end + 2].ends_with(&format!("Without a value to compare: {NASTY}.")), "{table}");
    assert!(table.contains("Note: ") && lines.iter().all(|line| !line.ends_with(' ')));
}

#[test]
fn equal_studies_give_equal_bytes_on_any_number_of_threads() {
    let value = |place: Place, figure: &Figure| Some(5.0 + of_seed(place) + 0.2 * noise(place, figure));
    let policies = [("hpa", Role::Baseline), ("x", Role::Contender), ("y", Role::Contender)];
    let study = study(&policies, &["a"], 8, value);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| with_document(&Analysis::of(&study), |document| [html(document), markdown(document)]))
    };
    assert_eq!(on(1), on(3));
}
