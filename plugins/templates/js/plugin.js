// A plugin for Pointsman: users whose name begins with `ro_` only read.
import { who } from "pointsman:plugin/session@1.0.0";
import { pass, refuse } from "./sdk/pointsman.js";

export const lifecycle = {
  // `text` is JSON: what the configuration has below `config`, or null. What is thrown keeps the plugin from being loaded.
  init(text) {},
  shutdown() {},
};

export const onQuery = {
  handle(query) {
    if (query.readOnly || !who().user.startsWith("ro_")) return pass();
    return refuse("42501", "this user only reads", "ask for another role");
  },
};
