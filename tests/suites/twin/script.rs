//! A random script: steps of messages that end at a known number of `ReadyForQuery`s.
use pointsman_tests::msg;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Steps, from a seed.
pub(crate) struct Script {
    pub(crate) number: u64,
    pub(crate) steps: Vec<Step>,
}

/// Messages sent together, in pieces with a short pause between, and how many `ReadyForQuery`s answer them.
pub(crate) struct Step {
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) ready: usize,
    pub(crate) shown: String,
}

const NAMES: &[&str] = &["", "s1", "s2", "S 3"];
const PORTALS: &[&str] = &["", "p1", "p2"];

/// Statements without parameters; `#` is a small number, `@` the script's number. None makes a
/// transaction read-only that a replica may serve: it words otherwise than the primary what it cannot do.
const STATEMENTS: &[&str] = &[
    "SELECT id, v FROM t ORDER BY id",
    "SELECT count(*), sum(id), max(n) FROM t",
    "SELECT * FROM t WHERE id = #",
    "SELECT * FROM w WHERE id < # ORDER BY id",
    "SELECT f(#)",
    "SELECT g(#)",
    "SELECT line FROM log ORDER BY line",
    "SELECT nextval('s')",
    "SELECT NULL::int, 'text', 1.50, true, ARRAY[1,2], '2020-02-03 04:05:06+00'::timestamptz, interval '3 days'",
    "VALUES (1, 'a'), (#, NULL)",
    "SELECT generate_series(1, #)",
    "WITH x AS (SELECT id FROM t WHERE id > #) SELECT count(*) FROM x",
    "WITH x AS (INSERT INTO log VALUES ('#') RETURNING line) SELECT * FROM x",
    "SELECT id FROM t WHERE id = # FOR UPDATE",
    "INSERT INTO t VALUES (#, 'new') ON CONFLICT DO NOTHING",
    "INSERT INTO t VALUES (#, 'dup')",
    "INSERT INTO t (id, v) VALUES (10#, 'r') RETURNING id, v",
    "UPDATE t SET v = v || '!' WHERE id = #",
    "UPDATE t SET n = n + 1 WHERE id < # RETURNING n",
    "DELETE FROM t WHERE id = #",
    "SELECT 1/0",
    "SELECT * FROM no_such_table",
    "SELECT no_such_column FROM t",
    "SELEC #",
    "SELECT 'unterminated",
    "",
    "-- nothing",
    "BEGIN",
    "BEGIN",
    "START TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    // On a replica (where `BEGIN READ ONLY` alone goes) some errors of writes are worded otherwise.
    "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
    "COMMIT",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "RELEASE a",
    "SET work_mem = '#MB'",
    "SET LOCAL work_mem = '#MB'",
    "SHOW work_mem",
    "RESET work_mem",
    "SET DateStyle = 'SQL, DMY'",
    "SET DateStyle TO ISO",
    "SET IntervalStyle = iso_8601",
    "SET TIME ZONE 'Asia/Tokyo'",
    "SET TimeZone = DEFAULT",
    "SET application_name = 'twin #'",
    "SHOW application_name",
    "SELECT set_config('work_mem', '#MB', false)",
    "SELECT set_config('application_name', 'fn #', true)",
    "SELECT current_setting('work_mem'), current_setting('application_name')",
    "SET search_path = pg_catalog",
    "SET search_path = public, pg_catalog",
    "SHOW search_path",
    "SELECT current_schemas(false)",
    "SET ROLE staff",
    "SELECT current_user, session_user",
    "RESET ROLE",
    "SET ROLE no_such_role",
    "SET client_min_messages = warning",
    "RESET ALL",
    "SET no.such = 'x'",
    "DISCARD ALL",
    "DISCARD TEMP",
    "DISCARD PLANS",
    // Without a table: the position of an error inside `PREPARE` is counted in the proxy's own, longer text.
    "PREPARE s1 AS SELECT # AS id, 'v' AS v",
    "PREPARE s2 (int) AS SELECT $1 + #",
    "EXECUTE s1",
    "EXECUTE s2 (#)",
    "DEALLOCATE s1",
    "DEALLOCATE PREPARE s2",
    "DEALLOCATE ALL",
    "DECLARE c1 CURSOR FOR SELECT id FROM t ORDER BY id",
    "DECLARE c2 CURSOR WITH HOLD FOR SELECT id, v FROM t ORDER BY id",
    "FETCH c1",
    "FETCH # FROM c2",
    "MOVE 1 IN c2",
    "CLOSE c2",
    "CLOSE ALL",
    "LISTEN chan",
    "NOTIFY chan, '#'",
    "UNLISTEN *",
    "CREATE TEMP TABLE tmp (id int)",
    "INSERT INTO tmp VALUES (#)",
    "DROP TABLE tmp",
    "SELECT pg_try_advisory_lock(@)",
    "SELECT pg_advisory_unlock(@)",
    "SELECT pg_advisory_xact_lock(@)",
    "DO $$ BEGIN RAISE NOTICE 'note #'; END $$",
    "DO $$ BEGIN RAISE EXCEPTION 'own #' USING ERRCODE = 'ZZ00#'; END $$",
    "EXPLAIN (COSTS OFF) SELECT 1",
    "COPY (SELECT id, v FROM t ORDER BY id) TO STDOUT",
    "LOCK TABLE t IN SHARE MODE",
    "TRUNCATE log",
    "CREATE TABLE extra_# (id int)",
    "DROP TABLE IF EXISTS extra_#",
    "SHOW transaction_read_only",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
];

