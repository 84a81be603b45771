//! `pointsman explain`: where a statement goes and why, by the catalog of the primary or an assumed one.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use pointsman_policy::catalog::Catalog;
use pointsman_policy::{
    Explanation, Held, Identity, PolicySet, Question, Replicas, Role, SessionView, StatementView, classify,
    explain, hinted_route,
};
use pointsman_sql::{Analyzer, LexRules, split};

use crate::config::{Config, Flags, read_policies};
use crate::fault::Fault;
use crate::session::shards::Declared;
use crate::sharded::{Terms, told};
use crate::upstream::config::{self, ClusterConfig, ShardedConfig, WritesAcross};
use crate::upstream::server::Server;
use crate::upstream::{catalogs, own};

const EXAMPLES: &str = "\
Examples:
  By the configuration that serves, asking the primary for its functions and views:
    pointsman explain --config pointsman.yaml --as app \"SELECT * FROM orders WHERE id = 1\"

  By policy files alone, every table assumed to be a plain one:
    pointsman explain --policy policies/guard-rails.yaml \"DELETE FROM orders\"

Exit codes: 0 explained, 1 the primary cannot be asked, 2 the command line or a file is wrong.";

/// What is to be explained, and by what.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// Statements, as one simple query.
    #[arg(value_name = "SQL", required_unless_present = "file")]
    sql: Option<String>,
    /// A file with statements, each explained by itself.
    #[arg(long, value_name = "FILE", conflicts_with = "sql")]
    file: Option<PathBuf>,
    /// Configuration file (YAML): its policies, and the catalog of its primary.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The primary whose catalog is asked.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    primary: Option<String>,
    /// A policy file (YAML), after those of the configuration; may be repeated.
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// The user who sends it.
    #[arg(long = "as", value_name = "USER", default_value = "app")]
    user: String,
    /// The database that it is sent to [default: the primary URL's]
    #[arg(long, value_name = "DB")]
    database: Option<String>,
    /// The session's application_name.
    #[arg(long, value_name = "NAME", default_value = "")]
    application: String,
    /// The client's address [default: a Unix-domain socket]
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// A transaction is open on the primary.
    #[arg(long)]
    in_transaction: bool,
    /// Ask no server: assume PostgreSQL's own functions and plain tables.
    #[arg(long)]
    offline: bool,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Why there is no answer.
enum Failure {
    /// The command line or a file.
    Wrong(String),
    /// The primary.
    Unasked(Fault),
}

impl Explain {
    /// Explains, and says how it went.
    pub(super) fn run(self) -> ExitCode {
        match self.explain() {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(Failure::Wrong(message)) => {
                eprintln!("{message}");
                ExitCode::from(super::EXIT_CONFIG)
            }
            Err(Failure::Unasked(fault)) => {
                eprintln!("pointsman: {fault} (--offline asks no server)");
                ExitCode::FAILURE
            }
        }
    }

    fn explain(&self) -> Result<String, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::Wrong(error.to_string());
        let texts = self.texts()?;
        let config = self.config().map_err(|error| wrong(&error))?;
        let mut paths = config.as_ref().map(|config| config.policies.clone()).unwrap_or_default();
        paths.extend(self.policy.iter().cloned());
        let set = read_policies(&paths).map_err(|error| wrong(&error))?;
        let place = config.as_ref().map(|config| self.place(config)).transpose().map_err(Failure::Wrong)?;
        let catalog = match place.as_ref().filter(|_| !self.offline) {
            Some(place) => ask(place.cluster, &place.server_name, &set).map_err(Failure::Unasked)?,
            None => Catalog::assumed(set.overrides()),
        };
        let asked = Asked { by: self, set: &set, catalog: &catalog, place: place.as_ref() };
        let all: Vec<Explanation> = texts.iter().map(|text| asked.explain(text)).collect();
        Ok(self.shown(&all))
    }

    fn shown(&self, told: &[Explanation]) -> String {
        if !self.json {
            return told.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        }
        match (told, &self.file) {
            ([only], None) => format!("{}\n", only.json()),
            _ => {
                let each: Vec<String> = told.iter().map(Explanation::json).collect();
                format!("[{}]\n", each.join(",\n"))
            }
        }
    }

    /// The texts: one simple query, or each statement of a file with the comments around it.
    fn texts(&self) -> Result<Vec<String>, Failure> {
        let Some(path) = &self.file else { return Ok(self.sql.iter().cloned().collect()) };
        let file = path.display();
        let text =
            std::fs::read_to_string(path).map_err(|error| Failure::Wrong(format!("{file}: {error}")))?;
        let ranges = split(text.as_bytes(), LexRules::default())
            .map_err(|error| Failure::Wrong(format!("{file}: {error}")))?;
        let mut texts = Vec::new();
        let mut start = 0;
        for range in ranges {
            let whole = text.get(start..range.end).unwrap_or_default();
            texts.push(whole.trim_start_matches([';', ' ', '\n', '\r', '\t']).to_owned());
            start = range.end;
        }
        Ok(texts)
    }

    fn config(&self) -> Result<Option<Config>, crate::config::ConfigError> {
        match (&self.config, &self.primary) {
            (Some(path), _) => Config::from_file(path).map(Some),
            (None, Some(primary)) => {
                Config::from_flags(&Flags { primary: primary.clone(), ..Flags::default() }).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    /// Where the database is.
    fn place<'c>(&self, config: &'c Config) -> Result<Place<'c>, String> {
        if let Some(sharded) = self.sharded(config) {
            return Place::of_shards(config, sharded);
        }
        let Some(database) = &self.database else {
            let cluster = config.clusters.last().ok_or("the configuration has no cluster")?;
            return Ok(Place { cluster, server_name: cluster.maintenance_database.clone(), sharded: None });
        };
        let named = config.clusters.iter().find_map(|cluster| {
            let found = cluster.databases.iter().find(|known| known.name == *database)?;
            Some(Place { cluster, server_name: found.server_name.clone(), sharded: None })
        });
        let any = || {
            let cluster = config.clusters.iter().find(|cluster| cluster.takes_any())?;
            Some(Place { cluster, server_name: database.clone(), sharded: None })
        };
        named.or_else(any).ok_or_else(|| format!("no cluster of the configuration has database {database}"))
    }

    /// The sharded database that is meant: the one of that name, or the one that the last cluster is a shard of.
    fn sharded<'c>(&self, config: &'c Config) -> Option<&'c ShardedConfig> {
        let all = &config.sharded;
        match &self.database {
            Some(database) => all.iter().find(|one| one.name.is_empty() || one.name == *database),
            None => {
                let last = &config.clusters.last().filter(|cluster| cluster.part)?.name;
                all.iter().find(|one| one.shards.iter().chain(&one.coordinator).any(|name| name == last))
            }
        }
    }
}

