//! What is known of the values of a column or an expression, and the names that PostgreSQL gives to a query's columns.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};

use super::super::tree::{self, strings};
use super::{Col, LevelId, Scopes};

pub(crate) const BOOL: u32 = 16;
pub(crate) const INT8: u32 = 20;
pub(crate) const INT2: u32 = 21;
pub(crate) const INT4: u32 = 23;
pub(crate) const TEXT: u32 = 25;
pub(crate) const FLOAT4: u32 = 700;
pub(crate) const FLOAT8: u32 = 701;
pub(crate) const VARCHAR: u32 = 1043;
pub(crate) const NUMERIC: u32 = 1700;

/// What is known of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Info {
    /// `pg_type.oid`; `None`: not known.
    pub(crate) type_oid: Option<u32>,
    /// See [`Column`](crate::layout::Column). Both hold for a type without a collation.
    pub(crate) bytewise: bool,
    pub(crate) deterministic: bool,
    /// It sorts the same in any column of its type without a collation of its own.
    pub(crate) home: bool,
}

impl Info {
    /// Of a type that has no collation.
    pub(crate) fn plain(type_oid: u32) -> Self {
        Self { type_oid: Some(type_oid), bytewise: true, deterministic: true, home: true }
    }

    /// Columns of one family can be compared with `=` transitively, and equal values are the same key.
    pub(crate) fn family(self) -> Option<u32> {
        self.type_oid.filter(|_| self.deterministic).map(family)
    }
}

/// Whether a type has a collation, as far as the built-in ones go; of others it is assumed.
pub(crate) fn collates(type_oid: u32) -> bool {
    // `name`, `text`, `bpchar`, `varchar`, and arrays of these.
    matches!(type_oid, 19 | TEXT | 1042 | VARCHAR | 1003 | 1009 | 1014 | 1015) || type_oid >= 10_000
}

/// One oid for the types that compare as one.
pub(crate) fn family(type_oid: u32) -> u32 {
    match type_oid {
        INT2 | INT4 => INT8,
        VARCHAR => TEXT,
        other => other,
    }
}

/// A column of an item or a query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Output {
    pub(crate) name: Box<str>,
    /// The column that it is, unchanged, as far as rows that matter are concerned.
    pub(crate) same: Option<Col>,
    pub(crate) info: Info,
}

impl<'a> Scopes<'a> {
    /// The columns of a target list; `None` if a star cannot be resolved. The list has been looked at.
    pub(super) fn outputs(&self, targets: &'a [Node], level: LevelId) -> Option<Vec<Output>> {
        let mut outputs = Vec::with_capacity(targets.len());
        for target in targets {
            let Some(NodeEnum::ResTarget(target)) = &target.node else { return None };
            let value = target.val.as_deref()?;
            if let Some(star) = star(value) {
                self.star_outputs(&star, level, &mut outputs)?;
                continue;
            }
            let name = if target.name.is_empty() { name_of(value) } else { target.name.as_str() };
            outputs.push(Output { name: name.into(), same: self.column(value), info: self.info_of(value) });
        }
        Some(outputs)
    }

    fn star_outputs(&self, star: &[&str], level: LevelId, outputs: &mut Vec<Output>) -> Option<()> {
        let at = &self.levels[level];
        if star.is_empty() && (!at.merged.is_empty() || at.names.iter().any(|(_, hidden)| !hidden.is_empty()))
        {
            return None;
        }
        let alias = star.last();
        let mut items = at.names.iter().map(|(item, _)| *item);
        let chosen: Vec<_> = match alias {
            None => items.collect(),
            Some(alias) => items.find(|item| &&*self.items[*item].alias == alias).into_iter().collect(),
        };
        if chosen.is_empty() {
            return None;
        }
        for item in chosen {
            let columns = self.items[item].columns.as_ref()?;
            let own = |(index, output): (usize, &Output)| Output {
                same: Some(output.same.unwrap_or(Col { item, index })),
                ..output.clone()
            };
            outputs.extend(columns.iter().enumerate().map(own));
        }
        Some(())
    }

