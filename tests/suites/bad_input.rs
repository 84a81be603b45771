//! Truncated, oversize, unknown, out-of-order and random messages harm nobody but their sender.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pointsman_tests::{Frame, Proxy, Wire, msg, tags, within};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::common::{SOON, shared};

/// Random cases before login, and as many after it.
const CASES: u64 = 5000;

/// How far the proxy's memory may rise above where it stood, in KiB.
const RISE_KIB_MAX: u64 = 48 * 1024;

/// A client that is served all the while.
struct Bystander {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Bystander {
    async fn start(proxy: &Proxy) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut wire = proxy.wire().await;
        let seen = stop.clone();
        let task = tokio::spawn(async move {
            let mut served = 0;
            while !seen.load(Ordering::Relaxed) {
                assert_eq!(wire.extended_value("SELECT $1::int", &[Some("7")]).await, "7");
                served += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            served
        });
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.task.await.expect("another client is unharmed") > 0);
    }
}

/// Valid messages to damage.
fn frontend_messages() -> Vec<Vec<u8>> {
    vec![
        msg::query("SELECT 1, 'two', $$three$$"),
        msg::statement("SELECT $1::text", &[Some("value")]),
        msg::parse_typed("name", "SELECT $1, $2", &[23, 25]),
        msg::bind_with("portal", "name", &[Some(b"\x00\x00\x00\x01"), None], [&[1], &[0, 1]]),
        msg::describe_portal("portal"),
        msg::describe_statement("name"),
        msg::close_statement("name"),
        msg::execute("portal", 5),
        msg::sync(),
        msg::flush(),
        msg::copy_data(b"1\t2\n"),
        msg::copy_done(),
        msg::copy_fail("no"),
        msg::function_call(177, &[Some("1"), None]),
        msg::password("secret"),
        msg::query("COPY pg_am TO STDOUT"),
        msg::query("BEGIN; DECLARE c CURSOR FOR SELECT 1"),
    ]
}

/// Valid first packets to damage.
fn first_packets() -> Vec<Vec<u8>> {
    let user = [("user", "app"), ("database", "app")];
    vec![
        msg::startup(msg::V3_0, &user),
        msg::startup(msg::V3_2, &[&user[..], &[("_pq_.ext", "1"), ("options", "-c a=b\\ c --d=e")]].concat()),
        msg::cancel(12345, b"abcd"),
        msg::cancel(12345, &[7; 32]),
        msg::SSL_REQUEST.to_vec(),
        msg::GSS_REQUEST.to_vec(),
        [&msg::SSL_REQUEST[..], &msg::startup(msg::V3_0, &user)].concat(),
    ]
}

/// Random bytes, or a valid message with some bytes changed, cut, repeated or its length wrong.
fn damaged(random: &mut StdRng, valid: &[Vec<u8>]) -> Vec<u8> {
    if random.random_bool(0.25) {
        let length = random.random_range(0..200);
        return (0..length).map(|_| random.random()).collect();
    }
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..4) {
        bytes.extend_from_slice(&valid[random.random_range(0..valid.len())]);
    }
    for _ in 0..random.random_range(1..5) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at] = random.random(),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, random.random()),
            3 => drop(bytes.remove(at)),
            _ => bytes[at] = [0, 0xff, 0x7f, 0x80][random.random_range(0..4)],
        }
    }
    bytes
}

/// Sends bytes, ends the sending side, and reads until the peer has answered all of them and closes, which it must do soon.
async fn throw(port: u16, before: &[u8], bytes: &[u8], case: u64) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the proxy is up");
    let exchange = async {
        stream.write_all(before).await?;
        if !before.is_empty() {
            let mut greeting = [0; 1];
            stream.read_exact(&mut greeting).await?;
        }
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut sink = Vec::new();
        stream.take(1 << 24).read_to_end(&mut sink).await
    };
    if let Err(error) = within(&format!("case {case} is closed after {bytes:?}"), SOON, exchange).await {
        assert!(
            matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe),
            "{error}"
        );
    }
}

/// Five thousand damaged first packets and logins.
#[tokio::test]
async fn random_bytes_before_login() {
    let proxy = shared().await.proxy("limits: {unauthenticated_max: 100}\n").await;
    let bystander = Bystander::start(&proxy).await;
    let valid = first_packets();
    let start = proxy.rss_kib();
    for case in 0..CASES {
        let mut random = StdRng::seed_from_u64(case);
        throw(proxy.port, &[], &damaged(&mut random, &valid), case).await;
    }
    assert!(proxy.rss_kib() < start + RISE_KIB_MAX, "memory rose from {start} to {} KiB", proxy.rss_kib());
    assert!(!proxy.exited());
    bystander.end().await;
}

