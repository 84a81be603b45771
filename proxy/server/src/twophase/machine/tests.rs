//! Every order of steps, failures, crashes and recoveries, against a model of shards and log. Time is left out: recovery may
//! come at any moment, so that nothing depends on how long anything takes.

use std::collections::HashSet;

use super::{Action, Answer, End, Machine};

/// What a participant's server has of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Local {
    Open,
    Prepared,
    Committed,
    RolledBack,
}

/// The transaction's row in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    None,
    /// Not decided, and perhaps not flushed: a crash may lose it.
    Open {
        flushed: bool,
    },
    Commit,
    Abort,
    /// Recovery found no row, and left this one.
    Absent,
}

/// A recovery, between its steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Sweeper {
    Idle,
    /// It has seen the row, and what is prepared.
    Listed {
        row: Row,
        prepared: Vec<usize>,
    },
    /// It knows the verdict; these are to be finished.
    Finishing {
        commit: bool,
        rest: Vec<usize>,
    },
}

/// A rule that can be broken, to see that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// Recovery reads the row and leaves it as it is.
    RecoveryOnlyReads,
    /// Rows are deleted though somebody is still prepared.
    CleansTooEarly,
    /// Rows are deleted though they have changed since they were looked at.
    CleansWhatChanged,
    /// A decision makes its row where there is none.
    DecidesWithoutRow,
    /// A row that is gone after a lost answer means rolled back.
    AbsentMeansRolledBack,
    /// Recovery says `abort` where it finds no row.
    AbsentIsAbort,
}

