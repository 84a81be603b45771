//! What a session remembers beside each reply it is owed: what to do when it comes, and what to undo when it never will.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_sql::Facts;

use super::configs::Configured;
use super::statements::{Prepared, Statements, UnnamedBefore};

/// Beside a reply owed. Most have none.
#[derive(Debug)]
pub enum Note {
    /// Statements that touch the session, settled one by one as they complete.
    State(Box<StateNote>),
    /// The client gave a statement this name; the connection has prepared the statement with this number for it.
    Defined {
        /// The client's name.
        name: Box<[u8]>,
        /// Set where this message prepares it on the connection.
        here: Option<u64>,
    },
    /// The client replaced or closed its unnamed statement, which was this one.
    Unnamed(UnnamedBefore),
    /// The client closed this statement.
    Closed(Box<[u8]>, Arc<Prepared>),
    /// The client closed all of its statements, which were these.
    Cleared(Box<Statements>),
    /// The message is about the statement that the client calls so; another of its names stands for the same.
    Named(Box<[u8]>),
    /// The server tells of this statement, the types of its parameters among it; another of its names, the one that the
    /// client means, stands for the same.
    Described(Arc<Prepared>, Option<Box<[u8]>>),
    /// The client is told of the first so many parameters: the others are ours.
    OwnParameters(usize, Option<Box<Note>>),
    /// A message that the server must refuse, since the client's statement would give other columns than it was told
    /// of: the error becomes PostgreSQL's own for that.
    ChangedResult,
    /// A message that the server must refuse, since we do: its error becomes this frame.
    Refused(Bytes),
    /// We prepare this statement on the connection.
    Here(u64),
    /// We close this statement on the connection, to make room.
    Evicted(u64),
    /// We bring the connection's settings to what the client wants.
    CatchUp,
    /// We ask what the session still holds.
    Probe,
    /// We ask for the tags of the result that the client asks for next.
    TagsFrom,
    /// The reply to an empty query becomes this CommandComplete frame.
    Tag(Bytes),
}

/// A text whose statements touch the session.
#[derive(Debug)]
pub struct StateNote {
    /// Its facts.
    pub facts: Arc<Facts>,
    /// The statement that the next CommandComplete belongs to.
    pub next: usize,
    /// What its `set_config` calls set.
    pub configs: Vec<Configured>,
    /// What a SQL `PREPARE` defines.
    pub defines: Option<(Box<[u8]>, Arc<Prepared>)>,
    /// The client's names were dealt with when the message was sent.
    pub names_done: bool,
    /// Nothing is known of what the text does to the session.
    pub doubtful: bool,
}
