//! A real Redis server of a test's own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::Stage;
use crate::tools::{free_port, signal};

/// A server on a free port of 127.0.0.1. It ends with the test.
pub struct Redis {
    /// Where it listens.
    pub port: u16,
    dir: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Redis {
    /// Starts one that keeps nothing on disk.
    ///
    /// # Panics
    /// When it does not answer within 20 seconds.
    pub fn start(stage: &Stage) -> Self {
        let port = free_port();
        let dir = stage.dir().join(format!("redis-{port}"));
        std::fs::create_dir_all(&dir).expect("a directory");
        let redis = Self { port, dir, child: Mutex::new(None) };
        redis.launch();
        redis
    }

    /// Starts it, with nothing in it.
    ///
    /// # Panics
    /// When it does not answer within 20 seconds.
    pub fn launch(&self) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server", "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "no", "--port", &self.port.to_string(), "--dir"]).arg(&self.dir);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        *self.child.lock().expect("no panic") = Some(child.expect("setpriv and redis-server are installed"));
        let since = Instant::now();
        while !self.ask(&["PING"]).starts_with("+PONG") {
            assert!(since.elapsed() < Duration::from_secs(20), "redis does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it at once.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        let child = self.child.lock().expect("no panic").take();
        let mut child = child.expect("it runs");
        child.kill().expect("it is there");
        child.wait().expect("it ends");
    }

    /// Sends it a signal by name: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.lock().expect("no panic").as_ref().map(Child::id);
        signal(pid.expect("it runs"), name);
    }

    /// What it answers to a command, as it comes; empty if it does not.
    pub fn ask(&self, words: &[&str]) -> String {
        let told = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(stream, "*{}\r\n", words.len())?;
            for word in words {
                write!(stream, "${}\r\n{word}\r\n", word.len())?;
            }
            let mut answer = vec![0; 65_536];
            let count = stream.read(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
        };
        told().unwrap_or_default()
    }

    /// The configuration of a cache that is shared here.
    pub fn config(&self) -> String {
        format!("redis: {{urls: ['redis://127.0.0.1:{}/'], deadline: 100ms, retry: 200ms}}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().expect("no panic").take() {
            // It may have ended by itself.
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}
