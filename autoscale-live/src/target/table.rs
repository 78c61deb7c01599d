//! What a watch has shown: rows by name. A new list replaces the old one when it is whole, not before.

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A watch's event, with what matters of the object.
#[derive(Debug)]
pub(super) enum Change<V> {
    /// A list begins.
    List,
    /// One of the list.
    Listed(Arc<str>, V),
    /// The list is whole.
    Whole,
    /// It is new, or has changed.
    Set(Arc<str>, V),
    /// It is gone.
    Gone(Arc<str>),
}

impl<V> Change<V> {
    /// What matters of an event's object.
    pub(super) fn of<K: ResourceExt>(event: Event<K>, read: impl Fn(&K) -> V) -> Self {
        let name = |object: &K| object.name_any().into();
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
pub(super) struct Table<V> {
    /// Boxed, for half of a tree's places are empty.
    rows: BTreeMap<Arc<str>, Box<V>>,
    list: BTreeMap<Arc<str>, Box<V>>,
    known: bool,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), list: BTreeMap::new(), known: false }
    }
}

impl<V> Table<V> {
    /// Takes in what happened.
    pub(super) fn take(&mut self, change: Change<V>) {
        match change {
            Change::List => self.list.clear(),
            Change::Listed(name, row) => {
                self.list.insert(name, Box::new(row));
            }
            Change::Whole => {
                self.rows = std::mem::take(&mut self.list);
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
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.rows.get(name).map(|row| &**row)
    }

    /// All, by name.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.rows.iter().map(|(name, row)| (name, &**row))
    }
}
