//! Small exchanges of our own over a pooled connection: a sign of life, a rollback.

use std::time::Duration;

use bytes::BytesMut;
use pointsman_wire::backend::ParameterStatus;
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::Query;
use tokio::io::AsyncWriteExt;

use super::connection::Connection;
use crate::fault::Fault;

/// Asks for a sign of life by an empty query, within `limit`.
///
/// # Errors
/// 08006 when none comes.
pub async fn ping(connection: &mut Connection, limit: Duration) -> Result<(), Fault> {
    run(connection, b"", limit).await
}

/// Runs one simple query and discards its rows, within `limit`; the connection is idle afterwards.
///
/// # Errors
/// 08006 when the server fails, says an error, or is not idle afterwards.
pub async fn run(connection: &mut Connection, sql: &[u8], limit: Duration) -> Result<(), Fault> {
    let lost = |cause: &dyn std::fmt::Display| {
        Fault::upstream("08006", "the server connection does not answer").because(cause)
    };
    match tokio::time::timeout(limit, exchange(connection, sql)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(lost(&error)),
        Err(late) => Err(lost(&late)),
    }
}

async fn exchange(connection: &mut Connection, sql: &[u8]) -> std::io::Result<()> {
    let mut out = BytesMut::new();
    Query { sql }.encode(&mut out);
    connection.stream.write_all(&out).await?;
    connection.stream.flush().await?;
    let refused = |text: &str| std::io::Error::other(text.to_owned());
    loop {
        while let Some(header) = Header::peek(connection.unread.bytes()).map_err(std::io::Error::other)? {
            if connection.unread.len() < header.frame_len() {
                break;
            }
            let body = connection.unread.bytes().get(5..header.frame_len()).unwrap_or_default().to_vec();
            let status = body.first().copied();
            connection.unread.consume(header.frame_len());
            match header.tag {
                b'Z' if status == Some(b'I') => {
                    connection.unread.release();
                    return Ok(());
                }
                b'Z' => return Err(refused("a transaction is open")),
                b'E' => return Err(refused("the server reports an error")),
                b'S' => {
                    if let Ok(status) = ParameterStatus::decode(&body) {
                        connection.note_reported(status.name, status.value);
                    }
                }
                _ => {}
            }
        }
        let Connection { stream, unread, .. } = connection;
        if std::future::poll_fn(|cx| unread.poll_fill(stream, cx)).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
