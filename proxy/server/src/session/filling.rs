//! A result on its way from the server to the client, and into the cache: copied as it passes, checked by the ledger at
//! its end, given to all who wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use pointsman_cache::codec::Portable;
use pointsman_cache::ledger::{Era, Fill, Lsn, Refusal, Seq, Source};
use pointsman_cache::stats::{NotStored, Outcome};
use pointsman_cache::{About, Entry, Key, Leader, Millis, Parts, TAGS_MAX, Tag, Tags};
use pointsman_plugin_host::{Hook, StoreCall, StoreVerdict};
use pointsman_wire::backend::DataRow;
use pointsman_wire::frame::Header;
use pointsman_wire::owed::{Ask, Deal};

use super::cached::Terms;
use super::notes::Note;
use super::plugged::Judges;
use super::{Session, Shared, message};
use crate::caching::ResultCache;
use crate::caching::tags::{self, Naming};
use crate::fault::Fault;
use crate::policies::RuleCounts;
use crate::upstream::config::Role;

/// Tags that a query may name for one result.
const NAMED_MAX: usize = TAGS_MAX - 32;

/// A fill that this session leads.
#[derive(Debug)]
pub(super) struct Filling {
    leader: Leader,
    terms: Box<Terms>,
    key: Box<[u8]>,
    /// What it depends on.
    on: DependsOn,
    /// The most that may be kept, in bytes.
    bytes_max: usize,
    /// The generations of its tags in the shared store, before its query was sent.
    generations: Option<Vec<(Tag, u64)>>,
    /// Since when the ledger knows of it, and when its query was sent.
    begun: Option<Begun>,
    parameters: BytesMut,
    description: BytesMut,
    rows: BytesMut,
    /// What the message under way belongs to.
    into: Into,
}

/// What a result depends on.
#[derive(Debug, Default)]
pub(super) struct DependsOn {
    /// What is known of it before it is fetched.
    pub tags: Tags,
    /// What it has by its text alone where nothing else names the same relation: by the relation's family.
    pub by_family: Vec<(u16, Tags)>,
    /// Families that are named otherwise.
    pub vouched: Vec<u16>,
    /// The query that names further tags.
    pub tags_sql: Option<String>,
    /// What it named.
    named: Tags,
    named_families: Vec<u16>,
}

impl DependsOn {
    /// Adds a tag that the query named.
    fn add_named(&mut self, name: &[u8], by: Naming<'_>) {
        tags::named(name, true, by, &mut self.named, &mut self.named_families);
    }

    /// All of it.
    fn all(&mut self) -> Tags {
        let mut all = std::mem::take(&mut self.tags);
        // More names than can be kept say nothing: then the text does.
        if self.named.as_slice().len() <= NAMED_MAX {
            all.add_all(&self.named);
            self.vouched.append(&mut self.named_families);
        }
        for (_, tags) in self.by_family.iter().filter(|(family, _)| !self.vouched.contains(family)) {
            all.add_all(tags);
        }
        all
    }
}

/// How a fill began.
#[derive(Debug, Clone, Copy)]
struct Begun {
    fill: Result<Fill, Refusal>,
    /// When its query was sent.
    now: Millis,
    /// What was committed before is shown.
    as_of: Millis,
}

/// What a message is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Into {
    Nothing,
    Parameters,
    Description,
    Rows,
}

impl Filling {
    /// A fill that nothing was sent for yet.
    pub fn new(leader: Leader, terms: Box<Terms>, key: &[u8], on: DependsOn, bytes_max: usize) -> Self {
        Self {
            leader,
            terms,
            key: key.into(),
            on,
            bytes_max,
            generations: None,
            begun: None,
            parameters: BytesMut::new(),
            description: BytesMut::new(),
            rows: BytesMut::new(),
            into: Into::Nothing,
        }
    }

    fn len(&self) -> usize {
        self.parameters.len() + self.description.len() + self.rows.len()
    }

    /// Takes a piece of the message under way; false if the result is more than may be kept.
    fn take(&mut self, piece: &[u8]) -> bool {
        let target = match self.into {
            Into::Nothing => return true,
            Into::Parameters => &mut self.parameters,
            Into::Description => &mut self.description,
            Into::Rows => &mut self.rows,
        };
        target.extend_from_slice(piece);
        self.len() <= self.bytes_max
    }

