//! Variants of a statement: other literals, other white space and comments, other letter case. Tokens come from
//! `pg_query`'s scanner, so that the crate's own lexer is not its own judge.

/// A small generator of reproducible numbers (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len())]
    }
}

/// What may stand where white space stood.
const SPACES: &[&str] =
    &[" ", "  ", "\n", "\t ", " /* a */ ", "/**/", " -- b\n", "/* c /* nested */ 'x' */", "\r\n", "\x0c"];

const STRINGS: &[&str] =
    &["'other'", "''", "'it''s'", "'12'", "'a;b'", "'-- no'", "'f'", "'2001-01-01'", "'{1,2}'", "'\\x'"];

const SEPARATORS: &[&str] = &[";", "; ", ";\n", " ; /* ; */ ", ";-- ;\n", ";;\n", " ;\n\n;"];

/// The statement and texts near it.
pub(crate) fn variants(statement: &str, random: &mut Random) -> Vec<String> {
    let mut all = vec![statement.to_owned()];
    let Ok(scan) = pg_query::scan(statement) else { return all };
    let tokens: Vec<(usize, usize, pg_query::protobuf::Token)> = scan
        .tokens
        .iter()
        .filter_map(|t| Some((usize::try_from(t.start).ok()?, usize::try_from(t.end).ok()?, t.token())))
        .collect();
    for change in [Change::Space, Change::Literals, Change::Case, Change::All] {
        all.push(vary(statement, &tokens, change, random));
    }
    all
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Space,
    Literals,
    Case,
    All,
}

fn vary(
    text: &str,
    tokens: &[(usize, usize, pg_query::protobuf::Token)],
    change: Change,
    random: &mut Random,
) -> String {
    use pg_query::protobuf::Token as T;
    let has = |wanted: Change| change == wanted || change == Change::All;
    let mut out = String::new();
    let mut at = 0;
    for &(start, end, token) in tokens {
        if matches!(token, T::SqlComment | T::CComment) {
            continue;
        }
        let gap = &text[at.min(start)..start];
        if gap.is_empty() || at == 0 || !has(Change::Space) {
            out.push_str(gap);
        } else {
            out.push_str(random.pick(SPACES));
        }
        let word = &text[start..end];
        match token {
            T::Iconst if has(Change::Literals) => out.push_str(&random.below(100).to_string()),
            T::Fconst if has(Change::Literals) => {
                out.push_str(random.pick(&["1.5", ".25", "3e4", "7.", "9999999999"]))
            }
            T::Sconst if has(Change::Literals) && word.starts_with('\'') => {
                out.push_str(random.pick(STRINGS))
            }
            T::Sconst if has(Change::Literals) && word.starts_with(['e', 'E']) => out.push_str(r"E'a\'b\n'"),
            T::Sconst if has(Change::Literals) && word.starts_with('$') => out.push_str("$q$ x; $$ $q$"),
            T::Bconst if has(Change::Literals) => out.push_str("b'1'"),
            T::Xconst if has(Change::Literals) => out.push_str("x'1F'"),
            T::Sconst | T::Usconst | T::Bconst | T::Xconst | T::Uident => out.push_str(word),
            _ if has(Change::Case) && !word.starts_with('"') => {
                let upper = random.below(2) == 0;
                out.extend(
                    word.chars().map(|c| if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }),
                );
            }
            _ => out.push_str(word),
        }
        at = end;
    }
    out
}

/// Statements joined by semicolons with comments and empty statements between.
pub(crate) fn joined(statements: &[String], random: &mut Random) -> String {
    let mut text = random.pick(&["", " ", "-- first\n", ";"]).to_owned();
    for statement in statements {
        text.push_str(statement);
        text.push_str(random.pick(SEPARATORS));
    }
    text
}

/// A statement without the white space and comments that the parser leaves around it.
pub(crate) fn without_surroundings(statement: &str) -> &str {
    let Ok(scan) = pg_query::scan(statement) else { return statement.trim() };
    let mut solid = scan.tokens.iter().filter(|token| {
        !matches!(token.token(), pg_query::protobuf::Token::SqlComment | pg_query::protobuf::Token::CComment)
    });
    let place = |at: i32| usize::try_from(at).unwrap_or(0);
    // A lone token is its own end, so the first is looked at without being taken.
    let start = solid.clone().next().map_or(0, |token| place(token.start));
    let end = solid.next_back().map_or(statement.len(), |token| place(token.end));
    &statement[start..end.max(start)]
}
