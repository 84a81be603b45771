//! Queries with `GROUP BY`, aggregates and `HAVING`.
use super::super::sql::{Body, Select, Sql, sql};
use super::super::values::Type;
use super::queries::Built;
use super::{Generator, Relation};

impl Generator {
    /// A grouped query. `any` allows aggregates whose results are for showing only.
    pub(super) fn grouped(&mut self, names: &[Relation], any: bool) -> Built {
        let (from, scope) = self.from(names);
        let conditions = self.conditions(&scope);
        let mut group = Vec::new();
        let (mut targets, mut columns) = (Vec::new(), Vec::new());
        for number in 0..self.weighted(&[2, 5, 3, 1]) {
            let (key, ty) = self.group_key(&scope);
            let name = format!("c{}", number + 1);
            targets.push(sql![key.clone(), format!(" AS {name}")]);
            // By its name or by its number, too.
            group.push(if self.chance(0.2) { Sql::from((number + 1).to_string()) } else { key });
            columns.push((name, ty));
        }
        let keys = columns.len();
        for number in keys..keys + 1 + self.below(3) {
            let (aggregate, ty) = self.aggregate(&scope, any);
            let name = format!("c{}", number + 1);
            targets.push(sql![aggregate, format!(" AS {name}")]);
            columns.push((name, ty));
        }
        let having = if self.chance(0.3) { vec![self.having(&scope)] } else { Vec::new() };
        let sets = any && keys == 2 && self.chance(0.15);
        if sets {
            let by = Sql::join(std::mem::take(&mut group), ", ");
            group.push(sql![self.pick(&["ROLLUP (", "CUBE ("]), by, ")"]);
        }
        let select = Select { targets, from, conditions, group, having, ..Select::default() };
        let telling = (!sets).then_some(keys);
        Built { body: Body::Select(Box::new(select)), columns, scope: Vec::new(), telling }
    }

    /// What is grouped by: written the same way in both places.
    fn group_key(&mut self, scope: &[Relation]) -> (Sql, Type) {
        let (column, ty) = self.any_column(scope);
        let key = match (ty, self.below(8)) {
            (Type::Int4 | Type::Int8, 0) => sql!["(", column, " % 3)"],
            (Type::Text, 0) => sql!["upper(", column, ")"],
            (Type::Timestamptz, 0..4) => sql!["date_trunc('day', ", column, ")"],
            (_, 1) => {
                let value = self.value(ty);
                sql!["COALESCE(", column, ", ", value.literal(), ")"]
            }
            _ => column,
        };
        (key, ty)
    }

    fn having(&mut self, scope: &[Relation]) -> Sql {
        let count = self.small(4);
        match self.below(5) {
            0 | 1 => sql!["count(*) > ", count],
            2 => sql!["count(DISTINCT ", self.any_column(scope).0, ") >= ", count],
            3 => sql!["sum(", self.simple(scope, Type::Int4), ") IS NOT NULL"],
            _ => {
                let value = self.value(Type::Int4);
                sql!["max(", self.simple(scope, Type::Int4), ") <> ", value]
            }
        }
    }

    /// An aggregate, or an expression over some.
    fn aggregate(&mut self, scope: &[Relation], any: bool) -> (Sql, Type) {
        if any && self.chance(0.15) {
            return self.over_aggregates(scope);
        }
        let (mut aggregate, ty) =
            if any && self.chance(0.4) { self.shown(scope) } else { self.common(scope) };
        if self.chance(0.1) {
            let condition = self.condition(scope);
            aggregate = sql![aggregate, " FILTER (WHERE ", condition, ")"];
        }
        (aggregate, ty)
    }

    /// Aggregates whose results can be compared, sorted and grouped again.
    fn common(&mut self, scope: &[Relation]) -> (Sql, Type) {
        let int = self.simple(scope, Type::Int4);
        match self.below(9) {
            0 | 1 => (Sql::from("count(*)"), Type::Int8),
            2 => (sql!["count(", self.any_column(scope).0, ")"], Type::Int8),
            3 => (sql!["count(DISTINCT ", self.any_column(scope).0, ")"], Type::Int8),
            4 => (sql!["sum(", int, ")"], Type::Int8),
            5 => (sql!["sum(", self.simple(scope, Type::Numeric), ")"], Type::Numeric),
            6 => {
                let function = self.pick(&["bool_and(", "bool_or(", "every("]);
                (sql![function, self.simple(scope, Type::Bool), ")"], Type::Bool)
            }
            _ => {
                let ty = self.pick(&[
                    Type::Int4,
                    Type::Int8,
                    Type::Numeric,
                    Type::Text,
                    Type::Timestamptz,
                    Type::Date,
                    Type::Float8,
                ]);
                let function = self.pick(&["min(", "max("]);
                (sql![function, self.simple(scope, ty), ")"], ty)
            }
        }
    }

    /// Aggregates for the outermost query.
    fn shown(&mut self, scope: &[Relation]) -> (Sql, Type) {
        let text = self.simple(scope, Type::Text);
        let int = self.simple(scope, Type::Int4);
        let direction = self.pick(&["", " DESC", " NULLS FIRST"]);
        match self.below(10) {
            0 | 1 => {
                let ty = self.pick(&[Type::Int4, Type::Int8, Type::Numeric, Type::Float8]);
                (sql!["avg(", self.simple(scope, ty), ")"], Type::Json)
            }
            2 => (sql!["sum(", self.simple(scope, Type::Float8), ")"], Type::Float8),
            3 => (sql!["sum(", self.simple(scope, Type::Int8), ")"], Type::Numeric),
            4 => {
                let function = self.pick(&["stddev(", "variance(", "stddev_pop(", "var_pop(", "var_samp("]);
                let ty = self.pick(&[Type::Int4, Type::Numeric]);
                (sql![function, self.simple(scope, ty), ")"], Type::Json)
            }
            5 => (sql!["array_agg(", int.clone(), " ORDER BY ", int, direction, ")"], Type::Json),
            6 => (sql!["string_agg(", text.clone(), ", ',' ORDER BY ", text, direction, ")"], Type::Text),
            7 => (sql!["json_agg(", text.clone(), " ORDER BY ", text, direction, ")"], Type::Json),
            8 => (sql!["sum(DISTINCT ", int, ")"], Type::Int8),
            _ => {
                (sql!["array_agg(", text.clone(), " ORDER BY ", int, direction, ", ", text, ")"], Type::Json)
            }
        }
    }

    fn over_aggregates(&mut self, scope: &[Relation]) -> (Sql, Type) {
        let (a, b) = (self.simple(scope, Type::Int4), self.simple(scope, Type::Int4));
        match self.below(5) {
            0 => (sql!["sum(", a, ") + count(*)"], Type::Int8),
            1 => (sql!["max(", a, ") - min(", b, ")"], Type::Int4),
            2 => (sql!["COALESCE(sum(", a, "), 0)"], Type::Int8),
            3 => (sql!["round(avg(", a, "), 2)"], Type::Numeric),
            _ => (sql!["CASE WHEN count(*) > 3 THEN max(", a, ") ELSE min(", b, ") END"], Type::Int4),
        }
    }
}
