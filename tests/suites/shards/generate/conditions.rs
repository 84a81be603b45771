//! Conditions: on keys, on other columns, with subqueries.
use super::super::sql::{Sql, sql};
use super::super::values::{Type, Value};
use super::super::world::{Place, Table};
use super::expressions::TYPES;
use super::{Generator, Relation};

impl Generator {
    /// The conditions of a `WHERE`.
    pub(super) fn conditions(&mut self, scope: &[Relation]) -> Vec<Sql> {
        let mut all = Vec::new();
        for relation in scope {
            let keyed = relation.table.is_some_and(|table| matches!(table.place, Place::Key(_)));
            if keyed && self.chance(0.3) {
                all.push(self.on_key(relation));
            }
        }
        for _ in 0..self.weighted(&[5, 4, 1]) {
            all.push(self.condition(scope));
        }
        if self.depth < 3 && self.chance(0.2) {
            all.push(self.with_subquery(scope));
        }
        all
    }

    /// Limits a sharded table to some keys, in one of the ways that SQL has for it.
    pub(super) fn on_key(&mut self, relation: &Relation) -> Sql {
        let key = relation.table.and_then(|table| match table.place {
            Place::Key(column) => Some(relation.column(column)),
            _ => None,
        });
        let key = key.expect("the table is sharded");
        let one = self.value(Type::Int8);
        let two = self.value(Type::Int8);
        match self.weighted(&[30, 12, 8, 5, 5, 3, 3, 3, 2, 2, 2, 2]) {
            0 => sql![key, " = ", one],
            1 => sql![key, " IN (", one, ", ", two, ")"],
            2 => sql![key, " = ANY (", Value::array(Type::Int8Array, &[one, two]), ")"],
            3 => sql![key, " BETWEEN ", self.small(9), " AND ", one],
            4 => sql!["(", key.clone(), " = ", one, " OR ", key, " = ", two, ")"],
            5 => sql![one, " = ", key],
            6 => {
                let at = 1 + self.below(relation.columns.len() - 1);
                let (other, ty) = (relation.column(at), relation.columns[at].1);
                let value = self.value(ty);
                sql!["(", key, ", ", other, ") = (", one, ", ", value, ")"]
            }
            7 => sql![key, " > ", one],
            8 => sql![key, " = ", Value::null(Type::Int8)],
            9 => sql![key, " IN (", one, ", ", Value::null(Type::Int8), ")"],
            10 => sql![key, " = ", Value::new(Type::Numeric, format!("{}.00", one.text.unwrap_or_default()))],
            _ => sql![key, " = ANY (", Value::array(Type::Int8Array, &[]), ")"],
        }
    }

    /// Any condition without a subquery, in parentheses where it needs them.
    pub(super) fn condition(&mut self, scope: &[Relation]) -> Sql {
        match self.weighted(&[30, 6, 8, 6, 4, 6, 4, 4, 4, 4]) {
            0 => self.comparison(scope),
            1 => {
                let (a, _) = self.any_column(scope);
                sql![a, self.pick(&[" IS NULL", " IS NOT NULL"])]
            }
            2 => self.in_list(scope),
            3 => {
                let (a, ty) = self.any_column(scope);
                let (low, high) = (self.value(ty), self.value(ty));
                sql![a, " BETWEEN ", low, " AND ", high]
            }
            4 => {
                let (a, ty) = self.any_column(scope);
                sql!["(", a, " IS DISTINCT FROM ", self.value(ty), ")"]
            }
            5 => {
                let (a, b) = (self.comparison(scope), self.comparison(scope));
                sql!["(", a, self.pick(&[" OR ", " AND "]), b, ")"]
            }
            6 => sql!["NOT (", self.comparison(scope), ")"],
            7 => sql!["(", self.simple(scope, Type::Bool), ")"],
            8 => {
                sql!["(", self.simple(scope, Type::Text), " LIKE ", "'%", self.pick(&["n", "o", "1"]), "%')"]
            }
            _ => self.on_array(scope),
        }
    }

    fn on_array(&mut self, scope: &[Relation]) -> Sql {
        let marks = self.simple(scope, Type::Int4Array);
        let value = self.value(Type::Int4);
        if self.chance(0.5) {
            return sql!["(", value, " = ANY (", marks, "))"];
        }
        sql!["(", marks, " && ", Value::array(Type::Int4Array, &[value]), ")"]
    }

    fn comparison(&mut self, scope: &[Relation]) -> Sql {
        let ty = self.pick(&TYPES);
        let (a, ty) = self.column(scope, ty).map_or_else(|| self.any_column(scope), |column| (column, ty));
        let b = if self.chance(0.6) { Sql::from(self.value(ty)) } else { self.simple(scope, ty) };
        sql!["(", a, self.pick(&[" = ", " = ", " <> ", " < ", " <= ", " > ", " >= "]), b, ")"]
    }

    fn in_list(&mut self, scope: &[Relation]) -> Sql {
        let (a, ty) = self.any_column(scope);
        let values: Vec<Value> = (0..=self.below(4)).map(|_| self.value(ty)).collect();
        match ty.array() {
            Some(array) if self.chance(0.4) && values.iter().all(plain) => {
                let array = Value::array(array, &values);
                sql!["(", a, self.pick(&[" = ANY (", " <> ALL ("]), array, "))"]
            }
            _ => {
                let list = Sql::join(values.into_iter().map(Sql::from), ", ");
                sql!["(", a, self.pick(&[" IN (", " NOT IN ("]), list, "))"]
            }
        }
    }

    /// A condition with a query in it, which may name the relations outside.
    fn with_subquery(&mut self, scope: &[Relation]) -> Sql {
        let ty = self.pick(&[Type::Int8, Type::Int8, Type::Int8, Type::Int4, Type::Text]);
        let choice = self.weighted(&[6, 2, 4, 2, 3, 2]);
        let a = self.simple(scope, ty);
        match choice {
            0 | 1 => {
                let query = self.one_column(ty, None);
                sql!["(", a, if choice == 0 { " IN " } else { " NOT IN " }, query, ")"]
            }
            2 | 3 => {
                let query = self.one_column(ty, Some(scope));
                sql![if choice == 2 { "EXISTS " } else { "NOT EXISTS " }, query]
            }
            _ => {
                let outer = (choice == 4).then_some(scope);
                let (query, ty) = self.one_value(outer);
                let a = self.simple(scope, ty);
                sql!["(", a, self.pick(&[" = ", " > ", " <= "]), query, ")"]
            }
        }
    }

    /// Conditions of a write: by key more often than not.
    pub(super) fn write_conditions(&mut self, relation: &Relation, table: &Table) -> Vec<Sql> {
        let mut all = Vec::new();
        if matches!(table.place, Place::Key(_)) && self.chance(0.7) {
            all.push(self.on_key(relation));
        }
        if all.is_empty() || self.chance(0.3) {
            all.push(self.condition(std::slice::from_ref(relation)));
        }
        all
    }
}

/// Whether a value can be written in an array without escapes.
fn plain(value: &Value) -> bool {
    value.text.as_deref().is_some_and(|text| !text.contains(['\'', ' ', ',']))
}
