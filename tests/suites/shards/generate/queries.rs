//! Queries: plain, distinct, of several branches, with windows; at the top and inside of others.
use super::super::sql::{Body, Order, Query, Select, Sql, sql};
use super::super::values::{Type, Value};
use super::{Generator, Relation};

/// A query without its order, and what it brings.
pub(super) struct Built {
    pub(super) body: Body,
    pub(super) columns: Vec<(String, Type)>,
    /// What a plain query's order can name beyond its columns.
    pub(super) scope: Vec<Relation>,
    /// Columns, the first so many, that tell rows apart as far as they can be.
    pub(super) telling: Option<usize>,
}

impl Built {
    fn finish(self, order: Vec<Sql>, limit: Option<Sql>) -> Query {
        Query { with: Vec::new(), body: self.body, order, limit }
    }
}

impl Generator {
    /// A whole statement's query.
    pub(super) fn top(&mut self) -> (Query, Order) {
        let (mut with, mut names) = (Vec::new(), Vec::new());
        if self.chance(0.15) {
            for number in 0..=self.below(2) {
                let (query, columns) = self.nested(&names.clone());
                let name = format!("w{number}");
                let telling = columns.len();
                with.push((name.clone(), query));
                names.push(Relation { alias: name, columns, telling, table: None });
            }
        }
        let (mut query, order) = match self.weighted(&[45, 8, 6, 25, 10, 7]) {
            0 => self.plain_top(&names),
            1 => {
                let built = self.distinct(&names);
                self.by_columns(built)
            }
            2 => self.distinct_on(&names),
            3 => {
                let built = self.grouped(&names, true);
                self.by_columns(built)
            }
            4 => {
                let built = self.set(&names);
                self.by_columns(built)
            }
            _ => self.windowed(&names),
        };
        query.with = with;
        (query, order)
    }

    /// A query inside another, with its columns.
    pub(super) fn nested(&mut self, names: &[Relation]) -> (Query, Vec<(String, Type)>) {
        self.depth += 1;
        let built = match self.weighted(&[6, 2, 3, 1]) {
            0 => self.plain(names, None),
            1 => self.distinct(names),
            2 => self.grouped(names, false),
            _ => self.set(names),
        };
        let columns = built.columns.clone();
        let limited = self.chance(0.12);
        let order = if limited { ordinals(columns.len()) } else { Vec::new() };
        let limit = if limited { Some(self.limit()) } else { None };
        self.depth -= 1;
        (built.finish(order, limit), columns)
    }

    /// A query of one column, for `IN` and `EXISTS`.
    pub(super) fn one_column(&mut self, ty: Type, outer: Option<&[Relation]>) -> Query {
        self.depth += 1;
        let (from, scope) = if outer.is_some() { self.one_table() } else { self.from(&[]) };
        let mut conditions = self.conditions(&scope);
        conditions.extend(outer.and_then(|outer| self.join_condition(outer, &scope[0])));
        let target = self.simple(&scope, ty);
        self.depth -= 1;
        select(Select { targets: vec![target], from, conditions, ..Select::default() })
    }

    /// A query of one value, with its type.
    pub(super) fn one_value(&mut self, outer: Option<&[Relation]>) -> (Query, Type) {
        self.depth += 1;
        let (from, scope) = self.one_table();
        let mut conditions = self.conditions(&scope);
        conditions.extend(outer.and_then(|outer| self.join_condition(outer, &scope[0])));
        let ty = self.pick(&[Type::Int8, Type::Int4, Type::Text, Type::Numeric]);
        let (target, ty) = match self.column(&scope, ty) {
            Some(column) => (sql![self.pick(&["max(", "min("]), column, ")"], ty),
            None => (Sql::from("count(*)"), Type::Int8),
        };
        self.depth -= 1;
        (select(Select { targets: vec![target], from, conditions, ..Select::default() }), ty)
    }

    fn one_table(&mut self) -> (Vec<Sql>, Vec<Relation>) {
        let table = self.any_table();
        let relation = self.relation(table);
        (vec![Sql::from(format!("{} AS {}", table.name, relation.alias))], vec![relation])
    }

