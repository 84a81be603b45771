//! The commit of one transaction on several shards: does what the machine says, and says what came of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::group::{Counts, Group};
use super::log::Desk;
use super::machine::{Action, Answer, End, Machine};
use super::name::Name;
use super::servers::{Failure, Finished, UNDEFINED_OBJECT, connect, each, finish, finishing};
use crate::fault::Fault;

/// Between two tries of a decision, or of a shard that cannot be reached.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A session's connection to a shard, with a transaction open.
pub trait Participant: Send {
    /// The shard's number, from 0.
    fn shard(&self) -> usize;

    /// Runs one simple query, as the client's user, and tells the command tag of its last statement. No reply of it reaches the
    /// client. If this is dropped before it completes, the connection is closed and not used again.
    ///
    /// # Errors
    /// The server's own, or the connection's.
    fn run(&mut self, sql: &str) -> impl Future<Output = Result<String, Trouble>> + Send;
}

/// Why a participant has no answer.
#[derive(Debug)]
pub enum Trouble {
    /// The server's ErrorResponse; the connection goes on.
    Refused(Fault),
    /// The connection is gone.
    Lost(Fault),
}

/// What there is to say of a transaction that is committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Shards that could not be reached since the decision, and show the transaction when recovery has reached them.
    pub late: Vec<usize>,
}

impl Outcome {
    /// What the client is told besides, as a warning.
    pub fn warning(&self) -> Option<String> {
        let shards: Vec<String> = self.late.iter().map(usize::to_string).collect();
        (!shards.is_empty()).then(|| {
            format!(
                "the transaction is committed, and shows on shard {} as soon as that can be reached",
                shards.join(" and shard ")
            )
        })
    }
}

/// Commits a transaction that is open on each of the participants, one for each shard. To be run to its end: whoever drops it leaves
/// the transaction to recovery. Afterwards no participant has a transaction open, unless its connection is gone.
///
/// # Errors
/// The transaction is rolled back on every shard, and the fault says why; the server's own, where one would not prepare. But for 08007:
/// it is not known, and the log cannot be asked; recovery will settle it one way or the other.
pub async fn commit<P: Participant>(group: &Group, participants: &mut [P]) -> Result<Outcome, Fault> {
    let mut seats: Vec<Seat<'_, P>> = Vec::with_capacity(participants.len());
    seats.extend(participants.iter_mut().map(|participant| Seat {
        participant,
        prepared: false,
        lost: false,
    }));
    let mut attempt = Attempt {
        group,
        name: Name::fresh(&group.name, group.node),
        machine: Machine::new(seats.len()),
        seats,
        faults: Vec::new(),
    };
    attempt.run().await
}

/// A participant, and what is known of its connection.
struct Seat<'a, P> {
    participant: &'a mut P,
    prepared: bool,
    lost: bool,
}

struct Attempt<'a, P> {
    group: &'a Group,
    name: Name,
    machine: Machine,
    seats: Vec<Seat<'a, P>>,
    /// What went wrong, first things first.
    faults: Vec<Fault>,
}

