//! What may stand in a statement because it sees nothing but what it is given. All else is refused.

use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Ident, ObjectName, SelectFlavor, SetExpr, TableAlias, TableFactor,
    UnaryOperator, Value,
};

const FUNCTIONS: &str = "count sum min max avg coalesce nullif greatest least lower upper length abs round floor ceil mod concat \
    concat_ws replace split_part left right lpad rpad ltrim rtrim btrim now current_timestamp current_date date_trunc date_part \
    age to_char row_number rank dense_rank lag lead first_value last_value string_agg array_agg json_agg jsonb_agg to_json to_jsonb \
    row_to_json json_build_object jsonb_build_object bool_and bool_or gen_random_uuid random";

/// The first words of types' names: a type of the database's own may run code.
const TYPES: &str = "boolean bool smallint integer int bigint int2 int4 int8 numeric decimal real double float float4 float8 text \
    varchar char character uuid date time timestamp timestamptz interval json jsonb bytea";

fn listed(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|known| known == name)
}

/// A name as PostgreSQL folds it; none if it is not a plain one.
pub(crate) fn folded(ident: &Ident) -> Option<String> {
    let plain = ident.value.is_ascii() && !ident.value.contains(['.', '"']);
    let lower = ident.quote_style.is_none().then(|| ident.value.to_ascii_lowercase());
    plain.then(|| lower.unwrap_or_else(|| ident.value.clone()))
}

/// The same for a name with its schema.
pub(crate) fn name_of(object: &ObjectName) -> Option<String> {
    let parts = object.0.iter().map(|part| part.as_ident().and_then(folded)).collect::<Option<Vec<_>>>()?;
    Some(parts.join("."))
}

/// A table that stands there by itself: no `ONLY`, sample, arguments.
pub(crate) fn plain(factor: &TableFactor) -> Option<(&ObjectName, Option<&TableAlias>)> {
    use TableFactor::Table;
    match factor {
        Table { args: Some(_), .. } | Table { sample: Some(_), .. } | Table { inheritance: Some(_), .. } => {
            None
        }
        Table { with_ordinality: false, name, alias, .. } => Some((name, alias.as_ref())),
        _ => None,
    }
}

pub(crate) fn query(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(one) => one.into.is_none() && matches!(one.flavor, SelectFlavor::Standard),
        SetExpr::Query(_) | SetExpr::Values(_) => true,
        SetExpr::SetOperation { left, right, .. } => query(left) && query(right),
        _ => false,
    }
}

pub(crate) fn value(value: &Value) -> bool {
    match value {
        Value::Number(..) | Value::Boolean(_) | Value::Null | Value::SingleQuotedString(_) => true,
        Value::Placeholder(name) => number_of(name).is_some(),
        _ => false,
    }
}

/// The number of the parameter `$number`, from 0.
pub(crate) fn number_of(placeholder: &str) -> Option<u32> {
    let number = placeholder.strip_prefix('$')?.parse::<u16>().ok()?;
    u32::from(number).checked_sub(1)
}

fn data_type(data_type: &DataType) -> bool {
    let name = data_type.to_string().to_ascii_lowercase();
    name.split([' ', '(', '[']).next().is_some_and(|name| listed(TYPES, name))
}

/// Whether an expression may stand there, whatever it is made of; `functions` may be called besides the usual ones.
pub(crate) fn expression(expr: &Expr, functions: &[String]) -> bool {
    use Expr as E;
    match expr {
        E::Identifier(_) | E::CompoundIdentifier(_) | E::Value(_) | E::Nested(_) | E::Tuple(_) => true,
        E::IsNull(_) | E::IsNotNull(_) | E::IsTrue(_) | E::IsNotTrue(_) | E::IsFalse(_) => true,
        E::IsNotFalse(_) | E::IsDistinctFrom(..) | E::IsNotDistinctFrom(..) | E::Array(_) => true,
        E::Between { .. } | E::Like { .. } | E::ILike { .. } | E::In { .. } | E::Exists { .. } => true,
        E::Subquery(_) | E::Case { .. } | E::Interval(_) | E::Extract { .. } | E::Trim { .. } => true,
        E::Substring { .. } | E::Position { .. } | E::AtTimeZone { .. } => true,
        E::BinaryOp { op, .. } | E::AnyOp { compare_op: op, .. } | E::AllOp { compare_op: op, .. } => {
            !matches!(op, BinaryOperator::Custom(_) | BinaryOperator::PGCustomBinaryOperator(_))
        }
        E::UnaryOp { op, .. } => {
            matches!(op, UnaryOperator::Not | UnaryOperator::Minus | UnaryOperator::Plus)
        }
        E::Cast { data_type: to, .. } => data_type(to),
        E::TypedString(typed) => data_type(&typed.data_type),
        E::Function(function) => {
            name_of(&function.name).is_some_and(|name| listed(FUNCTIONS, &name) || functions.contains(&name))
        }
        _ => false,
    }
}
