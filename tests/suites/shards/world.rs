//! The tables of the shards' suites, where they live, and their rows, dealt out by direct connections.
use std::fmt::Write as _;

use pointsman_tests::{Proxy, SOCIAL, Shard, Stage, StageBuilder, WHOLE, Wire};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::outcome::without;
use super::values::{Type, Value};
use crate::common::policy;

/// Where a table's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// By the column of this number, modulo the number of shards.
    Key(usize),
    Reference,
    Unsharded,
}

/// A table: columns with their types and whether they may be NULL, the first `primary` of which are its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) columns: &'static [(&'static str, Type, bool)],
    pub(crate) primary: usize,
    rows: i64,
}

/// Agents' ids are 1 to this, some more besides.
pub(crate) const AGENTS: i64 = 24;

/// Ids beside the small ones: negative, and wider than 32 bits.
pub(crate) const ODD_IDS: [i64; 4] = [-7, -2, 5_000_000_001, 9_007_199_254_740_993];

/// All tables.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "agents",
        place: Place::Key(0),
        columns: &[
            ("id", Type::Int8, false),
            ("name", Type::Text, true),
            ("community_id", Type::Int4, true),
            ("active", Type::Bool, true),
            ("score", Type::Numeric, true),
            ("weight", Type::Float8, true),
            ("born", Type::Date, true),
            ("created_at", Type::Timestamptz, true),
            ("tag", Type::Uuid, true),
            ("marks", Type::Int4Array, true),
        ],
        primary: 1,
        rows: AGENTS,
    },
    Table {
        name: "interactions",
        place: Place::Key(0),
        columns: &[
            ("initiator_id", Type::Int8, false),
            ("id", Type::Int8, false),
            ("recipient_id", Type::Int8, true),
            ("kind", Type::Text, true),
            ("size", Type::Int4, true),
            ("cost", Type::Numeric, true),
            ("at", Type::Timestamptz, true),
        ],
        primary: 2,
        rows: 60,
    },
    Table {
        name: "friendships",
        place: Place::Key(0),
        columns: &[
            ("initiator_id", Type::Int8, false),
            ("recipient_id", Type::Int8, false),
            ("status", Type::Text, true),
            ("strength", Type::Float8, true),
            ("since", Type::Date, true),
        ],
        primary: 2,
        rows: 50,
    },
    Table {
        name: "communities",
        place: Place::Reference,
        columns: &[
            ("id", Type::Int4, false),
            ("name", Type::Text, true),
            ("size", Type::Int4, true),
            ("open", Type::Bool, true),
        ],
        primary: 1,
        rows: 6,
    },
    Table {
        name: "notes",
        place: Place::Unsharded,
        columns: &[
            ("id", Type::Int4, false),
            ("agent_id", Type::Int8, true),
            ("body", Type::Text, true),
            ("rank", Type::Int4, true),
        ],
        primary: 1,
        rows: 10,
    },
];

/// Where tables live, as the policy says it.
const SPEC: &str = "\x20 tables:
    agents: {shard_key: id}
    interactions: {shard_key: initiator_id}
    friendships: {shard_key: initiator_id}
    communities: {reference: true}
    notes: {unsharded: true}
";

/// The shard of a key.
pub(crate) fn shard_of(key: i64, shards: usize) -> usize {
    let shards = i64::try_from(shards).expect("a few");
    usize::try_from(key.rem_euclid(shards)).expect("not negative")
}

/// A stage of four shards with all tables, empty.
pub(crate) async fn empty(builder: StageBuilder) -> Stage {
    let stage = builder.start().await;
    for mut wire in everywhere(&stage).await {
        wire.run(&schema()).await;
    }
    stage
}

/// A proxy before the shards; `more` is YAML that replaces the usual.
pub(crate) async fn proxy(stage: &Stage, more: &str) -> Proxy {
    stage.proxy(&format!("{}{more}", policy(stage, SPEC))).await
}

/// What replaces the usual `sharded`, where writes to several shards are refused.
pub(crate) const ONE_SHARD_WRITES: &str = "sharded:\n  - {name: social, shards: [s0, s1, s2, s3]}\n";

/// A client of the sharded database.
pub(crate) async fn social(proxy: &Proxy) -> Wire {
    Wire::login(proxy.port, "app", SOCIAL).await
}

