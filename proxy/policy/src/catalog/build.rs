//! Rows to a catalog: overloads merged, overrides applied, views and policies followed to what they call and read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use pointsman_sql::{Analyzer, FunctionName, LexRules, Relation, Statement};

use super::builtin::volatility;
use super::family::{Families, is_compiled, is_plain_builtin};
use super::rows::{RelationRow, Rows, TypeRow};
use super::{Catalog, Function, Known, Obstacle, Volatility, suspect};
use crate::overrides::Overrides;
use crate::touched::Touched;

impl Catalog {
    /// A catalog from the server's answers, with the policies' overrides.
    #[must_use]
    pub fn build(rows: &Rows, overrides: &Overrides) -> Self {
        static VERSION: AtomicU64 = AtomicU64::new(1);
        let version = VERSION.fetch_add(1, Ordering::Relaxed);
        let mut catalog = Self { version, families: version, ..Self::default() };
        catalog.add_functions(rows, overrides);
        catalog.add_operators(rows, overrides);
        catalog.add_defaults(rows, overrides);
        let definitions = catalog.add_relations(rows);
        catalog.add_types(rows);
        Followed { catalog: &mut catalog, definitions }.all();
        catalog.add_triggers(rows);
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
            if row.attribute && !plain {
                self.busy_attributes.insert(row.name.clone());
            }
            let all = self.functions.entry(row.name.clone()).or_default();
            match all.iter_mut().find(|function| function.schema == row.schema) {
                Some(function) => {
                    function.volatility = function.volatility.max(volatility);
                    function.suspect |= suspect;
                    function.plain &= plain;
                }
                None => all.push(Function { schema: row.schema.clone(), volatility, suspect, plain, reads }),
            }
        }
        for (name, volatility) in overrides.names() {
            let (schema, name) = name.rsplit_once('.').unwrap_or(("", name));
            let all = self.functions.entry(name.into()).or_default();
            if all.iter().all(|function| !schema.is_empty() && &*function.schema != schema) {
                let declared = declared_reads(overrides, schema, name, volatility);
                let (plain, reads) = (declared.is_some(), declared.unwrap_or_default());
                all.push(Function { schema: schema.into(), volatility, suspect: false, plain, reads });
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
            if !self.overloads(&function).all(|function| function.plain) {
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
        let families = Families::new(rows);
        let mut definitions = Vec::new();
        for row in &rows.relations {
            let mut obstacle = obstacle_of(row);
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
            if obstacle.is_none() && !texts.is_empty() {
                obstacle = Some(Obstacle::Unread(shown(row)));
                let statements = texts.iter().map(|text| parsed(text)).collect();
                let relation = Relation { schema: Some(row.schema.clone()), name: row.name.clone() };
                let writable = row.kind == 'v' && !row.busy && !row.ruled;
                let view = row.kind == 'v';
                definitions.push(Definition { relation, statements, view, writable, followed: false });
            }
            let (reads, writes) = families.touched(row);
            self.relations.entry(row.name.clone()).or_default().push(Known {
                schema: row.schema.clone(),
                obstacle,
                suspect: false,
                reads,
                writes,
                triggers_suspect: false,
            });
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
            if !checked.is_some_and(|statement| self.is_plain(&statement)) {
                self.busy_types.insert(row.name.clone());
            }
            return;
        }
        let name = FunctionName { schema: Some(row.function_schema.clone()), name: row.function.clone() };
        // An implicit cast shows in no statement.
        let busy = !self.overloads(&name).all(|function| function.plain);
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

/// A relation whose reading runs statements: a view, or a table with policies.
struct Definition {
    relation: Relation,
    statements: Vec<Option<Statement>>,
    view: bool,
    /// Writes to it go to what it reads, by PostgreSQL's own rules.
    writable: bool,
    followed: bool,
}

struct Followed<'a> {
    catalog: &'a mut Catalog,
    definitions: Vec<Definition>,
}

impl Followed<'_> {
    fn all(mut self) {
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (at, definition) in self.definitions.iter().enumerate() {
            by_name.entry(definition.relation.name.clone()).or_default().push(at);
        }
        for at in 0..self.definitions.len() {
            self.follow(at, &by_name);
        }
    }

    /// What a definition reads is followed before it. In a circle, the one that is met again counts as unread.
    fn follow(&mut self, first: usize, by_name: &HashMap<Box<str>, Vec<usize>>) {
        let mut stack = vec![(first, false)];
        while let Some((at, ready)) = stack.pop() {
            if ready {
                self.settle(at);
                continue;
            }
            if std::mem::replace(&mut self.definitions[at].followed, true) {
                continue;
            }
            stack.push((at, true));
            for statement in self.definitions[at].statements.iter().flatten() {
                for read in &statement.reads {
                    let next = by_name.get(&read.name).into_iter().flatten().copied();
                    stack.extend(
                        next.filter(|&next| !self.definitions[next].followed).map(|next| (next, false)),
                    );
                }
            }
        }
    }

    fn settle(&mut self, at: usize) {
        let Definition { relation, statements, view, writable, .. } = &self.definitions[at];
        let touched = match statements.as_slice() {
            [Some(query)] if *view && self.catalog.is_plain(query) => {
                let writes = if *writable { self.catalog.writes(&query.reads) } else { Touched::Unknown };
                Some((self.catalog.reads(&query.reads), writes))
            }
            _ => None,
        };
        let mut obstacle = None;
        let mut suspect = false;
        for statement in statements {
            let Some(statement) = statement else {
                obstacle = Some(Obstacle::Unread(relation.to_string().into()));
                suspect = true;
                break;
            };
            suspect |= self.catalog.suspect(statement);
            if let Some(found) = self.catalog.obstacles(statement).into_iter().next() {
                obstacle = Some(Obstacle::Through(relation.to_string().into(), Box::new(found)));
            }
        }
        let schema = relation.schema.as_deref().unwrap_or_default();
        for known in self.catalog.relations.get_mut(&relation.name).into_iter().flatten() {
            if &*known.schema == schema {
                (known.obstacle, known.suspect) = (obstacle.clone(), suspect);
                if let Some((reads, writes)) = &touched {
                    (known.reads, known.writes) = (reads.clone(), writes.clone());
                }
            }
        }
    }
}
