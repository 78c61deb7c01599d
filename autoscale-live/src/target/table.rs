//! What a watch has shown: rows by name, or by whatever tells its objects apart. A new list replaces the old one when it is
//! whole, not before.

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A watch's event, with what matters of the object.
#[derive(Debug)]
pub(crate) enum Change<V, N = Arc<str>> {
    /// A list begins.
    List,
    /// One of the list.
    Listed(N, V),
    /// The list is whole.
    Whole,
    /// It is new, or has changed.
    Set(N, V),
    /// It is gone.
    Gone(N),
}

impl<V> Change<V> {
    /// What matters of an event's object.
    pub(super) fn of<K: ResourceExt>(event: Event<K>, read: impl FnOnce(&K) -> V) -> Self {
        Self::by(event, |object| object.name_any().into(), read)
    }
}

impl<V, N> Change<V, N> {
    /// What matters of an event's object, which is called by `name`.
    pub(crate) fn by<K>(event: Event<K>, name: impl FnOnce(&K) -> N, read: impl FnOnce(&K) -> V) -> Self {
        match event {
            Event::Init => Self::List,
            Event::InitApply(object) => Self::Listed(name(&object), read(&object)),
            Event::InitDone => Self::Whole,
            Event::Apply(object) => Self::Set(name(&object), read(&object)),
            Event::Delete(object) => Self::Gone(name(&object)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Table<V, N = Arc<str>> {
    /// Boxed, for half of a tree's places are empty.
    rows: BTreeMap<N, Box<V>>,
    list: BTreeMap<N, Box<V>>,
    known: bool,
}

impl<V, N> Default for Table<V, N> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), list: BTreeMap::new(), known: false }
    }
}

impl<V, N: Ord> Table<V, N> {
    /// Takes in what happened.
    pub(crate) fn take(&mut self, change: Change<V, N>) {
        match change {
            Change::List => self.list.clear(),
            Change::Listed(name, row) => {
                self.list.insert(name, Box::new(row));
            }
            Change::Whole => {
                // Collected, a tree has no empty places.
                self.rows = std::mem::take(&mut self.list).into_iter().collect();
                self.known = true;
            }
            Change::Set(name, row) => {
                self.rows.insert(name, Box::new(row));
            }
            Change::Gone(name) => {
                self.rows.remove(&name);
            }
        }
    }

    /// Whether there has been a whole list.
    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, name: &Q) -> Option<&V>
    where
        N: Borrow<Q>,
    {
        self.rows.get(name).map(|row| &**row)
    }

    /// The name as it is kept.
    pub(crate) fn name<Q: Ord + ?Sized>(&self, name: &Q) -> Option<&N>
    where
        N: Borrow<Q>,
    {
        self.rows.get_key_value(name).map(|(name, _)| name)
    }

    /// All, by name.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&N, &V)> {
        self.rows.iter().map(|(name, row)| (name, &**row))
    }
}