/// A client of the database that holds every row.
pub(crate) async fn whole(stage: &Stage) -> Wire {
    Wire::login(stage.primary.port, "app", WHOLE).await
}

/// Direct connections to what stands behind `social`: the shards, or without a proxy the second whole database.
pub(crate) async fn parts(stage: &Stage) -> Vec<Wire> {
    if Proxy::is_direct() {
        return vec![Wire::login(stage.primary.port, "app", SOCIAL).await];
    }
    let mut wires = Vec::new();
    for shard in &stage.shards {
        wires.push(Shard::wire(shard).await);
    }
    wires
}

async fn everywhere(stage: &Stage) -> Vec<Wire> {
    let mut wires = parts(stage).await;
    wires.push(whole(stage).await);
    wires
}

fn schema() -> String {
    let mut out = String::new();
    for table in TABLES {
        let column = |(name, ty, null): &(&str, Type, bool)| {
            let ty = if *ty == Type::Numeric { "numeric(10,2)" } else { ty.name() };
            format!("{name} {ty}{}", if *null { "" } else { " NOT NULL" })
        };
        let columns: Vec<String> = table.columns.iter().map(column).collect();
        let key: Vec<&str> = table.columns[..table.primary].iter().map(|column| column.0).collect();
        let (name, columns, key) = (table.name, columns.join(", "), key.join(", "));
        writeln!(out, "CREATE TABLE {name} ({columns}, PRIMARY KEY ({key}));").expect("a string takes it");
    }
    out
}

/// A value of a column's domain, which is small so that values repeat.
pub(crate) fn value(rng: &mut StdRng, ty: Type) -> Value {
    const WORDS: [&str; 9] = ["ann", "bob", "Ann", "Zoe", "", "zoë", "a b", "it's", "10"];
    let number = rng.random_range(0..8_u32);
    match ty {
        Type::Int4 => Value::new(ty, rng.random_range(-2..9).to_string()),
        Type::Int8 => Value::new(ty, id(rng).to_string()),
        Type::Numeric => Value::new(ty, format!("{}.{}5", rng.random_range(0..4), number)),
        Type::Text => Value::new(ty, WORDS[rng.random_range(0..WORDS.len())]),
        Type::Bool => Value::new(ty, if number < 4 { "true" } else { "false" }),
        Type::Timestamptz => {
            Value::new(ty, format!("2024-01-0{} 0{number}:00:00+00", rng.random_range(1..4)))
        }
        Type::Date => Value::new(ty, format!("2024-01-{:02}", 10 + number)),
        Type::Uuid => Value::new(ty, format!("{number:08}-0000-4000-8000-{number:012}")),
        Type::Float8 => Value::new(ty, (f64::from(rng.random_range(-8..9_i32)) * 0.25).to_string()),
        Type::Int4Array | Type::Int8Array | Type::TextArray => {
            let element = match ty {
                Type::Int4Array => Type::Int4,
                Type::Int8Array => Type::Int8,
                _ => Type::Text,
            };
            let plain = |value: &Value| value.text.as_deref().is_none_or(|text| !text.contains(['\'', ' ']));
            let count = rng.random_range(0..4);
            let values: Vec<Value> = (0..count).map(|_| value(rng, element)).filter(plain).collect();
            Value::array(ty, &values)
        }
        Type::Json => Value::new(ty, number.to_string()),
    }
}

/// An agent's id, as a rule one that is there.
pub(crate) fn id(rng: &mut StdRng) -> i64 {
    match rng.random_range(0..20) {
        0 => ODD_IDS[rng.random_range(0..ODD_IDS.len())],
        1 => AGENTS + rng.random_range(1..9),
        _ => rng.random_range(1..=AGENTS),
    }
}

/// A row of a table, with NULLs where they may be.
pub(crate) fn row(rng: &mut StdRng, table: &Table) -> Vec<Value> {
    let column = |(_, ty, null): &(&str, Type, bool)| match rng.random_bool(0.15) && *null {
        true => Value::null(*ty),
        false => value(rng, *ty),
    };
    table.columns.iter().map(column).collect()
}