impl Broken {
    /// What recovery makes of a row.
    fn resolve(self, row: Row) -> Row {
        match row {
            Row::Open { .. } => Row::Abort,
            Row::None if self == Self::AbsentIsAbort => Row::Abort,
            Row::None => Row::Absent,
            Row::Commit | Row::Abort | Row::Absent => row,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    locals: Vec<Local>,
    row: Row,
    coordinator: Option<Machine>,
    told: Option<End>,
    /// Statements whose sender has given them up and which may still be executed.
    late: Vec<Action>,
    sweepers: Vec<Sweeper>,
    failures: usize,
}

impl World {
    fn new(participants: usize, sweepers: usize, failures: usize) -> Self {
        Self {
            locals: vec![Local::Open; participants],
            row: Row::None,
            coordinator: Some(Machine::new(participants)),
            told: None,
            late: Vec::new(),
            sweepers: vec![Sweeper::Idle; sweepers],
            failures,
        }
    }

    /// A server executes a statement.
    fn execute(&mut self, action: Action, broken: Broken) -> Answer {
        let mut moves = |index: usize, from: Local, to: Local| {
            let fits = self.locals[index] == from;
            if fits {
                self.locals[index] = to;
            }
            fits
        };
        match action {
            Action::Register => {
                if self.row != Row::None {
                    return Answer::Refused;
                }
                self.row = Row::Open { flushed: false };
            }
            Action::Prepare(index) => {
                if !moves(index, Local::Open, Local::Prepared) {
                    return Answer::Refused;
                }
            }
            Action::Decide => match self.row {
                Row::None if broken != Broken::DecidesWithoutRow => return Answer::Absent,
                Row::Abort => return Answer::Aborted,
                Row::Absent => return Answer::Absent,
                _ => self.row = Row::Commit,
            },
            Action::Commit(index) => drop(moves(index, Local::Prepared, Local::Committed)),
            Action::Rollback(index) => drop(moves(index, Local::Open, Local::RolledBack)),
            Action::RollbackPrepared(index) => drop(moves(index, Local::Prepared, Local::RolledBack)),
        }
        Answer::Done
    }

    /// The connection of a participant is gone: unless its last statement is still executed, its open transaction is too.
    fn disconnect(&mut self, index: usize) {
        if self.locals[index] == Local::Open && !self.late.contains(&Action::Prepare(index)) {
            self.locals[index] = Local::RolledBack;
        }
    }

    fn crash(&mut self) {
        self.coordinator = None;
        (0..self.locals.len()).for_each(|index| self.disconnect(index));
    }

    fn hear(&mut self, action: Action, mut answer: Answer, broken: Broken) {
        if broken == Broken::AbsentMeansRolledBack && answer == Answer::Absent {
            answer = Answer::Aborted;
        }
        let Some(machine) = &mut self.coordinator else { return };
        machine.answer(action, answer);
        self.end();
    }

    fn end(&mut self) {
        if let Some(end) = self.coordinator.as_ref().and_then(|machine| machine.end().cloned()) {
            self.told = Some(end);
            self.crash();
        }
    }

    /// Every world that one step of the coordinator leads to.
    fn coordinator_steps(&self, broken: Broken) -> Vec<Self> {
        let Some(machine) = &self.coordinator else { return Vec::new() };
        let mut next = Vec::new();
        for action in machine.todo() {
            let mut done = self.clone();
            let answer = done.execute(action, broken);
            done.hear(action, answer, broken);
            next.push(done);
            if self.failures == 0 {
                continue;
            }
            let failed = Self { failures: self.failures - 1, ..self.clone() };
            for (executed, late, answer) in [
                (false, false, Answer::Refused),
                (false, false, Answer::Lost),
                (true, false, Answer::Lost),
                (false, true, Answer::Lost),
            ] {
                let mut world = failed.clone();
                if executed {
                    world.execute(action, broken);
                }
                if late {
                    world.late.push(action);
                }
                if let Action::Prepare(index) = action {
                    world.disconnect(index);
                }
                let mut crashed = world.clone();
                crashed.crash();
                next.push(crashed);
                world.hear(action, answer, broken);
                next.push(world);
            }
        }
        if let (true, Some(machine)) = (self.failures > 0, &self.coordinator) {
            let mut machine = machine.clone();
            machine.give_up();
            let mut world = Self { coordinator: Some(machine), failures: self.failures - 1, ..self.clone() };
            world.end();
            next.push(world);
        }
        next
    }

    /// Every world that one step of a recovery leads to; first the one where it goes on.
    fn sweeper_steps(&self, which: usize, broken: Broken) -> Vec<Self> {
        let with = |now: Sweeper| {
            let mut world = self.clone();
            world.sweepers[which] = now;
            world
        };
        let mut next = Vec::new();
        match self.sweepers[which].clone() {
            Sweeper::Idle => {
                let prepared = (0..self.locals.len()).filter(|index| self.locals[*index] == Local::Prepared);
                return vec![with(Sweeper::Listed { row: self.row, prepared: prepared.collect() })];
            }
            Sweeper::Listed { row, prepared } => {
                let whole = prepared.is_empty();
                if !whole {
                    let commit = self.row == Row::Commit;
                    let mut world = with(Sweeper::Finishing { commit, rest: prepared });
                    if broken != Broken::RecoveryOnlyReads {
                        world.row = broken.resolve(self.row);
                    }
                    next.push(world);
                }
                let changed = self.row != row && broken != Broken::CleansWhatChanged;
                if row != Row::None && !changed && (whole || broken == Broken::CleansTooEarly) {
                    next.push(Self { row: Row::None, ..with(Sweeper::Idle) });
                }
            }
            Sweeper::Finishing { commit, mut rest } => {
                let last = rest.pop();
                let then = Sweeper::Finishing { commit, rest: rest.clone() };
                let mut world = with(if rest.is_empty() { Sweeper::Idle } else { then });
                if let Some(index) = last {
                    let action = if commit { Action::Commit(index) } else { Action::RollbackPrepared(index) };
                    world.execute(action, broken);
                }
                next.push(world);
            }
        }
        // It may fail anywhere, and begin again.
        next.push(with(Sweeper::Idle));
        next
    }

    /// What else happens: late statements, crashes of servers.
    fn accidents(&self, broken: Broken) -> Vec<Self> {
        let mut next = Vec::new();
        for number in 0..self.late.len() {
            let mut world = self.clone();
            let action = world.late.remove(number);
            world.execute(action, broken);
            next.push(world);
        }
        if self.row == (Row::Open { flushed: false }) {
            next.push(Self { row: Row::Open { flushed: true }, ..self.clone() });
            if self.failures > 0 {
                next.push(Self { row: Row::None, failures: self.failures - 1, ..self.clone() });
            }
        }
        for index in 0..self.locals.len() {
            if self.failures > 0 && self.locals[index] == Local::Open {
                let mut world = Self { failures: self.failures - 1, ..self.clone() };
                world.locals[index] = Local::RolledBack;
                world.late.retain(|action| *action != Action::Prepare(index));
                next.push(world);
            }
        }
        next
    }

    fn next(&self, broken: Broken) -> Vec<Self> {
        let mut next = self.coordinator_steps(broken);
        for which in 0..self.sweepers.len() {
            next.extend(self.sweeper_steps(which, broken));
        }
        next.extend(self.accidents(broken));
        next
    }

    /// What is wrong here, if anything is.
    fn wrong(&self) -> Option<&'static str> {
        let any = |local| self.locals.contains(&local);
        if any(Local::Committed) && any(Local::RolledBack) {
            return Some("committed in part");
        }
        match self.told {
            Some(End::Committed(_)) if any(Local::RolledBack) => Some("told committed, rolled back"),
            Some(End::RolledBack) if any(Local::Committed) => Some("told rolled back, committed"),
            _ => None,
        }
    }

    /// The proxy is gone, nothing fails anymore, and recovery runs: whether it leaves nothing in doubt.
    fn recovers(&self) -> bool {
        let mut world = Self { sweepers: vec![Sweeper::Idle], ..self.clone() };
        for action in std::mem::take(&mut world.late) {
            world.execute(action, Broken::Nothing);
        }
        world.crash();
        for _ in 0..3 * (world.locals.len() + 3) {
            world = world.sweeper_steps(0, Broken::Nothing).swap_remove(0);
        }
        let settled = |local: &Local| matches!(local, Local::Committed | Local::RolledBack);
        world.locals.iter().all(settled) && world.wrong().is_none()
    }
}

/// What is wrong in any world that can be reached; else how many those are.
fn explore(first: World, broken: Broken) -> Result<usize, String> {
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some(world) = open.pop() {
        if let Some(wrong) = world.wrong() {
            return Err(format!("{wrong}: {world:?}"));
        }
        if broken == Broken::Nothing && !world.recovers() {
            return Err(format!("not recovered: {world:?}"));
        }
        for next in world.next(broken) {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn all_or_nothing_whatever_fails() {
    for (participants, sweepers, failures) in [(1, 1, 3), (2, 2, 2), (2, 1, 4), (3, 1, 2)] {
        let worlds = explore(World::new(participants, sweepers, failures), Broken::Nothing);
        let worlds = worlds.unwrap_or_else(|wrong| panic!("{wrong}"));
        println!("{participants} participants, {sweepers} recoveries, {failures} failures: {worlds} worlds");
        assert!(worlds > 300, "{worlds}: the model does not move");
    }
}

#[test]
fn each_rule_is_needed() {
    for broken in [
        Broken::RecoveryOnlyReads,
        Broken::CleansTooEarly,
        Broken::CleansWhatChanged,
        Broken::DecidesWithoutRow,
        Broken::AbsentMeansRolledBack,
        Broken::AbsentIsAbort,
    ] {
        let outcome = explore(World::new(2, 2, 2), broken);
        assert!(outcome.is_err(), "nothing goes wrong with {broken:?}");
    }
}

#[test]
fn without_failures_it_commits_everywhere() {
    let mut world = World::new(3, 0, 0);
    while let Some(next) = world.next(Broken::Nothing).into_iter().next() {
        world = next;
    }
    assert_eq!(world.told, Some(End::Committed(Vec::new())));
    assert_eq!(world.locals, vec![Local::Committed; 3]);
}
