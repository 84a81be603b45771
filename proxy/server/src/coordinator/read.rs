//! What the shards' own definitions say of their tables.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;

use super::{Column, Locale, Remote, Table};
use crate::fault::Fault;
use crate::transport::config::{ServerTls, TlsMode};
use crate::upstream::config::{Address, ClusterConfig, Role};
use crate::upstream::own::{self, Own};
use crate::upstream::server::Server;

/// Tables that are no part of another one, outside of PostgreSQL's own schemas and ours, with their columns in order.
const TABLES: &str = "\
SELECT n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
  CASE WHEN a.attcollation <> t.typcollation THEN format('%I.%I', k.nspname, l.collname) END, t.typcollation <> 0
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_namespace k ON k.oid = l.collnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname <> 'pointsman' AND n.nspname !~ '^pg_'
ORDER BY 1, 2, a.attnum";

const LOCALE: &str =
    "SELECT datcollate::text, datctype::text FROM pg_database WHERE datname = current_database()";

/// One shard's tables, in the order of their names, and how its database sorts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The tables.
    pub tables: Vec<Table>,
    /// How its database sorts.
    pub locale: Locale,
}

/// Connects to the server that is configured as the primary.
///
/// # Errors
/// There is none, or it cannot be reached.
pub async fn connect(cluster: &ClusterConfig, database: &str) -> Result<Own, Fault> {
    let expected = cluster.servers.iter().find(|server| server.expected == Role::Primary);
    let server = expected
        .ok_or_else(|| Fault::pointsman("F0000", format!("no primary is configured for {}", cluster.name)))?;
    let server = Arc::new(Server::new(server.clone(), 0));
    own::connect(cluster, &server, database, cluster.connect_timeout()).await
}

/// Asks a shard for its tables.
///
/// # Errors
/// The shard cannot be asked.
pub async fn tables(cluster: &ClusterConfig, database: &str, limit: Duration) -> Result<Found, Fault> {
    let own = connect(cluster, database).await?;
    let locale = own::ask(limit, own.query_one(LOCALE, &[])).await?;
    let locale = Locale { collate: text(&locale, 0), ctype: text(&locale, 1) };
    let mut tables: Vec<Table> = Vec::new();
    for row in own::ask(limit, own.query(TABLES, &[])).await? {
        let (schema, name) = (text(&row, 0), text(&row, 1));
        if tables.last().is_none_or(|last| last.schema != schema || last.name != name) {
            tables.push(Table { schema, name, columns: Vec::new() });
        }
        let column = Column {
            name: text(&row, 2),
            type_name: text(&row, 3),
            not_null: row.try_get(4).unwrap_or(false),
            collation: row.try_get(5).ok().flatten(),
            is_text: row.try_get(6).unwrap_or(false),
        };
        if let Some(table) = tables.last_mut() {
            table.columns.push(column);
        }
    }
    Ok(Found { tables, locale })
}

fn text(row: &Row, column: usize) -> String {
    row.try_get(column).unwrap_or_default()
}

/// What another shard has otherwise than the first, of a table that both are to have.
pub fn difference(table: &Table, shard: usize, other: &Found) -> Option<String> {
    let whole = format!("table {}.{}", table.schema, table.name);
    let there = other.tables.iter().find(|there| there.schema == table.schema && there.name == table.name);
    let Some(there) = there else { return Some(format!("{whole} is not on shard {shard}")) };
    let missing = |one: &Table, another: &Table| {
        one.columns.iter().find(|column| !another.columns.contains(column)).map(|column| column.name.clone())
    };
    let column = missing(table, there).or_else(|| missing(there, table))?;
    Some(format!("{whole}: column {column} is not the same on shard {shard} as on shard 0"))
}

/// How the coordinator reaches a shard: all of its servers, of which the one that takes writes is chosen.
pub fn remote(cluster: &ClusterConfig, database: &str) -> Remote {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for server in &cluster.servers {
        let (host, port) = match &server.address {
            Address::Tcp { host, port } => (host.clone(), port.to_string()),
            Address::Unix(path) => socket(path),
        };
        hosts.push(host);
        ports.push(port);
    }
    let mut options = vec![
        ("host".to_owned(), hosts.join(",")),
        ("port".to_owned(), ports.join(",")),
        ("dbname".to_owned(), database.to_owned()),
    ];
    if cluster.servers.len() > 1 {
        options.push(("target_session_attrs".to_owned(), "read-write".to_owned()));
    }
    if let Some(server) = cluster.servers.first() {
        options.extend(tls(&server.tls));
    }
    Remote { options, user: cluster.user.clone(), password: cluster.password.clone() }
}

/// libpq has the directory of a socket for its host, and its number for its port.
fn socket(path: &Path) -> (String, String) {
    let directory = path.parent().unwrap_or(Path::new("")).display().to_string();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let port = name.rsplit('.').next().filter(|port| port.parse::<u16>().is_ok()).unwrap_or("5432");
    (directory, port.to_owned())
}

fn tls(tls: &ServerTls) -> Vec<(String, String)> {
    let mode = match tls.mode {
        TlsMode::Disable => "disable",
        TlsMode::Allow => "allow",
        TlsMode::Prefer => "prefer",
        TlsMode::Require => "require",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::VerifyFull => "verify-full",
    };
    let ca = tls.ca.as_ref().map(|path| ("sslrootcert".to_owned(), path.display().to_string()));
    std::iter::once(("sslmode".to_owned(), mode.to_owned())).chain(ca).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_shard_is_reached_at_whichever_server_takes_writes() {
        let text =
            "primary: postgres://u:secret@db1:6000/d?sslmode=require\nreplicas: [\"postgres://%2Frun:7/\"]\n";
        let config = Config::from_yaml("p.yaml", text, Path::new("")).unwrap();
        let remote = remote(&config.clusters[0], "app");
        let option = |name: &str| {
            remote.options.iter().find(|(option, _)| option == name).map(|(_, value)| value.as_str())
        };
        assert_eq!((option("host"), option("port")), (Some("db1,/run"), Some("6000,7")));
        assert_eq!((option("dbname"), option("sslmode")), (Some("app"), Some("require")));
        assert_eq!(option("target_session_attrs"), Some("read-write"));
        assert_eq!((remote.user.as_str(), remote.password.as_deref()), ("u", Some("secret")));
    }

    #[test]
    fn shards_that_differ_are_told_apart() {
        let column = |name: &str, not_null| Column {
            name: name.into(),
            type_name: "int".into(),
            collation: None,
            not_null,
            is_text: false,
        };
        let table = |columns: Vec<Column>| Table { schema: "public".into(), name: "t".into(), columns };
        let found = |tables| Found { tables, locale: Locale { collate: "C".into(), ctype: "C".into() } };
        let first = table(vec![column("a", true), column("b", true)]);
        assert_eq!(
            difference(&first, 1, &found(vec![table(vec![column("b", true), column("a", true)])])),
            None
        );
        for (columns, name) in [
            (vec![column("a", true)], "column b"),
            (vec![column("a", true), column("b", false)], "column b"),
            (vec![column("a", true), column("b", true), column("c", true)], "column c"),
        ] {
            let told = difference(&first, 1, &found(vec![table(columns)])).unwrap();
            assert!(told.contains(name), "{told}");
        }
        assert!(difference(&first, 2, &found(Vec::new())).unwrap().contains("not on shard 2"));
    }
}
