//! Metric families built at scrape time from values that live elsewhere.

use prometheus::core::Desc;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// A family's name, help text and type, declared once.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

/// A family's type.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// A family that only grows.
pub(super) const fn counter(name: &'static str, help: &'static str) -> Shape {
    Shape { name, help, kind: Kind::Counter }
}

/// A family that goes up and down.
pub(super) const fn gauge(name: &'static str, help: &'static str) -> Shape {
    Shape { name, help, kind: Kind::Gauge }
}

/// The descriptors that a collector shows its registry, so that no two families share a name.
pub(super) fn descriptors(shapes: &[&Shape]) -> Result<Vec<Desc>, prometheus::Error> {
    let describe =
        |shape: &&Shape| Desc::new(shape.name.into(), shape.help.into(), Vec::new(), Default::default());
    shapes.iter().map(describe).collect()
}

/// A family being filled.
pub(super) struct Family {
    kind: Kind,
    family: MetricFamily,
}

impl Family {
    pub(super) fn new(shape: &Shape) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(shape.name.into());
        family.set_help(shape.help.into());
        family.set_field_type(match shape.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        });
        Self { kind: shape.kind, family }
    }

    /// A family of one sample without labels.
    pub(super) fn single(shape: &Shape, value: f64) -> MetricFamily {
        let mut family = Self::new(shape);
        family.add(&[], value);
        family.done()
    }

    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value((*value).into());
            pair
        };
        let mut metric = Metric::from_label(labels.iter().map(pair).collect());
        match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.family.mut_metric().push(metric);
    }

    pub(super) fn done(self) -> MetricFamily {
        self.family
    }
}
