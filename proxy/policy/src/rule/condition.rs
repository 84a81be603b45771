//! What a rule asks of a statement, its text, and its session.

use std::fmt;
use std::net::IpAddr;

use pointsman_sql::{Facts, FunctionName, KeyPredicate, Kind, Relation, Statement, ValueRef};

use crate::decide::StatementView;
use crate::identity::Identity;
use crate::pattern::{Glob, NamePattern, Net};
use crate::reading::Reading;
use crate::tables::Tables;
use crate::verb::Verbs;

/// Names of what a statement touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    Tables,
    Reads,
    Writes,
    Functions,
}

/// How a list of names is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Any,
    All,
    Only,
}

/// One condition of a rule.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Verb(Verbs),
    Names(Touched, How, Vec<NamePattern>),
    Large(bool),
    NoWhere,
    WhereEq(Vec<Box<str>>),
    NoLimit,
    LimitOver(u32),
    /// The sample as written, and its facts.
    Template(Box<str>, Box<Facts>),
    User(Vec<Glob>),
    Database(Vec<Glob>),
    Application(Vec<Glob>),
    Client(Vec<Net>),
    InTransaction(bool),
    Comment(Box<str>, Glob),
    Hint(Box<str>, Glob),
    Text(regex::bytes::Regex),
}

/// Whether a condition is met, as far as the template can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Met {
    No,
    /// It depends on the statement's values.
    Perhaps,
    Yes,
}

impl From<bool> for Met {
    fn from(met: bool) -> Self {
        if met { Self::Yes } else { Self::No }
    }
}

/// A rule's conditions, by when they can be told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ordered {
    /// Of one statement, by its template.
    pub(crate) statement: Vec<Condition>,
    /// Of the whole text, by its template.
    pub(crate) template: Vec<Condition>,
    pub(crate) session: Vec<Condition>,
    /// Whether a transaction has to be open, or must not be.
    pub(crate) in_transaction: Option<bool>,
    /// Of each text anew.
    pub(crate) text: Vec<Condition>,
    /// The condition of `statement` that asks for a value.
    pub(crate) limit_over: Option<u32>,
}

impl Ordered {
    pub(crate) fn new(conditions: &[Condition]) -> Self {
        let mut ordered = Self::default();
        for condition in conditions {
            if let Condition::LimitOver(most) = condition {
                ordered.limit_over = Some(*most);
            }
            let place = match condition {
                Condition::InTransaction(open) => {
                    ordered.in_transaction = Some(*open);
                    continue;
                }
                Condition::Template(..) => &mut ordered.template,
                _ if condition.is_of_session() => &mut ordered.session,
                _ if condition.is_of_statement() => &mut ordered.statement,
                _ => &mut ordered.text,
            };
            place.push(condition.clone());
        }
        ordered.text.sort_by_key(Condition::cost);
        ordered
    }

    /// Whether texts of this template can match.
    pub(crate) fn template_may(&self, facts: &Facts, tables: &Tables) -> bool {
        self.template.iter().all(|condition| condition.of_facts(facts))
            && (self.statement.is_empty()
                || facts.statements.iter().any(|statement| {
                    self.statement.iter().all(|condition| condition.of_statement(statement, tables) > Met::No)
                }))
    }

    /// Whether the session's texts can match.
    pub(crate) fn session_may(&self, identity: &Identity<'_>) -> bool {
        self.session.iter().all(|condition| condition.of_session(identity))
    }

    /// Whether the session's texts can match while a transaction is open, or while none is.
    pub(crate) fn transaction_may(&self, open: bool) -> bool {
        self.in_transaction.is_none_or(|wanted| wanted == open)
    }

    /// Whether no text without a comment can match.
    pub(crate) fn needs_comment(&self) -> bool {
        self.text.iter().any(|condition| matches!(condition, Condition::Comment(..) | Condition::Hint(..)))
    }

    /// Whether what must be asked of each text is met; the template's part is.
    pub(crate) fn text_does(&self, reading: &Reading<'_>, tables: &Tables) -> bool {
        self.limit_does(reading, tables) && self.text.iter().all(|condition| condition.of_text(reading))
    }

