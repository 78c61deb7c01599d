//! The control plane, and what the tests do with it by other means than the code under test.

use autoscale_live::controller::Workload;
use autoscale_live::shell::News;
use autoscale_live::target::kubernetes::connect;
use autoscale_live::target::{ObjectName, TargetRef};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// Nothing that is waited for takes longer than this, on a slow machine either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Plane {
    folder: PathBuf,
}

/// The one that the tests share.
pub(crate) fn shared() -> &'static Plane {
    static SHARED: OnceLock<Plane> = OnceLock::new();
    SHARED.get_or_init(|| Plane::start("shared", &[]))
}

/// The controller's command, as `.ci/cluster` has built it.
pub(crate) fn autoscale() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../debug/autoscale")
}

/// All parts of a control plane, kubectl among them.
pub(crate) fn program() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../control-plane/control-plane")
}

pub(crate) fn output(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

impl Plane {
    /// Its own, whose controller manager gets these flags; it ends with the process.
    pub(crate) fn start(name: &str, manager_flags: &[&str]) -> Self {
        let process = std::process::id();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plane-{name}-{process}"));
        let up = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane/up");
        let mut command = Command::new(up);
        command.arg(&folder).arg(process.to_string()).env("CONTROL_PLANE", program());
        output(command.env("MANAGER_FLAGS", manager_flags.join(" ")));
        Self { folder }
    }

    /// The administrator's.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Stops the API server at once, and waits until it has let go of its port, which one that is started again needs.
    pub(crate) fn stop_api_server(&self) {
        let process = std::fs::read_to_string(self.folder.join("kube-apiserver.pid")).unwrap();
        let config = std::fs::read_to_string(self.kubeconfig()).unwrap();
        let (_, address) = config.split_once("https://").unwrap();
        let (address, _) = address.split_once('"').unwrap();
        output(Command::new("kill").args(["-9", process.trim()]));
        let pause = Duration::from_millis(10);
        let mut looks = PATIENCE.as_millis() / pause.as_millis();
        while std::net::TcpListener::bind(address).is_err() {
            assert!(looks > 0, "the API server does not let go of {address}");
            looks -= 1;
            std::thread::sleep(pause);
        }
    }

    /// Starts it again.
    pub(crate) fn start_api_server(&self) {
        output(&mut Command::new(self.folder.join("kube-apiserver.start")));
    }

    /// What a person would type; gives what it prints.
    pub(crate) fn kubectl(&self, words: &[&str]) -> String {
        let config = self.kubeconfig();
        output(Command::new(program()).arg("kubectl").arg("--kubeconfig").arg(config).args(words))
    }

    /// Applies objects of any kind, written in YAML or JSON, that say where they belong.
    pub(crate) fn apply_manifest(&self, manifest: &str) {
        // kubectl looks and then creates: of two tests that bring the same ClusterRole one would fail.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(manifest.as_bytes()).unwrap();
        self.kubectl(&["apply", "-f", file.path().to_str().unwrap()]);
    }

    async fn config(&self) -> Config {
        let file = Kubeconfig::read_from(self.folder.join("kubeconfig")).unwrap();
        Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap()
    }

    /// The administrator.
    pub(crate) async fn client(&self) -> Client {
        connect(self.config().await).unwrap()
    }

    /// Whoever the token belongs to.
    pub(crate) async fn client_with(&self, token: &str) -> Client {
        let mut config = self.config().await;
        config.auth_info =
            kube::config::AuthInfo { token: Some(token.to_owned().into()), ..Default::default() };
        connect(config).unwrap()
    }

    /// A namespace with a name like this.
    pub(crate) async fn namespace(&self, like: &str) -> String {
        let namespaces: Api<Namespace> = Api::all(self.client().await);
        let namespace =
            serde_json::from_value(json!({ "metadata": { "generateName": format!("{like}-") } })).unwrap();
        let made = namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        made.metadata.name.unwrap()
    }

    /// A token of a service account.
    pub(crate) async fn token(&self, namespace: &str, account: &str) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [] } });
        let params = PostParams::default();
        let made: Value = accounts.create_subresource("token", account, &params, &request).await.unwrap();
        made["status"]["token"].as_str().unwrap().to_owned()
    }

    /// All objects of the target's kind.
    pub(crate) async fn objects(&self, target: &TargetRef) -> Api<DynamicObject> {
        let (group, version) = target.api_version.rsplit_once('/').unwrap_or(("", &target.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &target.kind));
        Api::namespaced_with(self.client().await, &target.namespace, &resource)
    }

    /// The target as a manager of that name applies it.
    pub(crate) async fn apply(&self, manager: &str, target: &TargetRef, spec: &Value) {
        let object = json!({
            "apiVersion": &target.api_version, "kind": &target.kind, "metadata": { "name": &target.name }, "spec": spec,
        });
        let params = PatchParams::apply(manager);
        self.objects(target).await.patch(&target.name, &params, &Patch::Apply(object)).await.unwrap();
    }
}

pub(crate) fn target(namespace: &str, kind: &str) -> TargetRef {
    object("apps/v1", kind, namespace)
}

/// What is called `web`, of any kind.
pub(crate) fn object(api_version: &str, kind: &str, namespace: &str) -> TargetRef {
    let (namespace, name) = (namespace.into(), "web".into());
    ObjectName { namespace, api_version: api_version.into(), kind: kind.into(), name }.into()
}

/// What every workload has.
pub(crate) fn pods_spec() -> Value {
    pods_spec_of("web")
}

/// The same, of a workload that bears this name.
pub(crate) fn pods_spec_of(name: &str) -> Value {
    json!({
        "selector": { "matchLabels": { "app": name } },
        "template": {
            "metadata": { "labels": { "app": name } },
            "spec": { "containers": [{ "name": "app", "image": "app", "resources": { "requests": { "cpu": "250m" } } }] },
        },
    })
}

/// The same, with this many replicas.
pub(crate) fn spec_with(replicas: u32) -> Value {
    let mut spec = pods_spec();
    spec["replicas"] = replicas.into();
    spec
}

/// Waits until there is such news of a workload.
pub(crate) async fn hear(
    news: &mut mpsc::Receiver<News>,
    what: &str,
    fits: impl Fn(Option<&Workload>) -> bool,
) {
    hear_of(news, what, |_, workload| fits(workload)).await;
}

/// The same, of a workload that matters.
pub(crate) async fn hear_of(
    news: &mut mpsc::Receiver<News>,
    what: &str,
    mut fits: impl FnMut(&TargetRef, Option<&Workload>) -> bool,
) {
    let wait = async {
        while let Some(told) = news.recv().await {
            if let News::Workload(target, workload) = &told
                && fits(target, workload.as_ref())
            {
                return;
            }
        }
        panic!("no more news");
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never heard: {what}"));
}

/// Asks again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"))
}
