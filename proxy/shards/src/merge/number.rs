//! The order of `numeric` in its binary form (`numeric_send` in `numeric.c`): count of digits, weight of the first, sign, scale,
//! digits of base 10,000. The scale does not count.

use std::cmp::Ordering;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITE: u16 = 0xd000;
const MINUS_INFINITE: u16 = 0xf000;

/// Whether a value has this form.
pub(super) fn takes(value: &[u8]) -> bool {
    let Some((head, digits)) = value.split_first_chunk::<8>() else { return false };
    let sign = word(head, 4);
    usize::from(word(head, 0)) * 2 == digits.len()
        && matches!(sign, 0 | NEGATIVE | NAN | INFINITE | MINUS_INFINITE)
}

/// Which of two values is less: minus infinity, numbers, infinity, NaN.
pub(super) fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let (one, other) = (Number::read(one), Number::read(other));
    one.class.cmp(&other.class).then_with(|| match one.class {
        Class::Negative => other.magnitude(&one),
        Class::Positive => one.magnitude(&other),
        _ => Ordering::Equal,
    })
}

fn word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u16::from_be_bytes(*word))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    MinusInfinity,
    Negative,
    Zero,
    Positive,
    Infinity,
    NotANumber,
}

struct Number<'a> {
    class: Class,
    /// Power of 10,000 of the first digit.
    weight: i32,
    /// Neither the first nor the last digit is zero.
    digits: &'a [u8],
}

impl<'a> Number<'a> {
    fn read(value: &'a [u8]) -> Self {
        let mut weight = i32::from(word(value, 2).cast_signed());
        let mut digits = value.get(8..).unwrap_or_default();
        while let Some(rest) = digits.strip_prefix(&[0, 0]) {
            (digits, weight) = (rest, weight - 1);
        }
        while digits.len() >= 2 && digits.ends_with(&[0, 0]) {
            digits = &digits[..digits.len() - 2];
        }
        let class = match word(value, 4) {
            NAN => Class::NotANumber,
            INFINITE => Class::Infinity,
            MINUS_INFINITE => Class::MinusInfinity,
            _ if digits.is_empty() => Class::Zero,
            NEGATIVE => Class::Negative,
            _ => Class::Positive,
        };
        Self { class, weight, digits }
    }

    /// Digits are big-endian words, so that they compare as bytes do.
    fn magnitude(&self, other: &Self) -> Ordering {
        self.weight.cmp(&other.weight).then_with(|| self.digits.cmp(other.digits))
    }
}
