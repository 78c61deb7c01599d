//! Hands each request on to the next pod that is ready.

use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// A pod that is not there yet, or no more, is not the client's business.
const TRIES: usize = 3;

/// The address to send requests to.
pub(crate) async fn start(backends: watch::Receiver<Vec<String>>) -> String {
    let (client, turn) =
        (reqwest::Client::builder().no_proxy().build().unwrap(), Arc::new(AtomicUsize::new(0)));
    let pass_on = move |uri: Uri| {
        let (client, backends, turn) = (client.clone(), backends.clone(), Arc::clone(&turn));
        async move {
            for _ in 0..TRIES {
                let next = turn.fetch_add(1, Ordering::Relaxed);
                let backend = {
                    let ready = backends.borrow();
                    ready.get(next % ready.len().max(1)).cloned()
                };
                let Some(backend) = backend else { break };
                if let Ok(answer) = client.get(format!("{backend}{}", uri.path())).send().await {
                    return answer.status().into_response();
                }
            }
            let nobody: Response = StatusCode::BAD_GATEWAY.into_response();
            nobody
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/work", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(pass_on);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
