#!/usr/bin/env python3
"""Measures what an idle client costs a proxy in memory, the kernel's socket buffers not counted.

usage: idle.py NAME:PORT:PID CLIENTS      user and database postgres, no password asked
"""
import socket, struct, sys, time

from peers import rss_kib

STARTUP = b"".join([b"user\0postgres\0database\0postgres\0application_name\0idle\0client_encoding\0UTF8\0", b"\0"])
QUERY = b"SELECT 1\0"


def until_ready(sock):
    """Reads up to ReadyForQuery with status idle; fails on an error."""
    got = b""
    while not got.endswith(b"Z\0\0\0\5I"):
        part = sock.recv(65536)
        if not part or got[:1] == b"E":
            sys.exit(f"idle: refused: {got!r}")
        got += part


def login(port):
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.sendall(struct.pack("!ii", len(STARTUP) + 8, 196608) + STARTUP)
    until_ready(sock)
    return sock


def ask(sock):
    sock.sendall(b"Q" + struct.pack("!i", len(QUERY) + 4) + QUERY)
    until_ready(sock)


def main():
    name, port, pid = sys.argv[1].split(":")
    port, pid, count = int(port), int(pid), int(sys.argv[2])
    # What is allocated once, whoever comes, is not an idle client's.
    for sock in [login(port) for _ in range(20)]:
        ask(sock); sock.close()
    time.sleep(1)
    before = rss_kib(pid)
    clients = [login(port) for _ in range(count)]
    time.sleep(2)
    after_login = rss_kib(pid)
    for sock in clients:
        ask(sock)
    time.sleep(2)
    after_query = rss_kib(pid)
    print(f"{name}: {count} idle clients: {(after_login - before) / count:.2f} KiB each after login, "
          f"{(after_query - before) / count:.2f} KiB each after a query; RSS {before / 1024:.1f} MiB before, "
          f"{after_query / 1024:.1f} MiB after")


if __name__ == "__main__":
    main()
