//! Patterns that conditions compare with: text with `*`, qualified names, networks.

use std::fmt;
use std::net::IpAddr;

use pointsman_sql::Relation;

/// Text in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl Glob {
    /// A pattern.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether the whole of `text` is meant.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            if pattern.get(p) == Some(&b'*') {
                star = Some((p, t));
                p += 1;
            } else if pattern.get(p) == Some(&text[t]) {
                (p, t) = (p + 1, t + 1);
            } else if let Some((at, from)) = star {
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|&byte| byte == b'*')
    }

    /// Whether everything that `other` means is meant. Each `*` of `other` must be met by one of ours, since a
    /// pattern has no other way to match it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Schemas that a name without a schema is usually found in.
const USUAL_SCHEMAS: [&str; 2] = ["public", "pg_catalog"];

/// A relation's or function's name, with or without its schema, either part with `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    schema: Option<Glob>,
    name: Glob,
}

impl NamePattern {
    /// `name` or `schema.name`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text.split_once('.') {
            Some((schema, name)) => Self { schema: Some(Glob::new(schema)), name: Glob::new(name) },
            None => Self { schema: None, name: Glob::new(text) },
        }
    }

    /// Whether a name is meant. A pattern without a schema means every schema; a name without one is taken to be in
    /// `public` or `pg_catalog`.
    #[must_use]
    pub fn matches(&self, schema: Option<&str>, name: &str) -> bool {
        let in_schema = match (&self.schema, schema) {
            (None, _) => true,
            (Some(wanted), Some(schema)) => wanted.matches(schema),
            (Some(wanted), None) => USUAL_SCHEMAS.iter().any(|schema| wanted.matches(schema)),
        };
        in_schema && self.name.matches(name)
    }

    /// The one relation that is meant, if the pattern has no `*`.
    #[must_use]
    pub fn relation(&self) -> Option<Relation> {
        let parts = || self.schema.iter().chain([&self.name]);
        let plain = parts().all(|part| !part.0.contains('*'));
        let schema = self.schema.as_ref().map(|schema| schema.0.clone());
        plain.then(|| Relation { schema, name: self.name.0.clone() })
    }

    /// Whether everything that `other` means is meant.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let schemas = match (&self.schema, &other.schema) {
            (None, _) => true,
            (Some(ours), Some(theirs)) => ours.covers(theirs),
            (Some(ours), None) => ours.covers(&Glob::new("*")),
        };
        schemas && self.name.covers(&other.name)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => self.name.fmt(f),
        }
    }
}

/// A network of either family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    /// The network's bits, first ones first; v4 in the first 32.
    bits: u128,
    length: u8,
    v6: bool,
}

impl Net {
    /// `address` or `address/length`.
    ///
    /// # Errors
    /// Why it is neither; empty where there is nothing to add.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| String::new())?;
        let whole = if address.is_ipv6() { 128 } else { 32 };
        let length = match length {
            None => whole,
            Some(text) => text
                .parse()
                .ok()
                .filter(|length| *length <= whole)
                .ok_or_else(|| format!("the length is not from 0 to {whole}"))?,
        };
        let net = Self { bits: bits(address), length, v6: address.is_ipv6() };
        if net.bits & !net.mask() == 0 {
            Ok(net)
        } else {
            Err(format!("the address has bits after the first {length}"))
        }
    }

    fn mask(self) -> u128 {
        match self.length {
            0 => 0,
            length => u128::MAX << (128 - u32::from(length)),
        }
    }

    /// Whether an address is in it; a v4 address that comes as v6 counts as v4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv6() == self.v6 && bits(address) & self.mask() == self.bits
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.v6 == other.v6 && self.length <= other.length && other.bits & self.mask() == self.bits
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = if self.v6 {
            IpAddr::V6(self.bits.into())
        } else {
            IpAddr::V4(((self.bits >> 96) as u32).into())
        };
        write!(f, "{address}/{}", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_texts() {
        for (pattern, hits, misses) in [
            ("app", vec!["app"], vec!["ap", "apps", "App", ""]),
            ("app*", vec!["app", "apps"], vec!["ap", "xapp"]),
            ("*a*b", vec!["ab", "xaxbxb"], vec!["aba", "b"]),
            ("*", vec!["", "x"], vec![]),
            ("a**c", vec!["ac", "abc"], vec!["ab"]),
        ] {
            let glob = Glob::new(pattern);
            assert!(hits.iter().all(|text| glob.matches(text)), "{pattern}");
            assert!(!misses.iter().any(|text| glob.matches(text)), "{pattern}");
        }
        let covers = |a: &str, b: &str| Glob::new(a).covers(&Glob::new(b));
        assert!(covers("a*", "ab*") && covers("*", "a*b") && covers("a", "a"));
        assert!(!covers("ab*", "a*") && !covers("a", "a*"));
    }

    #[test]
    fn names_match_with_and_without_schemas() {
        let matches = |pattern: &str, schema, name| NamePattern::new(pattern).matches(schema, name);
        assert!(matches("t", None, "t") && matches("t", Some("s"), "t") && !matches("t", None, "u"));
        assert!(
            matches("s.t", Some("s"), "t") && !matches("s.t", None, "t") && !matches("s.t", Some("x"), "t")
        );
        assert!(matches("public.t", None, "t") && matches("pg_catalog.now", None, "now"));
        assert!(matches("audit.*", Some("audit"), "x") && matches("*_log", None, "a_log"));
        let covers = |a: &str, b: &str| NamePattern::new(a).covers(&NamePattern::new(b));
        assert!(covers("t", "s.t") && covers("*.t", "t") && covers("s.*", "s.t"));
        assert!(!covers("s.t", "t") && !covers("s.t", "x.t"));
    }

    #[test]
    fn networks_of_both_families() {
        let net = |text: &str| Net::parse(text).unwrap();
        let within = |text: &str, address: &str| net(text).contains(address.parse().unwrap());
        assert!(within("10.0.0.0/8", "10.255.0.1") && !within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("10.0.0.0/8", "::ffff:10.1.1.1") && !within("10.0.0.0/8", "fd00::1"));
        assert!(
            within("fd00::/8", "fdff::1") && !within("fd00::/8", "fc00::1") && !within("::/0", "1.1.1.1")
        );
        assert!(
            within("1.2.3.4", "1.2.3.4") && !within("1.2.3.4", "1.2.3.5") && within("0.0.0.0/0", "9.9.9.9")
        );
        assert!(
            net("10.0.0.0/8").covers(&net("10.1.0.0/16")) && !net("10.1.0.0/16").covers(&net("10.0.0.0/8"))
        );
        assert_eq!(net("10.0.0.0/8").to_string(), "10.0.0.0/8");
        assert_eq!(net("fd00::").to_string(), "fd00::/128");
        for wrong in ["10.0.0.1/8", "10.0.0.0/33", "x", "10.0.0.0/", "::/129", "10.0.0.0/-1"] {
            assert!(Net::parse(wrong).is_err(), "{wrong}");
        }
    }
}
