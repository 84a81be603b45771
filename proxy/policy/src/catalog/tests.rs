//! Catalogs from rows.

use super::*;
use crate::overrides::Overrides;

pub(crate) fn function(schema: &str, name: &str, volatility: Volatility, source: &str) -> FunctionRow {
    let builtin = schema == "pg_catalog";
    let (schema, name, source) = (schema.into(), name.into(), source.into());
    FunctionRow {
        schema,
        name,
        volatility,
        builtin,
        source,
        attribute: true,
        opaque: false,
        defaults: "".into(),
        kind: 'f',
    }
}

pub(crate) fn relation(schema: &str, name: &str, kind: char, definition: &str) -> RelationRow {
    RelationRow {
        schema: schema.into(),
        name: name.into(),
        kind,
        builtin: schema == "pg_catalog",
        not_replicated: false,
        row_security: false,
        ruled: false,
        busy: false,
        definition: definition.into(),
    }
}

/// Functions that are not what their volatility says.
fn odd_functions() -> Vec<FunctionRow> {
    use Volatility::{Stable, Volatile};
    let mut functions = vec![
        function("public", "quiet_become", Stable, "BEGIN SET ROLE x; END"),
        function("public", "in_python", Volatile, ""),
        function("public", "by_default", Stable, ""),
        function("public", "by_other_default", Stable, ""),
        function("public", "by_constant", Stable, ""),
    ];
    functions[1].opaque = true;
    functions[2].defaults = "1, public.by_other_default()".into();
    functions[3].defaults = "random()".into();
    functions[4].defaults = "(1 + 1), 'x'::text".into();
    functions
}

/// A small database: functions, a table, and views over views.
pub(crate) fn rows() -> Rows {
    use Volatility::{Immutable, Stable, Volatile};
    let mut functions = vec![
        function("pg_catalog", "lower", Immutable, ""),
        function("pg_catalog", "now", Stable, ""),
        function("pg_catalog", "count", Immutable, ""),
        function("pg_catalog", "random", Volatile, ""),
        function("pg_catalog", "nextval", Volatile, ""),
        function("pg_catalog", "set_config", Volatile, ""),
        function("pg_catalog", "inet_server_addr", Stable, ""),
        function("pg_catalog", "current_setting", Stable, ""),
        function("public", "log_visit", Volatile, "INSERT INTO visits VALUES (1)"),
        function("public", "pure", Immutable, "SELECT 1"),
        function("public", "become", Volatile, "BEGIN SET ROLE x; END"),
        function("public", "become_twice", Volatile, "BEGIN PERFORM become(); END"),
        function("a", "mixed", Stable, ""),
        function("b", "mixed", Volatile, ""),
    ];
    functions.extend(odd_functions());
    let mut relations = vec![
        relation("public", "agents", 'r', ""),
        relation("public", "seq", 'S', ""),
        relation("public", "plain", 'v', "SELECT id, lower(name) AS name FROM public.agents"),
        relation("public", "outer_view", 'v', "SELECT * FROM public.inner_view"),
        relation("public", "inner_view", 'v', "SELECT random() AS r FROM public.agents"),
        relation("public", "broken", 'v', "SELECT FROM WHERE"),
        relation("public", "guarded", 'r', ""),
        relation("public", "watched", 'r', ""),
        relation("pg_catalog", "pg_class", 'r', ""),
        relation("pg_catalog", "pg_stat_activity", 'v', ""),
        relation("public", "far", 'f', ""),
    ];
    relations[6].row_security = true;
    relations[10].not_replicated = true;
    let policies = vec![
        PolicyRow {
            schema: "public".into(),
            relation: "guarded".into(),
            expression: "owner = current_setting('app.user'::text)".into(),
        },
        PolicyRow {
            schema: "public".into(),
            relation: "watched".into(),
            expression: "log_visit() > 0".into(),
        },
    ];
    relations[7].row_security = true;
    let triggers = vec![TriggerRow {
        schema: "public".into(),
        relation: "agents".into(),
        function_schema: "public".into(),
        function: "become_twice".into(),
    }];
    let operators = vec![OperatorRow {
        name: "<~>".into(),
        function_schema: "public".into(),
        function: "log_visit".into(),
        volatile: true,
        own_operand: false,
    }];
    let types = vec![TypeRow {
        schema: "public".into(),
        name: "odd".into(),
        function_schema: String::new().into(),
        function: String::new().into(),
        expression: "random() > 0.5".into(),
    }];
    Rows { functions, relations, policies, operators, types, triggers, ..Rows::default() }
}

fn catalog() -> Catalog {
    Catalog::build(&rows(), &Overrides::default())
}

fn named(text: &str) -> FunctionName {
    match text.split_once('.') {
        Some((schema, name)) => FunctionName { schema: Some(schema.into()), name: name.into() },
        None => FunctionName { schema: None, name: text.into() },
    }
}

pub(crate) fn table(text: &str) -> Relation {
    let FunctionName { schema, name } = named(text);
    Relation { schema, name }
}

fn why(obstacle: Option<Obstacle>) -> String {
    obstacle.map(|obstacle| obstacle.to_string()).unwrap_or_default()
}

