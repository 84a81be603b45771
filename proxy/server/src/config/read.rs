//! The document's top: where clients connect, TLS towards them, limits, policies.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::config::ClientLimits;
use crate::transport::config::{ClientCertificate, ClientTls, Listen};

use super::cache::read_cache;
use super::clusters::read_clusters;
use super::login::{default_users, read_auth};
use super::plugins::read_plugins;
use super::problem::Problems;
use super::section::Section;
use super::tree::{self, Node, Place, Value};
use super::{Config, file, take_file, value};

/// Where clients connect when nobody says.
pub(crate) const LISTEN: &str = "127.0.0.1:6432";
/// Templates kept by each worker when nobody says.
pub(crate) const TEMPLATES_MAX: usize = 5_000;
/// How long a drain waits when nobody says.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// Worker threads at most.
pub(crate) const WORKERS_MAX: usize = 1_024;

const CLIENT_CERTIFICATES: &[(&str, ClientCertificate)] = &[
    ("none", ClientCertificate::None),
    ("optional", ClientCertificate::Optional),
    ("required", ClientCertificate::Required),
];

/// Half the processors, at least one: the servers and the clients of a small machine need the others.
pub(crate) fn default_workers() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1)
}

/// Reads the document; `None` only if `problems` has heard why.
pub(crate) fn read_document(text: &str, problems: &mut Problems<'_>) -> Option<Config> {
    let node = match tree::parse(text) {
        Ok(node) => node,
        Err((message, place)) => {
            problems.add(place.unwrap_or(Place { line: 1, column: 1 }), message);
            return None;
        }
    };
    let mut top = Section::open(&node, "", problems)?;
    let cache = read_cache(&mut top, problems);
    let (clusters, sharded) = read_clusters(&mut top, cache.redis.as_ref(), problems);
    let mut config = Config {
        listen: read_listen(&mut top, problems),
        admin: top.take("admin", problems, admin_address),
        workers: default_workers(),
        tls: top.section("tls", problems).and_then(|section| read_tls(section, problems)),
        limits: read_limits(&mut top, problems),
        auth: read_auth(&mut top, problems),
        clusters,
        sharded,
        policies: read_policies(&mut top, problems),
        plugins: read_plugins(&mut top, cache.redis.is_some(), problems),
        cache,
        templates_max: TEMPLATES_MAX,
        shutdown_timeout: SHUTDOWN_TIMEOUT,
        watch: true,
    };
    top.set("workers", &mut config.workers, problems, value::count(1, WORKERS_MAX));
    top.set("templates_max", &mut config.templates_max, problems, value::count(1, 10_000_000));
    top.set("shutdown_timeout", &mut config.shutdown_timeout, problems, value::duration);
    top.set("watch", &mut config.watch, problems, value::boolean);
    default_users(&mut config.auth);
    super::login::check_method(&config, top.place, problems);
    top.close(problems);
    Some(config)
}

fn read_listen(top: &mut Section<'_>, problems: &mut Problems<'_>) -> Vec<Listen> {
    let mut listen = Vec::new();
    let items = top.list("listen", problems);
    if items.is_empty() && top.has("listen") {
        problems.add(top.place, "`listen` is empty: nobody could connect");
    }
    for (path, node) in items {
        let read = match &node.value {
            Value::Map(_) => read_unix(&path, node, problems),
            other => match value::text(other).and_then(|text| parse_listen(&text)) {
                Ok(place) => Some(place),
                Err(complaint) => {
                    problems.add(node.place, format!("`{path}`: {complaint}"));
                    None
                }
            },
        };
        let Some(place) = read else { continue };
        if listen.contains(&place) {
            problems.add(node.place, format!("`{path}` is listed twice"));
        }
        listen.push(place);
    }
    if !top.has("listen") {
        listen.extend(parse_listen(LISTEN));
    }
    listen
}

/// `127.0.0.1:6432`, `[::1]:6432`, or the path of a Unix-domain socket.
pub(crate) fn parse_listen(text: &str) -> Result<Listen, String> {
    if text.starts_with('/') {
        return unix_path(PathBuf::from(text)).map(|path| Listen::Unix { path, mode: 0o777 });
    }
    parse_address(text).map(Listen::Tcp)
}