/// Where a database is.
struct Place<'c> {
    /// The cluster that has it, or its first shard.
    cluster: &'c ClusterConfig,
    /// What the servers there call it.
    server_name: String,
    /// How it is spread, if it is.
    sharded: Option<&'c ShardedConfig>,
}

impl<'c> Place<'c> {
    fn of_shards(config: &'c Config, sharded: &'c ShardedConfig) -> Result<Self, String> {
        let first = config.clusters.iter().find(|cluster| sharded.shards.first() == Some(&cluster.name));
        let cluster = first.ok_or("a sharded database of the configuration has no shards")?;
        let server_name = sharded.server_name.clone();
        let server_name = server_name.unwrap_or_else(|| cluster.maintenance_database.clone());
        Ok(Self { cluster, server_name, sharded: Some(sharded) })
    }

    /// What clients call the database, if the command line does not say.
    fn name(&self) -> &str {
        let named = self.sharded.map(|sharded| sharded.name.as_str()).filter(|name| !name.is_empty());
        named.unwrap_or(&self.cluster.maintenance_database)
    }
}

/// Asks the cluster's primary for its catalog.
fn ask(cluster: &ClusterConfig, database: &str, set: &PolicySet) -> Result<Catalog, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::pointsman("58000", error.to_string()))?;
    let is_primary = |server: &&config::ServerConfig| server.expected == config::Role::Primary;
    let server = cluster
        .servers
        .iter()
        .find(is_primary)
        .ok_or_else(|| Fault::upstream("08001", "no primary to read the catalog from"))?;
    let server = Arc::new(Server::new(server.clone(), 0));
    let limit = cluster.connect_timeout();
    let rows = runtime.block_on(async {
        let own = own::connect(cluster, &server, database, limit).await?;
        catalogs::ask(&own, limit).await
    })?;
    Ok(Catalog::build(&rows, set.overrides()))
}

struct Asked<'a> {
    by: &'a Explain,
    set: &'a PolicySet,
    catalog: &'a Catalog,
    place: Option<&'a Place<'a>>,
}

impl Asked<'_> {
    fn explain(&self, text: &str) -> Explanation {
        let sql = text.as_bytes();
        let rules = LexRules::default();
        let mut analyzer = Analyzer::<()>::new(1);
        let analysis = analyzer.analyze(sql, rules);
        let class = classify(analysis.facts, self.catalog);
        let database = self.by.database.as_deref();
        let database = database.or(self.place.map(Place::name));
        let is_replica = |server: &config::ServerConfig| server.expected == config::Role::Replica;
        let alone = self.place.is_some_and(|place| !place.cluster.servers.iter().any(is_replica));
        let mut told = explain(&Question {
            set: self.set,
            view: StatementView {
                facts: analysis.facts,
                sql,
                rules,
                literals: analysis.literals,
                commented: analysis.commented,
                in_transaction: self.by.in_transaction,
                parameter: &|_| None,
            },
            class: &class,
            identity: Identity {
                user: &self.by.user,
                database: database.unwrap_or("app"),
                application: &self.by.application,
                client: self.by.client,
            },
            session: SessionView {
                held: if self.by.in_transaction { Held::Transaction(Role::Primary) } else { Held::Nothing },
                serializable: false,
                read_only: false,
                replicas: if alone { Replicas::None } else { Replicas::Fresh },
                wanted: if analysis.commented { hinted_route(sql, rules) } else { None },
            },
        });
        told.shards = self.shards_told(sql);
        told
    }

    fn shards_told(&self, sql: &[u8]) -> Vec<(String, String)> {
        let Some(sharded) = self.place.and_then(|place| place.sharded) else { return Vec::new() };
        let (tables, version) = (self.set.tables(), self.set.version());
        let terms = Terms {
            declared: Declared {
                tables,
                version,
                catalog: self.catalog,
                shards: sharded.shards.len(),
                rules: LexRules::default(),
            },
            coordinator: sharded.coordinator.as_deref(),
            two_phase: sharded.writes == WritesAcross::TwoPhase,
            parameters: None,
        };
        let mut rows = told(sql, &terms);
        if self.by.offline {
            let told =
                "no server was asked: columns and their types are not known, and no value leads to a shard";
            rows.push(("assumed".to_owned(), told.to_owned()));
        }
        rows
    }
}
