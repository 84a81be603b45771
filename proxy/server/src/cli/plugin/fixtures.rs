//! Fixtures of `pointsman plugin test`: statements with the verdicts that a plugin is to give, asked of the real host.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman_plugin_host::{
    Caching, Changes, Identity, Invalidation, Parameter, Plugin, QueryCall, Rows, Said, Session, Value, Verdict,
    WriteCall,
};
use serde::Deserialize;

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
    /// What lookups find, by a part of their text. The first that fits answers.
    #[serde(default)]
    pub(super) lookups: BTreeMap<String, Found>,
    /// The cases, asked in order of one plugin: what it keeps in `kv`, it keeps.
    pub(super) cases: Vec<Case>,
}

/// What a lookup finds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Found {
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
#[serde(rename_all = "kebab-case")]
pub(super) enum Expect {
    /// It goes on as it is.
    Pass,
    /// It is refused, with this SQLSTATE and this in its message.
    Refuse { sqlstate: Option<String>, message: Option<String> },
    /// It goes on with changes.
    Change { sql: Option<String>, tags: Option<Vec<String>>, bypass: Option<bool>, ttl_ms: Option<u64> },
    /// It is answered with these rows.
    Answer(Vec<Vec<Option<String>>>),
    /// It was a write, which invalidates these tags.
    Invalidates(Vec<String>),
    /// The hook fails.
    Fails,
}

/// A session of a case.
pub(super) struct Asking {
    identity: Identity,
    settings: BTreeMap<String, String>,
}

impl Asking {
    pub(super) fn new(case: &Case) -> Self {
        let Who { user, database, application, client } = &case.who;
        let identity = Identity::new(user, database, application, client.clone());
        let settings = case.settings.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        Self { identity, settings: settings.collect() }
    }
}

impl Session for Asking {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(&name.to_ascii_lowercase()).cloned()
    }
}

/// The parameters of a case, as its statement has them.
pub(super) fn parameters(case: &Case) -> Vec<Parameter> {
    let value = |text: &Option<String>| text.clone().map_or(Value::Null, Value::Text);
    case.params.iter().map(|text| Parameter { type_oid: 0, value: value(text) }).collect()
}

/// Asks a plugin, and says in which way its answer is not what is expected. `call` has the statement's facts.
pub(super) async fn judge(plugin: &Plugin, case: &Case, call: QueryCall) -> Result<(), String> {
    if let Expect::Invalidates(tags) = &case.expect {
        let QueryCall { session, statement, kind, template, .. } = call;
        let written = WriteCall { session, statement, kind, template, rows: Some(1), lsn: None };
        let Said { verdict, failure, .. } = plugin.on_write(&written).await;
        if let Some(failure) = failure {
            return Err(format!("it failed: {failure}"));
        }
        return same("tags", &sorted(tags), &match verdict {
            Invalidation::Tags(found) => sorted(&found),
            Invalidation::Everything => vec!["(everything)".to_owned()],
        });
    }
    let Said { verdict, failure, .. } = plugin.on_query(&call).await;
    match (failure, &case.expect) {
        (Some(_), Expect::Fails) => Ok(()),
        (Some(failure), _) => Err(format!("it failed: {failure}")),
        (None, expected) => compare(expected, &verdict),
    }
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
        (Expect::Change { sql, tags, bypass, ttl_ms }, Verdict::Change(changes)) => {
            compare_rewrite(sql.as_deref(), changes)?;
            if let Some(tags) = tags {
                same("tags", &sorted(tags), &sorted(&changes.tags))?;
            }
            if let Some(bypass) = bypass {
                same("bypass", bypass, &(changes.caching == Some(Caching::Bypass)))?;
            }
            let ttl = |caching: Option<Caching>| match caching {
                Some(Caching::Ttl(ttl)) => Some(ttl.as_millis()),
                _ => None,
            };
            ttl_ms.map_or(Ok(()), |expected| same("ttl_ms", &Some(u128::from(expected)), &ttl(changes.caching)))
        }
        (expected, found) => Err(format!("{expected:?} expected, {found:?} found")),
    }
}

/// White space does not count: a fixture may be written on several lines.
fn compare_rewrite(expected: Option<&str>, changes: &Changes) -> Result<(), String> {
    let words = |sql: &str| sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = changes.rewrite.as_ref().map(|rewrite| words(&rewrite.sql));
    match expected {
        None => Ok(()),
        Some(expected) => same("sql", &Some(words(expected)), &found),
    }
}
