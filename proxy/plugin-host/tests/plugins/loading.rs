//! What is refused when it is loaded, and in which words; compiled code that is kept.

use std::os::unix::fs::PermissionsExt;

use pointsman_plugin_host::{Capability, Host, HostOptions, PluginSpec};
use sha2::{Digest, Sha256};

use crate::guest::{self, Dir, call, host, load, refused};

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

async fn refused_bytes(bytes: &[u8]) -> String {
    refused(|dir| dir.spec("p", bytes)).await
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[tokio::test]
async fn what_is_not_wasm() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"\x7fELF\x02\x01\x01\0rest", "magic"),
        (b"  (module)", "text form"),
        (b"\0asm\x09\0\0\0", "version of WebAssembly"),
    ] {
        assert_says(&refused_bytes(bytes).await, &["plugin `p`", "p.wasm", "not WebAssembly", word]);
    }
    let mut cut = guest::passing();
    cut.truncate(cut.len() / 2);
    assert_says(&refused_bytes(&cut).await, &["plugin `p`"]);
    let mut component = component("(component (core module (func unreachable)))");
    component.truncate(component.len() - 3);
    assert_says(&refused_bytes(&component).await, &["not a valid component"]);
}

#[tokio::test]
async fn a_file_that_is_not_there_or_too_big_or_another() {
    let message = refused(|_| PluginSpec::new("p", "/nowhere/p.wasm")).await;
    assert_says(&message, &["/nowhere/p.wasm", "cannot be read"]);
    let message = refused(|dir| {
        let mut spec = dir.spec("p", &guest::passing());
        spec.limits.file_bytes_max = 100;
        spec
    });
    assert_says(&message.await, &["at most 100", "limits.file"]);
    let message = refused(|dir| PluginSpec { sha256: Some([0xab; 32]), ..dir.spec("p", &guest::passing()) });
    assert_says(&message.await, &["has SHA-256", "sha256: abababab"]);

    let message = refused(|_| PluginSpec::new("p", "/dev/zero")).await;
    assert_says(&message, &["/dev/zero", "cannot be read", "not a regular file"]);
    let message = refused(|dir| PluginSpec::new("p", dir.0.clone())).await;
    assert_says(&message, &["cannot be read", "not a regular file"]);

    let (dir, bytes) = (Dir::new(), guest::passing());
    let spec = PluginSpec { sha256: Some(Sha256::digest(&bytes).into()), ..dir.spec("p", &bytes) };
    load(&host(), spec).await.expect("the pinned file");
}

#[tokio::test]
async fn a_core_module_without_a_world() {
    let module = component("(module (func (export \"f\")))");
    assert_says(&refused_bytes(&module).await, &["core module", "component-type"]);
}

#[tokio::test]
async fn imports_that_are_not_granted() {
    let bytes = guest::on_query(
        &["log", "kv"],
        "(call $write (i32.const 0) (i32.const 0) (i32.const 0)) \
        (call $increment (i32.const 0) (i32.const 1) (i64.const 1) (i32.const 0) (i64.const 0) (i32.const 2048)) (i32.const 1024)",
    );
    assert_says(&refused_bytes(&bytes).await, &["imports `log`", "configure `grants: [log, kv]`"]);
    let message = refused(|dir| PluginSpec {
        grants: vec![Capability::Clock, Capability::Kv],
        ..dir.spec("p", &bytes)
    });
    assert_says(&message.await, &["imports `log`", "grants: [log, kv, clock]"]);
    let dir = Dir::new();
    let spec = PluginSpec { grants: vec![Capability::Log, Capability::Kv], ..dir.spec("p", &bytes) };
    load(&host(), spec).await.expect("granted");
}