/// Statements of one parameter.
const WITH_PARAMETER: &[&str] = &[
    "SELECT $1::int + 1",
    "SELECT id, v FROM t WHERE id = $1",
    "SELECT id FROM t WHERE id < $1 ORDER BY id",
    "SELECT $1::text || 'x'",
    "INSERT INTO log VALUES ($1)",
    "UPDATE t SET v = 'p' WHERE id = $1",
    "SELECT 10 / $1::int",
    "SELECT set_config('work_mem', $1 || 'MB', false)",
];

/// Words of `TWIN_WITHOUT`, by commas: statements that contain one are left out, to look past a difference.
fn left_out() -> &'static [String] {
    static WORDS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    WORDS.get_or_init(|| {
        let text = std::env::var("TWIN_WITHOUT").unwrap_or_default();
        text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    })
}

impl Script {
    /// The script of a number, always the same.
    pub(crate) fn new(number: u64) -> Self {
        let mut random = StdRng::seed_from_u64(number);
        let length = random.random_range(3..14);
        let mut extra = StdRng::seed_from_u64(!number);
        let steps = (0..length).map(|_| Writer::new(&mut random, &mut extra, number).step()).collect();
        Self { number, steps }
    }
}

/// Writes one step.
struct Writer<'a> {
    random: &'a mut StdRng,
    /// For what is ignored: the rest of the script is the same without it.
    extra: &'a mut StdRng,
    number: u64,
    pieces: Vec<Vec<u8>>,
    ready: usize,
    shown: String,
}

impl<'a> Writer<'a> {
    fn new(random: &'a mut StdRng, extra: &'a mut StdRng, number: u64) -> Self {
        Self { random, extra, number, pieces: vec![Vec::new()], ready: 0, shown: String::new() }
    }

    fn put(&mut self, shown: &str, bytes: &[u8]) {
        self.pieces.last_mut().expect("there is a piece").extend_from_slice(bytes);
        self.shown.push_str(shown);
        self.shown.push_str("; ");
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from.choose(self.random).copied().expect("the list is not empty")
    }

    fn fill(&mut self, template: &str) -> String {
        let digit = self.random.random_range(1..10).to_string();
        template.replace('#', &digit).replace('@', &self.number.to_string())
    }

    fn statement(&mut self) -> String {
        let mut template = self.pick(STATEMENTS);
        while left_out().iter().any(|word| template.contains(word.as_str())) {
            template = self.pick(STATEMENTS);
        }
        self.fill(template)
    }

    /// A statement to be parsed: none that names statements in SQL. Sent by the extended protocol, in one pipeline
    /// with others that use the same names, those can differ: the proxy keeps its book of names as they complete.
    fn parsed_statement(&mut self) -> String {
        loop {
            let sql = self.statement();
            if !["PREPARE", "EXECUTE", "DEALLOCATE", "DISCARD ALL"].iter().any(|word| sql.starts_with(word)) {
                return sql;
            }
        }
    }

    fn step(mut self) -> Step {
        match self.random.random_range(0..10) {
            0..4 => self.simple(),
            4 => {
                self.simple();
                self.simple();
            }
            5 => self.copy_in(),
            _ => {
                self.extended();
                if self.random.random_bool(0.2) {
                    self.extended();
                }
                if self.random.random_bool(0.2) {
                    self.simple();
                }
            }
        }
        Step { pieces: self.pieces, ready: self.ready, shown: self.shown }
    }

    fn simple(&mut self) {
        let mut sql = self.statement();
        while self.random.random_bool(0.15) {
            sql = format!("{sql}; {}", self.statement());
        }
        self.put(&format!("Query {sql}"), &msg::query(&sql));
        self.ready += 1;
    }

