//! Users known without asking a server: those of the configuration and of a PgBouncer-style `userlist.txt`.

use std::collections::HashMap;

use super::config::{AuthConfig, Secret, User};

/// The users of one configuration, by name.
#[derive(Debug, Default)]
pub struct UserStore {
    users: HashMap<String, User>,
}

impl UserStore {
    /// A later user replaces an earlier one of the same name.
    pub fn new(auth: &AuthConfig) -> Self {
        Self { users: auth.users.iter().map(|user| (user.name.clone(), user.clone())).collect() }
    }

    /// The user of this exact name.
    pub fn lookup(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// Users held.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

impl Secret {
    /// Tells the kinds apart as PostgreSQL does for `rolpassword` (`get_password_type` in `crypt.c`): what is neither a
    /// whole md5 hash nor a whole SCRAM verifier is a password.
    pub fn detect(text: &str) -> Self {
        if is_md5(text) {
            Self::Md5(text.to_owned())
        } else if is_verifier(text) {
            Self::Verifier(text.to_owned())
        } else {
            Self::Password(text.to_owned())
        }
    }
}

/// `md5` and 32 hexadecimal digits.
pub(crate) fn is_md5(text: &str) -> bool {
    let Some(digest) = text.strip_prefix("md5") else { return false };
    digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, the last three in base64, the keys 32 bytes long.
pub(crate) fn is_verifier(text: &str) -> bool {
    use base64::Engine as _;
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    let is_key = |text: &str| decode(text).is_some_and(|key| key.len() == 32);
    let parts = || {
        let (rounds, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (rounds, salt) = rounds.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let rounds_fit = rounds.parse::<u32>().is_ok_and(|rounds| rounds > 0);
        Some(
            rounds_fit
                && decode(salt).is_some_and(|salt| !salt.is_empty())
                && is_key(stored)
                && is_key(server),
        )
    };
    parts().unwrap_or(false)
}

/// What is wrong with a userlist, and where; both numbers count from 1, the column in characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct UserlistError {
    /// Line of the file.
    pub line: u64,
    /// Column of the line.
    pub column: u64,
    /// What was expected. Never shows a secret.
    pub message: &'static str,
}

/// Reads a userlist: one user a line, `"name" "secret"`, a double quote inside written twice. The secret is a password,
/// an md5 hash or a SCRAM verifier; empty means none. The rest of a line is ignored, as are empty lines and those that begin with `;`.
/// <https://www.pgbouncer.org/config.html#authentication-file-format>
pub fn parse_userlist(text: &str) -> Result<Vec<User>, Vec<UserlistError>> {
    let mut users: Vec<User> = Vec::new();
    let mut errors = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (index, line) in text.lines().enumerate() {
        let fail = |at: usize, message| UserlistError {
            line: index as u64 + 1,
            column: line[..at].chars().count() as u64 + 1,
            message,
        };
        match parse_line(line) {
            Ok(None) => {}
            Ok(Some(user)) if !seen.insert(user.name.clone()) => {
                errors.push(fail(line.len() - line.trim_start().len(), "this user is listed twice"));
            }
            Ok(Some(user)) => users.push(user),
            Err((at, message)) => errors.push(fail(at, message)),
        }
    }
    if errors.is_empty() { Ok(users) } else { Err(errors) }
}

fn parse_line(line: &str) -> Result<Option<User>, (usize, &'static str)> {
    let start = skip_space(line, 0);
    if start == line.len() || line[start..].starts_with(';') {
        return Ok(None);
    }
    let (name, after_name) = quoted(line, start, "expected a user's name in double quotes")?;
    if name.is_empty() {
        return Err((start, "the user's name is empty"));
    }
    let second = skip_space(line, after_name);
    if second == after_name {
        return Err((after_name, "expected a space and the user's secret in double quotes"));
    }
    let (secret, _) = quoted(line, second, "expected the user's secret in double quotes")?;
    let secret = (!secret.is_empty()).then(|| Secret::detect(&secret));
    Ok(Some(User { name, secret }))
}

fn skip_space(line: &str, from: usize) -> usize {
    line.len() - line[from..].trim_start().len()
}

/// The text in quotes that begins at `start`, and where it ends.
fn quoted(
    line: &str,
    start: usize,
    expected: &'static str,
) -> Result<(String, usize), (usize, &'static str)> {
    let Some(inside) = line[start..].strip_prefix('"') else { return Err((start, expected)) };
    let mut text = String::new();
    let mut letters = inside.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != '"' {
            text.push(letter);
        } else if letters.next_if(|(_, next)| *next == '"').is_some() {
            text.push('"');
        } else {
            return Ok((text, start + 1 + at + 1));
        }
    }
    Err((start, "this quote is never closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:MTIzNDU2Nzg5MDEyMzQ1Ng==$\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn reads_passwords_hashes_verifiers_and_comments() {
        let text = format!(
            "; users\n\n\"alice\" \"wonder \"\"land\"\"\"\n\"bob\" \"md5{}\"\t\"ignored\"\n \"carol\" \"{VERIFIER}\"\n\"dan\" \"\"\n",
            "0123456789abcdef".repeat(2)
        );
        let users = parse_userlist(&text).unwrap();
        let names: Vec<_> = users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["alice", "bob", "carol", "dan"]);
        assert_eq!(users[0].secret, Some(Secret::Password("wonder \"land\"".into())));
        assert!(matches!(users[1].secret, Some(Secret::Md5(_))));
        assert!(matches!(users[2].secret, Some(Secret::Verifier(_))));
        assert_eq!(users[3].secret, None);
    }

    #[test]
    fn says_where_a_line_is_wrong() {
        let text = "alice \"a\"\n\"bob\"\n\"bob\"\"x\n\"é\"x\n\"ok\" \"1\"\n  \"ok\" \"2\"\n\"u\" p\n";
        let errors = parse_userlist(text).unwrap_err();
        let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
        assert_eq!(places, [(1, 1), (2, 6), (3, 1), (4, 4), (6, 3), (7, 5)]);
        assert_eq!(errors[2].message, "this quote is never closed");
        assert_eq!(errors[4].message, "this user is listed twice");
    }

    #[test]
    fn what_only_resembles_a_hash_is_a_password() {
        for text in
            ["md5", "md5ABCDEF0123456789ABCDEF0123456789", "SCRAM-SHA-256$4096:x$y:z", "SCRAM-SHA-256$"]
        {
            assert_eq!(Secret::detect(text), Secret::Password(text.into()));
        }
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_place_in_it() {
        let letters = ['"', '"', ' ', '\n', '\t', ';', 'a', 'é', '$', '\0'];
        for _ in 0..10_000 {
            let text: String = (0..rand::random_range(0..60))
                .map(|_| letters[rand::random_range(0..letters.len())])
                .collect();
            match parse_userlist(&text) {
                Ok(users) => assert!(users.iter().all(|user| !user.name.is_empty())),
                Err(errors) => {
                    for error in errors {
                        let line = text.lines().nth(usize::try_from(error.line).unwrap() - 1).unwrap();
                        assert!(error.column <= line.chars().count() as u64 + 1, "{text:?}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        let letters = ['"', ' ', '\t', ';', 'a', 'b', 'é', '$', '\0', '\\', '\u{a0}'];
        let text = |length: usize| -> String {
            (0..length).map(|_| letters[rand::random_range(0..letters.len())]).collect()
        };
        for _ in 0..10_000 {
            let (name, secret) = (text(rand::random_range(1..8)), text(rand::random_range(0..20)));
            let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            // A quote right behind the secret would be part of it; anything else there is ignored.
            let line = format!(" {}\t{} {}", quoted(&name), quoted(&secret), text(3));
            let secret = (!secret.is_empty()).then_some(Secret::Password(secret));
            assert_eq!(parse_userlist(&line), Ok(vec![User { name, secret }]), "{line:?}");
        }
    }

    #[test]
    fn the_last_of_a_name_is_looked_up() {
        let user = |secret: &str| User { name: "a".into(), secret: Some(Secret::Password(secret.into())) };
        let auth = AuthConfig {
            method: super::super::config::AuthMethod::Scram,
            users: vec![user("1"), user("2")],
            userlist: None,
            auth_query: None,
            admins: Vec::new(),
        };
        let store = UserStore::new(&auth);
        assert_eq!(store.lookup("a"), Some(&user("2")));
        assert_eq!(store.lookup("A"), None);
        assert_eq!((store.len(), store.is_empty()), (1, false));
    }
}
