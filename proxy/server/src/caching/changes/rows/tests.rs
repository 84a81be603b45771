//! What changed rows mark, by what their tables log of old rows.

use super::*;
use pointsman_policy::Overrides;
use pointsman_policy::catalog::Rows;
use pointsman_policy::queries::Question;
use pointsman_wire::replication::Column;

const SPACE: &[u8] = b"main\0app";
const OID: u32 = 77;

/// A catalog with one table of two keys and a text.
fn catalog() -> Catalog {
    let mut rows = Rows::default();
    let relation = ["public", "agents", "r", "f", "f", "f", "f", "f", ""];
    rows.add(Question::Relations, &relation.map(Some)).expect("a relation");
    for (place, name, oid) in [("1", "id", "23"), ("2", "agent_id", "23"), ("3", "said", "25")] {
        let column = ["public", "agents", name, oid, place, oid, "d", "t", "f"];
        rows.add(Question::Columns, &column.map(Some)).expect("a column");
    }
    Catalog::build(&rows, &Overrides::default())
}

fn tuple(values: &[Option<&str>]) -> Vec<u8> {
    let mut bytes = u16::try_from(values.len()).expect("few").to_be_bytes().to_vec();
    for value in values {
        match value {
            None => bytes.push(b'n'),
            Some("~") => bytes.push(b'u'),
            Some(value) => {
                bytes.push(b't');
                bytes.extend(u32::try_from(value.len()).expect("short").to_be_bytes());
                bytes.extend(value.as_bytes());
            }
        }
    }
    bytes
}

/// What a message about the table marks; `letter` begins it, each row follows its own letter.
fn marked(identity: Identity, letter: u8, rows: &[(u8, &[Option<&str>])]) -> Tags {
    let catalog = catalog();
    let columns = ["agent_id".into(), "id".into()];
    let by = By { catalog: &catalog, columns: &columns, version: 1, space: SPACE };
    let key = identity == Identity::Full;
    let relation = Relation {
        oid: OID,
        schema: "public",
        name: "agents",
        identity,
        columns: vec![
            Column { key: true, name: "id", type_oid: 23 },
            Column { key, name: "agent_id", type_oid: 23 },
            Column { key, name: "said", type_oid: 25 },
        ],
    };
    let mut message = vec![letter];
    message.extend(OID.to_be_bytes());
    for (letter, values) in rows {
        message.push(*letter);
        message.extend(tuple(values));
    }
    let (mut relations, mut marks) = (Relations::default(), Tags::new());
    relations.add(&Change::Relation(relation), &by, &mut marks);
    assert!(marks.is_empty());
    relations.add(&Change::decode(&message).expect("a change"), &by, &mut marks);
    marks
}

/// Whether an entry of this agent's rows would be dropped.
fn drops(marks: &Tags, agent: &str) -> bool {
    let slot = catalog().relation_slot("public", "agents").expect("it is known");
    let mut entry = Tags::new();
    entry.reads_key(tags::relation(SPACE, slot), b"agent_id", agent.as_bytes());
    marks.is_everything() || marks.as_slice().iter().any(|tag| entry.as_slice().contains(tag))
}

#[test]
fn a_new_row_marks_its_own_keys() {
    let marks = marked(Identity::Default, b'I', &[(b'N', &[Some("1"), Some("7"), Some("x")])]);
    assert!(drops(&marks, "7") && !drops(&marks, "8"));
    let marks = marked(Identity::Default, b'I', &[(b'N', &[Some("1"), None, None])]);
    assert!(!drops(&marks, "7") && !marks.is_empty(), "a null is in nobody's rows, but in the table's");
}

#[test]
fn an_update_marks_what_was_and_what_is() {
    let (old, new): ([Option<&str>; 3], [Option<&str>; 3]) =
        ([Some("1"), Some("7"), Some("x")], [Some("1"), Some("8"), Some("y")]);
    let marks = marked(Identity::Full, b'U', &[(b'O', &old), (b'N', &new)]);
    assert!(drops(&marks, "7") && drops(&marks, "8") && !drops(&marks, "9"));
    let marks = marked(Identity::Default, b'U', &[(b'N', &new)]);
    assert!(drops(&marks, "9"), "whose row it was is not told: anybody's");
    let long: [Option<&str>; 3] = [Some("1"), Some("~"), Some("y")];
    let marks = marked(Identity::Full, b'U', &[(b'O', &old), (b'N', &long)]);
    assert!(drops(&marks, "7") && !drops(&marks, "9"), "what did not change is told by the old row");
}

#[test]
fn a_delete_marks_what_was() {
    let marks = marked(Identity::Full, b'D', &[(b'O', &[Some("1"), Some("7"), Some("x")])]);
    assert!(drops(&marks, "7") && !drops(&marks, "8"));
    let marks = marked(Identity::Default, b'D', &[(b'K', &[Some("1"), None, None])]);
    assert!(drops(&marks, "8"), "whose row it was is not told: anybody's");
}

#[test]
fn what_is_not_known_marks_everything() {
    let (catalog, columns) = (Catalog::unknown(), []);
    let by = By { catalog: &catalog, columns: &columns, version: 1, space: SPACE };
    let mut marks = Tags::new();
    Relations::default().add(&Change::Truncate { relations: vec![OID] }, &by, &mut marks);
    assert!(marks.is_everything());
    let mut insert = vec![b'I'];
    insert.extend(OID.to_be_bytes());
    insert.push(b'N');
    insert.extend(tuple(&[Some("1")]));
    let mut marks = Tags::new();
    Relations::default().add(&Change::decode(&insert).expect("a change"), &by, &mut marks);
    assert!(marks.is_everything());
}