    fn parts(&mut self) -> Parts {
        let part = |bytes: &mut BytesMut| {
            let bytes = std::mem::take(bytes);
            (!bytes.is_empty()).then(|| Bytes::copy_from_slice(&bytes))
        };
        Parts {
            parameters: part(&mut self.parameters),
            description: part(&mut self.description),
            rows: part(&mut self.rows).unwrap_or_default(),
        }
    }
}

impl Session {
    /// The query of a fill is about to be sent on the connection held.
    pub(super) fn begin_filling(&mut self) {
        let (Some(filling), Some(held)) = (&mut self.flow.filling, &self.held) else { return };
        let source = match held.role {
            Role::Primary => Source::Primary,
            Role::Replica => Source::Replica { replayed: Lsn(held.server.replayed()) },
        };
        if held.role == Role::Replica {
            // It may lack what other proxies wrote and published already.
            filling.generations = None;
        }
        let era = Era(self.shared.cluster.era());
        let fill = filling.terms.ledger.begin_fill(era, source);
        let cache = self.shared.cache.as_ref();
        let now = cache.map(|cache| cache.at(Instant::now())).unwrap_or_default();
        let as_of = match held.role {
            Role::Primary => now,
            Role::Replica => {
                let known = self.shared.cluster.whole_as_of(&held.server);
                known.map_or(Millis(0), |at| cache.map_or(now, |cache| cache.at(at)))
            }
        };
        filling.begun = Some(Begun { fill, now, as_of });
        let Some(sql) = filling.on.tags_sql.take() else { return };
        // In front of the client's own: whatever changes between the two is marked since the fill began.
        message::query(&mut self.io.to_server, sql.as_bytes());
        self.owed.push(Ask::Query, Deal::Swallow, Some(Note::TagsFrom));
        self.forget_server_unnamed();
    }

    /// Whether what is answered next is a query of ours for tags.
    pub(super) fn asks_for_tags(&self) -> bool {
        matches!(self.owed.head().and_then(|head| head.effect.as_ref()), Some(Note::TagsFrom))
    }

    /// A row of it.
    pub(super) fn take_tag(&mut self, header: Header) {
        let Some(filling) = &mut self.flow.filling else { return };
        let row = self.io.unscanned().get(5..header.frame_len()).map(DataRow::decode);
        let Some(Some(Ok(name))) =
            row.map(|row| row.ok().map(|row| row.values.into_iter().next().flatten().ok_or(())))
        else {
            return;
        };
        let database = &self.shared.account.database;
        let catalog = database.catalog();
        filling.on.add_named(name, Naming { catalog: &catalog, space: database.space() });
    }

    /// A message of the result begins.
    pub(super) fn note_part(&mut self, header: Header) {
        let Some(filling) = &mut self.flow.filling else { return };
        filling.into = match header.tag {
            b'D' => Into::Rows,
            b'T' | b'n' => Into::Description,
            b't' => Into::Parameters,
            // A notice would be lost to whoever is served from memory.
            b'N' => return self.spoil(NotStored::NotPlain),
            _ => Into::Nothing,
        };
    }

    /// A piece of it passes: `count` bytes of what was not looked at yet.
    pub(super) fn copy_part(&mut self, count: usize) {
        let Some(filling) = &mut self.flow.filling else { return };
        let piece = self.io.from_server.bytes().get(self.io.approved..self.io.approved + count);
        if !filling.take(piece.unwrap_or_default()) {
            self.spoil(NotStored::TooLarge);
        }
    }

    /// The result will not be kept; whoever waits for it asks for itself.
    #[cold]
    pub(super) fn spoil(&mut self, why: NotStored) {
        if let Some(filling) = self.flow.filling.take() {
            filling.terms.counts.cache.not_stored(why);
        }
    }

    /// The result is complete: its last message is the next `frame_len` bytes.
    pub(super) fn filled(&mut self, frame_len: usize) {
        let Some(filling) = &mut self.flow.filling else { return };
        filling.into = Into::Rows;
        self.copy_part(frame_len);
        let Some(filling) = self.flow.filling.take() else { return };
        self.end_filling(*filling);
    }

