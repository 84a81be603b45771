//! The admin console: who may use it, what it shows, what it makes of nonsense, and that drivers get along with it.
use std::process::Command;

use pointsman_tests::{Credentials, Frame, Proxy, Secret, Wire, eventually, msg, pretty, tags};

use crate::common::{ADMIN, SOON, row_of, shared, show, unique};

/// What `psql` prints: unaligned, values between bars.
fn psql(proxy: &Proxy, arguments: &[&str]) -> String {
    let mut command = Command::new("psql");
    command.args([
        "-X",
        "-A",
        "-h",
        "127.0.0.1",
        "-p",
        &proxy.port.to_string(),
        "-U",
        "alice",
        "-d",
        "pointsman",
    ]);
    pointsman_tests::tools::run(command.args(arguments).env("PGPASSWORD", "password"))
}

async fn refused(proxy: &Proxy, user: &str, password: &str) -> Frame {
    let mut wire = Wire::connect(proxy.port).await;
    let credentials =
        Credentials::new(&[("user", user), ("database", "pointsman")], Secret::Password(password));
    match wire.authenticate(&credentials).await {
        Ok(_) => panic!("{user} is let in"),
        Err(frames) => frames.into_iter().find(|frame| frame.tag == b'E').expect("an error"),
    }
}

/// PgBouncer's columns come first, under their names and in their order.
#[tokio::test]
async fn psql_sees_pgbouncers_columns() {
    let proxy = shared().await.proxy(ADMIN).await;
    proxy.wire().await.run("SELECT 1").await;
    for (table, columns) in [
        (
            "POOLS",
            "database|user|cl_active|cl_waiting|cl_active_cancel_req|cl_waiting_cancel_req|sv_active|\
             sv_active_cancel|sv_being_canceled|sv_idle|sv_used|sv_tested|sv_login|maxwait|maxwait_us|pool_mode",
        ),
        (
            "stats;",
            "database|total_server_assignment_count|total_xact_count|total_query_count|total_received|\
             total_sent|total_xact_time|total_query_time|total_wait_time|total_client_parse_count|\
             total_server_parse_count|total_bind_count|avg_server_assignment_count|avg_xact_count|\
             avg_query_count|avg_recv|avg_sent|avg_xact_time|avg_query_time|avg_wait_time",
        ),
        (
            "CLIENTS",
            "type|user|database|replication|state|addr|port|local_addr|local_port|connect_time|request_time|\
             wait|wait_us|close_needed|ptr|link|remote_pid|tls|application_name|prepared_statements|id",
        ),
        (
            "DATABASES",
            "name|host|port|database|force_user|pool_size|min_pool_size|reserve_pool_size|server_lifetime|\
             pool_mode|load_balance_hosts|max_connections|current_connections|max_client_connections|\
             current_client_connections|paused|disabled",
        ),
        ("LISTS", "list|items"),
        ("CONFIG", "key|value|default|changeable"),
        ("STATS_TOTALS", "database|total_server_assignment_count|total_xact_count"),
        ("STATS_AVERAGES", "database|avg_server_assignment_count|avg_xact_count"),
        (
            "SERVERS",
            "cluster|address|role|state|timeline|lag_bytes|lag_seconds|round_trip_us|connections|idle|outstanding",
        ),
        ("POLICIES", "name|file|rules|functions"),
        ("RULES", "policy|rule|mode|actions|matched|refused|timed_out|impossible|file|line"),
        (
            "SHARDS",
            "database|shard|cluster|server_database|primary|state|replicas|replicas_up|queries|paused",
        ),
        ("SHARD_STATS", "database|what|reason|count"),
        ("TWO_PHASE", "database|shard|cluster|gid|owner|age_seconds|reason|stuck"),
        ("RELOADS", "taken|refused|in_use_since|last_outcome|last_time|last_cause|last_error"),
        ("HELP", "command|what"),
        ("VERSION", "version\nPointsman "),
    ] {
        let printed = psql(&proxy, &["-c", &format!("SHOW {table}")]);
        assert!(printed.starts_with(columns), "{table}:\n{printed}");
    }
}

