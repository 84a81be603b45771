"""psycopg 3 against the URL in argv[1]: prints a transcript that must be the same direct and through Pointsman."""
import datetime as dt, decimal, hashlib, sys, threading, time

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

URL = sys.argv[1]
SCHEMA = "driver_psycopg"


def show(label, *values):
    print(f"{label}:", *(repr(v) for v in values), flush=True)


def failing(label, call):
    """Runs `call`, which must fail, and shows the fields of the error."""
    try:
        call()
        show(label, "no error")
    except psycopg.Error as error:
        d = error.diag
        show(label, type(error).__name__, d.severity, d.sqlstate, d.message_primary, d.message_detail, d.message_hint,
             d.statement_position, d.schema_name, d.table_name, d.column_name, d.constraint_name, d.context)


def connect(**options):
    return psycopg.connect(URL, options=f"-c search_path={SCHEMA}", **options)


def transactions(c):
    c.execute("CREATE TABLE account (id int PRIMARY KEY, amount int CHECK (amount >= 0))")
    c.commit()
    c.execute("INSERT INTO account VALUES (1, 10), (2, 20)"); c.commit()
    c.execute("UPDATE account SET amount = 0"); c.rollback()
    show("after rollback", c.execute("SELECT * FROM account ORDER BY id").fetchall())
    with c.transaction():
        c.execute("UPDATE account SET amount = amount + 1 WHERE id = 1")
        try:
            with c.transaction():
                c.execute("UPDATE account SET amount = -1 WHERE id = 2")
        except psycopg.errors.CheckViolation as error:
            show("savepoint", error.diag.constraint_name, c.info.transaction_status.name)
        show("inside", c.execute("SELECT sum(amount) FROM account").fetchone())
    c.commit()
    failing("in transaction", lambda: c.execute("SELECT 1/0"))
    show("status", c.info.transaction_status.name)
    failing("failed transaction", lambda: c.execute("SELECT 1"))
    c.rollback()
    show("status", c.info.transaction_status.name)
    for level in psycopg.IsolationLevel:
        c.isolation_level = level
        show("isolation", level.name, c.execute("SHOW transaction_isolation").fetchone()); c.rollback()
    c.isolation_level = None
    c.read_only = True
    failing("read only", lambda: c.execute("INSERT INTO account VALUES (9, 9)")); c.rollback()
    show("read only", c.execute("SELECT count(*) FROM account").fetchone()); c.rollback()
    c.read_only = None
    c.deferrable = None


def pipelines(c):
    c.autocommit = True
    with c.pipeline() as p:
        cursors = [c.execute("SELECT %s::int * 2", [i]) for i in range(100)]
        p.sync()
        show("pipeline", [cur.fetchone()[0] for cur in cursors][-3:])
    try:
        with c.pipeline() as p:
            c.execute("CREATE TABLE pipe (n int)")
            c.execute("INSERT INTO pipe VALUES (1)")
            c.execute("INSERT INTO missing VALUES (1)")
            c.execute("INSERT INTO pipe VALUES (2)")
            p.sync()
    except psycopg.Error as error:
        show("pipeline error", type(error).__name__, error.sqlstate)
    show("pipeline left", c.execute("SELECT to_regclass('pipe') IS NULL").fetchone())
    with c.pipeline(), c.transaction():
        c.execute("CREATE TABLE pipe (n int)")
        c.cursor().executemany("INSERT INTO pipe VALUES (%s)", [(i,) for i in range(500)])
    show("pipelined", c.execute("SELECT count(*), sum(n) FROM pipe").fetchone())
    cur = c.cursor()
    cur.executemany("INSERT INTO pipe VALUES (%s) RETURNING n", [(1000,), (1001,)], returning=True)
    returned = [cur.fetchone()]
    while cur.nextset():
        returned.append(cur.fetchone())
    show("executemany", returned)
    show("multi", [c.execute("SELECT 1; SELECT 2; SELECT 3").fetchone()])
    c.autocommit = False


def prepared(c):
    c.autocommit = True
    c.execute("CREATE TABLE shape (a int, b text)")
    c.execute("INSERT INTO shape VALUES (1, 'one')")
    for _ in range(4):
        show("prepared", c.execute("SELECT * FROM shape WHERE a = %s", [1], prepare=True).fetchall())
    c.execute("ALTER TABLE shape ADD c int DEFAULT 7")
    for _ in range(2):
        try:
            show("after ddl", c.execute("SELECT * FROM shape WHERE a = %s", [1], prepare=True).fetchall())
        except psycopg.Error as error:
            show("after ddl", error.sqlstate, error.diag.message_primary)
    for i in range(300):
        assert c.execute(f"SELECT %s::int + {i}", [1], prepare=True).fetchone() == (i + 1,)
    show("many", i)
    c.execute("PREPARE twice (int) AS SELECT $1 * 2")
    show("sql prepare", c.execute("EXECUTE twice(21)").fetchone())
    c.execute("DEALLOCATE twice")
    failing("deallocated", lambda: c.execute("EXECUTE twice(21)"))
    c.execute("DEALLOCATE ALL")
    show("after deallocate all", c.execute("SELECT %s::int", [5]).fetchone())
    c.autocommit = False


