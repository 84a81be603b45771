//! Connection URLs: `postgres://user:password@host:port/database?sslmode=...`, as libpq reads them.
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>

use std::path::PathBuf;

use crate::transport::config::TlsMode;
use crate::upstream::config::Address;

use super::section::advice;

/// A URL's parts; what it does not say is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionUrl {
    pub(crate) address: Address,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) tls: UrlTls,
}

/// What the URL says of TLS; paths as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct UrlTls {
    pub(crate) mode: Option<TlsMode>,
    pub(crate) ca: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
}

/// libpq's words for [`TlsMode`].
pub(crate) const TLS_MODES: &[(&str, TlsMode)] = &[
    ("disable", TlsMode::Disable),
    ("allow", TlsMode::Allow),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];

const PARAMETERS: &[&str] =
    &["host", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/// Settings of libpq that Pointsman has under another name.
const ELSEWHERE: &[(&str, &str)] = &[
    ("connect_timeout", "`pool.connect_timeout`"),
    ("application_name", "`pool.application_name`"),
    ("options", "the client's own connection string"),
    ("target_session_attrs", "`primary` and `replicas`"),
];

/// Reads a URL. Complaints never show it: it may hold a password.
pub(crate) fn parse_url(text: &str) -> Result<ConnectionUrl, String> {
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    let rest = rest.ok_or("expected a URL such as `postgres://user:password@host:5432/database`")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, location) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (host, port) = split_port(location)?;
    let mut parts = Parts {
        host: decode(host, "host")?,
        port: port.to_owned(),
        user: decode(user, "user")?,
        password: decode(password, "password")?,
        database: decode(database, "database")?,
        tls: UrlTls::default(),
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        parts.parameter(pair)?;
    }
    parts.finish()
}

struct Parts {
    host: String,
    port: String,
    user: String,
    password: String,
    database: String,
    tls: UrlTls,
}

impl Parts {
    fn parameter(&mut self, pair: &str) -> Result<(), String> {
        let (key, value) = pair.split_once('=').ok_or("expected `key=value` after `?` and `&` of the URL")?;
        let key = decode(key, "parameter")?;
        let value = decode(value, &key)?;
        let target = match key.as_str() {
            "host" => &mut self.host,
            "port" => &mut self.port,
            "user" => &mut self.user,
            "password" => &mut self.password,
            "dbname" => &mut self.database,
            "sslmode" => {
                self.tls.mode = Some(tls_mode(&value)?);
                return Ok(());
            }
            "sslrootcert" => self.tls.ca.insert(String::new()),
            "sslcert" => self.tls.certificate.insert(String::new()),
            "sslkey" => self.tls.key.insert(String::new()),
            other => return Err(unknown_parameter(other)),
        };
        if key.starts_with("ssl") && value.is_empty() {
            return Err(format!("the URL's `{key}` is empty"));
        }
        *target = value;
        Ok(())
    }

    fn finish(self) -> Result<ConnectionUrl, String> {
        let port = match self.port.as_str() {
            "" => 5432,
            text => text
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or("the URL's port is not a number from 1 to 65535")?,
        };
        let address = match self.host.as_str() {
            "" => return Err("the URL names no host".into()),
            host if host.starts_with('/') => Address::Unix(PathBuf::from(format!("{host}/.s.PGSQL.{port}"))),
            host if host.contains(',') => {
                return Err("the URL names several hosts; list the others under `replicas`".into());
            }
            host => Address::Tcp { host: host.to_owned(), port },
        };
        let filled = |text: String| (!text.is_empty()).then_some(text);
        Ok(ConnectionUrl {
            address,
            user: filled(self.user),
            password: filled(self.password),
            database: filled(self.database),
            tls: self.tls,
        })
    }
}

fn tls_mode(word: &str) -> Result<TlsMode, String> {
    let known: Vec<_> = TLS_MODES.iter().map(|(word, _)| *word).collect();
    let hit = TLS_MODES.iter().find(|(known, _)| *known == word).map(|(_, mode)| *mode);
    hit.ok_or_else(|| format!("the URL's sslmode `{word}` is unknown; {}", advice(word, &known)))
}

