//! The admin console: a client that asks for the database `pointsman` is served here, by PostgreSQL's protocol and with
//! PgBouncer's commands. `CONSOLE.md` tells what they show.

mod command;
mod extended;
mod pause;
mod show;
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pointsman_wire::backend::{CommandComplete, EMPTY_QUERY_RESPONSE, ReadyForQuery, TransactionStatus};
use pointsman_wire::error::WireError;
use pointsman_wire::frame::{Frame, frontend_body_max, take_frame};
use pointsman_wire::frontend::Query;
use pointsman_wire::startup::Startup;

use crate::client::config::AuthConfig;
use crate::client::login::Admitted;
use crate::fault::Fault;
use crate::metrics::WorkerCounters;
use crate::proxy::Proxy;
use crate::reload::Cause;
use crate::replication;
use crate::session::about::About;
use crate::session::control::{cancelled, shutting_down};
use crate::session::{End, Handle, Order};
use crate::transport::framed::Framed;
use crate::upstream::account::Reported;
use command::Command;
use extended::Extended;
use pause::Pause;

/// Longest message taken from a client, in bytes: no command is that long.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Answers are sent when there are more bytes of them than this.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest time spent on a client's last message.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// Whether a client that has proven who it is may use the console.
///
/// # Errors
/// 42501, with a hint at how it would be allowed.
pub fn admit(auth: &AuthConfig, admitted: &Admitted) -> Result<(), Fault> {
    let user = &admitted.user;
    if auth.admins.is_empty() {
        let told = format!("user \"{user}\" may not use the admin console: nobody may");
        return Err(Fault::client("42501", told).hint("List the users who may in auth.admins."));
    }
    if !auth.admins.contains(user) {
        let told = format!("user \"{user}\" may not use the admin console");
        return Err(Fault::client("42501", told).hint("List the user in auth.admins."));
    }
    if replication::is_asked_for(&admitted.startup)? {
        return Err(Fault::client("0A000", "the admin console does not replicate"));
    }
    Ok(())
}

/// What a client of the console is told of the server that it takes it for. Drivers tell by `server_version` how they
/// may speak.
pub fn reported(startup: &Startup) -> Reported {
    let version = concat!("14.0 (Pointsman ", env!("CARGO_PKG_VERSION"), ")");
    let application_name = startup.get("application_name").unwrap_or_default().to_owned();
    let fixed = [
        ("server_version", version),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "off"),
    ];
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let mut all: Vec<_> = fixed.into_iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
    all.push((bytes("application_name"), application_name.into()));
    Arc::new(all)
}

/// One client of the console.
#[derive(Debug)]
pub struct Console {
    proxy: Arc<Proxy>,
    framed: Framed,
    handle: Arc<Handle>,
    about: Arc<About>,
    counters: Arc<WorkerCounters>,
    extended: Extended,
    /// Answers that were not sent yet.
    out: BytesMut,
}

/// What comes between a client and what it waits for.
enum Interruption {
    Left,
    Cancelled,
    Ordered,
}

impl Console {
    /// A client that has just been told ReadyForQuery.
    pub fn new(
        proxy: Arc<Proxy>,
        framed: Framed,
        handle: Arc<Handle>,
        about: Arc<About>,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let extended = Extended::new(proxy.settings().config.limits.prepared_statements_max);
        Self { proxy, framed, handle, about, counters, extended, out: BytesMut::new() }
    }

    /// Serves the client until it leaves, must leave, or is told to.
    pub async fn run(mut self) -> End {
        match self.serve().await {
            Ok(end) => end,
            Err(fault) => {
                self.counters.error(fault.sqlstate.as_bytes());
                self.out.extend_from_slice(&fault.encode("FATAL"));
                // The client may be gone, or not read: then nobody hears it.
                let _unheard = tokio::time::timeout(FAREWELL_MAX, self.framed.send(&self.out)).await;
                End::Fatal(fault)
            }
        }
    }

    async fn serve(&mut self) -> Result<End, Fault> {
        loop {
            while let Some(frame) = self.take()? {
                if frame.tag == b'X' {
                    return Ok(End::Client);
                }
                self.about.note_request(Instant::now());
                self.answer(&frame).await?;
                if self.out.len() > ANSWER_BYTES_MAX && !self.send().await? {
                    return Ok(End::Client);
                }
            }
            if !self.send().await? {
                return Ok(End::Client);
            }
            let Self { framed, handle, .. } = self;
            tokio::select! {
                biased;
                () = ordered(handle, true) => return Err(shutting_down()),
                read = framed.read_more() => if read.is_err() { return Ok(End::Client) },
            }
        }
    }

    /// The next whole message that has come.
    fn take(&mut self) -> Result<Option<Frame>, Fault> {
        let Some(tag) = self.framed.inbox.first() else { return Ok(None) };
        let body_max = frontend_body_max(*tag).ok_or(WireError::FrontendType(*tag))?;
        let body_max =
            body_max.min(MESSAGE_BYTES_MAX).min(self.proxy.settings().config.limits.message_bytes_max);
        Ok(take_frame(&mut self.framed.inbox, body_max)?)
    }

    /// Sends what there is to send; false when the client has left.
    async fn send(&mut self) -> Result<bool, Fault> {
        let Self { framed, handle, out, .. } = self;
        if out.is_empty() {
            return Ok(true);
        }
        let sent = tokio::select! {
            biased;
            () = ordered(handle, false) => return Err(shutting_down()),
            sent = framed.send(out) => sent.is_ok(),
        };
        // A large answer's memory is not kept.
        *out = BytesMut::new();
        Ok(sent)
    }

