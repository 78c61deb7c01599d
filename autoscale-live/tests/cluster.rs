//! The Kubernetes side against a real control plane: `.ci/cluster` builds one and runs these.
//!
//! There is no node, so that pods stay Pending until a test says otherwise. Each test has a namespace of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster {
    mod access;
    #[cfg(feature = "end-to-end-tests")]
    mod end_to_end;
    mod leases;
    mod manifests;
    pub(crate) mod plane;
    mod resources;
    mod scaling;
    mod watching;
}
