//! Verdicts that hold for more than one call, as one worker remembers them.

use std::num::NonZeroUsize;
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
pub(crate) struct Memos(LruCache<Key, Kept>);

impl Memos {
    pub(crate) fn new(memos_max: usize) -> Self {
        Self(LruCache::new(NonZeroUsize::new(memos_max).unwrap_or(NonZeroUsize::MIN)))
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The verdict that holds for a call.
    pub(crate) fn find(&mut self, call: &QueryCall) -> Option<Arc<Verdict>> {
        if self.0.is_empty() {
            return None;
        }
        if let Kept::Verdict(verdict) = self.0.get(&Key::new(call, 0))? {
            return Some(Arc::clone(verdict));
        }
        match self.0.get(&Key::new(call, call.session.identity().key))? {
            Kept::Verdict(verdict) => Some(Arc::clone(verdict)),
            Kept::ByIdentity => None,
        }
    }

    /// Remembers a verdict, if it can hold for more than its call.
    pub(crate) fn keep(&mut self, call: &QueryCall, memo: Memo, verdict: &Arc<Verdict>) {
        if memo == Memo::Call || names_values(call, verdict) {
            return;
        }
        let kept = Kept::Verdict(Arc::clone(verdict));
        if memo == Memo::Template {
            self.0.put(Key::new(call, 0), kept);
            return;
        }
        self.0.put(Key::new(call, 0), Kept::ByIdentity);
        self.0.put(Key::new(call, call.session.identity().key), kept);
    }
}

/// Whether a rewritten text has values of its call in it.
fn names_values(call: &QueryCall, verdict: &Verdict) -> bool {
    let Verdict::Change(Changes { rewrite: Some(rewrite), .. }) = verdict else { return false };
    call.literals > 0 || rewrite.params.is_some()
}
