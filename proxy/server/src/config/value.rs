//! Single values: counts, durations, sizes, words of a closed set. Each reader says what it expected.

use std::time::Duration;

use super::section::advice;
use super::tree::Value;

/// The longest duration that means anything here: a hundred years.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Text; a number or `true` must be quoted to be meant as text.
pub(crate) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Bool(_) => {
            Err(format!("expected text, found {}; put it in quotes", value.kind()))
        }
        other => Err(format!("expected text, found {}", other.kind())),
    }
}

/// Text that is not empty.
pub(crate) fn name(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    if text.is_empty() { Err("expected a name, found empty text".into()) } else { Ok(text) }
}

/// `true` or `false`.
pub(crate) fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => Err(format!("expected `true` or `false`, found {}", described(other))),
    }
}

/// A whole number within limits.
pub(crate) fn count(least: usize, most: usize) -> impl FnOnce(&Value) -> Result<usize, String> {
    move |value| match value {
        Value::Integer(number) => usize::try_from(*number)
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("expected a whole number from {least} to {most}, found {number}")),
        other => Err(format!("expected a whole number from {least} to {most}, found {}", described(other))),
    }
}

/// A word of a closed set.
pub(crate) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl FnOnce(&Value) -> Result<T, String> {
    move |value| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let Value::Text(found) = value else {
            return Err(format!("expected one of `{}`, found {}", known.join("`, `"), described(value)));
        };
        let hit = words.iter().find(|(word, _)| word == found);
        hit.map(|(_, meaning)| *meaning)
            .ok_or_else(|| format!("`{found}` is unknown; {}", advice(found, &known)))
    }
}

/// A duration above zero.
pub(crate) fn duration(value: &Value) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as `250ms`, `5s`, `10m` or `1h`";
    match value {
        Value::Text(text) => parse_duration(text).ok_or_else(|| format!("{EXPECTED}, found `{text}`")),
        Value::Integer(number) => {
            Err(format!("{EXPECTED}; `{number}` has no unit, did you mean `{number}s`?"))
        }
        other => Err(format!("{EXPECTED}, found {}", described(other))),
    }
}

/// A duration above zero, or `off`.
pub(crate) fn duration_or_off(value: &Value) -> Result<Option<Duration>, String> {
    match value {
        Value::Text(text) if text == "off" => Ok(None),
        other => duration(other).map(Some).map_err(|complaint| format!("{complaint} (or `off`)")),
    }
}

/// A number of bytes: a whole number, or one with a unit such as `64KiB`.
pub(crate) fn bytes(least: usize, most: usize) -> impl FnOnce(&Value) -> Result<usize, String> {
    move |value| {
        let expected = format!("expected a size from {least} to {most} bytes such as `16384` or `64KiB`");
        let size = match value {
            Value::Text(text) => parse_size(text),
            Value::Integer(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        let within = size.filter(|size| (least..=most).contains(size));
        within.ok_or_else(|| format!("{expected}, found {}", described(value)))
    }
}

/// `250ms`, `5s`, `10m`, `1h`, `7d`; a fraction is allowed: `1.5s`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let duration = Duration::try_from_secs_f64(number * seconds).ok()?;
    (!duration.is_zero() && duration <= DURATION_MAX).then_some(duration)
}

/// `64KiB`, `10MB`, `1GiB`, `512B`.
fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    let size = number * factor;
    // Exact for every size below 2^53 bytes, and no limit here comes near that.
    (size.fract() == 0.0 && size < 9e15).then_some(size as usize)
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let number = text[..at].parse().ok()?;
    Some((number, text[at..].trim_start()))
}

/// A value shown in a message; only readers of what is never a secret use it.
fn described(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("`{text}`"),
        Value::Integer(number) => format!("`{number}`"),
        Value::Bool(value) => format!("`{value}`"),
        other => other.kind().to_owned(),
    }
}
