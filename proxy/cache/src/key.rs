//! What a result is called: everything that it depends on, written one after another into a reused buffer. Each part
//! has its kind and length before it, so that two different lists of parts never make the same bytes; entries hold these
//! bytes and are compared by them, so that a collision of hashes serves nobody's rows to another.

use std::hash::BuildHasher as _;
use std::sync::LazyLock;

use hashbrown::DefaultHashBuilder;
use pointsman_policy::Scope;
use sha2::{Digest as _, Sha256};

/// Seeded once for a process, so that clients cannot choose keys that collide.
static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// How the replies are framed: what a simple query's client is sent is not what `Execute` answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `Query`.
    Simple,
    /// `Parse`, `Bind`, `Execute` without a limit of rows.
    Extended,
}

#[derive(Clone, Copy)]
enum Part {
    Cluster = 1,
    Database,
    Scope,
    Role,
    User,
    Setting,
    Value,
    Protocol,
    Text,
    Literal,
    Parameter,
    Null,
    Formats,
    Extra,
}

/// Where and for whom: the parts that stay the same from statement to statement of a session. Made anew when the
/// session's settings or role change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context(Box<[u8]>);

/// Where a statement runs and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The cluster's name in the configuration, or any name that the fleet shares.
    pub cluster: &'a [u8],
    /// The database.
    pub database: &'a [u8],
    /// The user who logged in, or whom `SET SESSION AUTHORIZATION` made.
    pub user: &'a [u8],
    /// The role in force.
    pub role: &'a [u8],
}

impl Context {
    /// Of these settings belong here all that may change a result: `search_path`, `timezone`, `datestyle`,
    /// `client_encoding`, users' own with a dot in their names, and so on; in a fixed order.
    #[must_use]
    pub fn new<'a>(
        place: Place<'a>,
        scope: Scope,
        settings: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Self {
        let mut bytes = Vec::new();
        put(&mut bytes, Part::Cluster, place.cluster);
        put(&mut bytes, Part::Database, place.database);
        put(&mut bytes, Part::Scope, scope.name().as_bytes());
        if scope != Scope::Shared {
            put(&mut bytes, Part::Role, place.role);
        }
        if scope == Scope::User {
            put(&mut bytes, Part::User, place.user);
        }
        for (name, value) in settings {
            put(&mut bytes, Part::Setting, name);
            put(&mut bytes, Part::Value, value);
        }
        Self(bytes.into())
    }
}

/// A buffer in which keys are made; one for each session or worker. Warm, it allocates nothing.
#[derive(Debug, Default)]
pub struct KeyScratch(Vec<u8>);

impl KeyScratch {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a key.
    pub fn begin(&mut self, context: &Context, protocol: Protocol) -> KeyBuilder<'_> {
        self.0.clear();
        self.0.extend_from_slice(&context.0);
        put(&mut self.0, Part::Protocol, &[protocol as u8]);
        KeyBuilder(&mut self.0)
    }
}

/// A key in the making.
#[derive(Debug)]
pub struct KeyBuilder<'a>(&'a mut Vec<u8>);

impl<'a> KeyBuilder<'a> {
    /// The statement: its whole text, or its template with its literals after it.
    pub fn text(&mut self, text: &[u8]) -> &mut Self {
        put(self.0, Part::Text, text);
        self
    }

    /// A literal, as written.
    pub fn literal(&mut self, raw: &[u8]) -> &mut Self {
        put(self.0, Part::Literal, raw);
        self
    }

    /// A parameter: its type (0 where the client left it open), its format, its bytes or null.
    pub fn parameter(&mut self, oid: u32, format: i16, value: Option<&[u8]>) -> &mut Self {
        let part = if value.is_some() { Part::Parameter } else { Part::Null };
        self.0.push(part as u8);
        self.0.extend_from_slice(&oid.to_le_bytes());
        self.0.extend_from_slice(&format.to_le_bytes());
        put_length(self.0, value.map_or(0, <[u8]>::len));
        self.0.extend_from_slice(value.unwrap_or_default());
        self
    }

    /// The formats of the result's columns as `Bind` asks for them.
    pub fn formats(&mut self, formats: impl IntoIterator<Item = i16>) -> &mut Self {
        self.0.push(Part::Formats as u8);
        let at = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        for format in formats {
            self.0.extend_from_slice(&format.to_le_bytes());
        }
        let length = length_bytes(self.0.len() - at - 4);
        self.0[at..at + 4].copy_from_slice(&length);
        self
    }

    /// Whatever else a rule's `key_by` names.
    pub fn extra(&mut self, bytes: &[u8]) -> &mut Self {
        put(self.0, Part::Extra, bytes);
        self
    }

