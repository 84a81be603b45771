//! `/metrics`, `/healthz` and `/readyz` over HTTP, as a pingora service on a thread of its own: a busy proxy still answers.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora_core::apps::ServerApp;
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;

/// HTTP connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// Longest time for one request, and longest pause before the next on the same connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after the system could not accept, out of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Whether clients should be sent here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Listening, and every cluster has a primary that answers.
    Ready,
    /// Not, and why.
    NotReady(String),
}

/// Who knows.
pub trait ReadyFlag: Send + Sync {
    /// Asked at each `/readyz`.
    fn readiness(&self) -> Readiness;
}

/// The service: takes the listener when it starts.
pub struct AdminHttp {
    listener: Mutex<Option<TcpListener>>,
    pages: Arc<Pages>,
}

impl AdminHttp {
    /// Serves on `listener`, which is bound already: an address in use is heard of before anything starts.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(
        listener: TcpListener,
        metrics: Arc<Metrics>,
        ready: Arc<dyn ReadyFlag>,
    ) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: Mutex::new(Some(listener)), pages: Arc::new(Pages { metrics, ready }) })
    }
}

#[async_trait]
impl BackgroundService for AdminHttp {
    async fn start(&self, shutdown: ShutdownWatch) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(listener) = listener else { return };
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => accept(listener, self.pages.clone(), shutdown).await,
            Err(error) => tracing::error!(%error, "the admin's listener does not work"),
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, pages: Arc<Pages>, shutdown: ShutdownWatch) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed, so this is only ever a wait.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let (pages, shutdown) = (pages.clone(), shutdown.clone());
                tokio::spawn(async move {
                    converse(socket, &pages, &shutdown).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Requests of one connection, until it closes or dawdles.
async fn converse(socket: tokio::net::TcpStream, pages: &Arc<Pages>, shutdown: &ShutdownWatch) {
    let mut stream: Stream = Box::new(L4Stream::from(socket));
    while let Ok(Some(again)) =
        tokio::time::timeout(REQUEST_TIMEOUT, pages.process_new(stream, shutdown)).await
    {
        stream = again;
    }
}

/// What there is to see.
struct Pages {
    metrics: Arc<Metrics>,
    ready: Arc<dyn ReadyFlag>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const INDEX: &str = "Pointsman\n\n/metrics  for Prometheus\n/healthz  200 while the process lives\n\
    /readyz   200 while clients should be sent here, else 503 and why\n";

impl Pages {
    fn page(&self, path: &str) -> Page {
        match path {
            "/" => Page::new(StatusCode::OK, INDEX),
            "/healthz" => Page::new(StatusCode::OK, "alive\n"),
            "/readyz" => match self.ready.readiness() {
                Readiness::Ready => Page::new(StatusCode::OK, "ready\n"),
                Readiness::NotReady(why) => {
                    Page::new(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
                }
            },
            "/metrics" => match self.metrics.render() {
                Ok(text) => Page { kind: PROMETHEUS, ..Page::new(StatusCode::OK, text) },
                Err(error) => Page::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            _ => Page::new(StatusCode::NOT_FOUND, "not found; try /metrics, /healthz or /readyz\n"),
        }
    }
}

struct Page {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Page {
    fn new(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, kind: TEXT, body: body.into() }
    }

    fn response(self, method: &Method) -> Response<Vec<u8>> {
        let length = self.body.len();
        let body = if *method == Method::HEAD { Vec::new() } else { self.body.into_bytes() };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(self.kind));
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        response
    }
}

#[async_trait]
impl ServeHttp for Pages {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let (method, path) = {
            let request = session.req_header();
            (request.method.clone(), request.uri.path().to_owned())
        };
        if method == Method::GET || method == Method::HEAD {
            return self.page(&path).response(&method);
        }
        // Its body stays unread, so nothing can follow on this connection.
        session.set_keepalive(None);
        let mut response = Page::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n").response(&method);
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        response
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Flag(AtomicBool);

    impl ReadyFlag for Flag {
        fn readiness(&self) -> Readiness {
            match self.0.load(Ordering::Relaxed) {
                true => Readiness::Ready,
                false => Readiness::NotReady("draining".into()),
            }
        }
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
            .write_all(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn serves_health_readiness_and_metrics() {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let metrics = Metrics::new(1, 1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let admin = AdminHttp::new(listener, metrics, flag.clone()).unwrap();
        let (_stop, watch) = tokio::sync::watch::channel(false);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { admin.start(watch).await });
        let status = |request: &str| ask(address, request).split_whitespace().nth(1).map(str::to_owned);
        assert_eq!(status("GET /healthz").as_deref(), Some("200"));
        assert_eq!(status("GET /readyz").as_deref(), Some("200"));
        assert_eq!(status("GET /nothing").as_deref(), Some("404"));
        assert_eq!(status("POST /metrics").as_deref(), Some("405"));
        let metrics = ask(address, "GET /metrics?x=1");
        assert!(metrics.contains("Content-Type: text/plain; version=0.0.4"), "{metrics}");
        assert!(metrics.contains("\npointsman_workers 1\n"), "{metrics}");
        let head = ask(address, "HEAD /metrics");
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        flag.0.store(false, Ordering::Relaxed);
        let answer = ask(address, "GET /readyz");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("not ready: draining\n"), "{answer}");
        let keep = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut stream = TcpStream::connect(address).unwrap();
        for _ in 0..3 {
            stream.write_all(keep.as_bytes()).unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"alive\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                seen.push(byte[0]);
            }
        }
    }
}
