//! What is known of a text: its statements, what each reads, writes, calls and does to the session.
//! Facts name literals by index, so they hold for every text of the same template.

use crate::keys::Keys;
use crate::kind::Kind;

/// The facts of one template, computed once.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Unique in this process for each computation; two texts with one `template` share these facts.
    pub template: u64,
    /// The same for every text with the same words, operators and names in the same order, whatever its literals,
    /// parameters, white space and comments; zero if the text was not templated.
    pub shape: u128,
    /// The statements in order, empty ones left out. No statement at all is what PostgreSQL answers with
    /// `EmptyQueryResponse`.
    pub statements: Vec<Statement>,
    /// `None`: everything below was read from PostgreSQL's own parse tree. Else the facts are what the lexer saw,
    /// and only "send it to the primary, unchanged" is safe.
    pub doubt: Option<Doubt>,
}

impl Facts {
    /// Whether the facts come from a whole parse tree.
    #[must_use]
    pub fn understood(&self) -> bool {
        self.doubt.is_none()
    }

    /// About how much memory the facts take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.statements.iter().map(Statement::bytes).sum::<usize>()
    }

    /// The only statement, if there is exactly one.
    #[must_use]
    pub fn single(&self) -> Option<&Statement> {
        match self.statements.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// Why a text is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Longer than [`crate::TEMPLATE_BYTES_MAX`].
    Long,
    /// The lexer found no tokens in it: PostgreSQL will refuse it.
    Lexical,
    /// Parentheses nest deeper than [`crate::NESTING_MAX`].
    Deep,
    /// `pg_query` refused it: wrong, newer than its grammar, or nested too deep for it.
    Syntax,
    /// Names hold bytes whose meaning depends on the client's encoding.
    Encoding,
    /// The tree holds a node that is not known to be harmless.
    Node,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Long => "the text is too long to be parsed",
            Self::Lexical => "the text has a lexical error",
            Self::Deep => "the text is nested too deep",
            Self::Syntax => "the parser does not accept the text",
            Self::Encoding => "names depend on the client's encoding",
            Self::Node => "the statement has a part that is not known",
        })
    }
}

/// The facts of one statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// What it is.
    pub kind: Kind,
    /// Relations read, each once, CTE names left out.
    pub reads: Vec<Relation>,
    /// Relations written, defined or dropped, each once.
    pub writes: Vec<Relation>,
    /// Of the relations read, those that are read in several places under the same name; of those written, those that
    /// are written in several. Each once.
    pub repeated: Vec<Relation>,
    /// Functions called anywhere, each once. SQL-syntax forms appear under the `pg_catalog` name they call.
    pub functions: Vec<FunctionName>,
    /// Values that are asked for by a keyword alone, each once, in lower case: `current_user`, `session_user`,
    /// `current_role`, `user`, `current_catalog`, `current_schema`, `current_date`, `localtime` and its like.
    pub value_words: Vec<&'static str>,
    /// Operators used, each once, without their schema.
    pub operators: Vec<Box<str>>,
    /// Types named in casts and column definitions, each once.
    pub types: Vec<TypeName>,
    /// Last parts of qualified column references: `t.f` may be the function call `f(t)`.
    pub attributes: Vec<Box<str>>,
    /// Whether the statement's shape only reads; what its functions do is for the catalog to say.
    pub read_only: Result<(), NotReadOnly>,
    /// What it does to the session, in order.
    pub state: Vec<SessionState>,
    /// Settings read through `current_setting(name)`, in lower case; `None` for a computed name.
    pub settings: Vec<Option<Box<str>>>,
    /// Bodies of `DO`: code that the facts do not see into.
    pub opaque: Option<Box<str>>,
    /// Key predicates, rows, targets.
    pub keys: Keys,
}

impl Statement {
    /// A statement of this kind with nothing known yet.
    #[must_use]
    pub fn new(kind: Kind, read_only: Result<(), NotReadOnly>) -> Self {
        Self {
            kind,
            reads: Vec::new(),
            repeated: Vec::new(),
            writes: Vec::new(),
            functions: Vec::new(),
            value_words: Vec::new(),
            operators: Vec::new(),
            types: Vec::new(),
            attributes: Vec::new(),
            read_only,
            state: Vec::new(),
            settings: Vec::new(),
            opaque: None,
            keys: Keys::default(),
        }
    }
}