    /// `SELECT ... FROM ... WHERE`, of these types or of any.
    fn plain(&mut self, names: &[Relation], types: Option<&[Type]>) -> Built {
        let (from, scope) = self.from(names);
        let conditions = self.conditions(&scope);
        let mut targets = Vec::new();
        let mut columns = Vec::new();
        for number in 0..types.map_or_else(|| 1 + self.below(4), <[Type]>::len) {
            let (target, ty) = match types {
                Some(types) => (self.expression(&scope, types[number]), types[number]),
                None => self.any(&scope),
            };
            let name = format!("c{}", number + 1);
            // A literal alone has no type yet; within a subquery it would get one that depends on its surroundings.
            targets.push(sql![cast(target, ty), format!(" AS {name}")]);
            columns.push((name, ty));
        }
        let body = Select { targets, from, conditions, ..Select::default() };
        let telling = Some(columns.len());
        Built { body: Body::Select(Box::new(body)), columns, scope, telling }
    }

    /// A plain query with any order: by columns, by what is not among them, partly or in full.
    fn plain_top(&mut self, names: &[Relation]) -> (Query, Order) {
        let mut built = self.plain(names, None);
        if self.chance(0.12) {
            let (value, ty) = self.one_value(Some(&built.scope.clone()));
            self.add(&mut built, sql![value], ty);
            built.telling = Some(built.columns.len());
        }
        if self.chance(0.12) {
            self.star(&mut built);
        }
        match self.weighted(&[30, 45, 12, 8]) {
            0 => (built.finish(Vec::new(), None), Order::Bag),
            1 => {
                let mut order = self.keys(&built.scope);
                order.extend(self.telling(&built.scope));
                let limit = self.maybe_limit();
                (built.finish(order, limit), Order::List)
            }
            2 => self.by_columns(built),
            _ => {
                let at = self.below(built.columns.len());
                let order = vec![sql![(at + 1).to_string(), self.direction()]];
                let limit = self.chance(0.5).then(|| self.with_ties());
                (built.finish(order, limit), Order::Columns(vec![at]))
            }
        }
    }

    /// Makes the columns those of one relation, as `t.*` or `*` has them.
    fn star(&mut self, built: &mut Built) {
        let Body::Select(select) = &mut built.body else { return };
        let relation = self.pick(&built.scope);
        let alone = built.scope.len() == 1 && self.chance(0.5);
        let star = if alone { "*".to_owned() } else { format!("{}.*", relation.alias) };
        select.targets = vec![Sql::from(star)];
        built.columns = relation.columns;
        built.telling = Some(built.columns.len());
    }

    fn add(&mut self, built: &mut Built, target: Sql, ty: Type) {
        let Body::Select(select) = &mut built.body else { return };
        let name = format!("c{}", built.columns.len() + 1);
        select.targets.push(sql![target, format!(" AS {name}")]);
        built.columns.push((name, ty));
    }

    fn distinct(&mut self, names: &[Relation]) -> Built {
        let mut built = self.plain(names, None);
        if let Body::Select(select) = &mut built.body {
            select.distinct = Some(Vec::new());
        }
        built
    }

    fn distinct_on(&mut self, names: &[Relation]) -> (Query, Order) {
        let mut built = self.plain(names, None);
        let on: Vec<Sql> = (0..=self.below(2)).map(|_| self.any_column(&built.scope).0).collect();
        let mut order: Vec<Sql> = on.iter().map(|key| sql![key.clone(), self.direction()]).collect();
        order.extend(self.keys(&built.scope));
        order.extend(self.telling(&built.scope));
        if let Body::Select(select) = &mut built.body {
            select.distinct = Some(on);
        }
        let limit = self.maybe_limit();
        (built.finish(order, limit), Order::List)
    }