/// Five thousand damaged messages after a login.
#[tokio::test]
async fn random_bytes_after_login() {
    let trust = "auth: {method: trust, users: [{name: app, password: password}]}\npool: {size: 3}\n";
    let proxy = shared().await.proxy(trust).await;
    let bystander = Bystander::start(&proxy).await;
    let (valid, login) =
        (frontend_messages(), msg::startup(msg::V3_0, &[("user", "app"), ("database", "app")]));
    let start = proxy.rss_kib();
    for case in 0..CASES {
        let mut random = StdRng::seed_from_u64(1_000_000 + case);
        throw(proxy.port, &login, &damaged(&mut random, &valid), case).await;
    }
    assert!(proxy.rss_kib() < start + RISE_KIB_MAX, "memory rose from {start} to {} KiB", proxy.rss_kib());
    assert!(!proxy.exited());
    assert!(!proxy.log().contains("panicked"), "{}", proxy.log());
    bystander.end().await;
}

/// What a connection answers to `bytes` after login, and whether it then closes.
async fn answer(wire: &mut Wire, bytes: &[u8]) -> (Vec<(String, String, String)>, bool) {
    wire.patience = Duration::from_millis(5000);
    // Whoever is still there answers this with `ReadyForQuery`s.
    if wire.try_send(&[bytes, &msg::sync()].concat()).await.is_err() {
        return (Vec::new(), true);
    }
    let frames = wire.until(b'Z').await;
    let closed = frames.last().is_none_or(|frame| frame.tag != b'Z');
    let told = |frame: &Frame| (frame.field('S'), frame.sqlstate(), frame.field('M'));
    (frames.iter().filter(|frame| frame.tag == b'E').map(told).collect(), closed)
}

