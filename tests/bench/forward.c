/* A bare TCP forwarder: epoll, read, write, and nothing else. What it costs is what any user-space proxy must pay.
 * usage: forward LISTEN_PORT TARGET_PORT      both on 127.0.0.1; one thread; ends by a signal
 * A peer that does not read blocks the forwarder: a yardstick for pgbench's strict question and answer, not a tool. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { FDS_MAX = 65536, EVENTS_MAX = 64 };
static int peer_of[FDS_MAX];
static char buffer[65536];

static void die(const char *what) { perror(what); exit(1); }

static struct sockaddr_in local(const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static void watch(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

/* Accepts one client and pairs it with a connection of its own to the target. */
static void pair(int epoll, int listener, const struct sockaddr_in *target) {
  int client = accept(listener, NULL, NULL), server = socket(AF_INET, SOCK_STREAM, 0);
  if (client < 0 || server < 0 || client >= FDS_MAX || server >= FDS_MAX) die("accept");
  if (connect(server, (const struct sockaddr *)target, sizeof *target)) { close(client); close(server); return; }
  peer_of[client] = server;
  peer_of[server] = client;
  watch(epoll, client);
  watch(epoll, server);
}

static void forward(int fd) {
  int peer = peer_of[fd];
  ssize_t got, put = 0, n;
  if (peer < 0) return; /* closed earlier in the same round of events */
  if ((got = read(fd, buffer, sizeof buffer)) > 0) {
    for (; put < got && (n = write(peer, buffer + put, got - put)) > 0; put += n) {}
    if (put == got) return;
  }
  peer_of[fd] = peer_of[peer] = -1;
  close(fd);
  close(peer);
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: forward LISTEN_PORT TARGET_PORT\n"), 2;
  struct sockaddr_in self = local(argv[1]), target = local(argv[2]);
  struct epoll_event events[EVENTS_MAX];
  int epoll = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  signal(SIGPIPE, SIG_IGN);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&self, sizeof self) || listen(listener, 1024)) die("listen");
  watch(epoll, listener);
  for (;;) {
    int count = epoll_wait(epoll, events, EVENTS_MAX, -1), arrived = 0;
    for (int i = 0; i < count; i++)
      if (events[i].data.fd == listener) arrived = 1;
      else forward(events[i].data.fd);
    if (arrived) pair(epoll, listener, &target); /* last: it reuses the numbers of what was closed above */
  }
}
