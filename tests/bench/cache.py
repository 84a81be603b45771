#!/usr/bin/env python3
"""Runs the feed query through each target, interleaved, and Redis GET of as many bytes beside it; prints markdown tables.

usage: cache.py --stage DIRECTORY --redis PORT:PID --agents N [options] NAME:PORT:PID...
Two loads: `hits` asks for a few agents, whose feeds were all asked for before; `zipf` asks for all of them. PID 0: nothing to measure. The
connection's other settings come from PG* variables.
"""
import argparse, pathlib, re, statistics, subprocess, sys

import peers

HERE = pathlib.Path(__file__).parent
HOT = 200


def pgbench(port, o, clients, protocol, hot, seconds):
    prefix = f"{o.stage}/cache"
    command = ["pgbench", "-n", "-p", port, "-c", str(clients), "-j", "2", "-T", str(seconds), "-M", protocol,
               "-D", f"hot={hot}", "-f", str(HERE / "feed.sql"), "-l", f"--log-prefix={prefix}", "--sampling-rate=0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
    count = re.search(r"transactions actually processed: (\d+)", done.stdout)
    took = peers.latencies(prefix, False) or [float("nan")]
    if done.returncode or not count or not int(count[1]):
        print(f"port {port}: {done.stderr.strip()[-400:]}", file=sys.stderr)
        return None
    return int(count[1]), float(re.search(r"tps = ([\d.]+)", done.stdout)[1]), took[int(len(took) * .99)]


def run(port, pid, o, clients, protocol, hot):
    before = peers.cpu_ns(pid) if pid else 0
    found = pgbench(port, o, clients, protocol, hot, o.seconds)
    if not found:
        return None
    count, tps, p99 = found
    return dict(tps=tps, p99=p99, cpu=(peers.cpu_ns(pid) - before) / 1000 / count if pid else None)


def warm(port, agents, protocol):
    """Each hot agent's feed once, by this protocol."""
    script = HERE / "feed.sql"
    text = re.sub(r"\\set aid .*", r"\\set aid :client_id + 1", script.read_text())
    for first in range(0, agents, 50):
        subprocess.run(["pgbench", "-n", "-p", port, "-c", "50", "-j", "2", "-t", "2", "-M", protocol, "-f",
                        "/dev/stdin"], input=text.replace(":client_id + 1", f":client_id + 1 + {first}"), text=True,
                       capture_output=True, check=True, timeout=300)


def redis_get(port, pid, clients, size):
    """CPU of the server for each GET, in microseconds."""
    subprocess.run(["redis-cli", "-p", port, "SET", "key:__rand_int__", "x" * size], capture_output=True, check=True)
    count = 200_000
    before = peers.cpu_ns(int(pid))
    subprocess.run(["redis-benchmark", "-p", port, "-t", "get", "-n", str(count), "-c", str(clients), "-q"],
                   capture_output=True, check=True, timeout=120)
    return (peers.cpu_ns(int(pid)) - before) / 1000 / count


def result_bytes(port):
    """The size of a hot agent's feed, as rows."""
    text = re.sub(r"\\set.*\n|--.*\n", "", (HERE / "feed.sql").read_text()).replace(":aid", "7").rstrip(";\n ")
    asked = f"SELECT coalesce(sum(length(t::text)) + count(*) * 40, 0) FROM ({text}) AS t"
    done = subprocess.run(["psql", "-XAtq", "-p", port, "-c", asked], capture_output=True, text=True, check=True)
    return int(done.stdout.strip())


def main():
    redis_port, redis_pid = o.redis.split(":")
    targets = {name: (port, int(pid)) for name, port, pid in (t.split(":") for t in o.targets)}
    size = result_bytes(targets["direct"][0])
    # Redis holds every value under one name: redis-benchmark asks for that.
    subprocess.run(["redis-cli", "-p", redis_port, "SET", "key:000000000000", "x" * size], capture_output=True, check=True)
    loads = [("hits", HOT), ("zipf", o.agents)]
    results, floors = {}, {}
    for name, (port, pid) in targets.items():
        # Twice: a ledger opens after the first session has come.
        for protocol in ("simple", "prepared") * (2 if pid else 1):
            warm(port, HOT, protocol)
        print(f"{name} is warm", file=sys.stderr)
    for number in range(o.rounds):
        for clients in (16, 64):
            floors.setdefault(clients, []).append(redis_get(redis_port, redis_pid, clients, size))
            for load, hot in loads:
                for protocol in ("simple", "prepared"):
                    for name, (port, pid) in targets.items():
                        if load == "zipf" and clients == 64:
                            continue
                        key = (load, protocol, clients, name)
                        results.setdefault(key, []).append(run(port, pid, o, clients, protocol, hot))
        print(f"round {number + 1} of {o.rounds} done", file=sys.stderr)
    print(f"\nThe feed of {o.agents} agents, about {size} bytes; medians of {o.rounds} rounds of {o.seconds} s; CPU is the proxy's own.\n")
    print("| load | protocol | clients | through | tps | p99 ms | CPU µs/query |\n|---|---|--:|---|--:|--:|--:|")
    for (load, protocol, clients, name), each in results.items():
        print(f"| {load} | {protocol} | {clients} | {name} | {peers.median(each, 'tps', '{:.0f}')} | "
              f"{peers.median(each, 'p99', '{:.2f}')} | {peers.median(each, 'cpu', '{:.1f}')} |")
    for clients, each in floors.items():
        print(f"| GET | redis | {clients} | redis-server | | | {statistics.median(each):.1f} |")
    print("\n| clients | protocol | CPU of a hit over a GET of as many bytes (goal 1.1) | tps over direct (goal 20) | p99 ms (goal 2) |")
    print("|--:|---|--:|--:|--:|")
    for clients in (16, 64):
        for protocol in ("simple", "prepared"):
            ours, direct = results[("hits", protocol, clients, "pointsman")], results[("hits", protocol, clients, "direct")]
            ratio = statistics.median(o["cpu"] / f for o, f in zip(ours, floors[clients]) if o)
            times = statistics.median(o["tps"] / d["tps"] for o, d in zip(ours, direct) if o and d)
            print(f"| {clients} | {protocol} | {ratio:.2f} | {times:.0f} | {peers.median(ours, 'p99', '{:.2f}')} |")
    sys.exit(1 if any(None in each for each in results.values()) else 0)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--stage", required=True); p.add_argument("--redis", required=True)
    p.add_argument("--agents", type=int, required=True); p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=3); p.add_argument("targets", nargs="+")
    o = p.parse_args()
    main()
