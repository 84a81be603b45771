//! Generations of tags: 8 random bytes for each tag, in the store. An entry holds those that its tags had
//! before its query was sent, and is valid while each tag still has the same.
//!
//! A tag is invalidated by *deleting* its generation, and gets another when somebody fills an entry of it. A
//! counter would have to be there to be counted up, and one that was lost (evicted, expired, the store
//! emptied) would begin again at numbers that old entries hold. Random numbers never come back; a tag without
//! one makes its entries invalid; a write to what nobody caches leaves nothing behind; and a store that is
//! full still deletes.

use pointsman_cache::{Tag, Tags};
use redis::Value;

use crate::database::Database;
use crate::miss::Miss;

impl Database {
    /// The generations of these tags now, and of everything: to be asked for *before* the query is sent. They
    /// are a [`Portable`](pointsman_cache::codec::Portable)'s `tags`. Tags without one are given one.
    ///
    /// # Errors
    /// [`Miss::Unlisted`] if the tags are everything: what depends on everything is not shared.
    pub async fn generations(&self, tags: &Tags) -> Result<Vec<(Tag, u64)>, Miss> {
        let result = self.ask_generations(tags).await;
        self.counted(result)
    }

    async fn ask_generations(&self, tags: &Tags) -> Result<Vec<(Tag, u64)>, Miss> {
        if tags.is_everything() {
            return Err(Miss::Unlisted);
        }
        let session = self.session()?;
        let tags: Vec<Tag> = tags.as_slice().iter().copied().chain([self.id().everything()]).collect();
        let names: Vec<Vec<u8>> = tags.iter().map(|tag| self.inner.names.tag(*tag)).collect();
        let ttl = millis(self.inner.config.generation_ttl);
        let asked = session.scatter(&names, 2, |pipeline, name| {
            let new = rand::random::<u64>().to_le_bytes();
            pipeline.cmd("SET").arg(name).arg(&new[..]).arg("PX").arg(ttl).arg("NX");
            pipeline.cmd("GETEX").arg(name).arg("PX").arg(ttl);
        });
        let values = session.within(self.inner.config.deadline, asked).await?;
        let mut found = Vec::with_capacity(tags.len());
        for (tag, value) in tags.iter().zip(&values) {
            found.push((*tag, generation(value).ok_or_else(|| self.repair(*tag))?));
        }
        Ok(found)
    }

    /// What is there is no generation, and would keep its tag from ever being cached.
    fn repair(&self, tag: Tag) -> Miss {
        let mut tags = Tags::new();
        tags.add(tag);
        if tag == self.id().everything() {
            tags.add_everything();
        }
        self.push(&tags);
        Miss::Other
    }
}

/// A generation as the store keeps it.
pub(crate) fn generation(value: &Value) -> Option<u64> {
    let Value::BulkString(bytes) = value else { return None };
    Some(u64::from_le_bytes(bytes.as_slice().try_into().ok()?))
}

pub(crate) fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}
