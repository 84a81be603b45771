//! Placements from policy files, and what is wrong with them.

use pointsman_shards::Placement;
use pointsman_shards::function::Function;
use pointsman_shards::key::Key;
use pointsman_sql::Relation;

use crate::set::PolicySet;
use crate::testing::{errors, set};

fn placement(set: &PolicySet, name: &str) -> Placement {
    let relation = match name.split_once('.') {
        Some((schema, name)) => Relation { schema: Some(schema.into()), name: name.into() },
        None => Relation { schema: None, name: name.into() },
    };
    set.tables().placement(&relation)
}

fn function(set: &PolicySet, name: &str) -> Function {
    match placement(set, name) {
        Placement::Sharded(sharded) => (*sharded.function).clone(),
        other => panic!("{other:?}"),
    }
}

const ALL: &str = "tables:
  agents: {shard_key: id, id: id}
  interactions: {shard_key: initiator_id, also: author_id, large: true}
  app.members: {shard_key: [agent_id, community], also: [[a, c], [b, d]]}
  communities: {reference: true}
  migrations: {unsharded: true}
  settings: {large: true, reference: false}
  events:
    shard_key: day
    function: range
    key_type: date
    ranges:
    - {to: 2024-01-01, shard: 0}
    - {from: 2025-01-01, shard: 2}
    - {from: 2024-01-01, to: 2025-01-01, shard: 1}
  users:
    shard_key: country
    function: list
    key_type: text
    values: [{shard: 1, values: [de, at]}, {shard: 3, values: fr}]
    default_shard: 0
  files: {shard_key: name, function: ring, points: 100}
";

#[test]
fn tables_have_their_places() {
    let set = set(ALL);
    let Placement::Sharded(agents) = placement(&set, "agents") else { panic!() };
    assert_eq!((&*agents.function, agents.id.as_deref()), (&Function::Modulo, Some("id")));
    let Placement::Sharded(interactions) = placement(&set, "x.interactions") else { panic!() };
    assert_eq!(
        interactions.keys.iter().map(|key| key.join("+")).collect::<Vec<_>>(),
        ["initiator_id", "author_id"]
    );
    assert_eq!(interactions.function, agents.function);
    let Placement::Sharded(members) = placement(&set, "app.members") else { panic!() };
    assert_eq!(
        members.keys.iter().map(|key| key.join("+")).collect::<Vec<_>>(),
        ["agent_id+community", "a+c", "b+d"]
    );
    assert_eq!(*members.function, Function::Hash);
    assert_eq!(placement(&set, "members"), Placement::Unsharded);
    assert_eq!(placement(&set, "communities"), Placement::Reference);
    assert_eq!(placement(&set, "migrations"), Placement::Unsharded);
    assert_eq!(placement(&set, "settings"), Placement::Unsharded);
    assert_eq!(placement(&set, "anything"), Placement::Unsharded);
    let day = |text: &'static str| pointsman_shards::key::KeyType::Date.of_text(text.as_bytes()).unwrap();
    let events = function(&set, "events");
    assert_eq!(events.shard(&[day("2024-07-01")], 4), Ok(1));
    assert_eq!(events.shard(&[day("2025-01-01")], 4), Ok(2));
    let users = function(&set, "users");
    let country = |text: &'static str| users.shard(&[Key::Text(text.as_bytes().into())], 4);
    assert_eq!((country("at"), country("fr"), country("es")), (Ok(1), Ok(3), Ok(0)));
    assert_eq!(function(&set, "files").name(), "ring");
    let named: Vec<String> =
        set.tables().shards_named().map(|(name, shard)| format!("{name} {shard}")).collect();
    assert_eq!(named, ["events 2", "users 3"]);
    assert!(set.tables().are_sharded() && !PolicySet::default().tables().are_sharded());
}

#[test]
fn the_first_policy_that_places_a_table_holds() {
    let of = |name: &str, spec: &str| {
        (
            format!("{name}.yaml"),
            crate::testing::file(spec).replace("{name: p}", &format!("{{name: {name}}}")),
        )
    };
    let files = [
        of("a", "tables: {t: {reference: true}, u: {large: true}}"),
        of("b", "tables: {'*': {shard_key: id}}"),
    ];
    let set = PolicySet::load(&files).unwrap();
    assert_eq!(placement(&set, "t"), Placement::Reference);
    assert_eq!(function(&set, "u"), Function::Modulo);
}

