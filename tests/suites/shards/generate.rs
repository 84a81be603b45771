//! Random statements over the suite's tables, valid and with one right answer, from a seed.
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::sql::{Order, Piece, Query, Sql, Statement};
use super::values::{Type, Value};
use super::world::{self, Table};

mod conditions;
mod expressions;
mod from;
mod grouped;
mod queries;
mod writes;

/// A relation that a query's expressions may name.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    alias: String,
    columns: Vec<(String, Type)>,
    /// Columns, the first so many, that tell its rows apart, as far as they can be told apart.
    telling: usize,
    table: Option<&'static Table>,
}

impl Relation {
    fn column(&self, number: usize) -> Sql {
        Sql::from(format!("{}.{}", self.alias, self.columns[number].0))
    }

    /// Columns of this type.
    fn of(&self, ty: Type) -> impl Iterator<Item = Sql> + '_ {
        self.columns
            .iter()
            .enumerate()
            .filter(move |(_, column)| column.1 == ty)
            .map(|(at, _)| self.column(at))
    }
}

/// A statement with all that is needed to compare what it does.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) statement: Statement,
    pub(crate) order: Order,
}

/// A source of random statements.
pub(crate) struct Generator {
    rng: StdRng,
    aliases: u32,
    /// How deep in queries.
    depth: u32,
    /// Keys that inserts have not used yet.
    next_id: i64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), aliases: 0, depth: 0, next_id: 1000 }
    }

    /// The next statement: one in six a write.
    pub(crate) fn case(&mut self) -> Case {
        self.aliases = 0;
        self.depth = 0;
        if self.chance(0.16) {
            return self.write();
        }
        let (query, order) = self.top();
        Case { statement: Statement::Query(query), order }
    }

    /// Other values for the same statement: each value that is there becomes another of its type.
    pub(crate) fn other_values(&mut self, query: &mut Query) {
        super::shrink::each_sql(query, &mut |sql| {
            for piece in &mut sql.0 {
                if let Piece::Value(value) = piece
                    && matches!(value.ty, Type::Int8 | Type::Text | Type::Date | Type::Int8Array)
                    && value.text.is_some()
                {
                    *value = world::value(&mut self.rng, value.ty);
                }
            }
        });
    }

    pub(crate) fn chance(&mut self, part: f64) -> bool {
        self.rng.random_bool(part)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.rng.random_range(0..count)
    }

    /// One of the choices, each as likely as its weight says.
    fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (at, weight) in weights.iter().enumerate() {
            if left < *weight {
                return at;
            }
            left -= weight;
        }
        0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from.choose(&mut self.rng).expect("something to pick from").clone()
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    fn value(&mut self, ty: Type) -> Value {
        world::value(&mut self.rng, ty)
    }

    /// A small whole number as an `int8`, as `LIMIT` takes it.
    fn small(&mut self, below: usize) -> Value {
        let number = self.below(below);
        Value::new(Type::Int8, number.to_string())
    }
}
