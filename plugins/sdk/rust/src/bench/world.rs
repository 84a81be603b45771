//! What is around a plugin in a native test.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::Statement;
use crate::Rows;
use crate::log::Level;
use crate::lookup::LookupError;
use crate::session::Identity;

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedLine {
    /// How much it matters.
    pub level: Level,
    /// The line.
    pub message: String,
}

/// What there is to ask for during a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// No session: `init`, `shutdown`, `on_change`.
    Nobody,
    /// A session without a statement: `on_connect`.
    Client,
    /// Both.
    Statement,
}

pub(crate) type Answer = Box<dyn FnMut(&str, &[Option<String>]) -> Result<Rows, LookupError>>;

pub(crate) struct Kept {
    pub(crate) value: Vec<u8>,
    pub(crate) until: Option<Duration>,
}

pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) values: BTreeMap<Vec<u32>, f64>,
}

pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) statement: Option<Statement>,
    pub(crate) who: Identity,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) kv: BTreeMap<String, Kept>,
    pub(crate) lookup: Option<Answer>,
    pub(crate) lookups: usize,
    pub(crate) logged: Vec<LoggedLine>,
    pub(crate) metrics: Vec<Metric>,
    /// Since 1970.
    pub(crate) now: Duration,
    pub(crate) random: u64,
}

impl Default for World {
    fn default() -> Self {
        let words = ["app", "app", ""].map(str::to_owned);
        let [user, database, application] = words;
        Self {
            stage: Stage::Nobody,
            statement: None,
            who: Identity { user, database, application, client: Some("127.0.0.1".to_owned()) },
            settings: BTreeMap::new(),
            kv: BTreeMap::new(),
            lookup: None,
            lookups: 0,
            logged: Vec::new(),
            metrics: Vec::new(),
            now: Duration::from_secs(1_767_225_600),
            random: 1,
        }
    }
}

impl World {
    pub(crate) fn metric(&self, name: &str, labels: &[u32]) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name)?.values.get(labels).copied()
    }
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Looks at the world. Not to be called from within.
pub(crate) fn with<R>(look: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(look)
}

/// Makes a call of a plugin, with what there is to ask for meanwhile.
pub(crate) fn enter<R>(stage: Stage, statement: Option<Statement>, call: impl FnOnce() -> R) -> R {
    with(|world| (world.stage, world.statement) = (stage, statement));
    let result = call();
    with(|world| (world.stage, world.statement) = (Stage::Nobody, None));
    result
}
