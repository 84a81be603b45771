//! `pointsman plugin new`: a plugin that works, with its SDK and the contract beside it, so that it needs nothing else of ours.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use super::Language;

/// A file's path below the plugin's folder, and its text; `{{name}}` stands for the plugin's name.
type File = (&'static str, &'static str);

/// What lies in the checkout's `plugins/`.
macro_rules! plugins {
    ($path:literal) => {
        include_str!(concat!("../../../../../plugins/", $path))
    };
}

/// The contract.
pub(super) const CONTRACT: &str = plugins!("wit/pointsman-plugin.wit");

const COMMON: &[File] = &[
    (".gitignore", plugins!("templates/gitignore")),
    ("fixtures.yaml", plugins!("templates/fixtures.yaml")),
];

const RUST: &[File] = &[
    ("Cargo.toml", plugins!("templates/rust/Cargo.toml.in")),
    ("src/lib.rs", plugins!("templates/rust/lib.rs")),
    ("README.md", plugins!("sdk/rust/README.md")),
    ("sdk/Cargo.toml", plugins!("sdk/rust/Cargo.toml")),
    ("sdk/wit/pointsman-plugin.wit", CONTRACT),
    ("sdk/src/lib.rs", plugins!("sdk/rust/src/lib.rs")),
    ("sdk/src/bench.rs", plugins!("sdk/rust/src/bench.rs")),
    ("sdk/src/bench/host.rs", plugins!("sdk/rust/src/bench/host.rs")),
    ("sdk/src/bench/world.rs", plugins!("sdk/rust/src/bench/world.rs")),
    ("sdk/src/bindings.rs", plugins!("sdk/rust/src/bindings.rs")),
    ("sdk/src/capabilities.rs", plugins!("sdk/rust/src/capabilities.rs")),
    ("sdk/src/export.rs", plugins!("sdk/rust/src/export.rs")),
    ("sdk/src/verdict.rs", plugins!("sdk/rust/src/verdict.rs")),
];

const JAVASCRIPT: &[File] = &[
    ("plugin.js", plugins!("templates/js/plugin.js")),
    ("plugin.test.mjs", plugins!("templates/js/plugin.test.mjs")),
    ("README.md", plugins!("sdk/js/README.md")),
    ("sdk/pointsman.js", plugins!("sdk/js/pointsman.js")),
    ("sdk/bench.mjs", plugins!("sdk/js/bench.mjs")),
    ("wit/world.wit", plugins!("templates/world.wit")),
    ("wit/deps/pointsman-plugin/pointsman-plugin.wit", CONTRACT),
];

const PYTHON: &[File] = &[
    ("plugin.py", plugins!("templates/python/plugin.py")),
    ("test_plugin.py", plugins!("templates/python/test_plugin.py")),
    ("README.md", plugins!("sdk/python/README.md")),
    ("sdk/pointsman.py", plugins!("sdk/python/pointsman.py")),
    ("sdk/bench.py", plugins!("sdk/python/bench.py")),
    ("wit/world.wit", plugins!("templates/world.wit")),
    ("wit/deps/pointsman-plugin/pointsman-plugin.wit", CONTRACT),
];

/// Writes a plugin into a folder of its name below `parent`. One that is there already is an error, and left alone.
pub(super) fn write(parent: &Path, name: &str, language: Language) -> Result<()> {
    check(name)?;
    let dir = parent.join(name);
    std::fs::create_dir_all(parent)?;
    std::fs::create_dir(&dir)
        .map_err(|error| Error::new(error.kind(), format!("{}: {error}", dir.display())))?;
    let own = match language {
        Language::Rust => RUST,
        Language::Js => JAVASCRIPT,
        Language::Python => PYTHON,
    };
    for (path, text) in COMMON.iter().chain(own) {
        let path = dir.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, text.replace("{{name}}", name))?;
    }
    Ok(())
}

/// A name that Cargo, WIT and the configuration take alike.
fn check(name: &str) -> Result<()> {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    if name.len() <= 63 && name.split('-').all(is_word) {
        return Ok(());
    }
    let why =
        format!("{name}: a plugin's name is words of a-z and 0-9, joined by `-`, that begin with a letter");
    Err(Error::new(ErrorKind::InvalidInput, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_every_tool_takes() {
        for name in ["a", "read-only", "mask2"] {
            check(name).expect(name);
        }
        for name in ["", "A", "a_b", "-a", "a--b", "2a", "a-2", "../a", "a/b"] {
            check(name).expect_err(name);
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let parent = std::env::temp_dir().join(format!("pointsman-plugin-new-{}", std::process::id()));
        for (language, file) in
            [(Language::Rust, "src/lib.rs"), (Language::Js, "plugin.js"), (Language::Python, "plugin.py")]
        {
            write(&parent, "read-only", language).expect("written");
            assert!(parent.join("read-only").join(file).exists());
            let again = write(&parent, "read-only", language).expect_err("it is there");
            assert_eq!(again.kind(), ErrorKind::AlreadyExists);
            std::fs::remove_dir_all(&parent).expect("removed");
        }
    }
}
