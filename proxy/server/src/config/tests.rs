//! What the reader makes of whole documents, and that the reference tells of every key.

use std::collections::BTreeSet;

use super::*;
use crate::client::config::{AuthMethod, Secret, User};
use crate::transport::config::{ClientCertificate, Listen, TlsMode};
use crate::upstream::config::{Address, Database, NodeLease, PoolConfig, PoolMode, Role};

const REFERENCE: &str = include_str!("../../CONFIG.md");
const URL: &str = "primary: postgres://u:p@h/\n";

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::from_yaml("p.yaml", text, Path::new(""))
}

/// The places and messages of what is wrong with `text`.
fn wrong(text: &str) -> Vec<(u64, u64, String)> {
    let problems = read(text).unwrap_err().problems;
    let parts = |problem: Problem| {
        let (line, column) = problem.place.unwrap_or((0, 0));
        (line, column, problem.message)
    };
    problems.into_iter().map(parts).collect()
}

/// Exactly one thing is wrong, there, and says so.
fn assert_wrong(text: &str, line: u64, column: u64, part: &str) {
    let found = wrong(text);
    assert_eq!(found.len(), 1, "{text}{found:?}");
    assert_eq!((found[0].0, found[0].1), (line, column), "{text}{found:?}");
    assert!(found[0].2.contains(part), "{text}{found:?}");
}

/// The YAML blocks of the reference.
fn examples() -> Vec<&'static str> {
    REFERENCE.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_reference_has_examples_that_work() {
    let examples = examples();
    assert_eq!(read(examples[0]).unwrap().clusters.len(), 1);
    let config = read(examples[1]).unwrap();
    assert_eq!((config.workers, config.templates_max, config.listen.len()), (4, 10_000, 2));
    assert_eq!(config.listen[1], Listen::Unix { path: "/run/pointsman/.s.PGSQL.6432".into(), mode: 0o770 });
    assert_eq!(config.limits.message_bytes_max, 64 << 20);
    let [social, rest] = &config.clusters[..] else { panic!("{:?}", config.clusters) };
    assert_eq!(social.databases[1], Database { name: "feed_archive".into(), server_name: "archive".into() });
    assert_eq!(social.servers[2].address, Address::Tcp { host: "db3.example".into(), port: 5433 });
    assert_eq!((social.servers[0].expected, social.servers[1].expected), (Role::Primary, Role::Replica));
    assert!(social.servers.iter().all(|server| server.tls.mode == TlsMode::Require));
    assert_eq!((social.user.as_str(), social.password.as_deref()), ("pointsman", Some("secret")));
    assert_eq!((rest.pool.mode, rest.maintenance_database.as_str()), (PoolMode::Session, "postgres"));
    let secret = Some(Secret::Password("4711".into()));
    assert_eq!(config.auth.users, [User { name: "reporter".into(), secret }]);
}

#[test]
fn the_reference_tells_of_every_key_and_of_no_other() {
    let everything = "listen: {unix: /a}\ntls: {}\nlimits: {}\nauth: {users: [{}], auth_query: {}}\n\
        cache: {changes: {}, redis: {}}\n\
        clusters: [{primary: 'postgres://u@h', databases: [{}], tls: {}, health: {}, pool: {}}]\n\
        sharded: [{}]\nplugins: [{limits: {}, kv: {}, lookup: {}, on_failure: {}}]\nplugin_host: {}\n";
    let mut problems = Problems::new("p.yaml", everything, Path::new(""));
    read::read_document(everything, &mut problems);
    let shorthand = [
        "primary",
        "replicas",
        "databases",
        "server_tls",
        "pool",
        "health",
        "consistency",
        "max_lag",
        "catch_up_wait",
        "failover_wait",
        "slow_start",
        "catalog_refresh",
        "lsn_interval",
    ];
    let known: BTreeSet<String> = problems
        .known()
        .iter()
        .filter(|key| !shorthand.contains(&key.as_str()))
        .map(|key| key.replace("listen.", "listen[]."))
        .collect();
    let row = |line: &'static str| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key.to_owned());
    let told: BTreeSet<String> = REFERENCE.lines().filter_map(row).collect();
    assert_eq!(known.symmetric_difference(&told).collect::<Vec<_>>(), Vec::<&String>::new());
    for key in shorthand {
        assert!(REFERENCE.contains(&format!("`{key}`")), "{key}");
    }
}

const SHARDS: &str =
    "clusters:\n  - {name: a, primary: 'postgres://u@h/x'}\n  - {name: b, primary: 'postgres://u@i/x'}\n";

