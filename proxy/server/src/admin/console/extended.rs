//! The extended protocol at the console: statements without parameters, in the formats that a driver asks for.

use bytes::BytesMut;
use hashbrown::HashMap;
use pointsman_wire::Oids;
use pointsman_wire::backend::{
    BIND_COMPLETE, CLOSE_COMPLETE, CommandComplete, EMPTY_QUERY_RESPONSE, NO_DATA, PARSE_COMPLETE,
    PORTAL_SUSPENDED, ParameterDescription,
};
use pointsman_wire::error::WireError;
use pointsman_wire::frontend::{Bind, Close, Describe, Execute, Parse, Target};

use super::command::{self, Command};
use super::table::{Formats, Table, describe};
use super::{Console, text};
use crate::fault::Fault;

/// A prepared statement; None for a text without a command.
type Statement = Option<Command>;

/// A statement with what a driver asked for.
#[derive(Debug)]
struct Portal {
    statement: Statement,
    formats: Formats,
    /// The answer, and how many of its rows were sent.
    under_way: Option<(Table, usize)>,
    done: bool,
}

/// The statements and portals of one client.
#[derive(Debug)]
pub(super) struct Extended {
    statements: HashMap<Vec<u8>, Statement>,
    statements_max: usize,
    portals: HashMap<Vec<u8>, Portal>,
    /// Messages are dropped until the next Sync: the client was told of an error.
    skipping: bool,
}

impl Extended {
    /// A client with no statement, who may have this many.
    pub fn new(statements_max: usize) -> Self {
        Self { statements: HashMap::new(), statements_max, portals: HashMap::new(), skipping: false }
    }

    fn parse(&mut self, body: &[u8]) -> Result<(), Fault> {
        let Parse { name, sql, .. } = Parse::decode(body)?;
        let mut commands = command::parse(text(sql)?)?;
        let statement = commands.pop();
        if !commands.is_empty() {
            return Err(Fault::client("42601", "cannot insert multiple commands into a prepared statement"));
        }
        if !name.is_empty() && self.statements.contains_key(name) {
            let name = String::from_utf8_lossy(name);
            return Err(Fault::client("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        if self.statements.len() > self.statements_max {
            let told = format!("a client may prepare at most {} statements", self.statements_max);
            return Err(Fault::pointsman("53400", told));
        }
        self.statements.insert(name.to_vec(), statement);
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<&Statement, Fault> {
        let missing = || {
            let name = String::from_utf8_lossy(name);
            Fault::client("26000", format!("prepared statement \"{name}\" does not exist"))
        };
        self.statements.get(name).ok_or_else(missing)
    }

    fn portal(&mut self, name: &[u8]) -> Result<&mut Portal, Fault> {
        let missing = || {
            let name = String::from_utf8_lossy(name);
            Fault::client("34000", format!("portal \"{name}\" does not exist"))
        };
        self.portals.get_mut(name).ok_or_else(missing)
    }

    fn bind(&mut self, body: &[u8]) -> Result<(), Fault> {
        let bind = Bind::decode(body)?;
        let statement = self.statement(bind.statement)?.clone();
        let parameters = bind.parameters()?;
        if !parameters.values.is_empty() {
            let given = parameters.values.len();
            let told = format!("bind message supplies {given} parameters, but prepared statement requires 0");
            return Err(Fault::client("08P01", told));
        }
        let (formats, columns) = (parameters.result_formats, columns(&statement).map_or(0, <[_]>::len));
        if formats.len() > 1 && formats.len() != columns {
            let told =
                format!("bind message has {} result formats but query has {columns} columns", formats.len());
            return Err(Fault::client("08P01", told));
        }
        if self.portals.len() > self.statements_max {
            let told = format!("a client may have at most {} portals", self.statements_max);
            return Err(Fault::pointsman("53400", told));
        }
        let portal = Portal { statement, formats: Formats(formats), under_way: None, done: false };
        self.portals.insert(bind.portal.to_vec(), portal);
        Ok(())
    }

    fn describe(&mut self, body: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        let Describe { target, name } = Describe::decode(body)?;
        let (columns, formats) = match target {
            Target::Statement => {
                let columns = columns(self.statement(name)?);
                ParameterDescription { types: Oids::EMPTY }.encode(out);
                (columns, Formats::default())
            }
            Target::Portal => {
                let portal = self.portal(name)?;
                (columns(&portal.statement), portal.formats.clone())
            }
        };
        match columns {
            Some(columns) => describe(columns, &formats, out),
            None => out.extend_from_slice(NO_DATA),
        }
        Ok(())
    }

    fn close(&mut self, body: &[u8]) -> Result<(), Fault> {
        let Close { target, name } = Close::decode(body)?;
        match target {
            Target::Statement => drop(self.statements.remove(name)),
            Target::Portal => drop(self.portals.remove(name)),
        }
        Ok(())
    }
}

/// The columns of a statement that returns rows.
fn columns(statement: &Statement) -> Option<&'static [&'static str]> {
    match statement {
        Some(Command::Show(show)) => Some(show.columns()),
        _ => None,
    }
}

impl Console {
    /// A message of the extended protocol.
    pub(super) async fn extended(&mut self, tag: u8, body: &[u8]) -> Result<(), Fault> {
        match tag {
            b'S' => {
                self.extended.skipping = false;
                self.extended.portals.clear();
                self.ready();
                return Ok(());
            }
            _ if self.extended.skipping => return Ok(()),
            _ => {}
        }
        let outcome = match tag {
            b'P' => self.extended.parse(body).map(|()| self.out.extend_from_slice(PARSE_COMPLETE)),
            b'B' => self.extended.bind(body).map(|()| self.out.extend_from_slice(BIND_COMPLETE)),
            b'D' => self.extended.describe(body, &mut self.out),
            b'C' => self.extended.close(body).map(|()| self.out.extend_from_slice(CLOSE_COMPLETE)),
            b'E' => self.execute(body).await,
            // Flush: all there is goes out when there is nothing more to read.
            b'H' => Ok(()),
            _ => Err(WireError::FrontendType(tag).into()),
        };
        if let Err(fault) = outcome {
            self.extended.skipping = true;
            self.tell(fault)?;
        }
        Ok(())
    }

    async fn execute(&mut self, body: &[u8]) -> Result<(), Fault> {
        let Execute { portal: name, max_rows } = Execute::decode(body)?;
        let portal = self.extended.portal(name)?;
        match portal.statement.clone() {
            None => self.out.extend_from_slice(EMPTY_QUERY_RESPONSE),
            Some(Command::Show(show)) => {
                let (table, sent) = portal.under_way.get_or_insert_with(|| (show.table(&self.proxy), 0));
                let all = table.rows.len();
                let end = usize::try_from(max_rows)
                    .ok()
                    .filter(|max| *max > 0)
                    .map_or(all, |max| all.min(*sent + max));
                table.put_rows(*sent, end, &mut self.out);
                *sent = end;
                match end < all {
                    true => self.out.extend_from_slice(PORTAL_SUSPENDED),
                    false => CommandComplete { tag: b"SHOW" }.encode(&mut self.out),
                }
            }
            Some(_) if portal.done => {
                let name = String::from_utf8_lossy(name);
                return Err(Fault::client("55000", format!("portal \"{name}\" cannot be run")));
            }
            Some(command) => {
                portal.done = true;
                self.perform(&command).await?;
            }
        }
        Ok(())
    }
}
