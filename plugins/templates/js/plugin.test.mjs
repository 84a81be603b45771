import assert from "node:assert/strict";
import test from "node:test";
import { load, statement, world } from "./sdk/bench.mjs";

const plugin = await load(new URL("./plugin.js", import.meta.url));
const remove = statement("DELETE FROM agents", { relations: [{ name: "agents", written: true }] });

test("who only reads does not write", () => {
  assert.equal(plugin.query(remove).verdict.tag, "pass");
  world.who.user = "ro_report";
  assert.equal(plugin.query(statement("SELECT 1")).verdict.tag, "pass");
  assert.equal(plugin.query(remove).verdict.val.sqlstate, "42501");
});
