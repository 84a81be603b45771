//! Tenants keep apart: every table of theirs is read as the part that belongs to the session's tenant, and written there only.
//!
//! A statement is parsed, checked, changed as a tree and printed, so that PostgreSQL gets what was understood and nothing else. Each
//! table in a `FROM` becomes `(SELECT * FROM t WHERE tenant = '7') AS t`; `UPDATE` and `DELETE` get the condition; an `INSERT`
//! gets the tenant's column, or must say this tenant itself. What is not known to be [`harmless`] is refused.

mod guard;
mod harmless;

use std::collections::BTreeMap;

use pointsman_plugin::{Changes, Outcome, Plugin, Query, Refusal, StatementKind, session, statement};

/// What `config` says.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The setting that has the session's tenant; `on-connect` or the login gives it, a `SET` of it is refused.
    setting: String,
    /// The tables of tenants, as statements name them, each with the column of the tenant.
    tables: BTreeMap<String, String>,
    /// Tables that belong to all.
    #[serde(default)]
    common: Vec<String>,
    /// Functions that may be called besides the usual ones.
    #[serde(default)]
    functions: Vec<String>,
}

struct TenantGuard(Config);

fn refuse(why: &str) -> Outcome {
    Outcome::refuse(Refusal::new("42501", format!("not provably within one tenant: {why}")))
}

impl Plugin for TenantGuard {
    fn init(config: &str) -> Result<Self, String> {
        serde_json::from_str(config).map(Self).map_err(|error| error.to_string())
    }

    fn on_query(&mut self, query: Query) -> Outcome {
        match query.kind {
            StatementKind::Transaction => return Outcome::pass(),
            StatementKind::Select | StatementKind::Insert | StatementKind::Update | StatementKind::Delete => {
            }
            _ => return refuse("only SELECT, INSERT, UPDATE, DELETE and transactions are understood"),
        }
        let Some(tenant) = session::setting(&self.0.setting).filter(|tenant| !tenant.is_empty()) else {
            return refuse(&format!("the session has no {}", self.0.setting));
        };
        match guard::within(&statement::sql(), &tenant, &self.0) {
            Ok(sql) => Outcome::change(Changes::new().rewrite(sql)),
            Err(why) => refuse(&why),
        }
    }
}

pointsman_plugin::export!(TenantGuard: on_query);

#[cfg(test)]
mod tests;
