//! Dates and timestamps in ISO 8601's order, which every `DateStyle` reads alike.

use std::fmt;

use super::text::trimmed;

const DAY_MICROS: i64 = 86_400_000_000;

/// Days from 0000-03-01 to 2000-01-01, in the calendar without a beginning that PostgreSQL uses.
const DAYS_TO_2000: i64 = 730_425;

/// A whole date.
pub(super) fn date(text: &[u8]) -> Option<i32> {
    let text = trimmed(text);
    if let Some(later) = infinity(text) {
        return Some(if later { i32::MAX } else { i32::MIN });
    }
    let (days, rest) = day(text)?;
    if rest.is_empty() { i32::try_from(days).ok() } else { None }
}

/// A timestamp without a zone. One that is written is read and does not count, as PostgreSQL has it.
pub(super) fn timestamp(text: &[u8]) -> Option<i64> {
    moment(trimmed(text)).map(|(micros, _)| micros)
}

/// A timestamp with a zone in numbers.
pub(super) fn timestamptz(text: &[u8]) -> Option<i64> {
    match moment(trimmed(text))? {
        (infinite @ (i64::MIN | i64::MAX), _) => Some(infinite),
        (micros, zone) => Some(micros - zone? * 1_000_000),
    }
}

fn infinity(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"infinity") {
        return Some(true);
    }
    text.eq_ignore_ascii_case(b"-infinity").then_some(false)
}

/// Microseconds since 2000, and the zone's seconds east of UTC if there is one.
fn moment(text: &[u8]) -> Option<(i64, Option<i64>)> {
    if let Some(later) = infinity(text) {
        return Some((if later { i64::MAX } else { i64::MIN }, None));
    }
    let (days, rest) = day(text)?;
    let midnight = days * DAY_MICROS;
    let rest = match rest {
        [] => return Some((midnight, None)),
        [b' ' | b'T', rest @ ..] => rest,
        _ => return None,
    };
    let (micros, rest) = time(rest)?;
    let zone = match rest {
        [] => None,
        rest => Some(zone(rest)?),
    };
    Some((midnight + micros, zone))
}

/// `YYYY-MM-DD`: days since 2000, and what follows.
fn day(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(after(rest, b'-')?, 2)?;
    let (day, rest) = number(after(rest, b'-')?, 2)?;
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if year == 0 || !(1..=length).contains(&day) {
        return None;
    }
    Some((days(year, month, day), rest))
}

/// Days since 2000. A year that begins in March has its leap day last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    before + (month * 153 + 2) / 5 + day - 1 - DAYS_TO_2000
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.ffffff`: microseconds, and what follows. More digits would be rounded.
fn time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hours, rest) = number(text, 2)?;
    let (minutes, rest) = number(after(rest, b':')?, 2)?;
    let (seconds, rest) = match after(rest, b':') {
        Some(rest) => number(rest, 2)?,
        None => (0, rest),
    };
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > 6 {
                return None;
            }
            let (value, rest) = number(rest, digits)?;
            (value * 10_i64.pow(6 - u32::try_from(digits).ok()?), rest)
        }
        rest => (0, rest),
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some((((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction, rest))
}

/// `Z`, `+HH`, `+HHMM` or `+HH:MM`, or with a minus: seconds east of UTC.
fn zone(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        [b'Z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = number(rest, 2)?;
    let (minutes, rest) = match rest {
        [] => (0, rest),
        [b':', rest @ ..] => number(rest, 2)?,
        rest => number(rest, 2)?,
    };
    // `MAX_TZDISP_HOUR` of `src/include/datatype/timestamp.h`.
    (rest.is_empty() && hours <= 15 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

fn after(text: &[u8], letter: u8) -> Option<&[u8]> {
    text.split_first().filter(|(first, _)| **first == letter).map(|(_, rest)| rest)
}

/// A number of exactly so many digits.
fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (own, rest) = text.split_at_checked(digits)?;
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    let value = own.iter().try_fold(0, |value, byte| Some(value * 10 + digit(byte)?))?;
    Some((value, rest))
}

/// Writes a date in ISO 8601.
pub(super) fn write_date(f: &mut fmt::Formatter<'_>, days: i32) -> fmt::Result {
    match days {
        i32::MAX => f.write_str("infinity"),
        i32::MIN => f.write_str("-infinity"),
        days => write_day(f, i64::from(days)),
    }
}

fn write_day(f: &mut fmt::Formatter<'_>, since_2000: i64) -> fmt::Result {
    let whole = since_2000 + DAYS_TO_2000;
    let (era, of_era) = (whole.div_euclid(146_097), whole.rem_euclid(146_097));
    let of_era_year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_era_year + of_era_year / 4 - of_era_year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + of_era_year + i64::from(month >= 10);
    let month = if month < 10 { month + 3 } else { month - 9 };
    write!(f, "{year:04}-{month:02}-{day:02}")
}

/// Writes a timestamp in ISO 8601 with a zone.
pub(super) fn write_timestamp(f: &mut fmt::Formatter<'_>, micros: i64, zone: &str) -> fmt::Result {
    match micros {
        i64::MAX => return f.write_str("infinity"),
        i64::MIN => return f.write_str("-infinity"),
        _ => {}
    }
    write_day(f, micros.div_euclid(DAY_MICROS))?;
    let of_day = micros.rem_euclid(DAY_MICROS);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    write!(f, " {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    if fraction != 0 {
        write!(f, ".{fraction:06}")?;
    }
    f.write_str(zone)
}
