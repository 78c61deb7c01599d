//! Who does the cryptography of all connections, and what they trust.

use reqwest::{Client, ClientBuilder, Url};

/// Chooses who does it, once for the process. Whoever was first has chosen; all choose the same.
fn choose_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The beginning of a client for this address, which trusts whom the system trusts. In plain text there is nobody to trust:
/// an image without certificates, where a client with them cannot be made, can ask all the same.
pub(crate) fn client_for(url: &Url) -> ClientBuilder {
    choose_provider();
    let client = Client::builder();
    if url.scheme() == "http" { client.tls_certs_only([]) } else { client }
}
