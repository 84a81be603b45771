//! `pointsman plugin build`: calls the language's own tool, with the arguments that plugins take.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use super::Language;
use super::new::CONTRACT;

/// The target that plugins in Rust are built for.
const TARGET: &str = "wasm32-unknown-unknown";

/// A tool with its arguments, run in the plugin's folder, and what to say if it is not there.
type Tool = (&'static str, Vec<String>, &'static str);

/// Builds the plugin in a folder, and gives its file.
pub(super) fn build(dir: &Path) -> Result<PathBuf> {
    let language = language(dir)?;
    let name = name(dir, language)?;
    let file = output(dir, &name, language);
    if language != Language::Rust {
        // The contract is Pointsman's own: the plugin is built for the one that is there.
        let deps = dir.join("wit/deps/pointsman-plugin");
        std::fs::create_dir_all(&deps)?;
        std::fs::write(deps.join("pointsman-plugin.wit"), CONTRACT)?;
    }
    if language == Language::Python && dir.join("bindings").exists() {
        // The tool does not write over what it made before.
        std::fs::remove_dir_all(dir.join("bindings"))?;
    }
    for (tool, arguments, hint) in tools(dir, &name, language)? {
        let status = Command::new(tool).args(&arguments).current_dir(dir).status().map_err(|error| {
            let hint = if error.kind() == ErrorKind::NotFound { hint } else { "" };
            Error::new(error.kind(), format!("{tool}: {error}{hint}"))
        })?;
        if !status.success() {
            return Err(Error::other(format!("{tool} {}: {status}", arguments.join(" "))));
        }
    }
    if file.exists() {
        return Ok(file);
    }
    Err(Error::new(ErrorKind::NotFound, format!("{} was not made", file.display())))
}

/// The plugin in a folder, built if it is not there or older than what it is made of. Cargo knows by itself.
pub(super) fn current(dir: &Path) -> Result<PathBuf> {
    let language = language(dir)?;
    let file = output(dir, &name(dir, language)?, language);
    let fresh = match file.metadata().and_then(|meta| meta.modified()) {
        Ok(built) if language != Language::Rust => newest(dir)? < built,
        _ => false,
    };
    if fresh { Ok(file) } else { build(dir) }
}

/// When the last of a folder's own files changed: of those that are made, none counts.
fn newest(dir: &Path) -> Result<SystemTime> {
    const MADE: [&str; 6] = ["target", "bindings", "deps", "__pycache__", "node_modules", ".git"];
    let mut last = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let meta = std::fs::metadata(&path)?;
        if MADE.contains(&name) || path.extension().is_some_and(|extension| extension == "wasm") {
            continue;
        }
        last = last.max(if meta.is_dir() { newest(&path)? } else { meta.modified()? });
    }
    Ok(last)
}

/// What a plugin is written in, by its files.
pub(super) fn language(dir: &Path) -> Result<Language> {
    let marks =
        [("Cargo.toml", Language::Rust), ("plugin.js", Language::Js), ("plugin.py", Language::Python)];
    let found = marks.into_iter().find(|(file, _)| dir.join(file).exists());
    let why = || format!("{}: no Cargo.toml, plugin.js or plugin.py, so no plugin", dir.display());
    found.map(|(_, language)| language).ok_or_else(|| Error::new(ErrorKind::NotFound, why()))
}

/// The plugin's name: Cargo's, or that of its folder.
fn name(dir: &Path, language: Language) -> Result<String> {
    if language == Language::Rust {
        let manifest = std::fs::read_to_string(dir.join("Cargo.toml"))?;
        let line =
            manifest.lines().find_map(|line| line.strip_prefix("name")?.trim_start().strip_prefix('='));
        let name = line.map(|name| name.trim().trim_matches('"').to_owned());
        return name.ok_or_else(|| Error::new(ErrorKind::InvalidData, "Cargo.toml has no name"));
    }
    let folder = dir.canonicalize()?;
    let name = folder.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the folder's name is not UTF-8"))
}

/// Where the tool puts the plugin.
fn output(dir: &Path, name: &str, language: Language) -> PathBuf {
    if language != Language::Rust {
        return dir.join(format!("{name}.wasm"));
    }
    target(dir).join(TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")))
}

/// Where what is made lies: Cargo's folder for it, which is the workspace's if the plugin belongs to one.
pub(super) fn target(dir: &Path) -> PathBuf {
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        return dir.join(target);
    }
    let workspace = |parent: &&Path| {
        std::fs::read_to_string(parent.join("Cargo.toml")).is_ok_and(|text| text.contains("[workspace"))
    };
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    dir.ancestors().find(workspace).unwrap_or(&dir).join("target")
}

fn tools(dir: &Path, name: &str, language: Language) -> Result<Vec<Tool>> {
    let words = |text: &str| text.replace("NAME", name).split(' ').map(str::to_owned).collect::<Vec<_>>();
    Ok(match language {
        Language::Rust => {
            let hint = ": Rust builds plugins (rustup target add wasm32-unknown-unknown)";
            vec![("cargo", words(&format!("build --release --target {TARGET}")), hint)]
        }
        Language::Js => {
            let mut arguments = words(
                "--wit wit --js plugin.js -n plugin --stub-wasi --opt-size --sync -o NAME.wasm --module-root",
            );
            arguments.push(modules(dir)?);
            vec![("componentize-qjs", arguments, ": npm install --global componentize-qjs@0.4.5")]
        }
        Language::Python => {
            let hint = ": pip install componentize-py==0.25.1";
            let bindings = words("-q -d wit -w plugin bindings bindings");
            let build = words("-q -d wit -w plugin componentize --stub-wasi -p . -p sdk -o NAME.wasm plugin");
            vec![("componentize-py", bindings, hint), ("componentize-py", build, hint)]
        }
    })
}

/// The folder that has all of a plugin's modules: its own, or that above it which has the SDK, too, if `sdk` is a link.
fn modules(dir: &Path) -> Result<String> {
    let dir = dir.canonicalize()?;
    let sdk = dir.join("sdk").canonicalize()?;
    let root = dir.ancestors().find(|root| sdk.starts_with(root)).unwrap_or(&dir);
    let why = || Error::new(ErrorKind::InvalidInput, format!("{}: not UTF-8", root.display()));
    root.to_str().map(str::to_owned).ok_or_else(why)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_made_makes_nothing_newer() {
        let dir = std::env::temp_dir().join(format!("pointsman-plugin-newest-{}", std::process::id()));
        fs::create_dir_all(dir.join("wit/deps")).expect("folders");
        let write = |path: &str, age: u64| {
            fs::write(dir.join(path), path).expect("written");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
            fs::File::options()
                .append(true)
                .open(dir.join(path))
                .expect("open")
                .set_modified(time)
                .expect("time");
            time
        };
        let source = write("plugin.js", 10);
        write("plugin.wasm", 20);
        write("wit/deps/contract.wit", 20);
        assert_eq!(newest(&dir).expect("readable"), source);
        let world = write("wit/world.wit", 15);
        assert_eq!(newest(&dir).expect("readable"), world);
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn modules_of_a_linked_sdk_are_below_the_root() {
        let plugins =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins").canonicalize().expect("plugins");
        let root = modules(&plugins.join("column-mask")).expect("a root");
        assert_eq!(Path::new(&root), plugins);
    }
}
