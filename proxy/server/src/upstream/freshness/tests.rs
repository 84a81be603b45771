//! Which replicas are fresh for which reads; and a model with several sessions, relations and servers.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::targets::Targets;
use super::*;

fn footprint(slots: &[u16], families: u64) -> Footprint {
    let writes = Touched::Slots(slots.into());
    Footprint { reads: Touched::nothing(), writes, families }
}

fn wrote(slots: &[u16]) -> Writes {
    let mut writes = Writes::default();
    writes.add(&footprint(slots, 0));
    writes
}

fn strict(database: &Freshness, slots: &[u16]) -> u64 {
    database.must_see(Consistency::Strict, &Touched::Slots(slots.into()), 0)
}

/// All that is pending lies before `lsn`, and server `index` has replayed up to there.
fn follow(database: &Arc<Freshness>, targets: &mut Targets, index: usize, lsn: u64) {
    targets.add(lsn, Targets::pending(&[Arc::clone(database)]));
    targets.reached(index, lsn);
}

#[test]
fn a_replica_is_fresh_once_it_has_replayed_what_was_asked_after_the_write() {
    let database = Arc::new(Freshness::new(2, Arc::default()));
    let fresh = |database: &Freshness| database.is_covered_by(1, database.written());
    assert!(!fresh(&database), "nothing is known at the start");
    let mut targets = Targets::default();
    targets.add(100, Targets::pending(&[Arc::clone(&database)]));
    targets.reached(1, 99);
    assert!(!fresh(&database));
    assert!(targets.reached(1, 100) && fresh(&database));
    database.note_all();
    assert!(!fresh(&database), "a write takes the replica's freshness away at once");
    let numbers = Targets::pending(&[Arc::clone(&database)]);
    database.note_all();
    targets.add(200, numbers);
    targets.reached(1, 300);
    assert!(!fresh(&database), "the second write came after the question was asked");
    follow(&database, &mut targets, 1, 300);
    assert!(fresh(&database));
    targets.settle(&[1]);
    assert!(targets.is_reached_by(1) && Targets::pending(&[Arc::clone(&database)]).is_empty());
    database.forget(1);
    assert!(!fresh(&database) && !Targets::pending(&[Arc::clone(&database)]).is_empty());
}

#[test]
fn writes_to_one_relation_leave_the_others_fresh() {
    let database = Arc::new(Freshness::new(2, Arc::default()));
    let mut targets = Targets::default();
    follow(&database, &mut targets, 1, 100);
    database.note(&wrote(&[7]));
    assert!(!database.is_covered_by(1, strict(&database, &[7])));
    assert!(!database.is_covered_by(1, strict(&database, &[3, 7])));
    assert!(database.is_covered_by(1, strict(&database, &[3])));
    let unknown = database.must_see(Consistency::Strict, &Touched::Unknown, 0);
    assert!(!database.is_covered_by(1, unknown), "a read of unknown relations sees all writes");
    database.note(&Writes::All);
    assert!(!database.is_covered_by(1, strict(&database, &[3])), "an unknown write counts for all");
}

#[test]
fn levels_ask_for_less() {
    let database = Arc::new(Freshness::new(2, Arc::default()));
    let mut targets = Targets::default();
    follow(&database, &mut targets, 1, 100);
    let reads = Touched::Slots([7].into());
    let others = database.note(&wrote(&[7]));
    let session = database.must_see(Consistency::Session, &reads, 0);
    assert!(database.is_covered_by(1, session), "another's write");
    assert!(!database.is_covered_by(1, database.must_see(Consistency::Session, &reads, others)), "its own");
    assert_eq!(database.must_see(Consistency::Eventual, &reads, others), 0);
}

#[test]
fn writes_noted_under_other_families_count_for_all() {
    let database = Arc::new(Freshness::new(2, Arc::default()));
    let mut targets = Targets::default();
    database.set_families(5);
    follow(&database, &mut targets, 1, 100);
    let mut writes = Writes::default();
    writes.add(&footprint(&[7], 4));
    database.note(&writes);
    assert!(!database.is_covered_by(1, strict(&database, &[3])));
    follow(&database, &mut targets, 1, 200);
    assert!(database.is_covered_by(1, strict(&database, &[3])));
    database.set_families(5);
    assert!(database.is_covered_by(1, strict(&database, &[3])), "the same families again change nothing");
    database.set_families(6);
    assert!(!database.is_covered_by(1, strict(&database, &[3])));
}

