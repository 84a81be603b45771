//! Relations by name, for whoever names them outside of a statement.

use pointsman_sql::Relation;

use super::Catalog;
use crate::caching::KeyColumn;
use crate::touched::Touched;

impl Catalog {
    /// The family of the table that `name` or `schema.name` means; none if it is not known, or several are meant.
    #[must_use]
    pub fn table_slot(&self, name: &str) -> Option<u16> {
        let relation = match name.rsplit_once('.') {
            Some((schema, name)) => Relation { schema: Some(schema.into()), name: name.into() },
            None => Relation { schema: None, name: name.into() },
        };
        match self.reads(&[relation]) {
            Touched::Slots(slots) if slots.len() == 1 => slots.first().copied(),
            _ => None,
        }
    }

    /// TEMPORARY until merge.
    #[must_use]
    pub fn relation_slot(&self, schema: &str, name: &str) -> Option<u16> {
        self.table_slot(&format!("{schema}.{name}"))
    }

    /// TEMPORARY until merge.
    #[must_use]
    pub fn key_columns(&self, _slot: u16) -> &[KeyColumn] {
        &[]
    }
}
