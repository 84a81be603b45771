//! Types and values of the differential test: as literals, as parameters in text and in binary.

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Int4,
    Int8,
    Numeric,
    Text,
    Bool,
    Timestamptz,
    Date,
    Uuid,
    Float8,
    Int4Array,
    Int8Array,
    TextArray,
    /// `json`: shown only, as it cannot be compared.
    Json,
}

impl Type {
    /// What SQL calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Int4 => "int",
            Self::Int8 => "bigint",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Bool => "bool",
            Self::Timestamptz => "timestamptz",
            Self::Date => "date",
            Self::Uuid => "uuid",
            Self::Float8 => "float8",
            Self::Int4Array => "int[]",
            Self::Int8Array => "bigint[]",
            Self::TextArray => "text[]",
            Self::Json => "json",
        }
    }

    /// `pg_type.oid`.
    pub(crate) fn oid(self) -> u32 {
        match self {
            Self::Int4 => 23,
            Self::Int8 => 20,
            Self::Numeric => 1700,
            Self::Text => 25,
            Self::Bool => 16,
            Self::Timestamptz => 1184,
            Self::Date => 1082,
            Self::Uuid => 2950,
            Self::Float8 => 701,
            Self::Int4Array => 1007,
            Self::Int8Array => 1016,
            Self::TextArray => 1009,
            Self::Json => 114,
        }
    }

    /// The array over it, where the test has one.
    pub(crate) fn array(self) -> Option<Self> {
        match self {
            Self::Int4 => Some(Self::Int4Array),
            Self::Int8 => Some(Self::Int8Array),
            Self::Text => Some(Self::TextArray),
            _ => None,
        }
    }

    fn element(self) -> Self {
        match self {
            Self::Int4Array => Self::Int4,
            Self::Int8Array => Self::Int8,
            _ => Self::Text,
        }
    }
}

/// A value, as PostgreSQL writes it in text; `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) ty: Type,
    pub(crate) text: Option<String>,
}

impl Value {
    pub(crate) fn new(ty: Type, text: impl Into<String>) -> Self {
        Self { ty, text: Some(text.into()) }
    }

    pub(crate) fn null(ty: Type) -> Self {
        Self { ty, text: None }
    }

    /// An array of these values, all of which have its element's type.
    pub(crate) fn array(ty: Type, elements: &[Self]) -> Self {
        let element = |value: &Self| match &value.text {
            None => "NULL".to_owned(),
            Some(text) if value.ty == Type::Text => format!("\"{text}\""),
            Some(text) => text.clone(),
        };
        let elements: Vec<String> = elements.iter().map(element).collect();
        Self::new(ty, format!("{{{}}}", elements.join(",")))
    }

    /// As a literal of its type.
    pub(crate) fn literal(&self) -> String {
        let name = self.ty.name();
        let Some(text) = &self.text else { return format!("NULL::{name}") };
        match self.ty {
            Type::Int4 | Type::Int8 | Type::Numeric if text.starts_with('-') => format!("({text})"),
            Type::Int4 | Type::Int8 | Type::Numeric | Type::Bool => text.clone(),
            Type::Text => format!("'{}'", text.replace('\'', "''")),
            _ => format!("'{text}'::{name}"),
        }
    }

    /// In binary; `None` where the test does not know how.
    pub(crate) fn binary(&self) -> Option<Vec<u8>> {
        let text = self.text.as_deref()?;
        match self.ty {
            Type::Int4 => Some(text.parse::<i32>().ok()?.to_be_bytes().to_vec()),
            Type::Int8 => Some(text.parse::<i64>().ok()?.to_be_bytes().to_vec()),
            Type::Text => Some(text.as_bytes().to_vec()),
            Type::Bool => Some(vec![u8::from(text == "true")]),
            Type::Float8 => Some(text.parse::<f64>().ok()?.to_be_bytes().to_vec()),
            Type::Date => Some(days(text)?.to_be_bytes().to_vec()),
            Type::Timestamptz => {
                let (day, clock) = text.split_once(' ')?;
                let hour: i64 = clock.get(..2)?.parse().ok()?;
                let micros = (i64::from(days(day)?) * 24 + hour) * 3_600_000_000;
                Some(micros.to_be_bytes().to_vec())
            }
            Type::Uuid => {
                let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
                Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes().to_vec())
            }
            Type::Int4Array | Type::Int8Array | Type::TextArray => self.binary_array(text),
            Type::Numeric | Type::Json => None,
        }
    }

    fn binary_array(&self, text: &str) -> Option<Vec<u8>> {
        let inner = text.trim_matches(['{', '}']);
        let element = self.ty.element();
        let parts: Vec<&str> = inner.split(',').filter(|part| !part.is_empty()).collect();
        let nulls = i32::from(parts.contains(&"NULL"));
        let mut out = Vec::new();
        out.extend_from_slice(&i32::from(!parts.is_empty()).to_be_bytes());
        out.extend_from_slice(&nulls.to_be_bytes());
        out.extend_from_slice(&element.oid().to_be_bytes());
        if parts.is_empty() {
            return Some(out);
        }
        out.extend_from_slice(&i32::try_from(parts.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&1_i32.to_be_bytes());
        for part in parts {
            if part == "NULL" {
                out.extend_from_slice(&(-1_i32).to_be_bytes());
                continue;
            }
            let bytes = Self::new(element, part.trim_matches('"')).binary()?;
            out.extend_from_slice(&i32::try_from(bytes.len()).ok()?.to_be_bytes());
            out.extend_from_slice(&bytes);
        }
        Some(out)
    }
}

/// Days from 2000-01-01 to a day of January or February 2024, which is where the test's dates are.
fn days(text: &str) -> Option<i32> {
    let month: i32 = text.get(5..7)?.parse().ok()?;
    let day: i32 = text.get(8..10)?.parse().ok()?;
    Some(8766 + (month - 1) * 31 + day - 1)
}
