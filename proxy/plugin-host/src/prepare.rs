//! From a file to a component's bytes: read within a bound, pinned, recognised; a core module becomes a component.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read};

use sha2::{Digest, Sha256};
use wit_component::ComponentEncoder;

use crate::code::hex;
use crate::error::Problem;
use crate::spec::PluginSpec;

/// A plugin's file, as it was read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) sha256: [u8; 32],
    bytes: Vec<u8>,
}

/// Reads a plugin's file.
pub(crate) fn read(spec: &PluginSpec) -> Result<Source, Problem> {
    let meta = fs::metadata(&spec.file).map_err(Problem::File)?;
    if !meta.is_file() {
        // To open a pipe would wait for whoever writes into it.
        return Err(Problem::File(Error::new(ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let file = File::open(&spec.file).map_err(Problem::File)?;
    let (size, max) = (meta.len(), spec.limits.file_bytes_max);
    let mut bytes = Vec::new();
    file.take((max as u64).saturating_add(1)).read_to_end(&mut bytes).map_err(Problem::File)?;
    if bytes.len() > max {
        return Err(Problem::Large { size: size.max(bytes.len() as u64), max });
    }
    let sha256: [u8; 32] = Sha256::digest(&bytes).into();
    if let Some(pinned) = spec.sha256
        && pinned != sha256
    {
        return Err(Problem::Pin { found: hex(&sha256), pinned: hex(&pinned) });
    }
    Ok(Source { sha256, bytes })
}

impl Source {
    /// The component that the file is, or that is made of it.
    pub(crate) fn component(self) -> Result<Vec<u8>, Problem> {
        match self.bytes.get(..8) {
            Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(self.bytes),
            Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => encode(&self.bytes),
            Some([0, b'a', b's', b'm', ..]) => {
                Err(Problem::NotWasm("it is of a version of WebAssembly that is not known".to_owned()))
            }
            _ if self.bytes.is_empty() => Err(Problem::NotWasm("the file is empty".to_owned())),
            _ if self.bytes.trim_ascii_start().starts_with(b"(") => Err(Problem::NotWasm(
                "it is WebAssembly's text form; assemble it first (`wasm-tools parse`)".to_owned(),
            )),
            _ => Err(Problem::NotWasm("it does not begin with WebAssembly's magic bytes".to_owned())),
        }
    }
}

fn encode(module: &[u8]) -> Result<Vec<u8>, Problem> {
    if !module.windows(b"component-type".len()).any(|window| window == b"component-type") {
        return Err(Problem::CoreModule(
            "it has no `component-type` section; `wit_bindgen::generate!` or the SDK's macro puts one there"
                .to_owned(),
        ));
    }
    let encoded =
        ComponentEncoder::default().validate(true).module(module).and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| {
        let message = format!("{error:#}");
        let wasi = message.contains("wasi_snapshot_preview1");
        let hint = if wasi { "; there is no WASI here: build for `wasm32-unknown-unknown`" } else { "" };
        Problem::CoreModule(message + hint)
    })
}
