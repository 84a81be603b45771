//! Style as a test: floors, lengths, charters, the top level, and what may not be written.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Each crate, its folder, and the crates of the project that it may know.
const FLOORS: &[(&str, &str, &[&str])] = &[
    ("pointsman-wire", "proxy/wire", &[]),
    ("pointsman-sql", "proxy/sql", &[]),
    ("pointsman-shards", "proxy/shards", &["pointsman-wire", "pointsman-sql"]),
    ("pointsman-policy", "proxy/policy", &["pointsman-sql", "pointsman-shards"]),
    ("pointsman-cache", "proxy/cache", &["pointsman-wire", "pointsman-sql", "pointsman-policy"]),
    ("pointsman-shared", "proxy/shared", &["pointsman-cache", "pointsman-policy"]),
    ("pointsman-plugin-host", "proxy/plugin-host", &[]),
    (
        "pointsman",
        "proxy/server",
        &[
            "pointsman-wire",
            "pointsman-sql",
            "pointsman-shards",
            "pointsman-policy",
            "pointsman-cache",
            "pointsman-shared",
            "pointsman-plugin-host",
        ],
    ),
];

/// What the floors without input or output must not depend on.
const OUTSIDE_WORLD: &[&str] =
    &["tokio", "tokio-postgres", "tokio-rustls", "rustls", "socket2", "redis", "pingora-core", "wasmtime"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the project").to_owned()
}

/// Every file that git knows or would add; all but what builds leave behind where there is no git.
fn files() -> Vec<PathBuf> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root()).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        let mut found = Vec::new();
        walk(&root(), &mut found);
        return found;
    };
    let listed = String::from_utf8(output.stdout).expect("names are UTF-8");
    let mut files: Vec<PathBuf> = listed.lines().map(PathBuf::from).collect();
    files.retain(|file| root().join(file).exists());
    files
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a readable directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let skipped = ["target", "node_modules", "__pycache__", ".git"].iter().any(|skip| name == *skip);
        if path.is_dir() && !skipped {
            walk(&path, found);
        } else if path.is_file() {
            found.push(path.strip_prefix(root()).expect("below the root").to_owned());
        }
    }
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let rust = files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|file| {
        let text = std::fs::read_to_string(root().join(&file)).expect("a source file");
        (file, text)
    })
    .collect()
}

/// Reports every breach at once.
fn none(breaches: Vec<String>) {
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

/// The part of a file before its inline tests.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn is_test_file(file: &Path) -> bool {
    file.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "tests")
}

/// Names in the `[dependencies]` tables of a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some((name, _)) = line.split_once(['=', '.', ' ']) {
            names.push(name.trim().to_owned());
        }
    }
    names.retain(|name| !name.is_empty() && !name.starts_with('#'));
    names
}

#[test]
fn floors_hold() {
    let mut breaches = Vec::new();
    for (name, folder, allowed) in FLOORS {
        let Ok(manifest) = std::fs::read_to_string(root().join(folder).join("Cargo.toml")) else { continue };
        for dependency in dependencies(&manifest) {
            let ours = dependency == "pointsman" || dependency.starts_with("pointsman-");
            if ours && !allowed.contains(&dependency.as_str()) {
                breaches.push(format!("{name} must not know {dependency}"));
            }
            let pure =
                matches!(*name, "pointsman-wire" | "pointsman-sql" | "pointsman-policy" | "pointsman-cache");
            if pure && OUTSIDE_WORLD.contains(&dependency.as_str()) {
                breaches.push(format!("{name} does no I/O: it must not depend on {dependency}"));
            }
        }
    }
    none(breaches);
}

#[test]
fn rooms_keep_apart() {
    let pairs =
        [("upstream", "crate::client"), ("client", "crate::upstream"), ("transport", "crate::session")];
    let mut breaches = Vec::new();
    for (file, text) in rust_files() {
        for (room, other) in pairs {
            let here = file.starts_with(format!("proxy/server/src/{room}"));
            let imports = without_tests(&text).lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in imports.filter(|line| line.contains(other) && !line.contains("::config")) {
                if here {
                    breaches.push(format!("{}: {room} imports {other}: {}", file.display(), line.trim()));
                }
            }
        }
    }
    none(breaches);
}

