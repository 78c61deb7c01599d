//! A real Prometheus that scrapes each second.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) struct Prometheus {
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Prometheus {
    /// The program is that of `PROMETHEUS`, or what the path has.
    pub(crate) fn start(discovery: &str) -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: pods
    http_sd_configs: [{{url: '{discovery}', refresh_interval: 1s}}]
"
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let port = free_port();
        let child = run(&folder, port);
        Self { folder, port, child }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn start_again(&mut self) {
        self.child = run(&self.folder, self.port);
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One below those that the system gives out by itself: nobody is given it while Prometheus is away.
fn free_port() -> u16 {
    let first = std::process::id() % 20_000;
    let mut ports = (0..20_000).map(|k| 12_000 + ((first + k) % 20_000) as u16);
    ports.find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).expect("one of them is free")
}

fn run(folder: &Path, port: u16) -> Child {
    let program = std::env::var("PROMETHEUS").unwrap_or_else(|_| "prometheus".to_owned());
    let log = std::fs::File::create(folder.join("log")).unwrap();
    Command::new(&program)
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; set PROMETHEUS to where it is"))
}
