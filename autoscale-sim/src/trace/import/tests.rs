use super::*;
use std::io::Write as _;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn guess(files: &[PathBuf]) -> Result<Import, ImportError> {
    import(files, &Options::default())
}

fn rates(import: &Import) -> Vec<f64> {
    import.trace.rates.clone()
}

fn refusal(result: Result<Import, ImportError>, parts: &[&str]) {
    let message = result.map(|i| i.report).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

const LOG: &str = "\
127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 2326
::1 - - [10/Oct/2000:20:56:10 +0000] \"GET /[x] HTTP/1.0\" 404 - \"-\" \"an agent [y] \\\"z\\\"\"
alyssa.p

host - - [10/Oct/2000:13:55:01 -0700] \"GET /late HTTP/1.0\" 200 1
host - - [31/Feb/2000:13:55:01 -0700] \"GET / HTTP/1.0\" 200 1
host - - [10/Oct/2000:22:57:59 +0200] \"\\xff\" 400 1
";

#[test]
fn a_log_is_counted_whatever_its_zones_order_and_broken_lines() {
    let folder = Folder::new();
    let found = guess(&[folder.file("access.log", LOG)]).unwrap();
    // 20:55 UTC two requests, 20:56 one, 20:57 one.
    assert_eq!(rates(&found), [2.0 / 60.0, 1.0 / 60.0, 1.0 / 60.0]);
    let report = found.report;
    assert_eq!((report.format, report.format_by, report.read), (Format::CommonLog, FormatBy::Guess, 7));
    assert_eq!(report.begin.as_deref(), Some("2000-10-10T20:55:00Z"));
    let left: Vec<_> =
        report.skipped.iter().map(|s| (s.count, s.first.rsplit(':').next().unwrap())).collect();
    assert_eq!(left, [(1, "4"), (2, "3")], "{:?}", report.skipped);
}

#[test]
fn compressed_logs_in_parts_are_one_trace() {
    let folder = Folder::new();
    let (early, late) = LOG.split_at(LOG.find("alyssa").unwrap());
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    // Two members in one file, as log rotation leaves them.
    let both = [gzip(late), gzip(early)].concat();
    let whole = guess(&[folder.file("whole.log", LOG)]).unwrap();
    assert_eq!(guess(&[folder.file("a.log.gz", &both)]).unwrap().trace, whole.trace);
    let parts = [folder.file("late.gz", gzip(late)), folder.file("early", early)];
    assert_eq!(guess(&parts).unwrap().trace, whole.trace);
    let cut = folder.file("cut.gz", &gzip(LOG)[..60]);
    refusal(guess(&[cut]), &["cut.gz", "cannot be read"]);
}

#[test]
fn a_log_with_nothing_but_broken_lines_or_a_wrong_date_is_refused() {
    let folder = Folder::new();
    let empty = folder.file("e.log", "\n\n");
    let broken =
        folder.file("b.log", format!("\nrubbish\n{}x\n", LOG.lines().next().unwrap().to_owned() + "\n"));
    let options = Options { format: Some(Format::CommonLog), ..Options::default() };
    refusal(import(&[empty], &options), &["e.log", "common-log", "2 read", "empty line (2", "e.log:1"]);
    refusal(
        import(&[broken], &options),
        &["b.log:2: line: \"rubbish\"", "2 such lines among 3", "host ident user"],
    );
    let text = LOG.replace("10/Oct/2000:13:55:01", "10/Oct/1900:13:55:01");
    refusal(guess(&[folder.file("old.log", text)]), &["1900-10-10", "old.log:5", "old.log:7", "date wrong"]);
}

fn record(time: u32) -> [u8; 20] {
    let mut record = [7; 20];
    record[..4].copy_from_slice(&time.to_be_bytes());
    record
}

#[test]
fn world_cup_records_are_counted_and_a_cut_tail_is_reported() {
    let folder = Folder::new();
    let start = 895_622_400; // 1998-05-20, midnight in UTC.
    let times = [start, start + 1, start + 1, start + 60, 5, start - 1];
    let mut bytes: Vec<u8> = times.iter().flat_map(|&t| record(t)).collect();
    bytes.extend([1, 2, 3]);
    let options = Options { format: Some(Format::WorldCup), ..Options::default() };
    let found = import(&[folder.file("wc_day25_1", &bytes)], &options).unwrap();
    assert_eq!(rates(&found), [1.0 / 60.0, 3.0 / 60.0, 1.0 / 60.0]);
    let left: Vec<_> = found.report.skipped.iter().map(|s| (s.count, s.first.as_str())).collect();
    assert_eq!(left.len(), 2);
    assert!(left[0].1.ends_with("wc_day25_1:5") && left[1].1.ends_with("wc_day25_1:7"), "{left:?}");
    let good = folder.file("good", &bytes[..80]);
    assert_eq!(guess(&[good]).unwrap().report.format, Format::WorldCup);
    let shifted = folder.file("shifted", &bytes[1..]);
    refusal(import(&[shifted], &options), &["shifted", "world-cup", "not in May, June or July 1998"]);
}

/// A day of two functions, one of them invoked `each` times a minute, the other once in the first minute.
fn functions(each: &str) -> String {
    let mut text = String::from("HashOwner,HashApp,HashFunction,Trigger");
    for minute in 1..=1440 {
        write!(text, ",{minute}").unwrap();
    }
    let row =
        |count: &dyn Fn(usize) -> String| (1..=1440).fold(String::new(), |row, m| row + "," + &count(m));
    write!(text, "\na,b,c,http{}", row(&|_| each.to_owned())).unwrap();
    write!(text, "\na,b,d,timer{}\n", row(&|m| u8::from(m == 1).to_string())).unwrap();
    text
}

#[test]
fn azure_functions_are_summed_and_files_are_days() {
    let folder = Folder::new();
    let days = [folder.file("d02.csv", functions("6")), folder.file("d01.csv", functions("12"))];
    let found = guess(&days).unwrap();
    let rates = rates(&found);
    assert_eq!(rates.len(), 2880);
    assert_eq!((rates[0], rates[1], rates[1440], rates[1441]), (7.0 / 60.0, 0.1, 13.0 / 60.0, 0.2));
    assert_eq!((found.report.format, found.report.begin), (Format::AzureFunctions, None));
    let bad = folder.file("bad.csv", functions("x"));
    refusal(guess(&[bad]), &["bad.csv:2", "minute 1", "\"x\"", "a whole number"]);
    let short = folder.file("short.csv", "HashOwner,HashApp,HashFunction,Trigger,1,2\n");
    refusal(guess(&[short]), &["short.csv:1", "6 columns", "1444"]);
    let finer = Options { step: Some(Duration::from_secs(30)), ..Options::default() };
    refusal(import(&days, &finer), &["step", "30 s", "60 s"]);
}

#[test]
fn azure_llm_rows_are_requests() {
    let folder = Folder::new();
    let text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
        2023-11-16 18:15:46.6805900,374,44\r\n\
        2023-11-16 18:15:46.9,396,109\r\n\
        2024-05-10 00:00:00.009930+00:00,2162,5";
    let two = folder.file("two.csv", text.rsplit_once("\r\n").unwrap().0);
    let options = Options { step: Some(Duration::from_secs(1)), ..Options::default() };
    assert_eq!(rates(&import(&[two], &options).unwrap()), [2.0]);
    assert_eq!(guess(&[folder.file("all.csv", text)]).unwrap().report.begin.unwrap(), "2023-11-16T18:15:00Z");
    let bad = folder.file("bad.csv", "TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,1\n16/11/2023,1\n");
    refusal(guess(&[bad]), &["bad.csv:3", "TIMESTAMP", "\"16/11/2023\"", "UTC"]);
}

/// An answer with two series that have samples at the given times and values.
fn answer(first: &str, second: &str) -> String {
    format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[
        {{"metric":{{"pod":"a"}},"values":[{first}]}},{{"metric":{{"pod":"b"}},"values":[{second}]}}]}}}}"#
    )
}