#[test]
fn files_are_short() {
    let mut breaches = Vec::new();
    for (file, text) in rust_files() {
        let lines = if is_test_file(&file) { &text } else { without_tests(&text) }.lines().count();
        if lines > FILE_LINES_MAX {
            breaches.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", file.display()));
        }
        let inline = text.lines().count() - without_tests(&text).lines().count();
        if inline > 160 {
            breaches.push(format!("{}: {inline} lines of inline tests belong in tests.rs", file.display()));
        }
    }
    none(breaches);
}

/// Each function's name, first line and lines of code in its body; rustfmt's layout makes the indent of `fn` that of its `}`.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let words: BTreeSet<&str> = trimmed.split(['(', '<', ' ']).take(6).collect();
        if trimmed.starts_with("//")
            || !words.contains("fn")
            || trimmed.ends_with(';')
            || trimmed.ends_with('}')
        {
            continue;
        }
        let close = format!("{}}}", " ".repeat(line.len() - trimmed.len()));
        let Some(end) = lines[start..].iter().position(|line| *line == close) else { continue };
        let code = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        let open =
            lines[start..start + end].iter().position(|line| line.ends_with('{')).map_or(1, |open| open + 1);
        let length = lines[start + open..start + end].iter().filter(code).count();
        let name = trimmed.split("fn ").nth(1).unwrap_or(trimmed).split(['(', '<']).next().unwrap_or("");
        found.push((name.to_owned(), start + 1, length));
    }
    found
}

#[test]
fn functions_are_short() {
    let mut breaches = Vec::new();
    for (file, text) in rust_files() {
        for (name, line, length) in functions(&text) {
            if length > FUNCTION_LINES_MAX {
                let place = format!("{}:{line}", file.display());
                breaches.push(format!("{place}: {name} has {length} lines, at most {FUNCTION_LINES_MAX}"));
            }
        }
    }
    none(breaches);
}

#[test]
fn every_file_opens_with_its_charter() {
    let mut breaches = Vec::new();
    for (file, text) in rust_files() {
        let first = text.lines().find(|line| !line.starts_with("#![")).unwrap_or("");
        if !first.starts_with("//! ") {
            breaches.push(format!("{}: no charter", file.display()));
        }
    }
    none(breaches);
}

#[test]
fn the_proxy_does_not_unwrap() {
    let mut breaches = Vec::new();
    for (file, text) in rust_files() {
        if !file.starts_with("proxy") || is_test_file(&file) {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            if line.contains(".unwrap()") && !line.trim_start().starts_with("//") {
                breaches.push(format!("{}:{}: unwrap", file.display(), number + 1));
            }
        }
    }
    none(breaches);
}

#[test]
fn the_top_level_is_exactly_the_design() {
    let known: BTreeSet<&str> =
        "Cargo.toml Cargo.lock LICENSE README.md proxy plugins policies tests examples deploy"
            .split(' ')
            .collect();
    let mut breaches = BTreeSet::new();
    for file in files() {
        let top = file.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
        let top = top.unwrap_or_default();
        if !known.contains(top.as_str()) && !top.starts_with('.') {
            breaches.insert(format!("{top}: not part of the top level"));
        }
    }
    none(breaches.into_iter().collect());
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X "].concat()];
    let mut breaches = Vec::new();
    for (file, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                breaches.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    none(breaches);
}

#[test]
fn allowances_give_their_reason() {
    let mut breaches = Vec::new();
    for (file, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            let allows =
                line.trim_start().starts_with("#[allow(") || line.trim_start().starts_with("#![allow(");
            let after: String = text.lines().skip(number).take(4).collect();
            if allows && !after.contains("reason") {
                breaches.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    none(breaches);
}
