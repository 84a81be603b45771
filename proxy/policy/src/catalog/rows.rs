//! The catalog's rows as they come from the server.

use crate::catalog::Volatility;
use crate::queries::Question;

/// All answers to [`crate::queries::Question::ALL`].
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Answers to `FUNCTIONS`.
    pub functions: Vec<FunctionRow>,
    /// Answers to `RELATIONS`.
    pub relations: Vec<RelationRow>,
    /// Answers to `POLICIES`.
    pub policies: Vec<PolicyRow>,
    /// Answers to `OPERATORS`.
    pub operators: Vec<OperatorRow>,
    /// Answers to `TYPES`.
    pub types: Vec<TypeRow>,
    /// Answers to `TRIGGERS`.
    pub triggers: Vec<TriggerRow>,
    /// Answers to `FAMILIES`.
    pub families: Vec<FamilyRow>,
    /// Answers to `COLUMNS`.
    pub columns: Vec<ColumnRow>,
    /// Answers to `ROLE_SETTINGS`.
    pub role_settings: Vec<RoleSettingsRow>,
    /// The answer to `COLLATION`.
    pub bytewise: bool,
}

/// One overload of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRow {
    /// `nspname`.
    pub schema: Box<str>,
    /// `proname`.
    pub name: Box<str>,
    /// `provolatile`.
    pub volatility: Volatility,
    /// Made by initdb.
    pub builtin: bool,
    /// The definition; empty if built in.
    pub source: Box<str>,
    /// Whether `value.name` may call it.
    pub attribute: bool,
    /// Whether what it does cannot be read: it is in another language than SQL and PL/pgSQL.
    pub opaque: bool,
    /// The defaults of its arguments, as a list of expressions; empty if built in.
    pub defaults: Box<str>,
    /// `prokind`, or `r` for one that returns rows.
    pub kind: char,
}

/// One relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationRow {
    /// `nspname`.
    pub schema: Box<str>,
    /// `relname`.
    pub name: Box<str>,
    /// `relkind`.
    pub kind: char,
    /// Made by initdb.
    pub builtin: bool,
    /// Foreign or unlogged, or a parent of such.
    pub not_replicated: bool,
    /// `relrowsecurity`.
    pub row_security: bool,
    /// Has rules other than a view's own.
    pub ruled: bool,
    /// Writing it runs a user's code, or changes another relation: triggers, actions of foreign keys, users' functions
    /// in expressions.
    pub busy: bool,
    /// A view's query; empty for others.
    pub definition: Box<str>,
}

/// One row security policy's `USING` expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRow {
    /// The relation's schema.
    pub schema: Box<str>,
    /// The relation.
    pub relation: Box<str>,
    /// The expression.
    pub expression: Box<str>,
}

/// One operator whose function is volatile or a user's, or a user's `=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRow {
    /// `oprname`.
    pub name: Box<str>,
    /// The function's schema.
    pub function_schema: Box<str>,
    /// The function.
    pub function: Box<str>,
    /// Whether the function is volatile.
    pub volatile: bool,
    /// Whether it is a user's, and an operand is of one of PostgreSQL's own types.
    pub own_operand: bool,
}

/// One function or check that values of a type, or casts to it, run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeRow {
    /// `nspname`.
    pub schema: Box<str>,
    /// `typname`.
    pub name: Box<str>,
    /// The function's schema; empty for a check.
    pub function_schema: Box<str>,
    /// The function; empty for a check.
    pub function: Box<str>,
    /// A domain's check; empty for a function.
    pub expression: Box<str>,
}

/// One trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerRow {
    /// The relation's schema.
    pub schema: Box<str>,
    /// The relation.
    pub relation: Box<str>,
    /// The function's schema.
    pub function_schema: Box<str>,
    /// The function.
    pub function: Box<str>,
}

/// A relation and one that it inherits from or is a partition of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyRow {
    /// The relation's schema.
    pub schema: Box<str>,
    /// The relation.
    pub relation: Box<str>,
    /// The parent's schema.
    pub parent_schema: Box<str>,
    /// The parent.
    pub parent: Box<str>,
}

/// A column of a user's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnRow {
    /// The table's schema.
    pub schema: Box<str>,
    /// The table.
    pub relation: Box<str>,
    /// `attname`.
    pub name: Box<str>,
    /// `atttypid`; zero if its values cannot tell rows apart.
    pub type_oid: u32,
    /// `attnum`: columns of one table in this order are all that it has.
    pub place: u16,
    /// `atttypid`.
    pub declared_type: u32,
    /// Whether its values sort by their bytes; `None`: as the database's texts do.
    pub bytewise: Option<bool>,
    /// Whether values that are equal are so byte by byte, as far as the collation goes.
    pub deterministic: bool,
    /// `attnotnull`.
    pub not_null: bool,
}

