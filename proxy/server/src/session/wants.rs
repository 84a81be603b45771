//! The settings that a client wants and those its server connection has, through transactions and savepoints.
//! SET is transactional: <https://www.postgresql.org/docs/current/sql-set.html>.

use std::sync::Arc;

use pointsman_sql::{ClientEncoding, LexRules};

use crate::upstream::settings::{Interned, Settings, Value};

/// Both sets, which change together.
#[derive(Debug, Clone)]
struct Pair {
    client: Arc<Settings>,
    server: Arc<Settings>,
}

/// What is wanted and what is there.
#[derive(Debug)]
pub struct Wants {
    /// From the startup packet: what `RESET` returns to.
    base: Arc<Settings>,
    now: Pair,
    /// As it was before the transaction in progress; None while nothing has changed in it.
    before: Option<Pair>,
    savepoints: Vec<(Box<str>, Pair)>,
    rules: LexRules,
    /// Those of the client's settings that may change what a text means; None until they are asked for.
    meaning: Option<Interned>,
}

impl Wants {
    /// What a client wants that has just logged in. No server connection yet.
    pub fn new(base: Arc<Settings>) -> Self {
        let now = Pair { client: Arc::clone(&base), server: Settings::default().intern() };
        let mut wants = Self {
            base,
            now,
            before: None,
            savepoints: Vec::new(),
            rules: LexRules::default(),
            meaning: None,
        };
        wants.derive_rules();
        wants
    }

    /// How the client's texts are to be read.
    pub fn rules(&self) -> LexRules {
        self.rules
    }

    /// Those of the client's settings that may change what a text means.
    pub fn meaning(&mut self) -> Interned {
        let client = &self.now.client;
        self.meaning.get_or_insert_with(|| Interned(client.meaning().intern())).clone()
    }

    /// What the client wants now.
    pub fn client(&self) -> &Arc<Settings> {
        &self.now.client
    }

    /// What the server connection has now.
    pub fn server(&self) -> &Arc<Settings> {
        &self.now.server
    }

    /// A server connection was checked out that has these settings.
    pub fn meet(&mut self, server: &Arc<Settings>) {
        self.now.server = Arc::clone(server);
    }

    /// Whether client and server agree.
    pub fn agree(&self) -> bool {
        Arc::ptr_eq(&self.now.client, &self.now.server) || self.now.client == self.now.server
    }

    /// The server connection is being given what the client wants: for good outside a transaction, else for as long
    /// as the transaction is not rolled back.
    pub fn caught_up(&mut self, in_transaction: bool) {
        if in_transaction {
            self.remember();
        }
        self.now.server = Arc::clone(&self.now.client);
    }

    /// `SET name TO value` has been done.
    pub fn set(&mut self, name: &str, value: Value) {
        self.change(|client, server, _| {
            drop_role_with(name, client, server);
            client.insert(name, value.clone());
            server.insert(name, value);
        });
    }

    /// `RESET name` has been done: the server is at its own default, the client wants its startup value.
    pub fn reset(&mut self, name: &str) {
        self.change(|client, server, base| {
            drop_role_with(name, client, server);
            server.remove(name);
            match base.get(name) {
                Some(value) => client.insert(name, value.clone()),
                None => client.remove(name),
            }
        });
    }

    /// `RESET ALL` has been done; `DISCARD ALL` also gives up the roles taken.
    pub fn reset_all(&mut self, identity_too: bool) {
        self.change(|client, server, base| {
            let kept = if identity_too { Settings::default() } else { client.identity_only() };
            *server = if identity_too { Settings::default() } else { server.identity_only() };
            *client = base.clone();
            for (name, value) in kept.iter() {
                client.insert(name, value.clone());
            }
        });
    }

    fn change(&mut self, change: impl FnOnce(&mut Settings, &mut Settings, &Settings)) {
        self.remember();
        let mut client = Settings::clone(&self.now.client);
        let mut server = Settings::clone(&self.now.server);
        change(&mut client, &mut server, &self.base);
        self.now = Pair { client: client.intern(), server: server.intern() };
        self.derive_rules();
    }

