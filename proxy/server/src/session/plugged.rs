//! Plugins that rules name for a statement: asked once for each execution, before anything else is made of it. What they change
//! is done to the request at the front of the inbox, which is then judged as if the client had sent it so.

mod answer;
mod bound;
mod query;
mod told;
mod written;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use pointsman_plugin_host::{
    Caching, Changes, Hook, Identity, Plugin, QueryCall, Rewrite, Route, Rows, Said, Verdict,
};
use pointsman_policy::{Access, Decision};
use pointsman_sql::Facts;
use pointsman_wire::backend::TransactionStatus;

use super::Session;
use super::judge::{Judged, Verdict as Judgement};
use super::steer::Asked as Decided;
use crate::fault::Fault;
use crate::plugins::asked::{Asked, Asking, kind, refused};
use crate::upstream::settings::Interned;

pub(in crate::session) use bound::Passed;
pub(in crate::session) use written::Unheard;

/// What plugins said of the request at the front of the inbox.
#[derive(Debug, Default)]
pub(in crate::session) struct Plugged {
    /// For each of its executions, in order.
    executions: VecDeque<Execution>,
    /// The shard that they asked for.
    pub(in crate::session) shard: Option<u32>,
    /// What is to hear of the writes of those that were admitted.
    unheard: Vec<Unheard>,
    /// What is to judge the result of the last that was admitted, and its further tags.
    pub(in crate::session) result: Option<Judges>,
}

/// What plugins said of one execution.
#[derive(Debug, Default)]
struct Execution {
    changes: Option<Changes>,
    /// Who asks, of what, and who is to hear more of it.
    asked: Option<Judges>,
}

/// Plugins, with the execution that they are asked of.
#[derive(Debug, Clone)]
pub(in crate::session) struct Judges {
    pub(in crate::session) chain: Arc<[Arc<Plugin>]>,
    pub(in crate::session) session: Arc<Asking>,
    pub(in crate::session) statement: Arc<Asked>,
    /// Tags that they said its result depends on.
    pub(in crate::session) tags: Vec<String>,
    /// What the client's own statement may do.
    access: Access,
}

impl Plugged {
    /// What is to hear of the writes of those that were admitted.
    pub(in crate::session) fn unheard(&mut self) -> &mut Vec<Unheard> {
        &mut self.unheard
    }
}

impl Judges {
    /// Whether any of them has this hook.
    pub(in crate::session) fn have(&self, hook: Hook) -> bool {
        self.chain.iter().any(|plugin| plugin.has(hook))
    }
}

/// What becomes of an execution.
enum Outcome {
    /// It goes on, with these changes.
    Goes(Changes),
    /// It is answered with these rows.
    Answered(Rows),
}

/// An execution that plugins are asked of.
struct Question {
    chain: Arc<[Arc<Plugin>]>,
    session: Arc<Asking>,
    statement: Arc<Asked>,
    access: Access,
    in_transaction: bool,
}

impl Session {
    /// Whether rules name plugins for a statement of this session.
    fn is_plugged(&mut self, facts: &Facts, judgement: &Judgement) -> bool {
        if self.ruled.is_some() || self.status == TransactionStatus::Failed {
            return false;
        }
        let policies = self.shared.policies.load();
        if !policies.set.names_plugins() {
            return false;
        }
        self.follow_policies(&policies);
        self.may_ask_plugins(facts, judgement)
    }

    /// What plugins are asked of an execution; `None`: no rule that it meets names any.
    fn question(&mut self, statement: Asked, facts: &Facts, judgement: &Judgement) -> Option<Question> {
        let integer = |number: u32| statement.integer(number);
        let asked = Decided { facts, verdict: judgement, sql: &statement.sql, parameter: &integer };
        let decision = self.decide(&asked)?;
        let chain: Arc<[_]> = self.steering.policies().chain(&decision).into();
        if chain.is_empty() {
            return None;
        }
        Some(Question {
            chain,
            session: self.asking(),
            statement: Arc::new(statement),
            access: judgement.class.access,
            in_transaction: self.status != TransactionStatus::Idle || self.flow.begun.is_some(),
        })
    }

    /// The session as plugins see it, made anew when its settings change.
    fn asking(&mut self) -> Arc<Asking> {
        let settings = self.wants.client();
        if let Some(asking) = &self.asking
            && Arc::ptr_eq(&asking.settings.0, settings)
        {
            return Arc::clone(asking);
        }
        let settings = Interned(Arc::clone(settings));
        let who = self.identity();
        let client = who.client.map(|client| client.to_canonical().to_string());
        let identity = Identity::new(who.user, who.database, who.application, client);
        let asking = Arc::new(Asking { identity, settings });
        self.asking = Some(Arc::clone(&asking));
        asking
    }

