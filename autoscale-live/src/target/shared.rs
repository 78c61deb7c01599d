//! One copy of what many have.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// Among fewer values than these, looking for those that nobody holds is not worth it.
const FEW: usize = 64;

/// Values of which there is one copy each, however many hold it.
#[derive(Debug)]
pub(crate) struct Shared<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// With so many, those that nobody holds any more are dropped.
    most: usize,
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), most: FEW }
    }
}

impl<T: Eq + Hash + ?Sized> Shared<T> {
    /// The copy of this value that all others have.
    pub(crate) fn one(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.values.get(&*value) {
            return Arc::clone(known);
        }
        if self.values.len() >= self.most {
            self.sweep();
        }
        self.values.insert(Arc::clone(&value));
        value
    }

    /// Drops what nobody holds any more.
    pub(crate) fn sweep(&mut self) {
        self.values.retain(|value| Arc::strong_count(value) > 1);
        self.values.shrink_to(FEW);
        self.most = FEW.max(2 * self.values.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_copy_of_what_is_held_and_little_of_what_is_not() {
        let mut shared = Shared::<str>::default();
        let shop = shared.one("shop".into());
        assert!(Arc::ptr_eq(&shop, &shared.one("shop".into())));
        for k in 0..10 * FEW {
            shared.one(k.to_string().into());
        }
        assert!(shared.values.len() <= FEW, "{}", shared.values.len());
        let held: Vec<Arc<str>> = (0..10 * FEW).map(|k| shared.one(k.to_string().into())).collect();
        assert!(held.iter().all(|one| shared.values.contains(one)));
        assert!(Arc::ptr_eq(&shop, &shared.one("shop".into())), "it is held all the time");
        drop(held);
        shared.sweep();
        assert_eq!(shared.values.len(), 1);
    }
}
