//! Sharding as clients see it: statements for one shard go there, those for many are put together right or refused.
mod copying;
mod differential;
mod direct;
mod generate;
mod inserts;
mod outcome;
mod pinned;
mod pipelined;
mod protocol;
mod seen;
mod shown;
mod shrink;
mod sql;
mod trouble;
mod values;
mod workload;
mod world;