#[test]
fn shards_are_clusters_that_serve_nothing_by_themselves() {
    let config = read(&format!(
        "{SHARDS}sharded: [{{name: social, shards: [b, a], cross_shard_writes: two_phase}}]\n"
    ))
    .unwrap();
    let [social] = &config.sharded[..] else { panic!("{:?}", config.sharded) };
    assert_eq!(
        (social.name.as_str(), social.shards.as_slice()),
        ("social", &["b".to_owned(), "a".to_owned()][..])
    );
    assert_eq!(social.writes, crate::upstream::config::WritesAcross::TwoPhase);
    assert!(config.clusters.iter().all(|cluster| !cluster.takes_any()));
}

#[test]
fn shards_that_are_not_there_are_told_with_their_place() {
    assert_wrong(
        &format!("{SHARDS}sharded: [{{name: s, shards: [a, c, b]}}]\n"),
        4,
        33,
        "no cluster is named `c`",
    );
    assert_wrong(&format!("{SHARDS}sharded: [{{name: s, shards: [a, b, a]}}]\n"), 4, 36, "listed twice");
    assert_wrong(
        &format!("{SHARDS}sharded: [{{name: pointsman, shards: [a, b]}}]\n"),
        4,
        11,
        "admin console",
    );
}

#[test]
fn the_reference_names_the_defaults() {
    let config = read(URL).unwrap();
    let pool = PoolConfig::default();
    assert_eq!(config.clusters[0].pool, pool);
    for (key, default) in [
        ("templates_max", config.templates_max.to_string()),
        ("shutdown_timeout", format!("{:?}", config.shutdown_timeout)),
        ("watch", config.watch.to_string()),
        ("limits.clients_max", config.limits.clients_max.to_string()),
        ("limits.unauthenticated_max", config.limits.unauthenticated_max.to_string()),
        ("limits.login_timeout", format!("{:?}", config.limits.login_timeout)),
        ("limits.startup_bytes_max", config.limits.startup_bytes_max.to_string()),
        ("limits.message_bytes_max", config.limits.message_bytes_max.to_string()),
        ("limits.prepared_statements_max", config.limits.prepared_statements_max.to_string()),
        ("clusters[].health.interval", format!("{:?}", config.clusters[0].health_interval)),
        ("clusters[].health.timeout", format!("{:?}", config.clusters[0].health_timeout)),
        ("clusters[].health.slow", format!("{:?}", config.clusters[0].patience.slow)),
        ("clusters[].health.failures", config.clusters[0].patience.failures.to_string()),
        ("clusters[].health.recoveries", config.clusters[0].patience.recoveries.to_string()),
        ("clusters[].failover_wait", format!("{:?}", config.clusters[0].failover_wait)),
        ("clusters[].slow_start", format!("{:?}", config.clusters[0].slow_start)),
        ("clusters[].catalog_refresh", format!("{:?}", config.clusters[0].catalog_refresh)),
        ("clusters[].lsn_interval", format!("{:?}", config.clusters[0].lsn_interval)),
        ("cache.changes.publication", config.cache.changes.publication.clone()),
        ("cache.changes.lag_max", format!("{:?}", config.cache.changes.lag_max)),
        ("cache.changes.definitions_interval", format!("{:?}", config.cache.changes.definitions_interval)),
        ("clusters[].pool.size", pool.size.to_string()),
        ("clusters[].pool.checkout_timeout", format!("{:?}", pool.checkout_timeout)),
        ("clusters[].pool.waiters_max", pool.waiters_max.to_string()),
        ("clusters[].pool.connect_timeout", format!("{:?}", pool.connect_timeout)),
        ("clusters[].pool.login_retry", format!("{:?}", pool.login_retry)),
        ("clusters[].pool.login_retry_max", format!("{:?}", pool.login_retry_max)),
        ("clusters[].pool.prepared_statements_max", pool.prepared_statements_max.to_string()),
    ] {
        let row = REFERENCE.lines().find(|line| line.starts_with(&format!("| `{key}` ")));
        assert!(row.is_some_and(|row| row.contains(&format!("| `{default}` |"))), "{key} {default}: {row:?}");
    }
}

