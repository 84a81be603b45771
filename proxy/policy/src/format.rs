//! What a policy file may hold: one table of keys, from which files are checked, the JSON Schema is written, and the
//! reference is tested.

mod check;
pub(crate) mod leaf;
mod schema;
#[cfg(test)]
mod tests;

pub(crate) use check::check;
pub use schema::schema;

use crate::verb::VERB_WORDS;
use leaf::Leaf;

/// The version that a policy file must name.
pub(crate) const API_VERSION: &str = "pointsman/v1";

/// What a value may be.
pub(crate) enum Shape {
    /// Text that is not empty.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number from zero.
    Count,
    /// A whole number of 64 bits.
    Integer,
    /// Text with a syntax of its own.
    Leaf(&'static Leaf),
    /// One word of a closed set.
    Words(&'static [&'static str]),
    /// A list with something in it; a single value reads like a list of one.
    List(&'static Shape),
    /// Always a list.
    Sequence(&'static Shape),
    /// A mapping with these keys.
    Map(&'static [Key]),
    /// A mapping from names that the writer chooses, with a syntax of their own or none.
    Names(Option<&'static Leaf>, &'static Shape),
    /// One of these, told apart by the YAML type.
    Or(&'static [Shape]),
}

/// A key of a mapping.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: Shape,
    /// For editors.
    pub(crate) doc: &'static str,
}

const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, required: false, shape, doc }
}

const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, required: true, shape, doc }
}

/// A whole file.
pub(crate) const FILE: Shape = Shape::Map(&[
    required("apiVersion", Shape::Words(&[API_VERSION]), "The version of this format."),
    required("kind", Shape::Words(&["Policy"]), "What the file is."),
    required(
        "metadata",
        Shape::Map(&[required(
            "name",
            Shape::Text,
            "The policy's name, unique among those loaded together.",
        )]),
        "What the policy is called.",
    ),
    key("spec", Shape::Map(SPEC), "What the policy says."),
]);

const MODE: Shape = Shape::Words(&["enforce", "audit"]);
const VOLATILITY: Shape = Shape::Words(&["immutable", "stable", "volatile"]);

const SPEC: &[Key] = &[
    key("mode", MODE, "The mode of rules that do not say their own. Default: enforce."),
    key(
        "functions",
        Shape::Names(
            Some(&leaf::FUNCTION),
            &Shape::Or(&[
                VOLATILITY,
                Shape::Map(&[
                    required("volatility", VOLATILITY, "In place of what the server's catalog says."),
                    key("reads", Shape::Sequence(&Shape::Leaf(&leaf::NAME)), "The relations that it reads."),
                ]),
            ]),
        ),
        "What functions do, by name or schema.name, in place of what the server's catalog says.",
    ),
    key(
        "tables",
        Shape::Names(Some(&leaf::NAME), &Shape::Map(TABLE)),
        "Facts about tables, by name or schema.name.",
    ),
    key(
        "rules",
        Shape::Sequence(&Shape::Map(RULE)),
        "The rules in order. The first that matches ends the search, unless it says continue.",
    ),
    key(
        "tests",
        Shape::Sequence(&Shape::Map(TEST)),
        "What the rules must do with sample statements, run by pointsman check.",
    ),
];

const TABLE: &[Key] = &[
    key("large", Shape::Bool, "Whether `large: true` in a rule's match means this table."),
    key("read_from", Shape::Words(&["primary"]), "`primary`: reads of the table never go to a replica."),
    key("shard_key", COLUMNS, "The column, or the columns together, by which rows are spread over shards."),
    key(
        "also",
        Shape::List(&COLUMNS),
        "Further keys, each of a column or of several together, that name the same entity in every row.",
    ),
    key(
        "function",
        Shape::Words(&["modulo", "hash", "range", "list", "ring"]),
        "From a key to its shard. Default: modulo for a key of one column, hash for one of several.",
    ),
    key(
        "key_type",
        Shape::Words(&["integer", "text", "uuid", "bytea", "date", "timestamp", "timestamptz"]),
        "The type of the key that `ranges` and `values` are written for. Default: integer.",
    ),
    key("ranges", Shape::Sequence(&Shape::Map(RANGE)), "For `range`: ranges of keys, each on a shard."),
    key("values", Shape::Sequence(&Shape::Map(LISTED)), "For `list`: keys, each on a shard."),
    key("default_shard", Shape::Count, "For `list`: the shard of all other keys. Default: they have none."),
    key("points", Shape::Count, "For `ring`: how many points each shard has. Default: 512."),
    key("reference", Shape::Bool, "Whether the table is whole on every shard."),
    key("unsharded", Shape::Bool, "Whether the table is whole on the first shard, as what is not declared."),
    key("id", Shape::Text, "A column that is filled with a new id where an INSERT leaves it out."),
];