impl Statement {
    fn bytes(&self) -> usize {
        /// A name with its text, roughly.
        const NAME: usize = 64;
        let names = self.reads.len()
            + self.repeated.len()
            + self.writes.len()
            + self.functions.len()
            + self.types.len();
        let words = self.value_words.len()
            + self.operators.len()
            + self.attributes.len()
            + self.settings.len()
            + self.state.len();
        let opaque = self.opaque.as_deref().map_or(0, str::len);
        size_of::<Self>() + (names + words) * NAME + opaque + self.keys.bytes()
    }
}

/// A relation as named in the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Relation {
    /// `None`: found along `search_path`.
    pub schema: Option<Box<str>>,
    /// Folded and unquoted.
    pub name: Box<str>,
}

/// A function as named in the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName {
    /// `None`: found along `search_path`.
    pub schema: Option<Box<str>>,
    /// Folded and unquoted.
    pub name: Box<str>,
}

/// A type as named in the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeName {
    /// `None`: found along `search_path`.
    pub schema: Option<Box<str>>,
    /// Folded and unquoted, without array brackets.
    pub name: Box<str>,
}

macro_rules! display_qualified {
    ($($name:ident),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match &self.schema {
                    Some(schema) => write!(f, "{schema}.{}", self.name),
                    None => f.write_str(&self.name),
                }
            }
        }
    )*};
}
display_qualified!(Relation, FunctionName, TypeName);

/// Why a statement's shape is not read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReadOnly {
    /// The facts are not whole.
    NotUnderstood(Doubt),
    /// `FOR UPDATE` and its like.
    Locks(&'static str),
    /// A data-modifying CTE of this name.
    CteWrites(Box<str>),
    /// `SELECT INTO`.
    SelectInto,
    /// `EXPLAIN ANALYZE`.
    ExplainAnalyze,
    /// A statement that is not a query, by its command name.
    Command(&'static str),
    /// `WHERE CURRENT OF` a cursor.
    CurrentOf,
    /// The statement runs a prepared one, which has facts of its own.
    Execute,
}

impl std::fmt::Display for NotReadOnly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotUnderstood(doubt) => write!(f, "not understood: {doubt}"),
            Self::Locks(strength) => write!(f, "locks rows ({strength})"),
            Self::CteWrites(name) => write!(f, "CTE {name} writes"),
            Self::SelectInto => f.write_str("SELECT INTO creates a table"),
            Self::ExplainAnalyze => f.write_str("EXPLAIN ANALYZE runs the statement"),
            Self::Command(name) => write!(f, "{name} is not a query"),
            Self::CurrentOf => f.write_str("refers to a cursor's row"),
            Self::Execute => f.write_str("runs a prepared statement"),
        }
    }
}

/// What a statement does to its session beyond its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// `set_config(name, value, is_local)`. A call whose arguments are not plain has [`Arg::Other`].
    SetConfig {
        /// The setting.
        name: Arg,
        /// Its value.
        value: Arg,
        /// Whether it ends with the transaction.
        is_local: Arg,
    },
    /// Creates a temporary relation.
    TempTable,
    /// Names a temporary relation through `pg_temp`.
    TempReference,
    /// Takes a session-level advisory lock.
    SessionAdvisoryLock,
    /// Releases session-level advisory locks: all of them, or one of them.
    AdvisoryUnlock {
        /// `pg_advisory_unlock_all`.
        all: bool,
    },
    /// `DECLARE ... WITH HOLD`.
    HoldCursor,
    /// `LISTEN`.
    Listen,
    /// `UNLISTEN`.
    Unlisten {
        /// `UNLISTEN *`.
        all: bool,
    },
    /// `PREPARE`.
    PreparedStatement,
    /// `LOAD` of a library.
    Load,
    /// `DROP`: a temporary relation may have gone.
    DropObject,
    /// `setval`, `nextval`, `currval` and `lastval`: the session remembers sequence values.
    Sequence,
    /// Opaque code ran: `DO`, `CALL`.
    Opaque,
}

/// An argument of a call whose value matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// The literal of this index.
    Literal(usize),
    /// `$n`, counted from 1.
    Param(u32),
    /// `NULL`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Anything else.
    Other,
}

#[cfg(test)]
mod tests;
