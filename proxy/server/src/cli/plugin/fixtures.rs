//! Fixtures of `pointsman plugin test`: statements with the verdicts that a plugin is to give, asked of the real host.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use pointsman_plugin_host::{
    Caching, CallError, Changes, Identity, Invalidation, Plugin, QueryCall, Route, Rows, Verdict, WriteCall,
};
use pointsman_policy::Access;
use pointsman_policy::catalog::Catalog;
use pointsman_sql::LexRules;
use pointsman_wire::frontend::BindParameters;
use serde::Deserialize;

use crate::plugins::asked::{Asked, Asking, kind, stands};
use crate::session::judge::{self, Judged};
use crate::upstream::settings::{Interned, Settings, Value as Setting};

/// A file of fixtures.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fixtures {
    /// What the plugin's `init` is told.
    #[serde(default)]
    pub(super) config: serde_json::Value,
    /// The capabilities that it is granted.
    #[serde(default)]
    pub(super) grants: Vec<String>,
    /// What lookups find. The first that fits answers; if none does, there is no server to be asked.
    #[serde(default)]
    pub(super) lookups: Vec<Found>,
    /// The cases, asked in order of one plugin: what it keeps in `kv`, it keeps.
    pub(super) cases: Vec<Case>,
}

/// What a lookup finds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Found {
    /// A part of the lookup's text.
    pub(super) sql: String,
    /// Its parameters; none: whatever they are.
    pub(super) params: Option<Vec<Option<String>>>,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Option<String>>>,
}

/// One statement, and what is to become of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) sql: String,
    /// Values of `$1` and so on, in text form.
    #[serde(default)]
    pub(super) params: Vec<Option<String>>,
    /// Who asks.
    #[serde(default, rename = "as")]
    pub(super) who: Who,
    /// The session's settings.
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) in_transaction: bool,
    pub(super) expect: Expect,
}

/// Who asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Who {
    user: String,
    database: String,
    application: String,
    client: Option<String>,
}

impl Default for Who {
    fn default() -> Self {
        let app = || "app".to_owned();
        Self { user: app(), database: app(), application: String::new(), client: None }
    }
}

/// What is to become of a statement. Of what is said, all must be so; what is not said may be anything.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Expect {
    /// It goes on as it is.
    Pass,
    /// It is refused, with this SQLSTATE and this in its message.
    Refuse { sqlstate: Option<String>, message: Option<String> },
    /// It goes on with changes.
    Change(Change),
    /// It is answered with these rows.
    Answer(Vec<Vec<Option<String>>>),
    /// It was a write, which invalidates these tags.
    Invalidates(Vec<String>),
    /// The hook fails.
    Fails,
}

/// What is changed. `route` is `primary`, `replica`, or `shard 3`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    sql: Option<String>,
    tags: Option<Vec<String>>,
    bypass: Option<bool>,
    ttl_ms: Option<u64>,
    route: Option<String>,
}

/// What a hook is called with, as a session would: the text judged, its facts and values at hand.
fn call(case: &Case, judged: &Judged) -> Result<QueryCall, String> {
    let Who { user, database, application, client } = &case.who;
    let mut settings = Settings::default();
    for (name, value) in &case.settings {
        settings.insert(&name.to_ascii_lowercase(), Setting::Text(value.clone()));
    }
    let identity = Identity::new(user, database, application, client.clone());
    let mut statement = Asked::of_text(case.sql.as_bytes(), LexRules::default(), judged);
    if !case.params.is_empty() {
        if case.params.len() > usize::from(u16::MAX) {
            return Err("it has more than 65,535 `params`".to_owned());
        }
        let values = case.params.iter().map(|value| value.as_ref().map(String::as_bytes)).collect();
        let mut bound = BytesMut::new();
        BindParameters { formats: Vec::new(), values, result_formats: Vec::new() }.encode(&mut bound);
        statement.bound = bound.freeze();
    }
    let (params, literals) = (statement.params(), statement.literals);
    Ok(QueryCall {
        session: Arc::new(Asking { identity, settings: Interned(settings.intern()) }),
        kind: kind(&judged.facts),
        template: statement.template(),
        read_only: reads(judged),
        in_transaction: case.in_transaction,
        params,
        literals,
        statement: Arc::new(statement),
    })
}