    fn limit_does(&self, reading: &Reading<'_>, tables: &Tables) -> bool {
        let Some(most) = self.limit_over else { return true };
        match reading.rows_most() {
            // The template's part is about this one.
            Some(rows) => rows > i64::from(most),
            None => reading.view.facts.statements.iter().any(|statement| {
                self.statement.iter().all(|condition| condition.with_values(statement, tables, reading))
            }),
        }
    }
}

impl Condition {
    /// Conditions of the text are asked in this order.
    fn cost(&self) -> u8 {
        match self {
            Self::Comment(..) | Self::Hint(..) => 0,
            _ => 1,
        }
    }

    pub(crate) fn is_of_session(&self) -> bool {
        matches!(self, Self::User(_) | Self::Database(_) | Self::Application(_) | Self::Client(_))
    }

    pub(crate) fn is_of_statement(&self) -> bool {
        matches!(
            self,
            Self::Verb(_)
                | Self::Names(..)
                | Self::Large(_)
                | Self::NoWhere
                | Self::WhereEq(_)
                | Self::NoLimit
                | Self::LimitOver(_)
        )
    }

    /// A condition of the whole text that its template tells.
    pub(crate) fn of_facts(&self, facts: &Facts) -> bool {
        match self {
            Self::Template(_, sample) => sample.shape == facts.shape && facts.shape != 0,
            _ => true,
        }
    }

    pub(crate) fn of_session(&self, identity: &Identity<'_>) -> bool {
        let one_of = |globs: &[Glob], text: &str| globs.iter().any(|glob| glob.matches(text));
        match self {
            Self::User(globs) => one_of(globs, identity.user),
            Self::Database(globs) => one_of(globs, identity.database),
            Self::Application(globs) => one_of(globs, identity.application),
            Self::Client(nets) => {
                identity.client.is_some_and(|client: IpAddr| nets.iter().any(|net| net.contains(client)))
            }
            _ => true,
        }
    }

    /// A condition of one statement, without its values. What is not known of a statement is not met.
    pub(crate) fn of_statement(&self, statement: &Statement, tables: &Tables) -> Met {
        let keys = &statement.keys;
        match self {
            Self::Verb(verbs) => verbs.has(Verbs::of(statement)).into(),
            Self::Names(touched, how, patterns) => of_names(statement, *touched, *how, patterns).into(),
            Self::Large(wanted) => {
                let mut touched = statement.reads.iter().chain(&statement.writes);
                (touched.any(|relation| tables.is_large(relation)) == *wanted).into()
            }
            Self::NoWhere => (keys.known && has_filter(statement) && !keys.has_where).into(),
            Self::WhereEq(columns) => {
                let pins = |column: &str| {
                    keys.predicates.iter().any(|predicate: &KeyPredicate| &*predicate.column == column)
                };
                (keys.known && columns.iter().all(|column| pins(column))).into()
            }
            Self::NoLimit => (has_limit(statement) && is_unlimited(keys.limit)).into(),
            Self::LimitOver(_) if !has_limit(statement) => Met::No,
            Self::LimitOver(_) => match keys.limit {
                limit if is_unlimited(limit) => Met::Yes,
                Some(ValueRef::Literal(_) | ValueRef::Negative(_) | ValueRef::Param(_)) => Met::Perhaps,
                _ => Met::Yes,
            },
            _ => Met::Yes,
        }
    }

    /// Like [`of_statement`](Self::of_statement), with the values of this text.
    pub(crate) fn with_values(&self, statement: &Statement, tables: &Tables, reading: &Reading<'_>) -> bool {
        match self {
            Self::LimitOver(most) => rows_most(statement, reading.view) > i64::from(*most),
            _ => self.of_statement(statement, tables) == Met::Yes,
        }
    }

    /// A condition of each text, or of its session's state.
    pub(crate) fn of_text(&self, reading: &Reading<'_>) -> bool {
        match self {
            Self::InTransaction(open) => reading.view.in_transaction == *open,
            Self::Text(regex) => regex.is_match(reading.view.sql),
            Self::Comment(key, glob) => reading.has_tag(key, glob),
            Self::Hint(key, glob) => reading.has_hint(key, glob),
            _ => true,
        }
    }
}

/// How many rows a query asks for at most: as many as there may be if it does not say, or not in a number that is known.
/// Less than any limit for what is no query.
pub(crate) fn rows_most(statement: &Statement, view: &StatementView<'_>) -> i64 {
    if !has_limit(statement) {
        return i64::MIN;
    }
    statement.keys.limit.and_then(|limit| view.integer(limit)).unwrap_or(i64::MAX)
}

