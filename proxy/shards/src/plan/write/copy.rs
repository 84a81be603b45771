//! `COPY`: how rows are written, and which of their columns are the key.

use std::sync::Arc;

use pg_query::protobuf::{self as pb, Node, node::Node as NodeEnum};
use pointsman_sql::Relation;

use super::{Context, insert, one, refusal, refused};
use crate::layout::{Column, Placement, Sharded};
use crate::pick::Pick;
use crate::plan::tree::{self, strings};
use crate::plan::{CopyFormat, CopyFrom, CopyTo, Gather, Many, Merge, Plan, Refusal, Slice, Why};

/// The plan of a `COPY`.
pub(super) fn plan(context: &Context<'_>, n: &pb::CopyStmt) -> Plan {
    if n.is_program || !n.filename.is_empty() {
        return refused(Why::Statement, "COPY from or to a server's file or program", "use STDIN or STDOUT");
    }
    let Some(var) = &n.relation else { return of_query(context, n) };
    let relation = tree::relation(var);
    match (context.placement(&relation), n.is_from) {
        (Placement::Unsharded, _) => one(Pick::First),
        (Placement::Reference, true) => Plan { pick: Pick::All, many: Many::CopyAll },
        (Placement::Reference, false) => one(Pick::Any),
        (Placement::Sharded(sharded), true) => match from(context, n, &relation, sharded) {
            Ok(from) => Plan { pick: Pick::All, many: Many::CopyFrom(Box::new(from)) },
            Err(refusal) => Plan { pick: Pick::All, many: Many::Refused(refusal) },
        },
        (Placement::Sharded(_), false) => match Options::read(&n.options) {
            Ok(options) => Plan { pick: Pick::All, many: Many::CopyTo(options.to()) },
            Err(refusal) => Plan { pick: Pick::All, many: Many::Refused(refusal) },
        },
    }
}

/// `COPY (query) TO STDOUT`: rows of shards may follow one another only if a query of the same text may, in any order.
fn of_query(context: &Context<'_>, n: &pb::CopyStmt) -> Plan {
    let hint = "limit it to one shard key, or copy the tables it reads";
    let part = "COPY of a query whose rows of several shards have to be merged";
    let Some(NodeEnum::SelectStmt(query)) = n.query.as_deref().and_then(|node| node.node.as_ref()) else {
        return refused(Why::Write, "COPY of a statement that writes", "run it by itself, with RETURNING");
    };
    let stmt = Node { node: Some(NodeEnum::SelectStmt(query.clone())) };
    let inner = (context.query)(&pb::RawStmt { stmt: Some(Box::new(stmt)), stmt_location: 0, stmt_len: 0 });
    let many = match (&inner.many, Options::read(&n.options)) {
        (Many::Gather(gather), Ok(options))
            if matches!(inner.pick, Pick::All | Pick::Keys(_)) && is_plain(context, gather) =>
        {
            Many::CopyTo(options.to())
        }
        _ => Many::Refused(refusal(Why::Statement, part, hint)),
    };
    Plan { pick: inner.pick, many }
}

/// Whether each shard's rows of the client's own text, one shard after another, are what a gather would give.
fn is_plain(context: &Context<'_>, gather: &Gather) -> bool {
    let appended = gather.merge == Merge::Append(Slice::default());
    let words = [
        "limit",
        "offset",
        "fetch",
        "over",
        "distinct",
        "order",
        "group",
        "having",
        "union",
        "intersect",
        "except",
    ];
    appended
        && gather.lookups.is_empty()
        && gather.hidden == 0
        && context.says(&words).is_none()
        && !super::update::aggregates(context)
}

fn from(
    context: &Context<'_>,
    n: &pb::CopyStmt,
    relation: &Relation,
    sharded: Arc<Sharded>,
) -> Result<CopyFrom, Refusal> {
    let unknown = |part: String, hint: &'static str| refusal(Why::Unknown, part, hint);
    let Some(columns) = context.schema.columns(relation) else {
        return Err(unknown(format!("the columns of {relation}"), "copy into the table itself"));
    };
    let named: Vec<&str> = if n.attlist.is_empty() {
        columns.iter().map(|column| &*column.name).collect()
    } else {
        strings(&n.attlist).collect()
    };
    let Some(key) = sharded.keys.first() else {
        return Err(unknown(format!("the shard key of {relation}"), "declare it"));
    };
    let place = |name: &str| named.iter().position(|column| *column == name);
    let mut at = Vec::with_capacity(key.len());
    let mut types = Vec::with_capacity(key.len());
    for name in key {
        let (Some(place), Some(type_oid)) = (place(name), insert::type_of(&columns, name)) else {
            let part = format!("the shard key {name}, which is left out");
            return Err(unknown(part, "name the shard key among the columns, and give it in every row"));
        };
        at.push(place);
        types.push(type_oid);
    }
    let options = Options::read(&n.options)?;
    let format = options.format(&named, &columns)?;
    Ok(CopyFrom { sharded, columns: at.into(), types: types.into(), width: named.len(), format })
}

