/*
 * udpload - load for the scenario `udp`: a server that answers each datagram with 64 bytes, and clients that ask it.
 *
 *     udpload serve PORT              answer until killed
 *     udpload ask PORT SOCKETS MS     each socket asks, waits for the answer and asks again; prints what came of it
 *
 * A question that is not answered within 200 ms counts as lost and is asked again from the same socket.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, SIZE = 512, QUESTION = 40, ANSWER = 64, SOCKETS_MAX = 1024, PATIENCE_MS = 200 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static _Noreturn void serve(int port)
{
    static char data[BATCH][SIZE];
    struct sockaddr_in address = loopback(port), peers[BATCH];
    struct mmsghdr messages[BATCH];
    struct iovec pieces[BATCH];
    int room = 4 << 20, fd = socket(AF_INET, SOCK_DGRAM, 0), n, sent, i;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("udpload serve");
    for (;;) {
        memset(messages, 0, sizeof messages);
        for (i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){data[i], SIZE};
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &pieces[i], .msg_iovlen = 1};
        }
        n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        if (n < 0 && errno != EINTR && errno != ECONNREFUSED)
            fail("udpload serve");
        for (i = 0; i < n; i++)
            pieces[i].iov_len = ANSWER;
        for (i = 0; i < n; i += sent > 0 ? sent : 1)
            sent = sendmmsg(fd, messages + i, (unsigned)(n - i), 0);
    }
}

static int sockets[SOCKETS_MAX];
static uint64_t asked[SOCKETS_MAX], numbers[SOCKETS_MAX];

static void ask(int i)
{
    char question[QUESTION] = {0};
    numbers[i] += 1;
    memcpy(question, &numbers[i], 8);
    asked[i] = now_ns();
    if (send(sockets[i], question, QUESTION, 0) != QUESTION && errno != ECONNREFUSED)
        fail("udpload ask");
}

static int ask_all(int port, int count, long ms)
{
    struct sockaddr_in address = loopback(port);
    struct epoll_event events[BATCH];
    char data[SIZE];
    uint64_t answered = 0, lost = 0, wrong = 0, begin, end, number, looked;
    int epoll = epoll_create1(0), i, j, n;
    if (count < 1 || count > SOCKETS_MAX)
        return 2;
    for (i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (sockets[i] < 0 || connect(sockets[i], (struct sockaddr *)&address, sizeof address) != 0)
            fail("udpload ask");
        epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[i], &event);
    }
    begin = looked = now_ns();
    end = begin + (uint64_t)ms * 1000000u;
    for (i = 0; i < count; i++)
        ask(i);
    while (now_ns() < end) {
        n = epoll_wait(epoll, events, BATCH, 50);
        for (j = 0; j < n; j++) {
            ssize_t got;
            i = (int)events[j].data.u32;
            got = recv(sockets[i], data, SIZE, 0);
            if (got < 0)
                continue;
            memcpy(&number, data, 8);
            if (got == ANSWER && number == numbers[i]) {
                answered++;
                ask(i);
            } else {
                wrong++; /* a late answer to a question that was given up */
            }
        }
        if (now_ns() - looked < 50000000u)
            continue;
        looked = now_ns();
        for (i = 0; i < count; i++)
            if (looked - asked[i] > PATIENCE_MS * 1000000ull) {
                lost++;
                ask(i);
            }
    }
    printf("%llu answered %llu lost %llu wrong %.3f s\n", (unsigned long long)answered, (unsigned long long)lost,
           (unsigned long long)wrong, (double)(now_ns() - begin) / 1e9);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        serve(atoi(argv[2]));
    if (argc == 5 && strcmp(argv[1], "ask") == 0)
        return ask_all(atoi(argv[2]), atoi(argv[3]), atol(argv[4]));
    fprintf(stderr, "usage: udpload serve PORT | ask PORT SOCKETS MS\n");
    return 2;
}
