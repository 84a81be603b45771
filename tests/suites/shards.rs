//! Sharding as clients see it: statements for one shard go there, those for many are put together right or refused.
mod differential;
mod generate;
mod outcome;
mod protocol;
mod shrink;
mod sql;
mod values;
mod world;
