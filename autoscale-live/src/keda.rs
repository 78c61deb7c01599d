//! An external scaler for KEDA: KEDA owns the HPA, the fallback and the pause, and the policy supplies the number.
//!
//! [`Board`] is a journal that keeps the last decision of each autoscaler. With the feature `keda`, `serve` answers KEDA's
//! calls from it, with the `messages` of KEDA's public protocol. The controller decides in shadow meanwhile: KEDA's ScaledObject is a rival
//! that scales the same target, so that even an active one would not write.
//!
//! | call | answer |
//! |---|---|
//! | `GetMetricSpec` | [`METRIC`] with a target of one per pod, always: an HPA that aims at that has as many pods as the value says |
//! | `GetMetrics` | what was granted last, or an error that names what is missing |
//! | `IsActive` | whether that is more than nothing, or the same error |
//! | `StreamIsActive` | the same whenever it changes, until the client goes or the process stops |
//!
//! An error is what makes KEDA turn to its own `fallback`, so there is no guessing here: no decision yet, a decision older
//! than [`PATIENCE`] control intervals, and a ladder that keeps its hands off are all errors. `GetMetricSpec` is not asked
//! of the board since KEDA makes the HPA from its answer and looks for a fallback only where it has one
//! (kedacore/keda, `pkg/scaling/scale_handler.go`); without it the HPA would have no metric of ours.
//!
//! An autoscaler has at least one pod (`minReplicas`), so the trigger is active as long as there are answers, which keeps
//! KEDA from scaling to zero; should limits allow zero one day, a grant of zero makes it inactive. Plain text only; TLS is
//! for a proxy or a mesh.

mod board;
#[cfg(feature = "keda")]
pub mod messages;
#[cfg(feature = "keda")]
mod server;

pub use board::{AutoscalerRef, Board, Unanswered};
#[cfg(feature = "keda")]
pub use server::serve;

/// The name of the service.
pub const SERVICE: &str = "externalscaler.ExternalScaler";

/// The one metric that there is: the number of replicas.
pub const METRIC: &str = "desired-replicas";

/// The key of a trigger's metadata that names the `LearnedAutoscaler`; the ScaledObject's own name when absent.
pub const AUTOSCALER: &str = "autoscaler";

/// A decision is good for so many control intervals. Two in a row are less than two intervals apart, however long
/// measurements take.
pub const PATIENCE: u32 = 3;
