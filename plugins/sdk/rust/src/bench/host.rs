//! The contract's imports, answered by the world of the test. Signatures are those that `wit-bindgen` makes.

use std::time::Duration;

use super::world::{self, Kept, Metric, Stage, World};

/// The world, if there is in it what is asked for; as Wasm, the call would trap.
fn during<R>(stage: Stage, what: &str, look: impl FnOnce(&mut World) -> R) -> R {
    let there = world::with(|world| world.stage >= stage);
    assert!(there, "there is no {what} in this hook: the call would trap");
    world::with(look)
}

pub(crate) mod session {
    use super::{Stage, during};
    use crate::session::Identity;

    pub(crate) fn who() -> Identity {
        during(Stage::Client, "session", |world| world.who.clone())
    }

    pub(crate) fn setting(name: &str) -> Option<String> {
        during(Stage::Client, "session", |world| world.settings.get(&name.to_ascii_lowercase()).cloned())
    }
}

pub(crate) mod statement {
    use super::{Stage, during};
    use crate::bench::Statement;
    use crate::statement::Constant;
    use crate::{Parameter, Relation, Value};

    fn at_hand<R>(look: impl FnOnce(&Statement) -> R) -> R {
        during(Stage::Statement, "statement", |world| look(world.statement.as_ref().expect("a statement")))
    }

    pub(crate) fn sql() -> String {
        at_hand(|statement| statement.sql.clone())
    }

    pub(crate) fn relations() -> Vec<Relation> {
        at_hand(|statement| statement.relations.clone())
    }

    pub(crate) fn literal(index: u32) -> Option<Constant> {
        at_hand(|statement| statement.literals.get(index as usize).cloned())
    }

    pub(crate) fn param(index: u32) -> Option<Parameter> {
        at_hand(|statement| statement.params.get(index as usize).cloned())
    }

    pub(crate) fn pinned(table: &str, column: &str) -> Option<Vec<Value>> {
        at_hand(|statement| {
            let found = statement.pinned.iter().find(|(t, c, _)| t == table && c == column);
            found.map(|(_, _, values)| values.clone())
        })
    }

    pub(crate) fn comment(key: &str) -> Option<String> {
        at_hand(|statement| {
            let found = statement.comments.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.clone())
        })
    }
}

pub(crate) mod log {
    use super::world;
    use crate::bench::LoggedLine;
    use crate::log::Level;

    pub(crate) fn write(level: Level, message: &str) {
        world::with(|world| world.logged.push(LoggedLine { level, message: message.to_owned() }));
    }

    pub(crate) fn enabled(_level: Level) -> bool {
        true
    }
}

pub(crate) mod metric {
    use super::{Metric, world};
    use crate::metric::Label;

    fn register(name: &str) -> Result<u32, String> {
        let number = world::with(|world| {
            let known = world.metrics.iter().position(|metric| metric.name == name);
            known.unwrap_or_else(|| {
                world.metrics.push(Metric { name: name.to_owned(), values: Default::default() });
                world.metrics.len() - 1
            })
        });
        u32::try_from(number).map_err(|_| "too many metrics".to_owned())
    }

    pub(crate) fn register_counter(name: &str, _help: &str, _labels: &[Label]) -> Result<u32, String> {
        if !name.ends_with("_total") {
            return Err(format!("a counter's name ends in `_total`: {name}"));
        }
        register(name)
    }

    pub(crate) fn register_gauge(name: &str, _help: &str, _labels: &[Label]) -> Result<u32, String> {
        register(name)
    }

    pub(crate) fn register_histogram(
        name: &str,
        _help: &str,
        _labels: &[Label],
        buckets: &[f64],
    ) -> Result<u32, String> {
        if !buckets.is_sorted() {
            return Err("the buckets' bounds do not rise".to_owned());
        }
        register(name)
    }

    fn change(metric: u32, labels: &[u32], change: impl FnOnce(f64) -> f64) {
        world::with(|world| {
            if let Some(metric) = world.metrics.get_mut(metric as usize) {
                let value = metric.values.entry(labels.to_vec()).or_default();
                *value = change(*value);
            }
        });
    }

    pub(crate) fn add(metric: u32, labels: &[u32], by: f64) {
        change(metric, labels, |value| value + by);
    }

    pub(crate) fn set(metric: u32, labels: &[u32], to: f64) {
        change(metric, labels, |_| to);
    }

    pub(crate) fn observe(metric: u32, labels: &[u32], _value: f64) {
        change(metric, labels, |count| count + 1.0);
    }
}

pub(crate) mod kv {
    use super::{Duration, Kept, World, world};
    use crate::kv::KvError;

    fn live<'a>(world: &'a World, key: &str) -> Option<&'a Kept> {
        world.kv.get(key).filter(|kept| kept.until.is_none_or(|until| until > world.now))
    }

    fn keep(world: &mut World, key: &str, value: Vec<u8>, until: Option<Duration>) {
        world.kv.insert(key.to_owned(), Kept { value, until });
    }

    pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, KvError> {
        Ok(world::with(|world| live(world, key).map(|kept| kept.value.clone())))
    }

    pub(crate) fn set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), KvError> {
        world::with(|world| {
            let until = ttl_ms.map(|ttl| world.now + Duration::from_millis(ttl));
            keep(world, key, value.to_vec(), until);
        });
        Ok(())
    }

    pub(crate) fn delete(key: &str) -> Result<(), KvError> {
        world::with(|world| world.kv.remove(key));
        Ok(())
    }

    pub(crate) fn increment(key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, KvError> {
        world::with(|world| {
            let fresh = ttl_ms.map(|ttl| world.now + Duration::from_millis(ttl));
            let (before, until) = match live(world, key) {
                None => (0, fresh),
                Some(kept) => {
                    let text = std::str::from_utf8(&kept.value).ok();
                    (text.and_then(|text| text.parse().ok()).ok_or(KvError::NotANumber)?, kept.until)
                }
            };
            let sum = by.checked_add(before).ok_or(KvError::NotANumber)?;
            keep(world, key, sum.to_string().into_bytes(), until);
            Ok(sum)
        })
    }
}

pub(crate) mod lookup {
    use super::world;
    use crate::Rows;
    use crate::lookup::LookupError;

    pub(crate) fn query(sql: &str, params: &[Option<String>]) -> Result<Rows, LookupError> {
        let mut answer = world::with(|world| {
            world.lookups += 1;
            world.lookup.take()
        });
        let found = match &mut answer {
            Some(answer) => answer(sql, params),
            None => Err(LookupError::Unavailable("the bench has no answer: see `Bench::lookup`".to_owned())),
        };
        world::with(|world| world.lookup = answer);
        found
    }
}

pub(crate) mod clock {
    use super::world;

    pub(crate) fn now() -> u64 {
        u64::try_from(world::with(|world| world.now).as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn monotonic() -> u64 {
        u64::try_from(world::with(|world| world.now).as_nanos()).unwrap_or(u64::MAX)
    }
}

pub(crate) mod random {
    use super::world;

    /// The same numbers in each test.
    pub(crate) fn number() -> u64 {
        world::with(|world| {
            world.random =
                world.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            world.random ^ (world.random >> 33)
        })
    }

    pub(crate) fn bytes(count: u32) -> Vec<u8> {
        (0..count.min(4096)).map(|_| number().to_le_bytes()[7]).collect()
    }
}