#[tokio::test]
async fn imports_that_there_are_not() {
    let bytes = component(r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#);
    assert_says(
        &refused_bytes(&bytes).await,
        &["wasi:cli/environment@0.2.0", "no WASI", "wasm32-unknown-unknown"],
    );
    let bytes = component(r#"(component (import "acme:thing/part@1.0.0" (instance)))"#);
    assert_says(&refused_bytes(&bytes).await, &["acme:thing/part@1.0.0", "does not have"]);
    let bytes = component(r#"(component (import "pointsman:plugin/teleport@1.2.0" (instance)))"#);
    assert_says(&refused_bytes(&bytes).await, &["teleport", "later version"]);
}

#[tokio::test]
async fn other_versions_and_worlds() {
    let bytes = component(r#"(component (import "pointsman:plugin/log@2.0.0" (instance)))"#);
    assert_says(&refused_bytes(&bytes).await, &["pointsman:plugin/log@2.0.0", "has 1.0.0"]);
    let bytes =
        component(r#"(component (instance $i) (export "pointsman:plugin/on-query@0.9.0" (instance $i)))"#);
    assert_says(&refused_bytes(&bytes).await, &["pointsman:plugin/on-query@0.9.0", "has 1.0.0"]);
    let bytes = component(r#"(component (instance $i) (export "acme:thing/run@1.0.0" (instance $i)))"#);
    assert_says(&refused_bytes(&bytes).await, &["no hook", "acme:thing/run@1.0.0"]);
    assert_says(&refused_bytes(&component("(component)")).await, &["no hook", "none"]);
}

/// A guest that is made for another version of the contract, whose number has as many digits.
fn of_version(version: &str) -> Vec<u8> {
    let bytes = guest::on_query(&["statement"], "(call $sql (i32.const 2048)) (i32.const 1024)");
    let (from, to) = (b"@1.0.0", format!("@{version}").into_bytes());
    let mut changed = bytes.clone();
    for at in (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)) {
        changed[at..at + from.len()].copy_from_slice(&to);
    }
    assert_ne!(changed, bytes);
    changed
}

#[tokio::test]
async fn modules_of_other_versions() {
    let dir = Dir::new();
    let plugin =
        load(&host(), dir.spec("p", &of_version("1.1.0"))).await.expect("a later version of the same");
    let said = plugin.on_query(&call(1, "ann")).await;
    assert_eq!((plugin.status().counts.calls, said.failure), (1, None));
    assert_says(&refused_bytes(&of_version("2.0.0")).await, &["plugin/", "@2.0.0", "has 1.0.0"]);
}

#[tokio::test]
async fn a_hook_of_another_shape() {
    let bytes = component(
        r#"(component
             (core module $m (func (export "h")))
             (core instance $c (instantiate $m))
             (func $h (canon lift (core func $c "h")))
             (instance $i (export "handle" (func $h)))
             (export "pointsman:plugin/on-query@1.0.0" (instance $i)))"#,
    );
    assert_says(&refused_bytes(&bytes).await, &["differs from the contract"]);
    let bytes = component(
        r#"(component
             (import "pointsman:plugin/statement@1.0.0" (instance (export "sql" (func (result u32)))))
             (core module $m (func (export "h")))
             (core instance $c (instantiate $m))
             (func $h (canon lift (core func $c "h")))
             (instance $i (export "handle" (func $h)))
             (export "pointsman:plugin/on-query@1.0.0" (instance $i)))"#,
    );
    assert_says(&refused_bytes(&bytes).await, &["differs from the contract", "statement"]);
}

#[tokio::test]
async fn an_init_that_says_no() {
    let says_no = guest::with_init(
        &[],
        "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.store (i32.const 2052) (i32.const 2100)) \
         (i32.store (i32.const 2056) (i32.const 5)) (i64.store (i32.const 2100) (i64.const 0x2174756f79)) (i32.const 2048)",
    );
    assert_says(&refused_bytes(&says_no).await, &["refuses its configuration: yout!"]);
}

#[tokio::test]
async fn every_wrong_plugin_is_told_at_once_and_none_is_loaded() {
    let dir = Dir::new();
    let specs = vec![
        dir.spec("a", b"no"),
        dir.spec("b", &guest::passing()),
        dir.spec("c", b"neither"),
        dir.spec("b", &guest::passing()),
        dir.spec("bad name", &guest::passing()),
    ];
    let errors = host().load(specs, None).await.expect_err("three are wrong");
    let names: Vec<&str> = errors.iter().map(|error| error.plugin.as_str()).collect();
    assert_eq!(names, ["a", "c", "b", "bad name"]);
}

fn caching_host(dir: &Dir) -> Host {
    let options =
        HostOptions { code_dir: Some(dir.0.join("code")), instances_max: 4, ..HostOptions::default() };
    Host::new(options).expect("a host")
}

#[tokio::test]
async fn compiled_code_is_kept_and_checked() {
    let dir = Dir::new();
    let spec = dir.spec("p", &guest::passing());
    load(&caching_host(&dir), spec.clone()).await.expect("compiled");
    let files = || -> Vec<_> {
        let entries = std::fs::read_dir(dir.0.join("code")).expect("the directory").flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let [file] = &files()[..] else { panic!("one file, not {:?}", files()) };
    let whole = std::fs::read(file).expect("the code");
    for (at, what) in [(3, "magic"), (20, "digest"), (whole.len() / 2, "code"), (whole.len() - 1, "end")] {
        let mut broken = whole.clone();
        broken[at] ^= 0x40;
        std::fs::write(file, &broken).expect("broken");
        let plugin = load(&caching_host(&dir), spec.clone()).await.expect("compiled anew");
        assert!(plugin.on_query(&call(1, "ann")).await.failure.is_none());
        assert_eq!(std::fs::read(file).expect("the code").len(), whole.len(), "{what}");
        assert_ne!(std::fs::read(file).expect("the code"), broken, "{what}");
    }
    std::fs::write(file, &whole[..40]).expect("cut");
    load(&caching_host(&dir), spec).await.expect("compiled anew");
    assert_eq!(files().len(), 1);
}

#[tokio::test]
async fn code_is_not_run_from_where_others_can_write() {
    let dir = Dir::new();
    std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(0o777)).expect("mode");
    let options = HostOptions { code_dir: Some(dir.0.clone()), instances_max: 4, ..HostOptions::default() };
    let error = Host::new(options).err().expect("refused");
    assert_says(&error.to_string(), &["others can write", "0700"]);
}
