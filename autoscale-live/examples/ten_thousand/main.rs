//! What a controller of many targets costs: `ten_thousand [TARGETS] [CYCLES] [file|cluster]` prints a line of JSON.
//!
//! A second process plays Prometheus and the API server over loopback, so that what is measured is the controller's alone. All
//! targets are decided on every 15 s by the emulated HPA; in each cycle the CPU use of 1 % of them doubles, and they are given
//! a second pod. With `cluster` the autoscalers are custom resources, whose statuses are written, there is a Lease, and the
//! page of metrics is read in each cycle.

mod stubs;

use autoscale_core::units::Timestamp;
use autoscale_live::controller::Deciders;
use autoscale_live::service::{Autoscalers, ServiceConfig, runtime, serve};
use autoscale_live::source::PrometheusConfig;
use autoscale_live::spec::{LearnedAutoscaler, read};
use autoscale_live::target::kubernetes::connect;
use autoscale_live::target::lease::Candidacy;
use autoscale_policies::hpa::{Hpa, HpaSpec};
use kube::Config;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const PERIOD: Duration = Duration::from_secs(15);
/// Cycles before the measured ones: lists are read, the ladder comes to trust its sources, all settle.
const WARM_UP: u32 = 8;

/// What is read from the lines of decisions.
#[derive(Clone, Default)]
struct Decisions(Arc<Mutex<Read>>);

#[derive(Default)]
struct Read {
    /// How many were made so many milliseconds after their due moment.
    lags: BTreeMap<i64, usize>,
    /// How many were made without good measurements.
    blind: usize,
}

impl Read {
    fn count(&self) -> usize {
        self.lags.values().sum()
    }

    /// The lag that this share of decisions does not exceed, in milliseconds.
    fn lag(&self, share: f64) -> Option<i64> {
        let (mut before, most) = (0, (self.count() as f64 * share) as usize);
        let above = |&(_, count): &(&i64, &usize)| {
            before += count;
            before > most
        };
        self.lags.iter().find(above).or_else(|| self.lags.last_key_value()).map(|(&lag, _)| lag)
    }
}

fn position(line: &[u8], key: &[u8]) -> Option<usize> {
    line.windows(key.len()).position(|window| window == key)
}

