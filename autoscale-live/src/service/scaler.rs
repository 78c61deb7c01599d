//! KEDA's external scaler within the process, where this build has one.

use super::ServiceError;
use super::roster::Key;
use crate::controller::Deciders;
use crate::shell::Journal;
use crate::spec::LearnedAutoscaler;
use std::future::Future;
use std::net::SocketAddr;

#[cfg(feature = "keda")]
pub(super) use with_keda::Scaler;
#[cfg(not(feature = "keda"))]
pub(super) use without_keda::Scaler;

#[cfg(feature = "keda")]
mod with_keda {
    use super::{Deciders, Future, Journal, Key, LearnedAutoscaler, ServiceError, SocketAddr};
    use crate::keda::{AutoscalerRef, Board, serve};
    use crate::service::system;
    use crate::shell::SystemClock;
    use kube::ResourceExt;
    use std::sync::Arc;
    use tokio::net::TcpListener;

    /// The board that KEDA is answered from.
    pub(in crate::service) struct Scaler(Board);

    impl Scaler {
        /// Nobody is listed yet.
        pub(in crate::service) fn new() -> Self {
            Self(Board::new())
        }

        /// Answers for this one, too.
        pub(in crate::service) fn list(&self, autoscaler: &LearnedAutoscaler, deciders: &Deciders) {
            let target = autoscaler.target();
            let name =
                AutoscalerRef { namespace: target.namespace.clone(), name: autoscaler.name_any().into() };
            self.0.list(name, target, deciders.policy.cadence().period);
        }

        /// Answers for this one no more.
        pub(in crate::service) fn strike(&self, (namespace, name): &Key) {
            self.0.strike(&AutoscalerRef { namespace: Arc::clone(namespace), name: Arc::clone(name) });
        }

        /// Is told of decisions.
        pub(in crate::service) fn journal(&self) -> Box<dyn Journal> {
            Box::new(self.0.clone())
        }

        /// Answers there until `end`; nobody when there is no address.
        pub(in crate::service) async fn start(
            &self,
            address: Option<SocketAddr>,
            end: impl Future<Output = ()> + Send + 'static,
        ) -> Result<(), ServiceError> {
            let Some(address) = address else { return Ok(()) };
            let listener = TcpListener::bind(address).await.map_err(|error| system(&address, error))?;
            tokio::spawn(serve(listener, self.0.clone(), SystemClock, end));
            Ok(())
        }
    }
}

#[cfg(not(feature = "keda"))]
mod without_keda {
    use super::{Deciders, Future, Journal, Key, LearnedAutoscaler, ServiceError, SocketAddr};
    use crate::service::system;
    use std::io::{Error, ErrorKind};

    /// Nobody.
    pub(in crate::service) struct Scaler;

    #[expect(clippy::unused_self, reason = "the same as that of a build with KEDA")]
    impl Scaler {
        pub(in crate::service) const fn new() -> Self {
            Self
        }

        pub(in crate::service) const fn list(&self, _: &LearnedAutoscaler, _: &Deciders) {}

        pub(in crate::service) const fn strike(&self, _: &Key) {}

        pub(in crate::service) fn journal(&self) -> Box<dyn Journal> {
            Box::new(Vec::<Box<dyn Journal>>::new())
        }

        #[expect(clippy::unused_async, reason = "the same as that of a build with KEDA")]
        pub(in crate::service) async fn start(
            &self,
            address: Option<SocketAddr>,
            _: impl Future<Output = ()> + Send + 'static,
        ) -> Result<(), ServiceError> {
            let missing = || Error::new(ErrorKind::Unsupported, "this build has no `keda` feature");
            address.map_or(Ok(()), |address| {
                Err(system(&format!("{address}: KEDA's external scaler"), missing()))
            })
        }
    }
}
