//! The shards of an execution.

use pointsman_wire::frontend::BindParameters;

use super::*;
use crate::function::{Function, List, Range, Ranges};

fn sharded(function: Function) -> Arc<Sharded> {
    Arc::new(Sharded { keys: Box::new([Box::new(["k".into()])]), function: Arc::new(function), id: None })
}

fn key_use(function: Function, types: &[u32], values: KeyValues) -> KeyUse {
    KeyUse { sharded: sharded(function), types: types.into(), values }
}

fn tuples(list: &[&[ValueRef]]) -> Box<[Box<[ValueRef]>]> {
    list.iter().map(|tuple| (*tuple).into()).collect()
}

/// The shards of 4 for parameters in text; `all`, `any`, or their numbers.
fn picked(uses: Vec<KeyUse>, bound: &[Option<&str>]) -> String {
    let values = bound.iter().map(|value| value.map(str::as_bytes)).collect();
    let parameters = BindParameters { formats: vec![], values, result_formats: vec![] };
    let sql = b"SELECT $1, $2, $3";
    let values = Values { sql, literals: &[], parameters: Some(&parameters), types: &[], utf8: true };
    match Pick::Keys(uses.into()).shards(&values, 4) {
        Ok(Picked::Any) => "any".to_owned(),
        Ok(Picked::Shards(set)) if set == ShardSet::all(4) => "all".to_owned(),
        Ok(Picked::Shards(set)) => set.iter().map(|shard| shard.to_string()).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}

const ONE: ValueRef = ValueRef::Param(1);
const TWO: ValueRef = ValueRef::Param(2);

fn equal(function: Function, list: &[&[ValueRef]]) -> Vec<KeyUse> {
    vec![key_use(function, &[20], KeyValues::Tuples(tuples(list)))]
}

fn stored(function: Function, list: &[&[ValueRef]]) -> Vec<KeyUse> {
    vec![key_use(function, &[20], KeyValues::Rows(tuples(list)))]
}

#[test]
fn keys_that_are_compared() {
    let modulo = |list: &[&[ValueRef]]| equal(Function::Modulo, list);
    assert_eq!(picked(modulo(&[&[ONE]]), &[Some("6")]), "2");
    assert_eq!(picked(modulo(&[&[ONE], &[TWO]]), &[Some("6"), Some("9")]), "1 2");
    assert_eq!(picked(modulo(&[&[ONE], &[TWO]]), &[Some("6"), None]), "2");
    assert_eq!(picked(modulo(&[&[ONE]]), &[None]), "any");
    assert_eq!(picked(modulo(&[&[ValueRef::Null]]), &[]), "any");
    assert_eq!(picked(modulo(&[]), &[]), "any");
    assert_eq!(picked(modulo(&[&[ONE], &[TWO]]), &[Some("6"), Some("x")]), "all");
    assert_eq!(picked(modulo(&[&[ONE], &[ValueRef::Other]]), &[Some("6")]), "all");
    assert_eq!(picked(modulo(&[&[ONE]]), &[]), "all");
    assert_eq!(picked(modulo(&[&[ONE, TWO]]), &[Some("6"), Some("6")]), "all");
    let text = key_use(Function::Modulo, &[25], KeyValues::Tuples(tuples(&[&[ONE]])));
    assert_eq!(picked(vec![text], &[Some("6")]), "all");
    let unknown = key_use(Function::Modulo, &[701], KeyValues::Tuples(tuples(&[&[ONE]])));
    assert_eq!(picked(vec![unknown], &[Some("6")]), "all");
    let mut both = modulo(&[&[ONE]]);
    both.extend(modulo(&[&[TWO]]));
    assert_eq!(picked(both, &[Some("4"), Some("7")]), "0 3");
}

#[test]
fn keys_without_a_shard_match_no_row_and_are_not_stored() {
    let list = || Function::List(List::new(&[(Key::Int(1), 1), (Key::Int(9), 5)], None).unwrap());
    assert_eq!(picked(equal(list(), &[&[ONE], &[TWO]]), &[Some("1"), Some("2")]), "1");
    assert_eq!(picked(equal(list(), &[&[ONE]]), &[Some("2")]), "any");
    let no_shard = "no shard is declared for the key 2";
    assert_eq!(picked(stored(list(), &[&[ONE], &[TWO]]), &[Some("1"), Some("2")]), no_shard);
    assert_eq!(picked(stored(list(), &[&[ONE]]), &[Some("1")]), "1");
    assert_eq!(picked(stored(list(), &[&[ONE]]), &[None]), "the shard key is NULL");
    assert_eq!(
        picked(stored(Function::Modulo, &[&[ONE], &[TWO]]), &[Some("1"), None]),
        "the shard key is NULL"
    );
    assert_eq!(picked(stored(Function::Modulo, &[&[ONE], &[ValueRef::Default]]), &[Some("1")]), "all");
    assert_eq!(picked(stored(Function::Hash, &[&[ONE]]), &[None]), "0");
    assert_eq!(picked(equal(list(), &[&[ONE]]), &[Some("9")]), "all");
    assert!(picked(stored(list(), &[&[ONE]]), &[Some("9")]).contains("shard 5, of which there are 4"));
}

#[test]
fn keys_of_several_columns() {
    let of = |bound: &[Option<&str>]| {
        picked(vec![key_use(Function::Hash, &[20, 25], KeyValues::Tuples(tuples(&[&[ONE, TWO]])))], bound)
    };
    let shard = Function::Hash.shard(&[Key::Int(42), Key::Text(b"agent".into())], 4).unwrap();
    assert_eq!(of(&[Some("42"), Some("agent")]), shard.to_string());
    assert_eq!(of(&[Some("42"), None]), "any");
    assert_eq!(of(&[Some("x"), Some("agent")]), "all");
}

#[test]
fn arrays_and_bounds() {
    let array = || vec![key_use(Function::Modulo, &[20], KeyValues::Array(ONE))];
    assert_eq!(picked(array(), &[Some("{1,NULL,5,2}")]), "1 2");
    assert_eq!(picked(array(), &[Some("{}")]), "any");
    assert_eq!(picked(array(), &[None]), "any");
    assert_eq!(picked(array(), &[Some("{1,x}")]), "all");
    let ranges = |key: fn(i64) -> Key<'static>, types: &[u32], bounds: [Option<ValueRef>; 2]| {
        let bound = |value: Option<ValueRef>| value.map(|value| Bound { value, included: true });
        let range = |from, to, shard| Range { from, to, shard };
        let list = vec![range(None, Some(key(10)), 0), range(Some(key(10)), Some(key(20)), 1)];
        let function = Function::Range(Ranges::new(list).unwrap());
        let values = KeyValues::Between { low: bound(bounds[0]), high: bound(bounds[1]) };
        vec![key_use(function, types, values)]
    };
    let ints = |bounds| ranges(Key::Int, &[20], bounds);
    assert_eq!(picked(ints([Some(ONE), Some(TWO)]), &[Some("1"), Some("5")]), "0");
    assert_eq!(picked(ints([Some(ONE), Some(TWO)]), &[Some("12"), Some("x")]), "1");
    assert_eq!(picked(ints([Some(ONE), Some(TWO)]), &[Some("x"), Some("x")]), "0 1");
    assert_eq!(picked(ints([Some(ONE), None]), &[Some("20")]), "any");
    assert_eq!(picked(ints([Some(ONE), Some(TWO)]), &[Some("1"), None]), "any");
    let texts = ranges(|at| Key::Text(format!("{at:02}").into_bytes().into()), &[25], [Some(ONE), Some(TWO)]);
    assert_eq!(picked(texts, &[Some("01"), Some("05")]), "all");
}

#[test]
fn other_picks() {
    let values = Values { sql: b"", literals: &[], parameters: None, types: &[], utf8: true };
    assert_eq!(Pick::Any.shards(&values, 4), Ok(Picked::Any));
    assert_eq!(Pick::First.shards(&values, 4), Ok(Picked::Shards(ShardSet::one(0))));
    assert_eq!(Pick::All.shards(&values, 4), Ok(Picked::Shards(ShardSet::all(4))));
    assert_eq!(Picked::Any.only(3), Some(3));
    assert_eq!(Picked::Shards(ShardSet::one(2)).only(3), Some(2));
    assert_eq!(Picked::Shards(ShardSet::all(2)).only(3), None);
}