/// The rows that a table begins with.
fn rows(rng: &mut StdRng, table: &Table) -> Vec<Vec<Value>> {
    let mut seen = std::collections::HashSet::new();
    let mut all = Vec::new();
    for number in 1..=table.rows + ODD_IDS.len() as i64 {
        let mut row = row(rng, table);
        match table.name {
            "agents" => {
                let odd = usize::try_from(number - table.rows - 1).ok();
                row[0] = Value::new(Type::Int8, odd.map_or(number, |odd| ODD_IDS[odd]).to_string());
            }
            "interactions" => row[1] = Value::new(Type::Int8, (100 + number).to_string()),
            "friendships" => {}
            _ if number > table.rows => break,
            _ => row[0] = Value::new(Type::Int4, number.to_string()),
        }
        let key: Vec<_> = row[..table.primary].iter().map(|value| value.text.clone()).collect();
        if seen.insert(key) {
            all.push(row);
        }
    }
    all
}

fn insert(table: &Table, rows: &[&Vec<Value>]) -> String {
    let tuple = |row: &&Vec<Value>| {
        let values: Vec<String> = row.iter().map(Value::literal).collect();
        format!("({})", values.join(", "))
    };
    let tuples: Vec<String> = rows.iter().map(tuple).collect();
    if tuples.is_empty() {
        String::new()
    } else {
        format!("INSERT INTO {} VALUES {};", table.name, tuples.join(", "))
    }
}

/// Direct connections to all the databases, to fill them and to look into them.
pub(crate) struct World {
    whole: Wire,
    parts: Vec<Wire>,
}

impl World {
    pub(crate) async fn new(stage: &Stage) -> Self {
        Self { whole: whole(stage).await, parts: parts(stage).await }
    }

    /// Empties all tables and fills them again, each row where it belongs.
    pub(crate) async fn reset(&mut self) {
        let mut rng = StdRng::seed_from_u64(1);
        let truncate = TABLES.iter().map(|table| table.name).collect::<Vec<_>>().join(", ");
        let mut texts = vec![format!("TRUNCATE {truncate};"); self.parts.len() + 1];
        let count = self.parts.len();
        for table in TABLES {
            let rows = rows(&mut rng, table);
            texts[count].push_str(&insert(table, &rows.iter().collect::<Vec<_>>()));
            for (number, text) in texts[..count].iter_mut().enumerate() {
                let here: Vec<_> = rows.iter().filter(|row| belongs(table, row, number, count)).collect();
                text.push_str(&insert(table, &here));
            }
        }
        self.whole.run(&texts[count]).await;
        for (wire, text) in self.parts.iter_mut().zip(&texts) {
            wire.run(text).await;
        }
    }

    /// What is wrong with a table's rows: they are other rows than the whole has, or lie where they do not belong.
    pub(crate) async fn wrong(&mut self, table: &Table) -> Option<String> {
        let count = self.parts.len();
        let sql = format!("SELECT * FROM {} ORDER BY 1, 2", table.name);
        let want = texts(&mut self.whole, &sql).await;
        let mut got = Vec::new();
        for (number, wire) in self.parts.iter_mut().enumerate() {
            let here = texts(wire, &sql).await;
            for row in &here {
                let values: Vec<Value> =
                    row.iter().map(|text| Value { ty: Type::Text, text: text.clone() }).collect();
                if !belongs(table, &values, number, count) {
                    return Some(format!("{}: shard {number} has a stray row: {row:?}", table.name));
                }
            }
            if table.place == Place::Reference && here != want {
                return Some(format!("{}: shard {number} has {here:?}\nthe whole has {want:?}", table.name));
            }
            got.extend(here);
        }
        if table.place == Place::Reference {
            return None;
        }
        let (lost, new) = (without(want.clone(), got.clone()), without(got, want));
        let same = lost.is_empty() && new.is_empty();
        (!same).then(|| format!("{}: only the shards have {new:?}\nonly the whole has {lost:?}", table.name))
    }
}

type TextRow = Vec<Option<String>>;

async fn texts(wire: &mut Wire, sql: &str) -> Vec<TextRow> {
    let frames = wire.run(sql).await;
    frames.iter().filter(|frame| frame.tag == b'D').map(|frame| frame.values()).collect()
}

/// Whether a row is to be on the part of this number.
fn belongs(table: &Table, row: &[Value], number: usize, count: usize) -> bool {
    match table.place {
        Place::Reference => true,
        Place::Unsharded => number == 0,
        Place::Key(column) => {
            let key = row[column].text.as_deref().and_then(|text| text.parse().ok());
            shard_of(key.expect("a key is a number"), count) == number
        }
    }
}

/// The table of this name.
pub(crate) fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|table| table.name == name).expect("a table of the test")
}