impl<P: Participant> Attempt<'_, P> {
    async fn run(&mut self) -> Result<Outcome, Fault> {
        while let Some(first) = self.machine.todo().first().copied() {
            match first {
                Action::Register => self.register().await,
                Action::Decide => self.decide().await,
                _ => self.each().await,
            }
        }
        let counts = &self.group.counts;
        match self.machine.end() {
            Some(End::Committed(left)) => {
                Counts::add(&counts.committed);
                let late: Vec<usize> =
                    left.iter().map(|index| self.seats[*index].participant.shard()).collect();
                if !late.is_empty() {
                    Counts::add(&counts.late);
                    tracing::warn!(group = self.group.name, name = %self.name, ?late,
                        "a transaction is committed, and not yet on these shards");
                }
                Ok(Outcome { late })
            }
            Some(End::RolledBack) => {
                Counts::add(&counts.rolled_back);
                Err(self.why_rolled_back())
            }
            Some(End::Unknown) | None => {
                Counts::add(&counts.unknown);
                let cause = self.faults.last().map(Fault::to_string).unwrap_or_default();
                tracing::error!(group = self.group.name, name = %self.name, cause, "a decision is not known");
                let told = format!(
                    "whether the transaction is committed is not known: the log of {} cannot be asked",
                    self.name
                );
                Err(Fault::upstream("08007", told)
                    .hint("It is committed on all shards or on none as soon as shard 0 can be reached.")
                    .because(cause))
            }
        }
    }

    /// The fault that the client hears: a server's own before a lost connection's.
    fn why_rolled_back(&mut self) -> Fault {
        let own_word = self.faults.iter().position(|fault| fault.verbatim.is_some());
        if let Some(index) = own_word {
            return self.faults.swap_remove(index);
        }
        let said = |fault: &Fault| matches!(&*fault.sqlstate, "55000" | "25P02");
        if let Some(index) = self.faults.iter().position(said) {
            return self.faults.swap_remove(index);
        }
        let cause = self.faults.first().map(Fault::to_string).unwrap_or_default();
        Fault::upstream(
            "40000",
            "the transaction was rolled back on every shard: one of them could not be reached",
        )
        .because(cause)
    }

    /// The row, before anything is prepared. A connection that was used before may be gone: then there is one more try, under
    /// another name, as the first row may yet appear.
    async fn register(&mut self) {
        let shards: Vec<usize> = self.seats.iter().map(|seat| seat.participant.shard()).collect();
        if let Err(fault) = self.group.ready().await {
            self.faults.push(fault);
            return self.machine.answer(Action::Register, Answer::Refused);
        }
        for _ in 0..2 {
            let desk = match Desk::take(self.group).await {
                Ok(desk) => desk,
                Err(fault) => {
                    self.faults.push(fault);
                    break;
                }
            };
            let used = desk.used;
            let written = match desk.register(&self.name, &shards).await {
                Err(Failure::Refused(..)) if !used => make_table(&desk, &self.name, &shards).await,
                outcome => outcome,
            };
            match written {
                Ok(()) => {
                    desk.give_back();
                    self.group.stops.pass("registered").await;
                    return self.machine.answer(Action::Register, Answer::Done);
                }
                Err(failure) => self.faults.push(failure.into()),
            }
            if !used {
                break;
            }
            self.name = Name::fresh(&self.group.name, self.group.node);
        }
        self.machine.answer(Action::Register, Answer::Lost);
    }

    /// The decision, until there is an answer or it has taken too long.
    async fn decide(&mut self) {
        self.group.stops.pass("prepared").await;
        let begun = Instant::now();
        loop {
            let answer = match Desk::take(self.group).await {
                Ok(desk) => match desk.decide(&self.name).await {
                    Ok(answer) => {
                        desk.give_back();
                        answer
                    }
                    Err(failure) => self.undecided(failure),
                },
                // Nothing was sent.
                Err(fault) => {
                    self.faults.push(fault);
                    Answer::Refused
                }
            };
            if answer == Answer::Done {
                self.group.stops.pass("decided").await;
            }
            self.machine.answer(Action::Decide, answer);
            if self.machine.todo().first() != Some(&Action::Decide) {
                return;
            }
            if begun.elapsed() > self.group.terms.decide {
                return self.machine.give_up();
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    fn undecided(&mut self, failure: Failure) -> Answer {
        let answer = if matches!(failure, Failure::Refused(..)) { Answer::Refused } else { Answer::Lost };
        self.faults.push(failure.into());
        answer
    }

    /// What is to be done on participants, on all of them at once.
    async fn each(&mut self) {
        let mut todo: HashMap<usize, Action> = HashMap::new();
        for action in self.machine.todo() {
            if let Action::Prepare(index)
            | Action::Commit(index)
            | Action::Rollback(index)
            | Action::RollbackPrepared(index) = action
            {
                todo.insert(index, action);
            }
        }
        let (group, name) = (self.group, &self.name);
        let seats = self.seats.iter_mut().enumerate();
        let work = seats.filter_map(|(index, seat)| {
            let action = *todo.get(&index)?;
            Some(async move { (action, seat.act(group, name, action).await) })
        });
        for (action, outcome) in each(work.collect()).await {
            let answer = outcome.unwrap_or_else(|(answer, fault)| {
                self.faults.push(fault);
                answer
            });
            self.machine.answer(action, answer);
        }
    }
}

/// There may be no table yet.
async fn make_table(desk: &Desk<'_>, name: &Name, shards: &[usize]) -> Result<(), Failure> {
    desk.undo().await?;
    desk.prepare().await?;
    desk.register(name, shards).await
}

type Acted = Result<Answer, (Answer, Fault)>;

impl<P: Participant> Seat<'_, P> {
    async fn act(&mut self, group: &Group, name: &Name, action: Action) -> Acted {
        let shard = self.participant.shard();
        let gid = name.on(shard);
        match action {
            Action::Prepare(_) => {
                let acted = self.prepare(group, &gid).await;
                group.stops.pass(&format!("prepared-{shard}")).await;
                acted
            }
            Action::Commit(_) => {
                let acted = self.finish(group, &gid, true).await;
                group.stops.pass(&format!("committed-{shard}")).await;
                acted
            }
            Action::RollbackPrepared(_) => self.finish(group, &gid, false).await,
            _ => match self.run(group.terms.step, "ROLLBACK").await {
                Ok(_) => Ok(Answer::Done),
                Err(Trouble::Refused(fault) | Trouble::Lost(fault)) => Err((Answer::Lost, fault)),
            },
        }
    }

    async fn prepare(&mut self, group: &Group, gid: &str) -> Acted {
        // Whatever the client's session says: what is prepared must be where what decides is.
        let sql = format!("SET LOCAL synchronous_commit = on; PREPARE TRANSACTION '{gid}'");
        match self.run(group.terms.step, &sql).await {
            Ok(tag) if tag == "PREPARE TRANSACTION" => {
                self.prepared = true;
                Ok(Answer::Done)
            }
            // PostgreSQL prepares no failed transaction: it rolls it back, and calls that success.
            Ok(_) => Err((
                Answer::Refused,
                Fault::client("25P02", "the transaction had failed, and was rolled back on every shard"),
            )),
            Err(Trouble::Refused(fault)) => Err((Answer::Refused, fault)),
            Err(Trouble::Lost(fault)) => Err((Answer::Lost, fault)),
        }
    }

    /// Finishes what is prepared: by the session's connection, else by our own. A commit is tried for as long as the client may wait.
    async fn finish(&mut self, group: &Group, gid: &str, commits: bool) -> Acted {
        let (begun, shard) = (Instant::now(), self.participant.shard());
        let limit = if commits { group.terms.finish } else { group.terms.step };
        let mut last = Fault::upstream("08006", "the connection was lost");
        if self.prepared && !self.lost {
            match self.run(limit, &finishing(gid, commits)).await {
                Ok(_) => return Ok(Answer::Done),
                Err(Trouble::Refused(fault)) if fault.sqlstate == UNDEFINED_OBJECT => {
                    return Ok(Answer::Done);
                }
                Err(Trouble::Refused(fault) | Trouble::Lost(fault)) => last = fault,
            }
        }
        while let Some(left) = limit.checked_sub(begun.elapsed()) {
            let tried = async {
                let own = connect(group, shard).await?;
                Ok::<_, Fault>(finish(&own, left, gid, commits).await)
            };
            match tokio::time::timeout(left, tried).await {
                Ok(Ok(Finished::Here | Finished::Before)) => return Ok(Answer::Done),
                Ok(Ok(Finished::Not(why))) => last = last.because(why),
                Ok(Err(fault)) => last = fault,
                Err(_) => break,
            }
            if !commits {
                break;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Err((Answer::Lost, last))
    }

    async fn run(&mut self, limit: Duration, sql: &str) -> Result<String, Trouble> {
        if self.lost {
            return Err(Trouble::Lost(Fault::upstream("08006", "the connection was lost")));
        }
        let outcome = tokio::time::timeout(limit, self.participant.run(sql)).await.unwrap_or_else(|_| {
            Err(Trouble::Lost(Fault::upstream("08006", format!("no answer within {limit:?}"))))
        });
        self.lost = matches!(outcome, Err(Trouble::Lost(_)));
        outcome
    }
}
