//! Values with a syntax of their own: durations, rates, sizes, tags, networks, names, SQLSTATEs, regular expressions.

use std::net::IpAddr;
use std::time::Duration;

use crate::caching::TagTemplate;
use crate::pattern::Net;

/// How such a value is checked and described.
pub(crate) struct Leaf {
    /// For the schema's definitions.
    pub(crate) name: &'static str,
    /// What was expected, for messages.
    pub(crate) expected: &'static str,
    /// What a schema can say of it, if more than that it is text.
    pub(crate) pattern: Option<&'static str>,
    /// Why a text is not one.
    pub(crate) wrong: fn(&str) -> Option<String>,
}

pub(crate) const DURATION: Leaf = Leaf {
    name: "duration",
    expected: "a duration such as `250ms`, `5s`, `10m` or `1h`",
    pattern: Some(r"^[0-9]+(\.[0-9]+)? ?(us|ms|s|m|min|h|d)$"),
    wrong: |text| duration(text).is_none().then(String::new),
};

pub(crate) const RATE: Leaf = Leaf {
    name: "rate",
    expected: "a rate such as `100/s`, `50/m` or `10/h`",
    pattern: Some("^[1-9][0-9]*/(s|m|h)$"),
    wrong: |text| rate(text).is_none().then(String::new),
};

pub(crate) const SIZE: Leaf = Leaf {
    name: "size",
    expected: "a size such as `64KiB` or `1MiB`",
    pattern: Some("^[0-9]+ ?(B|KiB|MiB|GiB|kB|KB|MB|GB)$"),
    wrong: |text| size(text).is_none().then(String::new),
};

pub(crate) const TAG: Leaf = Leaf {
    name: "tag",
    expected: "a tag such as `posts.author_id={author_id}` or `feed:{agent_id}`",
    pattern: None,
    wrong: |text| TagTemplate::parse(text).err().map(|error| error.to_string()),
};

pub(crate) const TAG_QUERY: Leaf = Leaf {
    name: "tagQuery",
    expected: "a query with columns in braces",
    pattern: None,
    wrong: |text| TagTemplate::parse(text).err().map(|error| error.to_string()),
};

pub(crate) const SQLSTATE: Leaf = Leaf {
    name: "sqlstate",
    expected: "an SQLSTATE of an error: five digits or capital letters, not beginning with 00, 01 or 02",
    pattern: Some("^[0-9A-Z]{5}$"),
    wrong: |text| {
        let form = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        let error = !["00", "01", "02"].iter().any(|class| text.starts_with(class));
        (!form || !error).then(String::new)
    },
};

pub(crate) const NET: Leaf = Leaf {
    name: "network",
    expected: "an address or a network such as `10.0.0.0/8` or `fd00::/8`",
    pattern: None,
    wrong: |text| Net::parse(text).err(),
};

pub(crate) const ADDRESS: Leaf = Leaf {
    name: "address",
    expected: "an IP address",
    pattern: None,
    wrong: |text| text.parse::<IpAddr>().is_err().then(String::new),
};

pub(crate) const NAME: Leaf = Leaf {
    name: "qualifiedName",
    expected: "a name such as `orders`, `audit.log` or `log_*`",
    pattern: Some(r"^[^.]+(\.[^.]+)?$"),
    wrong: |text| {
        let parts: Vec<&str> = text.split('.').collect();
        (parts.len() > 2 || parts.iter().any(|part| part.is_empty())).then(String::new)
    },
};

pub(crate) const FUNCTION: Leaf = Leaf {
    name: "functionName",
    expected: "a function's name such as `score` or `app.score`",
    pattern: Some(r"^[^.*]+(\.[^.*]+)?$"),
    wrong: |text| {
        if text.contains('*') { Some("no `*` is meant here".to_owned()) } else { (NAME.wrong)(text) }
    },
};

pub(crate) const REGEX: Leaf =
    Leaf { name: "regex", expected: "a regular expression", pattern: None, wrong: |text| regex(text).err() };

/// The longest duration that means anything here: a hundred years.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// `250ms`, `5s`, `10m`, `1h`, `7d`; a fraction is allowed: `1.5s`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let number: f64 = text[..at].parse().ok()?;
    let seconds = match text[at..].trim_start() {
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

/// `100/s`, `50/m`, `10/h`: how many, in how long.
pub(crate) fn rate(text: &str) -> Option<(u32, Duration)> {
    let (number, unit) = text.split_once('/')?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let number = number.parse().ok().filter(|number| *number > 0)?;
    Some((number, Duration::from_secs(seconds)))
}

/// `64KiB`, `10MB`, `1GiB`, `512B`: a number of bytes that is not zero.
pub(crate) fn size(text: &str) -> Option<usize> {
    let at = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: usize = text[..at].parse().ok()?;
    let unit = match text[at..].trim_start() {
        "B" => 1,
        "kB" | "KB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit).filter(|bytes| *bytes > 0)
}

/// A compiled expression may take this much memory, in bytes.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Compiles a regular expression; the error is one line.
pub(crate) fn regex(text: &str) -> Result<regex::bytes::Regex, String> {
    regex::bytes::RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => format!("it compiles to more than {limit} bytes"),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    })
}
