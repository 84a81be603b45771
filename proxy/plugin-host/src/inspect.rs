//! What a component imports and exports, held against the contract and its grants, before anything of it runs.

use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex};

use crate::error::Problem;
use crate::spec::{Capability, Hook};

/// The contract's package.
const PACKAGE: &str = "pointsman:plugin/";

/// The contract's version.
pub(crate) const VERSION: &str = "1.0.0";

/// Interfaces that need no grant.
const FREE: [&str; 3] = ["types", "session", "statement"];

/// Functions that a component exports, and what it imports.
#[derive(Debug)]
pub(crate) struct Exports {
    pub(crate) init: Option<ComponentExportIndex>,
    pub(crate) shutdown: Option<ComponentExportIndex>,
    pub(crate) declare: Option<ComponentExportIndex>,
    /// `handle` of each hook, in the order of [`Hook::WORDS`].
    pub(crate) hooks: [Option<ComponentExportIndex>; Hook::WORDS.len()],
    /// Capabilities that it imports, all of them granted.
    pub(crate) capabilities: Vec<Capability>,
}

/// The interface and version of a name of the contract.
fn ours(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PACKAGE)?.split_once('@')
}

fn capability(interface: &str) -> Option<Capability> {
    Capability::WORDS.iter().find(|(word, _)| *word == interface).map(|(_, capability)| *capability)
}

/// Whether what was made for a version can work with ours: the first number counts.
fn is_compatible(version: &str) -> bool {
    version.split_once('.').is_some_and(|(major, _)| major == "1")
}

/// Checks imports and exports.
pub(crate) fn inspect(
    engine: &Engine,
    component: &Component,
    grants: &[Capability],
) -> Result<Exports, Problem> {
    let kind = component.component_type();
    let imports: Vec<&str> = kind.imports(engine).map(|(name, _)| name).collect();
    for import in &imports {
        check_import(import, &imports, grants)?;
    }
    let exports: Vec<&str> = kind.exports(engine).map(|(name, _)| name).collect();
    let other = exports.iter().find(|name| ours(name).is_some_and(|(_, version)| !is_compatible(version)));
    if let Some(found) = other {
        return Err(Problem::OtherVersion { found: (*found).to_owned(), ours: VERSION });
    }
    let function = |interface: &str, function: &str| {
        let instance = component.get_export_index(None, &*format!("{PACKAGE}{interface}@{VERSION}"))?;
        component.get_export_index(Some(&instance), function)
    };
    let hooks = Hook::WORDS.iter().map(|(word, _)| function(word, "handle")).collect::<Vec<_>>();
    let hooks: [_; Hook::WORDS.len()] = hooks.try_into().map_err(|_| Problem::Invalid("hooks".to_owned()))?;
    if hooks.iter().all(Option::is_none) {
        let list = if exports.is_empty() { "none".to_owned() } else { exports.join(", ") };
        return Err(Problem::NoHook { exports: list });
    }
    let mut capabilities: Vec<Capability> =
        imports.iter().filter_map(|name| capability(ours(name)?.0)).collect();
    capabilities.sort_unstable();
    capabilities.dedup();
    Ok(Exports {
        init: function("lifecycle", "init"),
        shutdown: function("lifecycle", "shutdown"),
        declare: function("needs", "declare"),
        hooks,
        capabilities,
    })
}

fn check_import(import: &str, all: &[&str], grants: &[Capability]) -> Result<(), Problem> {
    let unknown = |hint| Problem::UnknownImport { import: import.to_owned(), hint };
    let Some((interface, version)) = ours(import) else {
        return Err(unknown(if import.starts_with("wasi:") {
            ": plugins get no WASI. Build for `wasm32-unknown-unknown`, or with `--stub-wasi` where the tool has that"
        } else {
            ""
        }));
    };
    if !is_compatible(version) {
        return Err(Problem::OtherVersion { found: import.to_owned(), ours: VERSION });
    }
    if FREE.contains(&interface) {
        return Ok(());
    }
    match capability(interface) {
        None => Err(unknown(": it may be of a later version of the contract")),
        Some(capability) if grants.contains(&capability) => Ok(()),
        Some(_) => {
            let needed = all.iter().filter_map(|name| capability(ours(name)?.0));
            let mut needed: Vec<Capability> = needed.chain(grants.iter().copied()).collect();
            needed.sort_unstable();
            needed.dedup();
            let words: Vec<&str> = needed.into_iter().map(Capability::word).collect();
            Err(Problem::NotGranted { interface: interface.to_owned(), grants: words.join(", ") })
        }
    }
}
