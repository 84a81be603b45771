// node-postgres against the URL in argv[2]: prints a transcript that must be the same direct and through Pointsman.
'use strict'
const { Client, Pool } = require('pg')
const copy = require('pg-copy-streams')
const crypto = require('crypto')
const { pipeline } = require('stream/promises')
const { Readable } = require('stream')

const url = process.argv[2]
const schema = 'driver_node'
const show = (label, ...values) => console.log(`${label}:`, ...values.map((v) => JSON.stringify(v)))
const md5 = (data) => crypto.createHash('md5').update(data).digest('hex')
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function connect(more = {}) {
  const client = new Client({ connectionString: url, options: `-c search_path=${schema}`, ...more })
  await client.connect()
  return client
}

const errorFields = ['severity', 'code', 'message', 'detail', 'hint', 'position', 'where', 'schema', 'table', 'column', 'constraint']
async function failing(label, promise) {
  try {
    await promise
    show(label, 'no error')
  } catch (error) {
    show(label, Object.fromEntries(errorFields.filter((f) => error[f] !== undefined).map((f) => [f, error[f]])))
  }
}

async function transactions(c) {
  await c.query('CREATE TABLE account (id int PRIMARY KEY, amount int CHECK (amount >= 0))')
  await c.query('INSERT INTO account VALUES ($1, 10), ($2, 20)', [1, 2])
  await c.query('BEGIN')
  await c.query('UPDATE account SET amount = 0')
  await c.query('ROLLBACK')
  await c.query('BEGIN')
  await c.query('UPDATE account SET amount = amount + 1 WHERE id = $1', [1])
  await c.query('SAVEPOINT s')
  await failing('savepoint', c.query('UPDATE account SET amount = -1 WHERE id = $1', [2]))
  await failing('aborted', c.query('SELECT 1'))
  await c.query('ROLLBACK TO s')
  show('inside', (await c.query('SELECT sum(amount)::int FROM account')).rows)
  show('commit', (await c.query('COMMIT')).command)
  await c.query('BEGIN')
  await failing('zero', c.query('SELECT 1/0'))
  show('commit of a failed one', (await c.query('COMMIT')).command)
  show('after', (await c.query('SELECT * FROM account ORDER BY id')).rows)
  show('script', (await c.query('BEGIN; INSERT INTO account VALUES (3, 30); SELECT count(*) FROM account; COMMIT; SELECT 5 AS five'))
    .map((r) => [r.command, r.rowCount, r.rows]))
  await failing('script error', c.query('INSERT INTO account VALUES (4, 40); SELECT 1/0'))
  show('script left', (await c.query('SELECT count(*) FROM account')).rows)
}

async function queued(c) {
  const promises = []
  for (let i = 0; i < 200; i++) promises.push(c.query('SELECT $1::int * 2 AS n', [i]))
  show('queued', (await Promise.all(promises)).reduce((sum, r) => sum + r.rows[0].n, 0))
  const mixed = [c.query('SELECT 1 AS a'), c.query('SELECT 1/0'), c.query('SELECT $1::text', ['t']), c.query('SELEC')]
  show('mixed', (await Promise.allSettled(mixed)).map((r) => r.status === 'fulfilled' ? r.value.rows : r.reason.code))
}

async function prepared(c) {
  await c.query('CREATE TABLE shape (a int, b text)')
  await c.query("INSERT INTO shape VALUES (1, 'one')")
  const named = { name: 'by_a', text: 'SELECT * FROM shape WHERE a = $1', values: [1] }
  for (let i = 0; i < 3; i++) show('named', (await c.query(named)).rows)
  await c.query('ALTER TABLE shape ADD c int DEFAULT 7')
  await failing('after ddl', c.query(named))
  await c.query('DEALLOCATE ALL')
  let total = 0
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 300; i++) total += (await c.query({ name: `plus ${i}`, text: `SELECT $1::int + ${i} AS n`, values: [round] })).rows[0].n
  }
  show('many', total)
  const other = await connect()
  show('same name, other text', (await other.query({ name: 'plus 0', text: 'SELECT $1::text AS n', values: ['mine'] })).rows,
    (await c.query({ name: 'plus 0', text: 'SELECT $1::int + 0 AS n', values: [9] })).rows)
  await other.end()
  await c.query('PREPARE twice (int) AS SELECT $1 * 2 AS n')
  show('sql', (await c.query('EXECUTE twice(21)')).rows)
  const portal = await c.query({ text: 'SELECT g FROM generate_series(1, 10) g WHERE g > $1', values: [2], rows: 3 })
  show('row limit', portal.rows.length)
}

