#!/usr/bin/env python3
"""Statements for one shard, scatters, a long gather and a split COPY through Pointsman, beside the same without shards; prints markdown tables.

usage: shards.py --stage DIRECTORY --server PORT --shards N --agents N --queries DIRECTORY --unsharded PORT:PID:DATABASE
                 --sharded PORT:PID:DATABASE [--rounds 3] [--seconds 3]
The connection's other settings come from PG* variables.
"""
import argparse, concurrent.futures, pathlib, re, statistics, subprocess, sys, time

import peers

DIRECT = "\\set aid random(1, :agents)\nSELECT id, name, personality_type FROM agents WHERE id = :aid;\n"
SCATTER = 'SELECT id, initiator_id, "timestamp" FROM interactions ORDER BY "timestamp" DESC LIMIT 20;\n'
GATHER = "SELECT id, initiator_id, content FROM interactions ORDER BY id LIMIT 1000000"
failed = []


def pgbench(port, database, script, clients=1, protocol="simple", seconds=None, part=""):
    """Transactions done and their latencies in milliseconds, sorted; None when it failed. `part` tells those apart that run at once."""
    prefix = f"{o.stage}/latencies{part}"
    command = ["pgbench", "-n", "-p", str(port), "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(seconds or o.seconds),
               "-M", protocol, "-D", f"agents={o.agents}", "-D", "perm=1", "-f", str(script), "-l", f"--log-prefix={prefix}", database]
    done = subprocess.run(command, capture_output=True, text=True, timeout=(seconds or o.seconds) + 120)
    count = re.search(r"transactions actually processed: (\d+)", done.stdout)
    took = peers.latencies(prefix, False)
    if done.returncode or not count or not int(count[1]) or not took:
        print(f"{script} in {database}: {done.stderr.strip()[-400:]}", file=sys.stderr)
        failed.append(script)
        return None
    return int(count[1]), took


