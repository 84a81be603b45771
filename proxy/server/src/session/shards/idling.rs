//! A transaction that may be on several shards, while its client is idle: how long that may last, and what its shards say meanwhile.
//! Its end is what it is on one server: the client is told, its session ends, and every shard rolls back.

use std::task::{Context, Poll};
use std::time::Duration;

use super::super::Session;
use super::super::begin::{IDLE_TIMEOUT, Idle, beginning, idle_too_long};
use super::Shards;
use crate::fault::Fault;
use crate::upstream::settings::Value;

/// A part of the transaction may rest while the client is busy with another: it is the client's idleness that counts, here.
const NOT_BY_SHARD: &str = "SET LOCAL idle_in_transaction_session_timeout = 0";

impl Shards {
    /// Ready when the transaction has ended, and why: its client was idle for too long, or a shard's part is lost.
    pub(in crate::session) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let Some(spanning) = &mut self.spanning else { return Poll::Pending };
        if spanning.idle.as_mut().is_some_and(|idle| idle.poll(cx).is_ready()) {
            return Poll::Ready(idle_too_long());
        }
        for leg in &mut spanning.legs {
            loop {
                match leg.poll_frame(cx) {
                    Poll::Ready(Ok(frame)) if frame.tag == b'E' => {
                        return Poll::Ready(Fault::from_server(frame.bytes));
                    }
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(fault)) => return Poll::Ready(fault),
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }

    /// The shortest time that one of the shards allows.
    fn idle_limit(&self) -> Option<Duration> {
        let limit = |part: &crate::sharded::Part| part.cluster.config().pool.idle_transaction_timeout;
        self.group.shards.iter().filter_map(limit).min()
    }
}

impl Session {
    /// The client was answered: its idleness begins anew.
    pub(super) fn note_spanning_answered(&mut self) {
        let spanning = self.shards.as_mut().and_then(|shards| shards.spanning.as_mut());
        if let Some(idle) = spanning.and_then(|spanning| spanning.idle.as_mut()) {
            idle.answered();
        }
    }

    /// What a transaction begins with on each shard, and how long its client may be idle.
    pub(super) fn opening(&self, sql: &[u8]) -> (Vec<Vec<u8>>, Option<Idle>) {
        let limit = match self.wants.client().get(IDLE_TIMEOUT) {
            Some(own) => time_of(own).filter(|limit| !limit.is_zero()),
            None => self.shards.as_ref().and_then(|shards| shards.idle_limit()),
        };
        let mut opening = vec![sql.to_vec()];
        // One that only reads may be on replicas, as long as nothing else is said before its reads.
        if limit.is_some() && !self.reads_only(sql) {
            opening.push(NOT_BY_SHARD.into());
        }
        (opening, limit.map(Idle::new))
    }

    fn reads_only(&self, sql: &[u8]) -> bool {
        let facts = self.judged(sql).facts;
        let usual = || self.wants.client().says("default_transaction_read_only", "on");
        beginning(&facts).and_then(|modes| modes.read_only).unwrap_or_else(usual)
    }
}

/// The time that a setting says: a number of milliseconds, or one with a unit. (`src/backend/utils/misc/guc.c`, `parse_int`)
fn time_of(value: &Value) -> Option<Duration> {
    let text = match value {
        Value::Text(text) => text.as_str(),
        Value::Statement(statement) => statement.rsplit(['=', ' ']).next()?,
    };
    let text = text.trim().trim_matches('\'').trim();
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let micros = match unit.trim() {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    Some(Duration::from_micros(number.saturating_mul(micros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_postgresql_reads_them() {
        let text = |text: &str| time_of(&Value::Text(text.into()));
        assert_eq!(text("250"), Some(Duration::from_millis(250)));
        assert_eq!(text(" 5 min "), Some(Duration::from_secs(300)));
        assert_eq!(text("0"), Some(Duration::ZERO));
        assert_eq!(text("soon"), None);
        let set = |text: &str| time_of(&Value::Statement(text.into()));
        assert_eq!(
            set("SET idle_in_transaction_session_timeout TO '300ms'"),
            Some(Duration::from_millis(300))
        );
        assert_eq!(set("SET idle_in_transaction_session_timeout TO DEFAULT"), None);
    }
}
