"""asyncpg against the URL in argv[1]: prints a transcript that must be the same direct and through Pointsman."""
import asyncio, datetime as dt, decimal, hashlib, io, sys

import asyncpg

URL = sys.argv[1]
SCHEMA = "driver_asyncpg"


def show(label, *values):
    print(f"{label}:", *(repr(v) for v in values), flush=True)


def rows(records):
    return [tuple(r) for r in records]


async def failing(label, awaitable):
    try:
        await awaitable
        show(label, "no error")
    except asyncpg.PostgresError as error:
        show(label, type(error).__name__, str(error), {k: v for k, v in sorted(error.as_dict().items())
                                           if k not in ("server_source_filename", "server_source_line", "server_source_function")})
    except Exception as error:
        show(label, type(error).__name__, str(error))


def connect(**options):
    return asyncpg.connect(URL, server_settings={"search_path": SCHEMA, **options})


async def transactions(c):
    await c.execute("CREATE TABLE account (id int PRIMARY KEY, amount int CHECK (amount >= 0))")
    await c.execute("INSERT INTO account VALUES (1, 10), (2, 20)")
    async with c.transaction():
        await c.execute("UPDATE account SET amount = amount + 1 WHERE id = $1", 1)
        try:
            async with c.transaction():
                await c.execute("UPDATE account SET amount = -1 WHERE id = $1", 2)
        except asyncpg.CheckViolationError as error:
            show("savepoint", error.constraint_name)
        show("inside", await c.fetchval("SELECT sum(amount) FROM account"))
    tr = c.transaction(isolation="serializable", readonly=True, deferrable=True)
    await tr.start()
    show("read only", await c.fetchval("SHOW transaction_isolation"), await c.fetchval("SELECT count(*) FROM account"))
    await failing("write in read only", c.execute("DELETE FROM account"))
    await failing("failed transaction", c.fetchval("SELECT 1"))
    await tr.rollback()
    show("after", rows(await c.fetch("SELECT * FROM account ORDER BY id")))
    async with c.transaction():
        cursor = await c.cursor("SELECT g FROM generate_series(1, 100) g")
        show("cursor", rows(await cursor.fetch(3)), await cursor.forward(5), rows(await cursor.fetch(2)))
        total = 0
        async for record in c.cursor("SELECT g FROM generate_series(1, 1000) g", prefetch=17):
            total += record[0]
        show("iterated", total)
    show("script", await c.execute("CREATE TABLE s (n int); INSERT INTO s VALUES (1), (2); SELECT * FROM s"))
    await failing("script error", c.execute("INSERT INTO s VALUES (3); SELECT 1/0; INSERT INTO s VALUES (4)"))
    show("script left", await c.fetchval("SELECT count(*) FROM s"))


async def batches(c):
    await c.execute("CREATE TABLE batch (id int PRIMARY KEY, word text)")
    await c.executemany("INSERT INTO batch VALUES ($1, $2)", [(i, f"w{i}") for i in range(2000)])
    show("executemany", await c.fetchval("SELECT count(*) FROM batch"))
    await failing("executemany error", c.executemany("INSERT INTO batch VALUES ($1, $2)", [(5000, "a"), (1, "b"), (5001, "c")]))
    show("rolled back", await c.fetchval("SELECT count(*) FROM batch WHERE id >= 5000"))
    show("fetchmany", rows(await c.fetchmany("INSERT INTO batch VALUES ($1, $2) RETURNING id", [(6000, "x"), (6001, "y")])))


async def prepared(c):
    await c.execute("CREATE TABLE shape (a int, b text)")
    await c.execute("INSERT INTO shape VALUES (1, 'one')")
    statement = await c.prepare("SELECT * FROM shape WHERE a = $1")
    show("attributes", [(a.name, a.type.name) for a in statement.get_attributes()], [p.name for p in statement.get_parameters()])
    show("prepared", rows(await statement.fetch(1)), statement.get_statusmsg())
    await c.execute("ALTER TABLE shape ADD c int DEFAULT 7")
    await failing("after ddl", statement.fetch(1))
    show("fetch after ddl", rows(await c.fetch("SELECT * FROM shape WHERE a = $1", 1)))
    async with c.transaction():
        await c.execute("ALTER TABLE shape ADD d int DEFAULT 8")
        await failing("ddl in transaction", c.fetch("SELECT * FROM shape WHERE a = $1", 1))
    statements = [await c.prepare(f"SELECT $1::int + {i}") for i in range(300)]
    show("many", sum([await s.fetchval(1) for s in statements]))
    show("again", sum([await s.fetchval(2) for s in reversed(statements)]))
    show("cached", [await c.fetchval("SELECT $1::text || $2", "a", "b") for _ in range(3)])
    show("explain", (await statements[0].explain(1))[0]["Plan"]["Node Type"])
    await failing("argument count", c.fetch("SELECT $1::int", 1, 2))
    await failing("argument type", c.fetch("SELECT $1::int", "one"))