#[test]
fn the_consoles_database_is_its_own() {
    for databases in ["[app, pointsman]", "[app, {name: pointsman, server_name: x}]"] {
        assert_wrong(&format!("{URL}databases: {databases}\n"), 2, 18, "is the admin console's");
    }
    let database = Database { name: "mine".into(), server_name: "pointsman".into() };
    let config = read(&format!("{URL}databases: [{{name: mine, server_name: pointsman}}]\n")).unwrap();
    assert_eq!(config.clusters[0].databases, [database]);
}

#[test]
fn admins_are_users_names() {
    assert_eq!(read(&format!("{URL}auth: {{admins: [a, b]}}\n")).unwrap().auth.admins, ["a", "b"]);
    assert_eq!(read(URL).unwrap().auth.admins, Vec::<String>::new());
    assert_wrong(&format!("{URL}auth: {{admins: [a, a]}}\n"), 2, 20, "`a` is listed twice");
    assert_wrong(&format!("{URL}auth: {{admins: [1]}}\n"), 2, 17, "expected text");
    assert!(read(URL).unwrap().watch && !read(&format!("{URL}watch: false\n")).unwrap().watch);
}

#[test]
fn every_kind_of_mistake_has_its_place() {
    assert_wrong(
        &format!("{URL}lisen: 127.0.0.1:1\n"),
        2,
        1,
        "there is no key `lisen`; did you mean `listen`?",
    );
    assert_wrong(&format!("{URL}pool:\n  sise: 3\n"), 3, 3, "no key `sise` in `pool`; did you mean `size`?");
    assert_wrong(
        &format!("{URL}pool: {{size: 1, size: 2}}\n"),
        2,
        17,
        "`size` is written twice in `pool`, first in line 2",
    );
    assert_wrong(&format!("{URL}pool: {{size: many}}\n"), 2, 14, "from 1 to 262143, found `many`");
    assert_wrong(&format!("{URL}pool: {{size: 0}}\n"), 2, 14, "from 1 to 262143, found 0");
    assert_wrong(&format!("{URL}consistency: strct\n"), 2, 14, "did you mean `strict`?");
    assert_wrong(&format!("{URL}health: {{failures: 0}}\n"), 2, 20, "from 1 to 1000, found 0");
    assert_wrong(&format!("{URL}pool: [1]\n"), 2, 7, "expected keys with values, found a list");
    assert_wrong(&format!("{URL}pool: {{mode: sesion}}\n"), 2, 14, "did you mean `session`?");
    assert_wrong(&format!("{URL}pool: {{recycle: 5}}\n"), 2, 17, "did you mean `5s`?");
    assert_wrong(&format!("{URL}pool: {{recycle: 5 parsecs}}\n"), 2, 17, "found `5 parsecs`");
    assert_wrong(&format!("{URL}limits: {{startup_bytes_max: 1TiB}}\n"), 2, 29, "found `1TiB`");
    assert_wrong(&format!("{URL}listen: localhost:6432\n"), 2, 9, "did you mean `127.0.0.1:6432`?");
    assert_wrong(&format!("{URL}listen: []\n"), 1, 1, "`listen` is empty");
    assert_wrong(&format!("{URL}listen: {{unix: /a, mode: 0o1777}}\n"), 2, 26, "permission bits");
    assert_wrong(&format!("{URL}admin: 9930\n"), 2, 8, "expected text");
    assert_wrong(&format!("{URL}policies: [absent.yaml]\n"), 2, 12, "absent.yaml: there is no such file");
    assert_wrong(&format!("{URL}policies: [/]\n"), 2, 12, "is a directory");
    assert_wrong(&format!("{URL}auth: {{users: [{{name: a, md5: x}}]}}\n"), 2, 31, "32 hexadecimal digits");
    assert_wrong(&format!("{URL}auth: {{users: [{{name: a}}, {{name: a}}]}}\n"), 2, 27, "listed twice");
    assert_wrong(&format!("{URL}auth: {{auth_query: {{sql: SELECT 1}}}}\n"), 2, 26, "does not use `$1`");
    assert_wrong(&format!("{URL}auth: {{method: certificate}}\n"), 1, 1, "needs `tls.client_ca`");
    assert_wrong(&format!("{URL}auth: {{method: cleartext}}\n"), 1, 1, "needs `tls`");
    assert_wrong("primary: mysql://h\n", 1, 10, "expected a URL");
    assert_wrong("primary: postgres://h\n", 1, 10, "names no user");
    assert_wrong(&format!("{URL}replicas: [postgres://h]\n"), 2, 12, "h:5432 is listed twice");
    assert_wrong(&format!("{URL}replicas: [postgres://v@i]\n"), 2, 12, "the same user");
    assert_wrong(
        &format!("{URL}server_tls: {{certificate: Cargo.toml}}\n"),
        1,
        10,
        "a certificate needs its key",
    );
    assert_wrong(
        &format!("{URL}clusters: [{{name: a, primary: 'postgres://u@h'}}]\n"),
        1,
        1,
        "`primary` at the top",
    );
    assert_wrong("", 1, 1, "`primary` is missing");
    assert_wrong("a: [1\nb: 2\n", 2, 2, "");
    assert_wrong(&format!("{URL}---\nb: 2\n"), 3, 1, "second document");
}

