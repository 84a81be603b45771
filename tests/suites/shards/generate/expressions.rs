//! Expressions of a type. Equal values of one expression also look the same, so that `DISTINCT` has one right answer.
use super::super::sql::{Sql, sql};
use super::super::values::Type;
use super::{Generator, Relation};

/// Types that expressions have.
pub(super) const TYPES: [Type; 10] = [
    Type::Int4,
    Type::Int8,
    Type::Numeric,
    Type::Text,
    Type::Bool,
    Type::Timestamptz,
    Type::Date,
    Type::Uuid,
    Type::Float8,
    Type::Int4Array,
];

impl Generator {
    /// A column of any type, with its type.
    pub(super) fn any_column(&mut self, scope: &[Relation]) -> (Sql, Type) {
        let relation = self.pick(scope);
        let at = self.below(relation.columns.len());
        (relation.column(at), relation.columns[at].1)
    }

    /// A column of a type, if there is one.
    pub(super) fn column(&mut self, scope: &[Relation], ty: Type) -> Option<Sql> {
        let all: Vec<Sql> = scope.iter().flat_map(|relation| relation.of(ty)).collect();
        if all.is_empty() { None } else { Some(self.pick(&all)) }
    }

    /// A column of the type, or else a value.
    pub(super) fn simple(&mut self, scope: &[Relation], ty: Type) -> Sql {
        match self.column(scope, ty) {
            Some(column) if self.chance(0.85) => column,
            _ => Sql::from(self.value(ty)),
        }
    }

    /// An expression of any type that can be compared and sorted.
    pub(super) fn any(&mut self, scope: &[Relation]) -> (Sql, Type) {
        if self.chance(0.6) {
            return self.any_column(scope);
        }
        let ty = self.pick(&TYPES);
        (self.expression(scope, ty), ty)
    }

    /// An expression of a type.
    pub(super) fn expression(&mut self, scope: &[Relation], ty: Type) -> Sql {
        let choice = self.below(10);
        let a = self.simple(scope, ty);
        let b = self.simple(scope, ty);
        match choice {
            0..5 => a,
            5 => {
                let condition = self.condition(scope);
                sql!["(CASE WHEN ", condition, " THEN ", a, " ELSE ", b, " END)"]
            }
            6 => sql!["COALESCE(", a, ", ", self.value(ty), ")"],
            7 if ty != Type::Int4Array => {
                let function = self.pick(&["greatest", "least", "nullif"]);
                sql![function, "(", a, ", ", b, ")"]
            }
            _ => self.computed(scope, ty, a),
        }
    }

    fn computed(&mut self, scope: &[Relation], ty: Type, a: Sql) -> Sql {
        let second = self.chance(0.5);
        match ty {
            Type::Int4 if second => sql!["length(", self.simple(scope, Type::Text), ")"],
            Type::Int4 => sql!["(", a, " % 3 + 1)"],
            Type::Int8 if second => sql!["(", a, " % ", "5)"],
            Type::Int8 => sql!["(", a, " + 1)"],
            Type::Numeric => sql!["(", a, " + ", self.simple(scope, Type::Numeric), ")"],
            Type::Text if second => sql!["upper(", a, ")"],
            Type::Text => sql!["(", a, " || ", self.simple(scope, Type::Text), ")"],
            Type::Timestamptz if second => sql!["date_trunc('day', ", a, ")"],
            Type::Timestamptz => sql!["(", a, " + interval '1 hour')"],
            Type::Date => sql!["(", a, " + 1)"],
            Type::Float8 => sql!["(", a, " + 0.5)"],
            Type::Int4Array => sql!["(", a, " || 1)"],
            Type::Bool => self.condition(scope),
            _ => a,
        }
    }
}
