/*
 * slow_disk.c
 *	  A disk whose flushes take long, for the torture runs: a library that is
 *	  loaded before libc (LD_PRELOAD) into every process of a server and makes
 *	  fsync() and fdatasync() wait.
 *
 * TORTURE_DISK names a file of at least 4 bytes that holds how long, in
 * milliseconds, as an int of this machine.  It is mapped, so the harness changes
 * the delay of a running server by writing to it; without the file there is no delay.
 *
 * The wait comes before the real flush: what is waited for is not durable yet,
 * and a power cut meanwhile loses it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int *delay_ms;

__attribute__((constructor)) static void
map_switch(void)
{
	const char *file = getenv("TORTURE_DISK");
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(int), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p != MAP_FAILED)
		delay_ms = p;
}

/* In short pieces, so that a disk that is fast again is so at once. */
static void
be_slow(void)
{
	int saved = errno;
	int waited = 0;

	while (delay_ms != NULL && waited < *delay_ms)
	{
		int piece = *delay_ms - waited < 20 ? *delay_ms - waited : 20;
		struct timespec t = {0, piece * 1000000L};

		while (nanosleep(&t, &t) != 0 && errno == EINTR)
			;
		waited += piece;
	}
	errno = saved;
}

int
fsync(int fd)
{
	int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");

	be_slow();
	return real(fd);
}

int
fdatasync(int fd)
{
	int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");

	be_slow();
	return real(fd);
}
