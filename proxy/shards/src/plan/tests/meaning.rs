//! Plans performed by PostgreSQL: what shards give together is what one server with all rows gives.

mod data;
mod server;

use std::cmp::Ordering;
use std::fmt::Write as _;

use pointsman_sql::{Literal, ValueRef};

use super::{Fake, literals};
use crate::pick::{KeyUse, KeyValues, Pick};
use crate::plan::{Gather, Lookup, Many, Merge, Ordered, Slice, plan};
use server::Server;

pub(super) const SHARDS: usize = 4;

type Row = Vec<Option<String>>;

/// The shard of a key: the sum of its digits' and letters' values, or of a number itself, modulo their count.
pub(super) fn shard_of(key: &[&str]) -> usize {
    let value = |part: &&str| part.parse::<i64>().unwrap_or_else(|_| part.bytes().map(i64::from).sum());
    usize::try_from(key.iter().map(value).sum::<i64>().rem_euclid(4)).unwrap()
}

struct Run<'t> {
    server: &'t Server,
    text: &'t str,
    literals: &'t [Literal],
}

impl Run<'_> {
    fn value(&self, value: ValueRef) -> String {
        super::shown(self.text, self.literals, value).trim_matches('\'').to_owned()
    }

    fn shards(&self, pick: &Pick) -> Vec<usize> {
        let of = |key: &KeyUse| -> Option<Vec<usize>> {
            let KeyValues::Tuples(rows) = &key.values else { return None };
            let shard = |row: &[ValueRef]| {
                let row: Vec<String> = row.iter().map(|value| self.value(*value)).collect();
                shard_of(&row.iter().map(String::as_str).collect::<Vec<_>>())
            };
            Some(rows.iter().filter(|row| !row.contains(&ValueRef::Null)).map(|row| shard(row)).collect())
        };
        match pick {
            Pick::Any | Pick::First => vec![0],
            Pick::All => (0..SHARDS).collect(),
            Pick::Keys(keys) => match keys.iter().map(of).collect::<Option<Vec<_>>>() {
                None => (0..SHARDS).collect(),
                Some(found) => {
                    let mut found: Vec<usize> = found.into_iter().flatten().collect();
                    found.sort_unstable();
                    found.dedup();
                    if found.is_empty() {
                        found.push(0);
                    }
                    found
                }
            },
        }
    }

    fn gather(&self, gather: &Gather) -> Result<Vec<Row>, String> {
        for lookup in &gather.lookups {
            self.look_up(lookup)?;
        }
        let shards = self.shards(&gather.on);
        let mut parts = Vec::new();
        for shard in &shards {
            parts.push(self.server.query(&format!("shard{shard}"), &gather.sql)?);
        }
        Ok(match &gather.merge {
            Merge::One => {
                assert_eq!(shards.len(), 1, "{}", gather.sql);
                parts.concat()
            }
            Merge::Append(_) | Merge::Ordered(_) if parts.len() == 1 && gather.on == Pick::Any => {
                parts.concat()
            }
            Merge::Append(slice) => self.sliced(parts.concat(), slice, |_, _| false),
            Merge::Ordered(ordered) => self.merged(parts, gather.hidden, ordered),
        })
    }

    fn look_up(&self, lookup: &Lookup) -> Result<(), String> {
        let rows = self.gather(&lookup.gather)?;
        let name = format!("pointsman.lookup_{}", lookup.number);
        for shard in 0..SHARDS {
            let mut sql = format!(
                "DROP TABLE IF EXISTS {name};\nCREATE TABLE {name} AS {} WITH NO DATA;\n",
                lookup.gather.sql
            );
            for key in 1..=lookup.gather.hidden {
                let _ = writeln!(sql, "ALTER TABLE {name} DROP COLUMN pointsman_key_{key};");
            }
            for row in rows.iter().filter(|row| owns(lookup, row, shard)) {
                let cells: Vec<String> = row.iter().map(quoted).collect();
                let _ = writeln!(sql, "INSERT INTO {name} VALUES ({});", cells.join(", "));
            }
            self.server.query(&format!("shard{shard}"), &sql)?;
        }
        Ok(())
    }

    fn sliced(&self, rows: Vec<Row>, slice: &Slice, ties: impl Fn(&Row, &Row) -> bool) -> Vec<Row> {
        let number = |value: Option<ValueRef>| value.map(|value| self.value(value).parse::<usize>().unwrap());
        let (offset, limit) = (number(slice.offset).unwrap_or(0), number(slice.limit));
        let mut end = limit.map_or(rows.len(), |limit| (offset + limit).min(rows.len()));
        while slice.with_ties && end > 0 && end < rows.len() && ties(&rows[end - 1], &rows[end]) {
            end += 1;
        }
        rows.into_iter().take(end).skip(offset).collect()
    }

    /// A merge proper: a shard's rows are taken in their order, and must be in order.
    fn merged(&self, parts: Vec<Vec<Row>>, hidden: usize, ordered: &Ordered) -> Vec<Row> {
        let order = |a: &Row, b: &Row, keys: usize| {
            let (a, b) = (&a[a.len() - hidden..], &b[b.len() - hidden..]);
            ordered.keys[..keys]
                .iter()
                .zip(a.iter().zip(b))
                .map(|(key, (a, b))| match (a, b) {
                    (None, None) => Ordering::Equal,
                    (None, _) => {
                        if key.nulls_first {
                            Ordering::Less
                        } else {
                            Ordering::Greater
                        }
                    }
                    (_, None) => {
                        if key.nulls_first {
                            Ordering::Greater
                        } else {
                            Ordering::Less
                        }
                    }
                    (Some(a), Some(b)) => {
                        let found = compared(a, b);
                        if key.descending { found.reverse() } else { found }
                    }
                })
                .find(|found| found.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        let all = ordered.keys.len();
        for part in &parts {
            assert!(part.is_sorted_by(|a, b| order(a, b, all).is_le()), "a shard's rows are not in order");
        }
        let mut rows = parts.concat();
        rows.sort_by(|a, b| order(a, b, all));
        if let Some(unique) = ordered.unique {
            rows.dedup_by(|b, a| order(a, b, unique).is_eq());
        }
        let mut rows = self.sliced(rows, &ordered.slice, |a, b| order(a, b, all).is_eq());
        for row in &mut rows {
            row.truncate(row.len() - hidden);
        }
        rows
    }
}

fn compared(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.as_bytes().cmp(b.as_bytes()),
    }
}

