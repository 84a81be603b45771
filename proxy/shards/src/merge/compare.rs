//! The order of values in binary form, as the types' default btree operator classes have it.

use std::cmp::Ordering;

use thiserror::Error;

use super::array;
use super::number;
use crate::plan::SortKey;
use crate::types::element_of;

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const MICROSECONDS_PER_DAY: i128 = 86_400_000_000;

/// A sort key whose order is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("hidden column {column} of type {type_oid} has no order that is known here")]
pub struct Unsupported {
    /// Which hidden column, from 0.
    pub column: usize,
    /// Its type (`pg_type.oid`); 0: the rows have no such column.
    pub type_oid: u32,
}

/// How two values of a type compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    /// Two's complement, of so many bytes.
    Signed(u8),
    /// Bytes of a fixed count, as they are: unsigned integers, uuid.
    Fixed(u8),
    /// `float4`: NaN is the greatest, and both zeros are equal.
    Float4,
    /// `float8`.
    Float8,
    /// Bytes of any count.
    Bytes,
    /// `bpchar`: trailing blanks do not count.
    Blanked,
    /// `numeric`.
    Numeric,
    /// `timetz`: the moment, then the zone.
    TimeTz,
    /// `interval`: months of 30 days, days of 24 hours (`interval_cmp_value` in `timestamp.c`).
    Interval,
    /// `inet` and `cidr` (`network_cmp_internal` in `network.c`).
    Network,
    /// `bit` and `varbit`: a length word, then the bits (`bit_cmp` in `varbit.c`).
    Bits,
}

/// How two values of a column compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value.
    One(Scalar),
    /// An array of values of the type of this number.
    Array(Scalar, u32),
}

impl Kind {
    /// By the type of a sort key.
    pub(super) fn new(type_oid: u32, key: &SortKey, column: usize) -> Result<Self, Unsupported> {
        let element = element_of(type_oid);
        let collated = |oid| matches!(oid, 19 | 25 | 1042 | 1043);
        let kind = match element {
            Some(element) => Scalar::of(element.oid).map(|scalar| Self::Array(scalar, element.oid)),
            None => Scalar::of(type_oid).map(Self::One),
        };
        let foreign = collated(element.map_or(type_oid, |element| element.oid)) && !key.bytewise;
        kind.filter(|_| !foreign).ok_or(Unsupported { column, type_oid })
    }

    /// Whether the value has this type's form. What has, compares without a failure.
    pub(super) fn takes(self, value: &[u8]) -> bool {
        match self {
            Self::One(scalar) => scalar.takes(value),
            Self::Array(scalar, oid) => array::takes(scalar, oid, value),
        }
    }

    fn compare(self, one: &[u8], other: &[u8]) -> Ordering {
        match self {
            Self::One(scalar) => scalar.compare(one, other),
            Self::Array(scalar, _) => array::compare(scalar, one, other),
        }
    }
}

impl Scalar {
    fn of(type_oid: u32) -> Option<Self> {
        Some(match type_oid {
            // bool, "char", oid, tid, macaddr, macaddr8, uuid, pg_lsn, xid8
            16 | 18 => Self::Fixed(1),
            26 => Self::Fixed(4),
            27 | 829 => Self::Fixed(6),
            774 | 3220 | 5069 => Self::Fixed(8),
            2950 => Self::Fixed(16),
            // int2, int4, date; int8, money, time, timestamp, timestamptz
            21 => Self::Signed(2),
            23 | 1082 => Self::Signed(4),
            20 | 790 | 1083 | 1114 | 1184 => Self::Signed(8),
            700 => Self::Float4,
            701 => Self::Float8,
            // bytea, name, text, varchar
            17 | 19 | 25 | 1043 => Self::Bytes,
            1042 => Self::Blanked,
            1186 => Self::Interval,
            1266 => Self::TimeTz,
            1560 | 1562 => Self::Bits,
            1700 => Self::Numeric,
            650 | 869 => Self::Network,
            _ => return None,
        })
    }

    pub(super) fn takes(self, value: &[u8]) -> bool {
        match self {
            Self::Signed(bytes) | Self::Fixed(bytes) => value.len() == usize::from(bytes),
            Self::Float4 => value.len() == 4,
            Self::Float8 => value.len() == 8,
            Self::Bytes | Self::Blanked => true,
            Self::Numeric => number::takes(value),
            Self::TimeTz => value.len() == 12,
            Self::Interval => value.len() == 16,
            Self::Network => match value {
                [2, bits, _, 4, address @ ..] => *bits <= 32 && address.len() == 4,
                [3, bits, _, 16, address @ ..] => *bits <= 128 && address.len() == 16,
                _ => false,
            },
            Self::Bits => {
                let bits = u32::try_from(int4(value)).map_or(u32::MAX, |bits| bits.div_ceil(8));
                value.len() >= 4 && value.len() - 4 == bits as usize
            }
        }
    }

