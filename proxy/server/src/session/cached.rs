//! Reads that a rule caches: answered from memory where an entry stands that may be served, else fetched by one session
//! for all who ask meanwhile (`filling`).

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsman_cache::stats::{Bypass, Outcome};
use pointsman_cache::{
    Age, Context, Entry, Follower, Join, Key, KeyBuilder, KeyScratch, Ledger, Lifetime, Look, Millis, Place,
    Protocol, Tags,
};
use pointsman_policy::caching::{Caching, KeyPart, Scope, TagTemplate, value_of};
use pointsman_shards::Values;
use pointsman_sql::{ClientEncoding, Facts};
use pointsman_wire::backend::TransactionStatus;
use pointsman_wire::frontend::BindParameters;

use super::Session;
use super::filling::{DependsOn, Filling};
use super::judge::{judge, with_text};
use super::pins::Pins;
use super::plugged::Judges;
use super::request::Request;
use crate::caching::tags::{self, Forms as _, Naming};
use crate::caching::verdict::Plans;
use crate::fault::Fault;
use crate::policies::RuleCounts;
use crate::upstream::settings::{Interned, Settings, Value, quote_text};

/// How long a session waits for what another one fetches, before it asks for itself.
const FOLLOW_MAX: Duration = Duration::from_secs(5);

thread_local! {
    static SCRATCH: RefCell<KeyScratch> = RefCell::default();
}

/// What is known of a read that a rule caches.
#[derive(Debug)]
pub(super) struct Terms {
    pub caching: Arc<Caching>,
    pub counts: Arc<RuleCounts>,
    pub ledger: Arc<Ledger>,
    pub plans: Arc<Plans>,
    pub facts: Arc<Facts>,
    /// Of the catalog that the plans are made by.
    pub families: u64,
    /// The plugins that were asked of it.
    pub judges: Option<Judges>,
}

/// One execution of a statement.
#[derive(Clone, Copy)]
pub(super) struct Execution<'a> {
    pub protocol: Protocol,
    pub sql: &'a [u8],
    /// The types that `Parse` named, as they came.
    pub types: &'a [u8],
    /// The types of the parameters as far as they are known.
    pub known_types: &'a [u32],
    pub parameters: Option<&'a BindParameters<'a>>,
    /// What is asked for beside the rows: `P`ortal, `S`tatement, or nothing.
    pub described: u8,
}

/// What a look into the cache comes to.
pub(super) enum Looked {
    /// The read goes to a server, and its result is not kept.
    No,
    /// The entry answers it.
    Serve(Arc<Entry>),
    /// This session fetches it.
    Lead(Box<Filling>),
    /// Another one does.
    Follow(Follower, Box<Terms>),
}

/// The parts of a session's keys that stay the same, made anew when its settings change.
#[derive(Debug)]
pub(super) struct Contexts {
    settings: Interned,
    /// By scope.
    of: [Option<Context>; 3],
}

impl Terms {
    /// How long an entry lives.
    pub fn lifetime(&self) -> Lifetime {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Lifetime {
            ttl: millis(self.caching.ttl),
            stale_while_revalidate: millis(self.caching.stale_while_revalidate),
        }
    }
}

impl<'a> Execution<'a> {
    /// A simple query.
    pub fn of_text(sql: &'a [u8]) -> Self {
        Self { protocol: Protocol::Simple, sql, types: &[], known_types: &[], parameters: None, described: 0 }
    }

    /// A statement that was bound: its text and the types that `Parse` named, those that are known, and the values.
    pub fn of_bound(
        sql: &'a [u8],
        types: &'a [u8],
        known_types: &'a [u32],
        parameters: Option<&'a BindParameters<'a>>,
    ) -> Self {
        Self { protocol: Protocol::Extended, sql, types, known_types, parameters, described: 0 }
    }

    /// Writes what tells this execution from others.
    fn write(&self, key: &mut KeyBuilder<'_>) {
        key.text(self.sql);
        if self.protocol == Protocol::Simple {
            return;
        }
        key.extra(self.types).extra(&[self.described]);
        if let Some(parameters) = self.parameters {
            for (index, value) in parameters.values.iter().enumerate() {
                let oid = self.known_types.get(index).copied().unwrap_or(0);
                key.parameter(oid, parameters.format(index), *value);
            }
            key.formats(parameters.result_formats.iter().copied());
        }
    }
}

impl Session {
    /// What the cache needs to know of a request; `None` if no rule caches it or it cannot be looked for, which counts.
    pub(super) fn cache_terms(&self, request: &Request<'_>, facts: &Arc<Facts>) -> Option<Box<Terms>> {
        self.shared.cache.as_ref()?;
        match self.find_terms(request, facts) {
            Ok(terms) => Some(terms),
            Err(why) => {
                let (rule, _) = request.decision?.cache.as_ref()?;
                self.steering.policies().counts(*rule)?.cache.bypassed(why);
                None
            }
        }
    }

