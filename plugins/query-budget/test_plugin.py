import unittest

import bench
from componentize_py_types import Err

SELECT = bench.Statement("SELECT 1")
INSERT = bench.Statement("INSERT INTO interactions", relations=[("interactions", True)])


def refusal(outcome):
    return getattr(getattr(outcome.verdict, "value", None), "message", None)


class Budget(unittest.TestCase):
    def test_what_is_spent_is_bounded_and_what_is_refused_was_not_spent(self):
        plugin = bench.load("plugin", {"budget": 10, "kinds": {"insert": 2}, "relations": {"interactions": 5}})
        self.assertIsNone(refusal(plugin.query(INSERT)))
        self.assertEqual(refusal(plugin.query(INSERT)), "user app has spent its budget: 7 of 10, and this costs 7")
        for _ in range(3):
            self.assertIsNone(refusal(plugin.query(SELECT)))
        self.assertIn("10 of 10", refusal(plugin.query(SELECT)))
        self.assertIsNone(refusal(plugin.query(bench.Statement("COMMIT", kind="transaction"))))
        bench.world.now_ms += 60_000
        self.assertIsNone(refusal(plugin.query(SELECT)))

    def test_each_agent_has_its_own(self):
        plugin = bench.load("plugin", {"budget": 1, "agent": "comment:agent"})
        of = lambda agent: refusal(plugin.query(bench.Statement("SELECT 1", comments={"agent": agent})))
        self.assertEqual([of("7"), of("8"), of("7")], [None, None, "agent 7 has spent its budget: 1 of 1, and this costs 1"])

    def test_a_configuration_that_is_wrong_is_refused(self):
        for config in (None, {}, {"budget": -1}, {"budget": 1, "x": 1}, {"budget": 1, "agent": "comment"}, {"budget": 1, "kinds": {"x": 1}}):
            with self.assertRaises(Err, msg=config):
                bench.load("plugin", config)


if __name__ == "__main__":
    unittest.main()
