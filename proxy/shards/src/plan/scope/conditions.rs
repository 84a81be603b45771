//! From a condition to the facts that hold where it is true.

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};
use pointsman_sql::{ROWS_MAX, ValueRef};

use super::super::tree::{self, is_operator};
use super::outputs::{family, type_oid};
use super::{Col, Fact, Known, LevelId, Place, Regions, Scopes};
use crate::pick::Bound;

impl<'a> Scopes<'a> {
    /// Notes what a condition says where it is true.
    pub(super) fn condition(&mut self, node: &'a Node, level: LevelId, regions: &Regions) {
        match &node.node {
            Some(NodeEnum::BoolExpr(n)) if n.boolop() == pb::BoolExprType::AndExpr => {
                for part in &n.args {
                    self.condition(part, level, regions);
                }
            }
            Some(NodeEnum::SubLink(n)) => self.member(n, node, level, regions),
            _ => {
                self.expression(node, level);
                let known = self.known(node);
                self.hold(known, level, regions);
            }
        }
    }

    fn hold(&mut self, known: Vec<Known>, level: LevelId, regions: &Regions) {
        let space = self.levels[level].space;
        self.facts.extend(known.into_iter().map(|known| Fact { space, regions: regions.clone(), known }));
    }

    /// Two columns are equal, if equality of their types says what it seems to.
    pub(super) fn equate(&mut self, (a, b): (Col, Col), level: LevelId, regions: &Regions) {
        let known = self.equal(a, b);
        self.hold(known.into_iter().collect(), level, regions);
    }

    pub(super) fn equal(&self, a: Col, b: Col) -> Option<Known> {
        let family = self.info(a).family()?;
        (self.info(b).family()? == family).then_some(Known::Equal(a, b))
    }

    /// `EXISTS (SELECT ...)` and `x IN (SELECT ...)`: a row stays only if there is a row below, so both are looked at together.
    fn member(&mut self, n: &'a pb::SubLink, whole: &'a Node, level: LevelId, regions: &Regions) {
        let query = n.subselect.as_deref().and_then(tree::query);
        let place =
            Place { names: Some((level, true)), space: self.levels[level].space, regions: regions.clone() };
        let by_equality = n.oper_name.is_empty() || is_operator(&n.oper_name, "=");
        match (n.sub_link_type(), query) {
            (pb::SubLinkType::ExistsSublink, Some(query)) if self.keeps_rows(query) => {
                self.query(query, &place);
            }
            (pb::SubLinkType::AnySublink, Some(query)) if by_equality => {
                let Some(test) = n.testexpr.as_deref() else { return self.expression(whole, level) };
                self.expression(test, level);
                let tests = match &test.node {
                    Some(NodeEnum::RowExpr(row)) => row.args.iter().map(|arg| self.column(arg)).collect(),
                    _ => vec![self.column(test)],
                };
                let inner = self.derived(query, &place);
                self.same_as_tests(&tests, inner, level, regions);
            }
            _ => self.expression(whole, level),
        }
    }

    /// What the parts of a condition say.
    fn known(&self, node: &Node) -> Vec<Known> {
        match &node.node {
            Some(NodeEnum::AExpr(e)) => self.comparison(e),
            Some(NodeEnum::BoolExpr(n)) => match n.boolop() {
                pb::BoolExprType::AndExpr => n.args.iter().flat_map(|part| self.known(part)).collect(),
                pb::BoolExprType::OrExpr => self.either(&n.args),
                _ => Vec::new(),
            },
            // A column of type boolean says that it is true.
            _ => Vec::new(),
        }
    }

    /// Of alternatives: for columns that each limits to values, all of these values.
    fn either(&self, arms: &[Node]) -> Vec<Known> {
        let mut arms = arms.iter().map(|arm| self.known(arm));
        let Some(mut all) = arms.next() else { return Vec::new() };
        for arm in arms {
            all.retain_mut(|known| {
                let Known::In(cols, rows) = known else { return false };
                arm.iter().any(|other| match other {
                    Known::In(others, more) if others == cols && rows.len() + more.len() <= ROWS_MAX => {
                        rows.extend(more.iter().cloned());
                        true
                    }
                    _ => false,
                })
            });
        }
        all
    }

    fn comparison(&self, e: &pb::AExpr) -> Vec<Known> {
        use pb::AExprKind as Kind;
        let (Some(left), Some(right)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) else { return Vec::new() };
        match e.kind() {
            Kind::AexprOp if is_operator(&e.name, "=") => self.equals(left, right),
            Kind::AexprOp => self.beyond(&e.name, left, right).into_iter().collect(),
            Kind::AexprIn if is_operator(&e.name, "=") => self.listed(left, right).into_iter().collect(),
            Kind::AexprOpAny if is_operator(&e.name, "=") => self.any(left, right).into_iter().collect(),
            Kind::AexprBetween => self.between(left, right),
            _ => Vec::new(),
        }
    }