#[test]
fn prometheus_series_are_summed_and_gaps_are_reported() {
    let folder = Folder::new();
    let text = answer(r#"[0,"1"],[60,"NaN"],[120,"4"],[300,"2"]"#, r#"[0,"10"],[120,"NaN"],[180,"20.5"]"#);
    let file = [folder.file("a.json", text)];
    let found = guess(&file).unwrap();
    assert_eq!(rates(&found), [11.0, 0.0, 4.0, 20.5, 0.0, 2.0]);
    assert_eq!(found.report.read, 7);
    let left: Vec<_> = found.report.skipped.iter().map(|s| (s.reason, s.count)).collect();
    assert_eq!(left, [("sample that is NaN or infinite", 2), ("step without a sample, filled with 0", 2)]);
    let with = |gaps| import(&file, &Options { gaps, ..Options::default() });
    assert_eq!(rates(&with(Gaps::Hold).unwrap()), [11.0, 11.0, 4.0, 20.5, 20.5, 2.0]);
    refusal(with(Gaps::Refuse), &["a.json", "1970-01-01T00:01:00Z", "no sample"]);
}

#[test]
fn prometheus_parts_of_a_range_overlap_without_counting_twice() {
    let folder = Folder::new();
    let parts = [
        folder.file("1.json", answer(r#"[0,"1"],[30,"3"]"#, "")),
        folder.file("2.json", answer(r#"[30,"3"],[60,"5"],[90,"7"]"#, "")),
    ];
    assert_eq!(rates(&guess(&parts).unwrap()), [2.0, 6.0]);
    let shifted = [parts[0].clone(), folder.file("3.json", answer(r#"[100,"1"],[130,"3"]"#, ""))];
    refusal(guess(&shifted), &["1.json", "100 s", "steps of 30 s"]);
}

#[test]
fn prometheus_answers_that_are_none_say_what_is_wrong() {
    let folder = Folder::new();
    for (text, parts) in [
        (r#"{"status":"error","error":"bad query"}"#.to_owned(), vec!["status", "bad query"]),
        (
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned(),
            vec!["data.resultType", "vector", "query_range"],
        ),
        (answer("", ""), vec!["nothing to import"]),
        (answer(r#"[0,"x"],[1,"1"]"#, ""), vec!["data.result[0].values[0]", "\"x\"", "a number"]),
        (answer(r#"[0,"1"],[1,"-1"]"#, ""), vec!["data.result[0].values[1]", "-1", "0 to"]),
        (answer(r#"[0,"1"],[1,"1e12"]"#, ""), vec!["1000000000000", "rate(…)"]),
        (answer(r#"[0,"1"]"#, ""), vec!["one sample", "at least two"]),
        (answer("[0,1]", ""), vec!["data.result", "values"]),
        ("{\"status\": \"success\",\n oops}".to_owned(), vec!["p.json:2", "query_range"]),
    ] {
        refusal(guess(&[folder.file("p.json", &text)]), &parts);
    }
}

#[test]
fn what_is_no_original_is_refused() {
    let folder = Folder::new();
    refusal(guess(&[]), &["no file"]);
    refusal(guess(&[folder.0.path().to_owned()]), &["it is a folder"]);
    refusal(guess(&[folder.0.path().join("none")]), &["none", "cannot be read"]);
    refusal(guess(&[folder.file("e", "")]), &["e:1", "format", "common-log"]);
    refusal(guess(&[folder.file("t.csv", "time_s,rps\n0,1\n")]), &["a trace already"]);
    let log = folder.file("a.log", LOG);
    refusal(guess(&[log.clone(), log.clone()]), &["a.log", "each file once"]);
    let other = folder.file("p.json", answer(r#"[0,"1"]"#, ""));
    refusal(guess(&[log.clone(), other]), &["p.json", "prometheus", "common-log, as in"]);
    let half = Options { step: Some(Duration::from_millis(500)), ..Options::default() };
    refusal(import(&[log], &half), &["step", "0.5 s", "whole seconds"]);
}

/// A record of the controller, as far as it is read.
fn decision(name: &str, seconds: i64, rate: Option<f64>) -> String {
    let at = seconds * 1_000_000 + 2_345;
    let measurement = rate.map_or("null".to_owned(), |rate| {
        format!(r#"{{"at":{at},"age":{{"secs":3}},"arrival_rate":{rate}}}"#)
    });
    format!(
        r#"{{"target":{{"namespace":"shop","api_version":"apps/v1","kind":"Deployment","name":"{name}"}},"version":1,"at":{at},"measurement":{measurement}}}"#
    )
}

#[test]
fn decision_records_are_averaged_by_step_and_count_once() {
    let folder = Folder::new();
    let begin = 1_800_000_000;
    let lines = [
        decision("web", begin, Some(10.0)),
        decision("web", begin + 15, Some(20.0)),
        decision("web", begin + 15, Some(20.0)),
        decision("web", begin + 30, None),
        "{\"target\":{\"names".to_owned(),
        decision("web", begin + 61, Some(40.0)),
        decision("web", begin + 185, Some(8.0)),
    ];
    let file = folder.file("decisions.jsonl", lines.join("\n"));
    let found = guess(std::slice::from_ref(&file)).unwrap();
    assert_eq!(rates(&found), [15.0, 40.0, 0.0, 8.0]);
    assert_eq!((found.report.format, found.report.read), (Format::Decisions, 7));
    let why: Vec<_> = found.report.skipped.iter().map(|s| (s.reason, s.count)).collect();
    assert_eq!(
        why,
        [
            ("decision without a measurement", 1),
            ("line that is no decision record", 1),
            ("measurement that was there already", 1),
            ("step without a measurement, filled with 0", 1),
        ]
    );
    let hold = Options { gaps: Gaps::Hold, ..Options::default() };
    assert_eq!(rates(&import(std::slice::from_ref(&file), &hold).unwrap()), [15.0, 40.0, 40.0, 8.0]);
    let refuse = Options { gaps: Gaps::Refuse, ..Options::default() };
    refusal(import(&[file], &refuse), &["measurement.at", "none"]);
}

#[test]
fn decision_records_of_several_targets_are_told_apart() {
    let folder = Folder::new();
    let lines = [decision("web", 1_800_000_000, Some(1.0)), decision("api", 1_800_000_001, Some(2.0))];
    let file = folder.file("decisions.jsonl", lines.join("\n"));
    refusal(
        guess(std::slice::from_ref(&file)),
        &[":2: target", "shop/Deployment/api, shop/Deployment/web", "say which one"],
    );
    let of = |name: &str| {
        let target = Some(format!("shop/Deployment/{name}"));
        import(std::slice::from_ref(&file), &Options { target, ..Options::default() })
    };
    assert_eq!(rates(&of("api").unwrap()), [2.0]);
    let options = Options { target: Some("shop/Deployment/web".into()), ..Options::default() };
    refusal(
        import(&[folder.file("access.log", LOG)], &options),
        &["target: shop/Deployment/web", "common-log"],
    );
    refusal(of("none"), &["nothing to import", "record of another target (2"]);
    let old = decision("web", 1_800_000_000, Some(1.0)).replace("\"version\":1", "\"version\":7");
    refusal(guess(&[folder.file("old.jsonl", old)]), &["version: 7", "expected 1"]);
}