    fn end_filling(&self, mut filling: Filling) {
        match filling.terms.judges.take_if(|judges| judges.have(Hook::Store)) {
            None => conclude(&self.shared, filling, Stored::default()),
            Some(judges) => {
                let shared = self.shared.clone();
                // Nobody waits for it but those who follow.
                tokio::spawn(async move {
                    let stored = ask_before_keeping(&filling, &judges).await;
                    conclude(&shared, filling, stored);
                });
            }
        }
    }

    /// Looks for the result where proxies share theirs; if it is not there, asks for what it takes to put it there.
    pub(super) async fn ask_shared(
        &mut self,
        mut filling: Box<Filling>,
    ) -> Result<Result<Arc<Entry>, Box<Filling>>, Fault> {
        let shared = self.shared.account.database.shared().filter(|shared| shared.is_open()).cloned();
        let (Some(shared), Some(cache)) = (shared, self.shared.cache.clone()) else {
            return Ok(Err(filling));
        };
        let published = Seq(shared.published());
        let era = Era(self.shared.cluster.era());
        let Ok(fill) = filling.terms.ledger.begin_fill(era, Source::Shared { published }) else {
            return Ok(Err(filling));
        };
        let (key, bytes_max) = (filling.key.clone(), filling.bytes_max);
        // What is named only when it is filled is not shared.
        let known = filling.on.tags_sql.is_none();
        let ask = async {
            let found = shared.get(Key::new(&key), bytes_max).await.ok().flatten();
            let generations = match &found {
                None if known => shared.generations(&filling.on.tags).await.ok(),
                _ => None,
            };
            Ok((found, generations))
        };
        let (found, generations) = Box::pin(self.attend(ask)).await?;
        let entry = found.and_then(|found| self.accept_shared(&filling, &shared, &fill, found));
        let Some(entry) = entry else {
            filling.generations = generations;
            return Ok(Err(filling));
        };
        let counts = Arc::clone(&filling.terms.counts);
        filling.leader.land(Arc::clone(&entry));
        let age = cache.at(Instant::now()).since(entry.created());
        counts.cache.served(Outcome::SharedHit, entry.parts().len(), age);
        keep(&entry, &counts, &cache);
        Ok(Ok(entry))
    }

    /// An entry of the shared store as one of ours, if it may be served.
    fn accept_shared(
        &self,
        filling: &Filling,
        shared: &pointsman_shared::Database,
        fill: &Fill,
        found: Portable,
    ) -> Option<Arc<Entry>> {
        let cache = self.shared.cache.as_ref()?;
        let everything = shared.id().number();
        let mut tags = Tags::new();
        let own = found.tags.iter().filter(|(tag, _)| tag.number() != everything);
        own.for_each(|(tag, _)| tags.add(*tag));
        let stamp = filling.terms.ledger.end_fill(fill, &tags).ok()?;
        let age = unix_millis().saturating_sub(found.created_unix);
        let now = cache.at(Instant::now());
        let about = About {
            stamp,
            tags: tags.as_slice(),
            created: Millis(now.0.saturating_sub(age)),
            as_of: Millis(now.0.saturating_sub(age)),
            lifetime: filling.terms.lifetime(),
            scope: found.scope,
        };
        let same = found.scope == filling.terms.caching.scope && age < about.lifetime.ttl && age <= now.0;
        same.then(|| Entry::new(Key::new(&filling.key), found.parts, about))
    }
}

/// What plugins make of a result that is to be kept.
#[derive(Debug, Default)]
struct Stored {
    tags: Vec<String>,
    ttl: Option<Duration>,
    vetoed: bool,
}