#[test]
fn contradictions_are_told_where_they_stand() {
    for (table, told) in [
        ("{shard_key: a, reference: true}", "5:41: table `t`: a table with a `shard_key` is not `reference`"),
        ("{shard_key: a, unsharded: true}", "is not `unsharded`"),
        ("{reference: true, unsharded: true}", "not both"),
        ("{also: a}", ": table `t`: `also` means nothing without a `shard_key`"),
        ("{id: a, reference: true}", "`id` means nothing"),
        ("{function: hash}", "`function` means nothing"),
        ("{shard_key: a, also: [[b, c]]}", "`also` has a key of 2 columns, `shard_key` has 1"),
        ("{shard_key: [a, b], also: [c]}", ": table `t`: `also` has a key of 1 columns"),
        ("{shard_key: [a, a]}", "`a` is twice in one key"),
        ("{shard_key: a, also: [b, a]}", ": table `t`: `a` is a key already"),
        ("{shard_key: [a, b], function: modulo}", "`modulo` takes a key of one column"),
        ("{shard_key: a, function: range}", "`function: range` needs `ranges`"),
        ("{shard_key: a, function: list}", "`function: list` needs `values`"),
        ("{shard_key: a, ranges: [{shard: 0}]}", "`ranges` needs `function: range`, it is `modulo`"),
        ("{shard_key: a, function: hash, points: 3}", "`points` needs `function: ring`, it is `hash`"),
        ("{shard_key: a, key_type: text}", "`key_type` needs `function: range` or `function: list`"),
        (
            "{shard_key: a, function: list, values: [{shard: 0, values: 1}], ranges: [{shard: 0}]}",
            "`ranges` needs",
        ),
        ("{shard_key: a, function: ring, points: 0}", "`points` is not from 1 to 65536"),
        (
            "{shard_key: a, function: range, ranges: [{to: 5, shard: 0}, {from: 4, shard: 1}]}",
            ": table `t`: the range overlaps the one in line 5",
        ),
        ("{shard_key: a, function: range, ranges: [{from: 5, to: 5, shard: 0}]}", "the range is empty"),
        (
            "{shard_key: a, function: range, ranges: [{from: x, shard: 0}]}",
            "expected a whole number, found `x`; keys of another type need a `key_type`",
        ),
        (
            "{shard_key: a, function: range, ranges: [{from: 1, shard: 256}]}",
            "shards are numbered from 0 to 255",
        ),
        (
            "{shard_key: a, function: range, key_type: date, ranges: [{from: 2024-02-30, shard: 0}]}",
            "expected a date such as",
        ),
        (
            "{shard_key: a, function: range, key_type: timestamptz, ranges: [{from: '2024-01-01 00:00', shard: 0}]}",
            "with its zone",
        ),
        (
            "{shard_key: a, function: list, values: [{shard: 0, values: [1, 2]}, {shard: 1, values: 2}]}",
            "listed already, in line 5",
        ),
        (
            "{shard_key: a, function: list, key_type: text, values: [{shard: 0, values: [a, 2]}]}",
            "expected text, found `2`",
        ),
        (
            "{shard_key: a, function: list, values: [{shard: 0, values: 1}], default_shard: 999}",
            "numbered from 0",
        ),
    ] {
        let found = errors(&format!("tables: {{t: {table}}}"));
        assert!(found.contains(told), "{table}\n{found}");
        assert_eq!(found.lines().count(), 1, "{table}\n{found}");
    }
}

#[test]
fn wrong_shapes_are_told_once() {
    for (table, told) in [
        ("{shard_key: 5}", "`spec.tables.t.shard_key`: expected text"),
        ("{shard_key: []}", "empty list"),
        ("{shard_key: a, function: modulus}", "did you mean `modulo`?"),
        (
            "{shard_key: a, function: range, ranges: [{from: 1}]}",
            "`spec.tables.t.ranges[0].shard` is missing",
        ),
        ("{shard_key: a, function: range, ranges: {from: 1}}", "expected a list"),
        (
            "{shard_key: a, function: range, ranges: [{from: 1.5, shard: 0}]}",
            "expected text, or a whole number",
        ),
        (
            "{shard_key: a, function: range, ranges: [{from: 9223372036854775808, shard: 0}]}",
            "does not fit in 64 bits",
        ),
        ("{shard_key: a, function: list, values: [{shard: -1, values: 1}]}", "-1 is not from 0"),
        ("{reference: maybe}", "expected `true` or `false`"),
    ] {
        let found = errors(&format!("tables: {{t: {table}}}"));
        assert!(found.contains(told), "{table}\n{found}");
        assert_eq!(found.lines().count(), 1, "{table}\n{found}");
    }
}

#[test]
fn names_that_mean_the_same_tables_agree() {
    let found = errors("tables:\n  'a*': {reference: true}\n  ab: {shard_key: id}\n  b: {shard_key: id}");
    assert_eq!(found, "p.yaml:7:5: `ab` places tables otherwise that `a*` in line 6 means too");
    assert_eq!(errors("tables: {'a*': {shard_key: id}, ab: {shard_key: id}, abc: {large: true}}"), "");
}