fn unknown_parameter(name: &str) -> String {
    match ELSEWHERE.iter().find(|(known, _)| *known == name) {
        Some((_, place)) => format!("`{name}` has no place in the URL; it belongs to {place}"),
        None => format!("the URL's parameter `{name}` is unknown; {}", advice(name, PARAMETERS)),
    }
}

/// `host:port`, `[::1]:port`, `host`, nothing.
fn split_port(location: &str) -> Result<(&str, &str), String> {
    let Some(bracketed) = location.strip_prefix('[') else {
        return Ok(location.rsplit_once(':').unwrap_or((location, "")));
    };
    let (host, rest) = bracketed.split_once(']').ok_or("the URL's `[` is never closed")?;
    if host.parse::<std::net::Ipv6Addr>().is_err() {
        return Err("the URL has no IPv6 address between `[` and `]`".into());
    }
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, port)),
        None if rest.is_empty() => Ok((host, "")),
        None => Err("expected `:` and a port after the URL's `]`".into()),
    }
}

/// Undoes percent-encoding.
fn decode(text: &str, part: &str) -> Result<String, String> {
    let wrong = || format!("the URL's {part} has a `%` that two hexadecimal digits do not follow");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(wrong)?;
        let all_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte =
            u8::from_str_radix(digits, 16).ok().filter(|byte| all_hex && *byte != 0).ok_or_else(wrong)?;
        bytes.push(byte);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("the URL's {part} is not UTF-8 once decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    #[test]
    fn reads_every_part() {
        let url = parse_url(
            "postgres://al%69ce:p%40ss:w@db.example:6000/app%2Fx?sslmode=verify-full&sslrootcert=ca.pem",
        )
        .unwrap();
        assert_eq!(url.address, tcp("db.example", 6000));
        assert_eq!(url.user.as_deref(), Some("alice"));
        assert_eq!(url.password.as_deref(), Some("p@ss:w"));
        assert_eq!(url.database.as_deref(), Some("app/x"));
        assert_eq!(url.tls.mode, Some(TlsMode::VerifyFull));
        assert_eq!(url.tls.ca.as_deref(), Some("ca.pem"));
    }

    #[test]
    fn reads_every_form_of_host() {
        let address = |text| parse_url(text).map(|url| url.address);
        assert_eq!(address("postgresql://h"), Ok(tcp("h", 5432)));
        assert_eq!(address("postgres://u@[::1]:7/d"), Ok(tcp("::1", 7)));
        assert_eq!(address("postgres://[::1]/d"), Ok(tcp("::1", 5432)));
        assert_eq!(address("postgres://%2Fvar%2Frun:6/d"), Ok(Address::Unix("/var/run/.s.PGSQL.6".into())));
        assert_eq!(address("postgres://u@/d?host=/tmp"), Ok(Address::Unix("/tmp/.s.PGSQL.5432".into())));
        assert_eq!(address("postgres:///d?host=h&port=9"), Ok(tcp("h", 9)));
    }

    #[test]
    fn complains_without_showing_the_password() {
        let cases = [
            ("mysql://u:secret@h/d", "expected a URL such as"),
            ("postgres://u:secret@/d", "names no host"),
            ("postgres://u:secret@h:0/d", "port is not a number"),
            ("postgres://u:secret@h:x/d", "port is not a number"),
            ("postgres://u:secret@a,b/d", "several hosts"),
            ("postgres://u:secret%4@h/d", "password has a `%`"),
            ("postgres://u:secret%ff@h/d", "password is not UTF-8"),
            ("postgres://u:secret@[::1/d", "never closed"),
            ("postgres://u:secret@[x]/d", "no IPv6 address"),
            ("postgres://u:secret@h/d?sslmod=require", "did you mean `sslmode`?"),
            ("postgres://u:secret@h/d?sslmode=requir", "did you mean `require`?"),
            ("postgres://u:secret@h/d?connect_timeout=3", "`pool.connect_timeout`"),
            ("postgres://u:secret@h/d?sslmode", "expected `key=value`"),
            ("postgres://u:secret@h/d?sslrootcert=", "`sslrootcert` is empty"),
        ];
        for (url, expected) in cases {
            let complaint = parse_url(url).unwrap_err();
            assert!(complaint.contains(expected), "{url}: {complaint}");
            assert!(!complaint.contains("secret"), "{complaint}");
        }
    }
}