    fn remember(&mut self) {
        if self.before.is_none() {
            self.before = Some(self.now.clone());
        }
    }

    /// `SAVEPOINT name` has been done.
    pub fn savepoint(&mut self, name: &str) {
        self.remember();
        self.savepoints.push((name.into(), self.now.clone()));
    }

    /// `RELEASE name` has been done.
    pub fn release(&mut self, name: &str) {
        if let Some(at) = self.savepoints.iter().rposition(|(known, _)| &**known == name) {
            self.savepoints.truncate(at);
        }
    }

    /// `ROLLBACK TO name` has been done.
    pub fn rollback_to(&mut self, name: &str) {
        if let Some(at) = self.savepoints.iter().rposition(|(known, _)| &**known == name) {
            self.savepoints.truncate(at + 1);
            self.now = self.savepoints[at].1.clone();
            self.derive_rules();
        }
    }

    /// The transaction has been committed.
    pub fn commit(&mut self) {
        self.before = None;
        self.savepoints.clear();
    }

    /// The transaction has been rolled back.
    pub fn rollback(&mut self) {
        self.savepoints.clear();
        if let Some(before) = self.before.take() {
            self.now = before;
            self.derive_rules();
        }
    }

    /// The server connection is gone, and with it whatever was not committed.
    pub fn lose_server(&mut self) {
        self.rollback();
        self.now.server = Settings::default().intern();
    }

    fn derive_rules(&mut self) {
        self.meaning = None;
        let text = |name: &str| match self.now.client.get(name) {
            Some(Value::Text(text) | Value::Statement(text)) => text.to_ascii_lowercase(),
            None => String::new(),
        };
        let conforming = text("standard_conforming_strings");
        let off = ["off", "false", "no", "0"]
            .iter()
            .any(|word| conforming.ends_with(word) || conforming.ends_with(&format!("{word}'")));
        self.rules =
            LexRules { standard_conforming_strings: !off, encoding: encoding(&text("client_encoding")) };
    }
}

/// Another session authorization also ends `SET ROLE`.
fn drop_role_with(name: &str, client: &mut Settings, server: &mut Settings) {
    if name == "session_authorization" {
        client.remove("role");
        server.remove("role");
    }
}

/// The value of `client_encoding`, out of a startup parameter or of `SET client_encoding TO 'x'`.
fn encoding(text: &str) -> ClientEncoding {
    let name = text.rsplit([' ', '=']).next().unwrap_or_default().trim_matches('\'');
    if name.is_empty() { ClientEncoding::default() } else { ClientEncoding::from_name(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn wants() -> Wants {
        let mut base = Settings::default();
        base.insert("application_name", text("app"));
        let mut wants = Wants::new(base.intern());
        wants.caught_up(false);
        wants
    }

    #[test]
    fn a_rolled_back_set_is_undone() {
        let mut wants = wants();
        wants.set("a", text("1"));
        wants.savepoint("s");
        wants.set("a", text("2"));
        wants.rollback_to("s");
        assert_eq!(wants.client().get("a"), Some(&text("1")));
        wants.rollback();
        assert_eq!(wants.client().get("a"), None);
        assert!(wants.agree());
    }

    #[test]
    fn a_reset_returns_to_the_startup_value() {
        let mut wants = wants();
        wants.set("application_name", text("other"));
        wants.reset("application_name");
        assert_eq!(wants.client().get("application_name"), Some(&text("app")));
        assert!(!wants.agree(), "the server is at its own default");
        wants.reset_all(true);
        assert_eq!(wants.client().get("application_name"), Some(&text("app")));
    }

    #[test]
    fn the_texts_are_read_by_the_client_s_rules() {
        let mut wants = wants();
        assert!(wants.rules().standard_conforming_strings);
        wants.set(
            "standard_conforming_strings",
            Value::Statement("SET standard_conforming_strings TO off".into()),
        );
        assert!(!wants.rules().standard_conforming_strings);
        wants.set("client_encoding", text("SJIS"));
        assert_eq!(wants.rules().encoding, ClientEncoding::EmbeddedAscii);
    }
}
