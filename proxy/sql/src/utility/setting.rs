//! `SET`, `RESET`, `SHOW` and transaction modes.

use pg_query::protobuf::{self as pb, a_const::Val, node::Node as NodeEnum};

use crate::facts::{NotReadOnly, Statement};
use crate::kind::{Isolation, Kind, SetValue, Setting, TransactionModes, quote_literal};
use crate::lexer::LexRules;
use crate::template::Template;

/// A statement about settings.
pub(super) fn statement(node: &NodeEnum, text: &str) -> Option<Statement> {
    match node {
        NodeEnum::VariableShowStmt(n) => {
            Some(Statement::new(Kind::Show(n.name.to_ascii_lowercase().into()), Ok(())))
        }
        NodeEnum::VariableSetStmt(n) => {
            let name = if matches!(n.kind(), pb::VariableSetKind::VarReset | pb::VariableSetKind::VarResetAll)
            {
                "RESET"
            } else {
                "SET"
            };
            Some(Statement::new(set(n, text)?, Err(NotReadOnly::Command(name))))
        }
        NodeEnum::ConstraintsSetStmt(_) => {
            Some(Statement::new(Kind::Other, Err(NotReadOnly::Command("SET CONSTRAINTS"))))
        }
        _ => None,
    }
}

fn set(n: &pb::VariableSetStmt, text: &str) -> Option<Kind> {
    use pb::VariableSetKind as K;
    let name: Box<str> = n.name.to_ascii_lowercase().into();
    let setting = |value| Kind::Set(Setting { name: name.clone(), value, local: n.is_local });
    Some(match n.kind() {
        K::VarResetAll => Kind::ResetAll,
        K::VarReset => Kind::Reset(name),
        K::VarSetDefault if n.is_local => setting(SetValue::Default),
        K::VarSetDefault => Kind::Reset(name),
        K::VarSetCurrent => setting(SetValue::Current),
        K::VarSetMulti => match n.name.as_str() {
            "SESSION CHARACTERISTICS" => Kind::SetSessionCharacteristics(modes(&n.args)),
            "TRANSACTION SNAPSHOT" => {
                Kind::SetTransaction(TransactionModes { snapshot: true, ..TransactionModes::default() })
            }
            _ => Kind::SetTransaction(modes(&n.args)),
        },
        K::VarSetValue => setting(values(&n.args).unwrap_or_else(|| SetValue::Statement(plain_text(text)))),
        K::Undefined => return None,
    })
}

/// The statement's text without comments, its words in lower case: the template of a statement whose literals are kept.
fn plain_text(text: &str) -> Box<str> {
    let mut template = Template::default();
    match template.fill(text.as_bytes(), LexRules::default()) {
        Ok(()) => String::from_utf8_lossy(&template.bytes).into(),
        Err(_) => text.into(),
    }
}

/// Constants as SQL; `None` for a form that only the statement's own text can repeat.
fn values(args: &[pb::Node]) -> Option<SetValue> {
    let plain: Vec<(bool, String)> = args.iter().map(constant).collect::<Option<_>>()?;
    let sql: Vec<String> =
        plain.iter().map(|(text, value)| if *text { quote_literal(value) } else { value.clone() }).collect();
    let plain: Vec<String> = plain.into_iter().map(|(_, value)| value).collect();
    Some(SetValue::Values { sql: sql.join(", ").into(), plain: plain.join(", ").into() })
}

/// A constant's value, and whether it is a string.
fn constant(node: &pb::Node) -> Option<(bool, String)> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match constant.val.as_ref()? {
            Val::Sval(value) => Some((true, value.sval.clone())),
            Val::Ival(value) => Some((false, value.ival.to_string())),
            Val::Fval(value) => Some((false, value.fval.clone())),
            Val::Boolval(value) => Some((false, value.boolval.to_string())),
            Val::Bsval(_) => None,
        },
        Some(NodeEnum::String(value)) => Some((true, value.sval.clone())),
        Some(NodeEnum::Integer(value)) => Some((false, value.ival.to_string())),
        Some(NodeEnum::Boolean(value)) => Some((false, value.boolval.to_string())),
        _ => None,
    }
}

/// `commands/define.c`, `defGetBoolean`: an option without a value is on.
pub(super) fn is_on(option: &pb::DefElem) -> bool {
    let Some(arg) = &option.arg else { return true };
    match constant(arg) {
        Some((_, value)) => !matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "0"),
        None => true,
    }
}

/// The modes that a list of transaction options gives.
pub(super) fn modes(options: &[pb::Node]) -> TransactionModes {
    let mut modes = TransactionModes::default();
    for node in options {
        let Some(NodeEnum::DefElem(option)) = &node.node else { continue };
        let value = option.arg.as_deref().and_then(constant).map(|(_, value)| value.to_ascii_lowercase());
        match option.defname.as_str() {
            "transaction_read_only" => modes.read_only = Some(is_on(option)),
            "transaction_deferrable" => modes.deferrable = Some(is_on(option)),
            "transaction_isolation" => {
                modes.isolation = match value.as_deref() {
                    Some("read uncommitted") => Some(Isolation::ReadUncommitted),
                    Some("read committed") => Some(Isolation::ReadCommitted),
                    Some("repeatable read") => Some(Isolation::RepeatableRead),
                    _ => Some(Isolation::Serializable),
                };
            }
            _ => {}
        }
    }
    modes
}
