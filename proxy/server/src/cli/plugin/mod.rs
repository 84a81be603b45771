//! `pointsman plugin`: plugins written, built and tried out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

mod build;
mod fixtures;
mod new;
mod test;

const EXAMPLES: &str = "\
Examples:
  A plugin in Rust that works, in the folder read-only, with its tests and a README that says all further steps:
    pointsman plugin new --lang rust read-only

  Build it; the last line says where it is:
    pointsman plugin build read-only

  Ask it what its fixtures.yaml says, as the server would:
    pointsman plugin test read-only

Exit codes: 0 done, 1 a tool or a case failed, 2 the command line is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Plugin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a plugin to begin with.
    New(New),
    /// Build a plugin with its language's own tool.
    Build(Build),
    /// Ask a plugin the cases of its fixtures, as the server would; it is built if it is not, or older than its source.
    Test(Test),
}

#[derive(Debug, Args)]
struct New {
    /// What it is written in.
    #[arg(long, value_name = "LANGUAGE", value_enum)]
    lang: Language,
    /// Its name, and that of its folder: words of a-z and 0-9, joined by `-`.
    name: String,
}

#[derive(Debug, Args)]
struct Build {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct Test {
    /// The plugin's folder, with `fixtures.yaml`.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The plugin itself: nothing is built.
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Rust, by cargo.
    Rust,
    /// JavaScript, by componentize-qjs.
    Js,
    /// Python, by componentize-py.
    Python,
}

impl Plugin {
    pub(super) fn run(self) -> ExitCode {
        let done = match self.command {
            Command::New(New { lang, name }) => new::write(Path::new("."), &name, lang).map(|()| {
                println!("{name}/README.md says how it is tested and built");
                0
            }),
            Command::Build(Build { dir }) => build::build(&dir).map(|file| {
                println!("{}", file.display());
                0
            }),
            Command::Test(Test { dir, wasm }) => test::run(&dir, wasm),
        };
        match done {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("pointsman: plugin: {error}");
                ExitCode::FAILURE
            }
        }
    }
}
