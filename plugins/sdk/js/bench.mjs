// A plugin's hooks under plain `node --test`: no Wasm, and a world in memory that the test furnishes.
//
//   import { world, statement, load } from "./sdk/bench.mjs";
//   const plugin = await load(new URL("./plugin.js", import.meta.url), { ...config });
//   world.who.user = "auditor";
//   const outcome = plugin.query(statement("SELECT 1", { relations: [{ name: "agents", written: false }] }));
//
// A statement has the facts that the test gives it; nothing is parsed. Fixtures and `pointsman plugin test` show what Pointsman itself
// makes of a text.
import { register } from "node:module";

/** What is around the plugin; a test may change all of it. `lookup` answers lookups: (sql, params) => ({columns, rows}). */
export const world = {};

/** A new world. `load` makes one, too. */
export function reset() {
  for (const name of Object.keys(world)) delete world[name];
  Object.assign(world, {
    who: { user: "app", database: "app", application: "", client: "127.0.0.1" },
    settings: {}, statement: undefined, kv: new Map(), lookup: undefined, logged: [], metrics: [], now: 1_767_225_600_000n, stage: 0,
  });
}
reset();

/** A statement: its facts are those of `facts`, and its kind what the first word says. */
export function statement(sql, facts = {}) {
  const word = sql.trim().split(/\s/)[0].toLowerCase();
  const kind = { with: "select", values: "select", table: "select" }[word] ??
    (["select", "insert", "update", "delete", "merge"].includes(word) ? word : "other");
  return { sql, kind, relations: [], literals: [], params: [], pinned: {}, comments: {}, inTransaction: false, ...facts };
}

/** Loads a plugin's module and calls its `init`. */
export async function load(url, config = null) {
  reset();
  const module = await import(url);
  module.lifecycle?.init(JSON.stringify(config));
  const call = (hook, stage, of, argument) => {
    if (!module[hook]) throw new Error(`the plugin does not export \`${hook}\``);
    Object.assign(world, { stage, statement: of });
    try { return module[hook].handle(argument); } finally { Object.assign(world, { stage: 0, statement: undefined }); }
  };
  const facts = (of) => ({
    kind: of.kind, template: 0n, inTransaction: of.inTransaction, params: of.params.length, literals: of.literals.length,
    readOnly: of.readOnly ?? (of.kind === "select" && !of.relations.some((relation) => relation.written)),
  });
  return {
    needs: () => module.needs.declare(),
    query: (of) => call("onQuery", 2, of, facts(of)),
    write: (of, rows = 1n) => call("onWrite", 2, of, { kind: of.kind, template: 0n, rows }),
    change: (batch) => call("onChange", 0, undefined, batch),
    store: (of, entry) => call("onStore", 2, of, entry),
    connect: () => call("onConnect", 1, undefined),
    shutdown: () => module.lifecycle?.shutdown(),
  };
}

const during = (stage, what) => {
  if (world.stage < stage) throw new Error(`there is no ${what} in this hook: the call would trap`);
};
const who = (value) => (during(1, "session"), value());
const hand = (value) => (during(2, "statement"), value(world.statement));
const live = (key) => {
  const kept = world.kv.get(key);
  return kept && (kept.until === undefined || kept.until > world.now) ? kept : undefined;
};
const until = (ttl) => (ttl === undefined ? undefined : world.now + BigInt(ttl));
const metric = (name) => {
  const known = world.metrics.findIndex((metric) => metric.name === name);
  return known >= 0 ? known : world.metrics.push({ name, values: new Map() }) - 1;
};
const measured = (number, labels, change) => {
  const values = world.metrics[number]?.values, key = Array.from(labels).join();
  values?.set(key, change(values.get(key) ?? 0));
};

/** The contract's imports, by interface. */
// An option that is none comes as null.
export const imports = {
  session: { who: () => who(() => world.who), setting: (name) => who(() => world.settings[name.toLowerCase()] ?? null) },
  statement: {
    sql: () => hand((of) => of.sql), relations: () => hand((of) => of.relations.map((relation) => ({ schema: null, ...relation }))),
    literal: (index) => hand((of) => of.literals[index] ?? null), param: (index) => hand((of) => of.params[index] ?? null),
    pinned: (table, column) => hand((of) => of.pinned[`${table}.${column}`] ?? null), comment: (key) => hand((of) => of.comments[key] ?? null),
  },
  log: { write: (level, message) => void world.logged.push({ level, message }), enabled: () => true },
  metric: {
    registerCounter: metric, registerGauge: metric, registerHistogram: metric,
    add: (number, labels, by) => measured(number, labels, (value) => value + by),
    set: (number, labels, to) => measured(number, labels, () => to),
    observe: (number, labels) => measured(number, labels, (count) => count + 1),
  },
  kv: {
    get: (key) => live(key)?.value ?? null,
    set: (key, value, ttl) => void world.kv.set(key, { value: Uint8Array.from(value), until: until(ttl) }),
    delete: (key) => void world.kv.delete(key),
    increment: (key, by, ttl) => {
      const before = live(key);
      const sum = BigInt(before ? new TextDecoder().decode(before.value) : 0) + BigInt(by);
      world.kv.set(key, { value: new TextEncoder().encode(String(sum)), until: before ? before.until : until(ttl) });
      return sum;
    },
  },
  lookup: {
    query: (sql, params) => {
      if (!world.lookup) throw { payload: { tag: "unavailable", val: "the bench has no answer: set `world.lookup`" } };
      return world.lookup(sql, params);
    },
  },
  clock: { now: () => world.now * 1000n, monotonic: () => world.now * 1_000_000n },
  random: { number: () => 4n, bytes: (count) => new Uint8Array(count) },
};

// `import { sql } from "pointsman:plugin/statement@1.0.0"` finds the bench.
const bench = JSON.stringify(import.meta.url);
const names = JSON.stringify(Object.fromEntries(Object.entries(imports).map(([name, functions]) => [name, Object.keys(functions)])));
register("data:text/javascript," + encodeURIComponent(`
  const names = ${names};
  export async function resolve(specifier, context, next) {
    return specifier.startsWith("pointsman:plugin/") ? { url: specifier, shortCircuit: true } : next(specifier, context);
  }
  export async function load(url, context, next) {
    const name = /^pointsman:plugin\\/([a-z]+)@/.exec(url)?.[1];
    if (!name) return next(url, context);
    const source = "import { imports } from " + ${JSON.stringify(bench)} + ";\\nconst i = imports[" + JSON.stringify(name) + "];\\n" +
      names[name].map((f, n) => "const f" + n + " = i[" + JSON.stringify(f) + "]; export { f" + n + " as " + f + " };").join("\\n");
    return { format: "module", source, shortCircuit: true };
  }`));