    fn equals(&self, left: &Node, right: &Node) -> Vec<Known> {
        if let (Some(NodeEnum::RowExpr(left)), Some(NodeEnum::RowExpr(right))) = (&left.node, &right.node) {
            if left.args.len() != right.args.len() {
                return Vec::new();
            }
            return left
                .args
                .iter()
                .zip(&right.args)
                .flat_map(|(left, right)| self.equals(left, right))
                .collect();
        }
        match (self.column(left), self.column(right)) {
            (Some(a), Some(b)) => self.equal(a, b).into_iter().collect(),
            (Some(col), None) => self.is(col, right).into_iter().collect(),
            (None, Some(col)) => self.is(col, left).into_iter().collect(),
            (None, None) => Vec::new(),
        }
    }

    fn is(&self, col: Col, value: &Node) -> Option<Known> {
        let value = self.value_for(col, value)?;
        Some(Known::In(vec![col], vec![[value].into()]))
    }

    /// A plain value that a column is compared with, through a cast to a type of the column's own family.
    pub(super) fn value_for(&self, col: Col, node: &Node) -> Option<ValueRef> {
        let own = self.info(col).family()?;
        let inner = match &node.node {
            Some(NodeEnum::TypeCast(cast)) => {
                let name = cast.type_name.as_ref()?;
                let inner = cast.arg.as_deref()?;
                let is_number = matches!(&inner.node, Some(NodeEnum::AConst(pb::AConst { val: Some(val), .. }))
                    if matches!(val, pb::a_const::Val::Fval(_)));
                if is_number || family(type_oid(name)?) != own {
                    return None;
                }
                inner
            }
            _ => node,
        };
        Some(self.source.value(inner)).filter(|value| !matches!(value, ValueRef::Other | ValueRef::Default))
    }

    fn listed(&self, left: &Node, right: &Node) -> Option<Known> {
        let Some(NodeEnum::List(list)) = &right.node else { return None };
        if list.items.len() > ROWS_MAX {
            return None;
        }
        let left: Vec<&Node> = match &left.node {
            Some(NodeEnum::RowExpr(row)) => row.args.iter().collect(),
            _ => vec![left],
        };
        let cols: Vec<Col> = left.iter().map(|node| self.column(node)).collect::<Option<_>>()?;
        let row = |node: &Node| -> Option<Box<[ValueRef]>> {
            let values: Vec<&Node> = match &node.node {
                Some(NodeEnum::RowExpr(row)) => row.args.iter().collect(),
                _ => vec![node],
            };
            let fits = values.len() == cols.len();
            fits.then(|| cols.iter().zip(values).map(|(col, value)| self.value_for(*col, value)).collect())?
        };
        let rows = list.items.iter().map(row).collect::<Option<_>>()?;
        Some(Known::In(cols, rows))
    }

    fn any(&self, left: &Node, right: &Node) -> Option<Known> {
        let col = self.column(left)?;
        let mut inner = right;
        if let Some(NodeEnum::TypeCast(cast)) = &right.node {
            let mut name = cast.type_name.clone()?;
            name.array_bounds.clear();
            if family(type_oid(&name)?) != self.info(col).family()? {
                return None;
            }
            inner = cast.arg.as_deref()?;
        }
        if let Some(NodeEnum::AArrayExpr(array)) = &inner.node {
            if array.elements.len() > ROWS_MAX {
                return None;
            }
            let row = |node: &Node| Some([self.value_for(col, node)?].into());
            return Some(Known::In(vec![col], array.elements.iter().map(row).collect::<Option<_>>()?));
        }
        self.info(col).family()?;
        let value = self.source.value(inner);
        matches!(value, ValueRef::Param(_) | ValueRef::Literal(_)).then_some(Known::Any(col, value))
    }

    fn beyond(&self, operator: &[Node], left: &Node, right: &Node) -> Option<Known> {
        let (col, value, turned) = match (self.column(left), self.column(right)) {
            (Some(col), None) => (col, self.value_for(col, right)?, false),
            (None, Some(col)) => (col, self.value_for(col, left)?, true),
            _ => return None,
        };
        let (low, included) = match tree::strings(operator).last()? {
            ">" => (true, false),
            ">=" => (true, true),
            "<" => (false, false),
            "<=" => (false, true),
            _ => return None,
        };
        let bound = Bound { value, included };
        // Order by another collation is not the order of keys.
        let bytewise = self.info(col).bytewise && tree::strings(operator).count() == 1;
        bytewise.then_some(if low == turned { Known::High(col, bound) } else { Known::Low(col, bound) })
    }

    fn between(&self, left: &Node, right: &Node) -> Vec<Known> {
        let (Some(col), Some(NodeEnum::List(list))) = (self.column(left), &right.node) else {
            return Vec::new();
        };
        let [low, high] = list.items.as_slice() else { return Vec::new() };
        if !self.info(col).bytewise {
            return Vec::new();
        }
        let bound = |node| Some(Bound { value: self.value_for(col, node)?, included: true });
        let low = bound(low).map(|bound| Known::Low(col, bound));
        low.into_iter().chain(bound(high).map(|bound| Known::High(col, bound))).collect()
    }
}
