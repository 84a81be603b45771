"""A plugin for Pointsman: users whose name begins with `ro_` only read."""

from wit_world.imports import session

import pointsman


class Lifecycle:
    def init(self, text):
        """`text` is JSON: what the configuration has below `config`, or null. `raise pointsman.fail(why)` keeps it from being loaded."""

    def shutdown(self):
        pass


class OnQuery:
    def handle(self, query):
        if query.read_only or not session.who().user.startswith("ro_"):
            return pointsman.go_on()
        return pointsman.refuse("42501", "this user only reads", "ask for another role")