#[test]
fn functions_by_the_worst_overload_in_sight() {
    let catalog = catalog();
    assert_eq!(catalog.function(&named("lower")), None);
    assert_eq!(catalog.function(&named("pg_catalog.now")), None);
    assert_eq!(why(catalog.function(&named("log_visit"))), "calls log_visit(): volatile");
    assert_eq!(why(catalog.function(&named("mixed"))), "calls mixed(): volatile");
    assert_eq!(catalog.function(&named("a.mixed")), None);
    assert_eq!(why(catalog.function(&named("b.mixed"))), "calls b.mixed(): volatile");
    assert_eq!(why(catalog.function(&named("nowhere"))), "calls nowhere(): not in the catalog");
    assert!(matches!(catalog.function(&named("inet_server_addr")), Some(Obstacle::ServerLocal(_))));
}

#[test]
fn overrides_decide() {
    let mut overrides = Overrides::default();
    overrides.set("log_visit", Volatility::Stable);
    overrides.set("public.pure", Volatility::Volatile);
    overrides.set("elsewhere", Volatility::Immutable);
    let catalog = Catalog::build(&rows(), &overrides);
    assert_eq!(catalog.function(&named("log_visit")), None);
    assert_eq!(catalog.operator("<~>"), None);
    assert!(catalog.function(&named("pure")).is_some());
    assert_eq!(catalog.function(&named("elsewhere")), None);
}

#[test]
fn views_and_policies_are_followed() {
    let catalog = catalog();
    assert_eq!(catalog.relation(&table("agents")), None);
    assert_eq!(catalog.relation(&table("public.plain")), None);
    assert_eq!(
        why(catalog.relation(&table("outer_view"))),
        "uses public.outer_view: uses public.inner_view: calls random(): volatile"
    );
    assert!(matches!(catalog.relation(&table("broken")), Some(Obstacle::Unread(_))));
    assert_eq!(catalog.relation(&table("guarded")), None);
    assert!(why(catalog.relation(&table("watched"))).contains("log_visit"));
    assert_eq!(catalog.relation(&table("pg_class")), None);
    for kept in ["pg_stat_activity", "seq", "far", "missing", "other.agents"] {
        assert!(catalog.relation(&table(kept)).is_some(), "{kept}");
    }
}

#[test]
fn operators_types_and_attributes() {
    let catalog = catalog();
    assert!(catalog.operator("<~>").is_some() && catalog.operator("=").is_none());
    let odd = TypeName { schema: None, name: "odd".into() };
    assert_eq!(why(catalog.type_name(&odd)), "uses type public.odd: calls random(): volatile");
    assert!(catalog.attribute("log_visit").is_some() && catalog.attribute("name").is_none());
}

#[test]
fn defaults_and_unseen_casts_count() {
    let catalog = catalog();
    assert!(matches!(catalog.function(&named("by_default")), Some(Obstacle::Volatile(_))));
    assert!(matches!(catalog.function(&named("by_other_default")), Some(Obstacle::Volatile(_))));
    assert_eq!(catalog.function(&named("by_constant")), None);
    let mut rows = rows();
    let mut cast = rows.types[0].clone();
    (cast.schema, cast.name, cast.expression) = ("".into(), "".into(), "".into());
    (cast.function_schema, cast.function) = ("public".into(), "log_visit".into());
    rows.types.push(cast);
    let catalog = Catalog::build(&rows, &Overrides::default());
    let obstacles = |sql: &str| {
        let mut analyzer = pointsman_sql::Analyzer::<()>::new(1);
        let facts = analyzer.analyze(sql.as_bytes(), pointsman_sql::LexRules::default()).facts;
        catalog.obstacles(facts.single().expect("one statement")).len()
    };
    assert_eq!((obstacles("SELECT 1"), obstacles("SELECT name FROM agents")), (0, 1));
}

#[test]
fn a_function_s_own_settings_are_no_suspicion() {
    let mut rows = rows();
    rows.functions[9].source = "CREATE OR REPLACE FUNCTION public.pure()\n RETURNS int\n LANGUAGE sql\n \
        SET search_path TO 'x'\n SET work_mem TO '1MB'\nAS $function$select 1$function$"
        .into();
    let catalog = Catalog::build(&rows, &Overrides::default());
    assert!(!catalog.function_suspect(&named("pure")));
}

#[test]
fn suspicion_spreads_to_callers_and_triggers() {
    let catalog = catalog();
    assert!(catalog.function_suspect(&named("become_twice")));
    assert!(!catalog.function_suspect(&named("log_visit")));
    assert!(catalog.relation_suspect(&table("agents")) && !catalog.relation_suspect(&table("guarded")));
}

#[test]
fn nothing_is_known_at_first() {
    let catalog = Catalog::unknown();
    assert_eq!(catalog.version(), 0);
    assert!(catalog.function(&named("lower")).is_some() && catalog.relation(&table("agents")).is_some());
}

#[test]
fn rows_are_checked() {
    use crate::queries::Question;
    let mut rows = Rows::default();
    let good = [Some("s"), Some("f"), Some("i"), Some("t"), None, Some("f"), Some("f"), None, Some("f")];
    assert_eq!(rows.add(Question::Functions, &good), Ok(()));
    let bad = [Some("s"), Some("f"), Some("x"), Some("t"), Some(""), Some("f"), Some("f"), None, Some("f")];
    assert_eq!(rows.add(Question::Functions, &bad).unwrap_err().column, 2);
    assert_eq!(rows.add(Question::Policies, &good[..1]).unwrap_err().column, 1);
}