def psql(port, database, *arguments, file=None):
    done = subprocess.run(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-p", str(port), "-d", database, *arguments], stdin=file,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=900)
    if done.returncode:
        print(f"{arguments} in {database}: {done.stderr.decode().strip()[-400:]}", file=sys.stderr)
        failed.append(arguments)
    return done.stdout


def script(name, text):
    path = pathlib.Path(o.stage) / name
    path.write_text(text)
    return path


def middle(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else float("nan")


def line(*cells):
    print("| " + " | ".join(cells) + " |")


def direct():
    """CPU of the proxy for a statement of one shard, beside what it costs without shards."""
    path = script("direct.sql", DIRECT)
    for protocol in ("simple", "extended", "prepared"):
        cpu = {"unsharded": [], "sharded": []}
        for _ in range(o.rounds):
            for name, each in cpu.items():
                port, pid, database = getattr(o, name)
                before = peers.cpu_ns(pid)
                found = pgbench(port, database, path, 16, protocol)
                each.append((peers.cpu_ns(pid) - before) / 1000 / found[0] if found else None)
        pairs = [b / a for a, b in zip(cpu["unsharded"], cpu["sharded"]) if a and b]
        line(f"one shard, {protocol}: CPU µs/statement", f"{middle(cpu['unsharded']):.1f} unsharded",
             f"{middle(cpu['sharded']):.1f}", f"{middle(pairs):.3f} times", "1.05 times")


def scatter():
    """The latency of a scatter beside that of the slowest shard, asked alone and while the others are asked, too."""
    path = script("scatter.sql", SCATTER)
    alone, busy, ours, cpu = [], [], [], []
    shards = [f"shard{shard}" for shard in range(o.shards)]
    half = lambda found: found and found[1][len(found[1]) // 2]
    slowest = lambda each: max(filter(None, map(half, each)), default=None)
    for _ in range(o.rounds):
        alone.append(slowest([pgbench(o.server, shard, path) for shard in shards]))
        with concurrent.futures.ThreadPoolExecutor(o.shards) as together:
            busy.append(slowest(together.map(lambda shard: pgbench(o.server, shard, path, part=f"-{shard}"), shards)))
        before = peers.cpu_ns(o.sharded[1])
        found = pgbench(o.sharded[0], o.sharded[2], path)
        ours.append(half(found))
        cpu.append(found and (peers.cpu_ns(o.sharded[1]) - before) / 1000 / found[0])
    for name, beside in (("slowest shard alone", alone), ("slowest shard, all asked at once", busy)):
        line("scatter, ORDER BY LIMIT 20: p50 ms", f"{middle(beside):.2f} {name}", f"{middle(ours):.2f} ({middle(cpu):.0f} µs CPU)",
             f"{middle(ours) - middle(beside):+.2f} ms", "+0.30 ms")


def peak_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def gather():
    port, pid, database = o.sharded
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")
    before, start = peers.rss_kib(pid), time.monotonic()
    rows = psql(port, database, "-c", GATHER).count(b"\n")
    took = time.monotonic() - start
    line(f"gather of {rows} rows in order: MiB more at its peak", f"{before / 1024:.1f} before",
         f"{(peak_kib(pid) - before) / 1024:.1f}", f"{rows / took:.0f} rows/s", "64 MiB")


def copy():
    data = pathlib.Path(o.stage) / "interactions.copy"
    data.write_bytes(psql(o.server, "whole", "-c", "COPY interactions TO STDOUT"))
    megabytes = data.stat().st_size / 1e6
    rates = {"server": [], "sharded": []}
    for _ in range(o.rounds):
        for name, each in rates.items():
            port, database = (o.server, "whole") if name == "server" else (o.sharded[0], o.sharded[2])
            for part in ["whole", *(f"shard{shard}" for shard in range(o.shards))]:
                psql(o.server, part, "-c", "TRUNCATE copied")
            with open(data, "rb") as file:
                start = time.monotonic()
                psql(port, database, "-c", "COPY copied FROM STDIN", file=file)
                each.append(megabytes / (time.monotonic() - start))
    parts = ["whole"] if o.sharded[2] == "whole" else [f"shard{shard}" for shard in range(o.shards)]
    count = sum(int(psql(o.server, part, "-c", "SELECT count(*) FROM copied") or 0) for part in parts)
    wanted = data.read_bytes().count(b"\n")
    if count != wanted:
        print(f"COPY left {count} rows of {wanted}", file=sys.stderr)
        failed.append("copy")
    direct, ours = middle(rates["server"]), middle(rates["sharded"])
    line(f"COPY of {wanted} rows: MB/s", f"{direct:.1f} direct", f"{ours:.1f}", f"{ours / direct:.2f} times", "0.70 times, at least")


def compatible():
    path = pathlib.Path(o.queries) / "compatible.sql"
    ours, whole = [], []
    for _ in range(o.rounds):
        for each, (port, database) in ((whole, (o.server, "whole")), (ours, (o.sharded[0], o.sharded[2]))):
            found = pgbench(port, database, path)
            each.append(found and found[1][int(len(found[1]) * .99)])
    line(f"compatible agents among {o.agents}: p99 ms", f"{middle(whole):.1f} one database", f"{middle(ours):.1f}",
         f"{middle(ours) / middle(whole):.2f} times", "200 ms")


def main():
    print(f"\n{o.shards} shards, {o.agents} agents; medians of {o.rounds} rounds of {o.seconds} s.\n")
    print("| what | beside | Pointsman over shards | difference | goal, at most |\n|---|--:|--:|--:|--:|")
    for part in (direct, scatter, gather, copy, compatible):
        part()
        print(f"{part.__name__} done", file=sys.stderr)
    sys.exit(1 if failed else 0)


def target(text):
    port, pid, database = text.split(":")
    return port, int(pid), database


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--stage", required=True); p.add_argument("--server", required=True)
    p.add_argument("--shards", type=int, required=True); p.add_argument("--agents", type=int, required=True)
    p.add_argument("--queries", required=True); p.add_argument("--unsharded", type=target, required=True)
    p.add_argument("--sharded", type=target, required=True); p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=3)
    o = p.parse_args()
    main()
