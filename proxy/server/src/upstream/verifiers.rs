//! Reads users' secrets from PostgreSQL (`auth_query`), each kept for a while. Every cluster has its own reader: a name
//! means nobody outside of the cluster that it was read from.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::cluster::Cluster;
use super::own::{self, Own};
use crate::fault::Fault;

/// Answers kept for a cluster; past it the oldest knowledge is dropped whole.
const ANSWERS_MAX: usize = 10_000;
/// A failed proof has the secret read again, unless it was read this recently: so often may a stranger make us ask.
const REREAD_AFTER: Duration = Duration::from_secs(1);

/// The question, as it is configured.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Returns name and secret of the user `$1`; a third column, if there is one, says for how many seconds the secret
    /// is valid still.
    pub sql: &'a str,
    /// Database that it runs in; never one that a client names.
    pub database: &'a str,
    /// How long an answer is kept.
    pub keep: Duration,
}

/// The readers of all clusters, by their names.
#[derive(Debug, Default)]
pub struct Verifiers(Mutex<HashMap<String, Arc<Reader>>>);

/// Reads the secrets of one cluster's users.
#[derive(Debug, Default)]
struct Reader {
    answers: Mutex<HashMap<String, Answer>>,
    /// Locked while a connection is opened, so that only one is; questions share it.
    own: tokio::sync::Mutex<Option<Arc<Own>>>,
}

/// What `auth_query` said of a user.
#[derive(Debug, Clone)]
struct Answer {
    secret: Option<String>,
    at: Instant,
    until: Instant,
}

impl Verifiers {
    /// The secret of `user`, `None` if the cluster has no such user. Failures are not kept.
    ///
    /// # Errors
    /// 08001, 08006 when the primary cannot be asked.
    pub async fn secret(
        &self,
        cluster: &Cluster,
        question: Question<'_>,
        user: &str,
    ) -> Result<Option<String>, Fault> {
        let reader = Arc::clone(lock(&self.0).entry(cluster.config().name.clone()).or_default());
        if let Some(answer) = lock(&reader.answers).get(user)
            && Instant::now() < answer.until
        {
            return Ok(answer.secret.clone());
        }
        let answer = reader.ask(cluster, question, user).await?;
        let secret = answer.secret.clone();
        let mut answers = lock(&reader.answers);
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(user.to_owned(), answer);
        Ok(secret)
    }

    /// A proof failed: the secret may have been changed since it was read, and is read again at the next login.
    pub fn doubt(&self, cluster: &Cluster, user: &str) {
        let Some(reader) = lock(&self.0).get(&cluster.config().name).cloned() else { return };
        let mut answers = lock(&reader.answers);
        if answers.get(user).is_some_and(|answer| answer.at.elapsed() > REREAD_AFTER) {
            answers.remove(user);
        }
    }

    /// Forgets everything: clusters or the question may have changed.
    pub fn forget_all(&self) {
        lock(&self.0).clear();
    }
}

impl Reader {
    async fn ask(&self, cluster: &Cluster, question: Question<'_>, user: &str) -> Result<Answer, Fault> {
        let limit = cluster.config().connect_timeout();
        let own = self.connection(cluster, question.database).await?;
        let outcome = own::ask(limit, own.query(question.sql, &[&user])).await;
        if outcome.is_err() {
            let mut kept = self.own.lock().await;
            if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, &own)) {
                *kept = None;
            }
        }
        let at = Instant::now();
        match outcome?.first() {
            Some(row) => read(row, at, question.keep),
            None => Ok(Answer { secret: None, at, until: at + question.keep }),
        }
    }

    /// The connection that all questions share; opened anew where the last one is closed or leads to a former primary.
    async fn connection(&self, cluster: &Cluster, database: &str) -> Result<Arc<Own>, Fault> {
        let config = cluster.config();
        let servers = cluster.servers();
        let primary = cluster
            .primary()
            .and_then(|index| servers.get(index))
            .ok_or_else(|| Fault::upstream("08001", "no primary to read verifiers from"))?;
        let mut kept = self.own.lock().await;
        match &*kept {
            Some(own) if !own.is_closed() && own.leads_to(primary) => Ok(Arc::clone(own)),
            _ => {
                let own = own::connect(&config, primary, database, config.connect_timeout()).await?;
                Ok(Arc::clone(kept.insert(Arc::new(own))))
            }
        }
    }
}

/// A row of the answer: name, secret, and perhaps for how long it is valid.
fn read(row: &tokio_postgres::Row, at: Instant, keep: Duration) -> Result<Answer, Fault> {
    let unreadable = |what: &'static str| {
        move |error: tokio_postgres::Error| Fault::upstream("08006", what).because(own::why(&error))
    };
    let secret = row
        .try_get::<_, Option<String>>(1)
        .map_err(unreadable("auth_query: the second column is no text"))?;
    let valid = match row.len() {
        0..=2 => None,
        _ => row
            .try_get::<_, Option<f64>>(2)
            .map_err(unreadable("auth_query: the third column is no double precision"))?,
    };
    let valid = valid.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
    Ok(Answer { secret, at, until: at + valid.map_or(keep, |valid| valid.min(keep)) })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