    /// Asks the plugins, one after the other. An error is what the client is told.
    async fn ask_plugins(&mut self, question: Question) -> Result<(Outcome, Judges), Fault> {
        let Question { chain, session, statement, access, in_transaction } = question;
        let catalog = self.shared.account.database.catalog().clone();
        let asked = AskedSoFar { access, in_transaction, session: &session, catalog: &catalog };
        // Boxed for what a plugin's call is made of is no business of the session's type.
        let work: BoxFuture<'_, Result<Outcome, Fault>> = Box::pin(async {
            let mut changes = Changes::default();
            let mut now = Arc::clone(&statement);
            for plugin in chain.iter().filter(|plugin| plugin.has(Hook::Query)) {
                let Said { verdict, .. } = plugin.on_query(&asked.call(&now)).await;
                match &*verdict {
                    Verdict::Pass => {}
                    Verdict::Answer(rows) => return Ok(Outcome::Answered(rows.clone())),
                    Verdict::Refuse(refusal) => return Err(refused(refusal)),
                    Verdict::Change(change) => {
                        match change.rewrite.as_ref().map(|rewrite| asked.rewritten(rewrite, &now)) {
                            None => {}
                            Some(Ok(rewritten)) => now = Arc::new(rewritten),
                            Some(Err(why)) => match plugin.broke_contract(Hook::Query, &why) {
                                Some(refusal) => return Err(refused(&refusal)),
                                None => continue,
                            },
                        }
                        changes.merge(change.clone());
                    }
                }
            }
            Ok(Outcome::Goes(changes))
        });
        let outcome = self.attend_work(false, work).await?;
        let tags = match &outcome {
            Outcome::Goes(changes) => changes.tags.clone(),
            Outcome::Answered(_) => Vec::new(),
        };
        Ok((outcome, Judges { chain, session, statement, tags, access }))
    }

    /// What plugins said of the next execution that is admitted is done to what the rules say of it.
    pub(in crate::session) fn apply_plugged(&mut self, decision: &mut Decision) -> Result<(), Fault> {
        let Some(plugged) = &mut self.flow.plugged else { return Ok(()) };
        plugged.result = None;
        let Some(Execution { changes, asked }) = plugged.executions.pop_front() else { return Ok(()) };
        if let Some(judges) = asked {
            if judges.access == Access::Write && judges.have(Hook::Write) {
                plugged.unheard.push(Unheard::new(judges.clone()));
            }
            plugged.result = Some(judges);
        }
        let Some(Changes { route, caching, .. }) = changes else { return Ok(()) };
        match route {
            None => {}
            Some(Route::Primary) => decision.route = Some(pointsman_policy::Route::Primary),
            Some(Route::Replica) => decision.route = Some(pointsman_policy::Route::Replica),
            // Its way was found before (`shards::hinted`).
            Some(Route::Shard(_)) if self.shards.is_some() => {}
            Some(Route::Shard(shard)) => {
                let told =
                    format!("a plugin sends this statement to shard {shard}, and the database has no shards");
                return Err(Fault::pointsman("58000", told));
            }
        }
        match (caching, &mut decision.cache) {
            (Some(Caching::Bypass), cache) => *cache = None,
            (Some(Caching::Ttl(ttl)), Some((_, caching))) if ttl < caching.ttl => {
                Arc::make_mut(caching).ttl = ttl;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The shard that changes ask for.
fn shard_of(changes: &Changes) -> Option<u32> {
    match changes.route {
        Some(Route::Shard(shard)) => Some(shard),
        _ => None,
    }
}

/// What stays the same while one plugin after the other is asked.
struct AskedSoFar<'a> {
    access: Access,
    in_transaction: bool,
    session: &'a Arc<Asking>,
    catalog: &'a pointsman_policy::catalog::Catalog,
}

impl AskedSoFar<'_> {
    fn call(&self, statement: &Arc<Asked>) -> QueryCall {
        let (params, literals) = statement.counts();
        QueryCall {
            session: Arc::clone(self.session) as _,
            statement: Arc::clone(statement) as _,
            kind: kind(&statement.facts),
            template: statement.template(),
            read_only: matches!(self.access, Access::Read | Access::PrimaryRead),
            in_transaction: self.in_transaction,
            params,
            literals,
        }
    }

    /// A rewritten statement, or why it may not stand in the place of the client's.
    fn rewritten(&self, rewrite: &Rewrite, before: &Asked) -> Result<Asked, String> {
        let Judged { facts, verdict, .. } =
            super::judge::judge(rewrite.sql.as_bytes(), before.rules, self.catalog);
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
            return Err(format!(
                "its rewrite is {}, and the client's statement is {}",
                told_access(now),
                told_access(self.access)
            ));
        }
        let sql = Bytes::copy_from_slice(rewrite.sql.as_bytes());
        let mut after = Asked { sql, facts, ..before.clone() };
        if let Some(params) = &rewrite.params {
            (after.bound, after.types) = bound::encoded(params, before);
        }
        Ok(after)
    }
}

fn told_access(access: Access) -> &'static str {
    match access {
        Access::Session => "one about the session",
        Access::Read | Access::PrimaryRead => "a read",
        Access::Write => "a write",
    }
}
