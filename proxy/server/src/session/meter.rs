//! Measures a session: what it has used, and what it is doing, with one look at the clock as a request goes out and one
//! as its last reply comes in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::about::About;
use super::pins::Pins;
use crate::metrics::Usage;
use crate::upstream::settings::{Settings, Value};

/// A session's meter.
#[derive(Debug)]
pub(super) struct Meter {
    pub usage: Arc<Usage>,
    pub about: Arc<About>,
    /// Since when requests are under way.
    query: Option<Instant>,
    /// Since when a transaction is under way.
    transaction: Option<Instant>,
    /// The settings that `about` has the application's name from.
    named_by: Option<Arc<Settings>>,
}

impl Meter {
    pub fn new(usage: Arc<Usage>, about: Arc<About>) -> Self {
        Self { usage, about, query: None, transaction: None, named_by: None }
    }

    /// A request goes out on the connection held; `alone` says that no other is under way, `first` that it begins a
    /// transaction.
    pub fn request(&mut self, alone: bool, first: bool) {
        if !alone && self.query.is_some() {
            return;
        }
        let now = Instant::now();
        self.query = Some(now);
        if first || self.transaction.is_none() {
            self.transaction = Some(now);
        }
        self.about.note_request(now);
    }

    /// A ReadyForQuery came: `more` are awaited, and `ended` says whether a transaction is over.
    pub fn ready(&mut self, more: bool, ended: bool) {
        // Without a request there was none to measure: a server that says more than it was asked is found out elsewhere.
        let Some(since) = self.query else { return };
        let now = Instant::now();
        self.query = more.then_some(now);
        self.usage.query(now - since);
        if ended {
            let since = self.transaction.unwrap_or(now);
            self.transaction = more.then_some(now);
            self.usage.transaction(now - since);
        }
    }

    /// A request was answered here, at once.
    pub fn served(&self) {
        self.about.note_request(Instant::now());
        self.usage.query(Duration::ZERO);
        self.usage.transaction(Duration::ZERO);
    }

    /// What was under way is lost.
    pub fn lost(&mut self) {
        self.query = None;
        self.transaction = None;
        self.about.note_server(None);
    }

    /// A server connection was checked out.
    pub fn assigned(&self, server: usize) {
        self.usage.assigned();
        self.about.note_server(Some(server));
    }

    /// What the session has at the end of a transaction.
    pub fn settle(&mut self, pins: Pins, prepared: usize, settings: &Arc<Settings>) {
        self.about.note_state(pins, prepared);
        if self.named_by.as_ref().is_some_and(|known| Arc::ptr_eq(known, settings)) {
            return;
        }
        self.about.note_application_name(&application_name(settings));
        self.named_by = Some(Arc::clone(settings));
    }
}

/// The application's name as these settings have it; empty if they have none that can be told.
pub(crate) fn application_name(settings: &Settings) -> String {
    settings.get("application_name").and_then(Value::told).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_applications_name_is_read_from_either_form() {
        let mut settings = Settings::default();
        assert_eq!(application_name(&settings), "");
        settings.insert("application_name", Value::Text("psql".into()));
        assert_eq!(application_name(&settings), "psql");
        settings.insert("application_name", Value::Statement("SET application_name TO 'it''s'".into()));
        assert_eq!(application_name(&settings), "it's");
        settings.insert("application_name", Value::Statement("SET application_name TO plain".into()));
        assert_eq!(application_name(&settings), "plain");
    }
}
