//! `autoscale controller`: a policy beside a real service.

use crate::args::controller::{ControllerArgs, DryRun};
use crate::digest::digest;
use crate::policy_spec::Model;
use crate::run_folder::{MODEL, RunFolder};
use anyhow::{Context, Result, bail};
use autoscale_agents::learned::LearnedPolicy;
use autoscale_core::policy::Policy;
use autoscale_live::controller::Deciders;
use autoscale_live::service::{Autoscalers, ServiceConfig, rehearse, run as serve};
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
    /// Whether it can do without Prometheus.
    goes_on_alone: bool,
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
            Ok(Given { autoscaler: document.autoscaler, decider: name, goes_on_alone: fallback.is_none() })
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
        return Ok(());
    }
    prometheus.auth.header()?;
    let targets: Vec<_> = given.iter().map(|given| given.autoscaler.target()).collect();
    let mut useless = 0;
    for (given, sight) in given.iter().zip(rehearse(&targets, prometheus)?) {
        let who = announcement(&given.autoscaler, &given.decider);
        let pods = sight.replicas.map(|replicas| format!("spec.replicas {replicas}"));
        let load =
            sight.metrics.map(|metrics| format!("{:.1} requests/s", metrics.arrival_rate.per_second()));
        match (pods, load) {
            (Ok(pods), Ok(load)) => eprintln!("{who}: {pods}, {load}"),
            (Ok(pods), Err(fault)) if given.goes_on_alone => {
                eprintln!("{who}: {pods}; it goes on without Prometheus: {fault}");
            }
            (pods, load) => {
                useless += 1;
                let faults =
                    [pods.err().map(|e| e.to_string()), load.err().map(|e| format!("Prometheus: {e}"))];
                eprintln!(
                    "{}: {}",
                    given.autoscaler.target(),
                    faults.into_iter().flatten().collect::<Vec<_>>().join("; ")
                );
            }
        }
    }
    if useless > 0 {
        bail!("{useless} of {} targets cannot be scaled as they are", given.len());
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
    let config = if text.starts_with("http://") || text.starts_with("https://") {
        PrometheusConfig::at(text)
    } else {
        let yaml = std::fs::read_to_string(text)
            .with_context(|| format!("--prometheus {text}: expected http://HOST:PORT or a file"))?;
        PrometheusConfig::from_yaml(&yaml).with_context(|| text.to_owned())?
    };
    Collector::new(config.clone()).with_context(|| format!("--prometheus {text}"))?;
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
