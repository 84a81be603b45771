//! What rules say of caching, and what cannot be meant.

use std::time::Duration;

use crate::testing::{By, decide, errors, explained, set};
use crate::{KeyPart, Scope};

const WHOLE: &str = "rules:
- name: feed
  match: {verb: select}
  cache:
    ttl: 30s
    stale_while_revalidate: 10s
    key_by: [user, application]
    tags: ['feed:{agent_id}', 's.posts.author_id={$1}']
    tags_from: SELECT 'posts.author_id=' || friend_id FROM friends WHERE agent_id = {agent_id}
    invalidate_by: [author_id, agent_id]
    scope: user
    max_entry: 64KiB
    max_staleness: 40s
    in_transaction: never";

#[test]
fn every_key_is_read() {
    let set = set(WHOLE);
    let decision = decide(&set, "SELECT 1", By::default());
    let (index, caching) = decision.cache.expect("it is cached");
    assert_eq!(index, 0);
    assert_eq!(
        (caching.ttl, caching.stale_while_revalidate),
        (Duration::from_secs(30), Duration::from_secs(10))
    );
    assert_eq!(caching.key_by, [KeyPart::User, KeyPart::Application]);
    let tags: Vec<String> = caching.tags.iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["feed:{agent_id}", "s.posts.author_id={$1}"]);
    let (sql, names) = caching.tags_from.as_ref().and_then(|query| query.query()).expect("a query");
    assert!(sql.ends_with("WHERE agent_id = $1") && names == ["agent_id"], "{sql}");
    assert_eq!(caching.scope, Scope::User);
    assert_eq!((caching.max_entry, caching.max_staleness), (Some(65536), Some(Duration::from_secs(40))));
    assert_eq!(set.key_columns(), ["agent_id".into(), "author_id".into()]);
    assert!(set.caches());
}

#[test]
fn a_ttl_is_enough_and_sizes_have_units_or_not() {
    let caching = |keys: &str| {
        let set = set(&format!("rules:\n- {{name: a, cache: {{ttl: 1s{keys}}}}}"));
        decide(&set, "SELECT 1", By::default()).cache.expect("it is cached").1
    };
    let plain = caching("");
    assert_eq!((plain.scope, plain.max_entry, plain.max_staleness), (Scope::Role, None, None));
    assert!(plain.stale_while_revalidate.is_zero() && plain.tags_from.is_none());
    for (size, bytes) in [("500", 500), ("2 KiB", 2048), ("1MB", 1_000_000), ("3B", 3)] {
        assert_eq!(caching(&format!(", max_entry: {size}")).max_entry, Some(bytes), "{size}");
    }
    assert!(!set("rules:\n- {name: a, mode: audit, cache: {ttl: 1s}}").caches());
    let continued =
        set("rules:\n- {name: a, continue: true, cache: {ttl: 1s}}\n- {name: b, cache: {ttl: 2s}}");
    let decision = decide(&continued, "SELECT 1", By::default());
    assert_eq!(decision.cache.expect("it is cached").0, 0, "the first counts");
}

#[test]
fn it_is_shown() {
    let told = explained(&set(WHOLE), "SELECT 1", By::default());
    assert!(told.rule.expect("a rule").actions.contains("cache: 30s per user"));
    let demand = told.demands.iter().find(|demand| demand.starts_with("cache:")).expect("it is told");
    assert_eq!(
        demand,
        "cache: 30s per user, user, application; stale for 10s; by author_id, agent_id; tag feed:{agent_id}; \
         tag s.posts.author_id={$1}; tags from SELECT 'posts.author_id=' || friend_id FROM friends \
         WHERE agent_id = {agent_id}; at most 65536 bytes; at most 40s behind (p/feed)"
    );
}

