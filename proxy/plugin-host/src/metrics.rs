//! Metrics that a plugin registers: closed labels, bounded in number, added to without locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Metrics of one plugin.
const METRICS_MAX: usize = 64;

/// Series of one metric: all combinations of its labels' values.
const SERIES_MAX: usize = 256;

/// Buckets of one histogram.
const BUCKETS_MAX: usize = 32;

/// Bytes of a name, a help text, a label's value.
const TEXT_BYTES_MAX: usize = 200;

/// What kind a metric is.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution with these upper bounds.
    Histogram(Vec<f64>),
}

/// A metric's description.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricShape {
    /// Its name, without the prefix that the server adds.
    pub name: String,
    /// What it tells.
    pub help: String,
    /// Its kind.
    pub kind: MetricKind,
    /// Labels, each with all its values.
    pub labels: Vec<(String, Vec<String>)>,
}

/// A metric's values at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSeries {
    /// The index of each label's value.
    pub labels: Vec<usize>,
    /// One number; of a histogram the count of each bucket and of what is above, then the sum.
    pub values: Vec<f64>,
}

#[derive(Debug)]
struct Metric {
    shape: MetricShape,
    /// `width` cells for each series, which are `f64` as bits.
    cells: Vec<AtomicU64>,
    width: usize,
}

/// The metrics of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    metrics: RwLock<Vec<Arc<Metric>>>,
    /// Those of the plugin's version before: what is registered alike goes on counting.
    before: Mutex<Vec<Arc<Metric>>>,
}

impl Registry {
    /// A registry whose metrics go on where those of an older version were.
    pub(crate) fn after(older: &Self) -> Self {
        let metrics = older.metrics.read().unwrap_or_else(PoisonError::into_inner).clone();
        Self { metrics: RwLock::default(), before: Mutex::new(metrics) }
    }

    /// Registers a metric; the same one again has the same number.
    pub(crate) fn register(&self, shape: MetricShape) -> Result<u32, String> {
        let mut metrics = self.metrics.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = metrics.iter().position(|metric| metric.shape.name == shape.name) {
            let same = metrics[at].shape == shape;
            let different = || format!("`{}` is registered already, with another shape", shape.name);
            return if same { u32::try_from(at).map_err(|_| different()) } else { Err(different()) };
        }
        if metrics.len() >= METRICS_MAX {
            return Err(format!("a plugin has at most {METRICS_MAX} metrics"));
        }
        let (series, width) = check(&shape)?;
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let metric = before.iter().find(|metric| metric.shape == shape).cloned();
        let cells = || (0..series * width).map(|_| AtomicU64::new(0f64.to_bits())).collect();
        metrics.push(metric.unwrap_or_else(|| Arc::new(Metric { cells: cells(), width, shape })));
        u32::try_from(metrics.len() - 1).map_err(|_| "too many metrics".to_owned())
    }

    fn metric(&self, id: u32) -> Option<Arc<Metric>> {
        let metrics = self.metrics.read().unwrap_or_else(PoisonError::into_inner);
        metrics.get(usize::try_from(id).ok()?).cloned()
    }

    /// Adds to a counter or a gauge. What does not fit does nothing.
    pub(crate) fn add(&self, id: u32, labels: &[u32], by: f64) {
        let Some(metric) = self.metric(id) else { return };
        let fits = match metric.shape.kind {
            MetricKind::Counter => by.is_finite() && by >= 0.0,
            MetricKind::Gauge => by.is_finite(),
            MetricKind::Histogram(_) => false,
        };
        if let (true, Some(cells)) = (fits, metric.series(labels)) {
            change(&cells[0], |value| value + by);
        }
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, id: u32, labels: &[u32], to: f64) {
        let Some(metric) = self.metric(id) else { return };
        if let (MetricKind::Gauge, Some(cells)) = (&metric.shape.kind, metric.series(labels)) {
            cells[0].store(to.to_bits(), Ordering::Relaxed);
        }
    }

    /// Takes an observation into a histogram.
    pub(crate) fn observe(&self, id: u32, labels: &[u32], value: f64) {
        let Some(metric) = self.metric(id) else { return };
        let MetricKind::Histogram(bounds) = &metric.shape.kind else { return };
        let (true, Some(cells)) = (value.is_finite(), metric.series(labels)) else { return };
        let bucket = bounds.partition_point(|bound| *bound < value);
        change(&cells[bucket], |count| count + 1.0);
        change(&cells[bounds.len() + 1], |sum| sum + value);
    }

    /// Every metric with its series.
    pub(crate) fn snapshot(&self) -> Vec<(MetricShape, Vec<MetricSeries>)> {
        let metrics = self.metrics.read().unwrap_or_else(PoisonError::into_inner);
        metrics.iter().map(|metric| (metric.shape.clone(), metric.all())).collect()
    }
}

impl Metric {
    fn series(&self, labels: &[u32]) -> Option<&[AtomicU64]> {
        if labels.len() != self.shape.labels.len() {
            return None;
        }
        let mut at = 0;
        for ((_, values), label) in self.shape.labels.iter().zip(labels) {
            let label = usize::try_from(*label).ok().filter(|label| *label < values.len())?;
            at = at * values.len() + label;
        }
        self.cells.chunks_exact(self.width).nth(at)
    }

