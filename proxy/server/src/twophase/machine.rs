//! The commit of one transaction on several shards, without input and output: what is to be done next, and what an answer
//! means. `machine/tests.rs` explores every order of its steps, failures and crashes against a model of the shards.

/// Something to be done. Those that [`Machine::todo`] lists together may be done at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Write the transaction's row, not decided yet, to the log.
    Register,
    /// `PREPARE TRANSACTION` on this participant.
    Prepare(usize),
    /// Change the row from not decided to `commit`.
    Decide,
    /// `COMMIT PREPARED` on this participant.
    Commit(usize),
    /// `ROLLBACK` on this participant, which has not prepared.
    Rollback(usize),
    /// `ROLLBACK PREPARED` on this participant.
    RollbackPrepared(usize),
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Done. Of `Commit` and `RollbackPrepared`, also that there is no such prepared transaction: somebody else has done it.
    Done,
    /// The server says that it did not do it.
    Refused,
    /// There is no answer: it was done, was not done, or will be.
    Lost,
    /// Of `Decide`: the row says `abort`: it never said `commit`.
    Aborted,
    /// Of `Decide`: there is no row, or one that recovery made because there was none. There may have been one that said
    /// `commit`, long ago.
    Absent,
}

/// How the transaction ended, as far as its client is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum End {
    /// It is committed. On these participants somebody has yet to finish it.
    Committed(Vec<usize>),
    /// It will never be committed.
    RolledBack,
    /// Either; recovery will settle it.
    Unknown,
}

/// A participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    /// Its transaction is open.
    Open,
    /// It would not prepare.
    Refused,
    /// It was asked to prepare, and is not heard of since.
    Doubtful,
    /// It has prepared.
    Prepared,
    /// It has done as decided.
    Finished,
    /// It has not yet done as decided: recovery sees to it.
    Left,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    Registering,
    Preparing,
    Deciding {
        /// An earlier try had no answer: the row may say `commit`.
        doubt: bool,
    },
    Committing,
    RollingBack,
    Ended(End),
}

/// A transaction on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    parts: Vec<Part>,
    phase: Phase,
}

impl Machine {
    /// A transaction that is open on so many participants.
    pub fn new(participants: usize) -> Self {
        Self { parts: vec![Part::Open; participants], phase: Phase::Registering }
    }

    /// What is to be done now; empty at the end. Each is answered by [`Self::answer`], once.
    pub fn todo(&self) -> Vec<Action> {
        let each = |action: fn(Part, usize) -> Option<Action>| {
            self.parts.iter().enumerate().filter_map(|(index, part)| action(*part, index)).collect()
        };
        match self.phase {
            Phase::Registering => vec![Action::Register],
            Phase::Preparing => each(|part, index| (part == Part::Open).then_some(Action::Prepare(index))),
            Phase::Deciding { .. } => vec![Action::Decide],
            Phase::Committing => {
                each(|part, index| (part == Part::Prepared).then_some(Action::Commit(index)))
            }
            Phase::RollingBack => each(|part, index| match part {
                Part::Open | Part::Refused => Some(Action::Rollback(index)),
                Part::Prepared | Part::Doubtful => Some(Action::RollbackPrepared(index)),
                Part::Finished | Part::Left => None,
            }),
            Phase::Ended(_) => Vec::new(),
        }
    }

    /// Takes the answer to something that was to be done.
    pub fn answer(&mut self, action: Action, answer: Answer) {
        match action {
            Action::Register if answer == Answer::Done => self.phase = Phase::Preparing,
            Action::Register => self.phase = Phase::RollingBack,
            Action::Decide => self.decided(answer),
            Action::Prepare(index) => self.note(
                index,
                match answer {
                    Answer::Done => Part::Prepared,
                    Answer::Lost => Part::Doubtful,
                    _ => Part::Refused,
                },
            ),
            Action::Commit(index) | Action::Rollback(index) | Action::RollbackPrepared(index) => {
                self.note(index, if answer == Answer::Done { Part::Finished } else { Part::Left });
            }
        }
        if self.todo().is_empty() {
            self.proceed();
        }
    }

    /// The decision is not waited for any longer.
    pub fn give_up(&mut self) {
        if let Phase::Deciding { doubt } = self.phase {
            self.phase = if doubt { Phase::Ended(End::Unknown) } else { Phase::RollingBack };
        }
    }

    /// How it ended, once there is nothing to be done.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            _ => None,
        }
    }

    fn note(&mut self, index: usize, now: Part) {
        if let Some(part) = self.parts.get_mut(index) {
            *part = now;
        }
    }

    fn decided(&mut self, answer: Answer) {
        let Phase::Deciding { doubt } = self.phase else { return };
        self.phase = match answer {
            Answer::Done => Phase::Committing,
            Answer::Aborted => Phase::RollingBack,
            Answer::Lost => Phase::Deciding { doubt: true },
            // This try did nothing. What an earlier one did stays open: a row that is gone may have said either.
            Answer::Absent if doubt => Phase::Ended(End::Unknown),
            Answer::Refused if doubt => Phase::Deciding { doubt },
            Answer::Absent | Answer::Refused => Phase::RollingBack,
        };
    }

    /// All that was to be done is answered.
    fn proceed(&mut self) {
        self.phase = match &self.phase {
            Phase::Preparing if self.parts.iter().all(|part| *part == Part::Prepared) => {
                Phase::Deciding { doubt: false }
            }
            Phase::Preparing => Phase::RollingBack,
            Phase::Committing => {
                let left = |(index, part): (usize, &Part)| (*part == Part::Left).then_some(index);
                Phase::Ended(End::Committed(self.parts.iter().enumerate().filter_map(left).collect()))
            }
            Phase::RollingBack => Phase::Ended(End::RolledBack),
            other => other.clone(),
        };
    }
}

#[cfg(test)]
mod tests;
