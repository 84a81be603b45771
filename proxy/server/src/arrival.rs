//! From an accepted socket to a session, or to what else the client wanted: a cancel, a replication stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pointsman_plugin_host::Identity;
use pointsman_wire::startup::ProtocolVersion;
use tokio::io::AsyncWriteExt;

use crate::admin::console::{self, Console};
use crate::client::config::Secret;
use crate::client::login::{Admitted, Arrival, Secrets, receive};
use crate::client::prove::Proof;
use crate::config::CONSOLE_DATABASE;
use crate::fault::Fault;
use crate::proxy::{ClientCounts, Proxy, Settings};
use crate::replication;
use crate::session::about::About;
use crate::session::cancel::Place;
use crate::session::opening::{greeting, startup_settings, welcome};
use crate::session::shards::Shards;
use crate::session::{End, Opening, Session, Shared};
use crate::transport::stream::Stream;
use crate::upstream::cluster::Cluster;
use crate::upstream::credentials::Credentials;
use crate::upstream::verifiers::Question;

/// Longest time spent on telling a client that it is turned away.
const TURN_AWAY_MAX: Duration = Duration::from_secs(2);

/// Counts one client for as long as it lives.
#[derive(Debug)]
pub struct Counted {
    proxy: Arc<Proxy>,
    counter: fn(&ClientCounts) -> &AtomicUsize,
}

impl Counted {
    /// One more, unless there are `max` already.
    pub fn up_to(max: usize, proxy: &Arc<Proxy>, counter: fn(&ClientCounts) -> &AtomicUsize) -> Option<Self> {
        let before = counter(&proxy.counts).fetch_add(1, Ordering::Relaxed);
        let counted = Self { proxy: Arc::clone(proxy), counter };
        (before < max).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.counter)(&self.proxy.counts).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client's place among those connected and those not logged in yet.
#[derive(Debug)]
pub struct Entry {
    /// Until it leaves.
    pub connected: Counted,
    /// Until it is welcome.
    pub unauthenticated: Counted,
}

/// Tells a client why it cannot come in.
pub async fn turn_away(mut stream: Stream, fault: Fault) {
    let frame = fault.encode("FATAL");
    // It may be gone already, or not read: then it has heard nothing.
    let _unheard = tokio::time::timeout(TURN_AWAY_MAX, stream.write_all(&frame)).await;
}

/// A client's arrival. What it lives on as is a task of its own: the login's state is large and short-lived.
pub async fn arrive(proxy: Arc<Proxy>, worker: usize, stream: Stream, entry: Entry) {
    let Entry { connected, unauthenticated } = entry;
    let Some((life, place)) = enter(&proxy, worker, stream, unauthenticated).await else { return };
    match life {
        Life::Session(session) => drop(tokio::spawn(live(proxy, place, connected, Box::pin(session.run())))),
        Life::Console(console) => drop(tokio::spawn(live(proxy, place, connected, Box::pin(console.run())))),
    }
}

/// A client's life after its login.
async fn live(
    proxy: Arc<Proxy>,
    place: Place,
    connected: Counted,
    life: std::pin::Pin<Box<impl Future<Output = End>>>,
) {
    let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await;
    place.handle.attach(waker);
    if !proxy.is_listening() {
        place.handle.give(crate::session::Order::Drain);
    }
    match life.await {
        End::Client | End::Shutdown => {}
        End::Fatal(fault) => tracing::info!(%fault, process_id = place.process_id, "session ended"),
    }
    drop(connected);
}

/// The login; what is not a session is dealt with here.
async fn enter(
    proxy: &Arc<Proxy>,
    worker: usize,
    stream: Stream,
    unauthenticated: Counted,
) -> Option<(Life, Place)> {
    let settings = proxy.settings();
    let limit = settings.config.limits.login_timeout;
    let deadline = Instant::now() + limit;
    let door = SecretsOf { proxy, settings: &settings };
    let arrival = match tokio::time::timeout_at(deadline.into(), receive(stream, &settings.door, &door)).await
    {
        Ok(Ok(arrival)) => arrival,
        Ok(Err(fault)) => {
            proxy.counts.login_failures.fetch_add(1, Ordering::Relaxed);
            proxy.metrics.worker(worker).error(fault.sqlstate.as_bytes());
            tracing::info!(%fault, "login refused");
            return None;
        }
        Err(_) => {
            proxy.counts.login_failures.fetch_add(1, Ordering::Relaxed);
            tracing::info!("a client did not log in within {limit:?}");
            return None;
        }
    };
    match arrival {
        Arrival::Left => None,
        Arrival::Cancel(request, framed) => {
            drop(unauthenticated);
            proxy.sessions.cancel(&request).await;
            // Only now may its sender go on: a cancel must not meet the next statement.
            drop(framed);
            None
        }
        Arrival::Admitted(mut admitted) => {
            let begun = begin(proxy, worker, &mut admitted);
            let begun = tokio::time::timeout_at(deadline.into(), begun).await.unwrap_or_else(|_| {
                let told = "canceling authentication due to timeout";
                Err(Fault::pointsman("57014", told).because(format!("no server was free within {limit:?}")))
            });
            drop(unauthenticated);
            open(proxy, worker, *admitted, begun).await
        }
    }
}

/// What a client does after its login.
#[expect(
    clippy::large_enum_variant,
    reason = "a session is not moved again: a box would cost every statement"
)]
enum Life {
    /// It speaks to servers.
    Session(Session),
    /// It speaks to the admin console.
    Console(Box<Console>),
}

