//! Reinforcement-learning agents.
//!
//! The only crate that knows the tensor library; it reads no clock and no operating-system randomness.
//! Start at [`ppo`], which reads in the order of the paper as [`a2c`] and [`dqn`] do, then [`trainer`], which drives any
//! [`autoscale_core::agent::Learner`] over any [`autoscale_core::agent::Task`].
//!
//! | module | what |
//! |---|---|
//! | [`features`], [`actions`] | observation → numbers, index → target replicas |
//! | [`encoded`] | any environment as a task |
//! | [`net`], [`categorical`], [`normalizer`] | host-side networks, masked softmax, running mean and variance |
//! | [`learner`] | what all learners are told, and what can be kept of them |
//! | [`ppo`], [`a2c`] | on-policy: over `on_policy`, `rollout_buffer` and [`gae`] |
//! | [`dqn`] | off-policy: over [`replay`] |
//! | [`backend`], [`optimizer`] | what computes the gradients (`graph`), and what is done with them |
//! | [`trainer`] | the one training loop |
//! | [`checkpoint`], [`arrays`], [`learned`] | weights with their manifest, and the policy that runs them |
//! | [`toy`] | small worlds with known answers |

pub mod a2c;
pub mod actions;
pub mod arrays;
pub mod backend;
pub mod categorical;
pub mod checkpoint;
pub mod dqn;
pub mod encoded;
pub mod features;
pub mod gae;
mod graph;
pub mod learned;
pub mod learner;
pub mod net;
pub mod normalizer;
mod on_policy;
pub mod optimizer;
pub mod ppo;
pub mod replay;
mod rollout_buffer;
pub mod toy;
pub mod trainer;
