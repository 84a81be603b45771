//! What a statement is, and what a setting statement sets.

/// A statement's kind, with what its settlement needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `SELECT`, `TABLE`, set operations.
    Select,
    /// `VALUES`.
    Values,
    /// `SHOW name`; `all` for `SHOW ALL`.
    Show(Box<str>),
    /// `EXPLAIN`.
    Explain {
        /// Runs the statement.
        analyze: bool,
    },
    /// `INSERT`.
    Insert,
    /// `UPDATE`.
    Update,
    /// `DELETE`.
    Delete,
    /// `MERGE`.
    Merge,
    /// `COPY ... FROM`.
    CopyFrom(CopyPeer),
    /// `COPY ... TO`.
    CopyTo(CopyPeer),
    /// `BEGIN`, `START TRANSACTION`.
    Begin(TransactionModes),
    /// `COMMIT`, `END`.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK`, `ABORT`.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `SAVEPOINT`.
    Savepoint(Box<str>),
    /// `RELEASE`.
    Release(Box<str>),
    /// `ROLLBACK TO`.
    RollbackTo(Box<str>),
    /// `PREPARE TRANSACTION`.
    PrepareTransaction,
    /// `COMMIT PREPARED`.
    CommitPrepared,
    /// `ROLLBACK PREPARED`.
    RollbackPrepared,
    /// `SET TRANSACTION`.
    SetTransaction(TransactionModes),
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION`.
    SetSessionCharacteristics(TransactionModes),
    /// `SET`, also `SET ROLE` (`role`), `SET SESSION AUTHORIZATION` (`session_authorization`), `SET TIME ZONE`
    /// (`timezone`), `SET NAMES` (`client_encoding`).
    Set(Setting),
    /// `RESET name`, and `SET name TO DEFAULT`.
    Reset(Box<str>),
    /// `RESET ALL`.
    ResetAll,
    /// `DISCARD`.
    Discard(Discard),
    /// `PREPARE name AS ...`.
    Prepare(Box<str>),
    /// `EXECUTE name`.
    Execute(Box<str>),
    /// `DEALLOCATE name`; `None` is `ALL`.
    Deallocate(Option<Box<str>>),
    /// `LISTEN`.
    Listen(Box<str>),
    /// `UNLISTEN`; `None` is `*`.
    Unlisten(Option<Box<str>>),
    /// `NOTIFY`.
    Notify,
    /// `DECLARE name CURSOR`.
    DeclareCursor {
        /// The cursor.
        name: Box<str>,
        /// `WITH HOLD`.
        hold: bool,
    },
    /// `FETCH`.
    Fetch,
    /// `MOVE`.
    Move,
    /// `CLOSE name`; `None` is `ALL`.
    CloseCursor(Option<Box<str>>),
    /// `LOCK`.
    Lock,
    /// `CALL`.
    Call,
    /// `DO`.
    Do,
    /// Any other statement that defines, alters or drops objects.
    Ddl,
    /// Everything else: also `TRUNCATE`, `VACUUM`, `ANALYZE`, `REINDEX` and what else leaves definitions as they are.
    Other,
}

impl Kind {
    /// Whether it begins, steers or ends a transaction of the session's own.
    #[must_use]
    pub fn steers_transaction(&self) -> bool {
        matches!(
            self,
            Self::Begin(_)
                | Self::Commit { .. }
                | Self::Rollback { .. }
                | Self::Savepoint(_)
                | Self::Release(_)
                | Self::RollbackTo(_)
                | Self::SetTransaction(_)
        )
    }

    /// Whether it sets or resets settings of the session.
    #[must_use]
    pub fn sets(&self) -> bool {
        matches!(self, Self::Set(_) | Self::SetSessionCharacteristics(_) | Self::Reset(_) | Self::ResetAll)
    }
}

/// The other end of a `COPY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyPeer {
    /// `STDIN` or `STDOUT`: the client.
    Client,
    /// A file of the server.
    File,
    /// A program on the server.
    Program,
}

/// `DISCARD`'s target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// `ALL`.
    All,
    /// `PLANS`.
    Plans,
    /// `SEQUENCES`.
    Sequences,
    /// `TEMP`.
    Temp,
}

/// Transaction modes given; `None` means not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionModes {
    /// `READ ONLY` or `READ WRITE`.
    pub read_only: Option<bool>,
    /// `ISOLATION LEVEL`.
    pub isolation: Option<Isolation>,
    /// `[NOT] DEFERRABLE`.
    pub deferrable: Option<bool>,
    /// `SET TRANSACTION SNAPSHOT`.
    pub snapshot: bool,
}

/// An isolation level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// `READ UNCOMMITTED`, which PostgreSQL runs as `READ COMMITTED`.
    ReadUncommitted,
    /// `READ COMMITTED`.
    ReadCommitted,
    /// `REPEATABLE READ`.
    RepeatableRead,
    /// `SERIALIZABLE`.
    Serializable,
}

/// What `SET` sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The setting's name in lower case, as PostgreSQL compares it.
    pub name: Box<str>,
    /// The value.
    pub value: SetValue,
    /// `SET LOCAL`.
    pub local: bool,
}

/// The right-hand side of `SET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetValue {
    /// SQL text that may follow `SET name TO`: constants, quoted, separated by commas.
    Values {
        /// As SQL.
        sql: Box<str>,
        /// The one constant's value without quotes; of a list, its values joined by `, `.
        plain: Box<str>,
    },
    /// `DEFAULT`, with `LOCAL` only; without it the statement is a [`Kind::Reset`].
    Default,
    /// `SET name FROM CURRENT`, which is an error outside function definitions.
    Current,
    /// A form that only its own text can repeat: `SET TIME ZONE INTERVAL ...`.
    Statement(Box<str>),
}

impl Setting {
    /// A statement that sets the same again.
    #[must_use]
    pub fn set_statement(&self) -> String {
        let local = if self.local { "LOCAL " } else { "" };
        let name = quote_setting(&self.name);
        match &self.value {
            SetValue::Values { sql, .. } => format!("SET {local}{name} TO {sql}"),
            SetValue::Default => format!("SET {local}{name} TO DEFAULT"),
            SetValue::Current => format!("SET {local}{name} FROM CURRENT"),
            SetValue::Statement(text) => text.to_string(),
        }
    }
}

/// A setting's name as it can stand after `SET`: each part between dots is quoted.
#[must_use]
pub fn quote_setting(name: &str) -> String {
    name.split('.').map(quote_identifier).collect::<Vec<_>>().join(".")
}

/// An identifier in double quotes.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as a literal that reads the same whatever `standard_conforming_strings` is.
#[must_use]
pub fn quote_literal(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}
