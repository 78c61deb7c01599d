//! `autoscale controller`: a policy beside a real service.

use crate::args::controller::ControllerArgs;
use crate::digest::digest;
use crate::policy_spec::Model;
use crate::run_folder::MODEL;
use anyhow::{Context, Result, bail};
use autoscale_agents::learned::LearnedPolicy;
use autoscale_core::policy::Policy;
use autoscale_live::controller::Deciders;
use autoscale_live::service::{Autoscalers, ServiceConfig, run as serve};
use autoscale_live::source::{Collector, PrometheusConfig};
use autoscale_live::spec::{
    HpaRules, LearnedAutoscaler, LearnedAutoscalerSpec, PolicyRef, SpecMode, definition, read,
};
use autoscale_live::target::lease::Candidacy;
use autoscale_policies::hpa::{Hpa, HpaSpec, MetricSpec};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// How long a leader may be silent.
const LEASE: Duration = Duration::from_secs(15);

#[expect(clippy::print_stdout, reason = "the definition goes to standard output")]
pub(crate) fn run(args: &ControllerArgs) -> Result<()> {
    if args.definition {
        println!("{}", serde_json::to_string_pretty(&definition())?);
        return Ok(());
    }
    let autoscalers = match &args.config {
        Some(path) => {
            let file = path.display();
            let text = std::fs::read_to_string(path).with_context(|| file.to_string())?;
            let given = read(&text).with_context(|| file.to_string())?;
            // All of them are looked at before anything is asked of a cluster.
            for autoscaler in &given {
                announced(autoscaler).with_context(|| file.to_string())?;
            }
            Autoscalers::Given(given)
        }
        None => Autoscalers::Watched(args.namespace.iter().map(|name| name.as_str().into()).collect()),
    };
    let prometheus = prometheus(args.prometheus.as_deref().unwrap_or_default())?;
    let instance = args.instance.clone().or_else(hostname).unwrap_or_else(|| "autoscale".to_owned());
    let lease = args.lease.as_deref().map(|lease| candidacy(lease, &instance)).transpose()?;
    if args.dry_run {
        Collector::new(prometheus)?;
        return Ok(());
    }
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
        deciders: Box::new(move |autoscaler| make(autoscaler).map_err(|error| format!("{error:#}"))),
        prometheus,
        listen: Some(args.listen),
        keda: args.keda_listen,
        lease,
        instance: instance.into(),
    };
    Ok(serve(config, decisions)?)
}

/// Who decides for an autoscaler, and a line about it.
fn announced(autoscaler: &LearnedAutoscaler) -> Result<Deciders> {
    let deciders = deciders(autoscaler)?;
    let what = match autoscaler.spec.mode {
        SpecMode::Shadow => "watched (shadow)",
        SpecMode::Active => "scaled",
    };
    eprintln!("{} is {what} by {}", autoscaler.target(), deciders.name);
    Ok(deciders)
}

/// Who decides for an autoscaler.
fn deciders(autoscaler: &LearnedAutoscaler) -> Result<Deciders> {
    let spec = &autoscaler.spec;
    let name = autoscaler.metadata.name.clone().unwrap_or_default();
    let other = |rules| hpa(spec, rules).with_context(|| format!("{name}: spec.fallback"));
    let usual = HpaRules::default();
    match &spec.policy {
        PolicyRef::HorizontalPodAutoscaler(rules) => {
            let policy =
                hpa(spec, rules).with_context(|| format!("{name}: spec.policy.horizontalPodAutoscaler"))?;
            let by_samples = |metric: &MetricSpec| matches!(metric, MetricSpec::Resource { .. });
            let goes_on = policy.controller().spec().metrics.iter().all(by_samples);
            let rules = spec.fallback.as_ref().or(if goes_on { None } else { Some(&usual) });
            let fallback = rules.map(other).transpose()?.map(|hpa| hpa as Box<dyn Policy + Send>);
            Ok(Deciders { name: "hpa".into(), policy, fallback })
        }
        PolicyRef::Model(model) => {
            let (policy, decider) =
                learned(&model.path).with_context(|| format!("{name}: spec.policy.model.path"))?;
            let fallback = other(spec.fallback.as_ref().unwrap_or(&usual))?;
            Ok(Deciders { name: decider.into(), policy, fallback: Some(fallback) })
        }
    }
}

fn hpa(spec: &LearnedAutoscalerSpec, rules: &HpaRules) -> Result<Box<Hpa>> {
    // JSON is YAML, and the message of an error has the path.
    let manifest = HpaSpec::from_yaml(&spec.manifest(rules).to_string())?;
    Ok(Box::new(Hpa::from_spec(manifest)?))
}

/// The policy of a run's folder, and its name with the first digits of what it holds.
fn learned(path: &Path) -> Result<(Box<dyn Policy + Send>, String)> {
    let folder = path.to_str().context("expected a path in UTF-8")?;
    let model = Model::open(folder)?;
    let weights = std::fs::read(path.join(MODEL)).with_context(|| path.display().to_string())?;
    let name = format!("{}@{:.12}", model.run, digest([weights.as_slice()]));
    let policy = LearnedPolicy::new(&model.checkpoint, model.settings.base_policy()?)?;
    Ok((Box::new(policy), name))
}

fn prometheus(text: &str) -> Result<PrometheusConfig> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(PrometheusConfig::at(text));
    }
    let yaml = std::fs::read_to_string(text)
        .with_context(|| format!("--prometheus {text}: expected http://HOST:PORT or a file"))?;
    PrometheusConfig::from_yaml(&yaml).with_context(|| text.to_owned())
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
