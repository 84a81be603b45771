//! A running proxy: its process, its ports, its log, and what the kernel says about it.
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls};

use crate::config::{Ports, yaml};
use crate::tools::{free_port, run, signal, target};
use crate::{DATABASE, PASSWORD, Stage, Wire, eventually};

/// A proxy before a stage's servers. With `SUITES_DIRECT` set there is none and `port` is the primary's:
/// so that what a test expects of PostgreSQL can be checked against PostgreSQL.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients connect, on 127.0.0.1.
    pub port: u16,
    /// Where metrics and health are served, on 127.0.0.1.
    pub admin_port: u16,
    log: PathBuf,
    config: PathBuf,
    pid_file: PathBuf,
    hosts: Option<PathBuf>,
    child: Mutex<Option<Child>>,
}

/// The proxy's program, built when first asked for unless `POINTSMAN_BIN` names one.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(path) = std::env::var_os("POINTSMAN_BIN") {
            return PathBuf::from(path);
        }
        let (dir, profile) = target();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["build", "--quiet", "--package", "pointsman", "--bin", "pointsman", "--target-dir"])
            .arg(&dir);
        cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        if profile == "release" {
            cargo.arg("--release");
        }
        run(&mut cargo);
        dir.join(profile).join("pointsman")
    })
}

impl Proxy {
    /// Starts one with the usual configuration, `fragment`'s top-level keys replacing the usual ones, and
    /// waits until it is ready.
    pub(crate) async fn start(stage: &Stage, fragment: &str) -> Self {
        let proxy = Self::start_unready(stage, fragment).await;
        if !Self::is_direct() {
            eventually("the proxy is ready", Duration::from_secs(20), || proxy.ready()).await;
        }
        proxy
    }

    /// Starts one and waits until it listens, ready or not.
    pub async fn start_unready(stage: &Stage, fragment: &str) -> Self {
        Self::start_with_hosts(stage, fragment, None).await
    }

    /// Starts one that sees another file as `/etc/hosts`, which takes a mount namespace and so root.
    pub async fn start_with_hosts(stage: &Stage, fragment: &str, hosts: Option<&Path>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = stage.dir();
        let mut proxy = Self {
            port: stage.primary.port,
            admin_port: 0,
            log: dir.join(format!("proxy-{number}.log")),
            config: dir.join(format!("proxy-{number}.yaml")),
            pid_file: dir.join(format!("proxy-{number}.pid")),
            hosts: hosts.map(Path::to_owned),
            child: Mutex::new(None),
        };
        if Self::is_direct() {
            return proxy;
        }
        for attempt in 0.. {
            proxy.port = free_port();
            proxy.admin_port = free_port();
            proxy.write_config(stage, fragment);
            if proxy.try_start().await {
                break;
            }
            assert!(attempt < 4, "the proxy does not start:\n{}\n{}", proxy.yaml(), proxy.log());
        }
        proxy
    }

    /// Whether clients are connected to PostgreSQL itself.
    pub fn is_direct() -> bool {
        std::env::var_os("SUITES_DIRECT").is_some()
    }

    /// Writes the configuration file anew; the proxy reads it on SIGHUP.
    pub fn write_config(&self, stage: &Stage, fragment: &str) {
        let ports = Ports { client: self.port, admin: self.admin_port };
        std::fs::write(&self.config, yaml(stage, ports, fragment)).expect("the configuration is written");
    }

    /// Where the configuration file is.
    pub fn config_path(&self) -> &Path {
        &self.config
    }

    fn yaml(&self) -> String {
        std::fs::read_to_string(&self.config).unwrap_or_default()
    }

