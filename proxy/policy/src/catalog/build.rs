//! Rows to a catalog: overloads merged, overrides applied, views and policies followed to what they call and read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use pointsman_shards::FunctionKind;
use pointsman_sql::{Analyzer, FunctionName, LexRules, Relation, Statement};

use super::builtin::volatility;
use super::columns::Columns;
use super::family::{Families, is_compiled, is_plain_builtin};
use super::follow::{Definition, follow_all};
use super::rows::{RelationRow, Rows, TypeRow};
use super::{Catalog, Function, Known, Obstacle, Volatility, suspect, who};
use crate::caching::AsksWho;
use crate::overrides::Overrides;
use crate::touched::Touched;

impl Catalog {
    /// A catalog from the server's answers, with the policies' overrides.
    #[must_use]
    pub fn build(rows: &Rows, overrides: &Overrides) -> Self {
        static VERSION: AtomicU64 = AtomicU64::new(1);
        let version = VERSION.fetch_add(1, Ordering::Relaxed);
        let mut catalog = Self { version, families: version, bytewise: rows.bytewise, ..Self::default() };
        catalog.add_functions(rows, overrides);
        catalog.add_operators(rows, overrides);
        catalog.add_defaults(rows, overrides);
        let definitions = catalog.add_relations(rows);
        catalog.add_types(rows);
        follow_all(&mut catalog, definitions);
        catalog.add_triggers(rows);
        catalog.add_keys();
        catalog.add_role_settings(rows);
        catalog
    }

    fn add_functions(&mut self, rows: &Rows, overrides: &Overrides) {
        let suspects = suspect::suspects(&rows.functions);
        for row in &rows.functions {
            let own = if row.builtin { volatility(&row.name, row.volatility) } else { row.volatility };
            let volatility = overrides.get(&row.schema, &row.name).unwrap_or(own);
            if row.attribute && !row.builtin && volatility == Volatility::Volatile {
                self.attributes.insert(row.name.clone());
            }
            let suspect = !row.builtin && suspects.contains(&row.name);
            let declared = declared_reads(overrides, &row.schema, &row.name, volatility);
            let plain = if row.builtin {
                is_plain_builtin(&row.name, own == Volatility::Volatile)
            } else {
                declared.is_some() || row.volatility == Volatility::Immutable && is_compiled(&row.source)
            };
            let reads = declared.unwrap_or_default();
            if row.attribute && !(plain && reads.is_empty()) {
                self.busy_attributes.insert(row.name.clone());
            }
            let asks = who::of_function(row);
            let kind = function_kind(row.kind);
            let all = self.functions.entry(row.name.clone()).or_default();
            match all.iter_mut().find(|function| function.schema == row.schema) {
                Some(function) => {
                    function.volatility = function.volatility.max(volatility);
                    function.suspect |= suspect;
                    function.plain &= plain;
                    function.asks = function.asks.max(asks);
                    function.kind = function.kind.worse(kind);
                }
                None => {
                    let schema = row.schema.clone();
                    all.push(Function { schema, volatility, suspect, plain, reads, asks, kind });
                }
            }
        }
        for (name, volatility) in overrides.names() {
            let (schema, name) = name.rsplit_once('.').unwrap_or(("", name));
            let all = self.functions.entry(name.into()).or_default();
            if all.iter().all(|function| !schema.is_empty() && &*function.schema != schema) {
                let declared = declared_reads(overrides, schema, name, volatility);
                let (plain, reads) = (declared.is_some(), declared.unwrap_or_default());
                let asks = AsksWho::User;
                let (schema, kind) = (schema.into(), FunctionKind::Plain);
                all.push(Function { schema, volatility, suspect: false, plain, reads, asks, kind });
            }
        }
    }

    /// A call that leaves an argument out evaluates its default: what that may do, the function may. Defaults may call
    /// functions with defaults.
    fn add_defaults(&mut self, rows: &Rows, overrides: &Overrides) {
        let with_defaults = rows.functions.iter().filter(|row| !row.defaults.is_empty());
        let mut left: Vec<_> =
            with_defaults.map(|row| (row, parsed(&format!("SELECT {}", row.defaults)))).collect();
        loop {
            let before = left.len();
            left.retain(|(row, statement)| {
                let found = statement.as_ref().is_none_or(|statement| !self.obstacles(statement).is_empty());
                if found && overrides.get(&row.schema, &row.name).is_none() {
                    let all = self.functions.get_mut(&row.name).into_iter().flatten();
                    for function in all.filter(|function| function.schema == row.schema) {
                        function.volatility = Volatility::Volatile;
                    }
                }
                !found
            });
            if left.len() == before {
                return;
            }
        }
    }

