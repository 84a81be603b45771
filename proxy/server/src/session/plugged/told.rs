//! What plugins would say of a statement, for `EXPLAIN ROUTE`.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pointsman_plugin_host::{Caching, Changes, Hook, Route, Said, Verdict};
use pointsman_sql::Facts;

use super::super::Session;
use super::super::judge::{Judged, Verdict as Judgement};
use crate::plugins::asked::Asked;

impl Session {
    /// A row for each plugin that rules name for the statement: what it says, and what that cost. One that has to look things up
    /// is not waited for.
    pub(in crate::session) fn plugins_told(
        &mut self,
        sql: &[u8],
        judged: &Judged,
        (facts, judgement): (&Facts, &Judgement),
    ) -> Vec<(String, String)> {
        if !self.is_plugged(facts, judgement) {
            return Vec::new();
        }
        let statement = Asked::of_text(sql, self.wants.rules(), judged);
        let Some(question) = self.question(statement, facts, judgement) else { return Vec::new() };
        let call = question.call(&question.statement);
        let told = question.chain.iter().map(|plugin| {
            let item = format!("plugin {}", plugin.name());
            if !plugin.has(Hook::Query) {
                return (item, "is asked later only".to_owned());
            }
            let said: BoxFuture<'_, _> = Box::pin(plugin.on_query(&call));
            let value = match said.now_or_never() {
                None => "has to look something up first".to_owned(),
                Some(Said { verdict, failure, took }) => {
                    let failed = failure.map(|why| format!("; it {why}")).unwrap_or_default();
                    format!("{}, {took:.1?}{failed}", verdict_told(&verdict))
                }
            };
            (item, value)
        });
        told.collect()
    }
}

fn verdict_told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Answer(rows) => format!("answer: {} rows", rows.rows.len()),
        Verdict::Refuse(refusal) => format!("refuse: {}: {}", refusal.sqlstate, refusal.message),
        Verdict::Change(changes) => changes_told(changes),
    }
}

fn changes_told(changes: &Changes) -> String {
    let mut parts = Vec::new();
    parts.extend(changes.rewrite.as_ref().map(|rewrite| format!("rewrite: {}", rewrite.sql)));
    parts.extend(changes.route.map(|route| match route {
        Route::Primary => "route: primary".to_owned(),
        Route::Replica => "route: replica".to_owned(),
        Route::Shard(shard) => format!("route: shard {shard}"),
    }));
    if !changes.tags.is_empty() {
        parts.push(format!("tags: {}", changes.tags.join(", ")));
    }
    parts.extend(changes.caching.map(|caching| match caching {
        Caching::Bypass => "cache: bypass".to_owned(),
        Caching::Ttl(ttl) => format!("cache: at most {ttl:?}"),
    }));
    if parts.is_empty() { "change: nothing".to_owned() } else { parts.join("; ") }
}