    /// The same, or why it cannot be looked for.
    pub(super) fn find_terms(&self, request: &Request<'_>, facts: &Arc<Facts>) -> Result<Box<Terms>, Bypass> {
        let cached = request.decision.and_then(|decision| decision.cache.as_ref());
        let (rule, caching) = cached.ok_or(Bypass::Closed)?;
        let policies = self.steering.policies();
        let counts = policies.shared_counts(*rule).ok_or(Bypass::Closed)?;
        let database = &self.shared.account.database;
        if self.status != TransactionStatus::Idle || self.flow.begun.is_some() {
            return Err(Bypass::Transaction);
        }
        if self.pins.has(Pins::TEMPORARY) {
            return Err(Bypass::Temporary);
        }
        if self.held.is_some() {
            return Err(if self.pins.is_empty() { Bypass::Pipelined } else { Bypass::Pinned });
        }
        let ledger = database.ledger().filter(|ledger| !ledger.is_closed()).ok_or(Bypass::Closed)?;
        let catalog = database.catalog();
        if !database.is_catalog_current() || !request.verdict.is_of(&catalog) {
            return Err(Bypass::Closed);
        }
        let plans = request.verdict.plans(facts, &catalog, &policies.set);
        plans.may_be_shared(caching.scope)?;
        Ok(Box::new(Terms {
            caching: Arc::clone(caching),
            counts,
            ledger: Arc::clone(ledger),
            plans,
            facts: Arc::clone(facts),
            families: catalog.families(),
            judges: self.flow.plugged.word().and_then(|word| word.result.clone()),
        }))
    }

