//! The console's commands: from text to what is asked for, or to what was probably meant.

use pointsman_policy::suggestion;

use super::show::Show;
use crate::caching::console::Invalidation;
use crate::fault::Fault;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// A table.
    Show(Show),
    /// Hand out no server connection of a database, or of any.
    Pause(Option<String>),
    /// Hand them out again.
    Resume(Option<String>),
    /// Serve no more of what is cached.
    Invalidate(Invalidation),
    /// Read the configuration again.
    Reload,
    /// A setting that drivers send and that means nothing here.
    Set,
}

/// The words that a command can begin with.
const VERBS: [&str; 5] = ["SHOW", "PAUSE", "RESUME", "INVALIDATE", "RELOAD"];
/// What PostgreSQL's clients say out of habit.
const TRANSACTION: [&str; 5] = ["BEGIN", "START", "COMMIT", "END", "ROLLBACK"];
/// Where the syntax is told.
const HELP: &str = "SHOW HELP lists the commands.";

/// The commands of a text, in order; none if there is nothing but space and comments.
///
/// # Errors
/// 42601 with what was probably meant.
pub(super) fn parse(text: &str) -> Result<Vec<Command>, Fault> {
    let mut commands = Vec::new();
    let words = words(text)?;
    for words in words.split(|word| *word == Word::End).filter(|words| !words.is_empty()) {
        commands.push(command(words)?);
    }
    Ok(commands)
}

fn command(words: &[Word]) -> Result<Command, Fault> {
    let Some(Word::Plain(verb)) = words.first() else {
        return Err(wrong("a command begins with a word").hint(HELP));
    };
    let rest = &words[1..];
    match verb.to_ascii_uppercase().as_str() {
        "SHOW" => show(rest),
        "PAUSE" => Ok(Command::Pause(database(rest, "PAUSE")?)),
        "RESUME" => Ok(Command::Resume(database(rest, "RESUME")?)),
        "INVALIDATE" => invalidate(rest),
        "RELOAD" if rest.is_empty() => Ok(Command::Reload),
        "RELOAD" => Err(wrong("RELOAD takes nothing").hint(HELP)),
        "SET" | "RESET" | "DISCARD" => Ok(Command::Set),
        word if TRANSACTION.contains(&word) => {
            Err(wrong("the admin console has no transactions").hint("Set your client to autocommit."))
        }
        _ => Err(unknown("command", verb, &VERBS)),
    }
}

fn show(rest: &[Word]) -> Result<Command, Fault> {
    match rest {
        [Word::Plain(what)] => {
            let names = Show::ALL.map(|(name, ..)| name);
            let found = Show::ALL.into_iter().find(|(name, ..)| name.eq_ignore_ascii_case(what));
            found.map(|(_, show, _)| Command::Show(show)).ok_or_else(|| unknown("SHOW", what, &names))
        }
        [Word::Plain(what), Word::Plain(which)]
            if what.eq_ignore_ascii_case("cache") && which.eq_ignore_ascii_case("rules") =>
        {
            Ok(Command::Show(Show::CacheRules))
        }
        [] => Err(wrong("SHOW what?").hint(HELP)),
        _ => Err(wrong("SHOW takes one word").hint(HELP)),
    }
}

fn invalidate(rest: &[Word]) -> Result<Command, Fault> {
    let is = |word: &str, known: &str| word.eq_ignore_ascii_case(known);
    let what = match rest {
        [Word::Plain(all)] if is(all, "all") => Invalidation::All,
        [Word::Plain(kind), Word::Plain(tag) | Word::Quoted(tag)] if is(kind, "tag") => {
            Invalidation::Tag(tag.clone())
        }
        [Word::Plain(kind), Word::Plain(name) | Word::Quoted(name)] if is(kind, "table") => {
            Invalidation::Table(name.clone())
        }
        _ => return Err(wrong("INVALIDATE takes TAG 'tag', TABLE name or ALL").hint(HELP)),
    };
    Ok(Command::Invalidate(what))
}

fn database(rest: &[Word], verb: &str) -> Result<Option<String>, Fault> {
    match rest {
        [] => Ok(None),
        [Word::Plain(name) | Word::Quoted(name)] => Ok(Some(name.clone())),
        _ => Err(wrong(format!("{verb} takes one database at the most")).hint(HELP)),
    }
}

fn wrong(told: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::client("42601", told)
}

