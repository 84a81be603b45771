//! Stops what a stage started, however the test program ends: a shell waits for the end of its input,
//! which comes when the stage is dropped or the whole program is gone.
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits, then stops every server and proxy named by a pid file below the directory, then removes it.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
end() { # end SIGNAL FILE: the process named there, if it is one of this directory
    [ -f "$2" ] || return 0
    pid=$(head -n 1 "$2")
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$dir/" || return 0
    kill "-$1" "$pid"
    tries=0
    # An ended process that nobody awaits keeps its number but not its program.
    while readlink "/proc/$pid/exe" >/dev/null 2>&1 && [ "$tries" -lt 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
}
dir=$1
for file in "$dir"/proxy-*.pid; do end KILL "$file"; done
for file in "$dir"/*/postmaster.pid; do end QUIT "$file"; done
rm -rf "$dir"
"#;

/// Owns a stage's directory.
#[derive(Debug)]
pub(crate) struct Keeper(Child);

impl Keeper {
    /// Watches over `dir`, which is removed in the end.
    pub(crate) fn new(dir: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "keeper"]).arg(dir).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Its own process group, so that Ctrl-C ends the tests and not their clean-up.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Self(command.spawn().expect("sh runs"))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("the keeper of a stage could not be awaited: {error}");
        }
    }
}
