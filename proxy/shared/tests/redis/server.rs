//! Real Redis servers on free ports of 127.0.0.1, each with a directory of its own below the temporary one.
//! They end with the test's thread, however that ends.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::Value;

pub struct Redis {
    pub port: u16,
    dir: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
}

/// A Cluster's servers also listen 10,000 ports higher: below the ports that the system gives out itself.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + u16::try_from((std::process::id() * 37 + step) % 9_000).expect("below 9,000");
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 10_000) {
            return port;
        }
    }
}

impl Redis {
    pub fn start(options: &[&str]) -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("pointsman-shared-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut redis = Self { port, dir, options, child: None };
        redis.launch();
        redis
    }

    /// With what it saved before, if it did.
    pub fn launch(&mut self) {
        let port = self.port.to_string();
        let fixed = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server"]).args(fixed).args(&self.options);
        command.arg("--dir").arg(&self.dir).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("setpriv and redis-server are installed"));
        self.wait("it answers", |redis| redis.try_ask(&["PING"]).is_ok());
    }

    pub fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < Duration::from_secs(20), "redis on port {}: not {what}", self.port);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Without a chance to save.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    }

    /// It answers no more, but its connections stand.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// It can save no more, and so takes no writes, until told to take them all the same.
    pub fn refuse_writes(&self) {
        std::fs::remove_dir_all(&self.dir).expect("its directory");
        self.ask(&["CONFIG", "SET", "save", "3600 1000000"]);
        self.ask(&["BGSAVE"]);
        self.wait("refusing writes", |redis| redis.try_ask(&["DEL", "nothing"]).is_err());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub fn try_ask(&self, words: &[&str]) -> redis::RedisResult<Value> {
        self.try_ask_bytes(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())
    }

    pub fn try_ask_bytes(&self, words: &[&[u8]]) -> redis::RedisResult<Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        command.query(&mut connection)
    }

    pub fn ask(&self, words: &[&str]) -> Value {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub fn ask_bytes(&self, words: &[&[u8]]) -> Value {
        self.try_ask_bytes(words).expect("an answer")
    }

    /// Names of keys.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        redis::from_redis_value(self.ask(&["KEYS", pattern])).expect("names")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Three nodes that share the slots.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    pub fn start() -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let nodes: Vec<Redis> = (0..3).map(|_| Redis::start(&options)).collect();
        let mut command = Command::new("redis-cli");
        command
            .args(["--cluster", "create"])
            .args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        let output = command.args(["--cluster-replicas", "0", "--cluster-yes"]).output().expect("redis-cli");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let cluster = Self { nodes };
        cluster.wait_whole();
        cluster
    }

    /// Every node says that all slots are served.
    pub fn wait_whole(&self) {
        for node in &self.nodes {
            node.wait("in a whole cluster", |node| {
                let info: String = redis::from_redis_value(node.ask(&["CLUSTER", "INFO"])).expect("a text");
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            });
        }
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }
}
