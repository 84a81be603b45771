//! What the fuzz targets run. The wire crate's part is shared with its own random tests.

#[path = "../../../proxy/wire/tests/drivers/mod.rs"]
pub mod wire;

pub mod sql;
