//! What plugins have done, and the metrics that they keep themselves. Labels are the names in the configuration and those that a
//! plugin registered, closed sets both.

use std::time::Duration;

use pointsman_plugin_host::{
    FAILURE_KINDS, MetricKind, MetricSeries, MetricShape, PluginStatus, VERDICT_KINDS,
};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::family::{Family, Shape, counter, gauge};

/// One plugin at one moment.
#[derive(Debug, Clone)]
pub struct PluginSnapshot {
    /// Its name in the configuration.
    pub name: String,
    /// What it did and has.
    pub status: PluginStatus,
    /// The metrics that it registered.
    pub own: Vec<(MetricShape, Vec<MetricSeries>)>,
}

const CALLS: Shape =
    counter("pointsman_plugins_calls_total", "Calls of a plugin's hooks that went well, by plugin.");
const SECONDS: Shape = counter(
    "pointsman_plugins_seconds_total",
    "Time that calls of a plugin's hooks took, lookups included, in seconds, by plugin.",
);
const REMEMBERED: Shape = counter(
    "pointsman_plugins_remembered_total",
    "Statements for which a plugin's verdict was remembered, so that it was not called, by plugin.",
);
const VERDICTS: Shape = counter(
    "pointsman_plugins_verdicts_total",
    "Verdicts on statements, those remembered and those that stand for failed calls included, by plugin and verdict.",
);
const FAILURES: Shape = counter(
    "pointsman_plugins_failures_total",
    "Calls of a plugin's hooks that failed, by plugin and kind: the deadline or another limit, a trap, a forbidden answer, or that it \
     is busy or disabled.",
);
const MADE: Shape = counter("pointsman_plugins_instances_made_total", "Instances made, by plugin.");
const INSTANCES: Shape = gauge("pointsman_plugins_instances", "Instances, busy or not, by plugin.");
const MEMORY: Shape =
    gauge("pointsman_plugins_memory_bytes", "Linear memory of a plugin's instances, in bytes, by plugin.");
const KEPT: Shape =
    gauge("pointsman_plugins_kv_bytes", "Keys and values of a plugin in memory, in bytes, by plugin.");
const DISABLED: Shape = gauge(
    "pointsman_plugins_disabled",
    "1 while a plugin is not asked because it failed too often, else 0, by plugin.",
);

type Read = fn(&PluginStatus) -> f64;

const PLAIN: [(Shape, Read); 8] = [
    (CALLS, |status| status.counts.calls as f64),
    (SECONDS, |status| seconds(status.counts.took)),
    (REMEMBERED, |status| status.counts.remembered as f64),
    (MADE, |status| status.counts.instances_made as f64),
    (INSTANCES, |status| status.instances as f64),
    (MEMORY, |status| status.memory_bytes as f64),
    (KEPT, |status| status.kv.1 as f64),
    (DISABLED, |status| f64::from(u8::from(status.disabled))),
];

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// The families' shapes; those of plugins' own metrics are not known before they are registered.
pub(super) fn shapes() -> impl Iterator<Item = &'static Shape> {
    PLAIN.iter().map(|(shape, _)| shape).chain([&VERDICTS, &FAILURES])
}

/// The families, filled.
pub(super) fn families(plugins: &[PluginSnapshot]) -> Vec<MetricFamily> {
    if plugins.is_empty() {
        return Vec::new();
    }
    let fill = |(shape, read): &(Shape, Read)| {
        let mut family = Family::new(shape);
        for plugin in plugins {
            family.add(&[("plugin", &plugin.name)], read(&plugin.status));
        }
        family.done()
    };
    let mut families: Vec<MetricFamily> = PLAIN.iter().map(fill).collect();
    let (mut verdicts, mut failures) = (Family::new(&VERDICTS), Family::new(&FAILURES));
    for PluginSnapshot { name, status, .. } in plugins {
        for (verdict, count) in VERDICT_KINDS.iter().zip(status.counts.verdicts) {
            verdicts.add(&[("plugin", name), ("verdict", verdict)], count as f64);
        }
        for ((_, kind), count) in FAILURE_KINDS.iter().zip(status.counts.failures) {
            failures.add(&[("plugin", name), ("kind", kind)], count as f64);
        }
    }
    families.extend([verdicts.done(), failures.done()]);
    families.extend(own(plugins));
    families
}

/// The metrics that plugins keep themselves. Two plugins may keep one of the same name, if it is of the same kind.
fn own(plugins: &[PluginSnapshot]) -> Vec<MetricFamily> {
    let mut families: Vec<MetricFamily> = Vec::new();
    for plugin in plugins {
        for (shape, series) in &plugin.own {
            let (name, kind) = (format!("pointsman_plugin_{}", shape.name), kind(&shape.kind));
            let metrics = series.iter().map(|one| metric(&plugin.name, shape, one));
            match families.iter_mut().find(|family| family.name() == name) {
                Some(family) if family.get_field_type() == kind => {
                    family.mut_metric().extend(metrics);
                }
                Some(_) => {}
                None => {
                    let mut family = MetricFamily::default();
                    family.set_name(name);
                    family.set_help(shape.help.clone());
                    family.set_field_type(kind);
                    family.set_metric(metrics.collect());
                    families.push(family);
                }
            }
        }
    }
    families.retain(|family| !family.get_metric().is_empty());
    families
}

fn kind(kind: &MetricKind) -> MetricType {
    match kind {
        MetricKind::Counter => MetricType::COUNTER,
        MetricKind::Gauge => MetricType::GAUGE,
        MetricKind::Histogram(_) => MetricType::HISTOGRAM,
    }
}

fn metric(plugin: &str, shape: &MetricShape, series: &MetricSeries) -> Metric {
    let pair = |name: &str, value: &str| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    let values = shape
        .labels
        .iter()
        .zip(&series.labels)
        .filter_map(|((name, values), index)| values.get(*index).map(|value| pair(name, value)));
    let mut metric = Metric::from_label(std::iter::once(pair("plugin", plugin)).chain(values).collect());
    let first = series.values.first().copied().unwrap_or(0.0);
    match &shape.kind {
        MetricKind::Counter => {
            let mut counter = prometheus::proto::Counter::default();
            counter.set_value(first);
            metric.set_counter(counter);
        }
        MetricKind::Gauge => {
            let mut gauge = prometheus::proto::Gauge::default();
            gauge.set_value(first);
            metric.set_gauge(gauge);
        }
        MetricKind::Histogram(bounds) => metric.set_histogram(histogram(bounds, &series.values)),
    }
    metric
}

/// `values`: how many fell into each bucket and above the last, then their sum.
fn histogram(bounds: &[f64], values: &[f64]) -> Histogram {
    let mut histogram = Histogram::default();
    let mut buckets = Vec::new();
    let mut below = 0.0;
    for (bound, count) in bounds.iter().zip(values) {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below as u64);
        buckets.push(bucket);
    }
    let above = values.get(bounds.len()).copied().unwrap_or(0.0);
    histogram.set_bucket(buckets);
    histogram.set_sample_count((below + above) as u64);
    histogram.set_sample_sum(values.get(bounds.len() + 1).copied().unwrap_or(0.0));
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative() {
        let told = histogram(&[1.0, 2.0], &[3.0, 4.0, 5.0, 20.5]);
        let below: Vec<u64> = told.get_bucket().iter().map(Bucket::cumulative_count).collect();
        assert_eq!((below, told.get_sample_count(), told.get_sample_sum()), (vec![3, 7], 12, 20.5));
    }
}
