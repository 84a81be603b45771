//! Which relations' reads and writes are known, from rows.

use super::super::tests::{function, relation, rows, table};
use super::super::{FamilyRow, OperatorRow, TypeRow, Volatility};
use super::*;
use crate::overrides::Overrides;

fn built(change: impl FnOnce(&mut Rows)) -> Catalog {
    let mut rows = rows();
    rows.relations.extend([
        relation("public", "posts", 'r', ""),
        relation("public", "likes", 'p', ""),
        relation("public", "likes_2025", 'r', ""),
        relation("archive", "likes_2024", 'r', ""),
        relation("public", "recent", 'v', "SELECT lower(p.title) FROM public.posts p"),
        relation("public", "both", 'v', "SELECT 1 FROM public.recent, public.likes"),
        relation("public", "own_code", 'v', "SELECT pure() FROM public.posts"),
    ]);
    for (schema, child) in [("public", "likes_2025"), ("archive", "likes_2024")] {
        rows.families.push(FamilyRow {
            schema: schema.into(),
            relation: child.into(),
            parent_schema: "public".into(),
            parent: "likes".into(),
        });
    }
    change(&mut rows);
    Catalog::build(&rows, &Overrides::default())
}

fn row<'a>(rows: &'a mut Rows, name: &str) -> &'a mut RelationRow {
    rows.relations.iter_mut().find(|row| &*row.name == name).unwrap()
}

fn reads(catalog: &Catalog, name: &str) -> Touched {
    catalog.reads(&[table(name)])
}

fn writes(catalog: &Catalog, name: &str) -> Touched {
    catalog.writes(&[table(name)])
}

#[test]
fn a_plain_table_has_a_slot_of_its_own() {
    let catalog = built(|_| {});
    let posts = Touched::one(slot_of("posts"));
    assert_eq!((reads(&catalog, "posts"), writes(&catalog, "public.posts")), (posts.clone(), posts));
    assert_ne!(reads(&catalog, "posts"), reads(&catalog, "likes"));
    assert_eq!(reads(&catalog, "missing"), Touched::Unknown);
    assert_eq!(writes(&catalog, "pg_class"), Touched::Unknown);
}

#[test]
fn a_family_shares_a_slot() {
    let catalog = built(|_| {});
    let family = reads(&catalog, "likes");
    assert!(matches!(&family, Touched::Slots(slots) if slots.len() == 1));
    for member in ["likes", "likes_2025", "archive.likes_2024"] {
        assert_eq!((reads(&catalog, member), writes(&catalog, member)), (family.clone(), family.clone()));
    }
}

#[test]
fn one_member_that_runs_code_makes_the_family_unknown() {
    let catalog = built(|rows| row(rows, "likes_2024").busy = true);
    assert_eq!(writes(&catalog, "likes"), Touched::Unknown);
    assert_eq!(writes(&catalog, "likes_2025"), Touched::Unknown);
    assert_ne!(reads(&catalog, "likes"), Touched::Unknown, "a trigger changes nothing for those who read");
    assert_ne!(writes(&catalog, "posts"), Touched::Unknown);
}

#[test]
fn rules_hide_what_is_read_too() {
    let ruled = built(|rows| row(rows, "posts").ruled = true);
    assert_eq!((reads(&ruled, "posts"), writes(&ruled, "posts")), (Touched::Unknown, Touched::Unknown));
    assert_eq!(reads(&ruled, "recent"), Touched::Unknown, "and through a view");
    let foreign = built(|rows| row(rows, "likes_2025").kind = 'f');
    assert_eq!(writes(&foreign, "likes"), Touched::Unknown);
}

#[test]
fn views_are_followed_to_what_they_read() {
    let catalog = built(|_| {});
    assert_eq!(reads(&catalog, "recent"), reads(&catalog, "posts"));
    assert_eq!(writes(&catalog, "recent"), writes(&catalog, "posts"));
    assert_eq!(reads(&catalog, "both"), reads(&catalog, "posts").and(&reads(&catalog, "likes")));
    assert_eq!(reads(&catalog, "own_code"), Touched::Unknown);
    let instead = built(|rows| row(rows, "recent").busy = true);
    assert_eq!(writes(&instead, "recent"), Touched::Unknown, "an INSTEAD OF trigger decides");
    assert_ne!(reads(&instead, "recent"), Touched::Unknown);
    let below = built(|rows| row(rows, "posts").busy = true);
    assert_eq!(writes(&below, "recent"), Touched::Unknown);
}

