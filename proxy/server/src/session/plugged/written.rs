//! Plugins after a write: asked when the server says that it is there, before the client hears of it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pointsman_cache::Tags;
use pointsman_plugin_host::{Hook, Invalidation, WriteCall};
use pointsman_wire::frame::Header;

use super::super::Session;
use super::Judges;
use crate::caching::tags::{self, Naming};
use crate::fault::Fault;
use crate::plugins::asked::kind;

/// A write that plugins have not heard of.
#[derive(Debug)]
pub(in crate::session) struct Unheard {
    judges: Judges,
    /// How many rows it wrote; none: it is not complete, or does not say.
    rows: Option<u64>,
}

impl Unheard {
    pub(super) fn new(judges: Judges) -> Self {
        Self { judges, rows: None }
    }

    fn call(&self) -> WriteCall {
        let Judges { session, statement, .. } = &self.judges;
        WriteCall {
            session: Arc::clone(session) as _,
            statement: Arc::clone(statement) as _,
            kind: kind(&statement.facts),
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

    /// Whether this CommandComplete may tell the client of writes that plugins have not heard of.
    pub(in crate::session) fn waits_for_plugins(&mut self, header: Header) -> bool {
        if self.unheard().is_none() {
            return false;
        }
        let body = self.io.unscanned().get(5..header.frame_len()).unwrap_or_default();
        let rows = rows_written(body);
        let visible = self.makes_visible(header);
        let Some(unheard) = self.unheard() else { return false };
        if let Some(next) = unheard.iter_mut().find(|write| write.rows.is_none()) {
            next.rows = rows;
        }
        visible
    }

    /// Asks plugins what the writes have changed besides what their texts say.
    async fn tell_of_writes(&mut self) {
        let unheard = self.unheard().map(std::mem::take).unwrap_or_default();
        let mut changed = Tags::new();
        for write in &unheard {
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

/// The rows that a command tag tells of: `INSERT 0 5`, `UPDATE 3`. None: it is no write's.
fn rows_written(body: &[u8]) -> Option<u64> {
    let tag = std::str::from_utf8(body).ok()?.trim_end_matches('\0');
    let (verb, rest) = tag.split_once(' ')?;
    let writes = matches!(verb, "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY");
    rest.rsplit(' ').next().filter(|_| writes)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_tag_tells_of_rows() {
        assert_eq!(rows_written(b"INSERT 0 5\0"), Some(5));
        assert_eq!(rows_written(b"UPDATE 3\0"), Some(3));
        assert_eq!(rows_written(b"SELECT 3\0"), None);
        assert_eq!(rows_written(b"COMMIT\0"), None);
    }
}
