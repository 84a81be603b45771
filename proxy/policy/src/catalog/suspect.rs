//! Which functions may leave state in the session that calls them: judged by the words of their source, because
//! PostgreSQL does not say. A wrong suspicion costs a pinned session, a missed one a leak; so the words decide widely.

use std::collections::{HashMap, HashSet};

use super::rows::FunctionRow;

/// Words after which a statement of procedural code begins.
const STARTS: &[&str] = &[";", "begin", "then", "else", "loop", "$", "'", "\""];

/// Names whose mere mention is enough.
const MENTIONS: &[&str] = &[
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "dblink_connect",
    "dblink_connect_u",
    "temp",
    "temporary",
    "pg_temp",
];

/// The words and single characters of a source, in lower case; comments are not told apart.
fn words(source: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in source.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.extend(c.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if !c.is_whitespace() {
            words.push(c.to_string());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Whether code with this source may leave settings, locks, listeners, temporary tables or prepared statements in
/// the session.
#[must_use]
pub fn leaves_state(source: &str) -> bool {
    suspicious(&words(source))
}

fn suspicious(words: &[String]) -> bool {
    let mut before = ";";
    for (at, word) in words.iter().enumerate() {
        let begins = STARTS.contains(&before);
        let next = words.get(at + 1).map_or("", String::as_str);
        let found = match word.as_str() {
            "set_config" => !is_local(&words[at + 1..]),
            "set" => begins && !matches!(next, "local" | "constraints" | "transaction"),
            "reset" | "listen" | "prepare" | "load" | "discard" => begins && next != ":",
            "execute" => !matches!(next, "function" | "procedure"),
            other => MENTIONS.contains(&other),
        };
        if found {
            return true;
        }
        before = word;
    }
    false
}

/// Whether the call of `set_config` whose arguments follow ends with `true`: it ends with the transaction.
fn is_local(rest: &[String]) -> bool {
    let mut depth = 0usize;
    for (at, word) in rest.iter().enumerate() {
        match word.as_str() {
            "(" => depth += 1,
            ")" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at >= 2 && rest[at - 1] == "true" && rest[at - 2] == ",";
                }
            }
            _ => {}
        }
    }
    false
}

/// The names of users' functions that leave state, themselves or through others they name.
pub(super) fn suspects(functions: &[FunctionRow]) -> HashSet<Box<str>> {
    let mut found: HashSet<Box<str>> = HashSet::new();
    let mut callers: HashMap<Box<str>, HashSet<&str>> = HashMap::new();
    let names: HashSet<&str> = functions.iter().filter(|f| !f.builtin).map(|f| &*f.name).collect();
    for function in functions.iter().filter(|f| !f.builtin) {
        // What stands before the body is set for the call only.
        let (head, body) = function.source.split_once("\nAS $").unwrap_or(("", &function.source));
        let (mut words, code) = (words(head), words(body));
        if function.opaque || suspicious(&code) {
            found.insert(function.name.clone());
        }
        words.extend(code);
        for word in &words {
            if let Some(name) = names.get(word.as_str())
                && **name != *function.name
            {
                callers.entry((*name).into()).or_default().insert(&function.name);
            }
        }
    }
    let mut queue: Vec<Box<str>> = found.iter().cloned().collect();
    while let Some(name) = queue.pop() {
        for caller in callers.get(&name).into_iter().flatten() {
            if found.insert((*caller).into()) {
                queue.push((*caller).into());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_leaves_state_is_suspected() {
        for source in [
            "BEGIN PERFORM set_config('app.user', $1, false); END",
            "BEGIN PERFORM set_config('app.user', $1, is_local); END",
            "BEGIN SET search_path = a; END",
            "BEGIN IF x THEN SET SESSION work_mem = '1MB'; END IF; END",
            "SELECT pg_advisory_lock(1)",
            "BEGIN CREATE TEMP TABLE t(a int); END",
            "BEGIN EXECUTE 'SET ROLE x'; END",
            "BEGIN LISTEN x; END",
            "$$SET work_mem = '1MB'$$",
            "SELECT dblink_exec('SET work_mem = 1')",
            "SELECT run($q$x$q$, \"LISTEN x\")",
        ] {
            assert!(leaves_state(source), "{source}");
        }
    }

    #[test]
    fn plain_code_is_not() {
        for source in [
            "BEGIN UPDATE t SET a = 1 WHERE b = 2; RETURN NEW; END",
            "BEGIN PERFORM set_config('app.user', coalesce($1, 'x'), true); END",
            "BEGIN SET LOCAL work_mem = '1MB'; END",
            "SELECT pg_advisory_xact_lock(1)",
            "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql SET search_path TO 'x' AS $function$select 1$function$",
        ] {
            assert!(!leaves_state(source), "{source}");
        }
    }
}
