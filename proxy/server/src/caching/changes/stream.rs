//! One logical replication connection: its slot, its start, and what it brings.
//! <https://www.postgresql.org/docs/current/protocol-replication.html>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use pointsman_wire::frame::Frame;
use pointsman_wire::frontend::Query;
use pointsman_wire::replication::StandbyStatus;

use crate::caching::config::ChangesConfig;
use crate::fault::Fault;
use crate::transport::framed::Framed;
use crate::upstream::config::ClusterConfig;
use crate::upstream::connect::{LoggedIn, Login, log_in};
use crate::upstream::credentials::Credentials;
use crate::upstream::server::Server;

/// A row of PostgreSQL's is at most 1 GiB; a message of the stream holds two.
const MESSAGE_BYTES_MAX: usize = 0x7fff_ffff;

/// A stream of changes.
#[derive(Debug)]
pub struct Stream {
    framed: Framed,
    /// The slot's name.
    pub slot: String,
    /// Everything before this position was taken.
    pub taken: u64,
}

impl Stream {
    /// Connects to `server` and begins to read changes of `database`: from a slot of its own, which lives as long as the
    /// connection, or from the one that is configured. To log in takes `limit` at the most; a slot of its own is made when the
    /// transactions in progress are over, however long that takes.
    ///
    /// # Errors
    /// The server's own words, or that it did not answer.
    pub async fn open(
        cluster: &ClusterConfig,
        server: &Server,
        database: &str,
        changes: &ChangesConfig,
        limit: Duration,
    ) -> Result<Self, Fault> {
        let login = login(cluster, database);
        let LoggedIn { framed, .. } =
            tokio::time::timeout(limit, log_in(&server.config, &login)).await.map_err(|_| {
                Fault::upstream("08001", format!("{} did not answer within {limit:?}", server.config.address))
            })??;
        let mut stream = Self { framed, slot: String::new(), taken: 0 };
        stream.slot = match &changes.slot {
            Some(slot) => slot.clone(),
            None => stream.make_slot().await?,
        };
        stream.start(&changes.publication).await?;
        Ok(stream)
    }

    async fn make_slot(&mut self) -> Result<String, Fault> {
        let slot = format!("pointsman_{:016x}", rand::random::<u64>());
        let sql = format!("CREATE_REPLICATION_SLOT \"{slot}\" TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT");
        self.ask(&sql).await?;
        loop {
            let frame = self.frame().await?;
            if frame.tag == b'Z' {
                return Ok(slot);
            }
        }
    }

    async fn start(&mut self, publication: &str) -> Result<(), Fault> {
        let name = format!("\"{}\"", publication.replace('"', "\"\"")).replace('\'', "''");
        let slot = self.slot.replace('"', "\"\"");
        let sql = format!(
            "START_REPLICATION SLOT \"{slot}\" LOGICAL 0/0 \
             (proto_version '1', publication_names '{name}', messages 'true')"
        );
        self.ask(&sql).await?;
        loop {
            let frame = self.frame().await?;
            if frame.tag == b'W' {
                return Ok(());
            }
        }
    }

    async fn ask(&mut self, sql: &str) -> Result<(), Fault> {
        let mut out = BytesMut::new();
        Query { sql: sql.as_bytes() }.encode(&mut out);
        self.framed.send(&out).await.map_err(|error| lost(&error))
    }

    async fn frame(&mut self) -> Result<Frame, Fault> {
        let frame = self.framed.read_frame(MESSAGE_BYTES_MAX).await.map_err(|error| lost(&error))?;
        if frame.tag == b'E' {
            return Err(Fault::from_server(frame.into_bytes()));
        }
        Ok(frame)
    }

    /// The payload of the next message of the stream. What was read stays read if this is dropped.
    ///
    /// # Errors
    /// The stream has ended, in the server's words where it has any.
    pub async fn next(&mut self) -> Result<Bytes, Fault> {
        loop {
            let frame = self.frame().await?;
            match frame.tag {
                b'd' => return Ok(frame.into_bytes().slice(5..)),
                b'c' | b'C' | b'Z' => return Err(lost(&"the server ended the stream")),
                _ => {}
            }
        }
    }

    /// Whether another whole message may be there without waiting.
    pub fn has_more(&self) -> bool {
        !self.framed.inbox.is_empty()
    }

    /// Tells the server what was taken; with `ask`, it says at once how far it is.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn report(&mut self, ask: bool) -> Result<(), Fault> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let mut payload = BytesMut::new();
        StandbyStatus { flushed: self.taken, now_micros, ask }.encode(&mut payload);
        let mut out = BytesMut::with_capacity(payload.len() + 5);
        out.put_u8(b'd');
        out.put_u32(u32::try_from(payload.len() + 4).unwrap_or(u32::MAX));
        out.put_slice(&payload);
        self.framed.send(&out).await.map_err(|error| lost(&error))
    }
}

fn login(cluster: &ClusterConfig, database: &str) -> Login {
    let credentials = cluster.password.clone().map_or(Credentials::None, Credentials::Password);
    let parameter = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Login {
        user: cluster.user.clone(),
        database: database.to_owned(),
        credentials,
        parameters: vec![
            parameter("replication", "database"),
            parameter("application_name", "pointsman changes"),
            // The stream speaks UTF-8, as everything here does.
            parameter("client_encoding", "UTF8"),
            // A receiver that is gone is noticed by the server within a minute.
            parameter("options", "-c wal_sender_timeout=60s"),
        ],
    }
}

fn lost(error: &impl std::fmt::Display) -> Fault {
    Fault::upstream("08006", "the stream of changes broke off").because(error)
}
