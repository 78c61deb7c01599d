//! `autoscale controller`: a policy beside a real service.

use crate::args::controller::{ControllerArgs, DryRun};
use crate::digest::digest;
use crate::policy_spec::Model;
use crate::run_folder::{MODEL, RunFolder};
use anyhow::{Context, Result, bail};
use autoscale_agents::learned::LearnedPolicy;
use autoscale_core::policy::Policy;
use autoscale_core::units::Replicas;
use autoscale_live::controller::Deciders;
use autoscale_live::service::{Autoscalers, ServiceConfig, Sighted, rehearse, run as serve};
use autoscale_live::source::{Collector, PrometheusConfig};
use autoscale_live::spec::{
    Document, HpaRules, LearnedAutoscaler, LearnedAutoscalerSpec, PolicyRef, SpecMode, definition, read,
};
use autoscale_live::target::lease::Candidacy;
use autoscale_policies::hpa::{Hpa, HpaSpec, MetricSpec};
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a leader may be silent.
const LEASE: Duration = Duration::from_secs(15);

#[expect(clippy::print_stdout, reason = "the definition goes to standard output")]
pub(crate) fn run(args: &ControllerArgs) -> Result<()> {
    if args.definition {
        println!("{}", serde_json::to_string_pretty(&definition())?);
        return Ok(());
    }
    // All of it is looked at before anything is asked of a cluster.
    let prometheus = prometheus(args.prometheus.as_deref().unwrap_or_default())?;
    let instance = args.instance.clone().or_else(hostname).unwrap_or_else(|| "autoscale".to_owned());
    let lease = args.lease.as_deref().map(|lease| candidacy(lease, &instance)).transpose()?;
    let given = args.config.as_deref().map(given).transpose()?;
    if let Some(dry_run) = args.dry_run {
        return rehearsed(&given.unwrap_or_default(), prometheus, dry_run);
    }
    let autoscalers = match given {
        Some(given) => {
            given.iter().for_each(Given::announce);
            Autoscalers::Given(given.into_iter().map(|given| given.autoscaler).collect())
        }
        None => Autoscalers::Watched(args.namespace.iter().map(|name| name.as_str().into()).collect()),
    };
    eprintln!("what is known: http://{}/state", args.listen);
    let decisions: Box<dyn Write + Send> = match &args.decisions {
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            Box::new(file.with_context(|| path.display().to_string())?)
        }
        None => Box::new(std::io::stdout()),
    };
    let make = if args.watch { announced } else { deciders };
    let config = ServiceConfig {
        autoscalers,
        deciders: Box::new(move |autoscaler| make(autoscaler).map_err(|unusable| unusable.to_string())),
        prometheus,
        listen: Some(args.listen),
        keda: args.keda_listen,
        lease,
        instance: instance.into(),
    };
    Ok(serve(config, decisions)?)
}

/// An autoscaler of a file, and who decides for it.
struct Given {
    autoscaler: LearnedAutoscaler,
    decider: Arc<str>,
    /// Whether it decides by what pods use, and by nothing else.
    goes_by_usage: bool,
}

impl Given {
    fn announce(&self) {
        eprintln!("{}", announcement(&self.autoscaler, &self.decider));
    }
}

/// Those of a file, all of which can be used.
fn given(path: &Path) -> Result<Vec<Given>> {
    let file = path.display();
    let text = std::fs::read_to_string(path).with_context(|| file.to_string())?;
    let known = |document: Document| match deciders(&document.autoscaler) {
        Ok(Deciders { name, fallback, .. }) => {
            Ok(Given { autoscaler: document.autoscaler, decider: name, goes_by_usage: fallback.is_none() })
        }
        Err(Unusable { field, reason }) => Err(document.error(&field, reason)),
    };
    let documents = read(&text).with_context(|| file.to_string())?;
    documents.into_iter().map(known).collect::<Result<_, _>>().with_context(|| file.to_string())
}

/// Says what would be done.
fn rehearsed(given: &[Given], prometheus: PrometheusConfig, dry_run: DryRun) -> Result<()> {
    if dry_run == DryRun::Client {
        given.iter().for_each(Given::announce);
        eprintln!(
            "the files are good; --dry-run=server asks whether cluster and Prometheus know of these targets, too"
        );
        return Ok(());
    }
    let targets: Vec<_> = given.iter().map(|given| given.autoscaler.target()).collect();
    let Sighted { targets: seen, without_usage } = rehearse(&targets, prometheus)?;
    for (namespace, fault) in &without_usage {
        eprintln!("usage in {namespace}: {fault}");
    }
    let mut useless = 0;
    for ((given, target), (replicas, metrics)) in given.iter().zip(&targets).zip(seen) {
        let load = metrics.map_err(|fault| fault.to_string()).and_then(|metrics| {
            let (age, most) = (metrics.age.as_secs(), given.autoscaler.spec.freshness.max_age_seconds);
            let stale = || format!("the newest sample is {age} s old; freshness.maxAgeSeconds is {most}");
            if age > u64::from(most) { Err(stale()) } else { Ok(metrics.arrival_rate.per_second()) }
        });
        let by_usage = given.goes_by_usage;
        let unmeasured = by_usage && without_usage.contains_key(&target.namespace);
        useless += usize::from(replicas.is_err() || unmeasured || load.is_err() && !by_usage);
        let replicas = match replicas {
            Ok(replicas) if replicas == Replicas::ZERO => {
                "spec.replicas 0, which is left as it is".to_owned()
            }
            Ok(replicas) => format!("spec.replicas {replicas}"),
            Err(error) => error.to_string(),
        };
        let load = match load {
            Ok(load) => format!("{load:.1} requests/s"),
            Err(fault) if by_usage => format!("it goes by what pods use, and not by Prometheus: {fault}"),
            Err(fault) => format!("Prometheus: {fault}"),
        };
        eprintln!("{}: {replicas}; {load}", announcement(&given.autoscaler, &given.decider));
    }
    if useless > 0 {
        bail!("{useless} of {} targets would not be decided on by their policy", given.len());
    }
    Ok(())
}