    /// What is known of an expression's values. It has been looked at.
    pub(crate) fn info_of(&self, node: &Node) -> Info {
        use pb::a_const::Val;
        match &node.node {
            Some(NodeEnum::ColumnRef(_)) => {
                self.column(node).map_or_else(Info::default, |col| self.info(col))
            }
            Some(NodeEnum::AConst(constant)) => match &constant.val {
                Some(Val::Ival(_)) => Info::plain(INT4),
                Some(Val::Fval(value)) => Info::plain(number_type(&value.fval)),
                Some(Val::Boolval(_)) => Info::plain(BOOL),
                Some(Val::Sval(_)) => self.text(),
                _ => Info::default(),
            },
            Some(NodeEnum::TypeCast(cast)) => self.cast(cast),
            Some(NodeEnum::AExpr(e)) => self.operator(e),
            Some(NodeEnum::BoolExpr(_) | NodeEnum::NullTest(_) | NodeEnum::BooleanTest(_)) => {
                Info::plain(BOOL)
            }
            Some(NodeEnum::SubLink(n)) if !matches!(n.sub_link_type(), pb::SubLinkType::ExprSublink) => {
                let array = n.sub_link_type() == pb::SubLinkType::ArraySublink;
                if array { Info::default() } else { Info::plain(BOOL) }
            }
            Some(NodeEnum::CoalesceExpr(n)) => self.common(n.args.iter()),
            Some(NodeEnum::MinMaxExpr(n)) => self.common(n.args.iter()),
            Some(NodeEnum::CaseExpr(n)) => {
                let results = n.args.iter().filter_map(|when| match &when.node {
                    Some(NodeEnum::CaseWhen(when)) => when.result.as_deref(),
                    _ => None,
                });
                self.common(results.chain(n.defresult.as_deref()))
            }
            Some(NodeEnum::FuncCall(call)) => self.call(call),
            _ => Info::default(),
        }
    }

    /// Text under the database's own collation.
    fn text(&self) -> Info {
        Info {
            type_oid: Some(TEXT),
            bytewise: self.schema.default_bytewise(),
            deterministic: true,
            home: true,
        }
    }

    fn cast(&self, cast: &pb::TypeCast) -> Info {
        let Some(name) = &cast.type_name else { return Info::default() };
        match type_oid(name) {
            Some(oid) if matches!(family(oid), TEXT) => {
                let arg = cast.arg.as_deref().map_or_else(Info::default, |arg| self.info_of(arg));
                let text = arg.type_oid.is_some_and(|oid| family(oid) == TEXT);
                // A collation is the argument's, where that has one.
                let base = if text { arg } else { self.text() };
                let known = arg.type_oid.is_some() || cast.arg.as_deref().is_some_and(is_value);
                if known { Info { type_oid: Some(oid), ..base } } else { Info::default() }
            }
            Some(oid) => Info::plain(oid),
            None => Info::default(),
        }
    }

    fn operator(&self, e: &pb::AExpr) -> Info {
        use pb::AExprKind as Kind;
        match e.kind() {
            Kind::AexprOp => {}
            Kind::AexprNullif => {
                return e.lexpr.as_deref().map_or_else(Info::default, |arg| self.info_of(arg));
            }
            _ => return Info::plain(BOOL),
        }
        let names: Vec<&str> = strings(&e.name).collect();
        let [name] = names.as_slice() else { return Info::default() };
        let args: Vec<Info> =
            [&e.lexpr, &e.rexpr].into_iter().flatten().map(|arg| self.info_of(arg)).collect();
        match *name {
            "=" | "<>" | "!=" | "<" | ">" | "<=" | ">=" | "~~" | "!~~" | "~" | "~*" => Info::plain(BOOL),
            "+" | "-" | "*" | "/" | "%" => arithmetic(&args),
            _ => Info::default(),
        }
    }

