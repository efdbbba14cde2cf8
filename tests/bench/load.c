/* load: the bench's own load tool, for what wrk cannot do.
 *
 *   load serve PORT                            upstream: takes uploads, answers with the number of body bytes
 *                                              it has had from everybody so far; echoes websocket frames
 *   load probe PORT HOST PATH INTERVAL SECONDS  one small GET every INTERVAL seconds; prints latencies
 *   load echo  PORT HOST PATH CONNS SECONDS     websocket ping-pong on CONNS connections; prints latencies
 *   load stall PORT HOST PATH CONNS             asks CONNS times and never reads; prints "stalled", then waits
 *
 * Everything is on 127.0.0.1. `probe` and `echo` end with one line of JSON on stdout (see `report`).
 * Reading is blocking and buffered, one thread per connection in `serve`: simple, and the tool's own CPU is
 * not part of any figure. Built by loads.py: cc -O2 -pthread -o load load.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER = 256 * 1024,       /* one read of a bulk upload */
    MAX_HEAD = 16 * 1024,      /* a request or response head */
    MAX_SAMPLES = 4000000,     /* latencies kept; 32 MB */
    PATIENCE_SECONDS = 5,      /* an answer that takes longer is an error */
    MESSAGE = 64,              /* bytes of payload in one echoed websocket message */
};