#[test]
fn users_operators_types_and_casts_count() {
    let statement = |text: &str| {
        let mut analyzer = pointsman_sql::Analyzer::<()>::new(1);
        let analysis = analyzer.analyze(text.as_bytes(), pointsman_sql::LexRules::default());
        analysis.facts.single().cloned().unwrap()
    };
    let compiled =
        "CREATE FUNCTION public.near(vector)\n RETURNS real\n LANGUAGE c\n IMMUTABLE\nAS '$libdir/x'";
    let near = || function("public", "near", Volatility::Immutable, compiled);
    let operator = |name: &str, function: &str| OperatorRow {
        name: name.into(),
        function_schema: "public".into(),
        function: function.into(),
        volatile: false,
        own_operand: false,
    };
    let with_extension = built(|rows| {
        rows.functions.push(near());
        rows.operators.extend([operator("<->", "near"), operator("@@@", "pure")]);
    });
    assert!(with_extension.is_plain(&statement("SELECT near(a), a <-> b, lower(c) FROM posts")));
    assert!(with_extension.operator("<->").is_none());
    for unknown in [
        "SELECT a @@@ b",
        "SELECT pure()",
        "SELECT table_to_xml('posts', true, true, '')",
        "SELECT p.pure FROM posts p",
    ] {
        assert!(!with_extension.is_plain(&statement(unknown)), "{unknown}");
    }
    assert!(built(|_| {}).is_plain(&statement("SELECT nextval('seq'), random(), count(*)")));
    assert!(built(|_| {}).is_plain(&statement("SELECT a::text, b::int")));
    let checked = built(|rows| rows.types[0].expression = "pure() = 1".into());
    assert!(!checked.is_plain(&statement("SELECT a::odd")) && checked.is_plain(&statement("SELECT a::text")));
    let cast = built(|rows| {
        rows.types.push(TypeRow {
            schema: "public".into(),
            name: "odd".into(),
            function_schema: "public".into(),
            function: "pure".into(),
            expression: "".into(),
        });
    });
    assert!(!cast.is_plain(&statement("SELECT 1")), "an implicit cast may be anywhere");
}

#[test]
fn the_families_number_changes_when_they_do() {
    let before = built(|_| {});
    let mut same = built(|_| {});
    same.follow(&before);
    assert_eq!(same.families(), before.families());
    let mut attached = built(|rows| {
        rows.families.push(FamilyRow {
            schema: "public".into(),
            relation: "posts".into(),
            parent_schema: "public".into(),
            parent: "likes".into(),
        });
    });
    attached.follow(&before);
    assert_ne!(attached.families(), before.families());
}

#[test]
fn what_a_declared_function_reads_is_not_lost() {
    let mut overrides = Overrides::default();
    overrides.set("counted", Volatility::Stable);
    overrides.set_reads("counted", vec!["posts".to_owned()]);
    let mut rows = rows();
    rows.functions.push(function("public", "counted", Volatility::Stable, "SELECT 1 FROM posts"));
    rows.operators.push(OperatorRow {
        name: "@#".into(),
        function_schema: "public".into(),
        function: "counted".into(),
        volatile: false,
        own_operand: true,
    });
    let view = "SELECT public.counted(agents.id) FROM public.agents";
    rows.relations.extend([relation("public", "posts", 'r', ""), relation("public", "counts", 'v', view)]);
    let catalog = Catalog::build(&rows, &overrides);
    assert_eq!(reads(&catalog, "counts"), reads(&catalog, "posts").and(&reads(&catalog, "agents")));
    let plain = |text: &str| {
        let mut analyzer = pointsman_sql::Analyzer::<()>::new(1);
        let analysis = analyzer.analyze(text.as_bytes(), pointsman_sql::LexRules::default());
        catalog.is_plain(analysis.facts.single().expect("one statement"))
    };
    assert!(plain("SELECT counted(id) FROM agents"), "the text names it");
    assert!(!plain("SELECT a.counted FROM agents a"), "it may be a column");
    assert!(!plain("SELECT a @# b FROM agents"), "the operator does not name it");
}
