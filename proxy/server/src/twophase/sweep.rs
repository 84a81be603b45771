//! Recovery: finishes what somebody has prepared and not finished, as the log says, and lists what it cannot finish. Any number of
//! proxies may do so at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::group::{Counts, Doubtful, Group};
use super::log::{Desk, Verdict};
use super::name::{Name, PREFIX};
use super::servers::{Failure, Finished, connect, each, finish, question};
use crate::fault::Fault;
use crate::upstream::own::Own;

/// What one recovery did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Parts committed.
    pub committed: usize,
    /// Parts rolled back.
    pub rolled_back: usize,
    /// Rows deleted from the log.
    pub forgotten: usize,
    /// What is left: [`Group::doubtful`] has it.
    pub doubtful: usize,
}

/// Recovers at once, and then again and again until the group is retired.
pub async fn watch(group: Arc<Group>) {
    let mut stuck_before = 0;
    while !group.is_retired() {
        let swept = sweep(&group).await;
        if swept.committed + swept.rolled_back > 0 {
            tracing::warn!(
                group = group.name,
                committed = swept.committed,
                rolled_back = swept.rolled_back,
                "prepared transactions that nobody had finished are finished"
            );
        }
        let doubtful = group.doubtful();
        let stuck = doubtful.iter().filter(|doubtful| doubtful.stuck).count();
        if stuck != stuck_before {
            let first = doubtful.iter().find(|doubtful| doubtful.stuck);
            let reason = first.map_or("", |doubtful| doubtful.reason.as_str());
            tracing::warn!(
                group = group.name,
                stuck,
                reason,
                "transactions in doubt that cannot be finished"
            );
        }
        stuck_before = stuck;
        tokio::time::sleep(group.terms.interval).await;
    }
}

/// Recovers once.
pub async fn sweep(group: &Group) -> Swept {
    // What the log may forget is read before the shards are: what is prepared then is younger, or is found there.
    let log = open_log(group).await;
    let looks = each((0..group.shards.len()).map(|shard| look(group, shard)).collect()).await;
    let mut sweeping =
        Sweeping { group, verdicts: HashMap::new(), swept: Swept::default(), doubtful: Vec::new() };
    let mut prepared: HashSet<String> = HashSet::new();
    let mut all_looked = true;
    for (shard, looked) in looks.into_iter().enumerate() {
        match looked {
            Ok((own, found)) => {
                let names = found.iter().filter_map(|found| Name::parse(&found.gid));
                prepared.extend(names.map(|(name, _)| name.to_string()));
                for found in found {
                    sweeping.one(shard, &own, found, log.as_ref()).await;
                }
            }
            Err(fault) => {
                all_looked = false;
                sweeping.unasked(shard, &fault);
            }
        }
    }
    if let (Ok(log), true) = (log, all_looked) {
        sweeping.forget(log, &prepared).await;
    }
    let Sweeping { mut swept, doubtful, .. } = sweeping;
    swept.doubtful = doubtful.len();
    group.set_doubtful(doubtful);
    swept
}

/// The log, as a recovery uses it.
struct Log<'a> {
    desk: Desk<'a>,
    /// No table: nothing was ever decided here.
    empty: bool,
    /// Rows old enough to be forgotten.
    old: Vec<String>,
}

async fn open_log(group: &Group) -> Result<Log<'_>, Fault> {
    let desk = Desk::take(group).await?;
    let empty = !desk.has_table().await?;
    let old = desk.old().await?;
    Ok(Log { desk, empty, old })
}

/// A prepared transaction.
#[derive(Debug)]
struct Found {
    gid: String,
    owner: String,
    age: Duration,
}

/// What is prepared on a shard in the group's database under names like ours.
async fn look(group: &Group, shard: usize) -> Result<(Own, Vec<Found>), Fault> {
    let own = connect(group, shard).await?;
    let sql = format!(
        "SELECT gid, owner, (extract(epoch FROM clock_timestamp() - prepared) * 1000)::bigint \
         FROM pg_prepared_xacts WHERE database = current_database() AND starts_with(gid, '{PREFIX}') ORDER BY prepared"
    );
    let rows = question(&own, group.terms.step, &sql).await.map_err(Fault::from)?;
    let found = rows.into_iter().filter_map(|row| match <[String; 3]>::try_from(row) {
        Ok([gid, owner, age]) => {
            Some(Found { gid, owner, age: Duration::from_millis(age.parse().unwrap_or_default()) })
        }
        Err(_) => None,
    });
    Ok((own, found.collect()))
}

