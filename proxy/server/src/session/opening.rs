//! From a proven identity to a session: the client's startup settings, and what the primary says to them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pointsman_wire::backend::{BackendKeyData, ParameterStatus, ReadyForQuery, TransactionStatus};
use pointsman_wire::frame::Header;
use pointsman_wire::startup::Startup;
use tokio::io::AsyncWriteExt;

use super::about::About;
use super::cancel::CancelSlot;
use super::control::Handle;
use super::shards::Shards;
use super::{Shared, message};
use crate::fault::Fault;
use crate::transport::buffer::Buffer;
use crate::transport::stream::Stream;
use crate::upstream::account::Reported;
use crate::upstream::connection::Connection;
use crate::upstream::settings::{Settings, Value, difference};

/// All that a session starts with.
#[derive(Debug)]
pub struct Opening {
    /// What it shares.
    pub shared: Shared,
    /// For orders.
    pub handle: Arc<Handle>,
    /// For cancels.
    pub cancel: Arc<CancelSlot>,
    /// The client.
    pub stream: Stream,
    /// Bytes that came with the login.
    pub unread: BytesMut,
    /// The client's startup settings.
    pub base: Arc<Settings>,
    /// What the client was told.
    pub told: Reported,
    /// What others may know of it.
    pub about: Arc<About>,
    /// The shards of its database, if it has any.
    pub shards: Option<Box<Shards>>,
}

/// The settings of a startup packet: every parameter that is not the protocol's own, then those of `options`.
///
/// # Errors
/// 08P01 or 22023 when `options` cannot be read.
pub fn startup_settings(startup: &Startup) -> Result<Arc<Settings>, Fault> {
    let mut settings = Settings::default();
    for (name, value) in &startup.parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            name if name.starts_with("_pq_.") => {}
            "options" => {
                for (name, value) in pointsman_wire::options::parse_options(value)? {
                    settings.insert(&name.to_ascii_lowercase(), Value::Text(value));
                }
            }
            name => settings.insert(&name.to_ascii_lowercase(), Value::Text(value.clone())),
        }
    }
    Ok(settings.intern())
}

/// What the primary reports to a client with these settings: known from an earlier one, or asked for.
///
/// # Errors
/// The server's refusal: no such database, no such setting, a value that it does not take.
pub async fn greeting(shared: &Shared, base: &Arc<Settings>) -> Result<Reported, Fault> {
    if let Some(reported) = shared.account.greeting(base) {
        return Ok(reported);
    }
    let servers = shared.cluster.servers();
    let missing = || Fault::upstream("08006", "no server is the primary now");
    let primary = shared.cluster.primary().and_then(|index| servers.get(index)).ok_or_else(missing)?;
    let pool = shared.account.pool(primary).ok_or_else(missing)?;
    let mut lease = pool.checkout().await?;
    let connection = lease.connection();
    let sql = difference(&connection.settings, base);
    if !sql.is_empty() {
        apply(connection, &sql).await?;
        connection.settings = Arc::clone(base);
    }
    let reported = Arc::new(connection.reported.clone());
    lease.release();
    shared.account.keep_greeting(base, Arc::clone(&reported));
    Ok(reported)
}

/// Runs the statements that set a client's settings, and notes what the server reports.
async fn apply(connection: &mut Connection, sql: &str) -> Result<(), Fault> {
    let mut out = Buffer::default();
    message::query(&mut out, sql.as_bytes());
    let lost = |error: &dyn std::fmt::Display| {
        Fault::upstream("08006", "the server closed the connection during login").because(error)
    };
    connection.stream.write_all(out.bytes()).await.map_err(|error| lost(&error))?;
    connection.stream.flush().await.map_err(|error| lost(&error))?;
    let mut refused = None;
    loop {
        while let Some(frame) = take_frame(&mut connection.unread)? {
            match frame[0] {
                b'S' => {
                    if let Ok(status) = ParameterStatus::decode(&frame[5..]) {
                        connection.note_reported(status.name, status.value);
                    }
                }
                b'E' => {
                    refused = Some(Fault::from_server(Bytes::copy_from_slice(&frame)).retold());
                }
                b'Z' => {
                    connection.unread.release();
                    return refused.map_or(Ok(()), Err);
                }
                _ => {}
            }
        }
        let Connection { stream, unread, .. } = connection;
        match std::future::poll_fn(|cx| unread.poll_fill(stream, cx)).await {
            Ok(0) => return Err(lost(&"end of stream")),
            Ok(_) => {}
            Err(error) => return Err(lost(&error)),
        }
    }
}

fn take_frame(buffer: &mut Buffer) -> Result<Option<Vec<u8>>, Fault> {
    let header = Header::peek(buffer.bytes()).map_err(|error| super::relay::desync(&error))?;
    let Some(header) = header.filter(|header| buffer.len() >= header.frame_len()) else { return Ok(None) };
    let frame = buffer.bytes()[..header.frame_len()].to_vec();
    buffer.consume(header.frame_len());
    Ok(Some(frame))
}

/// The end of a login as the client sees it: parameters, cancel key, ReadyForQuery.
pub fn welcome(reported: &Reported, process_id: i32, secret: &Bytes, out: &mut BytesMut) {
    for (name, value) in reported.iter() {
        ParameterStatus { name, value }.encode(out);
    }
    BackendKeyData { process_id, secret: secret.clone() }.encode(out);
    ReadyForQuery(TransactionStatus::Idle).encode(out);
}
