//! Reads users' secrets from PostgreSQL (`auth_query`), each kept for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use tokio::sync::Mutex;

use super::cluster::Cluster;
use super::own::{self, Own};
use crate::fault::Fault;

/// Answers kept; past it the oldest knowledge is dropped whole.
const ANSWERS_MAX: usize = 10_000;

/// What `auth_query` said of a user.
#[derive(Debug, Clone)]
struct Answer {
    secret: Option<String>,
    at: Instant,
}

/// The reader. One connection for each database it is asked to look in.
#[derive(Debug, Default)]
pub struct Verifiers {
    answers: std::sync::Mutex<HashMap<(String, String), Answer>>,
    /// Held while a question is under way: logins of unknown users queue here, bounded by the limit on them.
    owns: Mutex<HashMap<String, Own>>,
}

impl Verifiers {
    /// The secret of `user` as the query's second column, `None` if there is no such user. An answer is kept for
    /// `keep`; failures are not kept.
    ///
    /// # Errors
    /// 08001, 08006 when the primary cannot be asked.
    pub async fn secret(
        &self,
        cluster: &Cluster,
        database: &str,
        query: (&str, Duration),
        user: &str,
    ) -> Result<Option<String>, Fault> {
        let (sql, keep) = query;
        let key = (database.to_owned(), user.to_owned());
        if let Some(answer) = self.answers().get(&key)
            && answer.at.elapsed() < keep
        {
            return Ok(answer.secret.clone());
        }
        let secret = self.ask(cluster, database, sql, user).await?;
        let mut answers = self.answers();
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(key, Answer { secret: secret.clone(), at: Instant::now() });
        Ok(secret)
    }

    /// Forgets what was said of `user`: a login failed, the password may have been changed.
    pub fn forget(&self, database: &str, user: &str) {
        self.answers().remove(&(database.to_owned(), user.to_owned()));
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Answer>> {
        self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn ask(
        &self,
        cluster: &Cluster,
        database: &str,
        sql: &str,
        user: &str,
    ) -> Result<Option<String>, Fault> {
        let config = cluster.config();
        let servers = cluster.servers();
        let primary = cluster
            .primary()
            .and_then(|index| servers.get(index))
            .map(Arc::clone)
            .ok_or_else(|| Fault::upstream("08001", "no primary to read verifiers from"))?;
        let mut owns = self.owns.lock().await;
        let own = match owns.remove(database) {
            Some(own) if !own.is_closed() => own,
            _ => own::connect(&config, &primary, database, config.connect_timeout()).await?,
        };
        let rows = own::ask(config.connect_timeout(), own.query(sql, &[&user])).await?;
        let secret = match rows.first() {
            Some(row) => row.try_get::<_, Option<String>>(1).map_err(|error| {
                Fault::upstream("08006", "auth_query: the second column is no text").because(own::why(&error))
            })?,
            None => None,
        };
        owns.insert(database.to_owned(), own);
        Ok(secret)
    }
}