    /// Makes the key of an execution.
    pub(super) fn with_key<T>(
        &mut self,
        terms: &Terms,
        asked: &Execution<'_>,
        use_it: impl FnOnce(Key<'_>) -> T,
    ) -> Option<T> {
        self.renew_contexts(terms.caching.scope);
        let context = self.context(terms.caching.scope)?;
        SCRATCH.with_borrow_mut(|scratch| Some(use_it(self.write_key(context, terms, asked, scratch))))
    }

    fn write_key<'k>(
        &self,
        context: &Context,
        terms: &Terms,
        asked: &Execution<'_>,
        scratch: &'k mut KeyScratch,
    ) -> Key<'k> {
        let mut key = scratch.begin(context, asked.protocol);
        asked.write(&mut key);
        for part in &terms.caching.key_by {
            self.write_part(*part, &mut key);
        }
        key.finish()
    }

    /// Looks for an entry that may be served; if there is none, for somebody who fetches it.
    pub(super) fn look(&mut self, terms: Box<Terms>, asked: &Execution<'_>) -> Looked {
        let Some(cache) = self.shared.cache.clone() else { return Looked::No };
        let now = cache.at(Instant::now());
        self.renew_contexts(terms.caching.scope);
        let Some(context) = self.context(terms.caching.scope) else { return Looked::No };
        SCRATCH.with_borrow_mut(|scratch| {
            let key = self.write_key(context, &terms, asked, scratch);
            let cached = &terms.counts.cache;
            let (stale, outcome) = match cache.store.look(key, &terms.ledger, now) {
                Look::Fresh(entry) if self.is_recent(&terms, &entry, now) => {
                    cached.served(Outcome::Hit, entry.parts().len(), now.since(entry.created()));
                    return Looked::Serve(entry);
                }
                Look::Stale(entry) if self.is_recent(&terms, &entry, now) => (Some(entry), Outcome::Expired),
                Look::Fresh(_) | Look::Stale(_) | Look::Expired => (None, Outcome::Expired),
                Look::Absent => (None, Outcome::Absent),
                Look::Invalidated => (None, Outcome::Invalidated),
            };
            self.missed(terms, asked, key, (stale.map(|entry| (entry, now)), outcome))
        })
    }

    fn missed(
        &self,
        terms: Box<Terms>,
        asked: &Execution<'_>,
        key: Key<'_>,
        (stale, outcome): (Option<(Arc<Entry>, Millis)>, Outcome),
    ) -> Looked {
        let Some(cache) = &self.shared.cache else { return Looked::No };
        let on = match self.depends_on(&terms, asked) {
            Ok(on) => on,
            Err(why) => {
                terms.counts.cache.bypassed(why);
                return Looked::No;
            }
        };
        let ledger = &terms.ledger;
        let permitted = |stamp| ledger.permits(stamp, on.tags.as_slice());
        match cache.flights.join(key, ledger.last(), self.own, permitted) {
            Join::Lead(leader) => {
                terms.counts.cache.missed(outcome);
                let bytes_max = terms.caching.max_entry.unwrap_or(usize::MAX).min(cache.entry_bytes_max);
                Looked::Lead(Box::new(Filling::new(leader, terms, key.bytes(), on, bytes_max)))
            }
            Join::Follow(follower) => match stale {
                Some((entry, now)) => {
                    let age = now.since(entry.created());
                    terms.counts.cache.served(Outcome::StaleHit, entry.parts().len(), age);
                    Looked::Serve(entry)
                }
                None => Looked::Follow(follower, terms),
            },
        }
    }

    /// The entry that another session fetches, if it comes in time and may be served to this one.
    pub(super) async fn follow(
        &mut self,
        follower: Follower,
        terms: Box<Terms>,
    ) -> Result<Option<Arc<Entry>>, Fault> {
        let landed = tokio::time::timeout(FOLLOW_MAX, follower);
        let entry = Box::pin(self.attend(async { Ok(landed.await.ok().flatten()) })).await?;
        let Some(cache) = &self.shared.cache else { return Ok(None) };
        let now = cache.at(Instant::now());
        let fits = |entry: &Arc<Entry>| {
            let recent = self.is_recent(&terms, entry, now);
            recent && terms.ledger.permits(entry.stamp(), entry.tags()) && entry.age(now) == Age::Fresh
        };
        let entry = entry.filter(fits);
        match &entry {
            Some(entry) => {
                let age = now.since(entry.created());
                terms.counts.cache.served(Outcome::Followed, entry.parts().len(), age);
            }
            None => terms.counts.cache.missed(Outcome::Absent),
        }
        Ok(entry)
    }

    /// What the result depends on, as far as it is known before it is fetched.
    pub(super) fn depends_on(&self, terms: &Terms, asked: &Execution<'_>) -> Result<DependsOn, Bypass> {
        let Ok(dependences) = &terms.plans.reads else { return Err(Bypass::NotReadOnly) };
        let database = &self.shared.account.database;
        let (catalog, space) = (database.catalog(), database.space());
        let mut on = DependsOn::default();
        if let Some(Judges { tags, whole, .. }) =
            terms.judges.as_ref().filter(|judges| !judges.tags.is_empty())
        {
            let by = Naming { catalog: &catalog, space };
            tags.iter().for_each(|name| tags::read_named(name, by, &mut on.tags));
            // One that failed might have named the very tag that counts.
            let tables = terms.caching.plugin_tables.iter().filter(|_| *whole);
            on.vouched.extend(tables.filter_map(|name| catalog.table_slot(&tags::relation_named(name))));
        }
        with_text(asked.sql, self.wants.rules(), |literals, _| {
            let values = self.values(asked, literals);
            let mut name = Vec::new();
            for template in &terms.caching.tags {
                resolve(template, &terms.facts, &values, &mut name, |value| value)?;
                let rows = template.rows().is_some();
                let by = Naming { catalog: &catalog, space };
                tags::named(&name, rows, by, &mut on.tags, &mut on.vouched);
            }
            if let Some(template) = &terms.caching.tags_from {
                resolve(template, &terms.facts, &values, &mut name, |value| quoted(&value))?;
                on.tags_sql =
                    Some(String::from_utf8(std::mem::take(&mut name)).map_err(|_| Bypass::NoKeyValue)?);
            }
            for dependence in dependences.iter().filter(|one| !on.vouched.contains(&one.slot)) {
                if on.tags_sql.is_some() {
                    let mut own = Tags::new();
                    tags::read(std::slice::from_ref(dependence), &values, space, &mut own);
                    on.by_family.push((dependence.slot, own));
                } else {
                    tags::read(std::slice::from_ref(dependence), &values, space, &mut on.tags);
                }
            }
            Ok(())
        })?;
        if let Some(sql) = &on.tags_sql {
            self.depend_on_query(sql, terms, &mut on.tags)?;
        }
        Ok(on)
    }

    /// What the query for tags reads, the result depends on too.
    fn depend_on_query(&self, sql: &str, terms: &Terms, tags: &mut Tags) -> Result<(), Bypass> {
        let database = &self.shared.account.database;
        let (catalog, rules) = (database.catalog(), self.wants.rules());
        let judged = judge(sql.as_bytes(), rules, &catalog);
        let plans = judged.verdict.plans(&judged.facts, &catalog, &self.steering.policies().set);
        plans.may_be_shared(terms.caching.scope)?;
        let Ok(dependences) = &plans.reads else { return Err(Bypass::NotReadOnly) };
        let asked = Execution::of_text(sql.as_bytes());
        with_text(asked.sql, rules, |literals, _| {
            tags::read(dependences, &self.values(&asked, literals), database.space(), tags);
        });
        Ok(())
    }

    /// The values of an execution.
    pub(super) fn values<'a>(
        &self,
        asked: &Execution<'a>,
        literals: &'a [pointsman_sql::Literal],
    ) -> Values<'a> {
        Values {
            sql: asked.sql,
            literals,
            parameters: asked.parameters,
            types: asked.known_types,
            utf8: self.wants.rules().encoding == ClientEncoding::Utf8,
        }
    }

    /// Whether an entry is within what its rule lets it lag behind writes made elsewhere.
    fn is_recent(&self, terms: &Terms, entry: &Entry, now: Millis) -> bool {
        let Some(most) = terms.caching.max_staleness else { return true };
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let watched = &self.shared.account.database.watched;
        now.since(entry.as_of()) <= most
            || watched.seen_since().is_some_and(|since| since.elapsed().as_millis() <= u128::from(most))
    }

    /// Makes the context of a scope if the session's settings are others than those it was made from.
    fn renew_contexts(&mut self, scope: Scope) {
        let meaning = self.wants.meaning();
        let known = self.contexts.as_ref().is_some_and(|contexts| contexts.settings == meaning);
        if known && self.context(scope).is_some() {
            return;
        }
        let context = self.make_context(scope, &meaning.0);
        match &mut self.contexts {
            Some(contexts) if known => contexts.of[scope as usize] = Some(context),
            _ => {
                let mut of = [const { None }; 3];
                of[scope as usize] = Some(context);
                self.contexts = Some(Box::new(Contexts { settings: meaning, of }));
            }
        }
    }

    fn context(&self, scope: Scope) -> Option<&Context> {
        self.contexts.as_ref()?.of[scope as usize].as_ref()
    }

    fn make_context(&self, scope: Scope, settings: &Settings) -> Context {
        let taken = |name: &str| settings.get(name).map(|value| [&b"\x01"[..], text_of(value)].concat());
        let user = self.shared.account.user.as_bytes().to_vec();
        let session_user = taken("session_authorization").unwrap_or_else(|| user.clone());
        let role = taken("role").unwrap_or_else(|| session_user.clone());
        let place = Place {
            cluster: self.shared.account.database.cluster.as_bytes(),
            database: self.shared.account.database.name.as_bytes(),
            user: &[&user[..], b"\0", &session_user].concat(),
            role: &role,
        };
        let plain = settings.without_identity();
        // What the role began its session with on the server, no client has set.
        let catalog = self.shared.account.database.catalog();
        let begun = catalog.role_settings(&self.shared.account.user).as_bytes();
        let pairs: Vec<(&[u8], Vec<u8>)> =
            plain.iter().map(|(name, value)| (name.as_bytes(), written(value))).collect();
        // Proxies that tell rows apart by other columns share nothing.
        let columns = self.steering.policies().set.key_columns().join(",").into_bytes();
        let begun = [(&b""[..], begun), (&b","[..], &columns[..])].into_iter();
        Context::new(place, scope, begun.chain(pairs.iter().map(|(name, value)| (*name, &value[..]))))
    }

    fn write_part(&self, part: KeyPart, key: &mut KeyBuilder<'_>) {
        match part {
            KeyPart::User => key.extra(self.shared.account.user.as_bytes()),
            KeyPart::Application => {
                let name = super::meter::application_name(self.wants.client());
                key.extra(name.as_bytes())
            }
            KeyPart::Client => {
                let peer = self.meter.about.ends.peer.map(|peer| peer.ip().to_string());
                key.extra(peer.unwrap_or_default().as_bytes())
            }
        };
    }
}

