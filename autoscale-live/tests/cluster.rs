//! The Kubernetes side against a real control plane: `.ci/cluster` builds one and runs these.
//!
//! Where a test does not bring a node of its own there is none, so that pods stay Pending until it says otherwise. Each test
//! has a namespace of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(feature = "hpa-tests")]
#[path = "keda/decision.rs"]
mod decision;
#[cfg(feature = "hpa-tests")]
#[path = "keda/client.rs"]
#[expect(dead_code, reason = "KEDA does more than the proof needs")]
mod keda_client;

mod cluster {
    mod access;
    #[cfg(feature = "end-to-end-tests")]
    mod end_to_end;
    #[cfg(feature = "hpa-tests")]
    mod hpa_in_vivo;
    #[cfg(feature = "hpa-tests")]
    mod keda_proof;
    mod leases;
    mod manifests;
    #[cfg(any(feature = "end-to-end-tests", feature = "hpa-tests"))]
    mod node;
    pub(crate) mod plane;
    mod processes;
    mod resources;
    mod scaling;
    mod walkthrough;
    mod watching;
}
