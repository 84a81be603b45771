//! Finds PostgreSQL's programs and runs them as a user that PostgreSQL accepts.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The directory with `initdb` and `postgres`: from `PATH`, else the newest below `/usr/lib/postgresql`.
pub(crate) fn bin_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // A link to `initdb` alone leads to where the other programs are.
        let mut found = std::env::split_paths(&path)
            .find_map(|dir| std::fs::canonicalize(dir.join("initdb")).ok()?.parent().map(Path::to_owned));
        if found.is_none() {
            let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| {
                    Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
                })
                .filter(|(_, bin)| bin.join("initdb").exists())
                .collect();
            versions.sort();
            found = versions.pop().map(|(_, bin)| bin);
        }
        found.expect("no PostgreSQL server found: run deploy/setup.sh test")
    })
}

/// Whether this process is root, so that servers run as the user `postgres`.
pub(crate) fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
    })
}

/// A command for one of PostgreSQL's programs, run as `postgres` when we are root.
pub fn postgres_command(program: &str) -> Command {
    let path = bin_dir().join(program);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(path).current_dir("/");
    command
}

/// Runs `command` to its end.
///
/// # Panics
/// With its output when it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sends a signal by name to one process; false when there is none.
pub fn signal(pid: u32, name: &str) -> bool {
    let status =
        Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The build's target directory and profile, from the place of this test program.
pub(crate) fn target() -> (PathBuf, String) {
    let exe = std::env::current_exe().expect("a test knows its own path");
    let profile_dir = exe.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    let profile =
        profile_dir.file_name().and_then(|name| name.to_str()).expect("a profile's name").to_owned();
    (profile_dir.parent().expect("the target directory").to_owned(), profile)
}

/// Gives a file or a file tree to the user that servers run as.
pub fn give_to_servers(path: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", "postgres:postgres"]).arg(path));
    }
}

/// A port of 127.0.0.1 that was free a moment ago; whoever binds it retries on a clash.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}