#[test]
fn mistakes_in_values_are_refused_where_they_stand() {
    for (keys, part) in [
        ("ttl: 0s", "6:18: `spec.rules[0].cache.ttl`: expected a duration such as"),
        ("ttl: 5", "expected a duration such as `250ms`, `5s`, `10m` or `1h`, found `5`; put it in quotes"),
        ("scope: role", "6:12: `spec.rules[0].cache.ttl` is missing"),
        ("ttl: 1s, scope: all", "6:29: `spec.rules[0].cache.scope`: `all` is unknown"),
        ("ttl: 1s, key_by: [user, role]", "6:37: `spec.rules[0].cache.key_by[1]`: `role` is unknown"),
        ("ttl: 1s, tags: ['a{b']", "6:29: `spec.rules[0].cache.tags[0]`: expected a tag such as"),
        ("ttl: 1s, tags: ['a{b']", "the brace at byte 1 has no partner"),
        ("ttl: 1s, tags: 'a}'", "the brace at byte 1 has no partner"),
        ("ttl: 1s, tags: 'a{b c}'", "the braces at byte 1 hold neither"),
        ("ttl: 1s, tags: ''", "expected a tag such as"),
        ("ttl: 1s, tags_from: 'SELECT {'", "6:33: `spec.rules[0].cache.tags_from`: expected a query"),
        ("ttl: 1s, invalidate_by: []", "`spec.rules[0].cache.invalidate_by` is an empty list"),
        ("ttl: 1s, max_entry: 64KB!", "expected a size such as `64KiB` or `1MiB`, found `64KB!`"),
        ("ttl: 1s, max_entry: 0KiB", "expected a size such as"),
        ("ttl: 1s, max_entry: -1", "-1 is not from 0 to 4294967295"),
        ("ttl: 1s, max_entry: 99999999999GiB", "expected a size such as"),
        ("ttl: 1s, max_entry: true", "or a whole number, found `true`"),
        ("ttl: 1s, in_transaction: always", "`always` is unknown; there is `never`"),
        ("ttl: 1s, in_transaction: false", "expected `never`, found `false`"),
        ("ttl: 1s, tll: 1s", "unknown key `tll` in `spec.rules[0].cache`; did you mean `ttl`?"),
    ] {
        let told = errors(&format!("rules:\n- cache: {{{keys}}}\n  name: a\n"));
        assert!(told.contains(part), "{keys}: {told}");
        assert_eq!(told.lines().count(), 1, "{keys}: {told}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_where_it_stands() {
    for (keys, part) in [
        (
            "cache: {ttl: 1s}, refuse: {message: no}",
            "6:22: rule `a`: `refuse` and `cache` contradict each other",
        ),
        (
            "cache: {ttl: 1s}, match: {in_transaction: true}",
            "6:22: rule `a`: `cache` means nothing with `in_transaction: true`",
        ),
        (
            "cache: {ttl: 1s}, match: {verb: update}",
            "6:22: rule `a`: `cache` is for reads, and `update` never",
        ),
        ("cache: {ttl: 1s}, match: {verb: [insert, delete]}", "`insert` never only reads"),
        ("cache: {ttl: 1s}, match: {writes: t}", "`cache` is for reads, and `writes` asks for writes"),
        ("cache: {ttl: 1s}, match: {verb: [fetch, explain]}", "`cache` is for `select` and `values`"),
        (
            "cache: {ttl: 1s, max_staleness: 2s}",
            "6:47: rule `a`: `max_staleness`: says nothing: a result is served for 1s",
        ),
        ("cache: {ttl: 1s, max_entry: 0}", "`max_entry`: nothing is as small as 0 bytes"),
        (
            "cache: {ttl: 1s, tags: ['x', 't.c={c}'], invalidate_by: d}",
            "6:44: rule `a`: `t.c=`: no write marks it, because `c` is not in `invalidate_by`",
        ),
        (
            "cache: {ttl: 1s, tags_from: \"SELECT 's.t.c=' || a FROM b WHERE c = {c}\"}",
            "6:43: rule `a`: `s.t.c=`: no write marks it",
        ),
        ("cache: {ttl: 1s, tags_from: SELEC 1}", "`tags_from`: the parser does not accept the text"),
        ("cache: {ttl: 1s, tags_from: SELECT 1; SELECT 2}", "`tags_from`: one SELECT is expected"),
        ("cache: {ttl: 1s, tags_from: DELETE FROM t}", "`tags_from`: DELETE is not a query"),
        ("cache: {ttl: 1s, tags_from: SELECT 1 FROM t FOR SHARE}", "`tags_from`: locks rows (FOR SHARE)"),
        ("cache: {ttl: 1s, tags_from: EXPLAIN SELECT 1}", "`tags_from`: a SELECT is expected"),
        ("cache: {ttl: 1s, tags_from: SELECT $1}", "written in braces: `{$1}`"),
        (
            "cache: {ttl: 1s, tags_from: \"SELECT set_config('a', 'b', false)\"}",
            "leaves something in the session",
        ),
    ] {
        let told = errors(&format!("rules:\n- {{name: a, {keys}}}\n"));
        assert!(told.contains(part), "{keys}: {told}");
        assert_eq!(told.lines().count(), 1, "{keys}: {told}");
    }
    set(
        "rules:\n- {name: a, continue: true, cache: {ttl: 1s, scope: shared}, match: {verb: [select, update]}}",
    );
    set("rules:\n- {name: a, cache: {ttl: 1s, stale_while_revalidate: 1s, max_staleness: 2s}}");
}