    fn add_operators(&mut self, rows: &Rows, overrides: &Overrides) {
        for row in &rows.operators {
            let said = overrides.get(&row.function_schema, &row.function);
            let own = if row.volatile { Volatility::Volatile } else { Volatility::Immutable };
            let function =
                FunctionName { schema: Some(row.function_schema.clone()), name: row.function.clone() };
            self.odd_equality |= &*row.name == "=" && row.own_operand;
            // What an operator's or a type's function reads, no text shows.
            if !self.overloads(&function).all(Function::is_quiet) {
                self.busy_operators.insert(row.name.clone());
            }
            if said.unwrap_or(own) == Volatility::Volatile {
                self.operators.insert(row.name.clone(), function);
            }
        }
    }

    /// Adds all relations; those with definitions stay unread until they have been followed.
    fn add_relations(&mut self, rows: &Rows) -> Vec<Definition> {
        let mut policies: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
        for row in &rows.policies {
            policies.entry((&row.schema, &row.relation)).or_default().push(&row.expression);
        }
        let (families, columns) = (Families::new(rows), Columns::new(rows));
        let mut definitions = Vec::new();
        for row in &rows.relations {
            let texts: Vec<String> = match row.kind {
                'v' if !row.builtin => vec![row.definition.to_string()],
                _ if row.row_security => policies
                    .get(&(&*row.schema, &*row.name))
                    .into_iter()
                    .flatten()
                    .map(|expression| condition(expression))
                    .collect(),
                _ => Vec::new(),
            };
            let mut known = known(row, &families, &columns);
            if !texts.is_empty() {
                let own_reads = std::mem::replace(&mut known.reads, Touched::Unknown);
                // Until its definition has been followed, everything is to be feared.
                (known.row_security, known.asks, known.plain) = (true, AsksWho::User, false);
                if known.obstacle.is_none() {
                    known.obstacle = Some(Obstacle::Unread(shown(row)));
                    definitions.push(Definition {
                        relation: Relation { schema: Some(row.schema.clone()), name: row.name.clone() },
                        statements: texts.iter().map(|text| parsed(text)).collect(),
                        view: row.kind == 'v',
                        writable: row.kind == 'v' && !row.busy && !row.ruled,
                        own_reads,
                        followed: false,
                    });
                }
            }
            self.relations.entry(row.name.clone()).or_default().push(known);
        }
        definitions
    }

    fn add_types(&mut self, rows: &Rows) {
        for row in &rows.types {
            let shown: Box<str> = match &*row.name {
                "" => "an implicit cast".into(),
                name => format!("type {}.{name}", row.schema).into(),
            };
            let obstacle = if row.function.is_empty() {
                match parsed(&condition(&row.expression)) {
                    Some(statement) => self.obstacles(&statement).into_iter().next(),
                    None => Some(Obstacle::Unread(shown.clone())),
                }
            } else {
                let name =
                    FunctionName { schema: Some(row.function_schema.clone()), name: row.function.clone() };
                self.function(&name)
            };
            self.note_busy_type(row);
            if let Some(obstacle) = obstacle {
                let through = Obstacle::Through(shown, Box::new(obstacle));
                self.types.entry(row.name.clone()).or_default().push((row.schema.clone(), through));
            }
        }
    }

    /// A type whose values, or casts to it, run code that may touch relations.
    fn note_busy_type(&mut self, row: &TypeRow) {
        if row.function.is_empty() {
            let checked = parsed(&condition(&row.expression));
            let quiet = |statement: &Statement| {
                self.is_plain(statement) && self.called_reads(statement) == Touched::nothing()
            };
            if !checked.as_ref().is_some_and(quiet) {
                self.busy_types.insert(row.name.clone());
            }
            return;
        }
        let name = FunctionName { schema: Some(row.function_schema.clone()), name: row.function.clone() };
        // An implicit cast shows in no statement.
        let busy = !self.overloads(&name).all(Function::is_quiet);
        self.busy_casts |= busy;
    }

    /// A trigger's function runs when its relation is written.
    fn add_triggers(&mut self, rows: &Rows) {
        for row in &rows.triggers {
            let name = FunctionName { schema: Some(row.function_schema.clone()), name: row.function.clone() };
            if self.function_suspect(&name) {
                let all = self.relations.get_mut(&row.relation).into_iter().flatten();
                for known in all.filter(|known| known.schema == row.schema) {
                    known.triggers_suspect = true;
                }
            }
        }
    }