async fn ask_before_keeping(filling: &Filling, judges: &Judges) -> Stored {
    let mut stored = Stored::default();
    let lifetime = filling.terms.lifetime();
    for plugin in judges.chain.iter().filter(|plugin| plugin.has(Hook::Store)) {
        let call = StoreCall {
            session: Arc::clone(&judges.session) as _,
            statement: Arc::clone(&judges.statement) as _,
            key: hex(Key::new(&filling.key).digest()),
            tags: judges.tags.iter().chain(&stored.tags).cloned().collect(),
            size: filling.len() as u64,
            ttl_ms: lifetime.ttl,
        };
        let said: BoxFuture<'_, _> = Box::pin(plugin.on_store(&call));
        match said.await.verdict {
            StoreVerdict::Veto => stored.vetoed = true,
            StoreVerdict::Keep { tags, ttl } => {
                stored.tags.extend(tags);
                stored.ttl = stored.ttl.into_iter().chain(ttl).min();
            }
        }
    }
    stored
}

/// Gives a complete result to all who wait for it, and keeps it if it may be kept.
fn conclude(shared: &Shared, mut filling: Filling, stored: Stored) {
    let counts = Arc::clone(&filling.terms.counts);
    let (Some(Begun { fill: begun, now: created, as_of }), Some(cache)) = (filling.begun, &shared.cache)
    else {
        return;
    };
    let database = &shared.account.database;
    let catalog = database.catalog();
    let policies = shared.policies.load();
    let mut tags = filling.on.all();
    let by = Naming { catalog: &catalog, space: database.space() };
    stored.tags.iter().for_each(|name| tags::read_named(name, by, &mut tags));
    let checked = begun.and_then(|fill| filling.terms.ledger.end_fill(&fill, &tags));
    let checked = checked.and_then(|stamp| {
        // Relations are known by other numbers now, or told apart by other columns: the tags would mean others.
        let same = catalog.families() == filling.terms.families && filling.terms.plans.is_of(&policies.set);
        if same { Ok(stamp) } else { Err(Refusal::UnknownTags) }
    });
    let stamp = match (checked, begun) {
        (Ok(stamp), _) => stamp,
        // What began is good for those who began no later, though nobody keeps it.
        (Err(_), Ok(fill)) => fill.start(),
        (Err(why), Err(_)) => return counts.cache.not_stored(NotStored::Refused(why)),
    };
    let mut lifetime = filling.terms.lifetime();
    if let Some(ttl) = stored.ttl {
        lifetime.ttl = lifetime.ttl.min(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    }
    let about =
        About { stamp, tags: tags.as_slice(), created, as_of, lifetime, scope: filling.terms.caching.scope };
    let parts = filling.parts();
    let entry = Entry::new(Key::new(&filling.key), parts, about);
    filling.leader.land(Arc::clone(&entry));
    match checked {
        Err(why) => counts.cache.not_stored(NotStored::Refused(why)),
        Ok(_) if stored.vetoed => counts.cache.not_stored(NotStored::Vetoed),
        Ok(_) => {
            // Others know nothing of tags that came after the query.
            if stored.tags.is_empty() {
                put_shared(shared, &entry, filling.generations.take(), cache);
            }
            keep(&entry, &counts, cache);
        }
    }
}

/// Puts an entry where other proxies find it; nobody waits for that.
fn put_shared(to: &Shared, entry: &Arc<Entry>, generations: Option<Vec<(Tag, u64)>>, cache: &ResultCache) {
    let (Some(shared), Some(tags)) = (to.account.database.shared(), generations) else { return };
    let age = cache.at(Instant::now()).since(entry.created());
    let lifetime = entry.lifetime();
    let portable = Portable {
        created_unix: unix_millis().saturating_sub(age),
        lifetime,
        scope: entry.scope(),
        position: Lsn(0),
        era: Era(u64::from(to.cluster.newest_timeline())),
        tags,
        parts: entry.parts().clone(),
    };
    let (shared, entry) = (shared.clone(), Arc::clone(entry));
    let life = Duration::from_millis(lifetime.ttl.saturating_sub(age).max(1));
    tokio::spawn(async move {
        // Why it could not be put is counted.
        let _counted = shared.put(Key::new(entry.key()), &portable, life).await;
    });
}

fn hex(digest: [u8; 16]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps an entry in memory.
fn keep(entry: &Arc<Entry>, counts: &RuleCounts, cache: &ResultCache) {
    match cache.store.insert(Arc::clone(entry)) {
        Ok(()) => counts.cache.stored(entry.weight()),
        Err(_) => counts.cache.not_stored(NotStored::TooLarge),
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
