//! A PostgreSQL of the test's own, spoken to by one `psql` for each database.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use super::Row;

const NULL: &str = "<null>";
/// What the last statement of each exchange gives.
const END: &str = "<end>\n";

pub(super) struct Server {
    dir: PathBuf,
    port: u16,
    sessions: RefCell<HashMap<String, Session>>,
}

/// A `psql` that reads statements from its input. Errors are among its output.
struct Session {
    psql: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn start(port: u16, database: &str) -> Self {
        let mut psql = Command::new("sh");
        psql.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(program("psql"));
        psql.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string(), "-d", database]);
        psql.args(["-X", "-q", "-A", "-t", "-F", "\u{1}", "-R", "\u{2}", "-P", &format!("null={NULL}")]);
        psql.env("PGOPTIONS", "-c client_min_messages=error").args(["-f", "-"]);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (psql.stdin.take().unwrap(), psql.stdout.take().unwrap());
        Self { psql, input, output: BufReader::new(output) }
    }

    /// What statements give.
    fn exchange(&mut self, sql: &str) -> Result<String, String> {
        writeln!(self.input, "{sql}\n;\nSELECT '{}';", END.trim_end()).map_err(|error| error.to_string())?;
        self.input.flush().map_err(|error| error.to_string())?;
        let mut found = String::new();
        while !found.ends_with(END) {
            if self.output.read_line(&mut found).map_err(|error| error.to_string())? == 0 {
                return Err(format!("psql ended: {found}"));
            }
        }
        found.truncate(found.len() - END.len());
        if found.lines().any(|line| line.starts_with("psql:<stdin>:")) { Err(found) } else { Ok(found) }
    }
}

/// Programs of the newest PostgreSQL that is installed.
fn program(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed")
        .flatten()
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().expect("PostgreSQL is installed")
}

/// A command by a user whom PostgreSQL accepts: it refuses root.
fn command(name: &str) -> Command {
    let program = program(name);
    if std::env::var("USER").is_ok_and(|user| user != "root")
        && std::env::var("HOME").is_ok_and(|home| home != "/root")
    {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn done(output: std::io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Server {
    pub(super) fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = PathBuf::from(format!("/tmp/pointsman_meaning_{}_{port}", std::process::id()));
        done(
            command("initdb")
                .args(["-U", "postgres", "--no-sync", "-A", "trust", "--locale=C", "-E", "UTF8", "-D"])
                .arg(&dir)
                .output(),
        )
        .unwrap();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off",
            dir.display()
        );
        let log = dir.join("log");
        let mut start = command("pg_ctl");
        start.arg("-D").arg(&dir).arg("-l").arg(log).args(["-w", "-o", &options, "start"]);
        assert!(start.stdout(std::process::Stdio::null()).status().unwrap().success());
        Self { dir, port, sessions: RefCell::default() }
    }

    /// Runs statements; the rows of the last.
    pub(super) fn query(&self, database: &str, sql: &str) -> Result<Vec<Row>, String> {
        let mut sessions = self.sessions.borrow_mut();
        let session =
            sessions.entry(database.to_owned()).or_insert_with(|| Session::start(self.port, database));
        let out = session.exchange(sql)?;
        if out.is_empty() {
            return Ok(Vec::new());
        }
        let out = out.strip_suffix('\n').unwrap_or(&out);
        let cell = |cell: &str| (cell != NULL).then(|| cell.to_owned());
        Ok(out.split('\u{2}').map(|row| row.split('\u{1}').map(cell).collect()).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for (_, mut session) in self.sessions.take() {
            drop(session.input);
            let _ = session.psql.wait();
        }
        let _ = command("pg_ctl").arg("-D").arg(&self.dir).args(["-m", "immediate", "stop"]).output();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
