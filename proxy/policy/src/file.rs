//! One policy file: YAML to typed rules, strictly. Everything that is wrong is told at once, each with its place.

use crate::catalog::Volatility;
use crate::check::Test;
use crate::format::{self, FILE};
use crate::overrides::Overrides;
use crate::problem::{PolicyError, Problems};
use crate::rule::{self, Home, Mode, Rule};
use crate::tables::{self, Tables};
use crate::yaml::{self, Node, Place};

/// One policy file.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    /// `metadata.name`, and where it stands.
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) overrides: Overrides,
    pub(crate) tables: Tables,
    pub(crate) rules: Vec<Rule>,
    pub(crate) tests: Vec<Test>,
}

/// Reads one policy file; `path` is only named in errors.
pub(crate) fn read(path: &str, text: &str) -> Result<PolicyFile, Vec<PolicyError>> {
    let mut problems = Problems::new(path);
    let document = match yaml::parse(text) {
        Ok(document) => document,
        Err((message, place)) => {
            problems.add(place, message);
            return Err(problems.finish());
        }
    };
    // A document of another version has other keys: nothing more can be said of it.
    if let Some(version) = document.get("apiVersion")
        && version.text() != Some(format::API_VERSION)
    {
        let message =
            format!("`apiVersion` must be `{}`, not {}", format::API_VERSION, version.value.shown());
        problems.add(version.place, message);
        return Err(problems.finish());
    }
    let file = Reader { path, problems: &mut problems }.read(&document);
    let found = problems.finish();
    if found.is_empty() { Ok(file) } else { Err(found) }
}

struct Reader<'a, 'p> {
    path: &'a str,
    problems: &'a mut Problems<'p>,
}

impl Reader<'_, '_> {
    fn read(&mut self, document: &Node) -> PolicyFile {
        format::check(document, &FILE, "", self.problems);
        let name = document.get("metadata").and_then(|node| node.get("name"));
        let spec = document.get("spec");
        let under = |key: &str| spec.and_then(|node| node.get(key));
        let tables = under("tables").map(|node| tables::read::tables(node, self.path, self.problems));
        let tables = tables.unwrap_or_default();
        let home = Home {
            path: self.path.into(),
            policy: name.and_then(Node::text).unwrap_or_default().into(),
            mode: rule::mode(under("mode")).unwrap_or(Mode::Enforce),
        };
        let rules = self.rules(under("rules"), &home, &tables);
        let tests: Vec<Test> =
            under("tests").map(|node| node.items().iter().map(Test::read).collect()).unwrap_or_default();
        self.expectations(&tests, &rules);
        PolicyFile {
            name: home.policy.to_string(),
            place: name.unwrap_or(document).place,
            overrides: under("functions").map(overrides).unwrap_or_default(),
            tables,
            rules,
            tests,
        }
    }

    fn rules(&mut self, node: Option<&Node>, home: &Home, tables: &Tables) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        // A rule that is not whole says nothing about others.
        let mut whole: Vec<usize> = Vec::new();
        for (index, node) in node.map(Node::items).unwrap_or_default().iter().enumerate() {
            let mut trial = Problems::new(self.path);
            format::check(node, &format::RULE_SHAPE, "", &mut trial);
            let before = self.problems.count();
            let rule = rule::read(node, home, self.problems);
            if trial.count() == 0 && self.problems.count() == before {
                rule::alone(&rule, node, tables, self.problems);
                self.doubled(&rule, &rules);
                if self.problems.count() == before {
                    let earlier: Vec<&Rule> = whole.iter().map(|at| &rules[*at]).collect();
                    rule::against_earlier(&rule, &earlier, tables, self.problems);
                    whole.push(index);
                }
            }
            rules.push(rule);
        }
        rules
    }

    fn doubled(&mut self, rule: &Rule, others: &[Rule]) {
        if let Some(first) = others.iter().find(|other| other.name == rule.name) {
            let line = first.place.line;
            self.problems.add(rule.place, format!("another rule is called `{}`, in line {line}", rule.name));
        } else if &*rule.name == "none" {
            self.problems.add(rule.place, "`none` cannot be a rule's name: tests mean no rule by it");
        }
    }

    /// Tests that name rules which are not there.
    fn expectations(&mut self, tests: &[Test], rules: &[Rule]) {
        for test in tests {
            let Some(expected) = &test.rule else { continue };
            if expected.value != "none" && rules.iter().all(|rule| *rule.name != *expected.value) {
                let names = rules.iter().map(|rule| &*rule.name);
                let word = crate::suggest::suggestion(&expected.value, names.chain(["none"]));
                self.problems.suggest(expected.place, format!("there is no rule `{}`", expected.value), word);
            }
        }
    }
}

fn overrides(node: &Node) -> Overrides {
    let mut overrides = Overrides::default();
    for (name, value) in node.entries() {
        let volatility = value.text().or_else(|| value.get("volatility")?.text());
        if let Some(volatility) = volatility.and_then(Volatility::named) {
            overrides.set(&name.name, volatility);
        }
        if let Some(reads) = value.get("reads") {
            let relations = reads.items().iter().filter_map(Node::text).map(str::to_owned).collect();
            overrides.set_reads(&name.name, relations);
        }
    }
    overrides
}