/// What may be said of a table.
pub(crate) const TABLE_SHAPE: Shape = Shape::Map(TABLE);

const COLUMNS: Shape = Shape::List(&Shape::Text);
const KEY_VALUE: Shape = Shape::Or(&[Shape::Text, Shape::Integer]);

const RANGE: &[Key] = &[
    key("from", KEY_VALUE, "The lowest key. Default: there is none."),
    key("to", KEY_VALUE, "The key after the highest. Default: there is none."),
    required("shard", Shape::Count, "The shard, from 0."),
];

const LISTED: &[Key] = &[
    required("shard", Shape::Count, "The shard, from 0."),
    required("values", Shape::List(&KEY_VALUE), "The keys."),
];

const RULE: &[Key] = &[
    required("name", Shape::Text, "The rule's name in metrics, messages and tests."),
    key("description", Shape::Text, "What the rule is for."),
    key("match", Shape::Map(MATCH), "What must hold, all of it. Without it, every statement matches."),
    key(
        "route",
        Shape::Words(&["primary", "replica", "any", "shard"]),
        "Where reads go. `any`: the primary competes with the replicas. Writes always go to the primary.",
    ),
    key("max_lag", Shape::Leaf(&leaf::DURATION), "A replica further behind than this gets no such read."),
    key(
        "consistency",
        Shape::Words(&["strict", "session", "eventual"]),
        "What a read must see: every acknowledged write, the session's own, or whatever the replica has.",
    ),
    key("timeout", Shape::Leaf(&leaf::DURATION), "The statement is cancelled when it runs longer."),
    key("refuse", Shape::Map(REFUSE), "The statement is not run; the client gets this error."),
    key("rate_limit", Shape::Map(RATE_LIMIT), "Statements over the limit are refused."),
    key("log", Shape::Or(&[Shape::Words(&["info", "warn"]), Shape::Bool]), "Each match is logged."),
    key(
        "overrides",
        Shape::Words(&["allow", "deny"]),
        "Whether SET pointsman.route and the comment hint may choose the route.",
    ),
    key("cache", Shape::Map(CACHE), "Results of reads are kept and served again."),
    key(
        "plugins",
        Shape::List(&Shape::Text),
        "Plugins that are asked of the statement, in this order, by their names.",
    ),
    key("continue", Shape::Bool, "The search goes on after this rule; what it sets holds."),
    key("mode", MODE, "`audit`: matches are counted and logged, and nothing is done."),
];

/// One rule of a file.
pub(crate) const RULE_SHAPE: Shape = Shape::Map(RULE);

const REFUSE: &[Key] = &[
    key("sqlstate", Shape::Leaf(&leaf::SQLSTATE), "The error's SQLSTATE. Default: 42501."),
    required("message", Shape::Text, "What the client is told."),
    key("hint", Shape::Text, "What the client is advised to do."),
];

const RATE_LIMIT: &[Key] = &[
    required(
        "per",
        Shape::List(&Shape::Words(&["user", "application", "client", "template"])),
        "Each of these (together, if there are several) has a limit of its own.",
    ),
    required("rate", Shape::Leaf(&leaf::RATE), "How many statements in how long."),
    key("burst", Shape::Count, "How many statements may come at once. Default: the rate's number."),
];

const CACHE: &[Key] = &[
    required("ttl", Shape::Leaf(&leaf::DURATION), "How long a result is fresh."),
    key(
        "stale_while_revalidate",
        Shape::Leaf(&leaf::DURATION),
        "How long after that it is still served, while one session fetches it anew. Default: not at all.",
    ),
    key(
        "key_by",
        Shape::List(&Shape::Words(&["user", "application", "client"])),
        "What else sessions must have in common to share a result.",
    ),
    key(
        "tags",
        Shape::List(&Shape::Leaf(&leaf::TAG)),
        "What else the result depends on: `table.column=value`, or a name for INVALIDATE TAG.",
    ),
    key(
        "tags_from",
        Shape::Leaf(&leaf::TAG_QUERY),
        "A query whose rows name further tags, run in the same snapshot.",
    ),
    key("invalidate_by", Shape::List(&Shape::Text), "Columns by whose values writes are told apart."),
    key(
        "plugin_tables",
        Shape::List(&Shape::Text),
        "Tables whose changes plugins name: results that plugins gave tags do not depend on all of their rows.",
    ),
    key("scope", Shape::Words(&["role", "user", "shared"]), "Who shares a result. Default: role."),
    key(
        "max_entry",
        Shape::Or(&[Shape::Leaf(&leaf::SIZE), Shape::Count]),
        "The largest result that is kept, in bytes. Default: as large as the cache keeps.",
    ),
    key(
        "max_staleness",
        Shape::Leaf(&leaf::DURATION),
        "How far a result may lag behind writes that pass Pointsman by. Default: until it is no longer served.",
    ),
    key("in_transaction", Shape::Words(&["never"]), "Nothing is cached in a transaction: the only choice."),
];