async function copies(c) {
  await c.query('CREATE TABLE copied (id int, word text)')
  const lines = function * () { for (let i = 0; i < 20000; i++) yield `${i}\tword ${i}\n` }
  const into = c.query(copy.from('COPY copied FROM STDIN'))
  await pipeline(Readable.from(lines()), into)
  show('in', into.rowCount)
  const chunks = []
  for await (const chunk of c.query(copy.to('COPY (SELECT * FROM copied ORDER BY id) TO STDOUT'))) chunks.push(chunk)
  show('out', md5(Buffer.concat(chunks)))
  await failing('bad row', pipeline(Readable.from(['x\ty\n']), c.query(copy.from('COPY copied FROM STDIN'))))
  show('count', (await c.query('SELECT count(*) FROM copied')).rows)
}

async function cancels(c) {
  // node-postgres has no public cancel: the cancel request is written here, from the key it keeps.
  const sleeping = failing('cancelled', c.query('SELECT pg_sleep(20)'))
  await pause(300)
  const target = new URL(url)
  const request = Buffer.alloc(16)
  ;[16, 80877102, c.processID, c.secretKey].forEach((word, i) => request.writeInt32BE(word, i * 4))
  await new Promise((resolve) => {
    const socket = require('net').connect(Number(target.port), target.hostname, () => socket.write(request))
    socket.on('close', resolve)
    socket.on('end', () => socket.end())
    socket.resume()
  })
  await sleeping
  show('after', (await c.query('SELECT 1 AS n')).rows)
  await c.query("SET statement_timeout = '100ms'")
  await failing('timeout', c.query('SELECT pg_sleep(20)'))
}

async function notices(c) {
  const heard = []
  c.on('notice', (n) => heard.push([n.severity, n.code, n.message, n.detail, n.hint]))
  await c.query("DO $$ BEGIN RAISE NOTICE 'one' USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'two'; END $$")
  await c.query('DROP TABLE IF EXISTS never_there')
  show('notices', heard)
}

async function listens(c) {
  const heard = []
  c.on('notification', (n) => heard.push([n.channel, n.payload]))
  const other = await connect()
  await c.query('LISTEN driver_channel')
  await other.query("SELECT pg_notify('driver_channel', 'hello')")
  await other.query("NOTIFY driver_channel, 'again'")
  for (let i = 0; i < 50 && heard.length < 2; i++) await pause(100)
  await c.query('UNLISTEN driver_channel')
  await other.query("NOTIFY driver_channel, 'unheard'")
  await pause(300)
  show('heard', heard)
  await other.end()
}

async function large(c) {
  const big = 'x'.repeat(10000000) + 'é'
  const got = (await c.query('SELECT $1::text AS big, length($1::text) AS n', [big])).rows[0]
  show('large', md5(got.big), got.n)
  const data = Buffer.alloc(10240000, 7)
  await c.query('CREATE TABLE blob (data bytea)')
  await c.query('INSERT INTO blob VALUES ($1)', [data])
  show('bytea', (await c.query('SELECT data FROM blob')).rows[0].data.equals(data))
  show('rows', (await c.query("SELECT g, repeat('r', 1000) FROM generate_series(1, 20000) g")).rows.length)
}

