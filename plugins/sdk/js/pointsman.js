// Verdicts of Pointsman plugins, built. The shapes are those of the contract's WIT: a variant is {tag, val}, an option is a value, or null or undefined.

const outcome = (verdict, memo = "call") => ({ verdict, memo });

/** The statement goes on as it is. `memo`: "call", "template-and-identity" or "template". */
export const pass = (memo) => outcome({ tag: "pass" }, memo);

/** It is refused: `sqlstate` is five digits or capital letters. */
export const refuse = (sqlstate, message, hint) => outcome({ tag: "refuse", val: { sqlstate, message, hint } });

/** It is answered with rows of text, and sent to no server: `answer(["id"], [["1"], [null]])`. */
export const answer = (columns, rows) =>
  outcome({ tag: "answer", val: { columns, rows: rows.map((row) => row.map((value) => value ?? undefined)) } });

/**
 * It goes on with changes: `sql` in its text's place (with `params`, else with the client's), `route` ("primary", "replica" or
 * {shard: 1}), `tags` that its result depends on, `cache` ("bypass" or {ttlMs: 1000}). `memo` as for `pass`.
 */
export const change = ({ sql, params, route, tags = [], cache } = {}, memo) =>
  outcome({ tag: "change", val: {
    rewrite: sql === undefined ? undefined : { sql, params },
    route: typeof route === "string" ? { tag: route } : route && { tag: "shard", val: route.shard },
    tags,
    caching: cache === "bypass" ? { tag: "bypass" } : cache && { tag: "ttl-ms", val: BigInt(cache.ttlMs) },
  } }, memo);

/** A result that is to be stored is kept as it is. */
export const keep = () => ({ tag: "keep" });

/** It is not kept. */
export const veto = () => ({ tag: "veto" });

/** It is kept with further tags, or for a shorter time in milliseconds. */
export const storing = ({ tags = [], ttlMs } = {}) =>
  ({ tag: "change", val: { tags, ttlMs: ttlMs === undefined ? undefined : BigInt(ttlMs) } });

/** A client may go on, with these settings: `allow({"app.tenant": "7"})`. */
export const allow = (settings = {}) =>
  ({ tag: "allow", val: Object.entries(settings).map(([name, value]) => ({ name, value })) });

/** A client is refused. */
export const refuseClient = (sqlstate, message, hint) => ({ tag: "refuse", val: { sqlstate, message, hint } });

/** The text form of a contract's value, or of a parameter's; undefined for NULL and for binary values. */
export const text = (value) => (value?.value ?? value)?.tag === "text" ? (value.value ?? value).val : undefined;
