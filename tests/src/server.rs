//! One PostgreSQL server of a stage: its files, its process, direct connections to it.
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use crate::tools::{free_port, postgres_command, run, signal};
use crate::{DATABASE, PASSWORD, Wire, eventually, template};

/// Settings of every server: fast, talkative, able to stream.
const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
synchronous_commit = on
shared_buffers = 32MB
max_connections = 200
superuser_reserved_connections = 10
wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
max_prepared_transactions = 20
hot_standby = on
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
log_statement = all
log_parameter_max_length = 64
log_line_prefix = '%p %u@%d %a: '
lc_messages = 'C'
timezone = 'UTC'
autovacuum = off
";

/// Authentication as a careful installation has it.
const HBA: &str = "\
local all all trust
host all md5user 127.0.0.1/32 md5
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
";

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) settings: Vec<String>,
    pub(crate) hba: Vec<String>,
    /// The primary's port, for a replica.
    pub(crate) follows: Option<u16>,
}

/// A running PostgreSQL server.
#[derive(Debug)]
pub struct Server {
    /// Its TCP port on 127.0.0.1; `.s.PGSQL.<port>` in the stage's directory is its Unix-domain socket.
    pub port: u16,
    data: PathBuf,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Server {
    /// Makes the files of a server named `name` below `dir` and starts it on a free port.
    pub(crate) async fn new(dir: &Path, name: &str, plan: &Plan) -> Self {
        let data = dir.join(name);
        template::copy(&data);
        let log = dir.join(format!("{name}.log"));
        let mut server = Self { port: 0, data, log, child: Mutex::new(None) };
        server.write_files(dir, plan);
        for attempt in 0.. {
            server.port = free_port();
            if server.try_start().await {
                break;
            }
            assert!(attempt < 4, "PostgreSQL does not start:\n{}", server.log());
        }
        server
    }

    fn write_files(&self, dir: &Path, plan: &Plan) {
        let mut conf = SETTINGS.to_owned();
        writeln!(conf, "unix_socket_directories = '{}'", dir.display()).expect("a string takes it");
        if let Some(primary) = plan.follows {
            writeln!(
                conf,
                "primary_conninfo = 'host=127.0.0.1 port={primary} user=postgres password={PASSWORD}'"
            )
            .expect("a string takes it");
            std::fs::write(self.data.join("standby.signal"), "").expect("standby.signal");
        }
        for line in &plan.settings {
            writeln!(conf, "{line}").expect("a string takes it");
        }
        std::fs::write(self.data.join("postgresql.auto.conf"), conf).expect("postgresql.auto.conf");
        let hba = plan.hba.iter().map(String::as_str).chain([HBA]).collect::<Vec<_>>().join("\n");
        std::fs::write(self.data.join("pg_hba.conf"), hba).expect("pg_hba.conf");
        crate::tools::give_to_servers(&self.data);
    }

    /// Starts the process and waits until it takes connections; false when it ended instead.
    async fn try_start(&self) -> bool {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(&self.log).expect("the log opens");
        let mut command = postgres_command("postgres");
        command.arg("-D").arg(&self.data).args(["-p", &self.port.to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        // Its own group: a Ctrl-C at the terminal leaves the order of stopping to the keeper.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        *self.lock() = Some(command.spawn().expect("postgres runs"));
        for _ in 0..3000 {
            if self.exited() {
                return false;
            }
            if self.try_client("postgres", "postgres").await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("PostgreSQL is not ready within a minute:\n{}", self.log());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn exited(&self) -> bool {
        match self.lock().as_mut() {
            Some(child) => child.try_wait().is_ok_and(|status| status.is_some()),
            None => true,
        }
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> u32 {
        self.lock().as_ref().map(Child::id).expect("the server runs")
    }

    /// Starts a stopped server again, on its old port.
    pub async fn start(&self) {
        for _ in 0..20 {
            if self.try_start().await {
                return;
            }
            // After a kill -9 the old shared memory stays busy until the last backend has noticed.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("PostgreSQL does not start again:\n{}", self.log());
    }

    /// Ends the postmaster by a signal (`INT` fast, `QUIT` immediate, `KILL` as a crash would) and waits for it.
    pub async fn stop(&self, name: &str) {
        signal(self.pid(), name);
        eventually("the postmaster ends", Duration::from_secs(20), || async { self.exited() }).await;
    }

    /// Makes a replica a primary, on a new timeline.
    pub async fn promote(&self) {
        run(postgres_command("pg_ctl").args(["promote", "-w", "-D"]).arg(&self.data));
    }

    /// Ends a replica and starts it as a primary of the timeline that it was on, as a careless operator would.
    pub async fn start_as_stray(&self) {
        self.stop("INT").await;
        std::fs::remove_file(self.data.join("standby.signal")).expect("it was a standby");
        self.start().await;
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether a text, such as a statement's marker comment, is in the server's log.
    pub fn logged(&self, marker: &str) -> bool {
        self.log().contains(marker)
    }

    pub(crate) async fn try_client(
        &self,
        user: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(PASSWORD).dbname(database);
        config.connect_timeout(Duration::from_secs(5));
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("a direct connection ended: {error}");
            }
        });
        Ok(client)
    }

    /// A direct connection as the superuser to `app`.
    pub async fn admin(&self) -> Client {
        self.try_client("postgres", DATABASE).await.expect("the superuser logs in")
    }

    /// Runs statements as the superuser in `app`, directly.
    pub async fn sql(&self, sql: &str) {
        self.admin().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The first column of the first row, as text, of a query run directly as the superuser in `app`.
    pub async fn value(&self, sql: &str) -> String {
        let rows = self.admin().await.simple_query(sql).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let first = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        });
        first.unwrap_or_else(|| panic!("{sql}: no row"))
    }

    /// A direct connection that speaks frames, as `app`.
    pub async fn wire(&self) -> Wire {
        Wire::login(self.port, "app", DATABASE).await
    }

    /// Kills one backend as a crash would, without a word to its client: `kill -9` makes the server restart.
    pub fn kill_backend(&self, pid: u32) {
        signal(pid, "KILL");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("--- {} ends with", self.log.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        if let Some(mut child) = self.lock().take() {
            signal(child.id(), "QUIT");
            if let Err(error) = child.wait() {
                eprintln!("a server could not be awaited: {error}");
            }
        }
    }
}