    fn common<'n>(&self, nodes: impl Iterator<Item = &'n Node>) -> Info {
        let is_null =
            |node: &&Node| matches!(&node.node, Some(NodeEnum::AConst(constant)) if constant.isnull);
        let infos: Vec<Info> = nodes.filter(|node| !is_null(node)).map(|node| self.info_of(node)).collect();
        match infos.as_slice() {
            [first, rest @ ..] if rest.iter().all(|info| info == first) => *first,
            [] => Info::default(),
            all => arithmetic(all),
        }
    }

    fn call(&self, call: &pb::FuncCall) -> Info {
        let name = tree::function_name(call);
        if name.schema.as_deref().is_some_and(|schema| schema != "pg_catalog") {
            return Info::default();
        }
        let arg = || call.args.first().map_or_else(Info::default, |arg| self.info_of(arg));
        match &*name.name {
            "count" | "row_number" | "rank" | "dense_rank" => Info::plain(INT8),
            "length" | "char_length" => Info::plain(INT4),
            "now" => Info::plain(1184),
            "min" | "max" | "abs" | "lower" | "upper" => arg(),
            "bool_and" | "bool_or" | "every" => Info::plain(BOOL),
            "sum" => arg().type_oid.and_then(sum_type).map_or_else(Info::default, Info::plain),
            "avg" => match arg().type_oid {
                Some(INT2 | INT4 | INT8 | NUMERIC) => Info::plain(NUMERIC),
                Some(FLOAT4 | FLOAT8) => Info::plain(FLOAT8),
                _ => Info::default(),
            },
            _ => Info::default(),
        }
    }
}

/// The type of `sum` over a type, as `pg_aggregate` has it.
pub(crate) fn sum_type(argument: u32) -> Option<u32> {
    match argument {
        INT2 | INT4 => Some(INT8),
        INT8 | NUMERIC => Some(NUMERIC),
        FLOAT4 => Some(FLOAT4),
        FLOAT8 => Some(FLOAT8),
        _ => None,
    }
}

/// The type of arithmetic over numbers.
fn arithmetic(args: &[Info]) -> Info {
    let rank = |info: &Info| {
        [INT2, INT4, INT8, NUMERIC, FLOAT4, FLOAT8].iter().position(|oid| Some(*oid) == info.type_oid)
    };
    let ranks: Option<Vec<usize>> = args.iter().map(rank).collect();
    let Some(top) = ranks.and_then(|ranks| {
        let float = ranks.contains(&4) && ranks.iter().any(|rank| *rank != 4);
        ranks.into_iter().max().map(|top| if float { 5 } else { top })
    }) else {
        return Info::default();
    };
    Info::plain([INT2, INT4, INT8, NUMERIC, FLOAT4, FLOAT8][top])
}

fn number_type(digits: &str) -> u32 {
    if digits.parse::<i64>().is_ok() { INT8 } else { NUMERIC }
}

/// Whether a node is a constant or a parameter.
pub(crate) fn is_value(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)))
}

/// A built-in type by its name, without modifiers (`pg_type.dat`).
pub(crate) fn type_oid(name: &pb::TypeName) -> Option<u32> {
    let names: Vec<&str> = strings(&name.names).collect();
    let name_only = match names.as_slice() {
        ["pg_catalog", name] | [name] => *name,
        _ => return None,
    };
    if !name.array_bounds.is_empty() || name.setof || name.pct_type || !name.typmods.is_empty() {
        return None;
    }
    Some(match name_only {
        "bool" => BOOL,
        "bytea" => 17,
        "int8" => INT8,
        "int2" => INT2,
        "int4" => INT4,
        "text" => TEXT,
        "varchar" => VARCHAR,
        "float4" => FLOAT4,
        "float8" => FLOAT8,
        "date" => 1082,
        "timestamp" => 1114,
        "timestamptz" => 1184,
        "numeric" => NUMERIC,
        "uuid" => 2950,
        _ => return None,
    })
}

/// The qualifier of `*` or `a.*`; `None`: it is no star.
pub(crate) fn star(node: &Node) -> Option<Vec<&str>> {
    match &node.node {
        Some(NodeEnum::ColumnRef(column))
            if matches!(column.fields.last(), Some(Node { node: Some(NodeEnum::AStar(_)) })) =>
        {
            Some(strings(&column.fields).collect())
        }
        _ => None,
    }
}

