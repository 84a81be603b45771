//! A systematic set of statements: every way of a clause with every way of others.

const LISTS: &[&str] = &[
    "*",
    "a.id, a.name",
    "count(*), sum(a.x) FILTER (WHERE a.x > 1)",
    "a.x + 1 AS y, -a.x, - 5, a.name || 'x'",
    "row_number() OVER (PARTITION BY a.g ORDER BY a.id ROWS 2 PRECEDING)",
    "CASE WHEN a.id = 1 THEN 'one' ELSE 'many' END",
    "CAST(a.x AS float(24)), a.x::numeric(10, 2), a.tags[1], a.arr::int[3]",
    "extract(year FROM a.t), current_timestamp(3), date '2020-01-01', interval '1' day",
    "ARRAY[1, 2], ROW(1, 'x'), (SELECT max(id) FROM b), EXISTS (SELECT 1 FROM c)",
    "E'a\\nb', U&'d\\0061t', $$dollar$$, b'101', x'1F', N'n', 'a' 'b'",
];

const FROMS: &[&str] = &[
    "a",
    "s.a AS a",
    "a JOIN b ON b.a_id = a.id AND b.kind = 'k'",
    "a LEFT JOIN b USING (id), c",
    "a, LATERAL (SELECT * FROM d WHERE d.id = a.id LIMIT 1) AS l",
    "a CROSS JOIN generate_series(1, 10) AS g(n)",
    "(VALUES (1, 'x'), (2, 'y')) AS a(id, name)",
    "ONLY a TABLESAMPLE bernoulli (10) REPEATABLE (3)",
];

const CONDITIONS: &[&str] = &[
    "",
    "WHERE a.id = 1",
    "WHERE a.id = $1 AND a.name = 'x'",
    "WHERE a.id IN (1, 2, 3) OR a.x BETWEEN 1 AND 2",
    "WHERE a.id = ANY ('{1,2}'::int[]) AND NOT a.done",
    "WHERE a.name LIKE 'x%' ESCAPE '!' AND a.y IS NULL",
    "WHERE a.x > 1.5e3 AND a.x < .5 AND a.x <> -1",
    "WHERE (a.id, a.x) = (1, 2) AND a.j ->> 'k' = 'v' AND a.j @> '{\"a\": 1}'",
];

const TAILS: &[&str] = &[
    "",
    "ORDER BY 1 DESC LIMIT 10",
    "GROUP BY 1 HAVING count(*) > 1",
    "LIMIT $2 OFFSET 5",
    "FOR UPDATE SKIP LOCKED",
];

const WITHS: &[&str] = &[
    "",
    "WITH w AS (SELECT 1 AS id) ",
    "WITH RECURSIVE w(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM w WHERE n < 9) ",
    "WITH w AS (DELETE FROM old WHERE id = 3 RETURNING *) ",
];

const VALUES: &[&str] = &[
    "VALUES (1, 'a')",
    "VALUES (1, 'a'), (2, DEFAULT), ($1, NULL)",
    "SELECT id, 'x' FROM b WHERE id > 5",
    "DEFAULT VALUES",
];

const CONFLICTS: &[&str] = &[
    "",
    " ON CONFLICT DO NOTHING",
    " ON CONFLICT (id) DO UPDATE SET name = 'n', x = excluded.x + 1",
    " ON CONFLICT (id) WHERE kind = 2 DO UPDATE SET name = $2 WHERE a.x > 4",
];

const RETURNINGS: &[&str] = &["", " RETURNING *", " RETURNING id, x + 1 AS y"];

const SETS: &[&str] = &[
    "x = 1",
    "name = 'n', x = x + 1",
    "(x, y) = (1, 2)",
    "(x, y) = (SELECT 1, 2)",
    "j['k'] = '1', t = now()",
];

