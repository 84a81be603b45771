//! An inner session: a client of one shard's cluster, in memory, for a part of the client's own statement. Everything that a
//! session does for its client, it does for a part: settings, pooling, replicas, prepared statements, what the cache must hear.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::Query;
use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::super::about::About;
use super::super::cancel::CancelSlot;
use super::super::control::Handle;
use super::super::{End, Opening, Session, Shared};
use super::{SYNC, no_policies};
use crate::fault::Fault;
use crate::transport::stream::{Plain, Stream};
use crate::upstream::config::PoolMode;
use crate::upstream::connection::CancelTarget;

/// Bytes under way to or from an inner session.
const UNDER_WAY_MAX: usize = 64 * 1024;

/// Room for what is read at once, in bytes.
const READ_MIN: usize = 16 * 1024;

/// One part's connection.
#[derive(Debug)]
pub(super) struct Leg {
    /// The shard.
    pub shard: usize,
    /// Messages to be sent.
    pub out: BytesMut,
    stream: DuplexStream,
    inbox: BytesMut,
    cancel: Arc<CancelSlot>,
    /// Where a cancel of ours may be under way.
    cancelling: Option<Arc<CancelTarget>>,
    handle: Arc<Handle>,
    /// ReadyForQuery messages that are still to come.
    owed: usize,
    /// It answered with an error.
    pub failed: bool,
}

/// What an inner session says: rows, one or more of them one after another, or another message.
#[derive(Debug)]
pub(super) struct Frame {
    /// Of rows, `D`.
    pub tag: u8,
    /// Whole frames.
    pub bytes: Bytes,
}

impl Frame {
    /// What follows the length.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(5..).unwrap_or_default()
    }
}

impl Drop for Leg {
    /// Half an answer belongs to nobody: what still runs is cancelled, and the inner session ends.
    fn drop(&mut self) {
        if self.owed > 0 {
            self.cancel();
            self.handle.give(super::super::Order::Stop);
        }
    }
}

impl Leg {
    /// Puts a simple query into `out`.
    pub fn query(&mut self, sql: &[u8]) {
        Query { sql }.encode(&mut self.out);
        self.owed += 1;
    }

    /// Puts the end of a batch into `out`.
    pub fn sync(&mut self) {
        self.out.extend_from_slice(SYNC);
        self.owed += 1;
    }

    /// Cancels what still runs.
    pub fn cancel(&mut self) {
        if self.owed > 0 {
            self.cancelling = self.cancel.cancel_in_background();
        }
    }

    /// Takes all answers that are still to come; what they say does not matter any more. A cancel of ours has arrived then:
    /// it must not meet the next statement.
    pub async fn settle(&mut self) -> Result<(), Fault> {
        while self.owed > 0 {
            self.frame().await?;
        }
        if let Some(target) = self.cancelling.take() {
            target.released().await;
        }
        Ok(())
    }

    /// Sends what was put into `out`.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        use tokio::io::AsyncWrite as _;
        while !self.out.is_empty() {
            match std::pin::Pin::new(&mut self.stream).poll_write(cx, &self.out) {
                Poll::Ready(Ok(count)) if count > 0 => drop(self.out.split_to(count)),
                Poll::Ready(_) => return Poll::Ready(Err(gone(self.shard))),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is left to be sent, and takes what comes next.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Fault>> {
        if let Poll::Ready(Err(fault)) = self.poll_send(cx) {
            return Poll::Ready(Err(fault));
        }
        loop {
            if let Some(frame) = self.take_frame()? {
                return Poll::Ready(Ok(frame));
            }
            self.inbox.reserve(READ_MIN);
            let read = std::pin::pin!(self.stream.read_buf(&mut self.inbox)).poll(cx);
            match read {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Err(gone(self.shard))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// What has come already: all whole rows at the front, or one other message.
    fn take_frame(&mut self) -> Result<Option<Frame>, Fault> {
        let (mut end, mut tag) = (0, 0);
        while let Some(header) = Header::peek(&self.inbox[end..])? {
            let whole = self.inbox.len() - end >= header.frame_len();
            if !whole || (end > 0 && header.tag != b'D') {
                break;
            }
            (end, tag) = (end + header.frame_len(), header.tag);
            if tag != b'D' {
                break;
            }
        }
        if end == 0 {
            return Ok(None);
        }
        if tag == b'Z' {
            self.owed = self.owed.saturating_sub(1);
        }
        Ok(Some(Frame { tag, bytes: self.inbox.split_to(end).freeze() }))
    }

    /// What comes next.
    pub async fn frame(&mut self) -> Result<Frame, Fault> {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }
}

impl Session {
    /// Begins an inner session on a shard, with the client's settings.
    pub(super) fn open_leg(&self, shard: usize) -> Option<Leg> {
        let shards = self.shards.as_ref()?;
        let lane = shards.lanes.get(shard)?;
        let (ours, theirs) = tokio::io::duplex(UNDER_WAY_MAX);
        let stream = Stream::Plain(Plain::Memory(theirs));
        let (handle, cancel) = (Arc::new(Handle::default()), Arc::new(CancelSlot::default()));
        let about = &self.meter.about;
        let about = About::new(&about.user, &about.database, Some(Arc::clone(&lane.cluster)), &stream);
        let shared = Shared {
            cluster: Arc::clone(&lane.cluster),
            account: Arc::clone(&lane.account),
            policies: no_policies(),
            usage: Arc::clone(&lane.usage),
            mode: PoolMode::Transaction,
            ..self.shared.clone()
        };
        let mut inner = Self::new(Opening {
            shared,
            handle: Arc::clone(&handle),
            cancel: Arc::clone(&cancel),
            stream,
            unread: BytesMut::new(),
            base: Arc::clone(self.wants.client()),
            told: Arc::clone(&self.told),
            about: Arc::new(about),
            shards: None,
        });
        inner.ruled = Some(Arc::clone(&shards.ruled));
        let here = shards.at == shard;
        inner.token = if here { self.token } else { lane.token };
        inner.own = if here { self.own } else { lane.own };
        begin(inner, Arc::clone(&handle));
        Some(Leg {
            shard,
            out: BytesMut::new(),
            stream: ours,
            inbox: BytesMut::new(),
            cancel,
            cancelling: None,
            handle,
            owed: 0,
            failed: false,
        })
    }
}

/// Runs an inner session as a task of its own.
fn begin(inner: Session, handle: Arc<Handle>) {
    tokio::spawn(async move {
        let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        handle.attach(waker);
        let life: std::pin::Pin<Box<dyn Future<Output = End> + Send>> = Box::pin(inner.run());
        if let End::Fatal(fault) = life.await {
            tracing::debug!(%fault, "an inner session ended");
        }
    });
}

fn gone(shard: usize) -> Fault {
    Fault::upstream("08006", format!("the connection to shard {shard} was lost"))
}
