//! Guests: core modules in text form, with the contract's world in a section of theirs, as `cargo build` makes them of an author's
//! plugin. Also what they are called with.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pointsman_plugin_host::{
    Constant, ConstantKind, Host, HostOptions, Identity, LoadError, Parameter, Plugin, PluginSpec, Plugins,
    QueryCall, Relation, Session, Statement, StatementKind, Value, WriteCall,
};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What every guest has: memory, and an allocator that a post-return function empties.
const COMMON: &str = r#"
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 65536))
    (func (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get $new)))
      (local.get $at))
    (func $reset (global.set $top (i32.const 65536)))
"#;

/// What `on-query`'s function is called, and its parameters. It returns where its outcome lies: 88 bytes, all zero to pass.
pub const ON_QUERY: &str = r#"(export "pointsman:plugin/on-query@1.0.0#handle")
    (param $kind i32) (param $template i64) (param $reads i32) (param $open i32) (param $params i32) (param $literals i32) (result i32)"#;

/// The function that runs after it.
pub const AFTER_QUERY: &str =
    r#"(func (export "cabi_post_pointsman:plugin/on-query@1.0.0#handle") (param i32) (call $reset))"#;

/// A core module with a world that imports and exports these interfaces.
pub fn module(imports: &[&str], exports: &[&str], text: &str) -> Vec<u8> {
    let functions: String = imports.iter().map(|import| core_imports(import)).collect();
    let text = format!("(module {functions} {COMMON} {text})");
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut resolve = Resolve::default();
    let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/wit");
    resolve.push_dir(contract).expect("the contract");
    let line = |verb: &str, names: &[&str]| -> String {
        names.iter().map(|name| format!("{verb} pointsman:plugin/{name}@1.0.0; ")).collect()
    };
    let world = format!(
        "package test:guest; world guest {{ {} {} }}",
        line("import", imports),
        line("export", exports)
    );
    let package = resolve.push_str("guest.wit", &world).expect("a world");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a section");
    module
}

/// The functions of an interface that guests here use, as a core module imports them.
fn core_imports(interface: &str) -> String {
    let functions: &[(&str, &str)] = match interface {
        "statement" => &[("sql", "(param i32)"), ("literal", "(param i32 i32)")],
        "session" => &[("who", "(param i32)")],
        "lookup" => &[("query", "(param i32 i32 i32 i32 i32)")],
        "kv" => &[("increment", "(param i32 i32 i64 i32 i64 i32)")],
        "log" => &[("write", "(param i32 i32 i32)")],
        "metric" => {
            &[("register-counter", "(param i32 i32 i32 i32 i32 i32 i32)"), ("add", "(param i32 i32 i32 f64)")]
        }
        "clock" => &[("now", "(result i64)")],
        "random" => &[("bytes", "(param i32 i32)")],
        _ => &[],
    };
    let import = |(name, kind): &(&str, &str)| {
        format!("(import \"pointsman:plugin/{interface}@1.0.0\" \"{name}\" (func ${name} {kind}))\n")
    };
    functions.iter().map(import).collect()
}

/// A guest that passes everything.
pub fn passing() -> Vec<u8> {
    on_query(&[], "(i32.const 1024)")
}

/// A guest whose `on-query` has this body, and these imports.
pub fn on_query(imports: &[&str], body: &str) -> Vec<u8> {
    module(imports, &["on-query"], &format!("(func {ON_QUERY} {body}) {AFTER_QUERY}"))
}

/// A guest that passes what it sees, with an `init` of this body. It returns where its result lies: 12 bytes, zero if all is well.
pub fn with_init(imports: &[&str], init: &str) -> Vec<u8> {
    let text = format!(
        r#"(func (export "pointsman:plugin/lifecycle@1.0.0#init") (param i32 i32) (result i32) {init})
           (func (export "pointsman:plugin/lifecycle@1.0.0#shutdown"))
           (func {ON_QUERY} (i32.const 1024)) {AFTER_QUERY}"#
    );
    module(imports, &["lifecycle", "on-query"], &text)
}

/// A directory that goes away.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("pointsman-plugins-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        Self(dir)
    }

    /// Writes a plugin; gives its entry in a configuration.
    pub fn spec(&self, name: &str, bytes: &[u8]) -> PluginSpec {
        let file = self.0.join(format!("{name}.wasm"));
        std::fs::write(&file, bytes).expect("a file");
        let mut spec = PluginSpec::new(name, file);
        // Machines that run tests may be busy.
        spec.limits.deadline = Duration::from_secs(20);
        spec.limits.init_deadline = Duration::from_secs(20);
        spec
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A host with room for few.
pub fn host() -> Host {
    Host::new(HostOptions { instances_max: 16, ..HostOptions::default() }).expect("a host")
}

/// Loads one plugin.
pub async fn load(host: &Host, spec: PluginSpec) -> Result<Arc<Plugin>, LoadError> {
    let name = spec.name.clone();
    match host.load(vec![spec], None).await {
        Ok(plugins) => Ok(Arc::clone(plugins.get(&name).expect("the plugin"))),
        Err(mut errors) => Err(errors.remove(0)),
    }
}

/// Why a plugin is not loaded.
pub async fn refused(spec: impl FnOnce(&Dir) -> PluginSpec) -> String {
    let dir = Dir::new();
    match load(&host(), spec(&dir)).await {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error.to_string(),
    }
}

/// One plugin of several.
pub fn named(plugins: &Plugins, name: &str) -> Arc<Plugin> {
    Arc::clone(plugins.get(name).expect("the plugin"))
}

/// A session without settings.
pub struct Somebody(pub Identity);

impl Session for Somebody {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn setting(&self, name: &str) -> Option<String> {
        (name == "app.tenant").then(|| "7".to_owned())
    }
}

/// A statement of given parts.
#[derive(Default)]
pub struct Text {
    pub sql: String,
    pub literals: Vec<String>,
    pub pinned: HashMap<String, Vec<Value>>,
}

impl Statement for Text {
    fn sql(&self) -> String {
        self.sql.clone()
    }

    fn relations(&self) -> Vec<Relation> {
        vec![Relation { schema: None, name: "agents".to_owned(), written: false }]
    }

    fn literal(&self, index: usize) -> Option<Constant> {
        let text = self.literals.get(index)?.clone();
        Some(Constant { kind: ConstantKind::Integer, text })
    }

    fn param(&self, _: usize) -> Option<Parameter> {
        None
    }

    fn pinned(&self, _: &str, column: &str) -> Option<Vec<Value>> {
        self.pinned.get(column).cloned()
    }

    fn comment(&self, _: &str) -> Option<String> {
        None
    }
}

pub fn session(user: &str) -> Arc<dyn Session> {
    Arc::new(Somebody(Identity::new(user, "app", "tests", None)))
}

/// A call of a template by a user.
pub fn call(template: u64, user: &str) -> QueryCall {
    let sql = format!("SELECT id, name, bio FROM agents WHERE id = 42 {}", "-- and a comment ".repeat(9));
    QueryCall {
        session: session(user),
        statement: Arc::new(Text { sql, literals: vec!["42".to_owned()], ..Text::default() }),
        kind: StatementKind::Select,
        template,
        read_only: true,
        in_transaction: false,
        params: 0,
        literals: 1,
    }
}

/// A write of the same.
pub fn write() -> WriteCall {
    let call = call(1, "ann");
    WriteCall {
        session: call.session,
        statement: call.statement,
        kind: StatementKind::Insert,
        template: 1,
        rows: Some(1),
        lsn: None,
    }
}
