//! From a text to its facts: the template cache first, PostgreSQL's parser on a miss.

use std::sync::Arc;

use crate::cache::Cache;
use crate::facts::{Doubt, Facts};
use crate::lexer::{ClientEncoding, LexRules, Lexer, Literal, LiteralKind, TokenKind};
use crate::recent::Recents;
use crate::shape::shape;
use crate::template::{NESTING_MAX, Template};
use crate::{light, parse};

/// Longer texts are neither templated nor parsed, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 64 * 1024;

/// Bytes that one cached entry may take on average, its facts included.
const ENTRY_BYTES: usize = 8 * 1024;

/// Longest text that is compared with the one before it, in bytes.
const SAME_BYTES_MAX: usize = 4 * 1024;

/// An analyzer holds at least this many bytes.
const CACHE_BYTES_MIN: usize = 1024 * 1024;

/// Finds facts. One per worker thread; `M` is what the caller remembers beside the facts of each template.
pub struct Analyzer<M> {
    cache: Cache<M>,
    template: Template,
    last: Last,
    recents: Recents,
    /// Facts of a text that is not cached.
    loose: (Arc<Facts>, M),
    stats: AnalyzerStats,
}

/// The text that the template was filled from, if it is cached: the same text often comes again, from the same message looked
/// at twice or from clients whose values are parameters.
#[derive(Default)]
struct Last {
    sql: Vec<u8>,
    rules: LexRules,
    slot: Option<u32>,
}

impl Last {
    fn note(&mut self, sql: &[u8], rules: LexRules, slot: u32) {
        self.slot = None;
        if sql.len() <= SAME_BYTES_MAX {
            self.sql.clear();
            self.sql.extend_from_slice(sql);
            (self.rules, self.slot) = (rules, Some(slot));
        }
    }

    fn find(&self, sql: &[u8], rules: LexRules) -> Option<u32> {
        self.slot.filter(|_| self.rules == rules && self.sql == sql)
    }
}

/// What is known of one text.
pub struct Analysis<'a, M> {
    /// The facts, shared with every text of the same template.
    pub facts: &'a Arc<Facts>,
    /// The caller's own, kept beside the facts; fresh (`M::default()`) when the facts are.
    pub memo: &'a mut M,
    /// The text's literals in order. Empty if the text was not templated.
    pub literals: &'a [Literal],
    /// Whether the text has a comment, for [`crate::comments`]; true if the text was not templated.
    pub commented: bool,
    /// Whether the facts came from the cache.
    pub hit: bool,
}

/// Counters since the analyzer was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnalyzerStats {
    /// Texts whose template was cached.
    pub hits: u64,
    /// Texts that were parsed, whether cached afterwards or not.
    pub misses: u64,
    /// Of the misses, those whose facts could not be cached.
    pub uncached: u64,
    /// Templates thrown out for others.
    pub evictions: u64,
    /// Templates held now.
    pub entries: usize,
    /// Bytes of templates and facts held now, about.
    pub bytes: usize,
}

impl<M: Default> Analyzer<M> {
    /// Remembers at most `templates_max` templates, of 8 KiB on average with their facts.
    #[must_use]
    pub fn new(templates_max: usize) -> Self {
        Self {
            cache: Cache::new(templates_max, templates_max.saturating_mul(ENTRY_BYTES).max(CACHE_BYTES_MIN)),
            template: Template::default(),
            last: Last::default(),
            recents: Recents::default(),
            loose: (Arc::new(light::doubtful(Doubt::Lexical)), M::default()),
            stats: AnalyzerStats::default(),
        }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> AnalyzerStats {
        AnalyzerStats {
            entries: self.cache.len(),
            bytes: self.cache.bytes(),
            evictions: self.cache.evictions,
            ..self.stats
        }
    }

    /// The facts of `sql`, a text as it came in `Query` or `Parse`, without its terminating zero.
    #[inline]
    pub fn analyze(&mut self, sql: &[u8], rules: LexRules) -> Analysis<'_, M> {
        if let Some(slot) = self.last.find(sql, rules) {
            return self.found(slot);
        }
        self.last.slot = None;
        if let Some(slot) = self.find_recent(sql, rules) {
            self.last.note(sql, rules, slot);
            return self.found(slot);
        }
        if sql.len() > TEMPLATE_BYTES_MAX {
            return self.unlisted(light::facts(sql, rules));
        }
        if rules.encoding != ClientEncoding::Utf8
            && let Some(doubt) = encoding_doubt(sql, rules)
        {
            return self.unlisted(light::doubtful(doubt));
        }
        if self.template.fill(sql, rules).is_err() {
            return self.unlisted(light::doubtful(Doubt::Lexical));
        }
        if rules != LexRules::default() && self.template.verbatim && !same_everywhere(sql) {
            return self.unlisted(light::doubtful(Doubt::Encoding));
        }
        let hash = self.cache.hash(&self.template.bytes);
        match self.cache.find(hash, &self.template.bytes) {
            Some(slot) => {
                self.last.note(sql, rules, slot);
                let known = (slot, self.cache.entry(slot).facts.template);
                self.recents.note(sql, rules, known, &self.template);
                self.found(slot)
            }
            None => self.miss(sql, rules, hash),
        }
    }