/// A line about who decides for an autoscaler.
fn announcement(autoscaler: &LearnedAutoscaler, decider: &str) -> String {
    let what = match autoscaler.spec.mode {
        SpecMode::Shadow => "watched (shadow)",
        SpecMode::Active => "scaled",
    };
    format!("{} is {what} by {decider}", autoscaler.target())
}

/// What of an autoscaler cannot be used.
#[derive(Debug)]
struct Unusable {
    field: String,
    reason: String,
}

impl Unusable {
    fn new(field: &str, error: &anyhow::Error) -> Self {
        Self { field: field.to_owned(), reason: format!("{error:#}") }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// Who decides for an autoscaler, of whom a line tells.
fn announced(autoscaler: &LearnedAutoscaler) -> Result<Deciders, Unusable> {
    let deciders = deciders(autoscaler)?;
    eprintln!("{}", announcement(autoscaler, &deciders.name));
    Ok(deciders)
}

/// Who decides for an autoscaler.
fn deciders(autoscaler: &LearnedAutoscaler) -> Result<Deciders, Unusable> {
    let spec = &autoscaler.spec;
    let other = |rules| hpa(spec, rules, "spec.fallback");
    let usual = HpaRules::default();
    match &spec.policy {
        PolicyRef::HorizontalPodAutoscaler(rules) => {
            let policy = hpa(spec, rules, "spec.policy.horizontalPodAutoscaler")?;
            let by_samples = |metric: &MetricSpec| matches!(metric, MetricSpec::Resource { .. });
            let goes_on = policy.controller().spec().metrics.iter().all(by_samples);
            let rules = spec.fallback.as_ref().or(if goes_on { None } else { Some(&usual) });
            let fallback = rules.map(other).transpose()?.map(|hpa| hpa as Box<dyn Policy + Send>);
            Ok(Deciders { name: "hpa".into(), policy, fallback })
        }
        PolicyRef::Model(model) => {
            let (policy, decider) =
                learned(&model.path).map_err(|error| Unusable::new("spec.policy.model.path", &error))?;
            let fallback = other(spec.fallback.as_ref().unwrap_or(&usual))?;
            Ok(Deciders { name: decider.into(), policy, fallback: Some(fallback) })
        }
    }
}

/// The HPA of these rules, which are found in `field`.
fn hpa(spec: &LearnedAutoscalerSpec, rules: &HpaRules, field: &str) -> Result<Box<Hpa>, Unusable> {
    // JSON is YAML; its lines are nobody's, but each of them is short where an error shows one.
    let manifest = HpaSpec::from_yaml(&format!("{:#}", spec.manifest(rules))).map_err(|error| {
        let inner = error.path.strip_prefix("spec.").map(|inner| format!(".{inner}")).unwrap_or_default();
        Unusable { field: format!("{field}{inner}"), reason: error.reason }
    })?;
    let hpa = Hpa::from_spec(manifest).map_err(|error| Unusable::new(field, &error.into()))?;
    Ok(Box::new(hpa))
}

/// The policy of a run's folder, and its name with the first digits of what it holds.
fn learned(path: &Path) -> Result<(Box<dyn Policy + Send>, String)> {
    let folder = path.to_str().context("expected a path in UTF-8")?;
    let model = Model::open(folder)?;
    let file = RunFolder::open(folder)?.file(MODEL);
    let weights = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let name = format!("{}@{:.12}", model.run, digest([weights.as_slice()]));
    let policy = LearnedPolicy::new(&model.checkpoint, model.settings.base_policy()?)?;
    Ok((Box::new(policy), name))
}

/// Which Prometheus, after a look at all that a look can tell.
fn prometheus(text: &str) -> Result<PrometheusConfig> {
    // An address with credentials is refused, and not repeated.
    let place =
        || if text.contains('@') { "--prometheus".to_owned() } else { format!("--prometheus {text}") };
    let config = if text.starts_with("http://") || text.starts_with("https://") {
        PrometheusConfig::at(text)
    } else {
        let yaml = std::fs::read_to_string(text)
            .with_context(|| format!("{}: expected http://HOST:PORT or a file", place()))?;
        PrometheusConfig::from_yaml(&yaml).with_context(|| text.to_owned())?
    };
    Collector::new(config.clone()).with_context(place)?.can_be_asked().context("auth").with_context(place)?;
    Ok(config)
}

fn candidacy(lease: &str, instance: &str) -> Result<Candidacy> {
    match lease.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(Candidacy {
            namespace: namespace.into(),
            lease: name.into(),
            identity: instance.into(),
            duration: LEASE,
        }),
        _ => bail!("--lease {lease}: expected NAMESPACE/NAME"),
    }
}

/// In a pod it is the pod's name.
fn hostname() -> Option<String> {
    let name = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok())?;
    let name = name.trim().to_owned();
    (!name.is_empty()).then_some(name)
}
