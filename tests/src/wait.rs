//! Waiting with a bound: for a condition to come true, or for a future to end.
use std::time::{Duration, Instant};

/// Asks `condition` every 10 ms until it says yes.
///
/// # Panics
/// When `bound` has passed; `what` names the hope that failed.
pub async fn eventually<F>(what: &str, bound: Duration, mut condition: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < bound, "not within {bound:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Awaits `future` for at most `bound`.
///
/// # Panics
/// When `bound` has passed first.
pub async fn within<T>(what: &str, bound: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(bound, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {bound:?}: {what}"),
    }
}
