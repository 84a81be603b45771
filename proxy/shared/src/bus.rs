//! The bus: each proxy hears what the others published, so that what it keeps in its own memory is
//! invalidated, too.
//!
//! It is a channel of Redis's publish and subscribe with numbered messages, not a stream (`XADD`, `XREAD`). A
//! stream survives short disconnections, but it goes back with the store when that restarts from an older
//! state or is emptied, which would have to be found out by numbers all the same; it needs memory just when
//! the store is full; and in a Cluster it moves with its slot. Here nothing is kept, so every lost connection
//! is a gap: the entries in memory are flushed, and fetched again from the store, which is still there. Redis
//! cuts off who does not keep up rather than leave messages out, but nothing rests on that: each sender
//! numbers what it says, and its heartbeats repeat the last number. In a Cluster all talk through the node
//! that has the slot of the channel's name.

mod message;
mod senders;

pub(crate) use message::{Message, Said};

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt as _;
use pointsman_cache::{TAGS_MAX, Tags};
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, ConnectionInfo};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::database::DatabaseId;
use crate::inner::Inner;
use crate::miss::Miss;
use senders::Senders;

/// What the bus tells. Before the first [`BusEvent::Open`] and from each [`BusEvent::Gap`] to the next one,
/// others may have invalidated what is not heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusEvent {
    /// From now on everything is heard.
    Open,
    /// Something may have been missed: whatever is kept that others may change is to be flushed.
    Gap(GapReason),
    /// Another proxy published this.
    Invalidate {
        /// Whose tags.
        database: DatabaseId,
        /// At most [`TAGS_MAX`] tags, or everything.
        tags: Tags,
        /// The other proxy's life: its number changes when it restarts.
        sender: u64,
    },
}

/// How many reasons for gaps are told apart.
pub const GAP_REASONS: usize = 6;

/// Why there is a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The connection ended, or the servers changed.
    Lost,
    /// Nothing was heard for too long, not even what this proxy said itself.
    Silence,
    /// A message of somebody's was not heard.
    Sequence,
    /// Somebody fell silent without a goodbye, perhaps with something to tell.
    Departed,
    /// A message that cannot be read, perhaps of a later version.
    Garbage,
    /// Events were not taken in time.
    Lagged,
}

impl GapReason {
    /// Names for metrics, by [`GapReason::index`].
    pub const NAMES: [&'static str; GAP_REASONS] =
        ["lost", "silence", "sequence", "departed", "garbage", "lagged"];

    /// Its place among the reasons.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Where the events come out.
#[derive(Debug)]
pub struct Bus {
    pub(crate) events: mpsc::Receiver<BusEvent>,
}

impl Bus {
    /// The next event; `None` when the shared level was closed. May be cancelled without losing one.
    pub async fn next(&mut self) -> Option<BusEvent> {
        self.events.recv().await
    }

    /// The channel itself.
    #[must_use]
    pub fn events(self) -> mpsc::Receiver<BusEvent> {
        self.events
    }
}

/// Subscribes, listens, and subscribes anew, for as long as somebody takes the events.
pub(crate) async fn listen(inner: Arc<Inner>, events: mpsc::Sender<BusEvent>) {
    let mut server = inner.server.subscribe();
    let mut backoff = Backoff::new(inner.config.retry, inner.config.retry_max);
    let mut mouth = Mouth { events, inner: Arc::clone(&inner), open: false, lagging: false };
    loop {
        let Ok(known) = server.wait_for(Option::is_some).await.map(|known| known.clone()) else { return };
        let Some(known) = known else { continue };
        let subscribed = tokio::time::timeout(inner.config.patience, subscribe(&inner, &known)).await;
        match subscribed.unwrap_or(Err(Miss::Deadline)) {
            Ok((sink, stream)) => {
                mouth.open();
                let mut ear = Ear { inner: &inner, server: &known, sink, stream };
                let reason = ear.listen(&mut mouth, &mut server).await;
                mouth.gap(reason);
                tracing::warn!(reason = GapReason::NAMES[reason.index()], "shared cache: the bus has a gap");
            }
            Err(miss) => inner.stats.failed_behind(miss),
        }
        tokio::select! {
            () = mouth.events.closed() => return,
            () = tokio::time::sleep(backoff.next(Instant::now())) => {}
        }
    }
}

async fn subscribe(inner: &Inner, server: &ConnectionInfo) -> Result<(PubSubSink, PubSubStream), Miss> {
    let (mut sink, stream) = Client::open(server.clone())?.get_async_pubsub().await?.split();
    sink.subscribe(&inner.names.bus).await?;
    Ok((sink, stream))
}

/// One subscription.
struct Ear<'a> {
    inner: &'a Inner,
    server: &'a ConnectionInfo,
    sink: PubSubSink,
    stream: PubSubStream,
}

impl Ear<'_> {
    /// Until there is a gap that only another subscription mends.
    async fn listen(
        &mut self,
        mouth: &mut Mouth,
        server: &mut watch::Receiver<Option<ConnectionInfo>>,
    ) -> GapReason {
        let mut senders = Senders::new(Instant::now(), self.inner.config.silence);
        let mut tick = tokio::time::interval(self.inner.config.heartbeat);
        let (mut last, mut own) = (Instant::now(), Instant::now());
        loop {
            mouth.catch_up();
            tokio::select! {
                message = self.stream.next() => {
                    let Some(message) = message else { return GapReason::Lost };
                    last = Instant::now();
                    match Message::decode(message.get_payload_bytes()) {
                        Some(message) if message.sender == self.inner.sender => own = last,
                        Some(message) => {
                            if senders.heard(&message, last) {
                                mouth.flush(GapReason::Sequence);
                            }
                            mouth.tell(message);
                        }
                        None => mouth.flush(GapReason::Garbage),
                    }
                }
                _ = tick.tick() => {
                    let now = Instant::now();
                    if senders.departed(now) {
                        mouth.flush(GapReason::Departed);
                    }
                    // While this proxy itself cannot say anything, its own silence means nothing.
                    if self.inner.session().is_err() {
                        own = now;
                    }
                    let silence = self.inner.config.silence;
                    if now.duration_since(own) > silence {
                        return GapReason::Silence;
                    }
                    if now.duration_since(last) > silence {
                        if !self.is_alive().await {
                            return GapReason::Silence;
                        }
                        last = Instant::now();
                    }
                }
                changed = server.changed() => {
                    let now = server.borrow_and_update();
                    if changed.is_err() || now.as_ref().is_some_and(|now| now.addr() != self.server.addr()) {
                        return GapReason::Lost;
                    }
                }
                () = mouth.events.closed() => return GapReason::Lost,
            }
        }
    }