fn unknown(kind: &str, word: &str, known: &[&str]) -> Fault {
    let hint = match suggestion(word, known.iter().copied()) {
        Some(meant) => format!("Did you mean {meant}? {HELP}"),
        None => HELP.to_owned(),
    };
    let told = match kind {
        "SHOW" => format!("there is no SHOW {word}"),
        _ => format!("unknown {kind} \"{word}\""),
    };
    wrong(told).hint(hint)
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Plain(String),
    Quoted(String),
    /// `;`
    End,
}

/// Cuts a text into words; comments are left out.
fn words(text: &str) -> Result<Vec<Word>, Fault> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Ok(words) };
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find('\n').map_or("", |end| &comment[end..]);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/").ok_or_else(|| wrong("a comment is never closed"))?;
            rest = &comment[end + 2..];
        } else if first == ';' {
            words.push(Word::End);
            rest = &rest[1..];
        } else if matches!(first, '"' | '\'') {
            let (word, after) = quoted(&rest[1..], first)?;
            words.push(Word::Quoted(word));
            rest = after;
        } else {
            let ends = |letter: char| letter.is_whitespace() || matches!(letter, ';' | '"' | '\'');
            let end = rest.find(ends).unwrap_or(rest.len());
            words.push(Word::Plain(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
}

/// A text up to its closing quote, which is written twice inside, and what follows.
fn quoted(text: &str, quote: char) -> Result<(String, &str), Fault> {
    let mut word = String::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != quote {
            word.push(letter);
        } else if letters.next_if(|(_, next)| *next == quote).is_some() {
            word.push(quote);
        } else {
            return Ok((word, &text[at + 1..]));
        }
    }
    Err(wrong("a quote is never closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_whatever_their_case() {
        let one = |text: &str| parse(text).unwrap().pop().unwrap();
        assert_eq!(one("show pools;"), Command::Show(Show::Pools));
        assert_eq!(one(" /* c */ SHOW\n Stats_Totals ; -- end"), Command::Show(Show::StatsTotals));
        assert_eq!(one("pause"), Command::Pause(None));
        assert_eq!(one("PAUSE \"a;\"\"b\""), Command::Pause(Some("a;\"b".into())));
        assert_eq!(one("RESUME app"), Command::Resume(Some("app".into())));
        assert_eq!(one("Reload"), Command::Reload);
        assert_eq!(one("show cache"), Command::Show(Show::Cache));
        assert_eq!(one("SHOW Cache Rules"), Command::Show(Show::CacheRules));
        assert_eq!(one("show shard_stats"), Command::Show(Show::ShardStats));
        assert_eq!(one("invalidate all"), Command::Invalidate(Invalidation::All));
        assert_eq!(one("INVALIDATE TAG 'feed:42'"), Command::Invalidate(Invalidation::Tag("feed:42".into())));
        assert_eq!(
            one("invalidate table app.agents"),
            Command::Invalidate(Invalidation::Table("app.agents".into()))
        );
        assert_eq!(one("SET extra_float_digits = 3"), Command::Set);
        assert_eq!(parse(" ; -- ping").unwrap(), []);
        assert_eq!(parse("RELOAD; show version").unwrap(), [Command::Reload, Command::Show(Show::Version)]);
    }

    #[test]
    fn mistakes_say_what_was_meant() {
        for (text, told, hint) in [
            ("SHOW POLS", "there is no SHOW POLS", "Did you mean POOLS?"),
            ("shwo pools", "unknown command \"shwo\"", "Did you mean SHOW?"),
            ("SELECT 1", "unknown command \"SELECT\"", "SHOW HELP"),
            ("SHOW", "SHOW what?", "SHOW HELP"),
            ("SHOW POOLS now", "SHOW takes one word", "SHOW HELP"),
            ("PAUSE a b", "PAUSE takes one database", "SHOW HELP"),
            ("INVALIDATE feed", "INVALIDATE takes TAG", "SHOW HELP"),
            ("RELOAD now", "RELOAD takes nothing", "SHOW HELP"),
            ("begin", "the admin console has no transactions", "autocommit"),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.sqlstate, "42601", "{text}");
            assert!(fault.told.starts_with(told), "{text}: {fault}");
            assert!(fault.hint.as_ref().unwrap().contains(hint), "{text}: {:?}", fault.hint);
        }
        for text in ["PAUSE \"a", "/* ", "'"] {
            assert!(parse(text).unwrap_err().told.contains("never closed"), "{text}");
        }
    }
}
