//! `pointsman plugin test`: a plugin as the server has it, asked the cases of its fixtures.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pointsman_plugin_host::{
    Capability, Host, HostOptions, Limits, Lookup, LookupError, LookupFuture, LookupRequest, Plugin,
    PluginSpec, Rows,
};
use pointsman_policy::Overrides;
use pointsman_policy::catalog::Catalog;

use super::build;
use super::fixtures::{self, Fixtures, Found};

/// Compiled plugins that are kept; each build of one leaves another.
const COMPILED_MAX: usize = 16;

/// Asks every case, a line for each, and gives how many differ. `file` is the plugin; none: it is built.
pub(super) fn run(dir: &Path, file: Option<PathBuf>) -> Result<usize> {
    let fixtures = read(&dir.join("fixtures.yaml"))?;
    let file = file.map_or_else(|| build::current(dir), Ok)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let code = build::target(dir).join("pointsman-code");
        let plugin = load(&fixtures, file, code.clone()).await?;
        let catalog = Catalog::assumed(&Overrides::default());
        let mut differ = 0;
        for case in &fixtures.cases {
            match fixtures::judge(&plugin, case, &catalog).await {
                Ok(()) => println!("ok    {}", case.name),
                Err(why) => {
                    differ += 1;
                    println!("FAIL  {}: {why}", case.name);
                }
            }
        }
        println!("{} cases, {differ} failed", fixtures.cases.len());
        forget(&code)?;
        Ok(differ)
    })
}

fn read(path: &Path) -> Result<Fixtures> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| Error::new(error.kind(), told(&error)))?;
    let fixtures: Fixtures =
        serde_saphyr::from_str(&text).map_err(|error| Error::new(ErrorKind::InvalidData, told(&error)))?;
    if fixtures.cases.is_empty() {
        return Err(Error::new(ErrorKind::InvalidData, told(&"it has no `cases`")));
    }
    Ok(fixtures)
}

/// Loads the plugin as the server does, with more time and memory than most: what it says is tested, and not this machine.
async fn load(fixtures: &Fixtures, file: PathBuf, code: PathBuf) -> Result<Arc<Plugin>> {
    let name = "tested";
    let spec = PluginSpec {
        grants: fixtures.grants.iter().map(|word| grant(word)).collect::<Result<_>>()?,
        config: fixtures.config.clone(),
        limits: Limits {
            memory_bytes_max: 256 << 20,
            deadline: Duration::from_secs(5),
            init_deadline: Duration::from_secs(30),
            // A case that expects a failure is not to disable the plugin for those after it.
            failures_max: u32::MAX,
            ..Limits::default()
        },
        ..PluginSpec::new(name, file)
    };
    let lookup = Some(Arc::new(Lookups(fixtures.lookups.clone())) as Arc<dyn Lookup>);
    let options = HostOptions { code_dir: Some(code), lookup, ..HostOptions::default() };
    let host = Host::new(options).map_err(Error::other)?;
    let plugins = Box::pin(host.load(vec![spec], None)).await.map_err(|errors| {
        let told: Vec<String> = errors.iter().map(|error| error.problem.to_string()).collect();
        Error::other(format!("the plugin {}", told.join("; ")))
    })?;
    plugins.get(name).cloned().ok_or_else(|| Error::other("the plugin was not loaded"))
}

fn grant(word: &str) -> Result<Capability> {
    let found = Capability::WORDS.iter().find(|(known, _)| *known == word);
    let all = || Capability::WORDS.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
    let why = || Error::new(ErrorKind::InvalidData, format!("grants: no `{word}`; there are {}", all()));
    found.map(|(_, capability)| *capability).ok_or_else(why)
}

/// Removes all but the compiled plugins that were made last.
fn forget(code: &Path) -> Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(code)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path()));
    }
    files.sort_unstable();
    let old = files.len().saturating_sub(COMPILED_MAX);
    files.iter().take(old).try_for_each(|(_, file)| std::fs::remove_file(file))
}

/// What lookups find.
struct Lookups(Vec<Found>);

impl Lookup for Lookups {
    fn query(&self, request: LookupRequest) -> LookupFuture {
        let fits = |found: &&Found| {
            let same = found.params.as_ref().is_none_or(|params| *params == request.params);
            same && request.sql.contains(&found.sql)
        };
        let answer = match self.0.iter().find(fits) {
            Some(Found { columns, rows, .. }) => Ok(Rows { columns: columns.clone(), rows: rows.clone() }),
            None => Err(LookupError::Unavailable(format!("no lookup of the fixtures fits {}", request.sql))),
        };
        Box::pin(std::future::ready(answer))
    }
}