/* ---- sockets --------------------------------------------------------------------------------------------- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pause_for(double seconds) {
    if (seconds <= 0) return;
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* A connected socket whose reads give up after PATIENCE_SECONDS, or -1. */
static int dial(int port) {
    struct sockaddr_in address = loopback(port);
    struct timeval patience = {PATIENCE_SECONDS, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    no_delay(fd);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static int send_all(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return -1;
        at += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* ---- a buffered reader ------------------------------------------------------------------------------------- */

static atomic_ullong skipped; /* body bytes dropped so far, over all connections */

typedef struct {
    int fd;
    size_t start, end; /* the unread bytes are data[start..end) */
    char data[BUFFER];
} Reader;

static size_t unread(const Reader *r) { return r->end - r->start; }

static int fill(Reader *r) {
    if (r->start == r->end) r->start = r->end = 0;
    if (r->end == BUFFER) {
        memmove(r->data, r->data + r->start, unread(r));
        r->end -= r->start;
        r->start = 0;
    }
    if (r->end == BUFFER) return -1;
    ssize_t got = recv(r->fd, r->data + r->end, BUFFER - r->end, 0);
    if (got <= 0) return -1;
    r->end += (size_t)got;
    return 0;
}

static int need(Reader *r, size_t size) {
    while (unread(r) < size)
        if (fill(r)) return -1;
    return 0;
}

/* Drops bytes, and counts them as they come: an upload that is cut short has still moved its bytes. */
static int skip(Reader *r, uint64_t size) {
    while (size) {
        if (r->start == r->end && fill(r)) return -1;
        size_t part = unread(r) < size ? unread(r) : (size_t)size;
        r->start += part;
        size -= part;
        atomic_fetch_add_explicit(&skipped, part, memory_order_relaxed);
    }
    return 0;
}

/* Takes everything up to and including `mark`, as a string in `out`. */
static int take_until(Reader *r, const char *mark, char *out, size_t room) {
    char *found;
    while (!(found = memmem(r->data + r->start, unread(r), mark, strlen(mark)))) {
        if (unread(r) >= room || fill(r)) return -1;
    }
    size_t size = (size_t)(found - (r->data + r->start)) + strlen(mark);
    if (size >= room) return -1;
    memcpy(out, r->data + r->start, size);
    out[size] = 0;
    r->start += size;
    return 0;
}

/* The value of a field, or NULL; `name` is written "\nName:". */
static const char *field(const char *head, const char *name) {
    const char *at = strcasestr(head, name);
    if (!at) return NULL;
    at += strlen(name);
    while (*at == ' ') at++;
    return at;
}

/* ---- websocket handshake: SHA-1 and base64 (RFC 6455 section 4.2.2) ------------------------------------------ */

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1_block(uint32_t state[5], const uint8_t block[64]) {
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20) f = (b & c) | (~b & d), k = 0x5A827999;
        else if (i < 40) f = b ^ c ^ d, k = 0x6ED9EBA1;
        else if (i < 60) f = (b & c) | (b & d) | (c & d), k = 0x8F1BBCDC;
        else f = b ^ c ^ d, k = 0xCA62C1D6;
        uint32_t t = rotate(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = t;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* SHA-1 of a text of at most 119 bytes: two blocks, which a websocket key and its GUID (60 bytes) need. */
static void sha1(const char *text, uint8_t digest[20]) {
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t padded[128] = {0};
    size_t size = strlen(text), blocks = (size + 9 + 63) / 64;
    memcpy(padded, text, size);
    padded[size] = 0x80;
    padded[blocks * 64 - 2] = (uint8_t)(size * 8 >> 8);
    padded[blocks * 64 - 1] = (uint8_t)(size * 8);
    for (size_t i = 0; i < blocks; i++) sha1_block(state, padded + 64 * i);
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64_of_digest(const uint8_t digest[20], char out[29]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0, o = 0; i < 20; i += 3, o += 4) {
        uint32_t triple = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | (i + 2 < 20 ? digest[i + 2] : 0);
        for (int d = 0; d < 4; d++) out[o + d] = digits[triple >> (18 - 6 * d) & 63];
    }
    out[27] = '='; /* 20 bytes leave a last group of two */
    out[28] = 0;
}

/* ---- serve ------------------------------------------------------------------------------------------------- */

/* Echoes frames until one side is done. Messages up to 64 KiB; a close frame is answered by closing. */
static void echo_frames(Reader *r) {
    for (;;) {
        if (need(r, 2)) return;
        uint8_t *p = (uint8_t *)r->data + r->start;
        int opcode = p[0] & 15, is_masked = p[1] >> 7;
        size_t size = p[1] & 127, head = 2;
        if (size == 127) return;
        if (size == 126) {
            if (need(r, 4)) return;
            p = (uint8_t *)r->data + r->start;
            size = (size_t)p[2] << 8 | p[3];
            head = 4;
        }
        size_t mask_size = is_masked ? 4 : 0;
        if (need(r, head + mask_size + size)) return;
        p = (uint8_t *)r->data + r->start;
        uint8_t *mask = p + head, *payload = mask + mask_size;
        for (size_t i = 0; is_masked && i < size; i++) payload[i] ^= mask[i & 3];
        /* The answer's head takes the place of the mask, so that head and payload go out in one write. */
        memmove(p + mask_size, p, head);
        p[mask_size + 1] &= 127;
        if (opcode == 9) p[mask_size] = 0x80 | 10;
        if (send_all(r->fd, p + mask_size, head + size)) return;
        r->start += head + mask_size + size;
        if (opcode == 8) return;
    }
}

static int switch_to_websocket(Reader *r, const char *key) {
    char text[96] = {0}, accept[29], answer[256];
    uint8_t digest[20];
    snprintf(text, sizeof text, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", (int)strcspn(key, " \r\n") % 50, key);
    sha1(text, digest);
    base64_of_digest(digest, accept);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    return send_all(r->fd, answer, (size_t)size);
}

static int skip_chunks(Reader *r) {
    char line[256];
    for (;;) {
        if (take_until(r, "\r\n", line, sizeof line)) return -1;
        uint64_t size = strtoull(line, NULL, 16);
        if (skip(r, size + 2)) return -1;
        if (!size) return 0;
    }
}

/* Reads one request and answers it; nonzero ends the connection. */
static int answer_one(Reader *r) {
    char head[MAX_HEAD], body[64], answer[256];
    const char *value;
    if (take_until(r, "\r\n\r\n", head, sizeof head)) return -1;
    if ((value = field(head, "\nSec-WebSocket-Key:"))) {
        if (!switch_to_websocket(r, value)) echo_frames(r);
        return -1;
    }
    if (field(head, "\nExpect: 100") && send_all(r->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return -1;
    if ((value = field(head, "\nContent-Length:"))) {
        if (skip(r, strtoull(value, NULL, 10))) return -1;
    } else if (field(head, "\nTransfer-Encoding:") && skip_chunks(r)) {
        return -1;
    }
    int size = snprintf(body, sizeof body, "%llu\n", atomic_load(&skipped));
    size = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body);
    if (send_all(r->fd, answer, (size_t)size)) return -1;
    return (value = field(head, "\nConnection:")) && !strncasecmp(value, "close", 5);
}

static void *serve_connection(void *fd) {
    Reader *r = malloc(sizeof *r);
    if (!r) return NULL;
    r->fd = (int)(intptr_t)fd;
    r->start = r->end = 0;
    no_delay(r->fd);
    while (!answer_one(r)) {}
    close(r->fd);
    free(r);
    return NULL;
}

static int serve(int port) {
    struct sockaddr_in address = loopback(port);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        perror("load serve");
        return 1;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && pthread_create(&thread, &attributes, serve_connection, (void *)(intptr_t)fd)) close(fd);
    }
}

/* ---- figures ------------------------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The quantile in milliseconds; -1 when there is no sample. `values` must be sorted. */
static double quantile_ms(const double *values, long count, double q) {
    return count ? values[(long)((double)(count - 1) * q)] * 1e3 : -1.0;
}

/* `sent` may be NULL: latencies from the moment of sending, when those in `due` count from the schedule. */
static void report(double *due, double *sent, long count, double seconds, long errors) {
    qsort(due, (size_t)count, sizeof *due, ascending);
    printf("{\"count\": %ld, \"errors\": %ld, \"rate\": %.1f, \"p50_ms\": %.4f, \"p99_ms\": %.4f", count, errors,
           (double)count / seconds, quantile_ms(due, count, 0.5), quantile_ms(due, count, 0.99));
    if (sent) {
        qsort(sent, (size_t)count, sizeof *sent, ascending);
        printf(", \"sent_p50_ms\": %.4f, \"sent_p99_ms\": %.4f", quantile_ms(sent, count, 0.5),
               quantile_ms(sent, count, 0.99));
    }
    printf("}\n");
}

/* ---- probe -------------------------------------------------------------------------------------------------- */

static int get_once(Reader *r, const char *request, size_t size) {
    char head[MAX_HEAD];
    if (send_all(r->fd, request, size) || take_until(r, "\r\n\r\n", head, sizeof head)) return -1;
    const char *length = field(head, "\nContent-Length:");
    if (!length || strncmp(head, "HTTP/1.1 200", 12)) return -1;
    return skip(r, strtoull(length, NULL, 10));
}

/* Latency counts from the moment a request was due, so that one late answer is charged to those behind it too. */
static int probe(int port, const char *host, const char *path, double interval, double seconds) {
    char request[1024];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host);
    double *due = malloc(sizeof(double) * MAX_SAMPLES), *sent = malloc(sizeof(double) * MAX_SAMPLES);
    Reader *r = malloc(sizeof *r);
    if (!due || !sent || !r) return 1;
    r->fd = -1;
    long count = 0, errors = 0;
    double start = now();
    for (double next = start; now() - start < seconds && count < MAX_SAMPLES; next += interval) {
        pause_for(next - now());
        double begun = now();
        if (r->fd < 0) {
            r->fd = dial(port);
            r->start = r->end = 0;
        }
        if (r->fd < 0 || get_once(r, request, (size_t)size)) {
            errors++;
            if (r->fd >= 0) close(r->fd);
            r->fd = -1;
            continue;
        }
        double end = now();
        due[count] = end - next;
        sent[count++] = end - begun;
    }
    report(due, sent, count, now() - start, errors);
    return 0;
}

/* ---- echo --------------------------------------------------------------------------------------------------- */

typedef struct {
    int fd;
    size_t received; /* bytes of the answer under way */
    double begun;
} Echo;

/* A websocket client's masked binary frame; its mask is zero, so the payload stands as it is. */
static size_t client_frame(char frame[MESSAGE + 6]) {
    const char head[6] = {(char)0x82, (char)(0x80 | MESSAGE), 0, 0, 0, 0};
    memcpy(frame, head, sizeof head);
    memset(frame + sizeof head, 'x', MESSAGE);
    return MESSAGE + sizeof head;
}

static int open_websocket(int port, const char *host, const char *path) {
    char request[1024], head[MAX_HEAD];
    size_t size = 0;
    int fd = dial(port);
    if (fd < 0) return -1;
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, host);
    int is_bad = send_all(fd, request, strlen(request));
    while (!is_bad && (size < 4 || memcmp(head + size - 4, "\r\n\r\n", 4))) {
        is_bad = size == sizeof head || recv(fd, head + size, 1, 0) != 1;
        size++;
    }
    if (!is_bad && size > 12 && !strncmp(head, "HTTP/1.1 101", 12)) return fd;
    close(fd);
    return -1;
}

static int echo(int port, const char *host, const char *path, int wanted, double seconds) {
    static char sink[BUFFER];
    char frame[MESSAGE + 6];
    size_t frame_size = client_frame(frame), answer_size = MESSAGE + 2;
    double *latencies = malloc(sizeof(double) * MAX_SAMPLES);
    Echo *echoes = calloc((size_t)wanted, sizeof *echoes);
    if (!latencies || !echoes) return 1;
    int poll = epoll_create1(0), open = 0;
    long count = 0, errors = 0;
    /* Three refusals are enough to know: the rest would only wait for their patience to end. */
    for (int i = 0; i < wanted; i++) {
        int fd = errors < 3 ? open_websocket(port, host, path) : -1;
        if (fd < 0) {
            errors++;
            continue;
        }
        echoes[open].fd = fd;
        struct epoll_event interest = {.events = EPOLLIN, .data.ptr = &echoes[open++]};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &interest);
    }
    double start = now();
    for (int i = 0; i < open; i++) {
        echoes[i].begun = now();
        if (send_all(echoes[i].fd, frame, frame_size)) errors++;
    }
    while (now() - start < seconds && count < MAX_SAMPLES) {
        struct epoll_event ready[64];
        int events = epoll_wait(poll, ready, 64, 100);
        for (int i = 0; i < events && count < MAX_SAMPLES; i++) {
            Echo *e = ready[i].data.ptr;
            ssize_t got = recv(e->fd, sink, sizeof sink, 0);
            if (got <= 0) {
                errors++;
                close(e->fd);
                continue;
            }
            e->received += (size_t)got;
            if (e->received < answer_size) continue;
            double end = now();
            e->received -= answer_size;
            latencies[count++] = end - e->begun;
            e->begun = end;
            if (send_all(e->fd, frame, frame_size)) errors++;
        }
    }
    report(latencies, NULL, count, now() - start, errors);
    return 0;
}

/* ---- stall -------------------------------------------------------------------------------------------------- */

_Noreturn static void stall(int port, const char *host, const char *path, int wanted) {
    char request[1024];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host), asked = 0;
    for (int i = 0; i < wanted; i++) {
        int fd = dial(port);
        if (fd >= 0 && !send_all(fd, request, (size_t)size)) asked++;
    }
    printf("stalled %d\n", asked);
    fflush(stdout);
    for (;;) pause();
}

/* ---- */

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    const char *verb = count > 2 ? words[1] : "";
    int port = count > 2 ? atoi(words[2]) : 0;
    if (count == 3 && !strcmp(verb, "serve")) return serve(port);
    if (count == 7 && !strcmp(verb, "probe")) return probe(port, words[3], words[4], atof(words[5]), atof(words[6]));
    if (count == 7 && !strcmp(verb, "echo")) return echo(port, words[3], words[4], atoi(words[5]), atof(words[6]));
    if (count == 6 && !strcmp(verb, "stall")) stall(port, words[3], words[4], atoi(words[5]));
    fprintf(stderr, "usage: load serve PORT | probe PORT HOST PATH INTERVAL SECONDS | echo PORT HOST PATH CONNS SECONDS"
                    " | stall PORT HOST PATH CONNS\n");
    return 2;
}
