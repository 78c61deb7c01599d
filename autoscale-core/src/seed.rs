//! One seed tree for everything random.
//!
//! A child seed depends on its parent and its label only, so what is drawn for the k-th request or the
//! k-th pod does not depend on what else was drawn before: two policies on one seed meet the same world
//! (common random numbers).

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The generator behind every stream: small, fast, and named, so that its output is fixed for good.
pub type Stream = Pcg64Mcg;

/// A node of the seed tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(u64);

/// The three disjoint branches below a root. Model selection and tuning see the first two only; final
/// tables use `Test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// Episodes that learners and tuners see.
    Train,
    /// Episodes that choose between checkpoints or parameters.
    Validate,
    /// Episodes that only final tables see.
    Test,
}

impl Seed {
    /// The root of a tree.
    pub const fn root(number: u64) -> Self {
        Self(number)
    }

    /// The number itself, for records and file names.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The child called `label`.
    pub fn child(self, label: &str) -> Self {
        // FNV-1a over the label: labels are a handful of fixed words, the mixing below does the rest.
        let hash = label
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self(mix(self.0 ^ mix(hash)))
    }

    /// The child with ordinal `k`.
    pub fn nth(self, k: u64) -> Self {
        Self(mix(self.0.wrapping_add(mix(k.wrapping_add(0x9e37_79b9_7f4a_7c15)))))
    }

    /// The k-th episode seed of a branch. Branches are disjoint.
    ///
    /// # Panics
    /// Never in practice: ordinals stay below 2^62.
    pub fn episode(self, branch: Branch, k: u64) -> Self {
        let tag = match branch {
            Branch::Train => 0,
            Branch::Validate => 1,
            Branch::Test => 2,
        };
        assert!(k < 1 << 62, "episode ordinals stay below 2^62");
        // `mix` is a bijection, so different (branch, k) can never give the same seed below one root.
        Self(mix(self.0 ^ mix((tag << 62) | k)))
    }

    /// A generator for this node.
    pub fn stream(self) -> Stream {
        Stream::seed_from_u64(self.0)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014), a bijection on 64-bit numbers.
const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn branches_and_ordinals_never_share_a_seed() {
        let root = Seed::root(7);
        let mut seen = BTreeSet::new();
        for branch in [Branch::Train, Branch::Validate, Branch::Test] {
            for k in 0..2000 {
                assert!(seen.insert(root.episode(branch, k)));
            }
        }
    }

    #[test]
    fn a_child_depends_on_its_label_alone() {
        let root = Seed::root(1);
        assert_eq!(root.child("arrivals"), Seed::root(1).child("arrivals"));
        assert_ne!(root.child("arrivals"), root.child("demand"));
        assert_ne!(root.child("arrivals"), Seed::root(2).child("arrivals"));
        assert_ne!(root.nth(0), root.nth(1));
    }
}