impl Write for Decisions {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let key = b"\"at\":";
        let digits = position(line, key)
            .map(|at| line[at + key.len()..].iter().take_while(|byte| byte.is_ascii_digit()));
        let at = digits.map(|digits| digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')));
        if let (Some(at), Ok(mut read)) = (at, self.0.lock()) {
            *read.lags.entry(at % PERIOD.as_micros() as i64 / 1000).or_default() += 1;
            read.blind += usize::from(position(line, b"\"rung\":\"policy\"").is_none());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

/// A line of `/proc/self/status`, in MiB.
fn memory(what: &str) -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(what)).ok_or("no such line")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok((kib / 1024.0 * 10.0).round() / 10.0)
}

/// From where the autoscalers are.
enum Origin {
    File,
    Cluster,
}

fn autoscalers(targets: usize) -> Result<Vec<LearnedAutoscaler>, Box<dyn Error>> {
    let mut all = Vec::with_capacity(targets);
    for k in 0..targets {
        let documents = read(&stubs::autoscaler(k, None).to_string())?;
        all.extend(documents.into_iter().map(|document| document.autoscaler));
    }
    Ok(all)
}

/// A port that nobody has at the moment.
fn free() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn hpa(autoscaler: &LearnedAutoscaler) -> Result<Box<Hpa>, String> {
    let manifest = autoscaler.spec.manifest(&autoscale_live::spec::HpaRules::default()).to_string();
    let spec = HpaSpec::from_yaml(&manifest).map_err(|error| error.to_string())?;
    Ok(Box::new(Hpa::from_spec(spec).map_err(|error| error.to_string())?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, targets] = words.as_slice()
        && word == "stubs"
    {
        return stubs::serve(targets.parse()?);
    }
    let number = |k: usize, usual: u32| words.get(k).map_or(Ok(usual), |word| word.parse());
    let (targets, cycles) = (number(0, 10_000)?, number(1, 20)?);
    let origin = match words.get(2).map(String::as_str) {
        None | Some("file") => Origin::File,
        Some("cluster") => Origin::Cluster,
        Some(other) => return Err(format!("{other} is neither file nor cluster").into()),
    };
    let mut stubs = Command::new(std::env::current_exe()?)
        .args(["stubs", &targets.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut answers = BufReader::new(stubs.stdout.take().ok_or("no output")?);
    let mut ask = stubs.stdin.take().ok_or("no input")?;
    let mut line = String::new();
    answers.read_line(&mut line)?;
    let address = line.trim().to_owned();
    let (autoscalers, listen, lease) = match origin {
        Origin::File => (Autoscalers::Given(autoscalers(targets as usize)?), None, None),
        Origin::Cluster => {
            let candidacy = Candidacy {
                namespace: "autoscale".into(),
                lease: "autoscale".into(),
                identity: "bench".into(),
                duration: PERIOD,
            };
            (Autoscalers::Watched(Vec::new()), Some(free()?), Some(candidacy))
        }
    };
    if let Some(page) = listen {
        writeln!(ask, "http://{page}/metrics")?;
    }
    let mut counted = || -> Result<serde_json::Value, Box<dyn Error>> {
        let mut line = String::new();
        writeln!(ask, "count")?;
        answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    let decisions = Decisions::default();
    let config = ServiceConfig {
        autoscalers,
        deciders: Box::new(|autoscaler| {
            Ok(Deciders { name: "hpa".into(), policy: hpa(autoscaler)?, fallback: None })
        }),
        prometheus: PrometheusConfig::at(&address),
        listen,
        keda: None,
        lease,
        instance: "bench".into(),
    };
    let out = Box::new(decisions.clone());
    let report = runtime()?.block_on(async {
        let client = connect(Config::new(address.parse()?))?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(serve(client, config, out, async { _ = stopped.await }));
        tokio::time::sleep(PERIOD * WARM_UP).await;
        let (before, spent) = (counted()?, cpu());
        if let Ok(mut read) = decisions.0.lock() {
            *read = Read::default();
        }
        tokio::time::sleep(PERIOD * cycles).await;
        let (after, spent) = (counted()?, cpu().saturating_sub(spent));
        let read = decisions.0.lock().map(|mut read| std::mem::take(&mut *read)).unwrap_or_default();
        let since = |what: &str| after[what].as_u64().unwrap_or(0) - before[what].as_u64().unwrap_or(0);
        let report = json!({
            "targets": targets,
            "cycles": cycles,
            "decisions": read.count(),
            "decisions_without_measurements": read.blind,
            "cpu_percent_of_one_core": (1000.0 * spent.as_secs_f64() / (PERIOD * cycles).as_secs_f64()).round() / 10.0,
            "rss_mib": memory("VmRSS:")?,
            "peak_rss_mib": memory("VmHWM:")?,
            "decision_lag_p50_ms": read.lag(0.5),
            "decision_lag_p99_ms": read.lag(0.99),
            "decision_lag_max_ms": read.lag(1.0),
            "changes": since("changes"),
            "patches": since("patches"),
            "statuses": since("statuses"),
            "pages": since("pages"),
            "bytes_of_a_page": after["bytes_of_a_page"],
            "requests_to_the_api_server": since("requests"),
        });
        let _ = stop.send(());
        running.await??;
        Ok::<_, Box<dyn Error>>(report)
    })?;
    stubs.kill()?;
    stubs.wait()?;
    let mut out = std::io::stdout();
    writeln!(out, "{report}")?;
    Ok(())
}

/// The moment on the machine's clock.
pub(crate) fn now() -> Timestamp {
    use autoscale_live::shell::{Clock, SystemClock};
    SystemClock.now()
}