    fn all(&self) -> Vec<MetricSeries> {
        let value = |cell: &AtomicU64| f64::from_bits(cell.load(Ordering::Relaxed));
        let series = self.cells.chunks_exact(self.width).enumerate();
        series
            .map(|(at, cells)| {
                let mut rest = at;
                let mut labels: Vec<usize> = Vec::with_capacity(self.shape.labels.len());
                for (_, values) in self.shape.labels.iter().rev() {
                    labels.push(rest % values.len());
                    rest /= values.len();
                }
                labels.reverse();
                MetricSeries { labels, values: cells.iter().map(value).collect() }
            })
            .collect()
    }
}

fn change(cell: &AtomicU64, to: impl Fn(f64) -> f64) {
    cell.update(Ordering::Relaxed, Ordering::Relaxed, |bits| to(f64::from_bits(bits)).to_bits());
}

/// The number of series and the width of each.
fn check(shape: &MetricShape) -> Result<(usize, usize), String> {
    is_name(&shape.name)?;
    if shape.help.len() > TEXT_BYTES_MAX || shape.help.contains(['\n', '\0']) {
        return Err(format!("the help of `{}` is not one line of {TEXT_BYTES_MAX} bytes", shape.name));
    }
    let mut series: usize = 1;
    for (at, (label, values)) in shape.labels.iter().enumerate() {
        is_name(label)?;
        if label == "plugin" || label == "le" || shape.labels[..at].iter().any(|(other, _)| other == label) {
            return Err(format!("the label `{label}` is taken"));
        }
        let wrong = |value: &String| value.len() > TEXT_BYTES_MAX || value.contains(['\n', '\0']);
        if values.is_empty() || values.iter().any(wrong) {
            return Err(format!("the label `{label}` needs values, each of at most {TEXT_BYTES_MAX} bytes"));
        }
        series = series.saturating_mul(values.len());
    }
    if series > SERIES_MAX {
        return Err(format!("the labels of `{}` make more than {SERIES_MAX} series", shape.name));
    }
    let width = match &shape.kind {
        MetricKind::Counter if !shape.name.ends_with("_total") => {
            return Err(format!("`{}` is a counter: its name ends in `_total`", shape.name));
        }
        MetricKind::Counter | MetricKind::Gauge => 1,
        MetricKind::Histogram(bounds) => {
            let rises = bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|bound| bound.is_finite());
            if !rises || bounds.is_empty() || bounds.len() > BUCKETS_MAX {
                return Err(format!(
                    "the buckets of `{}` are not 1 to {BUCKETS_MAX} rising numbers",
                    shape.name
                ));
            }
            bounds.len() + 2
        }
    };
    Ok((series, width))
}

fn is_name(name: &str) -> Result<(), String> {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if letters && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.len() <= TEXT_BYTES_MAX {
        Ok(())
    } else {
        Err(format!("`{name}` is no name: lower-case letters, digits and `_`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(name: &str, kind: MetricKind, labels: &[(&str, &[&str])]) -> MetricShape {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let labels = labels.iter().map(|(label, all)| ((*label).to_owned(), values(all))).collect();
        MetricShape { name: name.to_owned(), help: String::new(), kind, labels }
    }

    #[test]
    fn what_is_registered_twice_is_one() {
        let registry = Registry::default();
        let counter = shape("seen_total", MetricKind::Counter, &[("kind", &["a", "b"])]);
        let id = registry.register(counter.clone()).expect("a metric");
        assert_eq!(registry.register(counter.clone()), Ok(id));
        assert!(registry.register(shape("seen_total", MetricKind::Counter, &[])).is_err());
        registry.add(id, &[1], 2.0);
        registry.add(id, &[1], -2.0);
        registry.add(id, &[2], 2.0);
        registry.add(id, &[], 2.0);
        let series = &registry.snapshot()[0].1;
        assert_eq!(series[0].values, [0.0]);
        assert_eq!((&series[1].labels[..], &series[1].values[..]), (&[1][..], &[2.0][..]));

        let next = Registry::after(&registry);
        let id = next.register(counter).expect("a metric");
        next.add(id, &[1], 1.0);
        assert_eq!(next.snapshot()[0].1[1].values, [3.0]);
    }

    #[test]
    fn observations_find_their_bucket() {
        let registry = Registry::default();
        let id =
            registry.register(shape("rows", MetricKind::Histogram(vec![1.0, 10.0]), &[])).expect("a metric");
        for value in [1.0, 2.0, 11.0, f64::NAN] {
            registry.observe(id, &[], value);
        }
        assert_eq!(registry.snapshot()[0].1[0].values, [1.0, 1.0, 1.0, 14.0]);
    }

    #[test]
    fn labels_and_names_are_bounded() {
        let registry = Registry::default();
        let many: Vec<String> = (0..257).map(|at| at.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for wrong in [
            shape("Seen_total", MetricKind::Counter, &[]),
            shape("seen", MetricKind::Counter, &[]),
            shape("", MetricKind::Gauge, &[]),
            shape("g", MetricKind::Gauge, &[("plugin", &["a"])]),
            shape("g", MetricKind::Gauge, &[("a", &[])]),
            shape("g", MetricKind::Gauge, &[("a", &many)]),
            shape("h", MetricKind::Histogram(vec![2.0, 1.0]), &[]),
            shape("h", MetricKind::Histogram(vec![f64::NAN]), &[]),
        ] {
            assert!(registry.register(wrong.clone()).is_err(), "{wrong:?}");
        }
        for at in 0..METRICS_MAX {
            registry.register(shape(&format!("g{at}"), MetricKind::Gauge, &[])).expect("a metric");
        }
        assert!(registry.register(shape("one_more", MetricKind::Gauge, &[])).is_err());
    }
}