const NAMES: Shape = Shape::Or(&[
    Shape::List(&Shape::Leaf(&leaf::NAME)),
    Shape::Map(&[
        key("any", Shape::List(&Shape::Leaf(&leaf::NAME)), "At least one of these."),
        key("all", Shape::List(&Shape::Leaf(&leaf::NAME)), "Every one of these."),
        key("only", Shape::List(&Shape::Leaf(&leaf::NAME)), "At least one, and none but these."),
    ]),
]);
const PATTERNS: Shape = Shape::List(&Shape::Text);
const VALUES: Shape = Shape::Names(None, &Shape::Text);

const MATCH: &[Key] = &[
    key("verb", Shape::List(&Shape::Words(VERB_WORDS)), "The kind of statement."),
    key("tables", NAMES, "Tables read or written."),
    key("reads", NAMES, "Tables read."),
    key("writes", NAMES, "Tables written, defined or dropped."),
    key("large", Shape::Bool, "Whether a table declared large is read or written."),
    key("functions", NAMES, "Functions called."),
    key(
        "where",
        Shape::Or(&[
            Shape::Words(&["none"]),
            Shape::Map(&[required("eq", Shape::List(&Shape::Text), "Columns compared with values.")]),
        ]),
        "`none`: there is no WHERE. `eq`: each of these columns is pinned by `=`, `IN` or `= ANY`.",
    ),
    key(
        "limit",
        Shape::Or(&[
            Shape::Words(&["none"]),
            Shape::Map(&[required(
                "over",
                Shape::Count,
                "No LIMIT, a higher one, or one that cannot be known.",
            )]),
        ]),
        "`none`: a query without LIMIT. `over`: one that may return more rows than this.",
    ),
    key("template", Shape::Text, "A sample statement; literals, parameters and white space do not matter."),
    key("user", PATTERNS, "The user, exactly or with *."),
    key("database", PATTERNS, "The database that the client asked for, exactly or with *."),
    key("application", PATTERNS, "The session's application_name, exactly or with *."),
    key("client", Shape::List(&Shape::Leaf(&leaf::NET)), "The client's address: an address or a network."),
    key("in_transaction", Shape::Bool, "Whether a transaction is open."),
    key("comment", VALUES, "Keys of a sqlcommenter comment and their values, exactly or with *."),
    key(
        "hint",
        VALUES,
        "Keys of a comment `/* pointsman: key=value */` and their values, exactly or with *.",
    ),
    key("text", Shape::Leaf(&leaf::REGEX), "A regular expression found in the statement's text."),
];

const TEST: &[Key] = &[
    key("name", Shape::Text, "What the test is called in messages."),
    required("sql", Shape::Text, "The statement."),
    key(
        "as",
        Shape::Map(&[
            key("user", Shape::Text, "The user. Default: app."),
            key("database", Shape::Text, "The database. Default: app."),
            key("application", Shape::Text, "The application_name. Default: none."),
            key(
                "client",
                Shape::Leaf(&leaf::ADDRESS),
                "The client's address. Default: a Unix-domain socket.",
            ),
            key("in_transaction", Shape::Bool, "Whether a transaction is open on the primary."),
        ]),
        "Who sends it.",
    ),
    required(
        "expect",
        Shape::Map(&[
            key("rule", Shape::Text, "The rule that decides, or `none`."),
            key(
                "target",
                Shape::Words(&["primary", "replica", "any"]),
                "Where it goes with replicas up to date.",
            ),
            key("verdict", Shape::Words(&["allow", "refuse", "limit"]), "What becomes of it."),
            key("sqlstate", Shape::Leaf(&leaf::SQLSTATE), "The SQLSTATE that it is refused with."),
        ]),
        "What must come of it.",
    ),
];
