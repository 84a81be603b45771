//! The command line: what can be asked of the program, and how it answers.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::config::{ConfigSource, Flags};
use crate::serve::{self, ServeError};
use crate::upstream::config::PoolMode;

mod changes;
mod check;
mod explain;
mod plugin;
mod shard;

/// Exit code for a configuration that is wrong, as for a command line that is.
const EXIT_CONFIG: u8 = 2;

/// A PostgreSQL proxy that pools connections, parses statements, and splits reads from writes.
///
/// Applications connect to Pointsman instead of PostgreSQL and change nothing else. Statements
/// that provably only read go to a replica that holds every acknowledged write; everything else
/// goes to the primary.
///
/// Try it:
///   pointsman serve --primary postgres://user:password@host:5432/postgres
///   psql -h 127.0.0.1 -p 6432 -U user anydatabase
#[derive(Debug, Parser)]
#[command(name = "pointsman", version, arg_required_else_help = true, verbatim_doc_comment)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients, configured by a file or by flags.
    Serve(Box<Serve>),
    /// Say what is wrong with configuration and policy files, and run the policies' tests.
    Check(Check),
    /// Say where a statement goes, and why.
    Explain(Box<explain::Explain>),
    /// Prepare a primary for the cache's change stream.
    Changes(changes::Changes),
    /// Prepare a coordinator for shards.
    Shard(shard::Shard),
    /// Write and build plugins.
    Plugin(plugin::Plugin),
    /// Print the JSON Schema of policy files, for editors.
    Schema,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  One primary, any database, any user that PostgreSQL knows:
    pointsman serve --primary postgres://pointsman:secret@db1:5432/postgres

  With two replicas that serve reads, and metrics:
    pointsman serve --primary postgres://pointsman:secret@db1/postgres \\
      --replica postgres://db2 --replica postgres://db3 --admin 127.0.0.1:9930

  Everything from a file, every key of which CONFIG.md explains:
    pointsman serve --config pointsman.yaml

Signals:
  SIGHUP reads the configuration again; SIGTERM or SIGINT takes no new clients, lets transactions
  finish and ends; SIGINT once more, or SIGQUIT, ends at once.

Exit codes: 0 ended by a signal, 1 could not start, 2 the command line or configuration is wrong.";

#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES, group(ArgGroup::new("what").required(true).args(["config", "primary", "shard"])))]
struct Serve {
    /// Configuration file (YAML), in place of all other flags but --workers and --log.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    cluster: Cluster,
    /// Worker threads [default: half the processors]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// What to log: error, warn, info, debug or trace, also by module (`info,pointsman::upstream=debug`).
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,
}

#[derive(Debug, Args)]
struct Cluster {
    /// Address or Unix-domain socket path for clients; may be repeated [default: 127.0.0.1:6432]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    listen: Vec<String>,
    /// The primary. Its user is also Pointsman's own, for health and catalog questions.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    primary: Option<String>,
    /// A replica; may be repeated. User and password may be left out: they are the primary's.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    replica: Vec<String>,
    /// A shard's primary; repeated, in order, in place of --primary. Policies declare how tables are spread.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "replica"])]
    shard: Vec<String>,
    /// Server connections for each database, user and server [default: 20]
    #[arg(long, value_name = "N", conflicts_with = "config")]
    pool_size: Option<usize>,
    /// How long a server connection belongs to a client.
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Mode::Transaction, conflicts_with = "config")]
    pool_mode: Mode,
    /// Users and secrets, in PgBouncer's userlist.txt format [default: ask PostgreSQL for verifiers]
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    userlist: Option<PathBuf>,
    /// A policy file (YAML); may be repeated.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    policy: Vec<PathBuf>,
    /// Address for /metrics, /healthz and /readyz over HTTP [default: none]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    admin: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// For one transaction.
    Transaction,
    /// Until the client leaves.
    Session,
}

