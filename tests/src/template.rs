//! A data directory made once and copied for each server: `initdb`, roles and the database `app`.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::tools::{bin_dir, give_to_servers, postgres_command, run, target};

/// Roles, one statement a line (what `postgres --single` reads). `md5user`'s hash is of password and name.
const ROLES: &str = "\
CREATE ROLE app LOGIN CREATEDB PASSWORD 'password'
CREATE ROLE alice LOGIN PASSWORD 'password'
CREATE ROLE bob LOGIN PASSWORD 'password'
SET password_encryption = 'md5'
CREATE ROLE md5user LOGIN PASSWORD 'password'
SET password_encryption = 'scram-sha-256'
CREATE ROLE certuser LOGIN PASSWORD 'password'
CREATE ROLE expired LOGIN PASSWORD 'password' VALID UNTIL '2000-01-01'
CREATE ROLE streamer LOGIN REPLICATION PASSWORD 'password'
CREATE ROLE staff
GRANT staff TO app, alice, bob
CREATE DATABASE app OWNER app
";

/// Rights inside the database `app`.
const RIGHTS: &str = "\
GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC
GRANT ALL ON SCHEMA public TO app, alice, bob, staff
";

/// Copies the template to `into`, which must not exist, owned by the user that servers run as.
pub(crate) fn copy(into: &Path) {
    run(Command::new("cp").args(["-r", "--reflink=auto"]).arg(template()).arg(into));
    run(Command::new("chmod").arg("0700").arg(into));
    give_to_servers(into);
}

/// The template's directory; two programs that make it at once each make their own and one wins.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let version = run(Command::new(bin_dir().join("postgres")).arg("--version"));
        let version: String = version.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
        let cache = target().0.join("tmp");
        let mark = content_mark();
        let kept = cache.join(format!("template-{version}-{mark:016x}"));
        if !kept.exists() {
            std::fs::create_dir_all(&cache).expect("target/tmp can be made");
            let fresh = make();
            let aside = cache.join(format!("template-{}", std::process::id()));
            run(Command::new("cp").arg("-r").arg(&fresh).arg(&aside));
            run(Command::new("rm").arg("-rf").arg(&fresh));
            if std::fs::rename(&aside, &kept).is_err() {
                run(Command::new("rm").arg("-rf").arg(&aside));
            }
        }
        kept
    })
}

/// Changes when what goes into the template changes.
fn content_mark() -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (ROLES, RIGHTS, "1").hash(&mut hasher);
    hasher.finish()
}

/// Runs `initdb` and fills the cluster, in a directory of its own.
fn make() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("pointsman-template-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("a directory for the template");
    std::fs::write(dir.join("password"), crate::PASSWORD).expect("the password file");
    give_to_servers(&dir);
    let data = dir.join("data");
    let mut initdb = postgres_command("initdb");
    initdb.args(["--no-sync", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"]);
    initdb.args(["--auth=scram-sha-256", "--pwfile"]).arg(dir.join("password")).arg("-D").arg(&data);
    run(&mut initdb);
    single_user(&data, "postgres", ROLES);
    single_user(&data, "app", RIGHTS);
    let moved = dir.with_extension("data");
    std::fs::rename(&data, &moved).expect("the data directory moves");
    std::fs::remove_dir_all(&dir).expect("the directory goes");
    moved
}

/// Feeds `sql` to a server in single-user mode.
fn single_user(data: &Path, database: &str, sql: &str) {
    let mut command = postgres_command("postgres");
    command.args(["--single", "-c", "fsync=off", "-c", "exit_on_error=on", "-D"]).arg(data).arg(database);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().expect("postgres --single runs");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(sql.as_bytes()).expect("postgres --single reads");
    drop(stdin);
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("stderr is piped");
    std::io::Read::read_to_string(&mut stderr, &mut said).expect("postgres --single speaks");
    let status = child.wait().expect("postgres --single ends");
    assert!(status.success() && !said.contains("ERROR"), "postgres --single: {said}");
}
