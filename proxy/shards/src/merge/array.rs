//! The order of arrays in their binary form (`array_send` and `array_cmp` in `arrayfuncs.c`): elements one by one, whatever
//! the dimensions, NULL after every value; then the count of elements, of dimensions, their lengths, their lower bounds.

use std::cmp::Ordering;

use super::compare::{Scalar, next_value};

/// `MAXDIM` in `array.h`.
const DIMENSIONS_MAX: usize = 6;

struct Array<'a> {
    /// A length and a lower bound for each dimension, eight bytes together.
    dimensions: &'a [u8],
    elements: &'a [u8],
}

impl<'a> Array<'a> {
    fn read(value: &'a [u8]) -> Option<(Self, u32)> {
        let (head, rest) = value.split_first_chunk::<12>()?;
        let [a, b, c, d, _, _, _, _, e, f, g, h] = *head;
        let count = usize::try_from(i32::from_be_bytes([a, b, c, d])).ok()?;
        let (dimensions, elements) = rest.split_at_checked(count.min(DIMENSIONS_MAX + 1) * 8)?;
        (count <= DIMENSIONS_MAX).then_some((Self { dimensions, elements }, u32::from_be_bytes([e, f, g, h])))
    }

    /// Lengths (0) or lower bounds (4).
    fn bounds(&self, part: usize) -> impl Iterator<Item = i32> + 'a {
        let bound =
            move |one: &'a [u8]| i32::from_be_bytes([one[part], one[part + 1], one[part + 2], one[part + 3]]);
        self.dimensions.chunks_exact(8).map(bound)
    }
}

/// Whether a value is an array of such elements.
pub(super) fn takes(scalar: Scalar, element: u32, value: &[u8]) -> bool {
    let Some((array, oid)) = Array::read(value) else { return false };
    let mut rest = array.elements;
    let mut count = 0_i64;
    while !rest.is_empty() {
        match next_value(&mut rest) {
            Some(value) if value.is_none_or(|value| scalar.takes(value)) => count += 1,
            _ => return false,
        }
    }
    let due = if array.dimensions.is_empty() {
        Some(0)
    } else {
        array.bounds(0).try_fold(1_i64, |all, length| all.checked_mul(i64::from(length)))
    };
    oid == element && due == Some(count)
}

/// Which of two arrays is less.
pub(super) fn compare(scalar: Scalar, one: &[u8], other: &[u8]) -> Ordering {
    let (Some((one, _)), Some((other, _))) = (Array::read(one), Array::read(other)) else {
        return Ordering::Equal;
    };
    let (mut left, mut right) = (one.elements, other.elements);
    loop {
        let order = match (next_value(&mut left), next_value(&mut right)) {
            (None, None) => break,
            (None, Some(_)) | (Some(Some(_)), Some(None)) => Ordering::Less,
            (Some(_), None) | (Some(None), Some(Some(_))) => Ordering::Greater,
            (Some(None), Some(None)) => Ordering::Equal,
            (Some(Some(a)), Some(Some(b))) => scalar.compare(a, b),
        };
        if order.is_ne() {
            return order;
        }
    }
    let dimensions = one.dimensions.len().cmp(&other.dimensions.len());
    dimensions
        .then_with(|| one.bounds(0).cmp(other.bounds(0)))
        .then_with(|| one.bounds(4).cmp(other.bounds(4)))
}
