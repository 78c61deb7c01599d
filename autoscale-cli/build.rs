//! Tells the program which commit it was built from.

use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}

fn main() {
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| !s.is_empty());
    println!("cargo::rustc-env=AUTOSCALE_COMMIT={commit}{}", if changed { "+" } else { "" });
    // All that it is built from, or a change would not be noticed before the next commit.
    let crates = ["core", "sim", "policies", "agents", "eval", "live", "cli"];
    for name in crates {
        println!("cargo::rerun-if-changed=../autoscale-{name}/src");
    }
    for path in ["HEAD", "index", "logs/HEAD"] {
        if let Some(file) = git(&["rev-parse", "--path-format=absolute", "--git-path", path]) {
            println!("cargo::rerun-if-changed={file}");
        }
    }
}