    async fn answer(&mut self, frame: &Frame) -> Result<(), Fault> {
        match frame.tag {
            b'Q' => {
                if let Err(fault) = self.query(frame.body()).await {
                    self.tell(fault)?;
                }
                self.ready();
            }
            b'F' => {
                self.tell(Fault::client("0A000", "the admin console has no functions"))?;
                self.ready();
            }
            // Outside of a copy PostgreSQL drops these, and so do we.
            b'd' | b'c' | b'f' => {}
            b'p' => return Err(WireError::FrontendType(b'p').into()),
            tag => self.extended(tag, frame.body()).await?,
        }
        Ok(())
    }

    fn ready(&mut self) {
        ReadyForQuery(TransactionStatus::Idle).encode(&mut self.out);
    }

    /// Tells the client of an error, unless it ends the session.
    fn tell(&mut self, fault: Fault) -> Result<(), Fault> {
        if fault.sqlstate == "57P01" {
            return Err(fault);
        }
        self.counters.error(fault.sqlstate.as_bytes());
        self.out.extend_from_slice(&fault.encode("ERROR"));
        Ok(())
    }

    async fn query(&mut self, body: &[u8]) -> Result<(), Fault> {
        let commands = command::parse(text(Query::decode(body)?.sql)?)?;
        if commands.is_empty() {
            self.out.extend_from_slice(EMPTY_QUERY_RESPONSE);
        }
        for command in commands {
            match &command {
                Command::Show(show) => show.table(&self.proxy).put(&mut self.out),
                other => self.perform(other).await?,
            }
            if self.out.len() > ANSWER_BYTES_MAX {
                // That the client has left is seen at the next read.
                let _left = self.send().await?;
            }
        }
        Ok(())
    }

    /// Does what returns no rows, and says that it is done.
    async fn perform(&mut self, command: &Command) -> Result<(), Fault> {
        let tag: &[u8] = match command {
            Command::Pause(database) => {
                self.pause(database.as_deref()).await?;
                b"PAUSE"
            }
            Command::Resume(database) => {
                pause::resume(&self.proxy, database.as_deref())?;
                tracing::info!(user = self.about.user, ?database, "resumed");
                b"RESUME"
            }
            Command::Invalidate(what) => {
                self.proxy.invalidate(what)?;
                tracing::info!(user = self.about.user, ?what, "invalidated");
                b"INVALIDATE"
            }
            Command::Reload => {
                self.reload().await?;
                b"RELOAD"
            }
            Command::Set | Command::Show(_) => b"SET",
        };
        CommandComplete { tag }.encode(&mut self.out);
        Ok(())
    }

    /// Pauses, and waits until all server connections have come back. Interrupted, it takes back what it paused.
    async fn pause(&mut self, database: Option<&str>) -> Result<(), Fault> {
        // A cancel from before was for nothing.
        self.handle.take_cancelled();
        let pause = Pause::begin(&self.proxy, database)?;
        tracing::info!(user = self.about.user, ?database, "pausing");
        let Self { framed, handle, .. } = self;
        let interruption = tokio::select! {
            biased;
            () = pause.settled() => {
                pause.keep();
                tracing::info!(user = self.about.user, ?database, "paused");
                return Ok(());
            }
            interruption = interrupted(framed, handle) => interruption,
        };
        drop(pause);
        tracing::info!(user = self.about.user, ?database, "the pause was given up before it was complete");
        match interruption {
            Interruption::Cancelled => Err(cancelled()),
            Interruption::Ordered => Err(shutting_down()),
            Interruption::Left => Err(Fault::client("08006", "the client left while it waited")),
        }
    }

    async fn reload(&self) -> Result<(), Fault> {
        let missing = || Fault::pointsman("55000", "the configuration cannot be read again now");
        let reloader = self.proxy.reloader().ok_or_else(missing)?;
        let reload = self.proxy.clusters.spawn(async move { reloader.reload(Cause::Console).await });
        let outcome =
            reload.await.map_err(|error| Fault::pointsman("XX000", "the reload failed").because(error))?;
        outcome.map_err(|error| {
            Fault::pointsman("F0000", format!("not reloaded: {error}")).hint("What runs stays as it is.")
        })
    }
}

/// A text of the client's.
fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes)
        .map_err(|_| Fault::client("22021", "invalid byte sequence for encoding \"UTF8\" in a command"))
}

/// Waits for an order; a drain counts only for a client that is `idle`. The handle wakes this task.
async fn ordered(handle: &Handle, idle: bool) {
    std::future::poll_fn(|_| match handle.order(idle) {
        Some(Order::Drain | Order::Stop) => std::task::Poll::Ready(()),
        None => std::task::Poll::Pending,
    })
    .await;
}

/// Waits for what would interrupt a command that waits. What the client sends meanwhile is kept, within limits.
async fn interrupted(framed: &mut Framed, handle: &Handle) -> Interruption {
    let cancelled = std::future::poll_fn(|_| match handle.take_cancelled() {
        true => std::task::Poll::Ready(()),
        false => std::task::Poll::Pending,
    });
    let left = async {
        while framed.inbox.len() < MESSAGE_BYTES_MAX {
            if framed.read_more().await.is_err() {
                return;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        () = ordered(handle, true) => Interruption::Ordered,
        () = cancelled => Interruption::Cancelled,
        () = left => Interruption::Left,
    }
}
