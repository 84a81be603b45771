import unittest

import bench


class ReadOnly(unittest.TestCase):
    def test_who_only_reads_does_not_write(self):
        plugin = bench.load("plugin")
        delete = bench.Statement("DELETE FROM agents", relations=[("agents", True)])
        self.assertFalse(hasattr(plugin.query(delete).verdict, "value"))
        bench.world.who.user = "ro_report"
        self.assertFalse(hasattr(plugin.query(bench.Statement("SELECT 1")).verdict, "value"))
        self.assertEqual(plugin.query(delete).verdict.value.sqlstate, "42501")


if __name__ == "__main__":
    unittest.main()
