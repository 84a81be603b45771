//! What a session writes, as the cache must hear of it: noted when what may commit it is sent, and again before the client
//! is told that it is there.

use std::sync::Arc;

use pointsman_cache::Tags;
use pointsman_cache::ledger::{Backend, Ledger, Write};
use pointsman_policy::caching::Writes;
use pointsman_sql::{Facts, Kind};
use pointsman_wire::backend::TransactionStatus;

use super::Session;
use super::cached::Execution;
use super::held::Held;
use super::judge::{Marks, Verdict, with_text};
use super::plugged::Unheard;
use crate::caching::tags;

/// Writes that may be committing at once on one connection; more are everything.
const OPEN_MAX: usize = 16;

/// Writes of one transaction that plugins are told of one by one; more have changed everything.
const UNHEARD_MAX: usize = 1_000;

/// What was sent on a connection that may write, since a transaction began on it.
#[derive(Debug)]
pub(super) struct Written {
    ledger: Arc<Ledger>,
    /// All of it.
    tags: Tags,
    /// What may be committing.
    open: Vec<Write>,
    /// Everything is.
    open_all: bool,
    /// The catalog's families and the version of the policies that the tags were made by.
    made_by: (u64, u64),
    /// It may change who may read what in every database.
    roles: bool,
    /// What plugins are to hear of before its commit is told.
    unheard: Vec<Unheard>,
}

impl Written {
    fn open(&mut self, backend: Backend) {
        if self.open_all || self.tags.is_empty() {
            return;
        }
        if self.open.len() >= OPEN_MAX {
            self.tags.add_everything();
        }
        self.open_all = self.tags.is_everything();
        self.open.push(self.ledger.sent(&self.tags, backend));
    }

    /// The transaction was rolled back.
    pub fn rolled_back(mut self) {
        self.unheard.clear();
        std::mem::take(&mut self.open).into_iter().for_each(Write::rolled_back);
    }
}

impl Drop for Written {
    /// What plugins did not hear of, as the connection is lost while it may be committing, may have been anything.
    fn drop(&mut self) {
        if !self.unheard.is_empty() && !self.open.is_empty() {
            self.ledger.invalidate(&Tags::everything());
        }
    }
}

impl Session {
    /// A statement that may write is about to be sent.
    pub(super) fn note_write(&mut self, facts: &Facts, verdict: &Verdict, asked: &Execution<'_>) {
        let database = &self.shared.account.database;
        if database.ledger().is_none() {
            return;
        }
        let catalog = database.catalog();
        let known = !self.hides_relations() && verdict.is_of(&catalog);
        let policies = self.shared.policies.load();
        let plans = verdict.plans(facts, &catalog, &policies.set);
        let mut tags = Tags::new();
        match &plans.writes {
            Writes::These(changes) if known => with_text(asked.sql, self.wants.rules(), |literals, _| {
                let values = self.values(asked, literals);
                tags::written(changes, &values, database.space(), &mut tags);
            }),
            _ => tags.add_everything(),
        }
        let made_by = (catalog.families(), policies.set.version());
        let roles = facts.statements.iter().any(|one| one.kind == Kind::Ddl && one.writes.is_empty());
        self.note_tags(&tags, made_by, roles);
        if let Some(Held { written: Some(written), .. }) = &mut self.held {
            let mut unheard = self.flow.plugged.unheard();
            let ahead = self.owed.readies_forwarded();
            unheard.iter_mut().for_each(|write| write.behind(ahead));
            written.unheard.append(&mut unheard);
            if written.unheard.len() > UNHEARD_MAX {
                written.unheard.clear();
                written.tags.add_everything();
            }
        }
    }

    /// What was written on the connection held that plugins have not heard of.
    pub(super) fn unheard(&mut self) -> Option<&mut Vec<Unheard>> {
        let written = self.held.as_mut()?.written.as_mut()?;
        Some(&mut written.unheard).filter(|unheard| !unheard.is_empty())
    }

    /// Plugins say that this has changed, too.
    pub(super) fn add_changed(&mut self, tags: &Tags) {
        if let Some(Held { written: Some(written), .. }) = &mut self.held {
            written.tags.add_all(tags);
        }
    }

    /// Something is about to be sent of which it is not known what it writes.
    pub(super) fn note_unknown_write(&mut self) {
        let database = &self.shared.account.database;
        if database.ledger().is_some() {
            self.note_tags(&Tags::everything(), self.tags_made_by(), false);
        }
    }

    fn note_tags(&mut self, tags: &Tags, made_by: (u64, u64), roles: bool) {
        let Some(ledger) = self.shared.account.database.ledger().cloned() else { return };
        // Inside a transaction of which nothing else is under way, nothing commits before its end is sent.
        let quiet = self.flow.quiet && self.status == TransactionStatus::InTransaction;
        let Some(held) = &mut self.held else { return };
        let written = held.written.get_or_insert_with(|| {
            let tags = Tags::new();
            let (open, unheard) = (Vec::new(), Vec::new());
            Box::new(Written { ledger, tags, open, open_all: false, made_by, roles: false, unheard })
        });
        written.tags.add_all(tags);
        written.roles |= roles;
        if written.made_by != made_by {
            written.tags.add_everything();
        }
        if !quiet {
            let backend = Backend(held.lease.connection().cancel.process_id);
            written.open(backend);
        }
    }

    /// A request is about to be sent: whether it can be told what it commits.
    pub(super) fn note_request(&mut self) {
        if self.owed.is_empty() && !self.flow.unsynced {
            self.flow.quiet = true;
        }
    }

    /// What may end the transaction is about to be sent: what was written in it may be committing from now on.
    pub(super) fn note_ending(&mut self, marks: Marks) {
        if !(marks.has(Marks::STATE) || marks.has(Marks::NAMES) || marks.has(Marks::DOUBTFUL)) {
            return;
        }
        self.flow.quiet = false;
        if let Some(Held { written: Some(written), lease, .. }) = &mut self.held {
            written.open(Backend(lease.connection().cancel.process_id));
        }
    }

    /// What was written may be there for all to see: called before the client hears of it.
    pub(super) fn note_committed(&mut self) {
        if self.held.as_ref().is_none_or(|held| held.written.is_none()) {
            return;
        }
        let now = self.tags_made_by();
        let Some(Held { written: slot, .. }) = &mut self.held else { return };
        let Some(written) = slot else { return };
        let ended = self.owed.is_empty() && self.status == TransactionStatus::Idle;
        let marked =
            if written.made_by != now { Tags::everything() } else { std::mem::take(&mut written.tags) };
        if let Some(shared) = self.shared.account.database.shared() {
            shared.push(&marked);
        }
        if ended {
            for write in written.open.drain(..) {
                self.own = self.own.max(write.acknowledged());
            }
        }
        self.own = self.own.max(written.ledger.invalidate(&marked));
        if written.roles {
            self.shared.cluster.databases().iter().for_each(|other| other.forget_results());
        }
        if ended {
            *slot = None;
        } else {
            written.tags = marked;
        }
    }

    /// What tags depend on that are made now.
    fn tags_made_by(&self) -> (u64, u64) {
        (self.shared.account.database.catalog().families(), self.shared.policies.load().set.version())
    }

    /// Whether a name in a text may mean a temporary relation instead.
    fn hides_relations(&self) -> bool {
        use super::pins::Pins;
        self.flow.probe_due || self.pins.has(Pins::TEMPORARY) || self.pins.has(Pins::UNKNOWN)
    }
}
