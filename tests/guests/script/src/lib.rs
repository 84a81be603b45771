//! A plugin that does what its configuration says: for tests of the proxy. `script-1.0.0.wasm` beside it is this, built once and kept
//! as it is: a Pointsman that no longer runs it has broken version 1.0.0 of the contract.

use std::collections::BTreeMap;
use std::time::Duration;

use pointsman_plugin::{
    Batch, Changes, ConnectVerdict, Entry, Memo, Outcome, Parameter, Plugin, Query, Refusal, Route, Rows, Setting,
    StoreVerdict, Storing, Tag, Value, Wants, Written, kv, lookup, session, statement,
};
use serde::Deserialize;

/// What `config` says.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Script {
    /// Why `init` says no.
    refuse_init: Option<String>,
    /// The first case whose `has` is in the text counts.
    query: Vec<Case>,
    /// What a write to a table invalidates: `{}` is each value of the column.
    write: Vec<Named>,
    /// What a change of a table invalidates.
    change: Vec<Named>,
    store: Store,
    /// By user: why they may not come in.
    refuse_users: BTreeMap<String, String>,
    /// Settings of all who come in.
    settings: BTreeMap<String, String>,
    /// What a hook does instead: `trap`, `spin` or `grow`; by its name.
    fault: BTreeMap<String, String>,
}

/// What is said of statements.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Case {
    has: String,
    /// Only statements of this kind.
    read_only: Option<bool>,
    rewrite: Option<String>,
    /// The parameters of the rewritten text; `@0` is the client's first.
    params: Option<Vec<Option<String>>>,
    answer: Option<Vec<Vec<Option<String>>>>,
    columns: Vec<String>,
    refuse: Option<String>,
    route: Option<String>,
    tags: Vec<String>,
    ttl_ms: Option<u64>,
    bypass: bool,
    memo: bool,
    /// Answers with what this query finds.
    lookup: Option<String>,
    /// Counts calls under this key, and answers with their number.
    count: Option<String>,
    fault: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    table: String,
    column: String,
    tag: String,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Store {
    veto: bool,
    tags: Vec<String>,
    ttl_ms: Option<u64>,
}

fn fail(how: Option<&String>) {
    match how.map(String::as_str) {
        None => {}
        Some("spin") => loop {
            std::hint::black_box(());
        },
        Some("grow") => {
            let mut held: Vec<Vec<u8>> = Vec::new();
            loop {
                held.push(std::hint::black_box(vec![1; 1 << 20]));
            }
        }
        Some(_) => panic!("as told"),
    }
}

/// The text of the first parameter, or of the first literal.
fn first_value(query: &Query) -> String {
    let text = match query.params {
        0 => statement::literal(0).map(|literal| literal.text),
        _ => statement::param(0).and_then(|param| param.value.to_id()),
    };
    text.unwrap_or_default()
}

fn parameter(text: &Option<String>) -> Parameter {
    let own = |text: &str| statement::param(text.strip_prefix('@')?.parse().ok()?);
    match text {
        None => Parameter { type_oid: 0, value: Value::Null },
        Some(text) => own(text).unwrap_or_else(|| Parameter { type_oid: 0, value: Value::Text(text.clone()) }),
    }
}

impl Case {
    fn fits(&self, sql: &str, query: &Query) -> bool {
        sql.contains(&self.has) && self.read_only.is_none_or(|reads| reads == query.read_only)
    }

    fn judge(&self, query: &Query) -> Outcome {
        fail(self.fault.as_ref());
        let outcome = match (&self.refuse, &self.answer, &self.lookup, &self.count) {
            (Some(message), ..) => Outcome::refuse(Refusal::new("42501", message.clone()).hint("ask the script")),
            (_, Some(rows), ..) => Outcome::answer(Rows { columns: self.columns.clone(), rows: rows.clone() }),
            (.., Some(sql), _) => match lookup::query(sql, &[Some(first_value(query))]) {
                Ok(rows) => Outcome::answer(rows),
                Err(error) => Outcome::refuse(Refusal::new("P0002", format!("{error:?}"))),
            },
            (.., Some(key)) => {
                let count = kv::increment(key, 1, None).unwrap_or(-1);
                Outcome::answer(Rows { columns: vec!["count".into()], rows: vec![vec![Some(count.to_string())]] })
            }
            _ => Outcome::change(self.changes(query)),
        };
        if self.memo { outcome.for_all(Memo::Template) } else { outcome }
    }

