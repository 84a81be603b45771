//! What becomes of a text over shards, told for `EXPLAIN ROUTE` and `pointsman explain`.

use pointsman_policy::{Access, classify};
use pointsman_shards::plan::plan;
use pointsman_shards::told::Question;
use pointsman_shards::{Placement, Schema, Values};
use pointsman_sql::{Analyzer, ClientEncoding, Statement, split};
use pointsman_wire::frontend::BindParameters;

use crate::session::shards::Declared;

/// What it depends on beside the text.
pub(crate) struct Terms<'a> {
    /// Where tables live.
    pub declared: Declared<'a>,
    /// The coordinator's cluster.
    pub coordinator: Option<&'a str>,
    /// Whether writes on several shards are allowed.
    pub two_phase: bool,
    /// What a text's parameters are, if they are known.
    pub parameters: Option<&'a BindParameters<'a>>,
}

/// Item and value, line by line. Statements of one text are told of one by one.
pub(crate) fn told(sql: &[u8], terms: &Terms<'_>) -> Vec<(String, String)> {
    let ranges = split(sql, terms.declared.rules).unwrap_or_default();
    let [_, _, ..] = &ranges[..] else { return one(sql, terms) };
    let mut rows = Vec::new();
    for range in ranges {
        let text = sql.get(range).unwrap_or_default();
        rows.push(("of".to_owned(), String::from_utf8_lossy(text).trim().to_owned()));
        rows.extend(one(text, terms));
    }
    let told = "as one text to one shard, if all of them are for that one; else it is refused";
    rows.push(("together".to_owned(), told.to_owned()));
    rows
}

fn one(sql: &[u8], terms: &Terms<'_>) -> Vec<(String, String)> {
    let declared = &terms.declared;
    let mut analyzer = Analyzer::<()>::new(1);
    let analysis = analyzer.analyze(sql, declared.rules);
    let plan = plan(&String::from_utf8_lossy(sql), analysis.literals, declared);
    let reads = classify(analysis.facts, declared.catalog).access == Access::Read;
    let tables = tables(&analysis.facts.statements, declared);
    let values = Values {
        sql,
        literals: analysis.literals,
        parameters: terms.parameters,
        types: &[],
        utf8: declared.rules.encoding == ClientEncoding::Utf8,
    };
    let question = Question {
        plan: &plan,
        values,
        shards: declared.shards(),
        tables: &tables,
        coordinator: terms.coordinator.filter(|_| reads),
        two_phase: terms.two_phase,
    };
    question.rows()
}

/// Every table named, once, and where it lives.
fn tables(statements: &[Statement], declared: &Declared<'_>) -> Vec<(String, Placement)> {
    let mut tables: Vec<(String, Placement)> = Vec::new();
    for relation in statements.iter().flat_map(|statement| statement.writes.iter().chain(&statement.reads)) {
        let name = relation.to_string();
        if !tables.iter().any(|(known, _)| *known == name) {
            tables.push((name, declared.placement(relation)));
        }
    }
    tables
}
