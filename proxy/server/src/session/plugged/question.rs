//! What plugins are asked, and what becomes of an execution as one after the other answers.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_plugin_host::{Changes, Hook, Plugin, QueryCall, Rewrite, Rows, Said, Verdict};
use pointsman_policy::catalog::Catalog;
use pointsman_policy::{Access, Decision};
use pointsman_sql::ClientEncoding;

use super::super::judge::{Judged, judge};
use super::bound::encoded;
use super::{Execution, Judges};
use crate::fault::Fault;
use crate::plugins::asked::{Asked, Asking, kind, refused, stands};

/// An execution that plugins are asked of.
pub(super) struct Question {
    pub chain: Arc<[Arc<Plugin>]>,
    pub session: Arc<Asking>,
    pub statement: Arc<Asked>,
    /// What the client's own statement may do.
    pub access: Access,
    pub in_transaction: bool,
    pub catalog: Arc<Catalog>,
    /// What the rules say of the client's own statement.
    pub decision: Box<Decision>,
}

/// What becomes of an execution.
pub(super) enum Outcome {
    /// It goes on, with these changes; whether all plugins had their say.
    Goes(Changes, bool),
    /// It is answered with these rows.
    Answered(Rows),
}

/// What plugins have made of an execution so far.
pub(super) struct Course<'a> {
    question: &'a Question,
    changes: Changes,
    now: Arc<Asked>,
    whole: bool,
}

impl Question {
    /// What is to be done for the execution, now and later. No changes: it was answered.
    pub fn execution(&self, changes: Option<Changes>, whole: bool) -> Execution {
        let tags = changes.as_ref().map(|changes| changes.tags.clone()).unwrap_or_default();
        let judges = Judges {
            chain: Arc::clone(&self.chain),
            session: Arc::clone(&self.session),
            statement: Arc::clone(&self.statement),
            tags,
            whole,
            access: self.access,
        };
        let later = !judges.tags.is_empty() || judges.have(Hook::Write) || judges.have(Hook::Store);
        Execution { judges: (changes.is_some() && later).then_some(judges), changes }
    }

    /// Plugins read UTF-8: what may be something else in another encoding is not shown to them.
    pub fn check_encoding(&self) -> Result<(), Fault> {
        if self.statement.rules.encoding == ClientEncoding::Utf8 || self.statement.sql.is_ascii() {
            return Ok(());
        }
        let told = "plugins cannot read this statement: it is not in UTF-8 and has characters beyond ASCII";
        Err(Fault::client("0A000", told)
            .hint("SET client_encoding = 'UTF8', or write such characters as parameters."))
    }

    pub fn call(&self, statement: &Arc<Asked>) -> QueryCall {
        QueryCall {
            session: Arc::clone(&self.session) as _,
            statement: Arc::clone(statement) as _,
            kind: kind(&statement.facts),
            template: statement.template(),
            read_only: matches!(self.access, Access::Read | Access::PrimaryRead),
            in_transaction: self.in_transaction,
            params: statement.params(),
            literals: statement.literals,
        }
    }

    /// A rewritten statement, or why it may not stand in the place of the client's.
    fn rewritten(&self, rewrite: &Rewrite, before: &Asked) -> Result<Asked, String> {
        let judged = judge(rewrite.sql.as_bytes(), before.rules, &self.catalog);
        stands(&judged, self.access)?;
        if !before.fits([rewrite.sql.as_str()].into_iter()) {
            return Err("its rewrite has characters that the client's encoding may lack".to_owned());
        }
        let Judged { facts, literals, .. } = judged;
        let sql = Bytes::copy_from_slice(rewrite.sql.as_bytes());
        let mut after = Asked { sql, facts, literals, body: None, ..before.clone() };
        if let Some(params) = &rewrite.params {
            (after.bound, after.types) = encoded(params, before);
        }
        Ok(after)
    }
}

impl<'a> Course<'a> {
    pub fn new(question: &'a Question) -> Self {
        let now = Arc::clone(&question.statement);
        Self { question, changes: Changes::default(), now, whole: true }
    }

    /// What the next plugin is asked.
    pub fn call(&self) -> QueryCall {
        self.question.call(&self.now)
    }

    /// All plugins were asked.
    pub fn end(self) -> Outcome {
        Outcome::Goes(self.changes, self.whole)
    }

    /// Takes a plugin's verdict. Rows, if they are the end of it.
    pub fn take(&mut self, plugin: &Plugin, said: &Said<Arc<Verdict>>) -> Result<Option<Rows>, Fault> {
        self.whole &= said.failure.is_none();
        let change = match &*said.verdict {
            Verdict::Pass => return Ok(None),
            Verdict::Answer(rows) => match self.question.statement.fits(rows_text(rows)) {
                true => return Ok(Some(rows.clone())),
                false => {
                    return self.broke_contract(
                        plugin,
                        "its answer has characters that the client's encoding may lack",
                    );
                }
            },
            Verdict::Refuse(refusal) => return Err(refused(refusal)),
            Verdict::Change(change) => change,
        };
        match change.rewrite.as_ref().map(|rewrite| self.question.rewritten(rewrite, &self.now)) {
            None => {}
            Some(Ok(rewritten)) => self.now = Arc::new(rewritten),
            Some(Err(why)) => return self.broke_contract(plugin, &why),
        }
        self.changes.merge(change.clone());
        Ok(None)
    }

    fn broke_contract(&mut self, plugin: &Plugin, why: &str) -> Result<Option<Rows>, Fault> {
        self.whole = false;
        let refusal = plugin.broke_contract(Hook::Query, why);
        refusal.map_or(Ok(None), |refusal| Err(refused(&refusal)))
    }
}

/// All texts of an answer.
fn rows_text(rows: &Rows) -> impl Iterator<Item = &str> {
    let values = rows.rows.iter().flatten().flatten();
    rows.columns.iter().chain(values).map(String::as_str)
}