#[test]
fn many_relations_count_for_all() {
    let mut writes = wrote(&[1, 2, 3, 4, 5, 6, 7]);
    assert!(matches!(writes, Writes::Slots { count: 7, .. }));
    writes.add(&footprint(&[7], 0));
    assert!(matches!(writes, Writes::Slots { count: 7, .. }));
    writes.add(&footprint(&[8], 0));
    assert_eq!(writes, Writes::All);
    let mut other = wrote(&[1]);
    other.add(&footprint(&[2], 9));
    assert_eq!(other, Writes::All, "two catalogs in one transaction");
    let mut unknown = Writes::default();
    unknown.add(&footprint(&[], 0));
    assert!(unknown.is_nothing());
    unknown.add(&Footprint::unknown());
    assert_eq!(unknown, Writes::All);
}

#[test]
fn a_replica_that_stays_far_behind_is_still_covered_for_old_writes() {
    let database = Arc::new(Freshness::new(2, Arc::default()));
    let mut targets = Targets::default();
    let mut numbers = Vec::new();
    for lsn in 1..=2000_u64 {
        numbers.push((lsn, database.note(&wrote(&[1]))));
        targets.add(lsn, Targets::pending(&[Arc::clone(&database)]));
    }
    for (lsn, number) in numbers {
        targets.reached(1, lsn);
        let behind = (1..=number).rev().find(|number| database.is_covered_by(1, *number)).unwrap_or(0);
        assert!(behind <= number, "covered beyond what it has");
        assert!(behind + 64 >= number, "at {lsn}: covered up to {behind} of {number}");
    }
}

/// The truth that the model keeps: the primary's log, and what each replica has of it.
struct World {
    database: Arc<Freshness>,
    targets: Targets,
    /// Each write's relation; its place is its position.
    log: Vec<u16>,
    replayed: [usize; 3],
    /// Last position acknowledged, by relation; `None` stands for a write to relations that were not known.
    acknowledged: Vec<(Option<u16>, usize)>,
    /// Questions under way: the numbers taken, and the position heard if the primary has answered.
    questions: Vec<(super::super::targets::Numbers, Option<u64>)>,
}

impl World {
    fn step(&mut self, random: &mut StdRng) {
        match random.random_range(0..16) {
            0 | 1 => self.write(random),
            2 | 3 => self.questions.push((Targets::pending(&[Arc::clone(&self.database)]), None)),
            4 | 5 => {
                let end = self.log.len() as u64;
                let unanswered = self.questions.iter_mut().find(|(_, position)| position.is_none());
                if let Some((_, position)) = unanswered {
                    *position = Some(end);
                }
            }
            6 | 7 => {
                if self.questions.first().is_some_and(|(_, position)| position.is_some()) {
                    let (numbers, position) = self.questions.remove(0);
                    self.targets.add(position.unwrap_or_default(), numbers);
                }
            }
            8..11 => {
                let server = random.random_range(0..3);
                let far = random.random_range(0..6);
                self.replayed[server] = (self.replayed[server] + far).min(self.log.len());
            }
            11..14 => {
                let server = random.random_range(0..3);
                self.targets.reached(server, self.replayed[server] as u64);
                self.targets.settle(&[0, 1, 2]);
            }
            _ => self.read(random),
        }
    }

    fn write(&mut self, random: &mut StdRng) {
        let relation = random.random_range(0..5);
        self.log.push(relation);
        let known = random.random_range(0..8) > 0;
        self.database.note(&if known { wrote(&[relation]) } else { Writes::All });
        self.acknowledged.push((known.then_some(relation), self.log.len()));
    }

    fn read(&self, random: &mut StdRng) {
        let reads: Vec<u16> = (0..5).filter(|_| random.random_range(0..3) == 0).collect();
        let need = strict(&self.database, &reads);
        let must = self
            .acknowledged
            .iter()
            .filter(|(relation, _)| relation.is_none_or(|relation| reads.contains(&relation)))
            .map(|(_, position)| *position)
            .max()
            .unwrap_or(0);
        for (server, replayed) in self.replayed.iter().enumerate() {
            if self.database.is_covered_by(server, need) {
                assert!(*replayed >= must, "server {server} has {replayed}, a read must see {must}");
            }
        }
    }
}

#[test]
fn no_covered_read_misses_an_acknowledged_write() {
    let mut covered = 0;
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World {
            database: Arc::new(Freshness::new(3, Arc::default())),
            targets: Targets::default(),
            log: Vec::new(),
            replayed: [0; 3],
            acknowledged: Vec::new(),
            questions: Vec::new(),
        };
        for _ in 0..2000 {
            world.step(&mut random);
            let any = strict(&world.database, &[0]);
            covered += (0..3).filter(|server| world.database.is_covered_by(*server, any)).count();
        }
    }
    assert!(covered > 10_000, "the model must reach states where replicas serve: {covered}");
}