/// Rows say what is: pools, servers, databases, clients, policies.
#[tokio::test]
async fn tables_say_what_is() {
    let stage = shared().await;
    let file = stage.dir().join(unique("policy"));
    let policy = "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: shown}\nspec: {functions: {f: stable, g: volatile}}\n";
    std::fs::write(&file, policy).expect("a policy file");
    let proxy = stage.proxy(&format!("{ADMIN}policies: [{}]\n", file.display())).await;
    let console = proxy.console().await;
    let parameters = [("user", "app"), ("database", "app"), ("application_name", "first")];
    let mut wire = Wire::login_with(proxy.port, &parameters).await;
    wire.run("BEGIN").await;
    wire.run("CREATE TEMPORARY TABLE held (id int)").await;
    let pool = row_of(&console, "SHOW POOLS", "user", "app").await;
    let said = |name: &str| pool[name].as_str();
    assert_eq!(
        [said("database"), said("cl_active"), said("cl_waiting"), said("sv_active")],
        ["app", "1", "0", "1"]
    );
    let client = row_of(&console, "SHOW CLIENTS", "user", "app").await;
    assert_eq!(
        [&client["state"], &client["application_name"], &client["database"]],
        ["active", "first", "app"]
    );
    assert_eq!(client["link"], format!("127.0.0.1:{}", stage.primary.port));
    assert_eq!([&client["addr"], &client["local_port"]], ["127.0.0.1", &proxy.port.to_string()]);
    wire.run("COMMIT").await;
    let pins = || async { row_of(&console, "SHOW CLIENTS", "user", "app").await["pins"].clone() };
    eventually("the pin is shown", SOON, || async { pins().await == "temporary relation" }).await;
    wire.run("SET application_name TO 'it''s'").await;
    wire.ask(&[msg::parse("one", "SELECT 1"), msg::sync()].concat()).await;
    let client = row_of(&console, "SHOW CLIENTS", "user", "app").await;
    assert_eq!(
        [&client["application_name"], &client["prepared_statements"], &client["pins"]],
        ["it's", "1", "temporary relation"]
    );
    wire.run("DISCARD ALL").await;
    let idle = || async { row_of(&console, "SHOW CLIENTS", "user", "app").await["state"] == "idle" };
    eventually("the client holds nothing", SOON, idle).await;
    let servers = show(&console, "SHOW SERVERS").await;
    let roles: Vec<&str> = servers.iter().map(|row| row["role"].as_str()).collect();
    assert_eq!(roles, ["primary", "replica"]);
    assert!(servers.iter().all(|row| row["state"] == "up"), "{servers:?}");
    let database = row_of(&console, "SHOW DATABASES", "name", "app").await;
    assert_eq!([&database["port"], &database["paused"]], [&stage.primary.port.to_string(), "0"]);
    let policy = row_of(&console, "SHOW POLICIES", "name", "shown").await;
    assert_eq!((policy["functions"].as_str(), policy["file"].as_str()), ("2", &*file.display().to_string()));
    let admin = row_of(&console, "SHOW CONFIG", "key", "auth.admins").await;
    assert_eq!(admin["value"], "alice");
    let config = format!("{:?}", show(&console, "SHOW CONFIG").await);
    assert!(!config.contains("password"), "secrets are not shown");
}

/// What is counted is what was run.
#[tokio::test]
async fn statistics_are_what_was_run() {
    let proxy = shared().await.proxy(ADMIN).await;
    let console = proxy.console().await;
    let mut wire = proxy.wire().await;
    for _ in 0..3 {
        wire.run("SELECT 1").await;
    }
    wire.run("BEGIN").await;
    wire.run("SELECT pg_sleep(0.05)").await;
    wire.run("SELECT pg_sleep(0.05)").await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    wire.run("COMMIT").await;
    wire.ask(
        &[msg::parse("s", "SELECT 2"), msg::bind("", "s", &[]), msg::execute("", 0), msg::sync()].concat(),
    )
    .await;
    // Two in one write, answered one after the other.
    wire.send(
        &[msg::statement("SELECT 3", &[]), msg::sync(), msg::statement("SELECT 4", &[]), msg::sync()]
            .concat(),
    )
    .await;
    wire.until(b'Z').await;
    wire.until(b'Z').await;
    let stats = row_of(&console, "SHOW STATS", "database", "app").await;
    let number = |name: &str| stats[name].parse::<u64>().expect("a number");
    assert_eq!(number("total_query_count"), 10, "{stats:?}");
    assert_eq!(number("total_xact_count"), 7, "{stats:?}");
    assert_eq!(
        [number("total_client_parse_count"), number("total_server_parse_count"), number("total_bind_count")],
        [1; 3]
    );
    assert!(number("total_received") > 0 && number("total_sent") > number("total_received"), "{stats:?}");
    let (query, transaction) = (number("total_query_time"), number("total_xact_time"));
    assert!(query >= 100_000 && transaction >= query + 190_000, "{stats:?}");
    assert_eq!(number("avg_query_count"), 0, "no period is over yet");
    let labels = ["database=\"app\"", "cluster=\"default\""];
    assert_eq!(proxy.metric("pointsman_database_queries_total", &labels).await, 10.0);
    assert_eq!(proxy.metric("pointsman_database_transactions_total", &labels).await, 7.0);
}

