//! Plugins after a write: asked when the server says that it is there, before the client hears of it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pointsman_cache::Tags;
use pointsman_plugin_host::{Hook, Invalidation, StatementKind, WriteCall};
use pointsman_wire::frame::Header;
use pointsman_wire::owed::{Ask, Deal};

use super::super::Session;
use super::Judges;
use crate::caching::tags::{self, Naming};
use crate::fault::Fault;
use crate::plugins::asked::kind;

/// A write that plugins have not heard of.
#[derive(Debug)]
pub(in crate::session) struct Unheard {
    judges: Judges,
    /// How many times the client hears ReadyForQuery before its own.
    ahead: usize,
    /// The server has said that it is done.
    complete: bool,
    /// How many rows it wrote; none: that was not said.
    rows: Option<u64>,
}

impl Unheard {
    pub(super) fn new(judges: Judges) -> Self {
        Self { judges, ahead: 0, complete: false, rows: None }
    }

    /// So many replies to other requests come first.
    pub(in crate::session) fn behind(&mut self, ahead: usize) {
        self.ahead = ahead;
    }

    fn kind(&self) -> StatementKind {
        kind(&self.judges.statement.facts)
    }

    fn call(&self) -> WriteCall {
        let Judges { session, statement, .. } = &self.judges;
        WriteCall {
            session: Arc::clone(session) as _,
            statement: Arc::clone(statement) as _,
            kind: self.kind(),
            template: statement.template(),
            rows: self.rows,
            lsn: None,
        }
    }
}

impl Session {
    /// Looks at what has come from the server; plugins hear of writes before the client does.
    pub(in crate::session) async fn relay_heard(&mut self) -> Result<(), Fault> {
        self.relay()?;
        while std::mem::take(&mut self.flow.unheard) {
            Box::pin(self.tell_of_writes()).await;
            self.flow.heard = true;
            self.relay()?;
        }
        Ok(())
    }

    /// Whether this CommandComplete or ReadyForQuery may tell the client of writes that plugins have not heard of.
    pub(in crate::session) fn waits_for_plugins(&mut self, header: Header) -> bool {
        if self.unheard().is_none() || self.owed.head().is_some_and(|head| head.deal == Deal::Swallow) {
            return false;
        }
        let visible = self.makes_visible(header);
        if header.tag == b'Z' {
            return self.ends_writes(visible);
        }
        // What `Execute` has done is committed at the `Sync`.
        let by_query = self.owed.head().is_some_and(|head| head.ask == Ask::Query);
        let commits = self.io.unscanned().get(5..).is_some_and(|body| body.starts_with(b"COMMIT"));
        self.completes_a_write(header) && visible && (by_query || commits)
    }

    /// A request ends; `visible`: with the transaction, and what it wrote. Whether plugins are to be told of that.
    fn ends_writes(&mut self, visible: bool) -> bool {
        let undone = self.flow.failed || std::mem::take(&mut self.flow.rolled_back);
        let Some(unheard) = self.unheard() else { return false };
        if visible && undone {
            unheard.retain(|write| write.ahead > 0);
        }
        let mut any = false;
        for write in unheard {
            match write.ahead {
                // Also those that end without a word of their own: a portal that was not fetched to its end, a procedure.
                0 if visible => (write.complete, any) = (true, true),
                0 => {}
                _ => write.ahead -= 1,
            }
        }
        any
    }

    /// Notes what a CommandComplete says of the writes. Whether any of them is complete.
    fn completes_a_write(&mut self, header: Header) -> bool {
        let body = self.io.unscanned().get(5..header.frame_len()).unwrap_or_default();
        let (rolled_back, done) = (body == b"ROLLBACK\0", written_by(body));
        self.flow.rolled_back = rolled_back;
        let Some(unheard) = self.unheard() else { return false };
        if let Some((kind, rows)) = done
            && let Some(next) =
                unheard.iter_mut().find(|write| write.ahead == 0 && !write.complete && write.kind() == kind)
        {
            (next.complete, next.rows) = (true, Some(rows));
        }
        unheard.iter().any(|write| write.complete)
    }

    /// Asks plugins what the writes have changed besides what their texts say.
    async fn tell_of_writes(&mut self) {
        let Some(unheard) = self.unheard() else { return };
        let complete: Vec<Unheard> = unheard.extract_if(.., |write| write.complete).collect();
        let mut changed = Tags::new();
        for write in &complete {
            let call = write.call();
            for plugin in write.judges.chain.iter().filter(|plugin| plugin.has(Hook::Write)) {
                let said: BoxFuture<'_, _> = Box::pin(plugin.on_write(&call));
                match said.await.verdict {
                    Invalidation::Everything => changed.add_everything(),
                    Invalidation::Tags(names) => {
                        let database = &self.shared.account.database;
                        let catalog = database.catalog();
                        let by = Naming { catalog: &catalog, space: database.space() };
                        names.iter().for_each(|name| tags::changed_named(name, by, &mut changed));
                    }
                }
            }
        }
        self.add_changed(&changed);
    }
}

/// What kind of write a command tag is of, and how many rows it wrote: `INSERT 0 5`, `UPDATE 3`. None: it is no write's.
fn written_by(body: &[u8]) -> Option<(StatementKind, u64)> {
    let tag = std::str::from_utf8(body).ok()?.trim_end_matches('\0');
    let (verb, rest) = tag.split_once(' ')?;
    let kind = match verb {
        "INSERT" => StatementKind::Insert,
        "UPDATE" => StatementKind::Update,
        "DELETE" => StatementKind::Delete,
        "MERGE" => StatementKind::Merge,
        "COPY" => StatementKind::CopyFrom,
        _ => return None,
    };
    Some((kind, rest.rsplit(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_tag_tells_of_a_write() {
        assert_eq!(written_by(b"INSERT 0 5\0"), Some((StatementKind::Insert, 5)));
        assert_eq!(written_by(b"UPDATE 3\0"), Some((StatementKind::Update, 3)));
        assert_eq!(written_by(b"SELECT 3\0"), None);
        assert_eq!(written_by(b"COMMIT\0"), None);
    }
}
