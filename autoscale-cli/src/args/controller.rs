//! Flags of `autoscale controller`.

use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  autoscale controller --config web.yaml --prometheus http://localhost:9090
  autoscale controller --config web.yaml --prometheus http://localhost:9090 --decisions decisions.jsonl
  autoscale controller --config web.yaml --prometheus prometheus.yaml --lease autoscale/autoscale --listen 0.0.0.0:8080
  autoscale controller --config web.yaml --prometheus http://localhost:9090 --dry-run=server
  autoscale controller --definition | kubectl apply -f -
  autoscale controller --watch --namespace shop --prometheus http://localhost:9090

web.yaml holds LearnedAutoscalers:

  apiVersion: autoscaleai.dev/v1alpha1
  kind: LearnedAutoscaler
  metadata: {name: web, namespace: shop}
  spec:
    scaleTargetRef: {kind: Deployment, name: web}
    minReplicas: 2
    maxReplicas: 40
    policy:
      model: {path: runs/web}     # or horizontalPodAutoscaler: {metrics: […], behavior: {…}}
    mode: shadow                     # active writes

The cluster is that of KUBECONFIG or ~/.kube/config, or the one that this runs in. In shadow nothing is ever written to a
target; each decision is a line of JSON all the same.")]
pub(crate) struct ControllerArgs {
    /// A YAML file with what to scale, and how.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["watch", "definition"])]
    pub(crate) config: Option<PathBuf>,
    /// Scale by the custom resources of the cluster, as they come and go, and keep their status up to date.
    #[arg(long, conflicts_with_all = ["config", "dry_run"])]
    pub(crate) watch: bool,
    /// Those of this namespace alone; may be repeated.
    #[arg(long, value_name = "NAMESPACE", requires = "watch", conflicts_with = "config")]
    pub(crate) namespace: Vec<String>,
    /// The address of Prometheus, or a YAML file with `url`, `auth`, `caFile`, `windowSeconds`, labels, `usage` and queries.
    #[arg(long, value_name = "URL|FILE", required_unless_present = "definition")]
    pub(crate) prometheus: Option<String>,
    /// Print the definition of the custom resource, for `kubectl apply -f -`, and end.
    #[arg(long, exclusive = true)]
    pub(crate) definition: bool,
    /// Where decisions go; standard output when absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) decisions: Option<PathBuf>,
    /// Answer /healthz, /readyz, /metrics and /state here.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Answer KEDA's external-scaler calls (gRPC, plain text) here; not at all when absent.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) keda_listen: Option<SocketAddr>,
    /// Write only while holding this Lease, so that several may run.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) lease: Option<String>,
    /// What this process is called; the host's name when absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// Say what would be done, and end: after a check of the files alone (`client`), or of cluster and Prometheus as well.
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub(crate) dry_run: Option<DryRun>,
}

/// Who is asked in a dry run, in `kubectl`'s words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// Nobody: what the files say is checked.
    Client,
    /// The API server and Prometheus, too, for what they know of each target.
    Server,
}
