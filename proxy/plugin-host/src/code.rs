//! Compiled code, kept on disk: named by what it was compiled from, by what, and for which processor.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::Problem;

/// What a file begins with; its digest follows.
const MAGIC: &[u8; 16] = b"pointsman code 1";

/// A directory of compiled code that nobody else can write.
#[derive(Debug, Clone)]
pub(crate) struct CodeCache {
    dir: PathBuf,
}

impl CodeCache {
    /// Makes the directory, if it is not there.
    ///
    /// # Errors
    /// If it cannot be made, or others than its owner can write there: what lies there is run.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let meta = fs::metadata(dir)?;
        let own = rustix::process::geteuid().as_raw();
        if meta.permissions().mode() & 0o022 != 0 || (meta.uid() != own && meta.uid() != 0) {
            let message = format!(
                "{}: compiled plugins are not kept where others can write: it must belong to the user that runs Pointsman, \
                 with mode 0700",
                dir.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(Self { dir: dir.to_owned() })
    }

    fn path(&self, engine: &Engine, component: &[u8]) -> PathBuf {
        let mut digest = Digester(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut digest);
        digest.0.update(env!("CARGO_PKG_VERSION"));
        digest.0.update(component);
        self.dir.join(format!("{}.cwasm", hex(&digest.0.finalize())))
    }

    /// The code of this name, if it is whole.
    fn read(path: &Path) -> Option<Vec<u8>> {
        let bytes = fs::read(path).ok()?;
        let (magic, rest) = bytes.split_first_chunk::<16>()?;
        let (digest, code) = rest.split_first_chunk::<32>()?;
        let whole = magic == MAGIC && digest[..] == Sha256::digest(code)[..];
        whole.then(|| code.to_vec())
    }

    /// Writes the code beside its place and moves it there.
    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let part = self.dir.join(format!("{:016x}.part", rand::random::<u64>()));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(&Sha256::digest(code)))
            .and_then(|()| file.write_all(code))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            drop(fs::remove_file(&part));
        }
        written
    }
}

/// A component's code: from the cache, or compiled and put there. That the cache does not work is logged, and no error.
pub(crate) fn compile(
    engine: &Engine,
    cache: Option<&CodeCache>,
    component: &[u8],
) -> Result<Component, Problem> {
    let invalid = |error: wasmtime::Error| Problem::Invalid(format!("{error:#}"));
    let Some(cache) = cache else { return Component::new(engine, component).map_err(invalid) };
    let path = cache.path(engine, component);
    if let Some(code) = CodeCache::read(&path)
        && let Ok(component) = load(engine, &code)
    {
        return Ok(component);
    }
    let code = engine.precompile_component(component).map_err(invalid)?;
    if let Err(error) = cache.write(&path, &code) {
        tracing::warn!("a plugin's compiled code cannot be kept in {}: {error}", path.display());
    }
    load(engine, &code).map_err(invalid)
}

#[expect(unsafe_code, reason = "compiled code is native code: it has to be trusted")]
fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes were made by `precompile_component`, in this process or by whoever owns the directory, in which nobody
    // else can write (`CodeCache::open`); they are whole (`CodeCache::read`), and wasmtime itself checks that its
    // version, settings and processor are the same.
    unsafe { Component::deserialize(engine, code) }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Digester(Sha256);

impl Hasher for Digester {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
