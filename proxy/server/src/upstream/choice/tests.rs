//! Which of several servers a read goes to.

use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::config::{Config, Flags};
use crate::upstream::config::Role;
use crate::upstream::election::Claim;

/// A primary and three replicas, all up and covered.
fn cluster() -> (Cluster, Arc<crate::upstream::account::Account>) {
    let flags = Flags {
        primary: "postgres://u:p@h0/".into(),
        replicas: (1..=3).map(|number| format!("postgres://h{number}")).collect(),
        ..Flags::default()
    };
    let config = Config::from_flags(&flags).unwrap().clusters.remove(0);
    let cluster = Cluster::new(config);
    for server in cluster.servers().iter() {
        server.set_said(if server.index == 0 { Role::Primary } else { Role::Replica });
        server.set_state(State::Up);
    }
    cluster.decide(&[Claim { server: 0, timeline: 1 }]);
    let account = cluster.account("d", "u");
    for index in 1..=3 {
        account.database.freshness.cover(index, account.database.freshness.written());
    }
    (cluster, account)
}

fn need(database: &Database) -> Need {
    Need { number: database.freshness.written(), max_lag: None, any: false, avoid: None }
}

/// How often each of the servers was picked in a thousand picks.
fn picks(cluster: &Cluster, database: &Database, need: Need) -> [usize; 4] {
    let mut counts = [0; 4];
    for _ in 0..1000 {
        if let Some(index) = cluster.pick_reader(database, &need) {
            counts[index] += 1;
        }
    }
    counts
}

#[test]
fn reads_are_spread_over_covered_replicas() {
    let (cluster, account) = cluster();
    let database = &account.database;
    let [primary, one, two, three] = picks(&cluster, database, need(database));
    assert!(primary == 0 && one > 200 && two > 200 && three > 200);
    database.freshness.note_all();
    assert_eq!(picks(&cluster, database, need(database)), [0; 4]);
    database.freshness.cover(2, database.freshness.written());
    assert_eq!(picks(&cluster, database, need(database)), [0, 0, 1000, 0]);
    assert_eq!(picks(&cluster, database, need(database).avoid(Some(2))), [0; 4]);
}

#[test]
fn busy_slow_and_late_replicas_get_less_or_nothing() {
    let (cluster, account) = cluster();
    let database = &account.database;
    let servers = cluster.servers();
    servers[1].outstanding.store(9, Ordering::Relaxed);
    servers[2].set_state(State::Slow);
    let [_, one, two, three] = picks(&cluster, database, need(database));
    assert_eq!((one, two, three), (0, 0, 1000), "the better of two, and no slow one");
    servers[1].set_state(State::Down);
    servers[3].set_state(State::Down);
    assert_eq!(picks(&cluster, database, need(database)), [0, 0, 1000, 0], "slow is better than none");
    servers[2].set_behind_since(Some(Instant::now()));
    std::thread::sleep(Duration::from_millis(3));
    let bounded = Need { max_lag: Some(Duration::from_millis(2)), ..need(database) };
    assert_eq!(picks(&cluster, database, bounded), [0; 4]);
    servers[2].set_behind_since(None);
    assert_eq!(picks(&cluster, database, bounded), [0, 0, 1000, 0]);
}

#[test]
fn one_that_has_come_back_starts_slowly_unless_it_is_the_only_one() {
    let (cluster, account) = cluster();
    let database = &account.database;
    let servers = cluster.servers();
    servers[1].start_slowly();
    let [_, one, two, three] = picks(&cluster, database, need(database));
    assert!(one < 50 && two > 300 && three > 300, "{one} {two} {three}");
    servers[2].set_state(State::Down);
    servers[3].set_state(State::Down);
    assert_eq!(picks(&cluster, database, need(database)), [0, 1000, 0, 0]);
}

#[test]
fn the_primary_is_one_of_them_where_it_may_be() {
    let (cluster, account) = cluster();
    let database = &account.database;
    let any = Need { any: true, ..need(database) };
    assert!(picks(&cluster, database, any).iter().all(|count| *count > 150));
    database.freshness.note_all();
    let any = Need { any: true, ..need(database) };
    assert_eq!(picks(&cluster, database, any), [1000, 0, 0, 0]);
}

#[tokio::test]
async fn who_waits_is_woken_when_a_replica_has_followed() {
    let (cluster, account) = cluster();
    let database = Arc::clone(&account.database);
    database.freshness.note_all();
    let wanted = need(&database);
    let follower = Arc::clone(&database);
    let covers = async move { follower.freshness.cover(3, wanted.number) };
    let limit = Duration::from_secs(10);
    let (found, _) = tokio::join!(cluster.await_reader(&database, &wanted, limit), covers);
    assert_eq!(found, Some(3));
    let later = Need { number: wanted.number + 1, ..wanted };
    assert_eq!(cluster.await_reader(&database, &later, Duration::from_millis(5)).await, None);
    let begun = Instant::now();
    let impossible = Need { max_lag: Some(Duration::ZERO), ..later };
    for server in cluster.servers().iter() {
        server.set_behind_since(Some(begun));
    }
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(
        cluster.await_reader(&database, &impossible, limit).await,
        None,
        "nobody would fit by waiting"
    );
    assert!(begun.elapsed() < limit);
}
