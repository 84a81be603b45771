//! Slots, key columns, row security and role settings, from rows.

use super::super::tests::{relation, rows, table};
use super::*;
use crate::catalog::{FamilyRow, OperatorRow, PolicyRow, RelationRow, RoleSettingsRow};
use crate::overrides::Overrides;
use crate::touched::{Touched, slot_of};

const INT: u32 = 23;
const TEXT: u32 = 25;

/// A table with these columns, which stand in the rows in another order than their own.
pub(crate) fn table_with(rows: &mut Rows, schema: &str, name: &str, columns: &[(&str, u32)]) {
    rows.relations.push(relation(schema, name, 'r', ""));
    for (at, (column, type_oid)) in columns.iter().enumerate().rev() {
        rows.columns.push(ColumnRow {
            schema: schema.into(),
            relation: name.into(),
            name: (*column).into(),
            type_oid: *type_oid,
            place: u16::try_from(at * 2 + 1).expect("few columns"),
            declared_type: *type_oid,
            bytewise: None,
            deterministic: true,
            not_null: false,
        });
    }
}

pub(crate) fn heir(rows: &mut Rows, child: &str, parent: &str) {
    rows.families.push(FamilyRow {
        schema: "public".into(),
        relation: child.into(),
        parent_schema: "public".into(),
        parent: parent.into(),
    });
}

fn policy(rows: &mut Rows, name: &str, expression: &str) {
    let found = rows.relations.iter_mut().find(|row| &*row.name == name);
    let row: &mut RelationRow = found.expect("it is there");
    row.row_security = true;
    let (schema, relation) = (row.schema.clone(), row.name.clone());
    rows.policies.push(PolicyRow { schema, relation, expression: expression.into() });
}

fn built(change: impl FnOnce(&mut Rows)) -> Catalog {
    let mut rows = rows();
    table_with(&mut rows, "public", "posts", &[("id", INT), ("body", 0), ("author_id", INT)]);
    table_with(&mut rows, "public", "likes", &[("id", INT), ("kind", TEXT)]);
    change(&mut rows);
    Catalog::build(&rows, &Overrides::default())
}

fn keys(catalog: &Catalog, name: &str) -> Vec<(String, u32)> {
    let slot = catalog.relation_slot("public", name).expect("a table");
    catalog.key_columns(slot).iter().map(|key| (key.name.to_string(), key.type_oid)).collect()
}

fn key(name: &str, type_oid: u32) -> (String, u32) {
    (name.to_owned(), type_oid)
}

#[test]
fn tables_have_slots_whatever_code_they_run() {
    let catalog = built(|rows| {
        for row in &mut rows.relations {
            row.busy |= &*row.name == "posts";
        }
    });
    assert_eq!(catalog.writes(&[table("posts")]), Touched::Unknown);
    assert_eq!(catalog.relation_slot("public", "posts"), Some(slot_of("posts")));
    assert_eq!(catalog.table_slot(&table("posts")), Some(slot_of("posts")));
    for none in ["plain", "seq", "missing", "far"] {
        assert_eq!(catalog.relation_slot("public", none), None, "{none}");
        assert_eq!(catalog.table_slot(&table(none)), None, "{none}");
    }
    assert_eq!(catalog.relation_slot("other", "posts"), None);
    let apart = built(|rows| {
        table_with(rows, "other", "likes", &[]);
        rows.families.push(FamilyRow {
            schema: "other".into(),
            relation: "likes".into(),
            parent_schema: "a".into(),
            parent: "first".into(),
        });
    });
    assert_eq!(apart.table_slot(&table("likes")), None, "two families");
    assert!(apart.table_slot(&table("other.likes")).is_some());
}

#[test]
fn columns_stand_in_their_order_and_are_shared() {
    let catalog = built(|rows| table_with(rows, "public", "copy", &[("id", INT), ("kind", TEXT)]));
    let columns = |name: &str| {
        let name = table(name);
        Arc::clone(&catalog.plain_table(&name).expect("a table").columns)
    };
    let names: Vec<Box<str>> = columns("posts").iter().map(|column| (&*column.name).into()).collect();
    assert_eq!(names, ["id".into(), "body".into(), "author_id".into()]);
    assert!(Arc::ptr_eq(&columns("likes"), &columns("copy")));
    assert!(Arc::ptr_eq(&columns("likes")[0].name, &columns("posts")[0].name));
}

#[test]
fn a_family_s_key_columns_are_those_of_all_its_tables() {
    let plain = built(|_| {});
    assert_eq!(keys(&plain, "posts"), [key("author_id", INT), key("id", INT)]);
    let family = built(|rows| {
        table_with(
            rows,
            "public",
            "heir",
            &[("id", INT), ("author_id", TEXT), ("extra", INT), ("body", TEXT)],
        );
        heir(rows, "heir", "posts");
    });
    let expected = [key("extra", INT), key("id", INT)];
    assert_eq!(keys(&family, "posts"), expected, "of two types, or of one that is no key: none");
    assert_eq!(keys(&family, "heir"), expected);
    assert!(plain.key_columns(slot_of("agents")).is_empty());
}