const OTHERS: &[&str] = &[
    "BEGIN",
    "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY, DEFERRABLE",
    "COMMIT AND CHAIN",
    "ROLLBACK TO SAVEPOINT s1",
    "SET search_path = a, b",
    "SET LOCAL work_mem TO '4MB'",
    "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "RESET ALL",
    "SHOW ALL",
    "DISCARD ALL",
    "PREPARE p (int) AS SELECT $1 + 1",
    "EXECUTE p(1, 'x')",
    "DEALLOCATE p",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "FETCH 5 FROM c",
    "COPY a (id, name) FROM STDIN WITH (FORMAT csv, DELIMITER ';')",
    "COPY (SELECT 1) TO STDOUT",
    "EXPLAIN (ANALYZE false, COSTS off) SELECT 1",
    "CREATE TEMP TABLE t AS SELECT 1 AS x",
    "CREATE TABLE t (id int DEFAULT 5, name varchar(10) CHECK (name <> 'x'))",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
    "CREATE RULE r AS ON INSERT TO a DO ALSO (SELECT 1; SELECT 2)",
    "DO $$ BEGIN PERFORM 1; END $$",
    "CALL proc(1, 'x')",
    "LISTEN ch",
    "NOTIFY ch, 'payload'",
    "LOCK TABLE a IN SHARE MODE",
    "SELECT set_config('a.b', 'c', false), current_setting('a.b'), pg_advisory_lock(5)",
    "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED AND b.x = 3 THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (b.id, 'x')",
    "SELECT U&\"d!0061t\" UESCAPE '!' FROM a",
    "SELECT U&\"d!0061t\" UESCAPE '#' FROM a",
    "INSERT INTO a VALUES (1) ON CONFLICT (x ops (siglen = 1)) DO NOTHING",
    "INSERT INTO a VALUES (1) ON CONFLICT (x ops (siglen = 2)) DO NOTHING",
    "SELECT 1::float(24)",
    "SELECT 1::float(25)",
    "SELECT current_time(1), current_timestamp(1), localtime(1), localtimestamp(1)",
    "SELECT current_time(2), current_timestamp(1), localtime(1), localtimestamp(1)",
    "SELECT current_time(1), current_timestamp(2), localtime(1), localtimestamp(1)",
    "SELECT current_time(1), current_timestamp(1), localtime(2), localtimestamp(1)",
    "SELECT current_time(1), current_timestamp(1), localtime(1), localtimestamp(2)",
    "SELECT json_object('k': 1), json_value(j, '$.a' RETURNING int) FROM a",
    "TABLE a",
    "VALUES (1, 'x'), (2, 'y') ORDER BY 1",
    "SELECT 1 UNION SELECT 2 EXCEPT (SELECT 3 INTERSECT SELECT 4)",
];

/// All combinations that are worth having.
pub(crate) fn statements() -> Vec<String> {
    let mut all: Vec<String> = OTHERS.iter().map(|text| (*text).to_owned()).collect();
    for (i, list) in LISTS.iter().enumerate() {
        for (j, from) in FROMS.iter().enumerate() {
            for condition in CONDITIONS {
                for (k, tail) in TAILS.iter().enumerate() {
                    let with = WITHS[(i + j + k) % WITHS.len()];
                    all.push(format!("{with}SELECT {list} FROM {from} {condition} {tail}"));
                }
            }
        }
    }
    for (i, values) in VALUES.iter().enumerate() {
        for (j, conflict) in CONFLICTS.iter().enumerate() {
            for (k, returning) in RETURNINGS.iter().enumerate() {
                let with = WITHS[(i + j + k) % WITHS.len()];
                let columns = if i == 3 { "" } else { "(id, name) " };
                all.push(format!("{with}INSERT INTO a {columns}{values}{conflict}{returning}"));
            }
        }
    }
    for condition in CONDITIONS {
        for returning in RETURNINGS {
            all.push(format!("DELETE FROM a USING b {condition}{returning}"));
            for set in SETS {
                all.push(format!("UPDATE a SET {set} {condition}{returning}"));
            }
        }
    }
    all
}
