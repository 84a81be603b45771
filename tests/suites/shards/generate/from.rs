//! `FROM`: tables and subqueries, joined by keys, by other columns, or not at all.
use super::super::sql::{Sql, sql};
use super::super::values::Type;
use super::super::world::{TABLES, Table};
use super::{Generator, Relation};

impl Generator {
    pub(super) fn relation(&mut self, table: &'static Table) -> Relation {
        let columns = table.columns.iter().map(|(name, ty, _)| ((*name).to_owned(), *ty)).collect();
        Relation { alias: self.alias(), columns, telling: table.primary, table: Some(table) }
    }

    pub(super) fn any_table(&mut self) -> &'static Table {
        let at = self.weighted(&[6, 5, 4, 3, 1]);
        &TABLES[at]
    }

    /// A relation and how `FROM` names it.
    fn item(&mut self, names: &[Relation]) -> (Sql, Relation) {
        if !names.is_empty() && self.chance(0.6) {
            let mut relation = self.pick(names);
            let name = relation.alias;
            relation.alias = self.alias();
            return (Sql::from(format!("{name} AS {}", relation.alias)), relation);
        }
        if self.depth < 2 && self.chance(0.1) {
            let (query, columns) = self.nested(names);
            let alias = self.alias();
            let telling = columns.len();
            let relation = Relation { alias: alias.clone(), columns, telling, table: None };
            return (sql![query, format!(" AS {alias}")], relation);
        }
        let table = self.any_table();
        let relation = self.relation(table);
        (Sql::from(format!("{} AS {}", table.name, relation.alias)), relation)
    }

    /// The items of a `FROM` clause and what they bring. `names` are those of the `WITH` clause.
    pub(super) fn from(&mut self, names: &[Relation]) -> (Vec<Sql>, Vec<Relation>) {
        let (first, relation) = self.item(names);
        let (mut items, mut scope) = (vec![first], vec![relation]);
        let more = if self.depth > 1 { self.weighted(&[8, 2]) } else { self.weighted(&[9, 7, 2]) };
        for _ in 0..more {
            let (item, relation) = self.item(names);
            let condition = self.join_condition(&scope, &relation);
            let (kind, condition) = match (self.weighted(&[12, 5, 2, 1, 1]), condition) {
                (1, Some(condition)) => ("LEFT JOIN ", sql![" ON ", condition]),
                (2, Some(condition)) => ("RIGHT JOIN ", sql![" ON ", condition]),
                (3, Some(condition)) => ("FULL JOIN ", sql![" ON ", condition]),
                (4, _) | (_, None) if scope.len() == 1 => ("CROSS JOIN ", Sql::default()),
                (_, Some(condition)) => ("JOIN ", sql![" ON ", condition]),
                _ => break,
            };
            items.push(sql![kind, item, condition]);
            scope.push(relation);
        }
        (items, scope)
    }

    /// An equality between what is there and what is new.
    pub(super) fn join_condition(&mut self, scope: &[Relation], new: &Relation) -> Option<Sql> {
        let old = self.pick(scope);
        // Both keys are the first column of type bigint, as a rule.
        let by_key = |relation: &Relation| relation.table.and_then(|_| relation.of(Type::Int8).next());
        if self.chance(0.5)
            && let (Some(a), Some(b)) = (by_key(&old), by_key(new))
        {
            return Some(sql![a, " = ", b]);
        }
        let shared = |ty: Type| old.of(ty).next().is_some() && new.of(ty).next().is_some();
        let types = [Type::Int8, Type::Int8, Type::Int4, Type::Text, Type::Date, Type::Numeric];
        let types: Vec<Type> = types.into_iter().filter(|ty| shared(*ty)).collect();
        if types.is_empty() {
            return None;
        }
        let ty = self.pick(&types);
        let (a, b): (Vec<Sql>, Vec<Sql>) = (old.of(ty).collect(), new.of(ty).collect());
        Some(sql![self.pick(&a), " = ", self.pick(&b)])
    }
}
