//! PAUSE and RESUME: which databases are meant, and what a pause that is given up takes back.

use std::sync::Arc;
use std::time::Duration;

use pointsman_policy::suggestion;

use super::show;
use crate::fault::Fault;
use crate::proxy::Proxy;
use crate::upstream::cluster::Cluster;

/// How often a pause looks whether the connections have come back.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A pause that is not complete yet: dropped, it takes back what it paused.
pub(super) struct Pause {
    clusters: Vec<Closed>,
}

/// What this pause, and none before it, has paused in a cluster.
struct Closed {
    cluster: Arc<Cluster>,
    /// The database, as the server calls it; None for all.
    database: Option<String>,
    names: Vec<String>,
    later: bool,
}

impl Pause {
    /// Pauses a database as clients call it, or all.
    ///
    /// # Errors
    /// 3D000 if there is no such database.
    pub fn begin(proxy: &Proxy, database: Option<&str>) -> Result<Self, Fault> {
        let Some(name) = database else {
            let close = |cluster: &Arc<Cluster>| {
                let (names, later) = cluster.pause_all();
                Closed { cluster: Arc::clone(cluster), database: None, names, later }
            };
            return Ok(Self { clusters: proxy.clusters.all().iter().map(close).collect() });
        };
        let close = |(cluster, server_name): (Arc<Cluster>, String)| {
            let names = if cluster.pause(&server_name) { vec![server_name.clone()] } else { Vec::new() };
            Closed { cluster, database: Some(server_name), names, later: false }
        };
        Ok(Self { clusters: find(proxy, name)?.into_iter().map(close).collect() })
    }

    /// Waits until no server connection is left.
    pub async fn settled(&self) {
        let left = |closed: &Closed| closed.cluster.connections_left(closed.database.as_deref());
        while self.clusters.iter().map(left).sum::<usize>() > 0 {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// It is complete: only RESUME takes it back.
    pub fn keep(mut self) {
        self.clusters.clear();
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        for Closed { cluster, names, later, .. } in self.clusters.drain(..) {
            if later {
                cluster.resume_later();
            }
            for name in names {
                cluster.resume(&name);
            }
        }
    }
}

/// Resumes a database, or all.
///
/// # Errors
/// 3D000 if there is no such database, 55000 if nothing was paused.
pub(super) fn resume(proxy: &Proxy, database: Option<&str>) -> Result<(), Fault> {
    let resumed = match database {
        Some(name) => {
            let parts = find(proxy, name)?;
            parts.iter().fold(false, |any, (cluster, server_name)| cluster.resume(server_name) | any)
        }
        None => proxy.clusters.all().iter().fold(false, |any, cluster| cluster.resume_all() | any),
    };
    match (resumed, database) {
        (true, _) => Ok(()),
        (false, Some(name)) => Err(Fault::client("55000", format!("database \"{name}\" is not paused"))),
        (false, None) => Err(Fault::client("55000", "nothing is paused")),
    }
}

/// Where a database is that is configured or was asked for, and what the servers there call it: one cluster, or all that hold a part
/// of a sharded one.
fn find(proxy: &Proxy, name: &str) -> Result<Vec<(Arc<Cluster>, String)>, Fault> {
    if let Some(group) = proxy.clusters.find_group(name) {
        return Ok(group.parts().map(|part| (Arc::clone(&part.cluster), part.database.clone())).collect());
    }
    let all = proxy.clusters.all();
    let known: Vec<String> = all.iter().flat_map(|cluster| show::database_names(proxy, cluster)).collect();
    if let Some(found) = proxy.clusters.find(name).filter(|_| known.iter().any(|known| known == name)) {
        return Ok(vec![found]);
    }
    let hint = match suggestion(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("Did you mean \"{meant}\"?"),
        None => "SHOW DATABASES lists those that are configured or were asked for.".to_owned(),
    };
    Err(Fault::client("3D000", format!("there is no database \"{name}\"")).hint(hint))
}