/// A proven client becomes a session, unless its database or settings are refused.
async fn open(
    proxy: &Arc<Proxy>,
    worker: usize,
    mut admitted: Admitted,
    begun: Result<Begun, Fault>,
) -> Option<(Life, Place)> {
    match begun {
        Ok(Begun::Session(shared, base, told, shards)) => {
            let (place, about) = take_place(proxy, &admitted, Some(Arc::clone(&shared.cluster)));
            welcome(&told, place.process_id, &place.secret, &mut admitted.out);
            admitted.framed.send(&admitted.out).await.ok()?;
            let opening = Opening {
                shared: *shared,
                handle: Arc::clone(&place.handle),
                cancel: Arc::clone(&place.slot),
                stream: admitted.framed.stream,
                unread: admitted.framed.inbox,
                base,
                told,
                about,
                shards,
            };
            Some((Life::Session(Session::new(opening)), place))
        }
        Ok(Begun::Console) => {
            let (place, about) = take_place(proxy, &admitted, None);
            about.note_application_name(admitted.startup.get("application_name").unwrap_or_default());
            welcome(
                &console::reported(&admitted.startup),
                place.process_id,
                &place.secret,
                &mut admitted.out,
            );
            admitted.framed.send(&admitted.out).await.ok()?;
            let counters = proxy.metrics.worker(worker);
            let handle = Arc::clone(&place.handle);
            let console = Console::new(Arc::clone(proxy), admitted.framed, handle, about, counters);
            Some((Life::Console(Box::new(console)), place))
        }
        Ok(Begun::Replication(server)) => {
            let (place, _) = take_place(proxy, &admitted, None);
            replication::pass_through(admitted, *server, &place).await;
            None
        }
        Err(fault) => {
            proxy.counts.login_failures.fetch_add(1, Ordering::Relaxed);
            proxy.metrics.worker(worker).error(fault.sqlstate.as_bytes());
            tracing::info!(%fault, user = admitted.user, database = admitted.database, "login refused");
            admitted.out.extend_from_slice(&fault.encode("FATAL"));
            // The client may be gone: then nobody hears it.
            let _unheard = admitted.framed.send(&admitted.out).await;
            None
        }
    }
}

/// A place among all sessions, and what the others may know of the one that takes it.
fn take_place(proxy: &Proxy, admitted: &Admitted, cluster: Option<Arc<Cluster>>) -> (Place, Arc<About>) {
    let secret_len = if admitted.version >= ProtocolVersion::V3_2 { 32 } else { 4 };
    let about = About::new(&admitted.user, &admitted.database, cluster, &admitted.framed.stream);
    let about = Arc::new(about);
    (proxy.sessions.enter(secret_len, Arc::clone(&about)), about)
}

enum Begun {
    Console,
    Session(
        Box<Shared>,
        Arc<crate::upstream::settings::Settings>,
        crate::upstream::account::Reported,
        Option<Box<Shards>>,
    ),
    Replication(Box<replication::Upstream>),
}

