//! The shard that a developer asks for by a key: with `/* pointsman: shard_key=42 */` in a text, or `SET pointsman.shard_key = 42` for
//! all texts that follow. It stands for what a text itself says of its keys.

use std::sync::LazyLock;

use memchr::memmem;
use pointsman_policy::hints;
use pointsman_shards::ShardSet;
use pointsman_shards::pick::Picked;
use pointsman_shards::plan::{Many, Refusal, Why};

use super::super::Session;
use super::planned::Planned;
use super::way::no_shard;
use crate::fault::Fault;
use crate::upstream::settings::Value;

/// The setting.
pub(in crate::session) const SHARD_KEY: &str = "pointsman.shard_key";
/// Its name in a comment.
const HINT: &str = "shard_key";
/// Finds what a comment with a hint has in it.
static HINTED: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"pointsman:"));

impl Session {
    /// The shard that is asked for, whatever the text says. A row that would move to another shard is none's to write.
    pub(super) fn hinted(&self, sql: &[u8], planned: &Planned) -> Result<Option<Picked>, Fault> {
        if let Some(shard) = self.flow.plugged.word().and_then(|word| word.shard) {
            return self.shard_of_plugin(shard).map(Some);
        }
        let Some(text) = self.hinted_key(sql) else { return Ok(None) };
        if matches!(&planned.plan.many, Many::Refused(Refusal { why: Why::KeyUpdate, .. })) {
            return Ok(None);
        }
        let of = self.shard_of()?;
        let key = of.kind.of_text(text.as_bytes()).ok_or_else(|| {
            Fault::client("22023", format!("`{text}` is no shard key"))
                .hint("Give a value of the shard key's type.")
        })?;
        let shard = of.function.shard(&[key], of.shards).map_err(no_shard)?;
        Ok(Some(Picked::Shards(ShardSet::one(shard))))
    }

    /// The shard that a plugin names by its number.
    fn shard_of_plugin(&self, shard: u32) -> Result<Picked, Fault> {
        let shards = self.shard_of()?.shards;
        let there = usize::try_from(shard).ok().filter(|shard| *shard < shards);
        let shard = there.ok_or_else(|| {
            Fault::pointsman(
                "58000",
                format!("a plugin asked for shard {shard}, and there are 0 to {}", shards - 1),
            )
        })?;
        Ok(Picked::Shards(ShardSet::one(shard)))
    }

    fn hinted_key(&self, sql: &[u8]) -> Option<String> {
        let commented = HINTED.find(sql).is_some();
        let hint = || hints(sql, self.wants.rules()).filter(|(key, _)| *key == HINT).last();
        let by_comment = commented.then(hint).flatten().map(|(_, value)| value.trim_matches('\'').to_owned());
        by_comment.or_else(|| self.set_shard_key()).filter(|key| !key.is_empty())
    }

    fn set_shard_key(&self) -> Option<String> {
        Some(match self.wants.client().get(SHARD_KEY)? {
            Value::Text(text) => text.trim().to_owned(),
            Value::Statement(statement) => statement.rsplit(" TO ").next()?.trim_matches('\'').to_owned(),
        })
    }
}
