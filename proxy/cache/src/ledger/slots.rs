//! When each tag was last marked. A tag has a slot by its hash, and a slot does not know which tags it is of: memory is
//! bounded without anything being forgotten, and tags that share a slot invalidate each other's entries.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{Seq, check::Check, check::Checks};
use crate::tag::{Tag, TagKind, Tags};

/// Slots of relations, apart from those of keys: a relation that is always written to takes no key's slot.
const RELATION_SLOTS: usize = 4096;

/// The last marks of the tags that have this slot.
#[derive(Debug, Default)]
struct Slot {
    /// By Pointsman's own writes, by request, or by another proxy.
    local: AtomicU64,
    /// By the change stream.
    event: AtomicU64,
}

/// All slots. The first is of everything: each look at any tag is a look at it too.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Box<[Slot]>,
    /// By slot: writes sent whose end is not known.
    open: Box<[AtomicU32]>,
    key_mask: u64,
}

impl Slots {
    /// `keys` slots for keys and names, rounded up to a power of two.
    pub(crate) fn new(keys: usize) -> Self {
        let keys = keys.clamp(1, 1 << 28).next_power_of_two();
        let all = 1 + RELATION_SLOTS + keys;
        Self {
            slots: (0..all).map(|_| Slot::default()).collect(),
            open: (0..all).map(|_| AtomicU32::new(0)).collect(),
            key_mask: keys as u64 - 1,
        }
    }

    #[inline]
    fn index(&self, tag: Tag) -> usize {
        // The low two bits are the kind.
        let hash = tag.number() >> 2;
        #[expect(clippy::cast_possible_truncation, reason = "masked to the table's length")]
        match tag.kind() {
            TagKind::Relation | TagKind::Whole => {
                1 + ((hash << 1 | tag.number() & 1) & (RELATION_SLOTS as u64 - 1)) as usize
            }
            TagKind::Key | TagKind::Name => 1 + RELATION_SLOTS + (hash & self.key_mask) as usize,
        }
    }

    /// The places to mark for these tags.
    fn marked(&self, tags: &Tags, checks: &Checks) -> impl Iterator<Item = usize> {
        let everything = tags.is_everything() && checks.make(Check::Everything);
        let each = tags.as_slice().iter().map(|tag| self.index(*tag));
        everything.then_some(0).into_iter().chain(each)
    }

    /// The places to look at for these tags.
    fn looked_at(&self, tags: &[Tag]) -> impl Iterator<Item = usize> {
        std::iter::once(0).chain(tags.iter().map(|tag| self.index(*tag)))
    }

    /// Marks by a write or a request.
    pub(crate) fn mark_local(&self, tags: &Tags, seq: Seq, checks: &Checks) {
        for at in self.marked(tags, checks) {
            self.slots[at].local.fetch_max(seq.0, Ordering::SeqCst);
        }
    }

    /// Marks by the stream, whose numbers ascend: called with the lock of what is unsettled.
    pub(crate) fn mark_event(&self, tags: &Tags, seq: Seq, checks: &Checks) {
        for at in self.marked(tags, checks) {
            self.slots[at].event.store(seq.0, Ordering::SeqCst);
        }
    }

    /// Opens a write.
    pub(crate) fn open(&self, tags: &Tags, checks: &Checks) {
        for at in self.marked(tags, checks) {
            self.open[at].fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Closes what [`Slots::open`] opened for the same tags.
    pub(crate) fn close(&self, tags: &Tags, checks: &Checks) {
        for at in self.marked(tags, checks) {
            self.open[at].fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether a write to one of them is open.
    pub(crate) fn is_open(&self, tags: &[Tag]) -> bool {
        self.looked_at(tags).any(|at| self.open[at].load(Ordering::SeqCst) > 0)
    }

    /// The last marks of these tags: by writes, by the stream.
    #[inline]
    pub(crate) fn last(&self, tags: &[Tag]) -> (Seq, Seq) {
        let (mut local, mut event) = (0, 0);
        for at in self.looked_at(tags) {
            let slot = &self.slots[at];
            local = local.max(slot.local.load(Ordering::SeqCst));
            event = event.max(slot.event.load(Ordering::SeqCst));
        }
        (Seq(local), Seq(event))
    }

    /// What the table takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.len() * (size_of::<Slot>() + size_of::<AtomicU32>())
    }
}