    fn changes(&self, query: &Query) -> Changes {
        let mut changes = Changes::new();
        if let Some(sql) = &self.rewrite {
            let sql = sql.replace("{user}", &session::who().user);
            changes = match &self.params {
                None => changes.rewrite(sql),
                Some(params) => changes.rewrite_with(sql, params.iter().map(parameter).collect()),
            };
        }
        changes = match self.route.as_deref() {
            Some("primary") => changes.route(Route::Primary),
            Some("replica") => changes.route(Route::Replica),
            Some(shard) => changes.route(Route::Shard(shard.parse().unwrap_or(u32::MAX))),
            None => changes,
        };
        for tag in &self.tags {
            changes = changes.tag(tag.replace("{}", &first_value(query)));
        }
        if let Some(ttl) = self.ttl_ms {
            changes = changes.ttl(Duration::from_millis(ttl));
        }
        if self.bypass { changes.bypass_cache() } else { changes }
    }
}

fn tags(named: &Named, values: Option<Vec<Value>>) -> Vec<Tag> {
    match values {
        None => vec![named.tag.replace("{}", "?")],
        Some(values) => values.iter().filter_map(Value::to_id).map(|id| named.tag.replace("{}", &id)).collect(),
    }
}

impl Plugin for Script {
    fn init(config: &str) -> Result<Self, String> {
        let script: Option<Self> = serde_json::from_str(config).map_err(|error| error.to_string())?;
        let script = script.unwrap_or_default();
        fail(script.fault.get("init"));
        script.refuse_init.clone().map_or(Ok(script), Err)
    }

    fn needs(&mut self) -> Wants {
        Wants { changes_of: Vec::new(), values: true }
    }

    fn on_query(&mut self, query: Query) -> Outcome {
        fail(self.fault.get("on-query"));
        let sql = statement::sql();
        match self.query.iter().find(|case| case.fits(&sql, &query)) {
            None => Outcome::pass(),
            Some(case) => case.judge(&query),
        }
    }

    fn on_write(&mut self, _written: Written) -> Vec<Tag> {
        fail(self.fault.get("on-write"));
        let written: Vec<_> = statement::relations().into_iter().filter(|relation| relation.written).collect();
        let meant = self.write.iter().filter(|named| written.iter().any(|one| one.name == named.table));
        meant.flat_map(|named| tags(named, statement::pinned(&named.table, &named.column))).collect()
    }

    fn on_change(&mut self, batch: Batch) -> Vec<Tag> {
        fail(self.fault.get("on-change"));
        let of = |table: &str| self.change.iter().filter(move |named| named.table == table).collect::<Vec<_>>();
        let each = |change: &pointsman_plugin::RowChange| -> Vec<Tag> {
            let values = |column: &str| Some(change.values_of(column).cloned().collect());
            of(&change.table).into_iter().flat_map(|named| tags(named, values(&named.column))).collect()
        };
        batch.changes.iter().flat_map(each).collect()
    }

    fn on_store(&mut self, _entry: Entry) -> StoreVerdict {
        fail(self.fault.get("on-store"));
        if self.store.veto {
            return StoreVerdict::Veto;
        }
        StoreVerdict::Change(Storing { tags: self.store.tags.clone(), ttl_ms: self.store.ttl_ms })
    }

    fn on_connect(&mut self) -> ConnectVerdict {
        fail(self.fault.get("on-connect"));
        if let Some(why) = self.refuse_users.get(&session::who().user) {
            return ConnectVerdict::Refuse(Refusal::new("28000", why.clone()));
        }
        let setting = |(name, value): (&String, &String)| Setting { name: name.clone(), value: value.clone() };
        ConnectVerdict::Allow(self.settings.iter().map(setting).collect())
    }
}

pointsman_plugin::export!(Script: needs, on_query, on_write, on_change, on_store, on_connect);
