//! Explanations say what plans do.

use std::sync::Arc;

use pointsman_sql::Relation;

use super::Question;
use crate::function::Function;
use crate::layout::{Placement, Schema, Sharded};
use crate::plan::plan;
use crate::plan::tests::{Fake, literals};
use crate::values::Values;

struct Case<'a> {
    tables: &'a [&'a str],
    coordinator: Option<&'a str>,
    two_phase: bool,
}

const PLAIN: Case<'_> = Case { tables: &[], coordinator: None, two_phase: true };

fn told(text: &str, case: &Case<'_>) -> Vec<String> {
    let schema = Fake { bytewise: true };
    let literals = literals(text);
    let plan = plan(text, &literals, &schema);
    let values =
        Values { sql: text.as_bytes(), literals: &literals, parameters: None, types: &[], utf8: true };
    let placement = |name: &&str| {
        let relation = Relation { schema: None, name: (*name).into() };
        ((*name).to_owned(), schema.placement(&relation))
    };
    let tables: Vec<_> = case.tables.iter().map(placement).collect();
    let question = Question {
        plan: &plan,
        values,
        shards: 4,
        tables: &tables,
        coordinator: case.coordinator,
        two_phase: case.two_phase,
    };
    question.rows().into_iter().map(|(item, value)| format!("{item}: {value}")).collect()
}

#[test]
fn one_shard_is_named_with_what_leads_there() {
    let case = Case { tables: &["agents", "communities", "settings"], ..PLAIN };
    assert_eq!(
        told("SELECT * FROM agents WHERE id = 6", &case),
        [
            "table: agents: shard key id, by modulo",
            "table: communities: reference, whole on every shard",
            "table: settings: unsharded, on the first shard",
            "shards: 1 of 4 (shard 2), by agents.id = 6",
            "sent: as it is, to that shard",
        ]
    );
    assert_eq!(
        told("SELECT * FROM communities", &PLAIN),
        ["shards: any of 4", "sent: as it is, to one shard"]
    );
    assert_eq!(
        told("SELECT * FROM settings", &PLAIN),
        ["shards: the first of 4", "sent: as it is, to that shard"]
    );
    assert_eq!(
        told("SELECT * FROM agents WHERE id = NULL", &PLAIN)[0],
        "shards: any of 4, as no row can match id = NULL"
    );
    assert_eq!(
        told("UPDATE agents SET bio = '' WHERE id IN (-1, 3)", &PLAIN),
        ["shards: 1 of 4 (shard 3), by id IN (-1, 3)", "sent: as it is, to that shard"]
    );
}

#[test]
fn several_shards_are_listed_with_what_is_done_there() {
    assert_eq!(
        told("SELECT id FROM agents WHERE id IN (6, 7) ORDER BY name DESC LIMIT 10", &PLAIN),
        [
            "shards: 2 of 4 (shards 2, 3), by id IN (6, 7)",
            "over several: gathered: merged in the order of 1 value (descending), LIMIT 10",
            "sent to each: SELECT id, name AS pointsman_key_1 FROM agents WHERE id IN (6, 7) ORDER BY name DESC LIMIT 10",
        ]
    );
    let lines = told("SELECT id FROM agents", &PLAIN);
    assert_eq!(lines[..2], ["shards: all 4", "over several: gathered: the rows of one shard after another"]);
    let lines = told("SELECT id FROM agents WHERE id IN (1, 2, 3, 4, 5, 6)", &PLAIN);
    assert_eq!(lines[0], "shards: all 4, by id IN (1, 2, 3, 4 and 2 more)");
}

#[test]
fn what_is_not_bound_yet_is_not_guessed() {
    let lines = told("SELECT name FROM agents WHERE id = $1", &PLAIN);
    assert_eq!(
        lines[..3],
        [
            "shards: by id = $1 of 4, as soon as it is bound",
            "sent: as it is, if they are one",
            "over several: gathered: the rows of one shard, which has all of them",
        ]
    );
    let insert = "INSERT INTO agents (id, name) VALUES ($1, 'a'), ($2, 'b')";
    assert_eq!(told(insert, &PLAIN)[2], "over several: 2 rows dealt out by their keys, by two-phase commit");
}

#[test]
fn lookups_come_before_what_needs_them() {
    let text =
        "SELECT a.name FROM interactions i JOIN agents a ON a.id = i.recipient_id WHERE i.initiator_id = 6";
    let lines = told(text, &PLAIN);
    let at = |part: &str| lines.iter().position(|line| line.starts_with(part));
    let (lookup, sent) = (at("lookup 1: SELECT"), at("sent to each: SELECT"));
    assert!(lookup.is_some() && lookup < sent, "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("asked of 1 of 4 (shard 2), by initiator_id = 6")),
        "{lines:#?}"
    );
}

#[test]
fn refusals_name_the_part_unless_the_coordinator_answers() {
    let text = "SELECT id, random() FROM agents";
    let lines = told(text, &PLAIN);
    assert!(lines[1].starts_with("over several: refused (function): "), "{lines:#?}");
    assert!(lines[2].starts_with("hint: "), "{lines:#?}");
    let asked = told(text, &Case { coordinator: Some("all"), ..PLAIN });
    assert!(asked[1].starts_with("over several: asked of the coordinator all (function): "), "{asked:#?}");
    assert_eq!(asked.len(), 2);
}

#[test]
fn writes_say_how_they_commit() {
    let insert = "INSERT INTO agents (id, name) VALUES (1, 'a'), (5, 'b'), (2, 'c') RETURNING id";
    assert_eq!(
        told(insert, &PLAIN),
        [
            "shards: 2 of 4 (shards 1, 2), by id IN (1, 5, 2)",
            "over several: 3 rows dealt out by their keys, by two-phase commit: 2, 1 to shards 1, 2; RETURNING in their order",
        ]
    );
    let refused = told(insert, &Case { two_phase: false, ..PLAIN });
    assert_eq!(refused[1], "over several: refused (write): it writes on several shards");
    assert!(refused[2].contains("cross_shard_writes: two_phase"), "{refused:#?}");
    assert!(told("DELETE FROM agents", &PLAIN)[1].contains("counts are added up"));
    assert!(
        told("UPDATE communities SET name = ''", &PLAIN)[1].contains("on every shard, by two-phase commit")
    );
    assert_eq!(
        told("COPY agents (name, id) FROM STDIN", &PLAIN)[1],
        "over several: rows dealt out as they come, by column 2 of 2, by two-phase commit"
    );
}

#[test]
fn ids_that_are_made_are_named() {
    let keys =
        Box::new([Box::from([Box::from("region"), Box::from("number")]), Box::from([Box::from("code")])]);
    let sharded = Sharded { keys, function: Arc::new(Function::Hash), id: Some("number".into()) };
    let line = super::placed("t", &Placement::Sharded(Arc::new(sharded)));
    assert_eq!(line, "t: shard key (region, number) or code, by hash, ids for number");
}

#[test]
fn a_read_of_lookups_alone_is_for_one_shard() {
    let lines = told("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM agents", &PLAIN);
    assert_eq!(lines[1], "over several: folded: one shard puts together what all are asked for before");
}
