"""A plugin's hooks under plain `python -m unittest`: no Wasm, and a world in memory that the test furnishes.

    import bench
    plugin = bench.load("plugin", {"budget": 10})     # makes the world new, and calls init
    bench.world.who.user = "auditor"
    outcome = plugin.query(bench.Statement("SELECT 1", relations=[("agents", False)]))

It wants what `componentize-py -d wit -w plugin bindings bindings` makes, beside the plugin. A statement has the facts that the test gives
it; nothing is parsed. Fixtures and `pointsman plugin test` show what Pointsman itself makes of a text.
"""

import importlib
import json
import os
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace

sys.path.insert(0, os.path.join(os.getcwd(), "bindings"))
from componentize_py_types import Err  # noqa: E402
from wit_world.imports import types  # noqa: E402

world = SimpleNamespace()
_NOBODY, _CLIENT, _STATEMENT = range(3)


@dataclass
class Statement:
    """A statement: its kind is what the first word says, if it is not given."""

    sql: str
    kind: str = ""
    relations: list = field(default_factory=list)  # (name or schema.name, written)
    literals: list = field(default_factory=list)  # (kind, text)
    params: list = field(default_factory=list)  # text or None
    pinned: dict = field(default_factory=dict)  # "table.column": [text]
    comments: dict = field(default_factory=dict)
    in_transaction: bool = False

    def __post_init__(self):
        word = self.sql.split()[0].lower()
        known = {"with": "select", "values": "select", "table": "select"}
        kind = self.kind or known.get(word, word)
        kind = kind.replace("-", "_").upper()
        self.kind = types.StatementKind[kind] if kind in types.StatementKind.__members__ else types.StatementKind.OTHER

    def facts(self):
        from wit_world.exports import on_query

        reads = self.kind == types.StatementKind.SELECT and not any(written for _, written in self.relations)
        return on_query.Query(self.kind, hash(self.sql) & (2**64 - 1), reads, self.in_transaction, len(self.params), len(self.literals))


def _value(text):
    return types.Value_Null() if text is None else types.Value_Text(text)


def _imports():
    """The contract's imports, by interface."""

    def who(look):
        if world.stage < _CLIENT:
            raise RuntimeError("there is no session in this hook: the call would trap")
        return look()

    def hand(look):
        if world.stage < _STATEMENT:
            raise RuntimeError("there is no statement in this hook: the call would trap")
        return look(world.statement)

    def at(items, index):
        return items[index] if index < len(items) else None

    def relation(name, written):
        schema, _, name = name.rpartition(".")
        return types.Relation(schema or None, name, written)

    def literal(of, index):
        from wit_world.imports import statement

        found = at(of.literals, index)
        return found and statement.Constant(statement.ConstantKind[found[0].upper()], found[1])

    def param(of, index):
        return types.Parameter(0, _value(of.params[index])) if index < len(of.params) else None

    def pinned(of, table, column):
        values = of.pinned.get(f"{table}.{column}")
        return None if values is None else [_value(value) for value in values]

    def live(key):
        value, until = world.kv.get(key, (None, None))
        return (value, until) if until is None or until > world.now_ms else (None, None)

    def until(ttl_ms):
        return None if ttl_ms is None else world.now_ms + ttl_ms

    def increment(key, by, ttl_ms):
        before, kept = live(key)
        total = by + (0 if before is None else int(before))
        world.kv[key] = (str(total).encode(), until(ttl_ms) if before is None else kept)
        return total

    def lookup(sql, params):
        if world.lookup is None:
            from wit_world.imports import lookup as module

            raise Err(module.LookupError_Unavailable("the bench has no answer: set `bench.world.lookup`"))
        return world.lookup(sql, params)

    def measure(number, labels, change):
        name = world.metrics[number]
        world.measured[name, tuple(labels)] = change(world.measured.get((name, tuple(labels)), 0))

    def register(name, *_):
        if name not in world.metrics:
            world.metrics.append(name)
        return world.metrics.index(name)

    return {
        "session": {"who": lambda: who(lambda: world.who), "setting": lambda name: who(lambda: world.settings.get(name.lower()))},
        "statement": {
            "sql": lambda: hand(lambda of: of.sql),
            "relations": lambda: hand(lambda of: [relation(*found) for found in of.relations]),
            "literal": lambda index: hand(lambda of: literal(of, index)),
            "param": lambda index: hand(lambda of: param(of, index)),
            "pinned": lambda table, column: hand(lambda of: pinned(of, table, column)),
            "comment": lambda key: hand(lambda of: of.comments.get(key)),
        },
        "log": {"write": lambda level, message: world.logged.append((level.name.lower(), message)), "enabled": lambda level: True},
        "metric": {
            "register_counter": register, "register_gauge": register, "register_histogram": register,
            "add": lambda number, labels, by: measure(number, labels, lambda value: value + by),
            "set": lambda number, labels, to: measure(number, labels, lambda _: to),
            "observe": lambda number, labels, value: measure(number, labels, lambda count: count + 1),
        },
        "kv": {
            "get": lambda key: live(key)[0],
            "set": lambda key, value, ttl_ms: world.kv.update({key: (bytes(value), until(ttl_ms))}),
            "delete": lambda key: world.kv.pop(key, None) and None,
            "increment": increment,
        },
        "lookup": {"query": lookup},
        "clock": {"now": lambda: world.now_ms * 1000, "monotonic": lambda: world.now_ms * 1_000_000},
        "random": {"number": lambda: 4, "bytes": bytes},
    }  # fmt: skip


def load(name, config=None):
    """Makes the world new, loads the plugin's module, and calls its `init`."""
    world.__dict__.update(
        stage=_NOBODY, statement=None, settings={}, kv={}, lookup=None, logged=[], metrics=[], measured={}, now_ms=1_767_225_600_000,
        who=SimpleNamespace(user="app", database="app", application="", client="127.0.0.1"),
    )  # fmt: skip
    for interface, functions in _imports().items():
        try:
            module = importlib.import_module(f"wit_world.imports.{interface}")
        except ModuleNotFoundError:
            continue  # The plugin's world does not import it.
        module.__dict__.update(functions)
    sys.modules.pop(name, None)
    plugin = Plugin(importlib.import_module(name))
    if hasattr(plugin.module, "Lifecycle"):
        plugin.module.Lifecycle().init(json.dumps(config))
    return plugin


class Plugin:
    """A plugin that was loaded."""

    def __init__(self, module):
        self.module = module

    def _call(self, hook, stage, statement, *arguments):
        world.stage, world.statement = stage, statement
        try:
            return getattr(self.module, hook)().handle(*arguments)
        finally:
            world.stage, world.statement = _NOBODY, None

    def query(self, statement):
        """What it says of a statement."""
        return self._call("OnQuery", _STATEMENT, statement, statement.facts())

    def write(self, statement, rows=1):
        """What a write invalidates."""
        from wit_world.exports import on_write

        return self._call("OnWrite", _STATEMENT, statement, on_write.Written(statement.kind, 0, rows, None))

    def change(self, batch):
        """What changes of the change stream invalidate."""
        return self._call("OnChange", _NOBODY, None, batch)

    def store(self, statement, entry):
        """What it says of a result that the statement fetched."""
        return self._call("OnStore", _STATEMENT, statement, entry)

    def connect(self):
        """What it says of a client."""
        return self._call("OnConnect", _CLIENT, None)