/// An IP address and a port.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let hint = match text.rsplit_once(':') {
            Some(("localhost", port)) => format!("; did you mean `127.0.0.1:{port}`?"),
            Some(("" | "*", port)) => format!("; did you mean `0.0.0.0:{port}`?"),
            None if text.parse::<std::net::IpAddr>().is_ok() => format!("; did you mean `{text}:6432`?"),
            _ => String::new(),
        };
        format!("expected an IP address and port such as `{LISTEN}`, found `{text}`{hint}")
    })
}

fn admin_address(value: &Value) -> Result<SocketAddr, String> {
    value::text(value).and_then(|text| parse_address(&text))
}

/// A socket's path: the kernel's `sun_path` holds 108 bytes with the final zero.
fn unix_path(path: PathBuf) -> Result<PathBuf, String> {
    match path.as_os_str().len() {
        0..=107 => Ok(path),
        length => Err(format!("the path of a Unix-domain socket has at most 107 bytes, this one {length}")),
    }
}

fn read_unix(path: &str, node: &Node, problems: &mut Problems<'_>) -> Option<Listen> {
    let mut section = Section::open(node, path, problems)?;
    section.require("unix", problems);
    let resolved = section.take("unix", problems, value::name).map(|path| problems.resolve(&path));
    let socket = resolved.and_then(|path| section.take("unix", problems, |_| unix_path(path)));
    let mode = section.take("mode", problems, permission_bits);
    section.close(problems);
    Some(Listen::Unix { path: socket?, mode: mode.unwrap_or(0o777) })
}

/// `0o770`, or `0770` as the shell writes it.
fn permission_bits(value: &Value) -> Result<u32, String> {
    let bits = match value {
        Value::Integer(bits) => u32::try_from(*bits).ok(),
        Value::Text(text) if text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        _ => None,
    };
    bits.filter(|bits| *bits <= 0o777).ok_or_else(|| "expected permission bits such as `0o770`".to_owned())
}

fn read_tls(mut section: Section<'_>, problems: &mut Problems<'_>) -> Option<ClientTls> {
    section.require("certificate", problems);
    section.require("key", problems);
    let certificate = take_file(&mut section, "certificate", problems);
    let key = take_file(&mut section, "key", problems);
    let asked = section.take("client_certificate", problems, value::word(CLIENT_CERTIFICATES));
    let client_ca = take_file(&mut section, "client_ca", problems);
    let required = section.take("required", problems, value::boolean).unwrap_or(false);
    let client_certificate = match (asked, section.has("client_ca")) {
        (Some(ClientCertificate::None) | None, false) => ClientCertificate::None,
        (None, true) => ClientCertificate::Optional,
        (Some(asked), true) => asked,
        (Some(_), false) => {
            problems.add(section.place, "`tls.client_certificate` needs `tls.client_ca` to verify it");
            ClientCertificate::None
        }
    };
    section.close(problems);
    Some(ClientTls { certificate: certificate?, key: key?, client_ca, client_certificate, required })
}

fn read_limits(top: &mut Section<'_>, problems: &mut Problems<'_>) -> ClientLimits {
    let mut limits = ClientLimits::default();
    let Some(mut section) = top.section("limits", problems) else { return limits };
    section.set("clients_max", &mut limits.clients_max, problems, value::count(1, 10_000_000));
    section.set(
        "unauthenticated_max",
        &mut limits.unauthenticated_max,
        problems,
        value::count(1, 10_000_000),
    );
    section.set("login_timeout", &mut limits.login_timeout, problems, value::duration);
    section.set("startup_bytes_max", &mut limits.startup_bytes_max, problems, value::bytes(256, 1_048_576));
    section.set(
        "message_bytes_max",
        &mut limits.message_bytes_max,
        problems,
        value::bytes(1_024, 0x3fff_ffff),
    );
    let statements = &mut limits.prepared_statements_max;
    section.set("prepared_statements_max", statements, problems, value::count(1, 10_000_000));
    section.close(problems);
    limits
}

fn read_policies(top: &mut Section<'_>, problems: &mut Problems<'_>) -> Vec<PathBuf> {
    let mut policies = Vec::new();
    for (path, node) in top.list("policies", problems) {
        match value::name(&node.value).and_then(|name| file(&name, problems)) {
            Ok(file) => policies.push(file),
            Err(complaint) => problems.add(node.place, format!("`{path}`: {complaint}")),
        }
    }
    policies
}
