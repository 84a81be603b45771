//! SHOW CLIENTS: who is connected, and what each does and holds.

use crate::admin::console::table::{Table, moment, some};
use crate::proxy::Proxy;
use crate::session::about::{About, Doing};

pub(super) const COLUMNS: &[&str] = &[
    "type",
    "user",
    "database",
    "replication",
    "state",
    "addr",
    "port",
    "local_addr",
    "local_port",
    "connect_time",
    "request_time",
    "wait",
    "wait_us",
    "close_needed",
    "ptr",
    "link",
    "remote_pid",
    "tls",
    "application_name",
    "prepared_statements",
    "id",
    "cluster",
    "pins",
];

/// A row for each client that is logged in.
pub(super) fn fill(proxy: &Proxy, table: &mut Table) {
    for (id, about) in proxy.sessions.all() {
        table.row(row(id, &about));
    }
}

fn row(id: i32, about: &About) -> [Option<String>; 23] {
    let ((address, port), (local, local_port)) = (about.peer(), about.local());
    let wait = about.waited();
    let state = match about.doing() {
        Doing::Idle => "idle",
        Doing::Active => "active",
        Doing::Waiting => "waiting",
    };
    [
        some("C"),
        some(&about.user),
        some(&about.database),
        some("none"),
        some(state),
        Some(address),
        some(port),
        Some(local),
        some(local_port),
        moment(about.since),
        moment(about.last_request()),
        some(wait.as_secs()),
        some(wait.subsec_micros()),
        some(0),
        some(id),
        some(about.server().unwrap_or_default()),
        some(0),
        some(about.tls.unwrap_or_default()),
        Some(about.application_name()),
        some(about.prepared()),
        some(id),
        about.cluster.as_ref().map(|cluster| cluster.config().name.clone()),
        Some(about.pins()),
    ]
}