/// Statements of which it is known whether they have a `WHERE`.
fn has_filter(statement: &Statement) -> bool {
    matches!(statement.kind, Kind::Select | Kind::Update | Kind::Delete | Kind::Explain { .. })
        && statement.keys.insert.is_none()
}

/// Queries, which may have a `LIMIT`.
fn has_limit(statement: &Statement) -> bool {
    let query = matches!(statement.kind, Kind::Select | Kind::Values | Kind::Explain { .. });
    query && statement.keys.known && statement.keys.insert.is_none() && statement.keys.set_targets.is_empty()
}

/// `LIMIT NULL` and `LIMIT ALL` are no limit.
fn is_unlimited(limit: Option<ValueRef>) -> bool {
    matches!(limit, None | Some(ValueRef::Null))
}

/// A name with the schema that the text gives it.
type Named<'a> = (Option<&'a str>, &'a str);

fn of_names(statement: &Statement, touched: Touched, how: How, patterns: &[NamePattern]) -> bool {
    fn relations<'a>(list: &'a [Relation]) -> impl Iterator<Item = Named<'a>> + Clone {
        list.iter().map(|relation| (relation.schema.as_deref(), &*relation.name))
    }
    let functions = |list: &'_ FunctionName| -> bool {
        patterns.iter().any(|pattern| pattern.matches(list.schema.as_deref(), &list.name))
    };
    match touched {
        Touched::Tables => {
            fit(relations(&statement.reads).chain(relations(&statement.writes)), how, patterns)
        }
        Touched::Reads => fit(relations(&statement.reads), how, patterns),
        Touched::Writes => fit(relations(&statement.writes), how, patterns),
        Touched::Functions if how == How::Any => statement.functions.iter().any(functions),
        Touched::Functions => {
            let names = statement.functions.iter();
            fit(names.map(|name| (name.schema.as_deref(), &*name.name)), how, patterns)
        }
    }
}

fn fit<'a>(mut names: impl Iterator<Item = Named<'a>> + Clone, how: How, patterns: &[NamePattern]) -> bool {
    let meant = |(schema, name): Named<'_>| patterns.iter().any(|pattern| pattern.matches(schema, name));
    match how {
        How::Any => names.any(meant),
        How::All => {
            patterns.iter().all(|pattern| names.clone().any(|(schema, name)| pattern.matches(schema, name)))
        }
        How::Only => names.clone().next().is_some() && names.all(meant),
    }
}

/// As it is written in a policy.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(items: &[T]) -> String {
            items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        match self {
            Self::Verb(verbs) => write!(f, "verb: [{}]", verbs.words().collect::<Vec<_>>().join(", ")),
            Self::Names(touched, how, patterns) => {
                let touched = match touched {
                    Touched::Tables => "tables",
                    Touched::Reads => "reads",
                    Touched::Writes => "writes",
                    Touched::Functions => "functions",
                };
                let how = match how {
                    How::Any => "any",
                    How::All => "all",
                    How::Only => "only",
                };
                write!(f, "{touched}: {{{how}: [{}]}}", list(patterns))
            }
            Self::Large(large) => write!(f, "large: {large}"),
            Self::NoWhere => f.write_str("where: none"),
            Self::WhereEq(columns) => write!(f, "where: {{eq: [{}]}}", list(columns)),
            Self::NoLimit => f.write_str("limit: none"),
            Self::LimitOver(most) => write!(f, "limit: {{over: {most}}}"),
            Self::Template(sample, _) => write!(f, "template: {sample}"),
            Self::User(globs) => write!(f, "user: [{}]", list(globs)),
            Self::Database(globs) => write!(f, "database: [{}]", list(globs)),
            Self::Application(globs) => write!(f, "application: [{}]", list(globs)),
            Self::Client(nets) => write!(f, "client: [{}]", list(nets)),
            Self::InTransaction(open) => write!(f, "in_transaction: {open}"),
            Self::Comment(key, glob) => write!(f, "comment: {{{key}: {glob}}}"),
            Self::Hint(key, glob) => write!(f, "hint: {{{key}: {glob}}}"),
            Self::Text(regex) => write!(f, "text: {regex}"),
        }
    }
}
