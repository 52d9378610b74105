/*
 * own_disk.c
 *	  usage: own_disk MICROSECONDS command argument...
 *	  Runs a server as if its files lay on a disk of its own, on which a flush
 *	  takes so long.
 *
 * On one machine all nodes share one disk, which serves their flushes one after
 * the other: what two nodes do at the same time elsewhere costs here what one
 * of them costs twice.  So every fsync() and fdatasync() of the command and of
 * all its descendants is carried out for real, and then kept waiting until
 * MICROSECONDS have passed since it was called.  As long as that is more than
 * the real disk takes for what all nodes have under way, a flush of one node
 * lasts the same whatever the others do: no queue between nodes.  Within one
 * node nothing is put in order either; the servers measured here flush their
 * write-ahead log one call at a time by themselves.
 *
 * How: a seccomp filter passes these two system calls to a supervisor, which
 * opens the caller's file, makes the call on it, waits, and returns the result.
 * (A library in LD_PRELOAD would do for PostgreSQL, but a Go program makes its
 * system calls itself; all systems are to be slowed alike.)
 * A turn to the supervisor and back takes some 10 us, within the time waited
 * for.  The filter lets signals wait while a call is with the supervisor, or
 * every latch that is set would begin the flush anew.
 *
 * The command keeps its process id, for who wants to end it; the supervisor is
 * a child that leaves the terminal and ends when nobody is left who has the
 * filter.  Linux 5.19 or later.  Nothing here is state: a supervisor that is
 * killed makes flushes fail with ENOSYS, and the servers panic.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Flushes of one node at the same time; a further one waits its turn. */
#define THREADS 16

static int listener;
static long flush_us;
static pthread_mutex_t receiving = PTHREAD_MUTEX_INITIALIZER;

static void
fail(const char *what)
{
	fprintf(stderr, "own_disk: %s: %s\n", what, strerror(errno));
	exit(125);
}

/* The call itself, for the thread that is waiting: 0 or an errno. */
static int
flush_for(const struct seccomp_notif *call)
{
	char path[64];
	int error = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/fd/%u", call->pid, (unsigned) call->data.args[0]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (call->data.nr == SYS_fsync ? fsync(fd) : fdatasync(fd)) != 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	return error;
}

static void *
serve(void *unused)
{
	(void) unused;
	prctl(PR_SET_TIMERSLACK, 1UL);
	for (;;)
	{
		struct pollfd ready = {.fd = listener, .events = POLLIN};
		struct seccomp_notif call = {0};
		struct seccomp_notif_resp answer = {0};
		struct timespec until;
		int received;

		/* One thread at a time waits for a call: none is left in an ioctl that
		 * will never return when the last process has gone. */
		pthread_mutex_lock(&receiving);
		while (poll(&ready, 1, -1) < 0 && errno == EINTR)
			;
		if ((ready.revents & POLLIN) == 0)
			exit(0);
		received = ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call);
		clock_gettime(CLOCK_MONOTONIC, &until);
		pthread_mutex_unlock(&receiving);
		if (received != 0)
			continue; /* it was killed meanwhile */

		until.tv_nsec += flush_us % 1000000 * 1000;
		until.tv_sec += flush_us / 1000000 + until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		answer.id = call.id;
		answer.error = -flush_for(&call);
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
			;
		(void) ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
}

/* The listener through a socket, out or in. */
static void
pass_listener(int sock, int *fd, int send)
{
	char byte = 0;
	union
	{
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec data = {&byte, 1};
	struct msghdr m = {.msg_iov = &data,
					   .msg_iovlen = 1,
					   .msg_control = control.room,
					   .msg_controllen = sizeof(control.room)};
	struct cmsghdr *header;

	memset(&control, 0, sizeof(control));
	if (send)
	{
		header = CMSG_FIRSTHDR(&m);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), fd, sizeof(int));
		if (sendmsg(sock, &m, 0) != 1)
			fail("sendmsg");
		return;
	}
	if (recvmsg(sock, &m, 0) != 1 || (header = CMSG_FIRSTHDR(&m)) == NULL)
		_exit(0); /* the other side failed, and said so */
	memcpy(fd, CMSG_DATA(header), sizeof(int));
}

static void
supervise(int sock)
{
	int null = open("/dev/null", O_RDWR);

	pass_listener(sock, &listener, 0);
	close(sock);
	setsid();
	for (int fd = 0; fd <= 2; fd++)
		dup2(null, fd);
	for (int i = 1; i < THREADS; i++)
	{
		pthread_t thread;

		if (pthread_create(&thread, NULL, serve, NULL) != 0)
			_exit(1);
	}
	serve(NULL);
}

int
main(int argc, char **argv)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
	char *end;
	int pair[2];

	if (argc < 3 || (flush_us = strtol(argv[1], &end, 10)) <= 0 || *end != '\0')
	{
		fprintf(stderr, "usage: own_disk microseconds command argument...\n");
		return 125;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		fail("socketpair");

	/* Before the filter is there: the supervisor must not have it. */
	switch (fork())
	{
		case -1:
			fail("fork");
			break;
		case 0:
			close(pair[0]);
			supervise(pair[1]);
			break;
		default:
			close(pair[1]);
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fail("no_new_privs");
	listener = (int) syscall(
		SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
	if (listener < 0)
		fail("seccomp");
	pass_listener(pair[0], &listener, 1);
	close(listener);
	execvp(argv[2], argv + 2);
	fail(argv[2]);
}
