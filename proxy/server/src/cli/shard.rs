//! `pointsman shard init`: what makes a database the coordinator of shards, for statements that cannot be put together here.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use pointsman_policy::Tables;
use pointsman_shards::Placement;
use pointsman_sql::Relation;

use super::EXIT_CONFIG;
use crate::config::Config;
use crate::coordinator::ddl::{quote, script};
use crate::coordinator::read::{self, Found};
use crate::coordinator::{Design, Place, Remote, Table};
use crate::fault::Fault;
use crate::upstream::config::{ClusterConfig, ShardedConfig};
use crate::upstream::own;

/// Stands for a password that is not shown.
const HIDDEN: &str = "<password>";
/// How long the definitions may take: they ask the shards for nothing, and wait for locks at the most.
const APPLY_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

const EXAMPLES: &str = "\
Examples:
  Print the SQL for the coordinator's database, from what the shards' primaries have:
    pointsman shard init --config pointsman.yaml

  Run it there, for roles app and report besides the one who runs it:
    pointsman shard init --config pointsman.yaml --role app --role report --apply

The shards, in order, and the coordinator are those of the configuration's `sharded`.
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
    /// The sharded database, as clients call it [default: the only one]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
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

/// A shard.
struct Part<'a> {
    cluster: &'a ClusterConfig,
    /// What its servers call the database.
    database: String,
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
        let policies = config.policy_set().map_err(|error| Failure::Wrong(error.to_string()))?;
        let sharded = chosen(&config, self.database.as_deref())?;
        let coordinator = self.apply.then(|| coordinator(&config, sharded)).transpose()?;
        let parts = parts(&config, sharded)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::pointsman("58000", "no runtime").because(error))?;
        runtime.block_on(async {
            let design = self.design(&parts, policies.tables()).await?;
            let sql = script(&design).map_err(Failure::Wrong)?;
            let Some(coordinator) = coordinator else { return Ok(sql) };
            apply(coordinator, &sql).await?;
            let (tables, shards) = (design.tables.len(), design.shards.len());
            let place = &coordinator.maintenance_database;
            Ok(format!("database {place} of {}: {tables} tables of {shards} shards\n", coordinator.name))
        })
    }

    /// What is to be made, by what the shards have.
    async fn design(&self, parts: &[Part<'_>], declared: &Tables) -> Result<Design, Failure> {
        let mut found = Vec::new();
        for part in parts {
            found.push(read::tables(part.cluster, &part.database, part.cluster.connect_timeout()).await?);
        }
        let Some((first, others)) = found.split_first() else {
            return Err(Failure::Wrong("there are no shards".into()));
        };
        if let Some(other) = others.iter().position(|other| other.locale != first.locale) {
            let (number, name) = (other + 1, &parts[other + 1].cluster.name);
            return Err(Failure::Wrong(format!(
                "shard {number} ({name}): its database sorts texts in another way than shard 0's"
            )));
        }
        let mut tables = Vec::new();
        for table in &first.tables {
            let place = place(table, declared, others).map_err(Failure::Wrong)?;
            tables.push((table.clone(), place));
        }
        Ok(Design {
            shards: parts.iter().map(|part| self.remote(part)).collect(),
            tables,
            locale: first.locale.clone(),
            roles: std::iter::once("CURRENT_USER".to_owned())
                .chain(self.role.iter().map(|role| named(role)))
                .collect(),
        })
    }

    fn remote(&self, part: &Part<'_>) -> Remote {
        let mut remote = read::remote(part.cluster, &part.database);
        if !self.apply && !self.with_passwords {
            remote.password = remote.password.map(|_| HIDDEN.to_owned());
        }
        remote
    }
}

/// Where a table of the first shard is; all that it is spread over must have it alike.
fn place(table: &Table, declared: &Tables, others: &[Found]) -> Result<Place, String> {
    let relation = Relation { schema: Some(table.schema.as_str().into()), name: table.name.as_str().into() };
    let Placement::Sharded(sharded) = declared.placement(&relation) else { return Ok(Place::First) };
    let differ = |(shard, other)| read::difference(table, shard + 1, other);
    if let Some(difference) = others.iter().enumerate().find_map(differ) {
        return Err(difference);
    }
    let key = sharded.keys.first().map(|key| key.iter().map(|name| name.to_string()).collect());
    Ok(Place::Spread(key.unwrap_or_default(), (&*sharded.function).into()))
}

/// A role as SQL has it.
fn named(role: &str) -> String {
    if role == "PUBLIC" { role.to_owned() } else { quote(role) }
}

