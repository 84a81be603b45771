//! The document's `auth`: how clients prove who they are, and who is known.

use std::path::Path;
use std::time::Duration;

use crate::client::config::{AuthConfig, AuthMethod, AuthQuery, Secret, User};
use crate::client::users::{is_md5, is_verifier, parse_userlist};
use crate::transport::config::{ClientCertificate, Listen};

use super::problem::{Problem, Problems};
use super::section::Section;
use super::tree::{Node, Place, Value};
use super::{Config, take_file, told, value};

/// How long an answer of the `auth_query` is kept when nobody says.
const AUTH_QUERY_KEEP: Duration = Duration::from_secs(30);

/// Names and verifiers of roles that may log in now, and the seconds for which they may. Everything is qualified: the
/// query must mean the same under any `search_path`.
pub(crate) const AUTH_QUERY: &str = "SELECT rolname::pg_catalog.text, rolpassword, \
    pg_catalog.date_part('epoch', rolvaliduntil) OPERATOR(pg_catalog.-) \
    pg_catalog.date_part('epoch', pg_catalog.now()) FROM pg_catalog.pg_authid \
    WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin \
    AND (rolvaliduntil IS NULL OR rolvaliduntil OPERATOR(pg_catalog.>) pg_catalog.now())";

const METHODS: &[(&str, AuthMethod)] = &[
    ("scram", AuthMethod::Scram),
    ("md5", AuthMethod::Md5),
    ("cleartext", AuthMethod::Cleartext),
    ("certificate", AuthMethod::Certificate),
    ("trust", AuthMethod::Trust),
];

pub(crate) fn read_auth(top: &mut Section<'_>, problems: &mut Problems<'_>) -> AuthConfig {
    let mut auth = AuthConfig {
        method: AuthMethod::Scram,
        users: Vec::new(),
        userlist: None,
        auth_query: None,
        admins: Vec::new(),
    };
    let Some(mut section) = top.section("auth", problems) else { return auth };
    section.set("method", &mut auth.method, problems, value::word(METHODS));
    auth.userlist = take_file(&mut section, "userlist", problems);
    if let Some(path) = &auth.userlist {
        match read_userlist(path) {
            Ok(users) => auth.users = users,
            Err(wrong) => problems.append(wrong),
        }
    }
    let mut names: Vec<String> = Vec::new();
    for (path, node) in section.list("users", problems) {
        let Some(user) = read_user(&path, node, problems) else { continue };
        if names.contains(&user.name) {
            problems.add(node.place, format!("user `{}` is listed twice", user.name));
        }
        names.push(user.name.clone());
        auth.users.push(user);
    }
    auth.auth_query = section.section("auth_query", problems).map(|query| read_auth_query(query, problems));
    auth.admins = read_admins(&mut section, problems);
    section.close(problems);
    auth
}

/// Who may use the admin console.
fn read_admins(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Vec<String> {
    let mut admins: Vec<String> = Vec::new();
    for (path, node) in section.list("admins", problems) {
        match value::name(&node.value) {
            Ok(name) if admins.contains(&name) => {
                problems.add(node.place, format!("`{path}`: admin `{name}` is listed twice"));
            }
            Ok(name) => admins.push(name),
            Err(complaint) => problems.add(node.place, format!("`{path}`: {complaint}")),
        }
    }
    admins
}

/// The userlist's users, or what is wrong with each line of it.
pub(crate) fn read_userlist(path: &Path) -> Result<Vec<User>, Vec<Problem>> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        vec![Problem { file: file.clone(), place: None, message: told(&error), line: None }]
    })?;
    parse_userlist(&text).map_err(|errors| {
        let place = |line, column, message: &str| Problem {
            file: file.clone(),
            place: Some((line, column)),
            message: message.to_owned(),
            line: None, // It may hold a secret.
        };
        errors.iter().map(|error| place(error.line, error.column, error.message)).collect()
    })
}

fn read_user(path: &str, node: &Node, problems: &mut Problems<'_>) -> Option<User> {
    let mut section = Section::open(node, path, problems)?;
    section.require("name", problems);
    let name = section.take("name", problems, value::name);
    let password = section.take("password", problems, |value| value::name(value).map(Secret::Password));
    let md5 = section.take("md5", problems, |value| {
        let text = value::text(value)?;
        if is_md5(&text) {
            Ok(Secret::Md5(text))
        } else {
            Err("expected `md5` and 32 hexadecimal digits".into())
        }
    });
    let scram = section.take("scram", problems, |value| {
        let expected =
            "expected `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, as in `pg_authid.rolpassword`";
        let text = value::text(value)?;
        if is_verifier(&text) { Ok(Secret::Verifier(text)) } else { Err(expected.into()) }
    });
    if ["password", "md5", "scram"].into_iter().filter(|key| section.has(key)).count() > 1 {
        problems.add(section.place, format!("`{path}` has more than one of `password`, `md5` and `scram`"));
    }
    section.close(problems);
    Some(User { name: name?, secret: password.or(md5).or(scram) })
}

fn read_auth_query(mut section: Section<'_>, problems: &mut Problems<'_>) -> AuthQuery {
    let mut query = AuthQuery { sql: AUTH_QUERY.into(), database: None, keep: AUTH_QUERY_KEEP };
    section.set("sql", &mut query.sql, problems, |value: &Value| {
        let sql = value::name(value)?;
        if sql.contains("$1") { Ok(sql) } else { Err("the query does not use `$1`, the user's name".into()) }
    });
    query.database = section.take("database", problems, value::name);
    section.set("keep", &mut query.keep, problems, value::duration);
    section.close(problems);
    query
}

/// Where nobody is listed and no query is given: whoever `pg_authid` can verify.
pub(crate) fn default_users(auth: &mut AuthConfig) {
    if !auth.users.is_empty() || auth.userlist.is_some() || auth.auth_query.is_some() {
        return;
    }
    auth.auth_query = Some(AuthQuery { sql: AUTH_QUERY.into(), database: None, keep: AUTH_QUERY_KEEP });
}

/// Some methods need TLS to be of use.
pub(crate) fn check_method(config: &Config, place: Place, problems: &mut Problems<'_>) {
    let shows_certificate =
        config.tls.as_ref().is_some_and(|tls| tls.client_certificate != ClientCertificate::None);
    if config.auth.method == AuthMethod::Certificate && !shows_certificate {
        problems.add(place, "`auth.method: certificate` needs `tls.client_ca`, so that clients may show one");
    }
    let on_tcp = config.listen.iter().any(|listen| matches!(listen, Listen::Tcp(_)));
    if config.auth.method == AuthMethod::Cleartext && config.tls.is_none() && on_tcp {
        problems
            .add(place, "`auth.method: cleartext` over TCP needs `tls`: passwords are not sent in the open");
    }
}
