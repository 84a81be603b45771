import assert from "node:assert/strict";
import test from "node:test";
import { load, statement, world } from "./sdk/bench.mjs";

const mask = "SELECT id, NULL::text AS bio FROM public.agents";
const plugin = await load(new URL("./plugin.js", import.meta.url), { except: ["admin"], masks: { agents: mask } });
const agents = { relations: [{ name: "agents", written: false }] };
const cte = `agents AS NOT MATERIALIZED (${mask})`;
const rewritten = (text) => plugin.query(statement(text, { kind: "select", ...agents })).verdict.val.rewrite.sql;
const refusal = (...of) => plugin.query(statement(...of)).verdict.val.message;

test("the table's name means the mask", () => {
  assert.equal(rewritten("SELECT bio FROM agents"), `WITH ${cte} SELECT bio FROM agents`);
  assert.equal(rewritten("/* a /* b */ */ -- c\n with x AS (TABLE agents) TABLE x"),
    `/* a /* b */ */ -- c\n with ${cte}, x AS (TABLE agents) TABLE x`);
  assert.equal(rewritten("WITH RECURSIVE x AS (SELECT 1) TABLE x"), `WITH RECURSIVE ${cte}, x AS (SELECT 1) TABLE x`);
});

test("what the name does not reach is refused", () => {
  assert.match(refusal("SELECT bio FROM public.agents", { relations: [{ schema: "public", ...agents.relations[0] }] }), /masked/);
  assert.match(refusal("UPDATE agents SET bio = bio", { relations: [{ name: "agents", written: true }] }), /only be read/);
  assert.match(refusal("COPY agents TO STDOUT", { kind: "copy-to", ...agents }), /only be read/);
  for (const text of ["SELECT table_to_xml('agents', true, true, '')", "SELECT most_common_vals FROM pg_stats", 'SELECT U&"table\\005fto_xml"(1)']) {
    assert.match(refusal(text), /may show them/);
  }
  assert.match(refusal("PREPARE p AS TABLE agents", { kind: "prepared" }), /not allowed/);
});

test("others go on as they are", () => {
  assert.equal(plugin.query(statement("SELECT 1")).verdict.tag, "pass");
  world.who.user = "admin";
  assert.equal(plugin.query(statement("SELECT bio FROM agents", agents)).verdict.tag, "pass");
});

test("a configuration that is none is refused", async () => {
  await assert.rejects(load(new URL("./plugin.js?2", import.meta.url)), (error) => /masks/.test(error));
});