    pub(super) fn compare(self, one: &[u8], other: &[u8]) -> Ordering {
        match self {
            Self::Signed(_) => signed(one).cmp(&signed(other)),
            Self::Fixed(_) | Self::Bytes => one.cmp(other),
            Self::Float4 => float(float4(one)).cmp(&float(float4(other))),
            Self::Float8 => float(float8(one)).cmp(&float(float8(other))),
            Self::Blanked => unblanked(one).cmp(unblanked(other)),
            Self::Numeric => number::compare(one, other),
            Self::TimeTz => moment(one).cmp(&moment(other)),
            Self::Interval => span(one).cmp(&span(other)),
            Self::Network => network(one, other),
            Self::Bits => one[4..].cmp(&other[4..]).then(int4(one).cmp(&int4(other))),
        }
    }
}

/// The first four bytes as an `int4`; 0 if they are not there.
fn int4(value: &[u8]) -> i32 {
    value.first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes))
}

/// An integer of 2, 4 or 8 bytes.
#[inline]
fn signed(value: &[u8]) -> i64 {
    match *value {
        [a, b] => i64::from(i16::from_be_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

fn float4(value: &[u8]) -> f64 {
    value.try_into().map_or(0.0, |bytes| f64::from(f32::from_be_bytes(bytes)))
}

fn float8(value: &[u8]) -> f64 {
    value.try_into().map_or(0.0, f64::from_be_bytes)
}

/// A number that has the float's place in PostgreSQL's order.
fn float(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    // Adding a positive zero makes one zero of both.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn unblanked(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &value[..end]
}

/// Microseconds of the day at Greenwich, then the zone (seconds west), as `timetz_cmp_internal` in `date.c`.
fn moment(value: &[u8]) -> (i64, i32) {
    let zone = value.get(8..).map_or(0, int4);
    (signed(&value[..8]).saturating_add(i64::from(zone) * MICROSECONDS_PER_SECOND), zone)
}

/// Microseconds.
fn span(value: &[u8]) -> i128 {
    let (time, days, months) = (signed(&value[..8]), int4(&value[8..]), int4(&value[12..]));
    i128::from(time) + (i128::from(months) * 30 + i128::from(days)) * MICROSECONDS_PER_DAY
}

/// Family; then the bits that both networks have; then the longer network; then the whole address.
fn network(one: &[u8], other: &[u8]) -> Ordering {
    let (bits, others) = (one[1], other[1]);
    let prefix = |value: &[u8]| {
        let mut bytes = [0; 16];
        bytes[..value.len() - 4].copy_from_slice(&value[4..]);
        let left = 128 - u32::from(bits.min(others));
        u128::from_be_bytes(bytes).checked_shr(left).unwrap_or(0)
    };
    let family = one[0].cmp(&other[0]);
    family
        .then_with(|| prefix(one).cmp(&prefix(other)))
        .then(bits.cmp(&others))
        .then_with(|| one[4..].cmp(&other[4..]))
}

/// A hidden column's type and direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) kind: Kind,
    pub(super) sort: SortKey,
}

impl Key {
    /// The rank of a NULL or value, and a number that is less for values that come first. Equal numbers say nothing.
    pub(super) fn prefix(&self, value: Option<&[u8]>) -> (u8, u64) {
        let Some(value) = value else { return (if self.sort.nulls_first { 0 } else { 2 }, 0) };
        let up = match self.kind {
            Kind::One(Scalar::Signed(_)) => signed(value).cast_unsigned() ^ 1 << 63,
            Kind::One(Scalar::Float4) => float(float4(value)),
            Kind::One(Scalar::Float8) => float(float8(value)),
            Kind::One(Scalar::Bytes | Scalar::Fixed(_)) => leading(value),
            Kind::One(Scalar::Blanked) => leading(unblanked(value)),
            _ => 0,
        };
        (1, if self.sort.descending { !up } else { up })
    }

    fn compare(&self, one: Option<&[u8]>, other: Option<&[u8]>) -> Ordering {
        match (one, other) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) if self.sort.nulls_first => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) if self.sort.nulls_first => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(other)) if self.sort.descending => self.kind.compare(other, one),
            (Some(one), Some(other)) => self.kind.compare(one, other),
        }
    }
}

/// The first eight bytes, with zeros where there are fewer: equal bytes keep their order, and a shorter text is not after a longer.
fn leading(value: &[u8]) -> u64 {
    if let Some(bytes) = value.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..value.len()].copy_from_slice(value);
    u64::from_be_bytes(bytes)
}

/// Takes a value off a row: `Some(None)` is NULL, `None` that there is none.
#[inline]
pub(super) fn next_value<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (len, after) = rest.split_first_chunk()?;
    let len = i32::from_be_bytes(*len);
    if len == -1 {
        *rest = after;
        return Some(None);
    }
    let (value, after) = after.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = after;
    Some(Some(value))
}

/// Compares two rows' hidden columns by the first keys.
pub(super) fn compare_from(mut one: &[u8], mut other: &[u8], keys: &[Key], first: usize) -> Ordering {
    for key in &keys[..first.min(keys.len())] {
        let (Some(a), Some(b)) = (next_value(&mut one), next_value(&mut other)) else { break };
        let order = key.compare(a, b);
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}
