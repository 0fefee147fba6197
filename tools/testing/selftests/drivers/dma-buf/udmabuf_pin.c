// SPDX-License-Identifier: GPL-2.0
/*
 * Which pages of a memfd can be pinned for a udmabuf, and that a process does
 * not have to live until they are.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "kselftest_harness.h"
#include "udmabuf_util.h"

/* Takes a guest without hardware support about a second to allocate. */
#define HOLE_SIZE	(256UL * 1024 * 1024)

#define FAILSLAB	"/sys/kernel/debug/failslab/"
#define MEMINFO		"/proc/meminfo"

FIXTURE(udmabuf_pin)
{
	size_t page;
	int dev;
	int memfd;
	int buf;
};

FIXTURE_SETUP(udmabuf_pin)
{
	self->page = sysconf(_SC_PAGESIZE);
	self->memfd = -1;
	self->buf = -1;
	self->dev = open(UDMABUF_DEV, O_RDWR);
	if (self->dev < 0)
		SKIP(return, "cannot open " UDMABUF_DEV ": %s", strerror(errno));
}

FIXTURE_TEARDOWN(udmabuf_pin)
{
	close(self->buf);
	close(self->memfd);
	close(self->dev);
}

/* Bytes that are allocated to @fd, or -1. */
static long allocated(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : (long)st.st_blocks * 512;
}

/*
 * A child that is killed while it fills a hole goes at once and does not
 * fill it to the end. It is killed as soon as it has allocated something. If it
 * was faster than that, another one is tried.
 */
