//! The two stages held together: texts of equal template have equal `pg_query` fingerprints and equal facts, and the
//! lexer finds the statements that the parser finds. Over PostgreSQL's regression SQL where `tests/corpus.sh` has
//! fetched it, and over statements of our own.

#[path = "corpus/generate.rs"]
mod generate;
#[path = "corpus/vary.rs"]
mod vary;

use std::collections::HashMap;
use std::path::PathBuf;

use pg_query::FingerprintOptions;
use pointsman_sql::{Analyzer, Facts, LexRules, split};

/// Distinct statements that a run must see at least.
const STATEMENTS_MIN: usize = 2000;

/// The regression SQL, one text for each file: psql's commands and inline COPY data taken out.
fn regression_files() -> Vec<String> {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("corpus");
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).map(|bytes| without_psql(&bytes)).collect()
}

fn without_psql(bytes: &[u8]) -> String {
    let mut kept = String::new();
    let mut data = false;
    for line in String::from_utf8_lossy(bytes).lines() {
        let lower = line.to_ascii_lowercase();
        if data {
            data = line != "\\.";
            continue;
        }
        data = lower.starts_with("copy") && lower.contains("from stdin") && line.trim_end().ends_with(';');
        let text = line.find(" \\").map_or(line, |at| &line[..at]);
        if !line.starts_with('\\') {
            kept.push_str(text);
            kept.push_str(if text.len() < line.len() { ";\n" } else { "\n" });
        }
    }
    kept
}

/// All statements that `pg_query` parses, each once.
fn statements() -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let mut all = generate::statements();
    for file in regression_files() {
        // A quote that psql's own syntax leaves open only ends this file.
        let ranges = pg_query::split_with_scanner(&file).unwrap_or_default();
        all.extend(ranges.into_iter().map(|text| text.trim().to_owned()));
    }
    all.retain(|text| seen.insert(text.clone()) && fingerprint(text).is_some());
    all
}

fn fingerprint(text: &str) -> Option<u64> {
    let options = FingerprintOptions::FULL_RELNAME | FingerprintOptions::RANGEVAR_INCLUDE_SCHEMA;
    pg_query::fingerprint(text, 0, options).ok().map(|fingerprint| fingerprint.value)
}

/// The facts of a text that no cache has seen.
fn fresh(text: &str) -> Facts {
    let mut analyzer = Analyzer::<()>::new(1);
    Facts::clone(analyzer.analyze(text.as_bytes(), LexRules::default()).facts)
}

struct First {
    text: String,
    fingerprint: u64,
    facts: Facts,
}

#[test]
fn equal_templates_have_equal_fingerprints_and_facts() {
    let statements = statements();
    assert!(statements.len() >= STATEMENTS_MIN, "only {} statements", statements.len());
    let mut analyzer = Analyzer::<()>::new(4_000_000);
    let mut groups: HashMap<u64, First> = HashMap::new();
    let mut random = vary::Random::new(7);
    let (mut texts, mut shared, mut understood) = (0u64, 0u64, 0u64);
    for statement in &statements {
        for text in vary::variants(statement, &mut random) {
            let Some(fingerprint) = fingerprint(&text) else { continue };
            let analysis = analyzer.analyze(text.as_bytes(), LexRules::default());
            texts += 1;
            shared += u64::from(analysis.hit);
            understood += u64::from(analysis.facts.understood());
            let facts = fresh(&text);
            match groups.get(&analysis.facts.template) {
                None => {
                    groups.insert(analysis.facts.template, First { text, fingerprint, facts });
                }
                Some(first) => {
                    assert_eq!(
                        first.fingerprint, fingerprint,
                        "fingerprints differ:\n{}\n--\n{text}",
                        first.text
                    );
                    let facts = Facts { template: first.facts.template, ..facts };
                    assert_eq!(first.facts, facts, "facts differ:\n{}\n--\n{text}", first.text);
                }
            }
        }
    }
    println!(
        "{} statements, {texts} texts, {} templates, {shared} hits, {understood} understood",
        statements.len(),
        groups.len()
    );
    assert!(shared * 2 > texts, "variants share templates: {shared} of {texts}");
    assert!(understood * 100 > texts * 99, "understood: {understood} of {texts}");
}

#[test]
fn the_lexer_splits_as_the_parser_does() {
    let statements = statements();
    let mut random = vary::Random::new(11);
    for chunk in statements.chunks(5) {
        let text = vary::joined(chunk, &mut random);
        let Ok(parsed) = pg_query::split_with_parser(&text) else { continue };
        let ours: Vec<&str> = split(text.as_bytes(), LexRules::default())
            .unwrap()
            .into_iter()
            .map(|range| &text[range])
            .collect();
        let parsed: Vec<&str> = parsed.into_iter().map(vary::without_surroundings).collect();
        assert_eq!(ours, parsed, "in {text}");
    }
}
