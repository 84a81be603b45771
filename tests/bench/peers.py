#!/usr/bin/env python3
"""Runs pgbench through each target, interleaved, and prints one markdown table of medians.

usage: peers.py --stage DIRECTORY [options] NAME:PORT:PID...
A target NAME/WORKLOAD stands in for NAME in that workload, NAME@WORKLOAD runs in no other. PID 0: no proxy to measure. The connection's other settings
come from PG* variables.
"""
import argparse, glob, json, os, pathlib, re, statistics, subprocess, sys

HERE = pathlib.Path(__file__).parent
WORKLOADS = {
    "simple": ["-S", "-M", "simple"],
    "extended": ["-S", "-M", "extended"],
    "prepared": ["-S", "-M", "prepared"],
    "churn": ["-S", "-M", "simple", "-C"],
    "rows": ["-f", str(HERE / "rows.sql"), "-M", "simple"],
}
LOGGED = 0.1  # the part of transactions that pgbench logs, churn excepted: a full log would cost as much as the query


def cpu_ns(pid):
    """Nanoseconds of CPU, user and system, that the process's living threads have used."""
    total = 0
    for name in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(name) as stat:
            total += int(stat.read().split()[0])
    return total


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def log_lines(prefix):
    for name in glob.glob(prefix + ".*"):
        with open(name) as log:
            for line in log:
                client, _number, micros, _script, epoch, part = line.split()[:6]
                if micros.isdigit():
                    yield client, int(micros) / 1000, int(epoch) * 1000 + int(part) / 1000
        os.unlink(name)


def latencies(prefix, churn):
    """Milliseconds, sorted. pgbench's own figure leaves out connecting, so for churn: from one end to the next."""
    if not churn:
        return sorted(took for _client, took, _end in log_lines(prefix))
    ends = {}
    for client, _took, end in log_lines(prefix):
        ends.setdefault(client, []).append(end)
    return sorted(b - a for each in ends.values() for a, b in zip(sorted(each), sorted(each)[1:]))


def run(workload, port, pid, o):
    churn, prefix = workload == "churn", f"{o.stage}/{workload}"
    logging = ["-l", f"--log-prefix={prefix}"] + ([] if churn else [f"--sampling-rate={LOGGED}"])
    before = cpu_ns(pid) if pid else 0
    done = subprocess.run(["pgbench", "-n", "-p", port, "-c", str(o.clients), "-j", "2", "-T", str(o.seconds),
                           *logging, *WORKLOADS[workload]], capture_output=True, text=True, timeout=o.seconds + 60)
    used = cpu_ns(pid) - before if pid else 0
    count = re.search(r"transactions actually processed: (\d+)", done.stdout)
    if done.returncode or not count or not int(count[1]):
        print(f"{workload} on port {port}: {done.stderr.strip()[-400:]}", file=sys.stderr)
        list(log_lines(prefix))
        return None
    took = latencies(prefix, churn) or [float("nan")]
    return dict(tps=float(re.search(r"tps = ([\d.]+)", done.stdout)[1]), p50=took[len(took) // 2],
                p99=took[int(len(took) * .99)], cpu=used / 1000 / int(count[1]) if pid else None,
                rss=rss_kib(pid) / 1024 if pid else None)


def median(results, key, form):
    values = [r[key] for r in results if r and r[key] is not None]
    return form.format(statistics.median(values)) if values else "-"


# Pointsman's figure may be at most so many times the peer's.
GOALS = [("pgbouncer", "cpu", dict(simple=1.0, extended=1.0, prepared=1.0, churn=1.3, rows=1.0)),
         ("haproxy", "cpu", dict(simple=1.2, extended=1.2, prepared=1.2)),
         ("pgbouncer", "p99", dict(simple=1.0, extended=1.0, prepared=1.0))]


def ratios(results):
    """Pointsman against its goals: the median of the rounds' own ratios, which a noisy machine moves less than the figures."""
    lines = []
    for peer, key, goals in GOALS:
        for workload, goal in goals.items():
            pairs = zip(results.get((workload, "pointsman"), []), results.get((workload, peer), []))
            each = [ours[key] / theirs[key] for ours, theirs in pairs if ours and theirs]
            if each:
                ratio = statistics.median(each)
                lines.append(f"| {workload} | {key} | {peer} | {ratio:.2f} | {goal:.1f} | {'yes' if ratio <= goal else 'no'} |")
    if lines:
        print("\nPointsman over the peer, medians of the rounds' ratios.\n")
        print("| workload | figure | peer | ratio | goal, at most | met |\n|---|---|---|--:|--:|---|")
        print("\n".join(lines))


def beside(results, baseline):
    """The others' CPU time against one peer's: medians of the rounds' own ratios."""
    print(f"\nCPU beside `{baseline}`, medians of the rounds' ratios.\n")
    print("| workload | through | ratio |\n|---|---|--:|")
    for (workload, peer), each in results.items():
        pairs = zip(each, results[workload, baseline])
        ratios_ = [ours["cpu"] / theirs["cpu"] for ours, theirs in pairs if ours and theirs]
        if peer != baseline and ratios_:
            print(f"| {workload} | {peer} | {statistics.median(ratios_):.3f} |")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--stage", required=True); p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=3); p.add_argument("--clients", type=int, default=16)
    p.add_argument("--beside", default=""); p.add_argument("--only", default=""); p.add_argument("--json", default=""); p.add_argument("targets", nargs="+")
    o = p.parse_args()
    targets = {name: (port, int(pid)) for name, port, pid in (t.split(":") for t in o.targets)}
    peers = [name for name in targets if "/" not in name]
    workloads = [w for w in WORKLOADS if w in o.only.split(",")] or list(WORKLOADS)
    results = {(w, peer): [] for w in workloads for peer in peers if peer.partition("@")[2] in ("", w)}
    for number in range(o.rounds):
        for w, peer in results:
            port, pid = targets.get(f"{peer}/{w}", targets[peer])
            results[w, peer].append(run(w, port, pid, o))
        print(f"round {number + 1} of {o.rounds} done", file=sys.stderr)
    print(f"\nMedians of {o.rounds} rounds of {o.seconds} s, {o.clients} clients; CPU is the proxy's own, user and system.\n")
    print("| workload | through | tps | p50 ms | p99 ms | CPU µs/transaction | RSS MiB | rounds that failed |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for (w, peer), each in results.items():
        name = peer.partition("@")[0] + (" (session mode, a connection each)" if f"{peer}/{w}" in targets else "")
        print(f"| {w} | {name} | {median(each, 'tps', '{:.0f}')} | {median(each, 'p50', '{:.2f}')} | "
              f"{median(each, 'p99', '{:.2f}')} | {median(each, 'cpu', '{:.1f}')} | {median(each, 'rss', '{:.1f}')} | "
              f"{each.count(None)} |")
    beside(results, o.beside) if o.beside else ratios(results)
    if o.json:
        pathlib.Path(o.json).write_text(json.dumps([dict(workload=w, peer=peer, rounds=each)
                                                    for (w, peer), each in results.items()], indent=1))
    sys.exit(1 if any(None in each for each in results.values()) else 0)


if __name__ == "__main__":
    main()