async fn begin(proxy: &Arc<Proxy>, worker: usize, admitted: &mut Admitted) -> Result<Begun, Fault> {
    let settings = proxy.settings();
    if admitted.database == CONSOLE_DATABASE {
        return console::admit(&settings.config.auth, admitted).map(|()| Begun::Console);
    }
    let base = startup_settings(&admitted.startup)?;
    let base = proxy.plugins.admit(&settings.config.plugins, identity(admitted, &base), base).await?;
    let unknown = || Fault::client("3D000", format!("database \"{}\" does not exist", admitted.database));
    let (cluster, database) = proxy.clusters.find(&admitted.database).ok_or_else(unknown)?;
    let credentials = credentials(&admitted.proof, &admitted.user, &cluster.config());
    if replication::is_asked_for(&admitted.startup)? {
        let server = replication::connect(&cluster, admitted, &database, credentials).await?;
        return Ok(Begun::Replication(Box::new(server)));
    }
    let account = cluster.account(&database, &admitted.user);
    account.set_credentials(&credentials);
    let group = proxy.clusters.find_group(&admitted.database);
    let shards = group.map(|group| Box::new(Shards::new(group, &admitted.user, worker)));
    for (cluster, account) in shards.iter().flat_map(|shards| shards.accounts()) {
        account.set_credentials(&self::credentials(&admitted.proof, &admitted.user, &cluster.config()));
    }
    let mode = cluster.config().pool.mode;
    let shared = Shared {
        usage: account.usage(worker),
        account,
        cluster,
        registry: Arc::clone(&proxy.registry),
        policies: Arc::clone(&proxy.policies),
        cache: proxy.cache.clone(),
        counters: proxy.metrics.worker(worker),
        mode,
        message_bytes_max: settings.config.limits.message_bytes_max,
        prepared_statements_max: settings.config.limits.prepared_statements_max,
    };
    let told = greeting(&shared, &base).await?;
    Ok(Begun::Session(Box::new(shared), base, told, shards))
}

/// Who has come, as plugins see it.
fn identity(admitted: &Admitted, settings: &Arc<crate::upstream::settings::Settings>) -> Identity {
    let application = crate::session::application_name(settings);
    let client = admitted.framed.stream.ends().peer.map(|peer| peer.ip().to_canonical().to_string());
    Identity::new(&admitted.user, &admitted.database, &application, client)
}

/// What the client's proof is good for at a server. Where it proves nothing of use (trust, certificate), the cluster's
/// own user has its password.
fn credentials(proof: &Proof, user: &str, cluster: &crate::upstream::config::ClusterConfig) -> Credentials {
    match proof {
        Proof::Password(password) => Credentials::Password(password.clone()),
        Proof::Md5(hash) => Credentials::Md5(hash.clone()),
        Proof::ScramKeys { client_key, server_key } => {
            Credentials::ScramKeys { client_key: *client_key, server_key: *server_key }
        }
        Proof::None if user == cluster.user => {
            cluster.password.clone().map_or(Credentials::None, Credentials::Password)
        }
        Proof::None => Credentials::None,
    }
}

/// Users listed first, then the cluster's own user, then `auth_query`, which is asked in a database of ours: roles are
/// the same in all of them.
struct SecretsOf<'a> {
    proxy: &'a Proxy,
    settings: &'a Settings,
}

impl Secrets for SecretsOf<'_> {
    async fn secret(&self, user: &str, database: &str) -> Result<Option<Secret>, Fault> {
        if let Some(user) = self.settings.users.lookup(user) {
            return Ok(user.secret.clone());
        }
        let found = match database {
            CONSOLE_DATABASE => self.proxy.clusters.of_console(),
            _ => self.proxy.clusters.find(database),
        };
        let Some((cluster, _)) = found else { return Ok(None) };
        let config = cluster.config();
        if user == config.user
            && let Some(password) = &config.password
        {
            return Ok(Some(Secret::Password(password.clone())));
        }
        let Some(query) = &self.settings.config.auth.auth_query else { return Ok(None) };
        let database = query.database.as_deref().unwrap_or(&config.maintenance_database);
        let question = Question { sql: &query.sql, database, keep: query.keep };
        match self.proxy.verifiers.secret(&cluster, question, user).await {
            Ok(text) => Ok(text.map(|text| Secret::detect(&text))),
            Err(fault) => {
                // Who has proven nothing yet learns nothing of our servers: this login fails like one with a wrong password.
                tracing::warn!(%fault, user, cluster = config.name, "the user's verifier cannot be read");
                Ok(None)
            }
        }
    }

    fn doubt(&self, user: &str, database: &str) {
        let listed = self.settings.users.lookup(user).is_some();
        if let Some((cluster, _)) = self.proxy.clusters.find(database).filter(|_| !listed) {
            self.proxy.verifiers.doubt(&cluster, user);
        }
    }
}