/// Writes a template with its values to `name`.
fn resolve(
    template: &TagTemplate,
    facts: &Facts,
    values: &Values<'_>,
    name: &mut Vec<u8>,
    write: impl Fn(Vec<u8>) -> Vec<u8>,
) -> Result<(), Bypass> {
    let statement = facts.single().ok_or(Bypass::Several)?;
    let found = template.names().map(|column| {
        let value = values.shown(value_of(statement, column)?)?;
        Some(write(value.into_owned()))
    });
    let found: Vec<Vec<u8>> = found.collect::<Option<_>>().ok_or(Bypass::NoKeyValue)?;
    let mut next = found.iter();
    if template.resolve(name, |_| next.next().map(Vec::as_slice)) { Ok(()) } else { Err(Bypass::NoKeyValue) }
}

/// A value as a string constant; one that is not UTF-8 becomes what no query takes.
fn quoted(value: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(value) {
        Ok(text) => quote_text(text).into_bytes(),
        Err(_) => value.to_vec(),
    }
}

fn text_of(value: &Value) -> &[u8] {
    let (Value::Text(text) | Value::Statement(text)) = value;
    text.as_bytes()
}

/// A value so that how it was given shows.
fn written(value: &Value) -> Vec<u8> {
    match value {
        Value::Text(text) => [b"t", text.as_bytes()].concat(),
        Value::Statement(text) => [b"s", text.as_bytes()].concat(),
    }
}
