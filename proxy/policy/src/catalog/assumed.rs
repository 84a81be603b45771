//! A catalog for where there is no server to ask: PostgreSQL's own functions and relations as a fresh server lists them,
//! and every other relation taken for a plain table.

use super::rows::{FunctionRow, RelationRow, Rows};
use super::{Catalog, Volatility};
use crate::overrides::Overrides;

/// Written by `postgres.sh`.
const POSTGRES: &str = include_str!("postgres.txt");

impl Catalog {
    /// PostgreSQL's own functions, those that policies declare, and every relation that is asked for.
    #[must_use]
    pub fn assumed(overrides: &Overrides) -> Self {
        let mut catalog = Self::build(&rows(), overrides);
        catalog.assumed = true;
        catalog
    }
}

fn rows() -> Rows {
    let mut rows = Rows::default();
    for line in POSTGRES.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let tag = words.next().unwrap_or_default();
        for word in words {
            let (schema, name) = word.split_once('.').unwrap_or(("pg_catalog", word));
            match Volatility::named(tag) {
                Some(volatility) => rows.functions.push(FunctionRow {
                    schema: schema.into(),
                    name: name.into(),
                    volatility,
                    builtin: true,
                    source: Box::default(),
                    attribute: false,
                    opaque: false,
                    defaults: Box::default(),
                    kind: 'f',
                }),
                None => rows.relations.push(RelationRow {
                    schema: schema.into(),
                    name: name.into(),
                    kind: if tag == "view" { 'v' } else { 'r' },
                    builtin: true,
                    not_replicated: false,
                    row_security: false,
                    ruled: false,
                    busy: false,
                    definition: Box::default(),
                }),
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use pointsman_sql::{Analyzer, LexRules};

    use super::*;
    use crate::class::{Access, classify};

    #[test]
    fn reads_and_writes_are_told_apart_without_a_server() {
        let mut overrides = Overrides::default();
        overrides.set("score", Volatility::Stable);
        let catalog = Catalog::assumed(&overrides);
        let access = |sql: &str| {
            let mut analyzer = Analyzer::<()>::new(1);
            classify(analyzer.analyze(sql.as_bytes(), LexRules::default()).facts, &catalog).access
        };
        for read in
            ["SELECT lower(a), now() FROM t", "SELECT count(*) FROM s.t", "SELECT score(1)", "TABLE pg_class"]
        {
            assert_eq!(access(read), Access::Read, "{read}");
        }
        for primary in ["SELECT random()", "SELECT * FROM pg_stat_activity", "SELECT pg_backend_pid()"] {
            assert_eq!(access(primary), Access::PrimaryRead, "{primary}");
        }
        for write in ["SELECT nextval('s')", "SELECT unknown_to_all()", "SELECT pg_advisory_lock(1)"] {
            assert_eq!(access(write), Access::Write, "{write}");
        }
    }
}
