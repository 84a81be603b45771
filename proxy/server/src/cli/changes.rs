//! `pointsman changes init`: what the primary needs so that the cache hears of writes that do not pass through Pointsman.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::EXIT_CONFIG;
use crate::caching::definitions::{PREFIX, TRIGGER};
use crate::config::{Config, Flags};
use crate::fault::Fault;
use crate::upstream::config::{ClusterConfig, Role};
use crate::upstream::own;
use crate::upstream::server::Server;
use crate::upstream::settings::quote_text;

const EXAMPLES: &str = "\
Examples:
  Print the SQL, for whoever may run it, in each database:
    pointsman changes init

  Run it on the primary of a configuration, in one database:
    pointsman changes init --config pointsman.yaml --database app --apply

It takes a superuser, and wal_level = logical, which PostgreSQL changes only at a restart.
Exit codes: 0 done, 1 the primary refuses, 2 the command line or the configuration is wrong.";

#[derive(Debug, Args)]
pub(super) struct Changes {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the publication and the event trigger that the cache's change stream reads.
    Init(Init),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Init {
    /// Configuration file (YAML): its primary, and its names for the publication and the slot.
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// The primary.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    primary: Option<String>,
    /// The database [default: the primary URL's]
    #[arg(long, value_name = "DB")]
    database: Option<String>,
    /// Run it, in place of printing it.
    #[arg(long)]
    apply: bool,
}

impl Changes {
    pub(super) fn run(self) -> ExitCode {
        let Command::Init(init) = self.command;
        init.run()
    }
}

impl Init {
    fn run(self) -> ExitCode {
        let config = match self.read() {
            Ok(config) => config,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(EXIT_CONFIG);
            }
        };
        let defaults = crate::caching::config::ChangesConfig::default();
        let changes = config.as_ref().map_or(&defaults, |config| &config.cache.changes);
        let steps = steps(&changes.publication, changes.slot.as_deref());
        if !self.apply {
            print!("{}", script(&steps));
            return ExitCode::SUCCESS;
        }
        let Some(cluster) = config.as_ref().and_then(|config| config.clusters.last()) else {
            eprintln!("pointsman: --apply takes --config or --primary");
            return ExitCode::from(EXIT_CONFIG);
        };
        match self.apply_to(cluster, &steps) {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => {
                eprintln!("pointsman: {fault}");
                ExitCode::FAILURE
            }
        }
    }

    fn read(&self) -> Result<Option<Config>, crate::config::ConfigError> {
        match (&self.config, &self.primary) {
            (Some(path), _) => Config::from_file(path).map(Some),
            (None, Some(url)) => {
                Config::from_flags(&Flags { primary: url.clone(), ..Flags::default() }).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    fn apply_to(&self, cluster: &ClusterConfig, steps: &[Step]) -> Result<(), Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::pointsman("58000", "no runtime").because(error))?;
        let expected = cluster.servers.iter().find(|server| server.expected == Role::Primary);
        let server = expected.ok_or_else(|| Fault::pointsman("F0000", "no primary is configured"))?;
        let server = Arc::new(Server::new(server.clone(), 0));
        let database = self.database.as_deref().unwrap_or(&cluster.maintenance_database);
        runtime.block_on(async {
            let limit = cluster.connect_timeout();
            let own = own::connect(cluster, &server, database, limit).await?;
            // Our own questions only read.
            let writable = "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE";
            own::ask(limit, own.batch_execute(writable)).await?;
            for step in steps {
                let there = own::ask(limit, own.query_one(&step.is_there, &[])).await?;
                if there.try_get::<_, bool>(0).unwrap_or(false) {
                    println!("{}: it is there already", step.what);
                    continue;
                }
                for sql in &step.make {
                    own::ask(limit, own.batch_execute(sql)).await?;
                }
                println!("{}: made", step.what);
            }
            let level = own::ask(limit, own.query_one("SELECT current_setting('wal_level')", &[])).await?;
            if level.try_get::<_, String>(0).ok().as_deref() != Some("logical") {
                println!(
                    "wal_level is not logical: ALTER SYSTEM SET wal_level = logical, and restart PostgreSQL"
                );
            }
            Ok(())
        })
    }
}

/// One thing that is made unless it is there.
struct Step {
    what: String,
    /// A question that answers with a boolean.
    is_there: String,
    make: Vec<String>,
}

fn steps(publication: &str, slot: Option<&str>) -> Vec<Step> {
    let named = quote_text(publication);
    let function = format!(
        "CREATE FUNCTION public.{TRIGGER}() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER\n  \
         SET search_path = pg_catalog AS $$\nBEGIN\n  \
         PERFORM pg_catalog.pg_logical_emit_message(true, '{PREFIX}', 'definitions');\nEND $$"
    );
    let mut steps = vec![
        Step {
            what: format!("publication {publication}"),
            is_there: format!("SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = {named})"),
            make: vec![format!("CREATE PUBLICATION \"{}\" FOR ALL TABLES", publication.replace('"', "\"\""))],
        },
        Step {
            what: format!("function and event trigger {TRIGGER}"),
            is_there: format!("SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = '{TRIGGER}')"),
            make: vec![
                function,
                format!(
                    "CREATE EVENT TRIGGER {TRIGGER} ON ddl_command_end EXECUTE FUNCTION public.{TRIGGER}()"
                ),
            ],
        },
    ];
    if let Some(slot) = slot {
        let named = quote_text(slot);
        steps.push(Step {
            what: format!("replication slot {slot}"),
            is_there: format!("SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {named})"),
            make: vec![format!("SELECT pg_create_logical_replication_slot({named}, 'pgoutput')")],
        });
    }
    steps
}

/// The same as text.
fn script(steps: &[Step]) -> String {
    let mut text = String::from(
        "-- In each database whose results are cached, as a superuser. wal_level must be logical:\n\
         --   ALTER SYSTEM SET wal_level = logical;  and restart PostgreSQL\n\
         -- Pointsman's own role needs the REPLICATION attribute:\n\
         --   ALTER ROLE pointsman REPLICATION;\n\
         -- Tables whose updates and deletes are to be told apart by key need their old rows logged:\n\
         --   ALTER TABLE interactions REPLICA IDENTITY FULL;\n",
    );
    for step in steps {
        text.push_str(&format!("\n-- {}\n", step.what));
        for sql in &step.make {
            text.push_str(sql);
            text.push_str(";\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_makes_what_is_looked_for() {
        let text = script(&steps("pointsman", Some("mine")));
        for line in [
            "CREATE PUBLICATION \"pointsman\" FOR ALL TABLES;",
            "CREATE EVENT TRIGGER pointsman_definitions ON ddl_command_end",
            "SELECT pg_create_logical_replication_slot('mine', 'pgoutput');",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
