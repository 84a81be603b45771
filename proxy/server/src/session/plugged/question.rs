//! What plugins are asked, and what becomes of an execution as one after the other answers.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_plugin_host::{Changes, Hook, Plugin, QueryCall, Rewrite, Rows, Verdict};
use pointsman_policy::catalog::Catalog;
use pointsman_policy::{Access, Decision};

use super::super::judge::{Judged, judge};
use super::bound::encoded;
use super::{Execution, Judges};
use crate::fault::Fault;
use crate::plugins::asked::{Asked, Asking, kind, refused};

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
    /// It goes on, with these changes.
    Goes(Changes),
    /// It is answered with these rows.
    Answered(Rows),
}

/// What plugins have made of an execution so far.
pub(super) struct Course<'a> {
    question: &'a Question,
    pub changes: Changes,
    now: Arc<Asked>,
}

impl Question {
    /// What is to be done for the execution, now and later. No changes: it was answered.
    pub fn execution(&self, changes: Option<Changes>) -> Execution {
        let tags = changes.as_ref().map(|changes| changes.tags.clone()).unwrap_or_default();
        let judges = Judges {
            chain: Arc::clone(&self.chain),
            session: Arc::clone(&self.session),
            statement: Arc::clone(&self.statement),
            tags,
            access: self.access,
        };
        let later = !judges.tags.is_empty() || judges.have(Hook::Write) || judges.have(Hook::Store);
        Execution { judges: (changes.is_some() && later).then_some(judges), changes }
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
        let Judged { facts, verdict, literals, .. } =
            judge(rewrite.sql.as_bytes(), before.rules, &self.catalog);
        if let Some(doubt) = facts.doubt {
            return Err(format!("its rewrite is not understood: {doubt}"));
        }
        if facts.single().is_none() {
            return Err("its rewrite is not one statement".to_owned());
        }
        let now = verdict.class.access;
        let same = match self.access {
            Access::Session => now == Access::Session,
            Access::Read | Access::PrimaryRead => matches!(now, Access::Read | Access::PrimaryRead),
            Access::Write => now != Access::Session,
        };
        if !same {
            let (now, client) = (told(now), told(self.access));
            return Err(format!("its rewrite is {now}, and the client's statement is {client}"));
        }
        let sql = Bytes::copy_from_slice(rewrite.sql.as_bytes());
        let mut after = Asked { sql, facts, literals, body: None, ..before.clone() };
        if let Some(params) = &rewrite.params {
            (after.bound, after.types) = encoded(params, before);
        }
        Ok(after)
    }
}

fn told(access: Access) -> &'static str {
    match access {
        Access::Session => "one about the session",
        Access::Read | Access::PrimaryRead => "a read",
        Access::Write => "a write",
    }
}

impl<'a> Course<'a> {
    pub fn new(question: &'a Question) -> Self {
        Self { question, changes: Changes::default(), now: Arc::clone(&question.statement) }
    }

    /// What the next plugin is asked.
    pub fn call(&self) -> QueryCall {
        self.question.call(&self.now)
    }

    /// Takes a plugin's verdict. Rows, if they are the end of it.
    pub fn take(&mut self, plugin: &Plugin, verdict: &Verdict) -> Result<Option<Rows>, Fault> {
        let change = match verdict {
            Verdict::Pass => return Ok(None),
            Verdict::Answer(rows) => return Ok(Some(rows.clone())),
            Verdict::Refuse(refusal) => return Err(refused(refusal)),
            Verdict::Change(change) => change,
        };
        match change.rewrite.as_ref().map(|rewrite| self.question.rewritten(rewrite, &self.now)) {
            None => {}
            Some(Ok(rewritten)) => self.now = Arc::new(rewritten),
            Some(Err(why)) => {
                let refusal = plugin.broke_contract(Hook::Query, &why);
                return refusal.map_or(Ok(None), |refusal| Err(refused(&refusal)));
            }
        }
        self.changes.merge(change.clone());
        Ok(None)
    }
}