async def copies(c):
    await c.execute("CREATE TABLE copied (id int, word text)")
    show("records", await c.copy_records_to_table("copied", records=[(i, f"word\t{i}" if i % 7 else None) for i in range(20_000)]))
    out = io.BytesIO()
    show("out", await c.copy_from_query("SELECT * FROM copied ORDER BY id", output=out), hashlib.md5(out.getvalue()).hexdigest())
    out = io.BytesIO()
    show("csv", await c.copy_from_table("copied", output=out, format="csv", header=True), len(out.getvalue()))
    out.seek(0)
    show("in", await c.copy_to_table("copied", source=out, format="csv", header=True))
    await failing("bad row", c.copy_to_table("copied", source=io.BytesIO(b"x\ty\n")))

    async def given_up():
        yield b"1\tx\n"
        raise ValueError("given up")
    await failing("given up", c.copy_to_table("copied", source=given_up()))
    show("count", await c.fetchval("SELECT count(*) FROM copied"))


async def cancels(c):
    try:
        await asyncio.wait_for(c.fetch("SELECT pg_sleep(20)"), 0.3)
    except asyncio.TimeoutError:
        show("cancelled")
    show("after cancel", await c.fetchval("SELECT 1"))
    try:
        await c.fetch("SELECT pg_sleep(20)", timeout=0.2)
    except asyncio.TimeoutError:
        show("timed out")
    show("after timeout", await c.fetchval("SELECT 2"))
    await c.execute("SET statement_timeout = '100ms'")
    await failing("server's timeout", c.fetch("SELECT pg_sleep(20)"))
    tasks = [asyncio.create_task(sleeper()) for _ in range(5)]
    await asyncio.sleep(0.3)
    for task in tasks[:-1]: task.cancel()
    show("several", [type(r).__name__ for r in await asyncio.gather(*tasks, return_exceptions=True)])


async def sleeper():
    own = await connect()
    try:
        await own.fetch("SELECT pg_sleep(1)")
    finally:
        await own.close()


async def notices(c):
    heard = []
    c.add_log_listener(lambda _c, m: heard.append((m.severity, m.sqlstate, m.message, m.detail, m.hint)))
    await c.execute("DO $$ BEGIN RAISE NOTICE 'one' USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'two'; END $$")
    await c.execute("DROP TABLE IF EXISTS never_there")
    await asyncio.sleep(0)
    show("notices", heard)


async def listens(c):
    heard, other = asyncio.Queue(), await connect()
    await c.add_listener("driver_channel", lambda _c, pid, channel, payload: heard.put_nowait((channel, payload)))
    await other.execute("SELECT pg_notify('driver_channel', 'hello')")
    async with other.transaction():
        await other.execute("NOTIFY driver_channel, 'late'")
    show("heard", [await asyncio.wait_for(heard.get(), 5) for _ in range(2)])
    await c.reset()
    await other.execute("NOTIFY driver_channel, 'unheard'")
    await asyncio.sleep(0.3)
    show("after reset", heard.qsize())
    await other.close()


async def large(c):
    big = "x" * 10_000_000 + "é"
    got = await c.fetchrow("SELECT $1::text, length($1::text)", big)
    show("large", hashlib.md5(got[0].encode()).hexdigest(), got[1])
    data = bytes(range(256)) * 40_000
    await c.execute("CREATE TABLE blob (data bytea)")
    await c.execute("INSERT INTO blob VALUES ($1)", data)
    show("bytea", await c.fetchval("SELECT data FROM blob") == data)
    show("rows", sum(r[0] for r in await c.fetch("SELECT g, repeat('r', 1000) FROM generate_series(1, 20000) g")))


