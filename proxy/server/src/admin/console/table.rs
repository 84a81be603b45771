//! A table of text, as it goes over the wire.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use pointsman_wire::backend::{CommandComplete, DataRow, Field, RowDescription};
use pointsman_wire::frontend::format_of;

/// A table's columns, and its rows; None is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub columns: &'static [&'static str],
    pub rows: Vec<Vec<Option<String>>>,
}

/// Formats asked for the columns: none for all text, one for all, or one for each.
#[derive(Debug, Clone, Default)]
pub(super) struct Formats(pub Vec<i16>);

impl Formats {
    fn of(&self, column: usize) -> i16 {
        format_of(&self.0, column)
    }
}

impl Table {
    /// No row yet.
    pub fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row, as long as there are columns.
    pub fn row(&mut self, values: impl IntoIterator<Item = Option<String>>) {
        let row: Vec<_> = values.into_iter().collect();
        debug_assert_eq!(row.len(), self.columns.len(), "{:?}", self.columns);
        self.rows.push(row);
    }

    /// Appends its rows `from` one `to` another, counted from 0.
    pub fn put_rows(&self, from: usize, to: usize, out: &mut BytesMut) {
        for row in self.rows.get(from..to).unwrap_or_default() {
            let values = row.iter().map(|value| value.as_ref().map(String::as_bytes)).collect();
            DataRow { values }.encode(out);
        }
    }

    /// Appends the whole of it as the answer to a simple query.
    pub fn put(&self, out: &mut BytesMut) {
        describe(self.columns, &Formats::default(), out);
        self.put_rows(0, self.rows.len(), out);
        CommandComplete { tag: b"SHOW" }.encode(out);
    }
}

/// Appends RowDescription.
pub(super) fn describe(columns: &[&'static str], formats: &Formats, out: &mut BytesMut) {
    let field = |(index, name): (usize, &&'static str)| Field::text(name.as_bytes(), formats.of(index));
    let fields = columns.iter().enumerate().map(field).collect();
    RowDescription { fields }.encode(out);
}

/// A value that is there.
pub(super) fn some(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

/// 1 or 0.
pub(super) fn flag(value: bool) -> Option<String> {
    Some(u8::from(value).to_string())
}

/// A moment in UTC, to the second: `2026-01-31 23:59:59 UTC`.
pub(super) fn moment(at: SystemTime) -> Option<String> {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"))
}

/// Year, month and day of the Gregorian calendar, so many days after 1970 began. Eras of 400 years begin on 1 March.
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_follow_the_calendar() {
        let at = |seconds| moment(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        assert_eq!(at(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(at(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(at(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(at(1_735_689_599), "2024-12-31 23:59:59 UTC");
        assert_eq!(at(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn a_table_is_described_filled_and_completed() {
        let mut table = Table::new(&["a", "b"]);
        table.row([some(1), None]);
        let mut out = BytesMut::new();
        table.put(&mut out);
        let mut tags = Vec::new();
        while let Some(frame) = pointsman_wire::frame::take_frame(&mut out, 1000).unwrap() {
            if frame.tag == b'D' {
                let row = DataRow::decode(frame.body()).unwrap();
                assert_eq!(row.values, [Some(b"1".as_slice()), None]);
            }
            tags.push(frame.tag);
        }
        assert_eq!(tags, b"TDC");
    }
}