#[test]
fn row_security_is_seen_through_views() {
    let catalog = built(|rows| {
        rows.relations.extend([
            relation("public", "guarded_view", 'v', "SELECT * FROM public.guarded"),
            relation("public", "over", 'v', "SELECT * FROM public.guarded_view, public.posts"),
            relation("public", "circle", 'v', "SELECT * FROM public.circle"),
        ]);
    });
    for guarded in ["guarded", "watched", "guarded_view", "over", "broken", "circle", "missing"] {
        assert!(catalog.row_security(&table(guarded)), "{guarded}");
    }
    for open in ["posts", "plain", "agents", "inner_view"] {
        assert!(!catalog.row_security(&table(open)), "{open}");
    }
    let bare =
        built(|rows| rows.relations.iter_mut().for_each(|row| row.row_security |= &*row.name == "posts"));
    assert!(bare.row_security(&table("posts")), "without any policy nobody else sees anything");
}

#[test]
fn row_security_shows_what_its_policies_read() {
    let reads = |expression: &str| {
        let catalog = built(|rows| policy(rows, "posts", expression));
        assert_eq!(catalog.writes(&[table("posts")]), Touched::Unknown, "{expression}");
        catalog.reads(&[table("posts")])
    };
    let (posts, likes) = (Touched::one(slot_of("posts")), Touched::one(slot_of("likes")));
    assert_eq!(reads("author_id = current_setting('app.user')::int"), posts);
    assert_eq!(reads("EXISTS (SELECT 1 FROM public.likes WHERE likes.id = posts.id)"), posts.and(&likes));
    for unknown in [
        "pure() = 1",
        "log_visit() > 0",
        "id IN (SELECT id FROM public.missing)",
        "id IN (SELECT id FROM public.broken)",
        "id = = 1",
    ] {
        assert_eq!(reads(unknown), Touched::Unknown, "{unknown}");
    }
    let through = built(|rows| {
        policy(rows, "posts", "EXISTS (SELECT 1 FROM public.likes)");
        rows.relations.push(relation("public", "recent", 'v', "SELECT * FROM public.posts"));
    });
    assert_eq!(through.reads(&[table("recent")]), posts.and(&likes), "and through a view");
    let circle = built(|rows| policy(rows, "posts", "id IN (SELECT id FROM public.posts)"));
    assert_eq!(circle.reads(&[table("posts")]), Touched::Unknown);
    let unlogged = built(|rows| {
        policy(rows, "posts", "true");
        rows.relations.iter_mut().for_each(|row| row.not_replicated |= &*row.name == "posts");
    });
    assert_eq!(unlogged.reads(&[table("posts")]), Touched::Unknown);
}

#[test]
fn other_columns_or_other_policies_are_another_number() {
    let before = built(|_| {});
    let followed = |change: &dyn Fn(&mut Rows)| {
        let mut after = built(change);
        after.follow(&before);
        after.families() == before.families()
    };
    assert!(followed(&|_| {}));
    assert!(followed(&|rows| rows.columns.reverse()), "the order of an answer says nothing");
    assert!(!followed(&|rows| rows.columns[0].type_oid = TEXT));
    assert!(!followed(&|rows| rows.columns[0].name = "renamed".into()));
    assert!(!followed(&|rows| drop(rows.columns.remove(0))));
    assert!(!followed(&|rows| policy(rows, "likes", "true")));
    let equality = |rows: &mut Rows| {
        rows.operators.push(OperatorRow {
            name: "=".into(),
            function_schema: "public".into(),
            function: "pure".into(),
            volatile: false,
            own_operand: true,
        });
    };
    assert!(!followed(&equality));
}

#[test]
fn role_settings_have_an_order_of_their_own() {
    let row = |role: &str, of_database, settings: &str| RoleSettingsRow {
        role: role.into(),
        of_database,
        settings: settings.into(),
    };
    let of = |settings: Vec<RoleSettingsRow>| built(|rows| rows.role_settings = settings);
    let all =
        [row("app", true, "{search_path=b}"), row("app", false, "{search_path=a}"), row("x", false, "{}")];
    let catalog = of(all.to_vec());
    assert_eq!(catalog.role_settings("app"), "{search_path=a}{search_path=b}");
    assert_eq!(of(all.into_iter().rev().collect()).role_settings("app"), catalog.role_settings("app"));
    assert_eq!(catalog.role_settings("nobody"), "");
}
