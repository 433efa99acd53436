/*
 * The least a server on this machine can do for a request: one thread, epoll,
 * one read, one write of a constant. Called with the port of 127.0.0.1 and the
 * answer; ends when it is killed.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: echo PORT ANSWER\n");
		return 2;
	}
	const char *answer = argv[2];
	size_t length = strlen(answer);
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(atoi(argv[1])),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int on = 1;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	must(listener >= 0, "socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	must(bind(listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
	must(listen(listener, 4096) == 0, "listen");

	int epoll = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = listener };
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) == 0, "epoll_ctl");

	for (;;) {
		struct epoll_event events[128];
		int n = epoll_wait(epoll, events, 128, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			char request[4096];
			if (fd == listener) {
				int client = accept(listener, NULL, NULL);
				if (client < 0)
					continue;
				setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
				event.data.fd = client;
				must(epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event) == 0, "epoll_ctl");
			} else if (read(fd, request, sizeof request) <= 0 ||
				   write(fd, answer, length) != (ssize_t)length) {
				close(fd);
			}
		}
	}
}