    async fn is_alive(&mut self) -> bool {
        let answer = tokio::time::timeout(self.inner.config.patience, self.sink.ping::<redis::Value>());
        answer.await.is_ok_and(|answer| answer.is_ok())
    }
}

/// Tells the events without ever waiting: what the client library has read it keeps without a limit, so that
/// is taken at once. Events that find no room are a gap, told when there is room again.
struct Mouth {
    events: mpsc::Sender<BusEvent>,
    inner: Arc<Inner>,
    open: bool,
    lagging: bool,
}

impl Mouth {
    fn open(&mut self) {
        self.open = true;
        self.send(BusEvent::Open);
    }

    fn gap(&mut self, reason: GapReason) {
        if self.open {
            self.open = false;
            self.inner.stats.gap(reason);
            self.send(BusEvent::Gap(reason));
        }
    }

    /// A gap that is over when it is found.
    fn flush(&mut self, reason: GapReason) {
        self.gap(reason);
        self.open();
    }

    fn tell(&mut self, message: Message) {
        let sender = message.sender;
        let (database, all) = match message.said {
            Said::Beat | Said::Bye => return,
            Said::Everything(database) => (database, None),
            Said::Tags(database, tags) => (database, Some(tags)),
        };
        self.inner.stats.heard.fetch_add(1, Ordering::Relaxed);
        let Some(all) = all else {
            return self.send(BusEvent::Invalidate { database, tags: Tags::everything(), sender });
        };
        for part in all.chunks(TAGS_MAX) {
            let mut tags = Tags::new();
            part.iter().for_each(|tag| tags.add(*tag));
            self.send(BusEvent::Invalidate { database, tags, sender });
        }
    }

    fn send(&mut self, event: BusEvent) {
        self.catch_up();
        if !self.lagging && self.events.try_send(event).is_err() {
            self.lagging = true;
        }
    }

    /// Makes up for what found no room: with a gap, and how things are now.
    fn catch_up(&mut self) {
        if !self.lagging {
            return;
        }
        if let Ok(mut room) = self.events.try_reserve_many(2) {
            self.lagging = false;
            self.inner.stats.gap(GapReason::Lagged);
            let events = [Some(BusEvent::Gap(GapReason::Lagged)), self.open.then_some(BusEvent::Open)];
            for (place, event) in room.by_ref().zip(events.into_iter().flatten()) {
                place.send(event);
            }
        }
    }
}
