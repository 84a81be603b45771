// Columns that some may not see: a table's name means a masked query to everyone but those who are excepted.
//
//   config:
//     except: [admin]
//     masks: {agents: "SELECT id, name, NULL::text AS bio FROM public.agents"}
//
// A common table expression of the table's own name stands before the statement, so that PostgreSQL itself resolves every mention of
// the table to the mask, however the statement is written. What the name does not reach is refused: a name with its schema, writes,
// COPY, functions that are given a name or a text to read, and whatever may keep a text for later.
import { who } from "pointsman:plugin/session@1.0.0";
import { relations, sql } from "pointsman:plugin/statement@1.0.0";
import { change, pass, refuse } from "./sdk/pointsman.js";

let masks = {};
let except = new Set();

export const lifecycle = {
  init(text) {
    const config = JSON.parse(text);
    if (typeof config?.masks !== "object") throw "`config` has no `masks`: {TABLE: QUERY, ...}";
    for (const [table, query] of Object.entries(config.masks)) {
      if (!/^[a-z_][a-z0-9_]*$/.test(table)) throw `masks: ${table} is not a lower-case name without its schema`;
      if (typeof query !== "string" || query.includes(";")) throw `masks: ${table}: not one query`;
    }
    masks = config.masks;
    except = new Set(config.except ?? []);
  },
  shutdown() {},
};

// Kinds whose relations are all there is to them.
const PLAIN = ["select", "insert", "update", "delete", "merge", "copy-from", "copy-to"];
const HARMLESS = ["transaction", "setting", "notification"];

// What reads relations that the text does not name, or shows values of columns elsewhere. Also names written in escapes, which may be these.
const INDIRECT = /\w*_to_xml|ts_stat|ts_rewrite|dblink|pg_stats|u&"/i;

const isMasked = (name) => Object.hasOwn(masks, name);

export const onQuery = {
  handle(query) {
    if (except.has(who().user) || HARMLESS.includes(query.kind)) return pass("template-and-identity");
    if (!PLAIN.includes(query.kind)) {
      return refuse("42501", `${query.kind} statements are not allowed where columns are masked`);
    }
    const indirect = INDIRECT.exec(sql());
    if (indirect) return refuse("42501", `columns are masked: ${indirect[0]} may show them`);
    const named = relations().filter((relation) => isMasked(relation.name));
    if (named.length === 0) return pass("template-and-identity");
    const table = named[0].name;
    if (query.kind !== "select" || !query.readOnly) {
      return refuse("42501", `columns of ${table} are masked: it can only be read`, "use SELECT, without FOR UPDATE");
    }
    const qualified = named.find((relation) => relation.schema != null);
    if (qualified) {
      return refuse("42501", `columns of ${qualified.name} are masked`, `write ${qualified.name} without its schema`);
    }
    return change({ sql: masked(sql(), named.map((relation) => relation.name)) }, "template-and-identity");
  },
};

/** The text with a common table expression before it for each of the tables. */
function masked(text, tables) {
  const expressions = tables.map((table) => `${table} AS NOT MATERIALIZED (${masks[table]})`).join(", ");
  const start = begin(text);
  const own = /^with\s+(recursive\s)?/i.exec(text.slice(start));
  if (!own) return `${text.slice(0, start)}WITH ${expressions} ${text.slice(start)}`;
  // RECURSIVE would let a mask read itself: what it names with its schema is not itself.
  return `${text.slice(0, start)}${own[0]}${expressions}, ${text.slice(start + own[0].length)}`;
}

/** Where the first word is, after white space and comments. */
function begin(text) {
  let at = 0, depth = 0;
  for (;;) {
    if (text.startsWith("/*", at)) { depth += 1; at += 2; }
    else if (depth > 0) {
      if (text.startsWith("*/", at)) { depth -= 1; at += 2; }
      else if (at >= text.length) return 0;
      else at += 1;
    } else if (text.startsWith("--", at)) {
      const end = text.slice(at).search(/[\r\n]/);
      if (end < 0) return at;
      at += end;
    } else if (/\s/.test(text[at] ?? "")) at += 1;
    else return at;
  }
}
