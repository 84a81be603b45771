//! A result on its way from the server to the client, and into the cache: copied as it passes, checked by the ledger at
//! its end, given to all who wait for it.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use pointsman_cache::ledger::{Fill, Lsn, Refusal, Source};
use pointsman_cache::stats::NotStored;
use pointsman_cache::{About, Entry, Key, Leader, Lifetime, Millis, Parts, TAGS_MAX, Tags};
use pointsman_wire::backend::DataRow;
use pointsman_wire::frame::Header;
use pointsman_wire::owed::{Ask, Deal};

use super::cached::Terms;
use super::notes::Note;
use super::{Session, message};
use crate::caching::tags::{self, Naming};
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
    /// Since when the ledger knows of it, and when its query was sent.
    begun: Option<(Result<Fill, Refusal>, Millis)>,
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
        let era = pointsman_cache::ledger::Era(self.shared.cluster.era());
        let fill = filling.terms.ledger.begin_fill(era, source);
        let now = self.shared.cache.as_ref().map(|cache| cache.at(Instant::now())).unwrap_or_default();
        filling.begun = Some((fill, now));
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
        let counts = Arc::clone(&filling.terms.counts);
        let (Some((begun, created)), Some(cache)) = (filling.begun, &self.shared.cache) else { return };
        let families = self.shared.account.database.catalog().families();
        let policies = self.shared.policies.load();
        let tags = filling.on.all();
        let checked = begun.and_then(|fill| filling.terms.ledger.end_fill(&fill, &tags));
        let checked = checked.and_then(|stamp| {
            // Relations are known by other numbers now, or told apart by other columns: the tags would mean others.
            let same = families == filling.terms.families && filling.terms.plans.is_of(&policies.set);
            if same { Ok(stamp) } else { Err(Refusal::UnknownTags) }
        });
        let stamp = match (checked, begun) {
            (Ok(stamp), _) => stamp,
            // What began is good for those who began no later, though nobody keeps it.
            (Err(_), Ok(fill)) => fill.start(),
            (Err(why), Err(_)) => return counts.cache.not_stored(NotStored::Refused(why)),
        };
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let caching = &filling.terms.caching;
        let about = About {
            stamp,
            tags: tags.as_slice(),
            created,
            lifetime: Lifetime {
                ttl: millis(caching.ttl),
                stale_while_revalidate: millis(caching.stale_while_revalidate),
            },
            scope: caching.scope,
        };
        let parts = filling.parts();
        let entry = Entry::new(Key::new(&filling.key), parts, about);
        filling.leader.land(Arc::clone(&entry));
        match checked {
            Err(why) => counts.cache.not_stored(NotStored::Refused(why)),
            Ok(_) => match cache.store.insert(Arc::clone(&entry)) {
                Ok(()) => counts.cache.stored(entry.weight()),
                Err(_) => counts.cache.not_stored(NotStored::TooLarge),
            },
        }
    }
}
