//! The start-up parameter `options`: command-line switches that set session settings.

use crate::error::WireError;

/// The settings in `options`, in order, as `-c name=value` and `--name=value` give them.
///
/// Words are split at white space; a backslash takes the next character as it is (`pg_split_opts` in
/// `postinit.c`). In a name, `-` stands for `_` (`ParseLongOption` in `guc.c`).
///
/// # Errors
/// [`WireError::Option`] for a word that is no setting: PostgreSQL's single-letter switches other than
/// `-c` are not taken. [`WireError::OptionValue`] for a setting without `=`.
pub fn parse_options(options: &str) -> Result<Vec<(String, String)>, WireError> {
    let mut settings = Vec::new();
    let mut words = split(options).into_iter();
    while let Some(word) = words.next() {
        let (assignment, switch) = if let Some(long) = word.strip_prefix("--") {
            (long.to_owned(), "--")
        } else if word == "-c" {
            (words.next().ok_or(WireError::OptionValue(word))?, "-c ")
        } else if let Some(short) = word.strip_prefix("-c") {
            (short.to_owned(), "-c ")
        } else {
            return Err(WireError::Option(word));
        };
        settings.push(assign(&assignment, switch)?);
    }
    Ok(settings)
}

fn assign(assignment: &str, switch: &str) -> Result<(String, String), WireError> {
    match assignment.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.replace('-', "_"), value.to_owned())),
        Some(_) => Err(WireError::Option(format!("{switch}{assignment}"))),
        None if assignment.is_empty() => Err(WireError::Option(switch.trim_end().to_owned())),
        None => Err(WireError::OptionValue(format!("{switch}{assignment}"))),
    }
}

fn split(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            // At the very end a backslash has nothing to protect; it still makes a word.
            '\\' => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &str) -> Vec<(String, String)> {
        parse_options(options).unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn switches() {
        assert_eq!(parsed(" \t\n"), []);
        let path = pair("search_path", "a,b");
        assert_eq!(parsed("-c search_path=a,b"), std::slice::from_ref(&path));
        assert_eq!(parsed("-csearch_path=a,b"), std::slice::from_ref(&path));
        assert_eq!(parsed("--search-path=a,b"), [path]);
        assert_eq!(parsed("-c a=1   --b=2 -c a=x=y"), [pair("a", "1"), pair("b", "2"), pair("a", "x=y")]);
        assert_eq!(parsed("-c a="), [pair("a", "")]);
        assert_eq!(parsed("-c geqo-threshold=3-4"), [pair("geqo_threshold", "3-4")]);
    }

    #[test]
    fn backslashes() {
        assert_eq!(parsed(r"-c a=x\ y\\z"), [pair("a", r"x y\z")]);
        assert_eq!(parsed("-c a=ü\\ü"), [pair("a", "üü")]);
        assert_eq!(parsed("-c a=x\\"), [pair("a", "x")]);
        assert_eq!(parsed("-c\\ a=x"), [pair(" a", "x")]);
    }

    #[test]
    fn refusals() {
        for (options, message) in [
            ("-c", "-c requires a value"),
            ("-c a", "-c a requires a value"),
            ("--a", "--a requires a value"),
            ("--", "invalid command-line argument for server process: --"),
            ("-c =x", "invalid command-line argument for server process: -c =x"),
            ("-e", "invalid command-line argument for server process: -e"),
            ("a=b", "invalid command-line argument for server process: a=b"),
            ("-c a=x \\", "invalid command-line argument for server process: "),
        ] {
            let error = parse_options(options).unwrap_err();
            assert_eq!((error.sqlstate(), error.to_string().as_str()), ("42601", message), "{options}");
        }
    }
}
