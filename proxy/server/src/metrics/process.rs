//! The process itself, from `/proc/self`, under the names that Prometheus' own clients use.
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, Shape, counter, descriptors, gauge};

const CPU: Shape = counter("process_cpu_seconds_total", "User and system CPU time spent.");
const RESIDENT: Shape = gauge("process_resident_memory_bytes", "Memory in RAM.");
const VIRTUAL: Shape = gauge("process_virtual_memory_bytes", "Address space.");
const OPEN_FDS: Shape = gauge("process_open_fds", "File descriptors open.");
const MAX_FDS: Shape = gauge("process_max_fds", "Most file descriptors that may be open (soft limit).");
const THREADS: Shape = gauge("process_threads", "Threads.");
const START: Shape =
    gauge("process_start_time_seconds", "When the process began to serve, in seconds since 1970.");

/// Ticks a second in `/proc/self/stat`: `USER_HZ`, 100 on every architecture that Linux still runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Collects the process's numbers; what the system does not tell is left out.
pub(super) struct Process {
    started: f64,
    descriptors: Vec<Desc>,
}

impl Process {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let shapes = [&CPU, &RESIDENT, &VIRTUAL, &OPEN_FDS, &MAX_FDS, &THREADS, &START];
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Ok(Self { started, descriptors: descriptors(&shapes)? })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |key| status_number(&status, key).map(|number| number * 1024.0);
        let values = [
            (&CPU, fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat))),
            (&RESIDENT, kib("VmRSS")),
            (&VIRTUAL, kib("VmSize")),
            // The directory itself is open while its entries are counted.
            (&OPEN_FDS, fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64 - 1.0)),
            (
                &MAX_FDS,
                fs::read_to_string("/proc/self/limits").ok().and_then(|limits| open_files_max(&limits)),
            ),
            (&THREADS, status_number(&status, "Threads")),
            (&START, Some(self.started)),
        ];
        values.into_iter().filter_map(|(shape, value)| Some(Family::single(shape, value?))).collect()
    }
}

/// The number after `key:` in `/proc/self/status`.
fn status_number(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `utime` and `stime`, fields 14 and 15 of `/proc/self/stat`; field 2, the program's name, may hold spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut after_name = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = after_name.next()?.parse().ok()?;
    let system: f64 = after_name.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn open_files_max(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "42 (a (b) c) S 1 1 1 0 -1 4194560 1 2 3 4 250 150 0 0 20 0 3 0 100 1 2";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(status_number("VmSize:\t  20 kB\nVmRSS:\t  8 kB\n", "VmRSS"), Some(8.0));
        let limits = "Max open files            1024                 524288               files     \n";
        assert_eq!(open_files_max(limits), Some(1024.0));
        assert_eq!((cpu_seconds(""), status_number("", "VmRSS"), open_files_max("")), (None, None, None));
    }
}
