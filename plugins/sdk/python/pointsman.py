"""Verdicts of Pointsman plugins, built.

A plugin's module has a class for each interface that its world exports: `Lifecycle`, `Needs`, `OnQuery`, `OnWrite`, `OnChange`,
`OnStore`, `OnConnect`. What it imports is in `wit_world.imports`. Both are made by `componentize-py` from `wit/`.
"""

from componentize_py_types import Err
from wit_world.imports import types


def _outcome(verdict, memo):
    from wit_world.exports import on_query

    return on_query.Outcome(verdict, on_query.Memo[memo.replace("-", "_").upper()])


def go_on(memo="call"):
    """The statement goes on as it is. `memo`: "call", "template-and-identity" or "template"."""
    from wit_world.exports import on_query

    return _outcome(on_query.Verdict_Pass(), memo)


def refuse(sqlstate, message, hint=None, memo="call"):
    """It is refused: `sqlstate` is five digits or capital letters."""
    from wit_world.exports import on_query

    return _outcome(on_query.Verdict_Refuse(types.Refusal(sqlstate, message, hint)), memo)


def answer(columns, rows, memo="call"):
    """It is answered with rows of text, None for NULL, and sent to no server."""
    from wit_world.exports import on_query

    return _outcome(on_query.Verdict_Answer(types.Rows(columns, rows)), memo)


def change(sql=None, params=None, route=None, tags=(), ttl_ms=None, bypass_cache=False, memo="call"):
    """It goes on with changes: `sql` in its text's place (with `params`, else with the client's), `route` ("primary", "replica" or a
    shard's number), `tags` that its result depends on, and how long its result is cached, if at all."""
    from wit_world.exports import on_query as hook

    rewrite = None if sql is None else hook.Rewrite(sql, params)
    words = {None: None, "primary": hook.Route_Primary(), "replica": hook.Route_Replica()}
    way = words[route] if route in words else hook.Route_Shard(route)
    caching = hook.Caching_Bypass() if bypass_cache else None if ttl_ms is None else hook.Caching_TtlMs(ttl_ms)
    return _outcome(hook.Verdict_Change(hook.Changes(rewrite, way, list(tags), caching)), memo)


def text(value):
    """The text form of a value or a parameter; None for NULL and for binary values."""
    value = getattr(value, "value", value) if not isinstance(value, types.Value_Text) else value
    return value.value if isinstance(value, types.Value_Text) else None


def fail(why):
    """Raised by `init`: what is wrong with the configuration, for a person to read."""
    return Err(why)
