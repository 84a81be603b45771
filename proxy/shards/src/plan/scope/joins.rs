//! Joins: the facts of their conditions, the columns that they merge, and the names that they hide.

use pg_query::protobuf as pb;
use pg_query::protobuf::Node;

use super::super::tree::strings;
use super::from::rename;
use super::{Col, ItemId, ItemKind, LevelId, Output, Place, Regions, Scopes};

impl<'a> Scopes<'a> {
    pub(super) fn join(&mut self, join: &'a pb::JoinExpr, level: LevelId, place: &Place) {
        let (Some(left), Some(right)) = (join.larg.as_deref(), join.rarg.as_deref()) else {
            self.doubt = true;
            return;
        };
        let kind = join.jointype();
        let names = self.levels[level].names.len();
        let region = |scopes: &mut Self, nullable: bool, node: &'a Node| {
            let number = scopes.regions.len();
            scopes.regions.push(0..0);
            let regions = if nullable { vec![number] } else { place.regions.clone() };
            let from = scopes.items.len();
            scopes.item(node, level, &Place { regions, ..place.clone() });
            scopes.regions[number] = from..scopes.items.len();
            number
        };
        let left_null = matches!(kind, pb::JoinType::JoinRight | pb::JoinType::JoinFull);
        let right_null = matches!(kind, pb::JoinType::JoinLeft | pb::JoinType::JoinFull);
        let left = region(self, left_null, left);
        let middle = self.levels[level].names.len();
        let right = region(self, right_null, right);
        let regions = match (left_null, right_null) {
            (false, false) => place.regions.clone(),
            (true, false) => vec![left],
            (false, true) => vec![right],
            (true, true) => vec![left, right],
        };
        self.using(join, level, (names, middle), &regions);
        if let Some(quals) = &join.quals {
            self.condition(quals, level, &regions);
        }
        if let Some(alias) = &join.alias {
            self.join_alias(alias, level, names);
        }
        if join.join_using_alias.is_some() {
            self.levels[level].unsure = true;
        }
    }

    /// Columns merged by `USING` or `NATURAL`.
    fn using(
        &mut self,
        join: &'a pb::JoinExpr,
        level: LevelId,
        (from, middle): (usize, usize),
        regions: &Regions,
    ) {
        let names: Vec<Box<str>> = if join.is_natural {
            match self.common_names(level, from, middle) {
                Some(names) => names,
                None => {
                    self.levels[level].unsure = true;
                    self.doubt |= join.is_natural;
                    return;
                }
            }
        } else {
            strings(&join.using_clause).map(Into::into).collect()
        };
        for name in names {
            let end = self.levels[level].names.len();
            let left = self.in_sight(level, from..middle, &name);
            let right = self.in_sight(level, middle..end, &name);
            if let (Some((_, left)), Some((_, right))) = (left, right) {
                self.equate((left, right), level, regions);
            }
            let hide = match join.jointype() {
                pb::JoinType::JoinRight => vec![left],
                pb::JoinType::JoinFull => {
                    self.levels[level].merged.push(name.clone());
                    vec![left, right]
                }
                _ => vec![right],
            };
            for (at, _) in hide.into_iter().flatten() {
                self.levels[level].names[at].1.push(name.clone());
            }
        }
    }

    fn in_sight(&self, level: LevelId, range: std::ops::Range<usize>, name: &str) -> Option<(usize, Col)> {
        let names = &self.levels[level].names;
        range
            .filter(|at| !names[*at].1.iter().any(|hidden| &**hidden == name))
            .find_map(|at| Some((at, self.of_item(names[at].0, name)?)))
    }

    fn common_names(&self, level: LevelId, from: usize, middle: usize) -> Option<Vec<Box<str>>> {
        let of = |range: &[(ItemId, Vec<Box<str>>)]| -> Option<Vec<Box<str>>> {
            let mut all = Vec::new();
            for (item, _) in range {
                all.extend(self.items[*item].columns.as_ref()?.iter().map(|output| output.name.clone()));
            }
            Some(all)
        };
        let names = &self.levels[level].names;
        let right = of(&names[middle..])?;
        let mut common: Vec<Box<str>> = of(&names[from..middle])?;
        common.retain(|name| right.contains(name));
        common.dedup();
        Some(common)
    }

    /// `(a JOIN b) AS j` hides what it joins.
    fn join_alias(&mut self, alias: &'a pb::Alias, level: LevelId, from: usize) {
        let hidden = self.levels[level].names.split_off(from);
        let plain =
            hidden.iter().all(|(_, merged)| merged.is_empty()) && self.levels[level].merged.is_empty();
        let mut columns = plain.then(Vec::new);
        for (item, _) in &hidden {
            match (&mut columns, &self.items[*item].columns) {
                (Some(all), Some(own)) => all.extend(own.iter().enumerate().map(|(index, output)| Output {
                    same: Some(output.same.unwrap_or(Col { item: *item, index })),
                    ..output.clone()
                })),
                _ => columns = None,
            }
        }
        rename(&mut columns, &alias.colnames);
        self.add(&alias.aliasname, level, ItemKind::Other, columns);
    }
}