/// The name that PostgreSQL gives to an expression's column (`FigureColname`).
pub(crate) fn name_of(node: &Node) -> &str {
    let (_, name) = figure(node);
    name.unwrap_or("?column?")
}

fn figure(node: &Node) -> (u8, Option<&str>) {
    use pb::SqlValueFunctionOp as Op;
    match &node.node {
        Some(NodeEnum::ColumnRef(n)) => named(strings(&n.fields).last()),
        Some(NodeEnum::AIndirection(n)) => match strings(&n.indirection).last() {
            Some(name) => (2, Some(name)),
            None => n.arg.as_deref().map_or((0, None), figure),
        },
        Some(NodeEnum::FuncCall(n)) => named(strings(&n.funcname).last()),
        Some(NodeEnum::AExpr(n)) if n.kind() == pb::AExprKind::AexprNullif => (2, Some("nullif")),
        Some(NodeEnum::TypeCast(n)) => match n.arg.as_deref().map_or((0, None), figure) {
            (strength @ 2.., name) => (strength, name),
            _ => (1, n.type_name.as_ref().and_then(|name| strings(&name.names).last())),
        },
        Some(NodeEnum::CollateClause(n)) => n.arg.as_deref().map_or((0, None), figure),
        Some(NodeEnum::GroupingFunc(_)) => (2, Some("grouping")),
        Some(NodeEnum::SubLink(n)) => match n.sub_link_type() {
            pb::SubLinkType::ExistsSublink => (2, Some("exists")),
            pb::SubLinkType::ArraySublink => (2, Some("array")),
            pb::SubLinkType::ExprSublink => named(n.subselect.as_deref().and_then(first_name)),
            _ => (0, None),
        },
        Some(NodeEnum::CaseExpr(n)) => match n.defresult.as_deref().map_or((0, None), figure) {
            (strength @ 2.., name) => (strength, name),
            _ => (1, Some("case")),
        },
        Some(NodeEnum::AArrayExpr(_)) => (2, Some("array")),
        Some(NodeEnum::RowExpr(_)) => (2, Some("row")),
        Some(NodeEnum::CoalesceExpr(_)) => (2, Some("coalesce")),
        Some(NodeEnum::MinMaxExpr(n)) => {
            let greatest = n.op() == pb::MinMaxOp::IsGreatest;
            (2, Some(if greatest { "greatest" } else { "least" }))
        }
        Some(NodeEnum::SqlvalueFunction(n)) => match n.op() {
            Op::SvfopCurrentDate => (2, Some("current_date")),
            Op::SvfopCurrentTime | Op::SvfopCurrentTimeN => (2, Some("current_time")),
            Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN => (2, Some("current_timestamp")),
            Op::SvfopLocaltime | Op::SvfopLocaltimeN => (2, Some("localtime")),
            Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN => (2, Some("localtimestamp")),
            Op::SvfopCurrentRole => (2, Some("current_role")),
            Op::SvfopCurrentUser => (2, Some("current_user")),
            Op::SvfopUser => (2, Some("user")),
            Op::SvfopSessionUser => (2, Some("session_user")),
            Op::SvfopCurrentCatalog => (2, Some("current_catalog")),
            Op::SvfopCurrentSchema => (2, Some("current_schema")),
            Op::SqlvalueFunctionOpUndefined => (0, None),
        },
        _ => (0, None),
    }
}

fn named(name: Option<&str>) -> (u8, Option<&str>) {
    (if name.is_some() { 2 } else { 0 }, name)
}

/// The name of a query's first column.
fn first_name(node: &Node) -> Option<&str> {
    let mut query = tree::query(node)?;
    while let Some(left) = query.larg.as_deref() {
        query = left;
    }
    match &query.target_list.first()?.node {
        Some(NodeEnum::ResTarget(target)) if !target.name.is_empty() => Some(&target.name),
        Some(NodeEnum::ResTarget(target)) => figure(target.val.as_deref()?).1,
        _ => None,
    }
}