def copies(c):
    c.execute("CREATE TABLE copied (id int, word text)")
    with c.cursor() as cur:
        with cur.copy("COPY copied FROM STDIN") as copy:
            for i in range(20_000):
                copy.write_row((i, f"word\t{i}" if i % 7 else None))
        show("copied in", cur.rowcount, cur.statusmessage)
        with cur.copy("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT") as copy:
            show("copied out", hashlib.md5(b"".join(copy)).hexdigest())
        with cur.copy("COPY copied (id, word) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            for i in range(100):
                copy.write_row((i, "binary"))
        show("binary", cur.statusmessage)
        with cur.copy("COPY (SELECT * FROM copied ORDER BY id, word LIMIT 5) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            show("binary out", list(copy.rows()))
    c.commit()

    def bad_row():
        with c.cursor() as cur, cur.copy("COPY copied FROM STDIN") as copy:
            copy.write("not a number\tx\n")
    failing("copy error", bad_row); c.rollback()

    def given_up():
        with c.cursor() as cur, cur.copy("COPY copied FROM STDIN") as copy:
            copy.write_row((1, "x"))
            raise ValueError("given up")
    try:
        given_up()
    except ValueError as error:
        show("given up", str(error), c.info.transaction_status.name)
    c.rollback()
    show("copied", c.execute("SELECT count(*) FROM copied").fetchone()); c.rollback()


def cancels(c):
    timer = threading.Timer(0.3, c.cancel); timer.start()
    failing("cancelled", lambda: c.execute("SELECT pg_sleep(20)")); c.rollback()
    timer.join()
    show("after cancel", c.execute("SELECT 1").fetchone()); c.rollback()
    c.execute("SET statement_timeout = '100ms'")
    failing("timeout", lambda: c.execute("SELECT pg_sleep(20)")); c.rollback()
    # Client-side cancel with nothing to cancel is without effect on the next statement.
    c.cancel(); time.sleep(0.2)
    show("after idle cancel", c.execute("SELECT 2").fetchone()); c.rollback()


def notices(c):
    heard = []
    c.add_notice_handler(lambda n: heard.append((n.severity, n.sqlstate, n.message_primary, n.message_detail, n.message_hint)))
    c.execute("DO $$ BEGIN RAISE NOTICE 'one %', 1 USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'two'; END $$")
    c.execute("DROP TABLE IF EXISTS never_there")
    c.rollback()
    show("notices", heard)


def listens(c):
    c.autocommit = True
    with connect(autocommit=True) as other:
        c.execute("LISTEN driver_channel")
        other.execute("SELECT pg_notify('driver_channel', 'hello')")
        with other.transaction():
            other.execute("NOTIFY driver_channel, 'late'")
            other.execute("NOTIFY driver_channel, 'later'")
        show("notified", [(n.channel, n.payload) for n in c.notifies(timeout=5, stop_after=3)])
        c.execute("UNLISTEN *")
        other.execute("NOTIFY driver_channel, 'unheard'")
        show("unheard", [n.payload for n in c.notifies(timeout=0.3)])
        c.execute("LISTEN driver_channel")
        c.execute("NOTIFY driver_channel, 'own'")
        show("own", [(n.payload, n.pid == c.info.backend_pid) for n in c.notifies(timeout=5, stop_after=1)][0][0])
        c.execute("UNLISTEN driver_channel")
    c.autocommit = False


def large(c):
    big = "x" * 10_000_000 + "é"
    for binary in (False, True):
        got = c.execute("SELECT %s::text AS big, length(%s::text)", [big, big], binary=binary).fetchone()
        show("large", binary, hashlib.md5(got[0].encode()).hexdigest(), got[1])
    data = bytes(range(256)) * 40_000
    c.execute("CREATE TABLE blob (data bytea)")
    c.execute("INSERT INTO blob VALUES (%b)", [data])
    show("bytea", c.execute("SELECT data FROM blob", binary=True).fetchone()[0] == data,
         c.execute("SELECT data FROM blob").fetchone()[0] == data)
    rows = c.execute("SELECT g, repeat('r', 1000) FROM generate_series(1, 20000) g").fetchall()
    show("many rows", len(rows), sum(r[0] for r in rows)); c.rollback()


def types(c):
    values = [True, 2**40, 1.5, decimal.Decimal("12345678901234567890.123456789"), "Ünïcødé \\ ' \"", b"\0\1\xff",
              dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12, 30, 1, 5, dt.timezone.utc), dt.timedelta(days=3, seconds=4),
              [1, None, 3], [["a", "b"], ["c", None]], Jsonb({"a": [1, None, {"b": "ü"}]}), None]
    kinds = ["bool", "int8", "float8", "numeric", "text", "bytea", "date", "timestamptz", "interval", "int[]", "text[]",
             "jsonb", "text"]
    for fmt in ("%t", "%b"):
        for binary in (False, True):
            columns = ", ".join(f"{fmt}::{k}" for k in kinds)
            cur = c.execute(f"SELECT {columns}", values, binary=binary)
            show("types", fmt, binary, cur.fetchone(), [(d.name, d.type_code, d.precision) for d in cur.description])
    show("odd", c.execute("SELECT 'NaN'::numeric, 'Infinity'::float8, '1 year'::interval::text, '{}'::int[], "
                          "'[1,5)'::int4range, '10.0.0.0/8'::inet, gen_random_uuid() IS NOT NULL").fetchone())
    failing("bad value", lambda: c.execute("SELECT %s::int", ["many"])); c.rollback()


def errors(c):
    c.execute("CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL)")
    c.execute("CREATE TABLE child (id int REFERENCES parent)")
    c.commit()
    for label, text in [("syntax", "SELEC 1"), ("table", "SELECT * FROM nothing_here"), ("column", "SELECT nothing FROM parent"),
                        ("function", "SELECT nothing(1)"), ("null", "INSERT INTO parent VALUES (1, NULL)"),
                        ("foreign", "INSERT INTO child VALUES (5)"), ("zero", "SELECT 1/0"), ("empty", ""),
                        ("raise", "DO $$ BEGIN RAISE 'custom' USING ERRCODE = 'P1234', DETAIL = 'more', HINT = 'less'; END $$"),
                        ("permission", "ALTER SYSTEM SET work_mem = '1MB'"), ("setting", "SET work_mem = 'much'")]:
        failing(label, lambda: c.execute(text)); c.rollback()
    c.execute("INSERT INTO parent VALUES (1, 'a')"); c.commit()
    failing("unique", lambda: c.execute("INSERT INTO parent VALUES (1, 'b')")); c.rollback()


def sessions(c):
    c.autocommit = True
    show("start-up", [c.info.parameter_status(p) for p in ("client_encoding", "DateStyle", "standard_conforming_strings")])
    c.execute("SET TimeZone = 'Asia/Kathmandu'")
    show("set", c.execute("SELECT '2024-01-01 00:00Z'::timestamptz::text").fetchone(), c.info.parameter_status("TimeZone"))
    c.execute("SET application_name = 'driver'")
    show("name", c.execute("SHOW application_name").fetchone(), c.info.parameter_status("application_name"))
    with connect(autocommit=True) as other:
        show("other", other.execute("SHOW TimeZone").fetchone(), other.execute("SHOW application_name").fetchone())
    c.execute("CREATE TEMP TABLE mine (n int)"); c.execute("INSERT INTO mine VALUES (1)")
    show("temp", c.execute("SELECT * FROM mine").fetchall())
    c.execute("SELECT pg_advisory_lock(77)")
    with connect(autocommit=True) as other:
        show("lock", other.execute("SELECT pg_try_advisory_lock(77)").fetchone())
    show("unlock", c.execute("SELECT pg_advisory_unlock(77)").fetchone())
    c.execute("DISCARD ALL")
    failing("discarded", lambda: c.execute("SELECT * FROM mine"))
    show("reset", c.execute("SHOW TimeZone").fetchone())
    c.execute(f"SET search_path = {SCHEMA}")
    c.autocommit = False
    with c.cursor("server_side") as cur:
        cur.execute("SELECT g FROM generate_series(1, 1000) g")
        show("cursor", cur.fetchmany(3), cur.fetchmany(2), len(cur.fetchall()))
    c.commit()
    with c.cursor("held", withhold=True, scrollable=True) as cur:
        cur.execute("SELECT g FROM generate_series(1, 10) g")
        c.commit()
        cur.scroll(5)
        show("held", cur.fetchone())
    c.commit()


def many(c):
    results = {}

    def work(number):
        with connect(autocommit=True) as own:
            own.execute(sql.SQL("SET work_mem = {}").format(f"{number + 100}kB"))
            total = 0
            for i in range(50):
                total += own.execute("SELECT %s::int", [i]).fetchone()[0]
                with own.transaction():
                    own.execute("INSERT INTO work VALUES (%s, %s)", [number, i])
                assert own.execute("SELECT count(*) FROM work WHERE who = %s", [number]).fetchone()[0] == i + 1
            results[number] = (total, own.execute("SHOW work_mem").fetchone()[0])
    c.execute("CREATE TABLE work (who int, n int)"); c.commit()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads: t.start()
    for t in threads: t.join()
    show("many", sorted(results.items()), c.execute("SELECT count(*) FROM work").fetchone()); c.rollback()


def main():
    failed = []
    with psycopg.connect(URL, autocommit=True) as c:
        c.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"); c.execute(f"CREATE SCHEMA {SCHEMA}")
    for part in (transactions, pipelines, prepared, copies, cancels, notices, listens, large, types, errors, sessions, many):
        print(f"== {part.__name__}", flush=True)
        try:
            with connect() as c:
                part(c)
        except Exception as error:
            failed.append(part.__name__)
            show("part failed", type(error).__name__, str(error))
    with psycopg.connect(URL, autocommit=True) as c:
        c.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    if failed:
        sys.exit(f"failed: {failed}")


main()
