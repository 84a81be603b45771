#!/usr/bin/env python3
"""Prints the demo's tables: latencies of each kind of query from pgbench's logs; what went where, and how often each rule
of the policies matched, from /metrics, if that was kept.

usage: report.py STAGE_DIRECTORY MIX KIND@WEIGHT...     reads STAGE/MIX.* and STAGE/metrics.MIX
       report.py table                                  prints the tab-separated lines of its input as a table
"""
import glob, os, re, sys


def table(head, rows):
    """Aligned columns: numbers to the right."""
    rows = [[str(cell) for cell in row] for row in [head, *rows]]
    columns = [list(column) for column in zip(*rows)]
    widths = [max(map(len, column)) for column in columns]
    right = [all(re.fullmatch(r"[\d.]+|-", cell) for cell in column[1:]) for column in columns]
    for row in rows:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right)]
        print(("  " + "  ".join(cells)).rstrip())


def latencies(logs, kinds):
    """Milliseconds of each kind's transactions, sorted, and the seconds the run took."""
    took = {kind: [] for kind in kinds}
    first, last = None, 0.0
    for name in glob.glob(f"{logs}.*"):
        with open(name) as log:
            for line in log:
                _client, _number, micros, script, epoch, part = line.split()[:6]
                end = int(epoch) + int(part) / 1e6
                first, last = min(first or end, end), max(last, end)
                if micros.isdigit():
                    took[kinds[int(script)]].append(int(micros) / 1000)
    return {kind: sorted(each) for kind, each in took.items()}, last - (first or last)


def at(ordered, part):
    return f"{ordered[min(len(ordered) - 1, int(part * len(ordered)))]:.2f}" if ordered else "-"


def counts(metrics, name, row, column):
    """One counter's values from the metrics text, by two of its labels."""
    found = {}
    with open(metrics) as text:
        for line in text:
            if not line.startswith(name + "{"):
                continue
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            found.setdefault(labels[row], {})[labels[column]] = int(float(line.rsplit(None, 1)[1]))
    return found


def main():
    if sys.argv[1] == "table":
        head, *rows = [line.rstrip("\n").split("\t") for line in sys.stdin]
        return table(head, rows)
    stage, mix = sys.argv[1:3]
    kinds = [kind.split("@")[0] for kind in sys.argv[3:]]
    took, seconds = latencies(f"{stage}/{mix}", kinds)
    total = sum(map(len, took.values()))
    print(f"\nLatency in ms of {total} transactions in {seconds:.1f} s ({total / max(seconds, .001):.0f} a second)")
    table(["query", "count", "p50", "p95", "p99", "max"],
          [[k, len(v), at(v, .5), at(v, .95), at(v, .99), at(v, 1)] for k, v in took.items()])
    metrics = f"{stage}/metrics.{mix}"
    if os.path.exists(metrics):
        statements(metrics)


def statements(metrics):
    went = counts(metrics, "pointsman_statements_total", "kind", "target")
    targets = sorted({target for by in went.values() for target in by})
    print("\nStatements, by kind and where they went")
    table(["kind", *targets], [[k, *(by.get(t, 0) for t in targets)] for k, by in went.items() if any(by.values())])
    cached = counts(metrics, "pointsman_cache_reads_total", "rule", "outcome")
    if cached:
        outcomes = [o for o in ("hit", "followed", "absent", "invalidated", "expired", "bypassed") if any(by.get(o) for by in cached.values())]
        print("\nReads of the rules that cache, and what became of them")
        table(["rule", *outcomes], [[rule, *(by.get(o, 0) for o in outcomes)] for rule, by in cached.items()])
    for policy, matches in counts(metrics, "pointsman_rule_matches_total", "policy", "rule").items():
        print(f"\nStatements that the rules of policy {policy} matched")
        table(["rule", "matched"], matches.items())


if __name__ == "__main__":
    main()