async def types(c):
    for kind, value in [("bool", True), ("int8", 2**40), ("float8", 1.5), ("numeric", decimal.Decimal("12345678901234567890.123")),
                        ("text", "Ünïcødé \\ ' \""), ("bytea", b"\0\1\xff"), ("date", dt.date(2024, 2, 29)),
                        ("timestamptz", dt.datetime(2024, 2, 29, 12, 30, 1, 5, dt.timezone.utc)),
                        ("interval", dt.timedelta(days=3, seconds=4)), ("int[]", [1, None, 3]), ("text[]", [["a", "b"], ["c", None]]),
                        ("jsonb", '{"a": [1, null]}'), ("json", '{"b":  2}'), ("uuid", "9c5b94b1-35ad-49bb-b118-8e8fc24abf80"),
                        ("inet", "10.1.2.3"), ("int4range", asyncpg.Range(1, 5)), ("point", (1.0, 2.0)), ("text", None)]:
        show(kind, await c.fetchrow(f"SELECT $1::{kind} AS v, $1::{kind}::text AS t", value))
    await c.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    await c.execute("CREATE TYPE pair AS (a int, m mood)")
    show("enum", await c.fetchval("SELECT 'happy'::mood"), await c.fetchval("SELECT $1::mood", "sad"))
    show("composite", await c.fetchval("SELECT ROW(1, 'sad')::pair"), await c.fetchval("SELECT ($1::pair).m", (2, "happy")))
    show("arrays", await c.fetchval("SELECT ARRAY['sad', 'happy']::mood[]"))


async def errors(c):
    await c.execute("CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL)")
    await c.execute("CREATE TABLE child (id int REFERENCES parent)")
    for label, text in [("syntax", "SELEC 1"), ("table", "SELECT * FROM nothing_here"), ("column", "SELECT nothing FROM parent"),
                        ("null", "INSERT INTO parent VALUES (1, NULL)"), ("foreign", "INSERT INTO child VALUES (5)"),
                        ("zero", "SELECT 1/0"), ("setting", "SET work_mem = 'much'")]:
        await failing(label, c.execute(text))
        await failing(label + " extended", c.fetch(text))
    show("empty", await c.fetch(""), await c.fetch("SELECT"))


async def sessions(c):
    s = c.get_settings()
    show("settings", s.client_encoding, s.TimeZone, s.DateStyle, s.application_name, s.standard_conforming_strings)
    await c.execute("SET TimeZone = 'Asia/Kathmandu'")
    await c.execute("SELECT set_config('application_name', 'driver', false)")
    show("set", await c.fetchval("SHOW TimeZone"), c.get_settings().TimeZone, c.get_settings().application_name)
    other = await connect(application_name="other", work_mem="123kB")
    show("other", await other.fetchval("SHOW TimeZone"), await other.fetchval("SHOW work_mem"), other.get_settings().application_name)
    await c.execute("CREATE TEMP TABLE mine (n int)")
    await c.execute("INSERT INTO mine VALUES (1)")
    show("temp", await c.fetchval("SELECT * FROM mine"))
    await c.execute("SELECT pg_advisory_lock(78)")
    show("locked", await other.fetchval("SELECT pg_try_advisory_lock(78)"))
    await c.reset()
    show("reset", await other.fetchval("SELECT pg_try_advisory_lock(78)"), await c.fetchval("SHOW TimeZone"), await c.fetchval("SHOW search_path"))
    await other.close()


async def many(c):
    await c.execute("CREATE TABLE work (who int, n int)")

    async def work(pool, number):
        for i in range(20):
            async with pool.acquire() as own, own.transaction():
                await own.execute("INSERT INTO work VALUES ($1, $2)", number, i)
            assert await pool.fetchval("SELECT count(*) FROM work WHERE who = $1", number) == i + 1
    async with asyncpg.create_pool(URL, min_size=5, max_size=20, server_settings={"search_path": SCHEMA}) as pool:
        await asyncio.gather(*(work(pool, n) for n in range(30)))
    show("many", await c.fetchval("SELECT count(*) FROM work"))


async def main():
    c, failed = await asyncpg.connect(URL), []
    await c.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
    for part in (transactions, batches, prepared, copies, cancels, notices, listens, large, types, errors, sessions, many):
        print(f"== {part.__name__}", flush=True)
        own = await connect()
        try:
            await part(own)
        except Exception as error:
            failed.append(part.__name__)
            show("part failed", type(error).__name__, str(error))
        await own.close(timeout=5)
    await c.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    await c.close()
    if failed:
        sys.exit(f"failed: {failed}")


asyncio.run(main())
