#!/usr/bin/env python3
"""Prints the demo's tables: latencies of each kind of query from pgbench's logs; what went where, and how often each rule
of the policies matched, from /metrics.

usage: report.py STAGE_DIRECTORY KIND@WEIGHT...     reads STAGE/mix.* and STAGE/metrics
"""
import glob, re, sys


def table(head, rows):
    """Aligned columns: the first to the left, the others to the right."""
    rows = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        print("  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))))


def latencies(stage, kinds):
    """Milliseconds of each kind's transactions, sorted, and the seconds the run took."""
    took = {kind: [] for kind in kinds}
    first, last = None, 0.0
    for name in glob.glob(f"{stage}/mix.*"):
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


def counts(stage, name, row, column):
    """One counter's values from the metrics text, by two of its labels."""
    found = {}
    with open(f"{stage}/metrics") as text:
        for line in text:
            if not line.startswith(name + "{"):
                continue
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            found.setdefault(labels[row], {})[labels[column]] = int(float(line.rsplit(None, 1)[1]))
    return found


def main():
    stage, kinds = sys.argv[1], [kind.split("@")[0] for kind in sys.argv[2:]]
    took, seconds = latencies(stage, kinds)
    total = sum(map(len, took.values()))
    print(f"\nLatency in ms of {total} transactions in {seconds:.1f} s ({total / max(seconds, .001):.0f} a second)")
    table(["query", "count", "p50", "p95", "p99", "max"],
          [[k, len(v), at(v, .5), at(v, .95), at(v, .99), at(v, 1)] for k, v in took.items()])
    went = counts(stage, "pointsman_statements_total", "kind", "target")
    targets = sorted({target for by in went.values() for target in by})
    print("\nStatements, by kind and where they went")
    table(["kind", *targets], [[k, *(by.get(t, 0) for t in targets)] for k, by in went.items() if any(by.values())])
    cached = counts(stage, "pointsman_cache_reads_total", "rule", "outcome")
    if cached:
        outcomes = [o for o in ("hit", "followed", "absent", "invalidated", "expired", "bypassed") if any(by.get(o) for by in cached.values())]
        print("\nReads of the rules that cache, and what became of them")
        table(["rule", *outcomes], [[rule, *(by.get(o, 0) for o in outcomes)] for rule, by in cached.items()])
    for policy, matches in counts(stage, "pointsman_rule_matches_total", "policy", "rule").items():
        print(f"\nStatements that the rules of policy {policy} matched")
        table(["rule", "matched"], matches.items())


if __name__ == "__main__":
    main()