/// The options of a `COPY`. (`src/backend/commands/copy.c`, `ProcessCopyOptions`)
#[derive(Default)]
struct Options {
    format: Option<String>,
    delimiter: Option<String>,
    null: Option<String>,
    quote: Option<String>,
    escape: Option<String>,
    header: bool,
    force_not_null: Option<Columns>,
    force_null: Option<Columns>,
}

/// Columns that an option is for.
enum Columns {
    All,
    Named(Vec<String>),
}

impl Options {
    fn read(nodes: &[Node]) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for node in nodes {
            let Some(NodeEnum::DefElem(option)) = &node.node else { return Err(not_known("an option")) };
            options.take(option)?;
        }
        Ok(options)
    }

    fn take(&mut self, option: &pb::DefElem) -> Result<(), Refusal> {
        let name = option.defname.as_str();
        let value = option.arg.as_deref().and_then(|arg| arg.node.as_ref());
        let string = || match value {
            Some(NodeEnum::String(value)) => Ok(Some(value.sval.clone())),
            _ => Err(not_known(name)),
        };
        match name {
            "format" => self.format = string()?,
            "delimiter" => self.delimiter = string()?,
            "null" => self.null = string()?,
            "quote" => self.quote = string()?,
            "escape" => self.escape = string()?,
            "header" => self.header = header(value)?,
            "force_not_null" => {
                self.force_not_null = Some(listed_columns(value).ok_or_else(|| not_known(name))?)
            }
            "force_null" => self.force_null = Some(listed_columns(value).ok_or_else(|| not_known(name))?),
            "encoding" => {
                let encoding = string()?.unwrap_or_default().to_ascii_lowercase();
                if !matches!(encoding.as_str(), "utf8" | "utf-8" | "unicode") {
                    return Err(refusal(Why::Statement, format!("ENCODING {encoding}"), "copy in UTF8"));
                }
            }
            "freeze" | "force_quote" | "on_error" | "log_verbosity" => {}
            // Each shard would count for itself, or the key might be what is to be replaced.
            _ => return Err(not_known(name)),
        }
        Ok(())
    }

    fn to(&self) -> CopyTo {
        CopyTo { header: self.header }
    }

    /// How rows are written.
    fn format(&self, named: &[&str], table: &[Column]) -> Result<CopyFormat, Refusal> {
        let null = |default: &str| self.null.as_deref().unwrap_or(default).as_bytes().into();
        match self.format.as_deref().unwrap_or("text") {
            "text" if self.header => Err(refusal(
                Why::Statement,
                "HEADER of a COPY in text format",
                "use FORMAT csv, or leave the header out",
            )),
            "text" => Ok(CopyFormat::Text {
                delimiter: byte("delimiter", self.delimiter.as_deref(), b'\t')?,
                null: null("\\N"),
            }),
            "csv" => {
                let quote = byte("quote", self.quote.as_deref(), b'"')?;
                Ok(CopyFormat::Csv {
                    delimiter: byte("delimiter", self.delimiter.as_deref(), b',')?,
                    quote,
                    escape: byte("escape", self.escape.as_deref(), quote)?,
                    null: null(""),
                    header: self.header,
                    force_not_null: places(self.force_not_null.as_ref(), named, table)?,
                    force_null: places(self.force_null.as_ref(), named, table)?,
                })
            }
            "binary" => Ok(CopyFormat::Binary),
            other => Err(not_known(other)),
        }
    }
}

fn not_known(name: &str) -> Refusal {
    refusal(Why::Statement, format!("the COPY option {name}"), "leave it out")
}

/// `HEADER`: alone, a boolean, or `MATCH`, which each shard checks for itself.
fn header(value: Option<&NodeEnum>) -> Result<bool, Refusal> {
    let word = match value {
        None => return Ok(true),
        Some(NodeEnum::Boolean(value)) => return Ok(value.boolval),
        Some(NodeEnum::Integer(value)) => value.ival.to_string(),
        Some(NodeEnum::String(value)) => value.sval.to_ascii_lowercase(),
        Some(_) => return Err(not_known("header")),
    };
    match word.as_str() {
        "true" | "on" | "1" | "match" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(not_known("header")),
    }
}

fn listed_columns(value: Option<&NodeEnum>) -> Option<Columns> {
    match value? {
        NodeEnum::AStar(_) => Some(Columns::All),
        NodeEnum::List(list) => Some(Columns::Named(strings(&list.items).map(str::to_owned).collect())),
        _ => None,
    }
}

/// An option of one byte.
fn byte(name: &str, value: Option<&str>, default: u8) -> Result<u8, Refusal> {
    match value.map(str::as_bytes) {
        None => Ok(default),
        Some([byte]) if byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0) => Ok(*byte),
        Some(_) => Err(not_known(name)),
    }
}

/// Where columns are in a row.
fn places(columns: Option<&Columns>, named: &[&str], table: &[Column]) -> Result<Box<[usize]>, Refusal> {
    match columns {
        None => Ok(Box::default()),
        Some(Columns::All) => Ok((0..named.len()).collect()),
        Some(Columns::Named(names)) => names
            .iter()
            .map(|name| {
                let place = named.iter().position(|column| column == name);
                let exists = table.iter().any(|column| *column.name == **name);
                place.filter(|_| exists).ok_or_else(|| not_known(name))
            })
            .collect(),
    }
}