/// A wait for a connection is counted as such, and not as a query's time.
#[tokio::test]
async fn waiting_is_counted_apart() {
    let proxy = shared().await.proxy(&format!("{ADMIN}pool: {{size: 1, checkout_timeout: 10s}}\n")).await;
    let console = proxy.console().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.run("BEGIN").await;
    one.run("SELECT txid_current()").await;
    two.send(&msg::query("SELECT txid_current()")).await;
    let waiting = || async { row_of(&console, "SHOW POOLS", "user", "app").await["cl_waiting"] == "1" };
    eventually("the second waits", SOON, waiting).await;
    let states = show(&console, "SHOW CLIENTS").await;
    assert_eq!(states.iter().filter(|row| row["state"] == "waiting").count(), 1, "{states:?}");
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    one.run("COMMIT").await;
    two.until(b'Z').await;
    let stats = row_of(&console, "SHOW STATS", "database", "app").await;
    assert!(stats["total_wait_time"].parse::<u64>().expect("a number") >= 150_000, "{stats:?}");
    assert_eq!(row_of(&console, "SHOW POOLS", "user", "app").await["cl_waiting"], "0");
}

/// Admins alone, once they have proven who they are; without `auth.admins` nobody.
#[tokio::test]
async fn only_admins_may_come_in() {
    let stage = shared().await;
    let proxy = stage.proxy(ADMIN).await;
    let error = refused(&proxy, "app", "password").await;
    assert_eq!(
        (error.sqlstate().as_str(), error.field('H').as_str()),
        ("42501", "List the user in auth.admins.")
    );
    assert_eq!(refused(&proxy, "alice", "wrong").await.sqlstate(), "28P01");
    assert_eq!(
        refused(&proxy, "app", "wrong").await.sqlstate(),
        "28P01",
        "strangers do not learn who is an admin"
    );
    let nobody = stage.proxy("").await;
    let error = refused(&nobody, "alice", "password").await;
    assert_eq!(
        (error.sqlstate().as_str(), error.field('H').as_str()),
        ("42501", "List the users who may in auth.admins.")
    );
}

/// An admin that is not listed is verified as any role of PostgreSQL's is.
#[tokio::test]
async fn an_admin_may_be_any_role() {
    let stage = shared().await;
    let role = unique("console_role");
    let create = format!("CREATE ROLE {role} LOGIN PASSWORD 'password'");
    stage.primary.admin().await.batch_execute(&create).await.expect("a role");
    let proxy = stage.proxy(&format!("auth: {{auth_query: {{}}, admins: [{role}, alice]}}\n")).await;
    assert_eq!(refused(&proxy, &role, "wrong").await.sqlstate(), "28P01");
    let mut wire = Wire::login(proxy.port, &role, "pointsman").await;
    assert!(wire.value("SHOW VERSION").await.starts_with("Pointsman"));
}

/// Nonsense is told so, with what was probably meant, and the session goes on.
#[tokio::test]
async fn nonsense_is_refused_and_harms_nobody() {
    let proxy = shared().await.proxy(ADMIN).await;
    let mut wire = Wire::login(proxy.port, "alice", "pointsman").await;
    let frames = wire.query("SHOW POLS").await;
    assert_eq!((tags(&frames).as_str(), frames[0].sqlstate().as_str()), ("EZ", "42601"));
    assert!(frames[0].field('H').contains("POOLS") && frames[0].field('H').contains("SHOW HELP"));
    for text in ["SELECT 1", "BEGIN", "SHOW", "PAUSE a b", "'", "/*"] {
        assert_eq!(wire.error(text).await, "42601", "{text}");
    }
    assert_eq!(wire.error("PAUSE nowhere").await, "3D000");
    assert_eq!(wire.error("RESUME").await, "55000");
    assert_eq!(tags(&wire.query(" ; -- ping").await), "IZ");
    assert_eq!(tags(&wire.ask(&msg::message(b'Q', b"SHOW \xff\0")).await), "EZ");
    assert_eq!(tags(&wire.ask(&msg::message(b'Q', b"no end")).await), "EZ");
    assert_eq!(tags(&wire.ask(&msg::function_call(1, &[])).await), "EZ");
    let rest = [msg::bind("", "", &[]), msg::execute("", 0), msg::sync()].concat();
    let frames = wire.ask(&[msg::parse("", "SHOW $1 POOLS"), rest.clone()].concat()).await;
    assert_eq!(
        (tags(&frames).as_str(), frames[0].sqlstate().as_str()),
        ("EZ", "42601"),
        "the rest is skipped"
    );
    let frames = wire
        .ask(&[msg::parse("", "SHOW LISTS"), msg::bind("", "", &[Some("1")]), msg::sync()].concat())
        .await;
    assert_eq!((tags(&frames).as_str(), frames[1].sqlstate().as_str()), ("1EZ", "08P01"));
    let frames = wire.ask(&[msg::bind("", "missing", &[]), msg::sync()].concat()).await;
    assert_eq!(frames[0].sqlstate(), "26000");
    assert!(wire.value("SHOW VERSION").await.starts_with("Pointsman"));
    wire.send(&[b"Q".as_slice(), &(1_u32 << 20).to_be_bytes()].concat()).await;
    let frames = wire.until_closed().await;
    assert_eq!(
        (tags(&frames).as_str(), frames[0].sqlstate().as_str()),
        ("E", "08P01"),
        "too long for a command"
    );
    let mut wire = Wire::login(proxy.port, "alice", "pointsman").await;
    wire.send(b"?????").await;
    assert_eq!(tags(&wire.until_closed().await), "E");
    assert!(!proxy.exited());
}