/// Wrong messages after login get PostgreSQL's own answer: the same error, the same end.
#[tokio::test]
async fn wrong_messages_are_answered_as_postgresql() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let raw = |tag: u8, length: u32, body: &[u8]| [&[tag][..], &length.to_be_bytes(), body].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("unknown type", msg::message(b'y', b"abc")),
        ("type zero", msg::message(0, b"")),
        ("backend's type", msg::message(b'Z', b"I")),
        ("length below four", raw(b'Q', 3, b"")),
        ("length zero", raw(b'S', 0, b"")),
        ("length beyond a gigabyte", raw(b'Q', 0x7fff_ffff, b"SELECT 1\0")),
        ("length negative", raw(b'Q', 0xffff_fff0, b"SELECT 1\0")),
        ("long Sync", msg::message(b'S', &[0; 20_000])),
        ("query without its end", msg::message(b'Q', b"SELECT 1")),
        ("query with more after its end", msg::message(b'Q', b"SELECT 1\0x")),
        ("empty query body", msg::message(b'Q', b"")),
        ("parse cut", msg::message(b'P', b"\0SELECT 1\0\0")),
        ("parse with more types than there are", msg::message(b'P', b"\0SELECT 1\0\x7f\xff")),
        ("bind cut", msg::message(b'B', b"\0\0\0\x01")),
        ("bind with a wrong length", msg::message(b'B', b"\0\0\0\0\0\x01\0\0\xff\xff\0\0")),
        ("execute cut", msg::message(b'E', b"\0\0\0")),
        ("describe of an unknown kind", msg::message(b'D', b"Xname\0")),
        ("close of an unknown kind", msg::message(b'C', b"Xname\0")),
        ("sync with a body", msg::message(b'S', b"x")),
        ("copy data out of place", msg::copy_data(b"x")),
        ("copy end out of place", msg::copy_done()),
        ("password out of place", msg::password("x")),
        ("function call cut", msg::message(b'F', b"\0\0\0\xb1\0\0\0\x05")),
        ("query that is not UTF-8", msg::message(b'Q', b"SELECT '\xff\xfe'\0")),
        ("name that is not UTF-8", msg::message(b'P', b"\xff\0SELECT 1\0\0\0")),
    ];
    let mut differences = Vec::new();
    for (name, bytes) in cases {
        let mut direct = stage.primary.wire().await;
        let mut through = proxy.wire().await;
        let want = answer(&mut direct, &bytes).await;
        let got = answer(&mut through, &bytes).await;
        // PostgreSQL drops a connection whose frames make no sense without a word; a word more does no harm.
        let same = got == want || (want == (Vec::new(), true) && got.1);
        if !same {
            differences.push(format!("{name}:\n  direct  {want:?}\n  proxied {got:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Wrong first packets end with an error or a closed connection, soon.
#[tokio::test]
async fn wrong_first_packets_are_refused() {
    let proxy = shared().await.proxy("").await;
    let long = "x".repeat(20_000);
    let user = ("user", "app");
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("oversize", "08P01", msg::startup(msg::V3_0, &[user, ("options", &long)])),
        ("length of a gigabyte", "08P01", 0x4000_0000_u32.to_be_bytes().to_vec()),
        ("length below eight", "08P01", [0, 0, 0, 4].to_vec()),
        ("an HTTP request", "08P01", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("protocol 2", "0A000", msg::startup(0x0002_0000, &[user])),
        ("protocol 4", "0A000", msg::startup(0x0004_0000, &[user])),
        ("no user", "28000", msg::startup(msg::V3_0, &[("database", "app")])),
        ("no end", "08P01", msg::untagged(b"\0\x03\0\0user\0app")),
        ("a cancel key cut", "08P01", msg::untagged(&80_877_102_i32.to_be_bytes())),
    ];
    for (name, sqlstate, bytes) in cases {
        let mut wire = Wire::connect(proxy.port).await;
        wire.send(&bytes).await;
        if name == "length of a gigabyte" {
            wire.send(&[0; 64]).await;
        }
        let frames = wire.until_closed().await;
        assert_eq!(tags(&frames), "E", "{name}: {frames:?}");
        assert_eq!(frames[0].sqlstate(), sqlstate, "{name}");
    }
}

/// The limits on what a client sends are those configured, before login and after it.
#[tokio::test]
async fn message_sizes_are_bounded() {
    let limits = "limits: {startup_bytes_max: 256, message_bytes_max: 2000}\n";
    let proxy = shared().await.proxy(limits).await;
    let mut wire = proxy.wire().await;
    let fits = format!("SELECT 1 -- {}", "x".repeat(1900));
    assert_eq!(wire.value(&fits).await, "1");
    for message in [
        msg::query(&fits.repeat(2)),
        msg::parse("", &fits.repeat(2)),
        msg::copy_data(&[b'x'; 3000]),
        // What a message only claims to be counts.
        [&b"Q"[..], &3000_u32.to_be_bytes()].concat(),
    ] {
        let mut wire = proxy.wire().await;
        wire.send(&message).await;
        let frames = wire.until_closed().await;
        assert_eq!((tags(&frames).as_str(), frames[0].sqlstate().as_str()), ("E", "08P01"), "{frames:?}");
    }
    let mut wire = Wire::connect(proxy.port).await;
    let long = "x".repeat(250);
    wire.send(&msg::startup(msg::V3_0, &[("user", "app"), ("application_name", &long)])).await;
    let frames = wire.until_closed().await;
    assert_eq!((tags(&frames).as_str(), frames[0].sqlstate().as_str()), ("E", "08P01"), "{frames:?}");
}

/// Half a message and then nothing does not hold anybody up; the login's time is bounded.
#[tokio::test]
async fn a_login_takes_bounded_time() {
    let proxy = shared().await.proxy("limits: {login_timeout: 700ms}\n").await;
    let whole = msg::startup(msg::V3_0, &[("user", "app"), ("database", "app")]);
    for bytes in [&[][..], &whole[..10], &whole, &msg::SSL_REQUEST] {
        let mut wire = Wire::connect(proxy.port).await;
        wire.send(bytes).await;
        let start = std::time::Instant::now();
        let mut sink = Vec::new();
        while let Some(byte) = wire.byte().await {
            sink.push(byte);
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{} bytes sent", bytes.len());
    }
}

/// Clients that have not logged in are bounded, and make room again when they leave.
#[tokio::test]
async fn unauthenticated_clients_are_bounded() {
    let proxy = shared().await.proxy("limits: {unauthenticated_max: 5, login_timeout: 20s}\n").await;
    // All at once: a burst is bounded like a trickle.
    let mut wires = Vec::new();
    for _ in 0..12 {
        wires.push(Wire::connect(proxy.port).await);
    }
    let mut silent = wires.drain(..5).collect::<Vec<_>>();
    for mut refused in wires {
        let closed = within("it is refused", SOON, refused.until_closed()).await;
        assert_eq!((tags(&closed).as_str(), closed[0].sqlstate().as_str()), ("E", "53300"), "{closed:?}");
    }
    for wire in &mut silent {
        wire.quiet(Duration::from_millis(10)).await;
    }
    silent.clear();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(proxy.wire().await.value("SELECT 1").await, "1");
}

/// Clients are bounded: one too many hears `53300`.
#[tokio::test]
async fn clients_are_bounded() {
    let proxy = shared().await.proxy("limits: {clients_max: 3}\n").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(proxy.wire().await);
    }
    let mut refused = Wire::connect(proxy.port).await;
    let frames = refused.until_closed().await;
    assert_eq!((tags(&frames).as_str(), frames[0].sqlstate().as_str()), ("E", "53300"), "{frames:?}");
    clients.pop();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(proxy.wire().await.value("SELECT 1").await, "1");
}