/// The sharded database of that name, or the only one.
fn chosen<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a ShardedConfig, Failure> {
    let names = || config.sharded.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
    let told = match (config.sharded.as_slice(), name) {
        ([], _) => "the configuration has no sharded database: list one under `sharded`".to_owned(),
        ([only], None) => return Ok(only),
        (several, None) => {
            format!(
                "the configuration has {} sharded databases: say --database, one of {}",
                several.len(),
                names()
            )
        }
        (all, Some(name)) => match all.iter().find(|one| one.name == name) {
            Some(found) => return Ok(found),
            None => format!("`{name}` is no sharded database of the configuration; there is {}", names()),
        },
    };
    Err(Failure::Wrong(told))
}

fn cluster<'a>(config: &'a Config, name: &str) -> Result<&'a ClusterConfig, Failure> {
    let found = config.clusters.iter().find(|cluster| cluster.name == name);
    found.ok_or_else(|| Failure::Wrong(format!("there is no cluster `{name}` in the configuration")))
}

fn parts<'a>(config: &'a Config, sharded: &ShardedConfig) -> Result<Vec<Part<'a>>, Failure> {
    let part = |name: &String| {
        let cluster = cluster(config, name)?;
        Ok(Part { cluster, database: sharded.database_on(cluster) })
    };
    sharded.shards.iter().map(part).collect()
}

fn coordinator<'a>(config: &'a Config, sharded: &ShardedConfig) -> Result<&'a ClusterConfig, Failure> {
    let name = sharded.coordinator.as_ref().ok_or_else(|| {
        let name = &sharded.name;
        Failure::Wrong(format!("database `{name}` has no `coordinator`: without --apply, the SQL is printed"))
    })?;
    cluster(config, name)
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
    use crate::coordinator::Locale;
    use crate::coordinator::spread::Spread;

    #[test]
    fn roles_are_quoted_and_everybody_is_not() {
        assert_eq!((named("o\"b").as_str(), named("PUBLIC").as_str()), ("\"o\"\"b\"", "PUBLIC"));
    }

    const CLUSTERS: &str = "clusters:\n\
        - {name: a, primary: 'postgres://u@h/one', databases: [{name: d}]}\n\
        - {name: b, primary: 'postgres://u@i/two', databases: [{name: e}]}\n\
        - {name: c, primary: 'postgres://u@j/both'}\n";

    fn config(sharded: &str) -> Config {
        let text = format!("{CLUSTERS}sharded: [{sharded}]\n");
        Config::from_yaml("p.yaml", &text, std::path::Path::new("")).unwrap()
    }

    fn wrong<T>(outcome: Result<T, Failure>) -> String {
        match outcome {
            Err(Failure::Wrong(told)) => told,
            _ => panic!("it is taken"),
        }
    }

    #[test]
    fn shards_are_those_of_the_configuration_in_their_order() {
        let config = config("{name: s, shards: [b, a], coordinator: c}");
        let sharded = chosen(&config, None).ok().unwrap();
        let parts = parts(&config, sharded).ok().unwrap();
        let told: Vec<_> = parts.iter().map(|part| (&*part.cluster.name, &*part.database)).collect();
        assert_eq!(told, [("b", "two"), ("a", "one")]);
        assert_eq!(coordinator(&config, sharded).ok().unwrap().maintenance_database, "both");
    }

    #[test]
    fn one_name_may_hold_on_all_shards() {
        let config = config("{name: s, shards: [a, b], server_name: app}");
        let sharded = chosen(&config, Some("s")).ok().unwrap();
        assert!(parts(&config, sharded).ok().unwrap().iter().all(|part| part.database == "app"));
        assert!(wrong(coordinator(&config, sharded)).contains("`s` has no `coordinator`"));
    }

    #[test]
    fn which_database_is_meant_must_be_clear() {
        assert!(wrong(chosen(&config(""), None)).contains("no sharded database"));
        let two = config("{name: s, shards: [a]}, {name: t, shards: [b]}");
        assert!(wrong(chosen(&two, None)).contains("one of s, t"));
        assert!(wrong(chosen(&two, Some("u"))).contains("`u`"));
        assert_eq!(chosen(&two, Some("t")).ok().unwrap().shards, ["b"]);
    }

    #[test]
    fn tables_are_where_the_policies_say() {
        let policy = "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  tables:\n    \
            t: {shard_key: id}\n    r: {reference: true}\n";
        let set = pointsman_policy::PolicySet::load(&[("p.yaml".into(), policy.into())]).unwrap();
        let table = |name: &str| Table { schema: "public".into(), name: name.into(), columns: Vec::new() };
        let shard = |names: &[&str]| Found {
            tables: names.iter().map(|name| table(name)).collect(),
            locale: Locale { collate: "C".into(), ctype: "C".into() },
        };
        let of = |name: &str, other| place(&table(name), set.tables(), &[shard(other)]);
        assert_eq!(of("t", &["t"]), Ok(Place::Spread(vec!["id".into()], Spread::Modulo)));
        assert_eq!((of("r", &["r"]), of("x", &[])), (Ok(Place::First), Ok(Place::First)));
        assert!(of("t", &["r"]).unwrap_err().contains("public.t is not on shard 1"));
    }
}