    /// The key.
    #[must_use]
    pub fn finish(self) -> Key<'a> {
        Key::new(self.0)
    }
}

/// A key, and a hash of it that holds for this process.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    bytes: &'a [u8],
    hash: u64,
}

impl<'a> Key<'a> {
    /// The key of these bytes, which a [`KeyBuilder`] made here or elsewhere.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, hash: HASHER.hash_one(bytes) }
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// 128 bits of SHA-256: its name in a shared store. Costs hundreds of nanoseconds.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(self.bytes)[..16]);
        digest
    }
}

fn put(bytes: &mut Vec<u8>, part: Part, value: &[u8]) {
    bytes.push(part as u8);
    put_length(bytes, value.len());
    bytes.extend_from_slice(value);
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&length_bytes(length));
}

/// Messages are shorter than 2 GiB, and so is each of their parts.
fn length_bytes(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn place() -> Place<'static> {
        Place { cluster: b"main", database: b"app", user: b"ann", role: b"reader" }
    }

    fn bytes(context: &Context, protocol: Protocol, build: impl Fn(&mut KeyBuilder)) -> Vec<u8> {
        let mut scratch = KeyScratch::new();
        let mut builder = scratch.begin(context, protocol);
        build(&mut builder);
        builder.finish().bytes().to_vec()
    }

    #[test]
    fn every_part_makes_another_key() {
        let settings = |path: &'static str| [(&b"search_path"[..], path.as_bytes())];
        let context = |place, scope, path| Context::new(place, scope, settings(path));
        let base = context(place(), Scope::Role, "public");
        let contexts = [
            base.clone(),
            context(place(), Scope::Role, "other"),
            context(Place { database: b"other", ..place() }, Scope::Role, "public"),
            context(Place { cluster: b"other", ..place() }, Scope::Role, "public"),
            context(Place { role: b"other", ..place() }, Scope::Role, "public"),
            context(place(), Scope::User, "public"),
            context(Place { user: b"bob", ..place() }, Scope::User, "public"),
            context(place(), Scope::Shared, "public"),
        ];
        let mut keys = HashSet::new();
        for context in &contexts {
            assert!(keys.insert(bytes(context, Protocol::Simple, |key| {
                key.text(b"select");
            })));
        }
        let builds: [&dyn Fn(&mut KeyBuilder); 12] = [
            &|key| {
                key.text(b"select");
            },
            &|key| {
                key.text(b"select").literal(b"1");
            },
            &|key| {
                key.text(b"select").literal(b"12");
            },
            &|key| {
                key.text(b"select").literal(b"1").literal(b"2");
            },
            &|key| {
                key.text(b"select").parameter(23, 0, Some(b"1"));
            },
            &|key| {
                key.text(b"select").parameter(20, 0, Some(b"1"));
            },
            &|key| {
                key.text(b"select").parameter(23, 1, Some(b"1"));
            },
            &|key| {
                key.text(b"select").parameter(23, 0, Some(b""));
            },
            &|key| {
                key.text(b"select").parameter(23, 0, None);
            },
            &|key| {
                key.text(b"select").formats([]);
            },
            &|key| {
                key.text(b"select").formats([0]);
            },
            &|key| {
                key.text(b"select").formats([0, 1]);
            },
        ];
        for build in builds {
            assert!(keys.insert(bytes(&base, Protocol::Extended, build)));
        }
    }

    #[test]
    fn who_asks_counts_only_in_its_scope() {
        let none: [(&[u8], &[u8]); 0] = [];
        let of = |place, scope| Context::new(place, scope, none);
        let other_user = Place { user: b"bob", ..place() };
        let other_role = Place { role: b"writer", ..place() };
        assert_eq!(of(place(), Scope::Role), of(other_user, Scope::Role));
        assert_eq!(of(place(), Scope::Shared), of(other_role, Scope::Shared));
        for scope in [Scope::Role, Scope::User, Scope::Shared] {
            assert_eq!(Scope::named(scope.name()), Some(scope));
        }
    }

    #[test]
    fn a_warm_buffer_is_used_again() {
        let none: [(&[u8], &[u8]); 0] = [];
        let context = Context::new(place(), Scope::Role, none);
        let mut scratch = KeyScratch::new();
        let mut place_of = |text: &[u8]| {
            let mut builder = scratch.begin(&context, Protocol::Simple);
            builder.text(text);
            let key = builder.finish();
            (key.bytes().as_ptr(), key.digest())
        };
        let (first, second) = (place_of(b"select 1 + 1"), place_of(b"select 2"));
        assert_eq!(first.0, second.0);
        assert_ne!(first.1, second.1);
    }
}
