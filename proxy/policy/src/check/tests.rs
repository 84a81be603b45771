//! The tests in policy files.

use crate::check;
use crate::testing::{file, shown};

fn told(spec: &str) -> String {
    match check("p.yaml", &file(spec)) {
        Ok(checked) => format!("{} rules, {} tests", checked.rules, checked.tests),
        Err(errors) => shown(&errors),
    }
}

const RULES: &str = "rules:
- {name: no, match: {verb: delete, where: none}, refuse: {sqlstate: '57014', message: not so}}
- {name: slow, match: {user: batch}, rate_limit: {per: user, rate: 5/s}, route: any}
- {name: look, match: {tables: t}, mode: audit, log: true}
tests:
";

#[test]
fn tests_that_pass_are_counted() {
    let tests =
        "- {sql: DELETE FROM t, expect: {rule: no, verdict: refuse, sqlstate: '57014', target: none}}";
    let tests = tests.replace(", target: none", "");
    let more = "
- {sql: SELECT 1, as: {user: batch}, expect: {rule: slow, verdict: limit, target: any}}
- {sql: TABLE t, expect: {rule: none, verdict: allow, target: replica}}
- {sql: TABLE u, as: {in_transaction: true}, expect: {target: primary}}
- {sql: SELECT nextval('s'), expect: {target: primary}}";
    assert_eq!(told(&format!("{RULES}{tests}{more}")), "3 rules, 5 tests");
}

#[test]
fn what_fails_and_what_is_never_met_is_told_in_its_place() {
    let tests = "- {name: all, sql: DELETE FROM t, expect: {rule: none, target: replica, verdict: allow, sqlstate: '42501'}}
- {sql: SELECT 1, expect: {}}";
    assert_eq!(
        told(&format!("{RULES}{tests}")),
        "p.yaml:7:12: rule `slow` matches none of this file's tests
p.yaml:8:12: rule `look` matches none of this file's tests
p.yaml:10:52: test `all`: expected rule `none`, got `no`
p.yaml:10:66: test `all`: expected target `replica`, got `none`
p.yaml:10:84: test `all`: expected verdict `allow`, got `refuse`
p.yaml:10:101: test `all`: expected sqlstate `42501`, got `57014`
p.yaml:11:5: the test expects nothing"
    );
}

#[test]
fn a_test_may_only_name_rules_that_are_there() {
    let told = told(&format!("{RULES}- {{sql: SELECT 1, expect: {{rule: sloww}}}}"));
    assert_eq!(told, "p.yaml:10:36: there is no rule `sloww`; did you mean `slow`?");
}

/// Every policy that comes with the project is well, has tests, and passes them.
#[test]
fn the_ready_made_policies_pass() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# yaml-language-server: $schema=policy.schema.json\n"), "{path:?}");
        match check(&path.display().to_string(), &text) {
            Ok(checked) => assert!(checked.tests >= checked.rules, "{path:?}: {checked:?}"),
            Err(errors) => panic!("{}", shown(&errors)),
        }
        files += 1;
    }
    assert!(files >= 3);
}