#[derive(Debug, Args)]
struct Check {
    /// Configuration files, and policy files (those that say `kind: Policy`).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Cli {
    /// Does what was asked, and says how it went.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Check(check) => check::run(&check.files),
            Command::Explain(explain) => explain.run(),
            Command::Changes(changes) => changes.run(),
            Command::Shard(shard) => shard.run(),
            Command::Plugin(plugin) => plugin.run(),
            Command::Schema => {
                print!("{}", pointsman_policy::schema());
                ExitCode::SUCCESS
            }
        }
    }
}

impl Serve {
    fn run(self) -> ExitCode {
        match EnvFilter::try_new(&self.log) {
            Ok(filter) => tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .init(),
            Err(error) => {
                eprintln!("pointsman: --log {}: {error}", self.log);
                return ExitCode::from(EXIT_CONFIG);
            }
        }
        match serve::run(self.source()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(ServeError::Config(error)) => {
                eprintln!("{error}");
                ExitCode::from(EXIT_CONFIG)
            }
            Err(error) => {
                eprintln!("pointsman: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn source(self) -> ConfigSource {
        let workers = self.workers;
        match self.config {
            Some(path) => ConfigSource::File { path, workers },
            None => ConfigSource::Flags(self.cluster.flags(workers)),
        }
    }
}

impl Cluster {
    fn flags(self, workers: Option<usize>) -> Flags {
        Flags {
            listen: self.listen,
            primary: self.primary.unwrap_or_default(),
            replicas: self.replica,
            shards: self.shard,
            pool_size: self.pool_size,
            pool_mode: match self.pool_mode {
                Mode::Transaction => PoolMode::Transaction,
                Mode::Session => PoolMode::Session,
            },
            userlist: self.userlist,
            policies: self.policy,
            admin: self.admin,
            workers,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn source(arguments: &[&str]) -> Result<ConfigSource, clap::Error> {
        let command = Cli::try_parse_from([&["pointsman", "serve"], arguments].concat())?.command;
        let Command::Serve(serve) = command else { panic!("serve was asked for") };
        Ok(serve.source())
    }

    #[test]
    fn the_command_line_is_sound_and_its_help_whole() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        let help = command.render_long_help().to_string();
        for word in [
            "Usage: pointsman <COMMAND>",
            "serve",
            "check",
            "explain",
            "changes",
            "shard",
            "schema",
            "--version",
            "Try it:\n  pointsman serve",
        ] {
            assert!(help.contains(word), "{word}\n{help}");
        }
        let serve = command.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        for word in
            ["--config <FILE>", "--listen", "--primary <URL>", "--replica", "--pool-size", "--pool-mode"]
        {
            assert!(serve.contains(word), "{word}\n{serve}");
        }
        for word in [
            "--userlist",
            "--policy",
            "--admin",
            "--workers",
            "--log",
            "Examples:",
            "Signals:",
            "Exit codes:",
        ] {
            assert!(serve.contains(word), "{word}\n{serve}");
        }
        assert!(help.lines().chain(SERVE_EXAMPLES.lines()).all(|line| line.chars().count() <= 100), "{help}");
    }

    #[test]
    fn a_file_and_flags_exclude_each_other() {
        let file = ConfigSource::File { path: "p.yaml".into(), workers: Some(3) };
        assert_eq!(source(&["--config", "p.yaml", "--workers", "3"]).unwrap(), file);
        assert!(source(&["--config", "p.yaml", "--primary", "x"]).is_err());
        assert!(source(&["--config", "p.yaml", "--pool-mode", "session"]).is_err());
        assert!(source(&[]).is_err());
        let arguments = ["--primary", "a", "--replica", "b", "--replica", "c", "--pool-mode", "session"];
        let ConfigSource::Flags(flags) = source(&arguments).unwrap() else { panic!("flags were given") };
        assert_eq!(
            (flags.primary.as_str(), flags.replicas.len(), flags.pool_mode),
            ("a", 2, PoolMode::Session)
        );
    }
}