/// Why a prepared transaction is none to be finished here and now; else its name in the log.
fn judge(group: &str, shard: usize, gid: &str) -> Result<Name, String> {
    match Name::parse(gid) {
        None => Err("Pointsman does not name transactions so".to_owned()),
        Some((name, _)) if name.group != group => Err(format!("it belongs to group {}", name.group)),
        Some((_, home)) if home != shard => {
            Err(format!("it was prepared on shard {home}: the order of the shards has changed"))
        }
        Some((name, _)) => Ok(name),
    }
}

struct Sweeping<'a> {
    group: &'a Group,
    verdicts: HashMap<Name, Verdict>,
    swept: Swept,
    doubtful: Vec<Doubtful>,
}

impl Sweeping<'_> {
    fn unasked(&mut self, shard: usize, fault: &Fault) {
        self.doubtful.push(Doubtful {
            shard,
            gid: String::new(),
            owner: String::new(),
            age: Duration::ZERO,
            reason: format!("the shard cannot be asked: {fault}"),
            stuck: true,
        });
    }

    /// Finishes one, or notes why not.
    async fn one(&mut self, shard: usize, own: &Own, found: Found, log: Result<&Log<'_>, &Fault>) {
        let (reason, stuck) = match judge(&self.group.name, shard, &found.gid) {
            Err(reason) => (reason, true),
            Ok(_) if found.age < self.group.terms.grace => ("it is being committed".to_owned(), false),
            Ok(name) => match self.finish(own, &found.gid, &name, log).await {
                Ok(()) => return,
                Err(reason) => (reason, true),
            },
        };
        let Found { gid, owner, age } = found;
        self.doubtful.push(Doubtful { shard, gid, owner, age, reason, stuck });
    }

    async fn finish(
        &mut self,
        own: &Own,
        gid: &str,
        name: &Name,
        log: Result<&Log<'_>, &Fault>,
    ) -> Result<(), String> {
        let log = log.map_err(|fault| format!("the log on shard 0 cannot be asked: {fault}"))?;
        if log.empty {
            return Err(
                "shard 0 has no log of decisions: it is not the one that this transaction was begun with"
                    .to_owned(),
            );
        }
        let verdict = match self.verdicts.get(name) {
            Some(verdict) => *verdict,
            None => {
                let asked = log.desk.resolve(name).await;
                let verdict = asked
                    .map_err(|failure: Failure| format!("the log on shard 0 cannot be asked: {failure}"))?;
                self.verdicts.insert(name.clone(), verdict);
                verdict
            }
        };
        let commits = verdict == Verdict::Commit;
        match finish(own, self.group.terms.step, gid, commits).await {
            Finished::Here if commits => {
                self.swept.committed += 1;
                Counts::add(&self.group.counts.recovered_commits);
            }
            Finished::Here => {
                self.swept.rolled_back += 1;
                Counts::add(&self.group.counts.recovered_rollbacks);
            }
            Finished::Before => {}
            Finished::Not(why) => {
                let verb = if commits { "committed" } else { "rolled back" };
                return Err(format!("it is to be {verb}, and cannot be: {why}"));
            }
        }
        Ok(())
    }

    /// Forgets what no shard has prepared any more.
    async fn forget(&mut self, log: Log<'_>, prepared: &HashSet<String>) {
        let mut old = log.old;
        old.retain(|gid| !prepared.contains(gid));
        if !old.is_empty() {
            match log.desk.delete(&old).await {
                Ok(()) => self.swept.forgotten = old.len(),
                Err(failure) => {
                    tracing::warn!(group = self.group.name, %failure, "old decisions cannot be deleted");
                    return;
                }
            }
        }
        log.desk.give_back();
    }
}

impl Group {
    /// Parts of transactions that recovery has finished since start.
    pub fn recovered(&self) -> u64 {
        self.counts.recovered_commits.load(Ordering::Relaxed)
            + self.counts.recovered_rollbacks.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_named_here_is_finished() {
        let gid = "pointsman_g_1_00000000000000ff_2";
        assert!(judge("g", 2, gid).is_ok());
        for (group, shard, gid, reason) in [
            ("g", 1, gid, "prepared on shard 2"),
            ("h", 2, gid, "group g"),
            ("g", 2, "pointsman_mine", "does not name"),
        ] {
            let told = judge(group, shard, gid).unwrap_err();
            assert!(told.contains(reason), "{told}");
        }
    }
}