fn reads(judged: &Judged) -> bool {
    matches!(judged.verdict.class.access, Access::Read | Access::PrimaryRead)
}

/// Asks a plugin, and says in which way its answer is not what is expected.
pub(super) async fn judge(plugin: &Plugin, case: &Case, catalog: &Catalog) -> Result<(), String> {
    let judged = judge::judge(case.sql.as_bytes(), LexRules::default(), catalog);
    let call = call(case, &judged)?;
    let failed = |failure: CallError| match case.expect {
        Expect::Fails => Ok(()),
        _ => Err(format!("it failed: {failure}")),
    };
    if let Expect::Invalidates(tags) = &case.expect {
        let QueryCall { session, statement, kind, template, .. } = call;
        let written = WriteCall { session, statement, kind, template, rows: Some(1), lsn: None };
        let said = plugin.on_write(&written).await;
        return match (said.failure, said.verdict) {
            (Some(failure), _) => failed(failure),
            (None, Invalidation::Tags(found)) => same("tags", &sorted(tags), &sorted(&found)),
            (None, Invalidation::Everything) => Err("it invalidates everything".to_owned()),
        };
    }
    let said = plugin.on_query(&call).await;
    if let Some(failure) = said.failure {
        return failed(failure);
    }
    if let Verdict::Change(Changes { rewrite: Some(rewrite), .. }) = said.verdict.as_ref() {
        stands(
            &judge::judge(rewrite.sql.as_bytes(), LexRules::default(), catalog),
            judged.verdict.class.access,
        )
        .map_err(|why| format!("{why}: {}", rewrite.sql))?;
    }
    compare(&case.expect, &said.verdict)
}

fn sorted(tags: &[String]) -> Vec<String> {
    let mut tags = tags.to_vec();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: {expected:?} expected, {found:?} found")) }
}

fn compare(expected: &Expect, found: &Arc<Verdict>) -> Result<(), String> {
    match (expected, found.as_ref()) {
        (Expect::Pass, Verdict::Pass) => Ok(()),
        (Expect::Refuse { sqlstate, message }, Verdict::Refuse(refusal)) => {
            if let Some(sqlstate) = sqlstate {
                same("sqlstate", sqlstate, &refusal.sqlstate)?;
            }
            match message {
                Some(message) if !refusal.message.contains(message.as_str()) => {
                    Err(format!("message: {message:?} is not in {:?}", refusal.message))
                }
                _ => Ok(()),
            }
        }
        (Expect::Answer(rows), Verdict::Answer(Rows { rows: found, .. })) => same("rows", rows, found),
        (Expect::Change(change), Verdict::Change(changes)) => compare_changes(change, changes),
        (expected, found) => Err(format!("{expected:?} expected, {found:?} found")),
    }
}

fn compare_changes(expected: &Change, found: &Changes) -> Result<(), String> {
    let Change { sql, tags, bypass, ttl_ms, route } = expected;
    if let Some(sql) = sql {
        // White space does not count: a fixture may be written on several lines.
        let words = |sql: &str| sql.split_whitespace().collect::<Vec<_>>().join(" ");
        same("sql", &Some(words(sql)), &found.rewrite.as_ref().map(|rewrite| words(&rewrite.sql)))?;
    }
    if let Some(tags) = tags {
        same("tags", &sorted(tags), &sorted(&found.tags))?;
    }
    if let Some(bypass) = bypass {
        same("bypass", bypass, &(found.caching == Some(Caching::Bypass)))?;
    }
    if let Some(ttl_ms) = ttl_ms {
        let ttl = match found.caching {
            Some(Caching::Ttl(ttl)) => Some(ttl.as_millis()),
            _ => None,
        };
        same("ttl_ms", &Some(u128::from(*ttl_ms)), &ttl)?;
    }
    let routed = |route: Route| match route {
        Route::Primary => "primary".to_owned(),
        Route::Replica => "replica".to_owned(),
        Route::Shard(shard) => format!("shard {shard}"),
    };
    if route.is_some() { same("route", route, &found.route.map(routed)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