    /// Everything in a statement that stands in the way of running it on a replica.
    #[must_use]
    pub fn obstacles(&self, statement: &Statement) -> Vec<Obstacle> {
        let functions = statement.functions.iter().filter_map(|name| self.function(name));
        let relations = statement.reads.iter().filter_map(|name| self.relation(name));
        let operators = statement.operators.iter().filter_map(|name| self.operator(name));
        let types = statement.types.iter().filter_map(|name| self.type_name(name));
        let computes = !(statement.functions.is_empty() && statement.reads.is_empty());
        // A cast that the text does not show may be anywhere.
        let unseen = self.types.get("").filter(|_| computes).and_then(|all| all.first());
        let types = types.chain(unseen.map(|(_, obstacle)| obstacle.clone()));
        let attributes = statement.attributes.iter().filter_map(|name| self.attribute(name));
        let settings = statement.settings.iter().filter_map(|name| match name {
            Some(name) if super::is_shared_setting(name) => None,
            name => Some(Obstacle::Setting(name.as_deref().unwrap_or("a computed setting").into())),
        });
        functions.chain(relations).chain(operators).chain(types).chain(attributes).chain(settings).collect()
    }

    /// Whether a statement may leave state in the session that its text does not show.
    #[must_use]
    pub fn suspect(&self, statement: &Statement) -> bool {
        statement.functions.iter().any(|name| self.function_suspect(name))
            || statement.reads.iter().any(|name| self.read_suspect(name))
            || statement.writes.iter().any(|name| self.relation_suspect(name))
            || statement
                .opaque
                .as_deref()
                .is_some_and(|code| suspect::leaves_state(code) || self.names_suspect(code))
    }

    /// Whether a statement calls a function of which nothing is known: it may have been made a moment ago.
    #[must_use]
    pub fn calls_unknown(&self, statement: &Statement) -> bool {
        use pointsman_sql::Kind;
        // Of definitions the facts hold every name before a parenthesis.
        let calls = !matches!(statement.kind, Kind::Ddl | Kind::Do | Kind::Other);
        calls
            && self.version > 0
            && statement.functions.iter().any(|name| self.overloads(name).next().is_none())
    }

    /// Whether opaque code names a function that leaves state.
    fn names_suspect(&self, code: &str) -> bool {
        code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| {
            let name = FunctionName { schema: None, name: word.to_ascii_lowercase().into() };
            self.function_suspect(&name)
        })
    }
}

/// What a function of this `prokind`, or `r` if it returns rows, is.
fn function_kind(kind: char) -> FunctionKind {
    match kind {
        'f' => FunctionKind::Plain,
        'r' => FunctionKind::Rows,
        'a' => FunctionKind::Aggregate,
        'w' => FunctionKind::Window,
        _ => FunctionKind::Unknown,
    }
}

/// The relations that a policy says a function reads, if it also counts as one that does not write.
fn declared_reads(
    overrides: &Overrides,
    schema: &str,
    name: &str,
    volatility: Volatility,
) -> Option<Box<[Relation]>> {
    let named = overrides.reads(schema, name).filter(|_| volatility != Volatility::Volatile)?;
    let relation = |name: &String| match name.rsplit_once('.') {
        Some((schema, name)) => Relation { schema: Some(schema.into()), name: name.into() },
        None => Relation { schema: None, name: name.as_str().into() },
    };
    Some(named.iter().map(relation).collect())
}

fn shown(row: &RelationRow) -> Box<str> {
    format!("{}.{}", row.schema, row.name).into()
}

/// What is known of a relation before its definition or its policies have been followed.
fn known(row: &RelationRow, families: &Families<'_>, columns: &Columns<'_>) -> Known {
    let (reads, writes) = families.touched(row);
    Known {
        schema: row.schema.clone(),
        obstacle: obstacle_of(row),
        suspect: false,
        reads,
        writes,
        triggers_suspect: false,
        slot: families.slot(row),
        plain: matches!(row.kind, 'r' | 'p') && !row.builtin,
        row_security: row.row_security,
        asks: match row.kind {
            'r' | 'p' | 'm' if row.row_security => AsksWho::Role,
            'r' | 'p' | 'm' => AsksWho::Nothing,
            _ => AsksWho::User,
        },
        columns: columns.of(&row.schema, &row.name),
    }
}

/// What stands in the way of reading a relation, whatever its definition says.
fn obstacle_of(row: &RelationRow) -> Option<Obstacle> {
    match row.kind {
        'v' if row.builtin => Some(Obstacle::ServerLocal(shown(row))),
        'S' => Some(Obstacle::Sequence(shown(row))),
        _ if row.not_replicated => Some(Obstacle::NotReplicated(shown(row))),
        _ => None,
    }
}

/// An expression as a statement that evaluates it.
fn condition(expression: &str) -> String {
    format!("SELECT 1 WHERE ({expression})")
}

/// The one statement of a definition; `None` if it is not understood.
fn parsed(text: &str) -> Option<Statement> {
    let mut analyzer = Analyzer::<()>::new(1);
    let analysis = analyzer.analyze(text.as_bytes(), LexRules::default());
    if !analysis.facts.understood() {
        return None;
    }
    analysis.facts.single().cloned()
}