async function types(c) {
  const values = [['bool', true], ['int8', '1099511627776'], ['float8', 1.5], ['numeric', '12345678901234567890.123'], ['text', 'Ünïcødé \\ \' "'],
    ['date', '2024-02-29'], ['timestamptz', new Date(Date.UTC(2024, 1, 29, 12, 30))], ['interval', '3 days 4 seconds'], ['int[]', [1, null, 3]],
    ['text[]', [['a', 'b'], ['c', null]]], ['jsonb', { a: [1, null] }], ['uuid', '9c5b94b1-35ad-49bb-b118-8e8fc24abf80'], ['text', null]]
  for (const [kind, value] of values) {
    const r = await c.query(`SELECT $1::${kind} AS v, $1::${kind}::text AS t`, [value])
    show(kind, r.rows, r.fields.map((f) => [f.name, f.dataTypeID, f.dataTypeSize, f.format]))
  }
  const own = await connect({ binary: true })
  const binary = await own.query("SELECT $1::int4 AS i, 2.5::float8 AS f, true AS b, 'text' AS t", [1])
  show('binary', binary.fields.map((f) => f.format), binary.rows)
  await own.end()
  show('array mode', (await c.query({ text: 'SELECT 1, 2', rowMode: 'array' })).rows)
}

async function errors(c) {
  await c.query('CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL)')
  await c.query('CREATE TABLE child (id int REFERENCES parent)')
  for (const text of ['SELEC 1', 'SELECT * FROM nothing_here', 'SELECT nothing FROM parent', 'INSERT INTO parent VALUES (1, NULL)',
    'INSERT INTO child VALUES (5)', 'SELECT 1/0', "SET work_mem = 'much'", "SELECT 'x'::int", 'SELECT $1']) {
    await failing(text, c.query(text))
    await failing(`${text}, extended`, c.query({ text, values: [], queryMode: 'extended' }))
  }
  await failing('named, too few values', c.query({ name: 'needs one', text: 'SELECT $1::int', values: [] }))
  await failing('named, wrong value', c.query({ name: 'needs a number', text: 'SELECT $1::int', values: ['x'] }))
  show('empty', (await c.query('')).rows)
}

async function sessions(c) {
  await c.query("SET TimeZone = 'Asia/Kathmandu'")
  const other = await connect({ application_name: 'other', statement_timeout: 5000 })
  show('own', (await c.query("SELECT '2024-01-01 00:00Z'::timestamptz::text AS t, current_setting('TimeZone') AS z")).rows)
  show('other', (await other.query("SELECT current_setting('TimeZone') AS z, current_setting('application_name') AS n")).rows,
    (await other.query('SHOW statement_timeout')).rows)
  await c.query('CREATE TEMP TABLE mine (n int)')
  await c.query('INSERT INTO mine VALUES (1)')
  show('temp', (await c.query('SELECT * FROM mine')).rows)
  await failing("other's", other.query('SELECT * FROM mine'))
  await c.query('DISCARD ALL')
  show('reset', (await c.query('SHOW TimeZone')).rows)
  await other.end()
}

async function many(c) {
  await c.query('CREATE TABLE work (who int, n int)')
  const pool = new Pool({ connectionString: url, options: `-c search_path=${schema}`, max: 20 })
  await Promise.all(Array.from({ length: 30 }, async (_, who) => {
    for (let n = 0; n < 20; n++) {
      await pool.query('INSERT INTO work VALUES ($1, $2)', [who, n])
      const seen = Number((await pool.query('SELECT count(*) FROM work WHERE who = $1', [who])).rows[0].count)
      if (seen !== n + 1) throw new Error(`${who} wrote ${n + 1} rows and sees ${seen}`)
    }
  }))
  await pool.end()
  show('many', (await c.query('SELECT count(*) FROM work')).rows)
}

async function main() {
  const failed = []
  const first = new Client({ connectionString: url })
  await first.connect()
  await first.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE; CREATE SCHEMA ${schema}`)
  for (const part of [transactions, queued, prepared, copies, cancels, notices, listens, large, types, errors, sessions, many]) {
    console.log(`== ${part.name}`)
    const client = await connect()
    try {
      await part(client)
    } catch (error) {
      failed.push(part.name)
      show('part failed', String(error))
    }
    await client.end()
  }
  await first.query(`DROP SCHEMA ${schema} CASCADE`)
  await first.end()
  if (failed.length) throw new Error(`failed: ${failed}`)
}

main().catch((error) => { console.error(error); process.exit(1) })
