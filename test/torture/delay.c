/*
 * delay.c
 *	  Slow links for the torture runs.
 *
 * usage: delay INTERFACE		(as root, in the network namespace of a node)
 *
 * Opens the tun device INTERFACE.  Packets that the namespace routes there are
 * held for a while and handed back; routing then sends them on their real way
 * (TortureGround.pm sets up both routes).  So only what is to be delayed passes
 * through here, and a run without latency pays nothing.
 *
 * Lines on standard input say how long: "ADDRESS DELAY_MS JITTER_MS" for packets
 * to that IPv4 address; each is held for DELAY plus a random share of JITTER.
 * Packets therefore overtake each other, as on a real bad path.  A packet to an
 * address nobody spoke of is handed on at once.  The end of standard input ends
 * the program, and with it the device.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MAX_HELD 8192 /* a full queue drops, as routers do */
#define MAX_PACKET 65600
#define MAX_ADDRESSES 16

typedef struct Held
{
	int64_t due_us;
	uint32_t length;
	uint8_t *packet;
} Held;

typedef struct Rule
{
	uint32_t address; /* network order */
	int delay_ms;
	int jitter_ms;
} Rule;

static Held heap[MAX_HELD];
static int held;
static Rule rules[MAX_ADDRESSES];
static int n_rules;

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void
push(Held h)
{
	int i = held++;

	for (; i > 0 && heap[(i - 1) / 2].due_us > h.due_us; i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = h;
}

static Held
pop(void)
{
	Held first = heap[0];
	Held last = heap[--held];
	int i = 0;

	for (;;)
	{
		int child = 2 * i + 1;

		if (child >= held)
			break;
		if (child + 1 < held && heap[child + 1].due_us < heap[child].due_us)
			child++;
		if (heap[child].due_us >= last.due_us)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return first;
}

/* One line of standard input; a rule for a known address replaces the old one. */
static void
command(const char *line)
{
	char text[64];
	Rule r;
	int i;

	if (sscanf(line, "%63s %d %d", text, &r.delay_ms, &r.jitter_ms) != 3 ||
		inet_pton(AF_INET, text, &r.address) != 1)
	{
		fprintf(stderr, "delay: not understood: %s\n", line);
		exit(2);
	}
	for (i = 0; i < n_rules && rules[i].address != r.address; i++)
		;
	if (i == MAX_ADDRESSES)
		exit(2);
	if (i == n_rules)
		n_rules++;
	rules[i] = r;
}

static int64_t
delay_us(const uint8_t *packet, size_t length)
{
	uint32_t to;

	if (length < 20 || packet[0] >> 4 != 4)
		return 0;
	memcpy(&to, packet + 16, 4);
	for (int i = 0; i < n_rules; i++)
	{
		if (rules[i].address == to)
			return rules[i].delay_ms * INT64_C(1000) +
				   (rules[i].jitter_ms > 0 ? random() % (rules[i].jitter_ms * 1000) : 0);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	static uint8_t buffer[MAX_PACKET];
	char input[4096];
	size_t n_input = 0;
	struct ifreq request;
	int tun;

	if (argc != 2)
	{
		fprintf(stderr, "usage: delay INTERFACE\n");
		return 2;
	}
	tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	memset(&request, 0, sizeof(request));
	request.ifr_flags = IFF_TUN | IFF_NO_PI;
	snprintf(request.ifr_name, IFNAMSIZ, "%s", argv[1]);
	if (tun < 0 || ioctl(tun, TUNSETIFF, &request) != 0)
	{
		fprintf(stderr, "delay: /dev/net/tun: %s\n", strerror(errno));
		return 1;
	}

	for (;;)
	{
		struct pollfd fds[2] = {{STDIN_FILENO, POLLIN, 0}, {tun, POLLIN, 0}};
		int64_t wait_us = held ? heap[0].due_us - now_us() : 1000000;

		poll(fds, 2, wait_us <= 0 ? 0 : (int) ((wait_us + 999) / 1000));

		if (fds[0].revents)
		{
			ssize_t n = read(STDIN_FILENO, input + n_input, sizeof(input) - 1 - n_input);
			char *end;

			if (n <= 0)
				return 0;
			n_input += n;
			input[n_input] = '\0';
			while ((end = strchr(input, '\n')) != NULL)
			{
				*end = '\0';
				command(input);
				n_input -= end + 1 - input;
				memmove(input, end + 1, n_input + 1);
			}
		}

		for (int i = 0; i < 64; i++)
		{
			ssize_t n = read(tun, buffer, sizeof(buffer));
			Held h;

			if (n <= 0)
				break;
			if (held == MAX_HELD)
				continue;
			h.due_us = now_us() + delay_us(buffer, n);
			h.length = n;
			h.packet = malloc(n);
			if (h.packet == NULL)
				return 1;
			memcpy(h.packet, buffer, n);
			push(h);
		}

		while (held > 0 && heap[0].due_us <= now_us())
		{
			Held h = pop();

			/* What the stack does not take is lost, as on a network. */
			if (write(tun, h.packet, h.length) < 0 && errno != EAGAIN && errno != EIO &&
				errno != EINVAL)
				fprintf(stderr, "delay: %s\n", strerror(errno));
			free(h.packet);
		}
	}
}