/// The extended protocol, in either format, with rows fetched in portions.
#[tokio::test]
async fn statements_can_be_prepared() {
    let proxy = shared().await.proxy(ADMIN).await;
    let mut wire = Wire::login(proxy.port, "alice", "pointsman").await;
    let binary = msg::bind_with("p", "s", &[], [&[], &[1]]);
    let batch = [
        msg::parse("s", "SHOW LISTS"),
        msg::describe_statement("s"),
        binary,
        msg::describe_portal("p"),
        msg::execute("p", 2),
        msg::execute("p", 0),
        msg::close_portal("p"),
        msg::close_statement("s"),
        msg::sync(),
    ];
    let frames = wire.ask(&batch.concat()).await;
    let all = tags(&frames);
    assert!(all.starts_with("1tT2TDDsDDD") && all.ends_with("DC33Z"), "{}", pretty(&frames));
    let frames = wire
        .ask(
            &[
                msg::parse("", "RELOAD"),
                msg::describe_statement(""),
                msg::bind("", "", &[]),
                msg::execute("", 0),
                msg::sync(),
            ]
            .concat(),
        )
        .await;
    assert_eq!(tags(&frames), "1tn2CZ", "{}", pretty(&frames));
    let client = proxy.console().await;
    let rows = client.query("SHOW VERSION", &[]).await.expect("a prepared SHOW");
    assert!(rows[0].get::<_, String>("version").starts_with("Pointsman"));
}

/// psycopg and asyncpg, where `tests/drivers/run.sh` has installed them.
#[tokio::test]
async fn pythons_drivers_get_along() {
    let proxy = shared().await.proxy(ADMIN).await;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/drivers");
    let drivers = std::env::var("POINTSMAN_DRIVERS").unwrap_or_else(|_| root.to_owned());
    let python = std::path::Path::new(&drivers).join("venv/bin/python");
    if !python.exists() {
        eprintln!("{} is not there: nothing to try", python.display());
        return;
    }
    let script = "import sys, asyncio, psycopg, asyncpg\n\
        url = sys.argv[1]\n\
        with psycopg.connect(url, autocommit=True) as c:\n\
        \x20   cur = c.execute('SHOW LISTS')\n\
        \x20   print([d.name for d in cur.description], ('clusters', '1') in cur.fetchall())\n\
        async def main():\n\
        \x20   c = await asyncpg.connect(url)\n\
        \x20   print([r['items'] for r in await c.fetch('SHOW LISTS') if r['list'] == 'clusters'])\n\
        \x20   await c.close()\n\
        asyncio.run(main())\n";
    let url = format!("postgres://alice:password@127.0.0.1:{}/pointsman", proxy.port);
    let printed = pointsman_tests::tools::run(Command::new(python).args(["-c", script, &url]));
    assert_eq!(printed, "['list', 'items'] True\n['1']\n");
}

/// A drain ends the console's clients too.
#[tokio::test]
async fn a_drain_ends_the_console() {
    let proxy = shared().await.proxy(ADMIN).await;
    let mut wire = Wire::login(proxy.port, "alice", "pointsman").await;
    proxy.signal("TERM");
    let frames = wire.until_closed().await;
    assert_eq!((tags(&frames).as_str(), frames[0].sqlstate().as_str()), ("E", "57P01"));
    assert_eq!(proxy.wait_exit(SOON).await, 0);
}