fn owns(lookup: &Lookup, row: &Row, shard: usize) -> bool {
    lookup.owned.as_ref().is_none_or(|owned| {
        let key: Option<Vec<&str>> = owned.columns.iter().map(|column| row[*column].as_deref()).collect();
        key.is_some_and(|key| shard_of(&key) == shard)
    })
}

fn quoted(cell: &Option<String>) -> String {
    cell.as_ref().map_or_else(|| "NULL".to_owned(), |cell| format!("'{}'", cell.replace('\'', "''")))
}

/// What became of a query.
fn compare(server: &Server, line: &str) -> Result<bool, String> {
    let (in_order, text) = line.strip_prefix('=').map_or((false, line), |text| (true, text.trim()));
    let literals = literals(text);
    let planned = plan(text, &literals, &Fake { bytewise: true });
    let run = Run { server, text, literals: &literals };
    let mut expected = server.query("whole", text).map_err(|error| format!("{text}\n  {error}"))?;
    let shards = run.shards(&planned.pick);
    if let [shard] = shards.as_slice() {
        let mut found = server.query(&format!("shard{shard}"), text)?;
        found.sort();
        expected.sort();
        return if found == expected { Ok(true) } else { Err(format!("{text}\n  on shard {shard} only")) };
    }
    let (Many::Gather(gather) | Many::Broadcast(gather, _)) = &planned.many else { return Ok(false) };
    let shown = super::many::told(text, true);
    let mut found = run.gather(gather).map_err(|error| format!("{text}\n{shown}\n  {error}"))?;
    if !in_order {
        found.sort();
        expected.sort();
    }
    if found == expected {
        return Ok(true);
    }
    Err(format!("{text}\n{shown}\n  found    {found:?}\n  expected {expected:?}"))
}

#[test]
fn plans_mean_what_one_server_says() {
    let server = Server::start();
    data::load(&server);
    let (mut wrong, mut refused) = (Vec::new(), Vec::new());
    for line in
        include_str!("meaning/queries.sql").split(";\n").map(str::trim).filter(|line| !line.is_empty())
    {
        match compare(&server, line) {
            Ok(true) => {}
            Ok(false) => refused.push(line),
            Err(error) => wrong.push(error),
        }
    }
    for line in
        include_str!("meaning/refused.sql").split(";\n").map(str::trim).filter(|line| !line.is_empty())
    {
        match compare(&server, line) {
            Ok(false) => {}
            Ok(true) => wrong.push(format!("{line}\n  was to be refused")),
            Err(error) => wrong.push(error),
        }
    }
    let told = |line: &&str| format!("{line}\n{}", super::many::told(line.trim_start_matches('='), true));
    let refused: Vec<String> = refused.iter().map(told).collect();
    assert!(
        wrong.is_empty() && refused.is_empty(),
        "wrong:\n{}\nrefused:\n{}",
        wrong.join("\n\n"),
        refused.join("\n")
    );
}