TEST_F(udmabuf_pin, killed)
{
	pid_t pid, ended;
	long filled;
	int status;
	int i;

	for (i = 0; i < 5; i++) {
		close(self->memfd);
		self->memfd = memfd_sealed(HOLE_SIZE, F_SEAL_SHRINK);
		ASSERT_GE(self->memfd, 0);

		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			_exit(udmabuf_create(self->dev, self->memfd, 0, HOLE_SIZE, 0) < 0);
		do {
			ended = waitpid(pid, &status, WNOHANG);
			filled = allocated(self->memfd);
		} while (!ended && !filled);
		if (!ended) {
			ASSERT_EQ(kill(pid, SIGKILL), 0);
			ended = waitpid(pid, &status, 0);
		}
		ASSERT_EQ(ended, pid);

		filled = allocated(self->memfd);
		if (filled < (long)HOLE_SIZE)
			break;
	}
	EXPECT_GT(filled, 0);
	EXPECT_LT(filled, (long)HOLE_SIZE);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

/*
 * Poisons page @nr of @fd, in a child: that it had the page mapped kills it.
 * Returns false if the kernel does not do that for us. The page is lost until
 * the next boot.
 */
static bool poison(int fd, size_t nr)
{
	size_t page = sysconf(_SC_PAGESIZE);
	int status;
	pid_t pid;
	char *p;

	pid = fork();
	if (pid < 0)
		return false;
	if (!pid) {
		p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 nr * page);
		if (p == MAP_FAILED)
			_exit(1);
		*p = 'x';
		_exit(madvise(p, page, MADV_HWPOISON) ? 1 : 0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return false;
	return WIFSIGNALED(status) ? WTERMSIG(status) == SIGBUS : !status;
}

/*
 * How UDMABUF_CREATE ends in a child: with 0 or an errno. -1 if it does not end
 * in some seconds; such a child may be one that cannot be killed.
 */
static int create_in_child(int dev, int memfd, size_t size)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		return -1;
	if (!pid) {
		/* Who runs this waits until nobody has them any more. */
		close(STDOUT_FILENO);
		close(STDERR_FILENO);
		_exit(udmabuf_create(dev, memfd, 0, size, 0) < 0 ? errno : 0);
	}
	for (int i = 0; i < 100; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		usleep(100000);
	}
	kill(pid, SIGKILL);
	return -1;
}

/* A page with a memory error is neither mapped nor given to a device. */
TEST_F(udmabuf_pin, poisoned_page)
{
	size_t size = 4 * self->page;

	self->memfd = memfd_sealed(size, F_SEAL_SHRINK);
	ASSERT_GE(self->memfd, 0);
	if (!poison(self->memfd, 2))
		SKIP(return, "cannot poison a page (CONFIG_MEMORY_FAILURE, root)");

	/* In ZONE_MOVABLE, where it cannot be moved, nobody waits for that. */
	ASSERT_EQ(create_in_child(self->dev, self->memfd, size), EHWPOISON);
	self->buf = udmabuf_create(self->dev, self->memfd, 0, size, 0);
	EXPECT_EQ(self->buf, -1);
	EXPECT_EQ(errno, EHWPOISON);

	/* The pages in front of it are good. */
	self->buf = udmabuf_create(self->dev, self->memfd, 0, 2 * self->page, 0);
	EXPECT_GE(self->buf, 0);
}

/*
 * What refuses the memory for the index of files, and no other, to this process
 * and to none else; and what the kernel has without it.
 */
static const char * const faults[][3] = {
	{ "/sys/kernel/slab/radix_tree_node/failslab", "1", "0" },
	{ "/proc/self/make-it-fail", "1", "0" },
	{ FAILSLAB "cache-filter", "Y", "N" },
	{ FAILSLAB "task-filter", "Y", "N" },
	{ FAILSLAB "ignore-gfp-wait", "N", "Y" },
	{ FAILSLAB "verbose", "0", "2" },
	{ FAILSLAB "interval", "1", "1" },
	{ FAILSLAB "space", "0", "0" },
	{ FAILSLAB "times", "-1", "1" },
	{ FAILSLAB "probability", "100", "0" },
};

static bool start_faults(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		if (!write_str(faults[i][0], faults[i][1]))
			return false;
	return true;
}

/* The other way round: nobody else is refused anything meanwhile. */
static bool stop_faults(void)
{
	bool ok = true;

	for (size_t i = ARRAY_SIZE(faults); i-- > 0;)
		ok &= write_str(faults[i][0], faults[i][2]);
	return ok;
}

/*
 * A huge page that fills a hole was one of those reserved. If it cannot be added
 * to the file, it goes back, and so does the reservation.
 */
TEST_F(udmabuf_pin, huge_page_not_added)
{
	size_t huge = read_counter(MEMINFO, "Hugepagesize:") * 1024;
	long long reserved = read_counter(MEMINFO, "HugePages_Rsvd:");
	int err;

	/* Once as it should be. */
	self->memfd = memfd_with_flags(MFD_HUGETLB, huge, F_SEAL_SHRINK);
	self->buf = udmabuf_create(self->dev, self->memfd, 0, huge, 0);
	if (self->buf < 0)
		SKIP(return, "no free huge page that can be pinned: %s", strerror(errno));
	close(self->buf);
	close(self->memfd);

	self->memfd = memfd_with_flags(MFD_HUGETLB, huge, F_SEAL_SHRINK);
	ASSERT_GE(self->memfd, 0);
	if (!start_faults()) {
		stop_faults();
		SKIP(return, "cannot make allocations fail (CONFIG_FAILSLAB, root)");
	}
	self->buf = udmabuf_create(self->dev, self->memfd, 0, huge, 0);
	err = errno;
	ASSERT_TRUE(stop_faults());

	EXPECT_EQ(self->buf, -1);
	EXPECT_EQ(err, ENOMEM);
	EXPECT_EQ(allocated(self->memfd), 0);
	EXPECT_EQ(read_counter(MEMINFO, "HugePages_Rsvd:"), reserved);

	self->buf = udmabuf_create(self->dev, self->memfd, 0, huge, 0);
	EXPECT_GE(self->buf, 0);
}

/* A partial last page is part of the file, the page behind it is not. */
TEST_F(udmabuf_pin, partial_last_page)
{
	size_t size = 4 * self->page, i;
	char *p;

	self->memfd = memfd_sealed(3 * self->page + 100, F_SEAL_SHRINK);
	ASSERT_GE(self->memfd, 0);

	EXPECT_EQ(udmabuf_create(self->dev, self->memfd, 0, size + self->page, 0), -1);
	EXPECT_EQ(errno, EINVAL);
	self->buf = udmabuf_create(self->dev, self->memfd, 0, size, 0);
	ASSERT_GE(self->buf, 0);

	ASSERT_EQ(pwrite(self->memfd, "end", 3, 3 * self->page + 97), 3);
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, self->buf, 0);
	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EQ(memcmp(p + 3 * self->page + 97, "end", 3), 0);
	for (i = 3 * self->page + 100; i < size; i++)
		ASSERT_EQ(p[i], 0);
	munmap(p, size);
}

TEST_HARNESS_MAIN
