//! From SQL text to facts: a lexer with PostgreSQL's rules, templates, and what a statement reads, writes, calls and
//! does to its session.

mod analyzer;
mod arguments;
mod cache;
mod comments;
mod facts;
mod keys;
mod kind;
mod lexer;
mod light;
mod literal;
mod parse;
mod recent;
mod route;
mod shape;
mod spans;
mod split;
mod template;
mod utility;
mod walk;

pub use analyzer::{Analysis, Analyzer, AnalyzerStats, TEMPLATE_BYTES_MAX};
pub use arguments::{Argument, Written, execute_arguments, listed};
pub use comments::{Comments, comments};
pub use facts::{Arg, Doubt, Facts, FunctionName, NotReadOnly, Relation, SessionState, Statement, TypeName};
pub use keys::{Insert, KeyPredicate, KeyValue, Keys, ROWS_MAX, ValueRef, literal_ref};
pub use kind::{
    CopyPeer, Discard, Isolation, Kind, SetValue, Setting, TransactionModes, quote_identifier, quote_literal,
    quote_setting,
};
pub use lexer::{
    ClientEncoding, LexError, LexRules, Literal, LiteralKind, Token, TokenKind, literals, tokens,
};
pub use literal::literal_value;
pub use parse::statement_facts;
pub use route::explain_route;
pub use spans::{PrepareParts, executes, identifier, prepare_parts, qualified};
pub use split::split;
pub use template::NESTING_MAX;