    fn copy_in(&mut self) {
        let sql = "COPY t (id, v) FROM STDIN";
        self.put(&format!("Query {sql}"), &msg::query(sql));
        for _ in 0..self.random.random_range(0..3) {
            let row = self.fill("2#\tcopied\n");
            self.put(&format!("CopyData {row:?}"), &msg::copy_data(row.as_bytes()));
        }
        match self.random.random_range(0..4) {
            0 => self.put("CopyFail", &msg::copy_fail("script")),
            1 => {
                self.put("CopyData wrong", &msg::copy_data(b"wrong\n"));
                self.put("CopyDone", &msg::copy_done());
            }
            _ => self.put("CopyDone", &msg::copy_done()),
        }
        self.ready += 1;
    }

    /// Extended messages up to a `Sync`: usually whole sequences, at times single messages in any order.
    fn extended(&mut self) {
        for _ in 0..self.random.random_range(1..4) {
            if self.random.random_bool(0.6) {
                self.sequence();
            } else {
                self.single();
            }
            if self.random.random_bool(0.1) {
                self.put("Flush", &msg::flush());
                self.pieces.push(Vec::new());
            }
        }
        if self.extra.random_bool(0.15) {
            std::mem::swap(self.random, self.extra);
            self.ignored();
            std::mem::swap(self.random, self.extra);
        }
        self.put("Sync", &msg::sync());
        self.ready += 1;
    }

    /// An error for certain, and what is ignored behind it: simple queries and function calls too.
    fn ignored(&mut self) {
        self.put("Execute of no portal", &msg::execute("no portal", 0));
        if self.random.random_bool(0.3) {
            self.put("Flush", &msg::flush());
            self.pieces.push(Vec::new());
        }
        let sql = self.statement();
        self.put(&format!("Query (ignored) {sql}"), &msg::query(&sql));
        if self.random.random_bool(0.3) {
            self.put("FunctionCall (ignored)", &msg::function_call(177, &[Some("1"), Some("2")]));
        }
        if self.random.random_bool(0.3) {
            self.sequence();
        }
    }

    fn sequence(&mut self) {
        let (name, portal) = (self.pick(NAMES), self.pick(PORTALS));
        let (sql, value) = if self.random.random_bool(0.5) {
            (self.pick(WITH_PARAMETER).to_owned(), Some(self.fill("#")))
        } else {
            (self.parsed_statement(), None)
        };
        if !name.is_empty() && self.random.random_bool(0.5) {
            self.put(&format!("Close S {name:?}"), &msg::close_statement(name));
        }
        self.put(&format!("Parse {name:?} {sql}"), &msg::parse(name, &sql));
        if self.random.random_bool(0.3) {
            self.put(&format!("Describe S {name:?}"), &msg::describe_statement(name));
        }
        self.bind(portal, name, value.as_deref());
        if self.random.random_bool(0.7) {
            self.put(&format!("Describe P {portal:?}"), &msg::describe_portal(portal));
        }
        self.execute(portal);
    }

    fn bind(&mut self, portal: &str, name: &str, value: Option<&str>) {
        let values: Vec<Option<&[u8]>> = value.map(|value| Some(value.as_bytes())).into_iter().collect();
        let binary: &[u16] = if self.random.random_bool(0.3) { &[1] } else { &[] };
        let shown = format!("Bind {portal:?} {name:?} {value:?} {binary:?}");
        self.put(&shown, &msg::bind_with(portal, name, &values, [&[], binary]));
    }

    fn execute(&mut self, portal: &str) {
        let limit = if self.random.random_bool(0.3) { self.random.random_range(1..4) } else { 0 };
        self.put(&format!("Execute {portal:?} {limit}"), &msg::execute(portal, limit));
    }

    fn single(&mut self) {
        let (name, portal) = (self.pick(NAMES), self.pick(PORTALS));
        match self.random.random_range(0..8) {
            0 => self.put(&format!("Describe S {name:?}"), &msg::describe_statement(name)),
            1 => self.put(&format!("Describe P {portal:?}"), &msg::describe_portal(portal)),
            2 => self.put(&format!("Close S {name:?}"), &msg::close_statement(name)),
            3 => self.put(&format!("Close P {portal:?}"), &msg::close_portal(portal)),
            4 => self.execute(portal),
            5 => {
                let sql = self.parsed_statement();
                self.put(&format!("Parse {name:?} {sql}"), &msg::parse(name, &sql));
            }
            _ => {
                let value = self.random.random_bool(0.5).then(|| self.fill("#"));
                self.bind(portal, name, value.as_deref());
            }
        }
    }
}