#[test]
fn clusters_are_apart_and_the_default_comes_last() {
    let two = |one: &str, other: &str| {
        let cluster =
            |name: &str, rest: &str| format!("  - {{name: {name}, primary: 'postgres://u@{name}'{rest}}}\n");
        format!("clusters:\n{}{}", cluster("a", one), cluster("b", other))
    };
    let config = read(&two("", ", databases: x")).unwrap();
    assert_eq!(config.clusters.iter().map(|cluster| cluster.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_wrong(&two("", ""), 3, 5, "both take any database");
    assert_wrong(
        &two(", databases: [x, y]", ", databases: [{name: y}]"),
        3,
        5,
        "`y` is already in cluster `a`",
    );
    assert_wrong(&two(", databases: [x, x]", ""), 2, 57, "listed twice");
}

#[test]
fn many_mistakes_are_told_at_once_and_in_order() {
    let found = wrong("workers: 0\npool: {sise: 1, recycle: x}\nadmin: y\n");
    let places: Vec<_> = found.iter().map(|(line, column, _)| (*line, *column)).collect();
    assert_eq!(places, [(1, 1), (1, 10), (2, 8), (2, 26), (3, 8)]);
}

#[test]
fn an_error_shows_its_line_but_no_secret() {
    let error = read("primary: postgres://u:hush@h/?sslmode=x\nauth: {users: [{name: a, pasword: hush}]}\n")
        .unwrap_err();
    let text = error.to_string();
    assert!(!text.contains("hush"), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("p.yaml:1:10: `primary`: the URL's sslmode `x` is unknown"), "{text}");
    assert_eq!(lines[1], "    1 | primary: postgres://u:***@h/?sslmode=x");
    assert_eq!(lines[2], "      |          ^");
    assert_eq!(lines[4], "    2 | auth: {users: [{name: a, pasword: ***");
}

#[test]
fn tls_settings_come_from_the_url_first() {
    let tls = |text: &str| read(text).unwrap().clusters[0].servers[0].tls.clone();
    assert_eq!(tls(URL).mode, TlsMode::Prefer);
    let url = "primary: postgres://u@h/?sslmode=disable\nserver_tls: {mode: verify-full}\n";
    assert_eq!(tls(url).mode, TlsMode::Disable);
    assert_eq!(
        tls("primary: postgres://u@h/?sslmode=require&sslrootcert=Cargo.toml").mode,
        TlsMode::VerifyCa
    );
    let system = tls("primary: postgres://u@h/?sslrootcert=system\n");
    assert_eq!((system.mode, system.ca), (TlsMode::VerifyFull, None));
    let text = format!("{URL}tls: {{certificate: Cargo.toml, key: Cargo.toml, client_ca: Cargo.toml}}\n");
    let config = read(&text).unwrap();
    assert_eq!(config.tls.unwrap().client_certificate, ClientCertificate::Optional);
}

#[test]
fn a_file_is_found_beside_its_configuration() {
    let directory = std::env::temp_dir().join(format!("pointsman-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("p.yaml");
    std::fs::write(
        &path,
        format!("{URL}auth: {{userlist: users.txt, users: [{{name: b, password: new}}]}}\n"),
    )
    .unwrap();
    std::fs::write(directory.join("users.txt"), "\"a\" \"x\"\n\"b\" \"old\"\n").unwrap();
    let auth = Config::from_file(&path).unwrap().auth;
    let store = crate::client::users::UserStore::new(&auth);
    assert_eq!(store.lookup("b").unwrap().secret, Some(Secret::Password("new".into())));
    assert_eq!((store.len(), auth.auth_query), (2, None));
    std::fs::write(directory.join("users.txt"), "\"a\" \"x\"\nb\n").unwrap();
    let error = Config::from_file(&path).unwrap_err().to_string();
    let users = directory.join("users.txt");
    assert_eq!(error, format!("{}:2:1: expected a user's name in double quotes", users.display()));
    std::fs::remove_dir_all(&directory).unwrap();
    let error = Config::from_file(&path).unwrap_err().to_string();
    assert_eq!(error, format!("{}: there is no such file", path.display()));
}

#[test]
fn flags_describe_one_cluster() {
    let flags = Flags { primary: "postgres://u:p@h/".into(), ..Flags::default() };
    let config = Config::from_flags(&flags).unwrap();
    assert_eq!(config, Config { workers: config.workers, ..read(URL).unwrap() });
    assert_eq!(config.auth.method, AuthMethod::Scram);
    assert!(config.auth.auth_query.is_some());
    let flags = Flags {
        listen: vec!["/run/x".into(), "nowhere".into()],
        primary: "postgres://h".into(),
        replicas: vec!["x".into()],
        pool_size: Some(0),
        userlist: Some("absent".into()),
        policies: vec!["absent".into()],
        admin: Some(":1".into()),
        workers: Some(0),
        ..Flags::default()
    };
    let problems = Config::from_flags(&flags).unwrap_err().problems;
    let told: Vec<_> =
        problems.iter().map(|problem| problem.message.split(':').next().unwrap_or("")).collect();
    for flag in ["--primary", "--replica", "--pool-size", "--listen", "--policy", "--admin", "--workers"] {
        assert!(told.contains(&flag), "{flag}: {told:?}");
    }
    assert!(problems.iter().any(|problem| problem.file == "absent"), "{problems:?}");
}

#[test]
fn a_policy_is_told_from_a_configuration() {
    assert!(is_policy("apiVersion: pointsman/v1\nkind: Policy\n"));
    assert!(!is_policy(URL) && !is_policy("kind: [") && !is_policy("- kind: Policy\n"));
}

#[test]
fn a_node_is_set_or_leased() {
    let redis = "cache: {redis: {urls: ['redis://h/'], prefix: 'p:'}}\n";
    let of = |node: &str| format!("{SHARDS}sharded: [{{name: s, shards: [a, b]{node}}}]\n");
    let lease = |text: &str| read(text).unwrap().sharded[0].node_lease.clone();
    assert_eq!(lease(&of("")), NodeLease::Table);
    assert_eq!(lease(&of(", node_lease: table")), NodeLease::Table);
    let leased = lease(&format!("{}{redis}", of(", node_lease: redis")));
    let NodeLease::Redis(leased) = leased else { panic!("{leased:?}") };
    assert_eq!(leased.prefix, "p:");
    for (node, redis, part) in [
        (", node_lease: redis", "", "there is no `cache.redis`"),
        (", node_lease: rediss", redis, "did you mean `redis`"),
        (", node: 3, node_lease: redis", redis, "where `node` is set"),
        (", node: 3, node_lease: table", "", "where `node` is set"),
    ] {
        let found = wrong(&format!("{}{redis}", of(node)));
        assert!(found.len() == 1 && found[0].0 == 4 && found[0].2.contains(part), "{node}: {found:?}");
    }
}

#[test]
fn the_cache_says_what_is_wrong_with_it() {
    let top = "primary: postgres://u@h\n";
    let cache = read(&format!("{top}cache: {{memory: 64MiB, changes: {{slot: mine}}}}\n")).unwrap().cache;
    assert_eq!((cache.memory, cache.changes.slot.as_deref()), (64 << 20, Some("mine")));
    assert_eq!(read(&format!("{top}cache: {{memory: 0}}\n")).unwrap().cache.memory, 0);
    for (text, part) in [
        ("cache: {memory: 1MiB, max_entry: 512KiB}", "an eighth"),
        ("cache: {changes: {slot: 'My-Slot'}}", "lower-case letters"),
        ("cache: {changes: {mode: on}}", "`auto`"),
        ("cache: {redis: {}}", "`cache.redis.urls` is missing"),
        ("cache: {redis: {urls: ['http://x']}}", "redis://"),
        ("cache: {redis: {urls: ['redis://x'], prefix: 'a b'}}", "prefix"),
        ("cache: {redis: {urls: ['redis://x'], password_file: nowhere}}", "no such file"),
        ("cache: {redis: {urls: ['redis://x/3'], cluster: true}}", "without a database"),
        ("cache: {size: 1}", "no key `size`"),
    ] {
        let found = wrong(&format!("{top}{text}\n"));
        assert!(found.len() == 1 && found[0].0 == 2 && found[0].2.contains(part), "{text}: {found:?}");
    }
}
