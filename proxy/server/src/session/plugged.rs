//! Plugins that rules name for a statement: asked once for each execution, before anything else is made of it. What they change
//! is done to the request at the front of the inbox, which is then judged as if the client had sent it so.

mod answer;
mod bound;
mod query;
mod question;
mod told;
mod written;

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use pointsman_plugin_host::{Caching, Changes, Hook, Identity, Plugin, Route};
use pointsman_policy::{Access, Decision};
use pointsman_sql::Facts;
use pointsman_wire::backend::TransactionStatus;

use super::Session;
use super::judge::Verdict as Judgement;
use super::steer::Asked as Decided;
use crate::fault::Fault;
use crate::plugins::asked::{Asked, Asking};
use crate::upstream::settings::Interned;

pub(in crate::session) use answer::as_query;
pub(in crate::session) use bound::{Passed, Rewritten};
use question::{Course, Outcome, Question};
pub(in crate::session) use written::Unheard;

/// Whether plugins were asked of the request at the front of the inbox, and what they said.
#[derive(Debug, Default)]
pub(in crate::session) enum Plugged {
    /// They were not.
    #[default]
    Unasked,
    /// They have nothing to say that is to be done.
    Silent,
    /// They said something, or have more to say later.
    Said(Box<Word>),
}

/// What plugins said of a request.
#[derive(Debug, Default)]
pub(in crate::session) struct Word {
    /// For each of its executions, in order.
    executions: VecDeque<Execution>,
    /// The shard that they asked for.
    pub(in crate::session) shard: Option<u32>,
    /// What is to hear of the writes of those that were admitted.
    unheard: Vec<Unheard>,
    /// What is to judge the result of the last that was admitted, and its further tags.
    pub(in crate::session) result: Option<Judges>,
}

/// What is to be done for one execution. Nothing: no rule names plugins for it, or they were silent.
#[derive(Debug, Default)]
struct Execution {
    changes: Option<Changes>,
    /// Who is to hear more of it.
    judges: Option<Judges>,
}

/// Plugins, with the execution that they are asked of.
#[derive(Debug, Clone)]
pub(in crate::session) struct Judges {
    pub(in crate::session) chain: Arc<[Arc<Plugin>]>,
    pub(in crate::session) session: Arc<Asking>,
    pub(in crate::session) statement: Arc<Asked>,
    /// Tags that they said its result depends on.
    pub(in crate::session) tags: Vec<String>,
    /// All of them had their say: none has failed.
    pub(in crate::session) whole: bool,
    /// What the client's own statement may do.
    access: Access,
}

impl Plugged {
    /// For these executions.
    fn of(executions: VecDeque<Execution>, shard: Option<u32>) -> Self {
        match executions.iter().all(Execution::is_silent) {
            true => Self::Silent,
            false => Self::Said(Box::new(Word { executions, shard, ..Word::default() })),
        }
    }

    /// What they said, if it is anything.
    pub(in crate::session) fn word(&self) -> Option<&Word> {
        match self {
            Self::Said(word) => Some(word),
            Self::Unasked | Self::Silent => None,
        }
    }

    /// Takes what is to hear of the writes of those executions that were admitted.
    pub(in crate::session) fn unheard(&mut self) -> Vec<Unheard> {
        match self {
            Self::Said(word) => std::mem::take(&mut word.unheard),
            Self::Unasked | Self::Silent => Vec::new(),
        }
    }

    /// Whether they were asked.
    pub(in crate::session) fn were_asked(&self) -> bool {
        !matches!(self, Self::Unasked)
    }
}

impl Execution {
    fn is_silent(&self) -> bool {
        self.judges.is_none() && self.changes.as_ref().is_none_or(|changes| *changes == Changes::default())
    }
}

impl Judges {
    /// Whether any of them is to be told of the statement by this hook.
    pub(in crate::session) fn have(&self, hook: Hook) -> bool {
        let meant = hook != Hook::Write || self.access == Access::Write;
        meant && self.chain.iter().any(|plugin| plugin.has(hook))
    }
}

impl Session {
    /// Whether rules name plugins for a statement of this session.
    fn is_plugged(&mut self, facts: &Facts, judgement: &Judgement) -> bool {
        if self.ruled.is_some() || self.is_past_judging(facts) {
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
        let decision = Box::new(self.decide(&asked)?);
        let chain = self.steering.policies().chain(&decision);
        if chain.is_empty() {
            return None;
        }
        Some(Question {
            chain,
            session: self.asking(),
            statement: Arc::new(statement),
            access: judgement.class.access,
            in_transaction: self.status != TransactionStatus::Idle || self.flow.begun.is_some(),
            catalog: Arc::clone(&self.shared.account.database.catalog()),
            decision,
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

    /// Asks the plugins, one after the other: at once, up to the first that has to wait for something. An error is what the client
    /// is told.
    async fn ask_plugins(&mut self, question: &Question) -> Result<Outcome, Fault> {
        question.check_encoding()?;
        let mut course = Course::new(question);
        let mut left = &question.chain[..];
        while let [plugin, others @ ..] = left {
            if plugin.has(Hook::Query) {
                let Some(said) = plugin.on_query_now(&course.call()) else { break };
                if let Some(rows) = course.take(plugin, &said)? {
                    return Ok(Outcome::Answered(rows));
                }
            }
            left = others;
        }
        if left.is_empty() {
            return Ok(course.end());
        }
        // Boxed, for what a plugin's call is made of is no business of the session's type.
        let work: BoxFuture<'_, Result<Outcome, Fault>> = Box::pin(async move {
            for plugin in left {
                if !plugin.has(Hook::Query) {
                    continue;
                }
                let said = plugin.on_query(&course.call()).await;
                if let Some(rows) = course.take(plugin, &said)? {
                    return Ok(Outcome::Answered(rows));
                }
            }
            Ok(course.end())
        });
        if self.owed.is_empty() {
            // A cancel from before was for nothing.
            self.handle.take_cancelled();
        }
        self.attend_work(false, work).await
    }

    /// The next execution is not admitted, for nothing is known of it.
    pub(in crate::session) fn skip_plugged(&mut self) {
        if let Plugged::Said(word) = &mut self.flow.plugged {
            word.executions.pop_front();
        }
    }

    /// What plugins said of the next execution that is admitted is done to what the rules say of it.
    pub(in crate::session) fn apply_plugged(&mut self, decision: &mut Decision) -> Result<(), Fault> {
        let Plugged::Said(word) = &mut self.flow.plugged else { return Ok(()) };
        word.result = None;
        let Some(Execution { changes, judges }) = word.executions.pop_front() else { return Ok(()) };
        if let Some(judges) = judges {
            if judges.have(Hook::Write) {
                word.unheard.push(Unheard::new(judges.clone()));
            }
            word.result = Some(judges);
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
