"""A budget for each agent: every statement has a cost, and what an agent spends within a window is bounded.

    config:
      agent: "comment:agent"        # or "setting:app.agent", "application", "user"
      budget: 1000                  # for each agent in each window
      window_seconds: 60
      cost: 1                       # of a statement of which nothing is said below
      kinds: {insert: 5}            # by kind
      relations: {interactions: 20} # by each relation that it names, added

Grants: `kv` (shared, if a fleet is to have one budget) and `clock`. An agent that is not named spends the budget of its user.
"""

import json

from wit_world.imports import clock, kv, session, statement
from wit_world.imports.types import StatementKind

import pointsman

DEFAULTS = {"agent": "user", "budget": None, "window_seconds": 60, "cost": 1, "kinds": {}, "relations": {}}
# What ends a transaction always may.
FREE = (StatementKind.TRANSACTION,)
config = dict(DEFAULTS)


def is_number(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check(given):
    """What is wrong with a configuration; None: nothing."""
    if not isinstance(given, dict) or given.get("budget") is None:
        return "`config` has no `budget`"
    unknown = set(given) - set(DEFAULTS)
    if unknown:
        return f"`config` has unknown keys: {', '.join(sorted(unknown))}"
    merged = DEFAULTS | given
    if not all(isinstance(merged[key], dict) for key in ("kinds", "relations")):
        return "`kinds` and `relations` map names to costs"
    costs = [*merged["kinds"].values(), *merged["relations"].values()]
    if not all(map(is_number, [merged["budget"], merged["window_seconds"], merged["cost"], *costs])):
        return "budgets, costs and seconds are whole numbers, not negative"
    kinds = {kind.name.lower().replace("_", "-") for kind in StatementKind}
    strange = set(merged["kinds"]) - kinds
    if strange:
        return f"`kinds` has {', '.join(sorted(strange))}; there are {', '.join(sorted(kinds))}"
    how, _, name = merged["agent"].partition(":")
    if merged["window_seconds"] == 0 or not ((how in ("comment", "setting")) == bool(name) and how in WAYS):
        return "`agent` is user, application, comment:KEY or setting:NAME, and `window_seconds` is not 0"
    return None


WAYS = {
    "user": lambda _: None,
    "application": lambda _: session.who().application,
    "comment": lambda key: statement.comment(key),
    "setting": lambda name: session.setting(name),
}


def agent():
    """Who spends: the agent's name, or its user."""
    how, _, name = config["agent"].partition(":")
    found = WAYS[how](name)
    return f"agent {found}" if found else f"user {session.who().user}"


def cost(query):
    kind = query.kind.name.lower().replace("_", "-")
    named = sum(config["relations"].get(relation.name, 0) for relation in statement.relations())
    return config["kinds"].get(kind, config["cost"]) + named


class Lifecycle:
    def init(self, text):
        given = json.loads(text)
        wrong = check(given)
        if wrong:
            raise pointsman.fail(wrong)
        config.update(DEFAULTS | given)

    def shutdown(self):
        pass


class OnQuery:
    def handle(self, query):
        if query.kind in FREE:
            return pointsman.go_on()
        price = cost(query)
        if price == 0:
            return pointsman.go_on()
        seconds = clock.now() // 1_000_000
        window, within = divmod(seconds, config["window_seconds"])
        left = config["window_seconds"] - within
        who = agent()
        # Keys have at most 1,024 bytes; an agent's name may be anything.
        key = f"{window}:{who}"[:200]
        spent = kv.increment(key, price, left * 1000)
        if spent <= config["budget"]:
            return pointsman.go_on()
        # What is refused was not spent.
        kv.increment(key, -price, left * 1000)
        message = f"{who} has spent its budget: {spent - price} of {config['budget']}, and this costs {price}"
        return pointsman.refuse("53400", message, f"try again in {left} s")
