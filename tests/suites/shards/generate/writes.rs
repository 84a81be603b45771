//! Writes: inserts of one row and of many, updates and deletes by key and without one.
use super::super::sql::{Order, Sql, Statement, sql};
use super::super::values::{Type, Value};
use super::super::world::{self, Table};
use rand::Rng;

use super::{Case, Generator, Relation};

impl Generator {
    pub(super) fn write(&mut self) -> Case {
        let table = self.any_table();
        match self.weighted(&[5, 4, 2]) {
            0 => self.insert(table),
            1 => self.update(table),
            _ => self.delete(table),
        }
    }

    /// What comes after a write, and what is told by it.
    fn returning(&mut self, alias: &str, table: &Table) -> Sql {
        if self.chance(0.4) {
            return Sql::default();
        }
        let (a, b) = (self.below(table.columns.len()), self.below(table.columns.len()));
        let (a, b) = (table.columns[a].0, table.columns[b].0);
        match self.below(3) {
            0 => Sql::from(format!(" RETURNING {alias}.*")),
            1 => Sql::from(format!(" RETURNING {a}, {alias}.{b}")),
            _ => Sql::from(format!(" RETURNING {a} AS c1, {b} IS NULL AS c2")),
        }
    }

    /// A new row's values; its key is new as a rule.
    fn fresh(&mut self, table: &Table) -> Vec<Value> {
        let mut row = world::row(&mut self.rng, table);
        if self.chance(0.9) {
            self.next_id += 1;
            let at = if table.name == "interactions" || table.name == "friendships" { 1 } else { 0 };
            let ty = table.columns[at].1;
            row[at] = Value::new(ty, self.next_id.to_string());
        }
        row
    }

    fn insert(&mut self, table: &'static Table) -> Case {
        let count = if self.chance(0.4) { 1 } else { 1 + self.below(6) };
        // Some columns may be left out, and come in another order.
        let mut columns: Vec<usize> = (0..table.columns.len()).collect();
        let named = self.chance(0.7);
        if named {
            columns.retain(|at| *at < table.primary || self.rng.random_bool(0.8));
            if self.chance(0.3) {
                columns.reverse();
            }
        }
        let mut tuples = Vec::new();
        for _ in 0..count {
            let row = self.fresh(table);
            let values = columns.iter().map(|at| Sql::from(row[*at].clone()));
            tuples.push(sql!["(", Sql::join(values, ", "), ")"]);
        }
        let names: Vec<&str> = columns.iter().map(|at| table.columns[*at].0).collect();
        let names = if named { format!(" ({})", names.join(", ")) } else { String::new() };
        let head = sql![format!("INSERT INTO {}{names} VALUES ", table.name), Sql::join(tuples, ", ")];
        let conflict = match self.weighted(&[8, 1, 1]) {
            1 => Sql::from(" ON CONFLICT DO NOTHING"),
            2 => {
                let key: Vec<&str> = table.columns[..table.primary].iter().map(|column| column.0).collect();
                let last = table.columns[table.columns.len() - 1].0;
                Sql::from(format!(" ON CONFLICT ({}) DO UPDATE SET {last} = excluded.{last}", key.join(", ")))
            }
            _ => Sql::default(),
        };
        let skips = !conflict.0.is_empty();
        let tail = sql![conflict, self.returning(table.name, table)];
        let order = if skips { Order::Bag } else { Order::List };
        Case { statement: Statement::Write { table: table.name, head, conditions: Vec::new(), tail }, order }
    }

    fn update(&mut self, table: &'static Table) -> Case {
        let relation = self.relation(table);
        let mut sets = Vec::new();
        for _ in 0..=self.below(2) {
            let moves = self.chance(0.05);
            let at = if moves { 0 } else { table.primary + self.below(table.columns.len() - table.primary) };
            let (name, ty, _) = table.columns[at];
            if sets.iter().all(|(set, _)| *set != name) {
                let value = if moves { Sql::from(self.value(ty)) } else { self.new_value(&relation, ty) };
                sets.push((name, value));
            }
        }
        let sets = Sql::join(sets.into_iter().map(|(name, value)| sql![name, " = ", value]), ", ");
        let head = sql![format!("UPDATE {} AS {} SET ", table.name, relation.alias), sets];
        let conditions = self.write_conditions(&relation, table);
        let tail = self.returning(&relation.alias, table);
        Case { statement: Statement::Write { table: table.name, head, conditions, tail }, order: Order::Bag }
    }

    /// What a column is set to: something that does not grow from update to update.
    fn new_value(&mut self, relation: &Relation, ty: Type) -> Sql {
        match self.column(std::slice::from_ref(relation), ty) {
            Some(column) if ty == Type::Int4 && self.chance(0.5) => sql!["(", column, " % 5 + 1)"],
            Some(column) if self.chance(0.2) => column,
            _ => sql!["(", self.value(ty), format!(")::{}", ty.name())],
        }
    }

    fn delete(&mut self, table: &'static Table) -> Case {
        let relation = self.relation(table);
        let head = Sql::from(format!("DELETE FROM {} AS {}", table.name, relation.alias));
        let conditions = self.write_conditions(&relation, table);
        let tail = self.returning(&relation.alias, table);
        Case { statement: Statement::Write { table: table.name, head, conditions, tail }, order: Order::Bag }
    }
}
