//! Consistent hashing: shards own the arcs of a ring that end at their points.
//!
//! The ring is the integers of 64 bits. Point `p` of shard `s` stands at the hash of eight bytes, `s` and then `p`, each a
//! 32-bit integer with its lowest byte first, by `hash_bytes_extended` with the seed [`POINT_SEED`]. A key stands at its
//! [partition hash](super::hash::partition_hash), and belongs to the first point at or after it, around the ring; of points in
//! one place to the one of the lowest shard. So the same key is on the same shard in every version and on every machine, and
//! with one more shard all keys that move go to it.

use std::sync::{Arc, OnceLock};

use super::hash;
use crate::set::SHARDS_MAX;

/// Points of each shard, unless said otherwise: shares then differ by a few percent.
pub const POINTS_DEFAULT: u32 = 512;

/// Points of each shard at the most.
pub const POINTS_MAX: u32 = 65_536;

/// The bytes of `pointsrg`.
const POINT_SEED: u64 = 0x706F_696E_7473_7267;

/// A ring.
#[derive(Clone)]
pub struct Ring {
    points: u32,
    /// For each number of shards, made when it is first asked for.
    built: Arc<[OnceLock<Box<[Point]>>]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    at: u64,
    shard: u32,
}

impl Ring {
    /// A ring with so many points for each shard, from 1 to [`POINTS_MAX`].
    #[must_use]
    pub fn new(points: u32) -> Self {
        let built = (0..=SHARDS_MAX).map(|_| OnceLock::new()).collect();
        Self { points: points.clamp(1, POINTS_MAX), built }
    }

    pub(super) fn shard(&self, hash: u64, shards: usize) -> usize {
        let shards = shards.min(SHARDS_MAX);
        let Some(points) = self.built.get(shards).map(|built| built.get_or_init(|| self.build(shards)))
        else {
            return 0;
        };
        let next = points.partition_point(|point| point.at < hash);
        points.get(next).or(points.first()).map_or(0, |point| point.shard as usize)
    }

    fn build(&self, shards: usize) -> Box<[Point]> {
        let shards = u32::try_from(shards).unwrap_or(u32::MAX);
        let of_shard =
            |shard: u32| (0..self.points).map(move |point| Point { at: place(shard, point), shard });
        let mut points: Box<[Point]> = (0..shards).flat_map(of_shard).collect();
        points.sort_unstable();
        points
    }
}

fn place(shard: u32, point: u32) -> u64 {
    let mut name = [0; 8];
    name[..4].copy_from_slice(&shard.to_le_bytes());
    name[4..].copy_from_slice(&point.to_le_bytes());
    hash::of_bytes(&name, POINT_SEED)
}

impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        self.points == other.points
    }
}

impl Eq for Ring {}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("points", &self.points).finish_non_exhaustive()
    }
}