/// The settings that a role's sessions begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSettingsRow {
    /// `rolname`.
    pub role: Box<str>,
    /// Whether they are for this database only.
    pub of_database: bool,
    /// `setconfig`.
    pub settings: Box<str>,
}

/// A row that does not have the columns that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an answer to {question:?} has an unexpected column {column}")]
pub struct RowError {
    /// What was asked.
    pub question: Question,
    /// Which column, counted from 0.
    pub column: usize,
}

/// The columns of one row, as text.
struct Columns<'a> {
    question: Question,
    values: &'a [Option<&'a str>],
}

impl Columns<'_> {
    fn wrong(&self, column: usize) -> RowError {
        RowError { question: self.question, column }
    }

    /// NULL reads as empty: the server answers NULL for the definition of what has just been dropped.
    fn text(&self, column: usize) -> Result<Box<str>, RowError> {
        let value = self.values.get(column).ok_or_else(|| self.wrong(column))?;
        Ok(value.unwrap_or_default().into())
    }

    fn flag(&self, column: usize) -> Result<bool, RowError> {
        match self.values.get(column) {
            Some(Some("t")) => Ok(true),
            Some(Some("f")) => Ok(false),
            _ => Err(self.wrong(column)),
        }
    }

    fn number<T: std::str::FromStr>(&self, column: usize) -> Result<T, RowError> {
        self.text(column)?.parse().map_err(|_| self.wrong(column))
    }

    fn letter(&self, column: usize) -> Result<char, RowError> {
        self.text(column)?.chars().next().ok_or_else(|| self.wrong(column))
    }

    fn volatility(&self, column: usize) -> Result<Volatility, RowError> {
        match self.letter(column)? {
            'i' => Ok(Volatility::Immutable),
            's' => Ok(Volatility::Stable),
            'v' => Ok(Volatility::Volatile),
            _ => Err(self.wrong(column)),
        }
    }
}

impl Columns<'_> {
    fn column(&self) -> Result<ColumnRow, RowError> {
        Ok(ColumnRow {
            schema: self.text(0)?,
            relation: self.text(1)?,
            name: self.text(2)?,
            type_oid: self.number(3)?,
            place: self.number(4)?,
            declared_type: self.number(5)?,
            bytewise: if self.letter(6)? == 'd' { None } else { Some(self.flag(6)?) },
            deterministic: self.flag(7)?,
            not_null: self.flag(8)?,
        })
    }
}

impl Rows {
    /// Adds one row of an answer, its columns in text format in the order of the question.
    ///
    /// # Errors
    /// A row that does not fit the question.
    pub fn add(&mut self, question: Question, values: &[Option<&str>]) -> Result<(), RowError> {
        let row = Columns { question, values };
        match question {
            Question::Functions => self.functions.push(FunctionRow {
                schema: row.text(0)?,
                name: row.text(1)?,
                volatility: row.volatility(2)?,
                builtin: row.flag(3)?,
                source: row.text(4)?,
                attribute: row.flag(5)?,
                opaque: row.flag(6)?,
                defaults: row.text(7)?,
                kind: row.letter(8)?,
            }),
            Question::Relations => self.relations.push(RelationRow {
                schema: row.text(0)?,
                name: row.text(1)?,
                kind: row.letter(2)?,
                builtin: row.flag(3)?,
                not_replicated: row.flag(4)?,
                row_security: row.flag(5)?,
                ruled: row.flag(6)?,
                busy: row.flag(7)?,
                definition: row.text(8)?,
            }),
            Question::Policies => self.policies.push(PolicyRow {
                schema: row.text(0)?,
                relation: row.text(1)?,
                expression: row.text(2)?,
            }),
            Question::Operators => self.operators.push(OperatorRow {
                name: row.text(0)?,
                function_schema: row.text(1)?,
                function: row.text(2)?,
                volatile: row.flag(3)?,
                own_operand: row.flag(4)?,
            }),
            Question::Types => self.types.push(TypeRow {
                schema: row.text(0)?,
                name: row.text(1)?,
                function_schema: row.text(2)?,
                function: row.text(3)?,
                expression: row.text(4)?,
            }),
            Question::Triggers => self.triggers.push(TriggerRow {
                schema: row.text(0)?,
                relation: row.text(1)?,
                function_schema: row.text(2)?,
                function: row.text(3)?,
            }),
            Question::Families => self.families.push(FamilyRow {
                schema: row.text(0)?,
                relation: row.text(1)?,
                parent_schema: row.text(2)?,
                parent: row.text(3)?,
            }),
            Question::Columns => self.columns.push(row.column()?),
            Question::RoleSettings => self.role_settings.push(RoleSettingsRow {
                role: row.text(0)?,
                of_database: row.flag(1)?,
                settings: row.text(2)?,
            }),
            Question::Collation => self.bytewise = row.flag(0)?,
        }
        Ok(())
    }
}
