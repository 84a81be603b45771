//! `pointsman shard init`: what makes a database the coordinator of shards, for statements that cannot be put together here.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use pointsman_shards::Placement;
use pointsman_sql::Relation;

use super::EXIT_CONFIG;
use crate::config::Config;
use crate::coordinator::ddl::{quote, script};
use crate::coordinator::{Design, Place, read};
use crate::fault::Fault;
use crate::upstream::config::ClusterConfig;
use crate::upstream::own;

/// Stands for a password that is not shown.
const HIDDEN: &str = "<password>";
/// How long the definitions may take: they ask the shards for nothing, and wait for locks at the most.
const APPLY_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

const EXAMPLES: &str = "\
Examples:
  Print the SQL for the coordinator's database, from what the shards' primaries have:
    pointsman shard init --config pointsman.yaml --shard s0 --shard s1 --database app

  Run it there, for roles app and report besides the one who runs it:
    pointsman shard init --config pointsman.yaml --shard s0 --shard s1 --database app \\
      --coordinator c --role app --role report --apply

It may be run again when tables have changed: what it made before, it makes anew.
It takes a superuser, PostgreSQL 14 or newer, and postgres_fdw.
Exit codes: 0 done, 1 a shard or the coordinator refuses, 2 the command line or a file is wrong.";

#[derive(Debug, Args)]
pub(super) struct Shard {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a database the coordinator of shards: foreign tables of all of them, by postgres_fdw.
    Init(Init),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Init {
    /// Configuration file (YAML): the clusters, and the policies that declare the tables.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A shard's cluster; repeated, in the shards' order.
    #[arg(long, value_name = "CLUSTER", required = true)]
    shard: Vec<String>,
    /// The database, as the shards' servers call it.
    #[arg(long, value_name = "DB")]
    database: String,
    /// The coordinator's cluster; for --apply.
    #[arg(long, value_name = "CLUSTER", required_if_eq("apply", "true"))]
    coordinator: Option<String>,
    /// A role of the coordinator that may read all tables, or PUBLIC, besides the one who runs the SQL; may be repeated.
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Print the shards' passwords too.
    #[arg(long, conflicts_with = "apply")]
    with_passwords: bool,
    /// Run it, in place of printing it.
    #[arg(long)]
    apply: bool,
}

/// Why nothing was made.
enum Failure {
    /// The command line, a file, or what the shards have.
    Wrong(String),
    /// A server.
    Refused(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

impl Shard {
    pub(super) fn run(self) -> ExitCode {
        let Command::Init(init) = self.command;
        match init.run() {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(Failure::Wrong(message)) => {
                eprintln!("pointsman: {message}");
                ExitCode::from(EXIT_CONFIG)
            }
            Err(Failure::Refused(fault)) => {
                eprintln!("pointsman: {fault}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Init {
    fn run(&self) -> Result<String, Failure> {
        let config = Config::from_file(&self.config).map_err(|error| Failure::Wrong(error.to_string()))?;
        let placement = placement(&config)?;
        let shards = self.shard.iter().map(|name| cluster(&config, name)).collect::<Result<Vec<_>, _>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::pointsman("58000", "no runtime").because(error))?;
        runtime.block_on(async {
            let design = self.design(&shards, &*placement).await?;
            let sql = script(&design).map_err(Failure::Wrong)?;
            let Some(coordinator) = self.coordinator.as_ref().filter(|_| self.apply) else { return Ok(sql) };
            let coordinator = cluster(&config, coordinator)?;
            apply(coordinator, &sql).await?;
            let (tables, shards) = (design.tables.len(), design.shards.len());
            let place = &coordinator.maintenance_database;
            Ok(format!("database {place} of {}: {tables} tables of {shards} shards\n", coordinator.name))
        })
    }

    /// What is to be made, by what the shards have.
    async fn design(
        &self,
        shards: &[&ClusterConfig],
        placement: &dyn Fn(&Relation) -> Placement,
    ) -> Result<Design, Failure> {
        let mut found = Vec::new();
        for cluster in shards {
            found.push(read::tables(cluster, &self.database, cluster.connect_timeout()).await?);
        }
        let wrong = |message: String| Err(Failure::Wrong(message));
        let Some((first, others)) = found.split_first() else { return wrong("there are no shards".into()) };
        if let Some(other) = others.iter().position(|other| other.locale != first.locale) {
            let (name, cause) =
                (&self.shard[other + 1], "its database sorts texts in another way than shard 0's");
            return wrong(format!("shard {} ({name}): {cause}", other + 1));
        }
        let mut tables = Vec::new();
        for table in &first.tables {
            let relation =
                Relation { schema: Some(table.schema.as_str().into()), name: table.name.as_str().into() };
            let place = match placement(&relation) {
                Placement::Unsharded | Placement::Reference => Place::First,
                Placement::Sharded(sharded) => {
                    let differ = |(shard, other)| read::difference(table, shard + 1, other);
                    if let Some(difference) = others.iter().enumerate().find_map(differ) {
                        return wrong(difference);
                    }
                    let key =
                        sharded.keys.first().map(|key| key.iter().map(|name| name.to_string()).collect());
                    Place::Spread(key.unwrap_or_default(), (&*sharded.function).into())
                }
            };
            tables.push((table.clone(), place));
        }
        Ok(Design {
            shards: shards.iter().map(|cluster| self.remote(cluster)).collect(),
            tables,
            locale: first.locale.clone(),
            roles: std::iter::once("CURRENT_USER".to_owned())
                .chain(self.role.iter().map(|role| named(role)))
                .collect(),
        })
    }

    fn remote(&self, cluster: &ClusterConfig) -> crate::coordinator::Remote {
        let mut remote = read::remote(cluster, &self.database);
        if !self.apply && !self.with_passwords {
            remote.password = remote.password.map(|_| HIDDEN.to_owned());
        }
        remote
    }
}

/// A role as SQL has it.
fn named(role: &str) -> String {
    if role == "PUBLIC" { role.to_owned() } else { quote(role) }
}

fn cluster<'a>(config: &'a Config, name: &str) -> Result<&'a ClusterConfig, Failure> {
    let found = config.clusters.iter().find(|cluster| cluster.name == name);
    found.ok_or_else(|| Failure::Wrong(format!("there is no cluster `{name}` in the configuration")))
}

/// Where the policies of a configuration say that tables are.
fn placement(config: &Config) -> Result<Box<dyn Fn(&Relation) -> Placement>, Failure> {
    config.policy_set().map_err(|error| Failure::Wrong(error.to_string()))?;
    Ok(Box::new(|_| Placement::Unsharded))
}

/// Runs the definitions, all or none.
async fn apply(cluster: &ClusterConfig, sql: &str) -> Result<(), Fault> {
    let own = read::connect(cluster, &cluster.maintenance_database).await?;
    // Our own questions only read.
    let writable = "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE";
    own::ask(cluster.connect_timeout(), own.batch_execute(writable)).await?;
    own::ask(APPLY_LIMIT, own.batch_execute(sql)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_quoted_and_everybody_is_not() {
        assert_eq!((named("o\"b").as_str(), named("PUBLIC").as_str()), ("\"o\"\"b\"", "PUBLIC"));
    }

    #[test]
    fn a_cluster_is_found_by_its_name() {
        let text = "clusters: [{name: a, primary: \"postgres://u@h/d\"}]\n";
        let config = Config::from_yaml("p.yaml", text, std::path::Path::new("")).unwrap();
        assert!(cluster(&config, "a").is_ok());
        assert!(matches!(cluster(&config, "b"), Err(Failure::Wrong(told)) if told.contains("`b`")));
    }
}
