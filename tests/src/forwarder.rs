//! A way to a server that can be made slow or cut: bytes are passed on both ways, each after a delay; cancel requests after one
//! of their own.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Listens on 127.0.0.1 and leads to a server there.
#[derive(Debug)]
pub struct Forwarder {
    /// Where it listens.
    pub port: u16,
    delay: Arc<AtomicU64>,
    cancels: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// How a cancel request begins: its length and code.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-CANCELREQUEST>
const CANCEL: [u8; 8] = [0, 0, 0, 16, 4, 210, 22, 46];

impl Forwarder {
    /// A way to `port` without a delay.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("a bound listener has an address").port();
        let delay = Arc::new(AtomicU64::new(0));
        let cancels = Arc::new(AtomicU64::new(0));
        let (shared, of_cancels) = (Arc::clone(&delay), Arc::clone(&cancels));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let ((mut from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let (all, cancels) = (Arc::clone(&shared), Arc::clone(&of_cancels));
                tokio::spawn(async move {
                    let mut start = [0; CANCEL.len()];
                    if matches!(from_client.peek(&mut start).await, Ok(count) if start[..count] == CANCEL) {
                        tokio::time::sleep(Duration::from_millis(cancels.load(Ordering::Acquire))).await;
                    }
                    pass(from_client, to_server, all).await;
                });
                tokio::spawn(pass(from_server, to_client, Arc::clone(&shared)));
            }
        });
        Self { port: own, delay, cancels, task }
    }

    /// From now on, bytes towards the server and from it arrive this much later.
    pub fn delay(&self, delay: Duration) {
        set(&self.delay, delay);
    }

    /// From now on, cancel requests arrive this much later.
    pub fn delay_cancels(&self, delay: Duration) {
        set(&self.cancels, delay);
    }
}

fn set(knob: &AtomicU64, delay: Duration) {
    knob.store(u64::try_from(delay.as_millis()).expect("a short delay"), Ordering::Release);
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Arc<AtomicU64>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes).await {
        tokio::time::sleep(Duration::from_millis(delay.load(Ordering::Acquire))).await;
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
