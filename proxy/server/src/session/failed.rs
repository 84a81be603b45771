//! A transaction that was held back and has failed before any server knew of it: a rule refused its first statement, or no
//! server was to be had for that. The client was told that it began, so it goes on as a failed one, answered here, until
//! the client ends it.

use pointsman_sql::Kind;
use pointsman_wire::backend::{EMPTY_QUERY_RESPONSE, TransactionStatus};
use pointsman_wire::frontend::Query;

use super::request::Taken;
use super::{Session, message};
use crate::fault::Fault;
use crate::metrics::StatementKind;

/// What ends a failed transaction, whatever the command was.
const ROLLED_BACK: &str = "ROLLBACK";

impl Session {
    /// Whether the client is in such a transaction.
    pub(super) fn has_failed_here(&self) -> bool {
        self.flow.begun.is_some() && self.status == TransactionStatus::Failed
    }

    /// Answers a simple query in such a transaction. `None` if it ended with the query's first statement, and the query is
    /// performed like any other.
    pub(super) fn answer_failed_query(&mut self, frame_len: usize) -> Result<Option<Taken>, Fault> {
        let body = self.io.from_client.bytes().get(5..frame_len).unwrap_or_default();
        let Ok(Query { sql }) = Query::decode(body) else {
            return self.refuse(frame_len, aborted()).map(Some);
        };
        let facts = self.judged(sql).facts;
        if facts.statements.is_empty() && facts.understood() {
            return Ok(Some(self.answer_here(frame_len, EMPTY_QUERY_RESPONSE)));
        }
        let alone = facts.statements.len() == 1;
        match facts.statements.first().and_then(|first| ends(&first.kind)) {
            Some(chain) if alone || !chain => self.end_here(chain),
            _ => return self.refuse(frame_len, aborted()).map(Some),
        }
        if !alone {
            return Ok(None);
        }
        Ok(Some(self.answer_here(frame_len, &message::command_complete(ROLLED_BACK))))
    }

    fn answer_here(&mut self, frame_len: usize, reply: &[u8]) -> Taken {
        self.io.from_client.consume(frame_len);
        self.statements.set_unnamed(None);
        self.io.settle_approved();
        self.io.to_client.extend(reply);
        self.io.to_client.extend(&message::ready(self.status.byte()));
        Taken::Done
    }

    /// Answers a batch of the extended protocol in such a transaction.
    pub(super) fn answer_failed_batch(&mut self, len: usize) -> Result<Taken, Fault> {
        let ending = self.lone(len).and_then(|lone| Some((ends(&lone.facts.single()?.kind)?, lone)));
        let Some((chain, lone)) = ending else { return self.refuse_batch(aborted()) };
        self.end_here(chain);
        self.answer_lone(len, lone, ROLLED_BACK);
        Ok(Taken::Done)
    }

    /// The client ends the transaction, or begins the next one like it by that.
    fn end_here(&mut self, chain: bool) {
        self.status = TransactionStatus::Idle;
        if chain {
            self.status = TransactionStatus::InTransaction;
            self.note_answered();
        } else {
            self.flow.begun = None;
        }
        self.count(StatementKind::Transaction);
    }

    /// A client in a transaction that no server knows of was answered.
    pub(super) fn note_answered(&mut self) {
        if let Some(begun) = &mut self.flow.begun {
            begun.answered();
        }
    }
}

/// Whether a command ends a failed transaction, and begins another by `AND CHAIN`.
fn ends(kind: &Kind) -> Option<bool> {
    match kind {
        Kind::Commit { chain } | Kind::Rollback { chain } => Some(*chain),
        Kind::PrepareTransaction => Some(false),
        _ => None,
    }
}

/// PostgreSQL's own words.
pub(super) fn aborted() -> Fault {
    Fault::client("25P02", "current transaction is aborted, commands ignored until end of transaction block")
}
