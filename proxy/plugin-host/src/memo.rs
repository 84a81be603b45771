//! Verdicts that hold for more than one call, as one worker remembers them.

use std::sync::Arc;

use lru::LruCache;

use crate::call::{QueryCall, StatementKind};
use crate::verdict::{Changes, Memo, Verdict};

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    template: u64,
    kind: StatementKind,
    read_only: bool,
    /// Zero: whoever asks.
    identity: u128,
}

impl Key {
    fn new(call: &QueryCall, identity: u128) -> Self {
        Self { template: call.template, kind: call.kind, read_only: call.read_only, identity }
    }
}

#[derive(Debug)]
enum Kept {
    /// It holds.
    Verdict(Arc<Verdict>),
    /// There may be one for the identity.
    ByIdentity,
}

/// Verdicts by template.
#[derive(Debug)]
pub(crate) struct Memos {
    /// Bounded here: a bound of its own would reserve memory for all of them.
    kept: LruCache<Key, Kept>,
    memos_max: usize,
}

impl Memos {
    pub(crate) fn new(memos_max: usize) -> Self {
        Self { kept: LruCache::unbounded(), memos_max }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }

    /// The verdict that holds for a call.
    pub(crate) fn find(&mut self, call: &QueryCall) -> Option<Arc<Verdict>> {
        if self.kept.is_empty() || call.kind == StatementKind::Prepared {
            return None;
        }
        if let Kept::Verdict(verdict) = self.kept.get(&Key::new(call, 0))? {
            return Some(Arc::clone(verdict));
        }
        match self.kept.get(&Key::new(call, call.session.identity().key))? {
            Kept::Verdict(verdict) => Some(Arc::clone(verdict)),
            Kept::ByIdentity => None,
        }
    }

    /// Remembers a verdict, if it can hold for more than its call.
    pub(crate) fn keep(&mut self, call: &QueryCall, memo: Memo, verdict: &Arc<Verdict>) {
        // What `EXECUTE` executes is not in its template.
        let varies = call.kind == StatementKind::Prepared || names_values(call, verdict);
        if memo == Memo::Call || varies {
            return;
        }
        let kept = Kept::Verdict(Arc::clone(verdict));
        if memo == Memo::Template {
            self.put(Key::new(call, 0), kept);
            return;
        }
        self.put(Key::new(call, 0), Kept::ByIdentity);
        self.put(Key::new(call, call.session.identity().key), kept);
    }

    fn put(&mut self, key: Key, kept: Kept) {
        self.kept.put(key, kept);
        while self.kept.len() > self.memos_max {
            self.kept.pop_lru();
        }
    }
}

/// Whether a rewritten text has values of its call in it.
fn names_values(call: &QueryCall, verdict: &Verdict) -> bool {
    let Verdict::Change(Changes { rewrite: Some(rewrite), .. }) = verdict else { return false };
    call.literals > 0 || rewrite.params.is_some()
}
