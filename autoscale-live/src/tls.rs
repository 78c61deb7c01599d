//! Who does the cryptography of all connections.

/// Chooses it, once for the process. Whoever was first has chosen; all choose the same.
pub(crate) fn choose_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
