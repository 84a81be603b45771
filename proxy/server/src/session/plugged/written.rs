//! Plugins after a write: asked when the server says that it is there, before the client hears of it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pointsman_cache::Tags;
use pointsman_plugin_host::{Hook, Invalidation, StatementKind, WriteCall};
use pointsman_wire::frame::Header;
use pointsman_wire::owed::Deal;

use super::super::Session;
use super::Judges;
use crate::caching::tags::{self, Naming};
use crate::fault::Fault;
use crate::plugins::asked::kind;

/// A write that plugins have not heard of.
#[derive(Debug)]
pub(in crate::session) struct Unheard {
    judges: Judges,
    /// The server has said that it is done.
    complete: bool,
    /// How many rows it wrote; none: that was not said.
    rows: Option<u64>,
}

impl Unheard {
    pub(super) fn new(judges: Judges) -> Self {
        Self { judges, complete: false, rows: None }
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
        if header.tag == b'C' {
            return self.completes_a_write(header) && visible;
        }
        let (undone, rolled_back) = (self.flow.failed, std::mem::take(&mut self.flow.rolled_back));
        let Some(unheard) = self.unheard().filter(|_| visible) else { return false };
        if undone || rolled_back {
            unheard.clear();
            return false;
        }
        // Also those that end without such a word: a portal that was not fetched to its end, a procedure.
        unheard.iter_mut().for_each(|write| write.complete = true);
        true
    }

    /// Notes what a CommandComplete says of the writes. Whether any of them is complete.
    fn completes_a_write(&mut self, header: Header) -> bool {
        let body = self.io.unscanned().get(5..header.frame_len()).unwrap_or_default();
        let (rolled_back, done) = (body == b"ROLLBACK\0", written_by(body));
        self.flow.rolled_back = rolled_back;
        let Some(unheard) = self.unheard() else { return false };
        if let Some((kind, rows)) = done
            && let Some(next) = unheard.iter_mut().find(|write| !write.complete && write.kind() == kind)
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
