//! What clients say in comments: sqlcommenter's tags, and hints to Pointsman.

use pointsman_sql::{LexRules, comments};

use crate::rule::Route;

/// What a hint's comment begins with.
const PREFIX: &str = "pointsman:";

/// The hints of a text: each `key=value` of its comments `/* pointsman: key=value, key=value */`.
pub fn hints(sql: &[u8], rules: LexRules) -> impl Iterator<Item = (&str, &str)> {
    let texts = comments(sql, rules).filter_map(|comment| std::str::from_utf8(comment).ok());
    texts.filter_map(|text| text.trim_start().strip_prefix(PREFIX)).flat_map(|text| {
        text.split(',').filter_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            Some((key.trim(), value.trim()))
        })
    })
}

/// The route that a text's hints ask for; the last one counts.
#[must_use]
pub fn hinted_route(sql: &[u8], rules: LexRules) -> Option<Route> {
    hints(sql, rules).filter(|(key, _)| *key == "route").filter_map(|(_, value)| Route::named(value)).last()
}

/// The tags of a text: each `key='value'` of its comments, URL-decoded, as sqlcommenter writes them.
pub fn tags(sql: &[u8], rules: LexRules) -> impl Iterator<Item = (String, String)> {
    let texts = comments(sql, rules).filter_map(|comment| std::str::from_utf8(comment).ok());
    texts.filter(|text| !text.trim_start().starts_with(PREFIX)).flat_map(Tags)
}

/// What is left of a comment; what is not a tag ends it.
struct Tags<'a>(&'a str);

impl Iterator for Tags<'_> {
    type Item = (String, String);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = self.0.trim_start_matches([',', ' ', '\n', '\t']).split_once("='")?;
        let end = value_end(rest)?;
        self.0 = &rest[end + 1..];
        // A quote inside is written with a backslash.
        Some((decoded(key.trim())?, decoded(&rest[..end].replace("\\'", "'"))?))
    }
}

/// Where the quote that ends a value stands.
fn value_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\'' if !escaped => return Some(at),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// Percent-decoded.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_tags(sql: &str) -> Vec<(String, String)> {
        tags(sql.as_bytes(), LexRules::default()).collect()
    }

    fn tag(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn tags_are_read_as_sqlcommenter_writes_them() {
        assert_eq!(
            all_tags("SELECT 1 /*action='%2Fparam*d',controller='index,'framework='spring'*/"),
            [tag("action", "/param*d"), tag("controller", "index,"), tag("framework", "spring")]
        );
        assert_eq!(
            all_tags("/* route='%2Ffeed' */ SELECT 1 -- name='it\\'s'"),
            [tag("route", "/feed"), tag("name", "it's")]
        );
        for none in ["SELECT 1", "SELECT '/*a=''b''*/'", "/* route= */", "/*a='b*/", "/*a='%zz'*/", "/*='*/"]
        {
            assert_eq!(all_tags(none), [], "{none}");
        }
    }

    #[test]
    fn hints_are_read() {
        let all = |sql: &'static str| hints(sql.as_bytes(), LexRules::default()).collect::<Vec<_>>();
        assert_eq!(
            all("/* pointsman: route=primary, label = a b */ SELECT 1 /*pointsman:x=*/"),
            [("route", "primary"), ("label", "a b"), ("x", "")]
        );
        assert_eq!(all("/* route=primary */ SELECT 'pointsman: route=primary'"), []);
        let route = |sql: &str| hinted_route(sql.as_bytes(), LexRules::default());
        assert_eq!(route("/* pointsman: route=any */ SELECT 1"), Some(Route::Any));
        assert_eq!(route("/* pointsman: route=mars */ SELECT 1"), None);
        assert_eq!(route("SELECT 1"), None);
    }
}
