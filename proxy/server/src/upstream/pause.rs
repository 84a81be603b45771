//! PAUSE and RESUME of a cluster's databases: no connection is handed out, and those that come back are closed.

use std::sync::Arc;

use super::cluster::Cluster;
use super::database::Database;

impl Cluster {
    /// Pauses the database that the server calls `name`, made known if it was not; false if it was paused already.
    pub fn pause(&self, name: &str) -> bool {
        let database = self.database(name);
        let closed = database.gate.close();
        self.each_pool_of(&database, |pool| pool.pause());
        closed
    }

    /// Resumes a database; false if it was not paused.
    pub fn resume(&self, name: &str) -> bool {
        let Some(database) = self.databases().into_iter().find(|database| database.name == name) else {
            return false;
        };
        let opened = database.gate.open();
        self.each_pool_of(&database, |pool| pool.resume());
        opened
    }

    /// Pauses all databases, those that nobody has asked for yet included. Returns the names of those that were not
    /// paused before, and whether any later one was not.
    pub fn pause_all(&self) -> (Vec<String>, bool) {
        let later = self.set_paused(true);
        let names = self.databases().into_iter().map(|database| database.name.clone());
        (names.filter(|name| self.pause(name)).collect(), later)
    }

    /// Databases that are asked for from now on are not paused.
    pub fn resume_later(&self) {
        self.set_paused(false);
    }

    /// Resumes all databases; false if none was paused.
    pub fn resume_all(&self) -> bool {
        let mut any = self.set_paused(false);
        for database in self.databases() {
            any |= self.resume(&database.name);
        }
        any
    }

    /// Server connections of a paused database that are still open or being opened; of all databases without a name.
    /// Those that came back while the gate was closing are closed.
    pub fn connections_left(&self, name: Option<&str>) -> usize {
        let accounts = self.accounts();
        let of_it = accounts.iter().filter(|account| name.is_none_or(|name| account.database.name == name));
        let left = |pool: &Arc<super::pool::Pool>| {
            pool.pause();
            pool.usage().total()
        };
        of_it.flat_map(|account| account.pools()).map(left).sum()
    }

    fn each_pool_of(&self, database: &Arc<Database>, act: impl Fn(&Arc<super::pool::Pool>)) {
        for account in self.accounts().iter().filter(|account| Arc::ptr_eq(&account.database, database)) {
            account.pools().for_each(&act);
        }
    }
}
