//! Whole texts that came lately, each with its template: a long text that comes again, letter by letter, is not read anew.
//! Its place is its hash's; whatever else comes there takes it.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use crate::lexer::{LexRules, Literal};
use crate::template::Template;

/// Shorter texts are read as fast as they are looked for, in bytes.
const BYTES_MIN: usize = 128;
/// Longer ones take more room than they are worth, in bytes.
const BYTES_MAX: usize = 2 * 1024;
/// Places: less than 1 MiB together.
const PLACES: usize = 256;

/// A text.
#[derive(Default)]
pub(crate) struct Recent {
    sql: Vec<u8>,
    rules: LexRules,
    /// Where its template is, and the number of the facts there.
    pub(crate) slot: u32,
    pub(crate) template: u64,
    pub(crate) literals: Vec<Literal>,
    pub(crate) commented: bool,
}

/// The texts, by place; none until the first long one has come.
#[derive(Default)]
pub(crate) struct Recents {
    places: Vec<Recent>,
    hasher: DefaultHashBuilder,
}

impl Recents {
    fn place(&self, sql: &[u8]) -> Option<usize> {
        let fits = (BYTES_MIN..=BYTES_MAX).contains(&sql.len());
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
        fits.then(|| self.hasher.hash_one(sql) as usize % PLACES)
    }

    /// The text, if it came lately.
    pub(crate) fn find(&self, sql: &[u8], rules: LexRules) -> Option<&Recent> {
        if self.places.is_empty() {
            return None;
        }
        self.places.get(self.place(sql)?).filter(|recent| recent.rules == rules && recent.sql == sql)
    }

    /// Remembers a text that this template was filled from, which is in this slot under facts of this number.
    pub(crate) fn note(
        &mut self,
        sql: &[u8],
        rules: LexRules,
        (slot, number): (u32, u64),
        template: &Template,
    ) {
        let Some(place) = self.place(sql) else { return };
        if self.places.is_empty() {
            self.places.resize_with(PLACES, Recent::default);
        }
        let Some(recent) = self.places.get_mut(place) else { return };
        recent.sql.clear();
        recent.sql.extend_from_slice(sql);
        recent.literals.clear();
        recent.literals.extend_from_slice(&template.literals);
        (recent.rules, recent.slot, recent.template) = (rules, slot, number);
        recent.commented = template.commented;
    }
}