    /// Starts the process and waits until it listens; false when a port was taken meanwhile.
    async fn try_start(&self) -> bool {
        let log = std::fs::File::create(&self.log).expect("the log opens");
        let mut command = self.command();
        command.args(["serve", "--config"]).arg(&self.config).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = command.spawn().expect("the proxy runs");
        std::fs::write(&self.pid_file, child.id().to_string()).expect("the pid file is written");
        *self.lock() = Some(child);
        for _ in 0..1000 {
            if self.exited() {
                let log = self.log();
                let clash = log.contains("in use");
                assert!(clash, "the proxy ended at once:\n{}\n{log}", self.yaml());
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the proxy does not listen within 20 s:\n{}\n{}", self.yaml(), self.log());
    }

    /// Kills the process as a crash would, starts it again on its ports, and waits until it is ready.
    pub async fn crash_and_restart(&self) {
        self.signal("KILL");
        self.wait_exit(Duration::from_secs(20)).await;
        std::fs::rename(&self.log, self.log.with_extension("log.crashed")).expect("its log is kept");
        for attempt in 0.. {
            // Another program may have taken a port for a moment.
            if self.try_start().await {
                break;
            }
            assert!(attempt < 20, "the proxy does not start again:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        eventually("the proxy is ready again", Duration::from_secs(20), || self.ready()).await;
    }

    fn command(&self) -> Command {
        let Some(hosts) = &self.hosts else { return Command::new(program()) };
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(hosts)
            .arg(program());
        command
    }

    async fn ready(&self) -> bool {
        self.get("/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether the process has ended.
    pub fn exited(&self) -> bool {
        self.exit_code().is_some()
    }

    /// The exit code once the process has ended; -1 for a signal's end.
    pub fn exit_code(&self) -> Option<i32> {
        let status = self.lock().as_mut()?.try_wait().expect("a child can be asked");
        status.map(|status| status.code().unwrap_or(-1))
    }

    /// Waits for the process to end.
    pub async fn wait_exit(&self, bound: Duration) -> i32 {
        eventually("the proxy ends", bound, || async { self.exited() }).await;
        self.exit_code().expect("it has ended")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.lock().as_ref().map(Child::id).expect("the proxy runs")
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        assert!(signal(self.pid(), name), "the proxy is gone");
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let Some(pid) = self.lock().as_ref().map(Child::id) else { return 0 };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the proxy runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a VmRSS line");
        line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("KiB")
    }

    /// One HTTP GET on the admin address: the whole answer, head and body.
    pub async fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        read.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// The sum of a metric's samples whose line contains every word of `labels`; 0 when there is none.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let answer = self.get("/metrics").await.expect("the metrics are served");
        let mut sum = 0.0;
        for line in answer.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let named = series == name || series.starts_with(&format!("{name}{{"));
            if named && labels.iter().all(|label| series.contains(label)) {
                sum += value.parse::<f64>().unwrap_or(0.0);
            }
        }
        sum
    }

    /// A client that speaks frames, logged in as `app`.
    pub async fn wire(&self) -> Wire {
        Wire::login(self.port, "app", DATABASE).await
    }

    /// A client that speaks frames, logged in as `user`.
    pub async fn wire_as(&self, user: &str) -> Wire {
        Wire::login(self.port, user, DATABASE).await
    }

    /// A tokio-postgres client, logged in as `app`.
    pub async fn client(&self) -> Client {
        self.client_as("app", DATABASE).await
    }

    /// A tokio-postgres client of the admin console, logged in as `alice`.
    pub async fn console(&self) -> Client {
        self.client_as("alice", "pointsman").await
    }

    async fn client_as(&self, user: &str, database: &str) -> Client {
        self.try_client_as(user, database).await.expect("the user logs in")
    }

    /// A tokio-postgres client, if it is let in.
    pub async fn try_client_as(&self, user: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(PASSWORD).dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("a client's connection ended: {error}");
            }
        });
        Ok(client)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}--- its log\n{}", self.config.display(), self.yaml(), self.log());
        }
        if let Some(mut child) = self.lock().take() {
            signal(child.id(), "KILL");
            if let Err(error) = child.wait() {
                eprintln!("the proxy could not be awaited: {error}");
            }
        }
        if self.pid_file.exists()
            && let Err(error) = std::fs::remove_file(&self.pid_file)
        {
            eprintln!("{}: {error}", self.pid_file.display());
        }
    }
}
