//! Shards of a stage: databases that each hold a part of the rows, beside one that holds them all.
use std::fmt::Write as _;
use std::path::Path;

use tokio_postgres::Client;

use crate::server::{Plan, Server};
use crate::{PASSWORD, Wire, eventually};

/// The database that holds every row, on the stage's primary.
pub const WHOLE: &str = "whole";

/// The database that clients ask the proxy for. Without a proxy (`SUITES_DIRECT`) it is a second whole one.
pub const SOCIAL: &str = "social";

/// How a stage's shards are made.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShardPlan {
    pub(crate) count: usize,
    /// Each on a server of its own, with so many replicas; else all are databases of the primary.
    pub(crate) own_servers: Option<usize>,
    /// What follows `CREATE DATABASE`.
    pub(crate) create: String,
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    /// Its cluster's name.
    pub name: String,
    /// The port of its primary.
    pub port: u16,
    /// Its database.
    pub database: String,
    /// Its own server and that one's replicas; none if it is a database of the stage's primary.
    pub servers: Vec<Server>,
}

impl Shard {
    /// A direct connection that speaks frames, as `app`.
    pub async fn wire(&self) -> Wire {
        Wire::login(self.port, "app", &self.database).await
    }

    /// Its own server.
    ///
    /// # Panics
    /// When it is a database of the stage's primary.
    pub fn server(&self) -> &Server {
        self.servers.first().expect("the shard has a server of its own")
    }
}

/// Makes the databases, and servers if they are asked for.
pub(crate) async fn make(dir: &Path, primary: &Server, plan: &ShardPlan, servers: &Plan) -> Vec<Shard> {
    let mut shards = Vec::new();
    if plan.count == 0 {
        return shards;
    }
    create(primary, WHOLE, &plan.create).await;
    if crate::Proxy::is_direct() {
        create(primary, SOCIAL, &plan.create).await;
    }
    for number in 0..plan.count {
        let database = format!("shard{number}");
        let mut own = Vec::new();
        if let Some(replicas) = plan.own_servers {
            own.push(Server::new(dir, &database, servers).await);
            create(&own[0], &database, &plan.create).await;
            for replica in 0..replicas {
                let plan = Plan { follows: Some(own[0].port), ..servers.clone() };
                own.push(Server::new(dir, &format!("{database}-replica{replica}"), &plan).await);
            }
        } else {
            create(primary, &database, &plan.create).await;
        }
        let port = own.first().unwrap_or(primary).port;
        shards.push(Shard { name: format!("s{number}"), port, database, servers: own });
    }
    wait_replicas(&shards).await;
    shards
}

async fn create(server: &Server, database: &str, how: &str) {
    let how = if how.is_empty() { "TEMPLATE app" } else { how };
    let admin = server.admin_of("postgres").await;
    let sql = format!("CREATE DATABASE {database} OWNER app {how}");
    // Its template must have no other connection, and the one that was just closed may take a moment to go.
    eventually("the database is made", std::time::Duration::from_secs(20), || async {
        admin.batch_execute(&sql).await.inspect_err(|error| eprintln!("{sql}: {error:?}")).is_ok()
    })
    .await;
}

/// Replicas have the databases once they take connections to them.
async fn wait_replicas(shards: &[Shard]) {
    for shard in shards {
        for replica in shard.servers.iter().skip(1) {
            eventually("a replica has its database", std::time::Duration::from_secs(20), || async {
                replica.try_client("app", &shard.database).await.is_ok()
            })
            .await;
        }
    }
}

/// The configuration of clusters and what is sharded over them; `pool` are more keys of each cluster's pool.
pub(crate) fn yaml(shards: &[Shard], pool: &str) -> String {
    let url = |port: u16, shard: &Shard| {
        format!("'postgres://postgres:{PASSWORD}@127.0.0.1:{port}/{}'", shard.database)
    };
    let mut out = "clusters:\n".to_owned();
    for shard in shards {
        let replicas: Vec<String> =
            shard.servers.iter().skip(1).map(|server| url(server.port, shard)).collect();
        let (name, primary, replicas) = (&shard.name, url(shard.port, shard), replicas.join(", "));
        writeln!(out, "  - name: {name}\n    primary: {primary}\n    replicas: [{replicas}]")
            .expect("a string");
        writeln!(out, "    pool: {{size: 4, checkout_timeout: 10s{pool}}}").expect("a string");
        out.push_str("    health: {interval: 200ms, timeout: 2s}\n");
    }
    let names: Vec<&str> = shards.iter().map(|shard| shard.name.as_str()).collect();
    writeln!(
        out,
        "sharded:\n  - {{name: {SOCIAL}, shards: [{}], cross_shard_writes: two_phase}}",
        names.join(", ")
    )
    .expect("a string takes it");
    out
}

impl Server {
    /// A direct connection as the superuser to a database.
    pub async fn admin_of(&self, database: &str) -> Client {
        self.try_client("postgres", database).await.expect("the superuser logs in")
    }
}
