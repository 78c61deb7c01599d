//! Reinforcement-learning agents.
//!
//! The only crate that knows the tensor library; it reads no clock and no operating-system randomness.
//! Start at [`ppo`], which reads in the order of the paper, then [`trainer`], which drives any
//! [`autoscale_core::agent::Learner`] over any [`autoscale_core::agent::Task`].
//!
//! | module | what |
//! |---|---|
//! | [`features`], [`actions`] | observation → numbers, index → target replicas |
//! | [`encoded`] | any environment as a task |
//! | [`net`], [`categorical`], [`normalizer`] | host-side network, masked softmax, running mean and variance |
//! | [`gae`], [`rollout_buffer`], [`ppo`] | advantage estimation, what a rollout keeps, the algorithm |
//! | [`trainer`] | the one training loop |
//! | [`checkpoint`], [`learned`] | weights with their manifest, and the policy that runs them |
//! | [`backend`] | what computes the gradients |

pub mod actions;
pub mod backend;
pub mod categorical;
pub mod checkpoint;
pub mod encoded;
pub mod features;
pub mod gae;
pub mod learned;
pub mod net;
pub mod normalizer;
pub mod ppo;
pub mod rollout_buffer;
pub mod trainer;
