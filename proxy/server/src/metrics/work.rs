//! The workers' counters as metric families, summed over the workers.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::counters::{Count, SQLSTATE_CLASSES, Side, StatementKind, Target, WorkerCounters};
use super::family::{Family, Shape, counter, descriptors, gauge};

const STATEMENTS: Shape =
    counter("pointsman_statements_total", "Statements by what they do and where they were served.");
const RECEIVED: Shape =
    counter("pointsman_received_bytes_total", "Bytes received from clients and from servers.");
const SENT: Shape = counter("pointsman_sent_bytes_total", "Bytes sent to clients and to servers.");
const ERRORS: Shape = counter(
    "pointsman_errors_total",
    "Errors told to clients, by SQLSTATE class (its first two characters); classes not seen yet are left out.",
);
const TEMPLATE_LOOKUPS: Shape = counter(
    "pointsman_template_lookups_total",
    "Statements whose template was known (hit) or had to be parsed (miss).",
);
const TEMPLATES: Shape = gauge("pointsman_templates", "Templates held in the workers' statement caches.");
const TEMPLATES_LIMIT: Shape =
    gauge("pointsman_limit_templates", "Most templates that the workers' statement caches hold together.");
const RETRIED: Shape = counter(
    "pointsman_retried_statements_total",
    "Statements sent again elsewhere because a server was lost before it had answered.",
);
const TRANSACTIONS: Shape =
    counter("pointsman_transactions_total", "Transactions ended, those of a single statement included.");
const WORKERS: Shape = gauge("pointsman_workers", "Worker threads.");
const BUILD: Shape = gauge("pointsman_build_info", "Always 1; the version is in the label.");

/// Collects the workers' counters.
pub(super) struct Work {
    workers: Arc<[Arc<WorkerCounters>]>,
    templates_max: usize,
    descriptors: Vec<Desc>,
}

impl Work {
    pub(super) fn new(
        workers: Arc<[Arc<WorkerCounters>]>,
        templates_max: usize,
    ) -> Result<Self, prometheus::Error> {
        let shapes = [
            &STATEMENTS,
            &RECEIVED,
            &SENT,
            &ERRORS,
            &TEMPLATE_LOOKUPS,
            &TEMPLATES,
            &TEMPLATES_LIMIT,
            &RETRIED,
            &TRANSACTIONS,
            &WORKERS,
            &BUILD,
        ];
        Ok(Self { workers, templates_max, descriptors: descriptors(&shapes)? })
    }

    fn sum(&self, of: impl Fn(&WorkerCounters) -> &Count) -> f64 {
        self.workers.iter().map(|worker| of(worker).get()).sum::<u64>() as f64
    }

    fn statements(&self) -> MetricFamily {
        let mut family = Family::new(&STATEMENTS);
        for (kind, kind_label) in StatementKind::ALL {
            for (target, target_label) in Target::ALL {
                let labels = [("kind", kind_label), ("target", target_label)];
                family.add(&labels, self.sum(|worker| &worker.statements[kind as usize][target as usize]));
            }
        }
        family.done()
    }

    fn bytes(&self, shape: &Shape, of: impl Fn(&WorkerCounters) -> &[Count; 2]) -> MetricFamily {
        let mut family = Family::new(shape);
        for (side, label) in Side::ALL {
            family.add(&[("side", label)], self.sum(|worker| &of(worker)[side as usize]));
        }
        family.done()
    }

    fn errors(&self) -> MetricFamily {
        let mut family = Family::new(&ERRORS);
        for (index, class) in SQLSTATE_CLASSES.iter().enumerate() {
            let count = self.sum(|worker| &worker.errors[index]);
            if count > 0.0 {
                family.add(&[("class", class)], count);
            }
        }
        family.done()
    }

    fn lookups(&self) -> MetricFamily {
        let mut family = Family::new(&TEMPLATE_LOOKUPS);
        family.add(&[("result", "hit")], self.sum(|worker| &worker.template_hits));
        family.add(&[("result", "miss")], self.sum(|worker| &worker.template_misses));
        family.done()
    }
}

impl Collector for Work {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut build = Family::new(&BUILD);
        build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        vec![
            self.statements(),
            self.bytes(&RECEIVED, |worker| &worker.received),
            self.bytes(&SENT, |worker| &worker.sent),
            self.errors(),
            self.lookups(),
            Family::single(&TEMPLATES, self.sum(|worker| &worker.templates)),
            Family::single(&TEMPLATES_LIMIT, (self.templates_max * self.workers.len()) as f64),
            Family::single(&RETRIED, self.sum(|worker| &worker.retried)),
            Family::single(&TRANSACTIONS, self.sum(|worker| &worker.transactions)),
            Family::single(&WORKERS, self.workers.len() as f64),
            build.done(),
        ]
    }
}