    /// The slot of a long text that came lately, if its template is still there.
    fn find_recent(&mut self, sql: &[u8], rules: LexRules) -> Option<u32> {
        let recent = self.recents.find(sql, rules)?;
        let slot = self.cache.renew(recent.slot, recent.template)?;
        self.template.literals.clear();
        self.template.literals.extend_from_slice(&recent.literals);
        self.template.commented = recent.commented;
        Some(slot)
    }

    /// The cached facts of the text that the template was filled from.
    #[inline]
    fn found(&mut self, slot: u32) -> Analysis<'_, M> {
        self.stats.hits += 1;
        let entry = self.cache.entry(slot);
        Analysis {
            facts: &entry.facts,
            memo: &mut entry.memo,
            literals: &self.template.literals,
            commented: self.template.commented,
            hit: true,
        }
    }

    #[cold]
    fn miss(&mut self, sql: &[u8], rules: LexRules, hash: u64) -> Analysis<'_, M> {
        let mut facts = if self.template.nesting > NESTING_MAX {
            light::doubtful(Doubt::Deep)
        } else {
            parse::facts(sql, rules, &self.template)
        };
        facts.shape = shape(sql, rules);
        let commented = self.template.commented;
        self.stats.misses += 1;
        if !self.cacheable(&facts, rules) {
            self.stats.uncached += 1;
            self.loose = (Arc::new(facts), M::default());
            let (facts, memo) = &mut self.loose;
            return Analysis { facts, memo, literals: &self.template.literals, commented, hit: false };
        }
        let slot = self.cache.insert(hash, &self.template.bytes, Arc::new(facts));
        let entry = self.cache.entry(slot);
        Analysis {
            facts: &entry.facts,
            memo: &mut entry.memo,
            literals: &self.template.literals,
            commented,
            hit: false,
        }
    }

    /// A refused text is remembered unless another text of its template may be accepted: the escapes in a literal
    /// can be the reason, or rules that only this session has.
    fn cacheable(&self, facts: &Facts, rules: LexRules) -> bool {
        let escapes = |l: &Literal| matches!(l.kind, LiteralKind::EscapeString | LiteralKind::UnicodeString);
        let accepted = facts.understood()
            || (rules == LexRules::default() && !self.template.literals.iter().any(escapes));
        accepted && self.cache.fits(facts)
    }

    #[cold]
    fn unlisted(&mut self, facts: Facts) -> Analysis<'_, M> {
        self.stats.misses += 1;
        self.stats.uncached += 1;
        self.loose = (Arc::new(facts), M::default());
        let (facts, memo) = &mut self.loose;
        Analysis { facts, memo, literals: &[], commented: true, hit: false }
    }
}

/// Whether a literal that is kept in the template reads the same under all rules.
fn same_everywhere(sql: &[u8]) -> bool {
    sql.is_ascii() && !sql.contains(&b'\\')
}

/// Whether names in a text of another encoding than UTF-8 cannot be compared with the catalog's.
fn encoding_doubt(sql: &[u8], rules: LexRules) -> Option<Doubt> {
    if sql.is_ascii() {
        return None;
    }
    if rules.encoding == ClientEncoding::EmbeddedAscii {
        return Some(Doubt::Encoding);
    }
    let mut lexer = Lexer::new(sql, rules);
    loop {
        match lexer.next_token() {
            Err(_) => return Some(Doubt::Lexical),
            Ok(None) => return None,
            Ok(Some(token)) => {
                let named = matches!(token.kind, TokenKind::Word | TokenKind::Quoted);
                if named && !sql[token.start..token.end].is_ascii() {
                    return Some(Doubt::Encoding);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