    /// Two or three branches.
    fn set(&mut self, names: &[Relation]) -> Built {
        self.depth += 1;
        let types: Vec<Type> = (0..=self.below(3))
            .map(|_| self.pick(&[Type::Int8, Type::Text, Type::Int4, Type::Date]))
            .collect();
        let first = self.plain(names, Some(&types));
        let columns = first.columns.clone();
        let mut body = first.body;
        for _ in 0..=self.weighted(&[4, 1]) {
            let operator = self.pick(&[
                "UNION ALL",
                "UNION ALL",
                "UNION",
                "INTERSECT",
                "EXCEPT",
                "INTERSECT ALL",
                "EXCEPT ALL",
            ]);
            let left = Query { with: Vec::new(), body, order: Vec::new(), limit: None };
            let right = self.plain(names, Some(&types)).finish(Vec::new(), None);
            body = Body::Set(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        let telling = Some(columns.len());
        Built { body, columns, scope: Vec::new(), telling }
    }

    fn windowed(&mut self, names: &[Relation]) -> (Query, Order) {
        let mut built = self.plain(names, None);
        let scope = built.scope.clone();
        for _ in 0..=self.below(2) {
            let (part, _) = self.any_column(&scope);
            let (by, _) = self.any_column(&scope);
            let total = Sql::join(self.telling(&scope), ", ");
            let int = self.simple(&scope, Type::Int4);
            let (window, ty) = match self.below(6) {
                0 => (sql!["row_number() OVER (PARTITION BY ", part, " ORDER BY ", total, ")"], Type::Int8),
                1 => (sql!["rank() OVER (PARTITION BY ", part, " ORDER BY ", by, ")"], Type::Int8),
                2 => (sql!["sum(", int, ") OVER (PARTITION BY ", part, ")"], Type::Int8),
                3 => (Sql::from("count(*) OVER ()"), Type::Int8),
                4 => (sql!["lag(", int, ") OVER (ORDER BY ", total, ")"], Type::Int4),
                _ => (sql!["max(", int, ") OVER (PARTITION BY ", part, " ORDER BY ", by, ")"], Type::Int4),
            };
            self.add(&mut built, window, ty);
        }
        let mut order = self.keys(&scope);
        order.extend(self.telling(&scope));
        let limit = self.maybe_limit();
        (built.finish(order, limit), Order::List)
    }

    /// Ordered by the columns that tell rows apart, or not at all.
    fn by_columns(&mut self, built: Built) -> (Query, Order) {
        let Some(telling) = built.telling.filter(|_| self.chance(0.6)) else {
            return (built.finish(Vec::new(), None), Order::Bag);
        };
        let mut order = Vec::new();
        if built.columns.len() > telling && self.chance(0.5) {
            let at = telling + self.below(built.columns.len() - telling);
            if sorts(built.columns[at].1) {
                order.push(sql![(at + 1).to_string(), self.direction()]);
            }
        }
        for at in 0..telling {
            let name = if self.chance(0.5) { (at + 1).to_string() } else { built.columns[at].0.clone() };
            order.push(sql![name, self.direction()]);
        }
        let limit = self.maybe_limit();
        (built.finish(order, limit), Order::List)
    }

    /// Some sort keys, which need not be among the columns.
    fn keys(&mut self, scope: &[Relation]) -> Vec<Sql> {
        let mut keys = Vec::new();
        for _ in 0..self.below(3) {
            let (column, ty) = self.any_column(scope);
            let key = match ty {
                Type::Int4 | Type::Int8 if self.chance(0.3) => sql!["(", column, " % 3)"],
                Type::Text if self.chance(0.2) => sql!["upper(", column, ")"],
                _ if self.chance(0.2) => sql!["COALESCE(", column, ", ", self.value(ty), ")"],
                _ => column,
            };
            keys.push(sql![key, self.direction()]);
        }
        keys
    }

    /// Sort keys that leave nothing open.
    fn telling(&mut self, scope: &[Relation]) -> Vec<Sql> {
        let of =
            |relation: &Relation| (0..relation.telling).map(|at| relation.column(at)).collect::<Vec<_>>();
        scope.iter().flat_map(of).collect()
    }

    fn direction(&mut self) -> &'static str {
        self.pick(&["", "", "", " DESC", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC NULLS LAST"])
    }

    fn maybe_limit(&mut self) -> Option<Sql> {
        self.chance(0.5).then(|| self.limit())
    }

    fn limit(&mut self) -> Sql {
        let (count, skip) = (self.small(12), self.small(6));
        match self.weighted(&[6, 4, 1, 1, 1]) {
            0 => sql!["LIMIT ", count],
            1 => sql!["LIMIT ", count, " OFFSET ", skip],
            2 => sql!["OFFSET (", skip, ") ROWS FETCH NEXT (", count, ") ROWS ONLY"],
            3 => sql!["OFFSET ", skip],
            _ => sql!["LIMIT ", Value::null(Type::Int8), " OFFSET ", skip],
        }
    }

    /// Without `OFFSET`: of rows that tie, which are left out is not determined.
    fn with_ties(&mut self) -> Sql {
        sql!["FETCH FIRST (", self.small(8), ") ROWS WITH TIES"]
    }
}

fn select(select: Select) -> Query {
    Query { with: Vec::new(), body: Body::Select(Box::new(select)), order: Vec::new(), limit: None }
}

fn ordinals(count: usize) -> Vec<Sql> {
    (1..=count).map(|number| Sql::from(number.to_string())).collect()
}

fn sorts(ty: Type) -> bool {
    ty != Type::Json
}

/// Values alone get their type said.
fn cast(target: Sql, ty: Type) -> Sql {
    use super::super::sql::Piece;
    match &target.0[..] {
        [Piece::Value(_)] => sql!["(", target, format!(")::{}", ty.name())],
        _ => target,
    }
}
