// SPDX-License-Identifier: GPL-2.0
/*
 * A udmabuf is another view of the pages of a memfd. What one of the two
 * holds, the other one has to hold as well: nothing that is written through
 * the buffer may get lost, nothing that was never written may show up in it,
 * and it must not be a way around the mode of a file descriptor.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include "kselftest_harness.h"
#include "udmabuf_util.h"

#define MiB		(1024UL * 1024)
#define RECLAIM_SIZE	(16 * MiB)
#define SWAP_SIZE	(256 * MiB)
#define RECLAIM_TRIES	32
#define DIRT_SIZE	(256 * MiB)
#define FALLOCATED_SIZE	(64 * MiB)
#define SHARED_SIZE	(16 * MiB)

#define DIRT		0x5ec2e75ec2e75ec2ULL

/* Never 0, and different for all words of a buffer. */
static uint64_t pattern(size_t word)
{
	return (word + 1) * 0x9e3779b97f4a7c15ULL;
}

static void fill(uint64_t *p, size_t size)
{
	size_t i;

	for (i = 0; i < size / sizeof(*p); i++)
		p[i] = pattern(i);
}

/* Pages that are not what fill() left there; *@zero: how many of them are 0 */
static size_t bad_pages(const uint64_t *p, size_t size, size_t page_size,
			size_t *zero)
{
	size_t words = page_size / sizeof(*p), page, i, bad = 0;

	*zero = 0;
	for (page = 0; page < size / page_size; page++) {
		bool wrong = false, all_zero = true;

		for (i = page * words; i < (page + 1) * words; i++) {
			wrong |= p[i] != pattern(i);
			all_zero &= !p[i];
		}
		bad += wrong;
		*zero += wrong && all_zero;
	}
	return bad;
}

FIXTURE(udmabuf_data)
{
	size_t page_size;
	int dev;
	int memfd;
	int buf;
	/* dirty_after_release only */
	int zram;
	char swap[64];
	bool swap_on;
	char cgroup[64];
};

FIXTURE_SETUP(udmabuf_data)
{
	self->page_size = sysconf(_SC_PAGESIZE);
	self->memfd = -1;
	self->buf = -1;
	self->zram = -1;
	self->swap_on = false;
	self->cgroup[0] = '\0';
	self->dev = open(UDMABUF_DEV, O_RDWR);
	if (self->dev < 0)
		SKIP(return, "cannot open " UDMABUF_DEV ": %s", strerror(errno));
}

FIXTURE_TEARDOWN(udmabuf_data)
{
	char nr[16];

	close(self->buf);
	close(self->memfd);
	close(self->dev);
	if (self->swap_on)
		swapoff(self->swap);
	if (self->zram >= 0) {
		snprintf(nr, sizeof(nr), "%d", self->zram);
		write_str("/sys/class/zram-control/hot_remove", nr);
	}
	if (self->cgroup[0]) {
		umount(self->cgroup);
		rmdir(self->cgroup);
	}
}

/* Creates a zram device and swaps to it. Returns what is missing, or NULL. */
static const char *
add_swap(FIXTURE_DATA(udmabuf_data) *self)
{
	char path[64], nr[16] = "";
	union {
		struct {
			char bootbits[1024];
			uint32_t version;
			uint32_t last_page;
			uint32_t nr_badpages;
		};
		char bytes[1];
	} *head;
	ssize_t n;
	int fd;

	/* Reading this file makes a new device and returns its number. */
	fd = open("/sys/class/zram-control/hot_add", O_RDONLY);
	if (fd < 0)
		return "no zram (CONFIG_ZRAM), or not root";
	n = read(fd, nr, sizeof(nr) - 1);
	close(fd);
	if (n <= 0)
		return "cannot add a zram device";
	self->zram = atoi(nr);

	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", self->zram);
	snprintf(nr, sizeof(nr), "%lu", SWAP_SIZE);
	if (!write_str(path, nr))
		return "cannot set the size of the zram device";

	snprintf(self->swap, sizeof(self->swap), "/dev/zram%d", self->zram);
	head = calloc(1, self->page_size);
	if (!head)
		return "no memory";
	head->version = 1;
	head->last_page = SWAP_SIZE / self->page_size - 1;
	memcpy(head->bytes + self->page_size - 10, "SWAPSPACE2", 10);
	fd = open(self->swap, O_WRONLY | O_SYNC);
	n = fd < 0 ? -1 : write(fd, head, self->page_size);
	close(fd);
	free(head);
	if (n != (ssize_t)self->page_size)
		return "cannot write the swap header (no devtmpfs?)";

	if (swapon(self->swap, SWAP_FLAG_PREFER | 32767))
		return "swapon() failed (CONFIG_SWAP?)";
	self->swap_on = true;
	return NULL;
}

/* Opens memory.reclaim of the root cgroup, or returns -1. */
static int open_reclaim(FIXTURE_DATA(udmabuf_data) *self)
{
	char path[96], dir[] = "/tmp/udmabuf_cgroup.XXXXXX";
	int fd;

	fd = open("/sys/fs/cgroup/memory.reclaim", O_WRONLY);
	if (fd >= 0)
		return fd;
	if (!mkdtemp(dir))
		return -1;
	if (mount("none", dir, "cgroup2", 0, NULL)) {
		rmdir(dir);
		return -1;
	}
	strcpy(self->cgroup, dir);
	snprintf(path, sizeof(path), "%s/memory.reclaim", dir);
	return open(path, O_WRONLY);
}

static size_t resident_pages(void *p, size_t size, size_t page_size)
{
	size_t i, n = size / page_size, sum = 0;
	unsigned char *vec = malloc(n);

	if (!vec || mincore(p, size, vec)) {
		free(vec);
		return n;
	}
	for (i = 0; i < n; i++)
		sum += vec[i] & 1;
	free(vec);
	return sum;
}

/*
 * What was written through the buffer has to survive the buffer, also if
 * the kernel needs the memory for something else.
 */
TEST_F_TIMEOUT(udmabuf_data, dirty_after_release, 300)
{
	size_t pages = RECLAIM_SIZE / self->page_size, resident = pages, zero, bad;
	const char *missing;
	int i, reclaim;
	void *p;

	missing = add_swap(self);
	if (missing)
		SKIP(return, "%s", missing);
	reclaim = open_reclaim(self);
	if (reclaim < 0)
		SKIP(return, "no memory.reclaim in the root cgroup (CONFIG_MEMCG, cgroup2)");

	self->memfd = memfd_sealed(RECLAIM_SIZE, F_SEAL_SHRINK);
	ASSERT_GE(self->memfd, 0);
	self->buf = udmabuf_create(self->dev, self->memfd, 0, RECLAIM_SIZE, 0);
	ASSERT_GE(self->buf, 0);
	p = mmap(NULL, RECLAIM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->buf, 0);
	ASSERT_NE(p, MAP_FAILED);
	fill(p, RECLAIM_SIZE);
	ASSERT_EQ(munmap(p, RECLAIM_SIZE), 0);
	ASSERT_EQ(close(self->buf), 0);
	self->buf = -1;

	/* Mapped, but not touched until the pages are gone. */
	p = mmap(NULL, RECLAIM_SIZE, PROT_READ, MAP_SHARED, self->memfd, 0);
	ASSERT_NE(p, MAP_FAILED);
	for (i = 0; i < RECLAIM_TRIES && resident; i++) {
		/* -EAGAIN only says that it was less; an older kernel knows no swappiness */
		if (write(reclaim, "64M swappiness=200", 18) < 0 && errno == EINVAL &&
		    write(reclaim, "64M", 3) < 0 && errno != EAGAIN)
			break;
		resident = resident_pages(p, RECLAIM_SIZE, self->page_size);
	}
	close(reclaim);
	TH_LOG("%zu of %zu pages resident after %d rounds of reclaim", resident, pages, i);
	if (resident > pages / 2)
		SKIP(return, "reclaim left %zu of %zu pages in memory", resident, pages);

	bad = bad_pages(p, RECLAIM_SIZE, self->page_size, &zero);
	EXPECT_EQ(bad, 0)
		TH_LOG("%zu of %zu pages lost, %zu of them read as 0", bad, pages, zero);
	munmap(p, RECLAIM_SIZE);
}

/* Is memory cleared when it is allocated or freed, whoever asks for it? */
static bool memory_is_always_cleared(void)
{
	char cmdline[4096] = "", *log = NULL;
	bool yes = false;
	ssize_t len;
	int fd;

	/* "mem auto-init: stack:off, heap alloc:off, heap free:off" */
	len = klogctl(10 /* SYSLOG_ACTION_SIZE_BUFFER */, NULL, 0);
	if (len > 0)
		log = calloc(1, len + 1);
	if (log && klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, len) > 0)
		yes = strstr(log, "heap alloc:on") || strstr(log, "heap free:on");
	free(log);
	if (yes)
		return true;

	/* The log may be full or not for us. */
	fd = open("/proc/cmdline", O_RDONLY);
	if (fd >= 0) {
		len = read(fd, cmdline, sizeof(cmdline) - 1);
		close(fd);
	}
	return strstr(cmdline, "init_on_alloc=1") || strstr(cmdline, "init_on_alloc=y") ||
	       strstr(cmdline, "init_on_free=1") || strstr(cmdline, "init_on_free=y");
}

/* fallocate() reserves pages; what others left in them must not be seen. */
TEST_F_TIMEOUT(udmabuf_data, fallocated_pages_are_zero, 120)
{
	size_t i, words = FALLOCATED_SIZE / sizeof(uint64_t), dirty = 0, leaked = 0;
	volatile uint64_t *p;
	cpu_set_t cpu;
	int status;
	pid_t pid;

	if (memory_is_always_cleared())
		SKIP(return, "init_on_alloc or init_on_free is on: no old data to find");

	/* On one CPU and so one node: the pages freed are the next ones used. */
	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	ASSERT_EQ(sched_setaffinity(0, sizeof(cpu), &cpu), 0);

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		p = mmap(NULL, DIRT_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			_exit(1);
		for (i = 0; i < DIRT_SIZE / sizeof(*p); i++)
			p[i] = DIRT;
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		SKIP(return, "not enough memory");

	self->memfd = memfd_sealed(FALLOCATED_SIZE, F_SEAL_SHRINK);
	ASSERT_GE(self->memfd, 0);
	ASSERT_EQ(fallocate(self->memfd, 0, 0, FALLOCATED_SIZE), 0);
	self->buf = udmabuf_create(self->dev, self->memfd, 0, FALLOCATED_SIZE, 0);
	ASSERT_GE(self->buf, 0);
	p = mmap(NULL, FALLOCATED_SIZE, PROT_READ, MAP_SHARED, self->buf, 0);
	ASSERT_NE(p, MAP_FAILED);
	for (i = 0; i < words; i++) {
		dirty += p[i] != 0;
		leaked += p[i] == DIRT;
	}
	EXPECT_EQ(dirty, 0)
		TH_LOG("%zu of %zu words are not 0, %zu are another process' data",
		       dirty, words, leaked);
	munmap((void *)p, FALLOCATED_SIZE);
}

/* The memfd must not clear a page on its own first use, under the buffer. */
TEST_F_TIMEOUT(udmabuf_data, same_page_as_memfd, 120)
{
	size_t pages = SHARED_SIZE / self->page_size, zero, bad;
	uint64_t *b, *m;

	self->memfd = memfd_sealed(SHARED_SIZE, F_SEAL_SHRINK);
	ASSERT_GE(self->memfd, 0);
	ASSERT_EQ(fallocate(self->memfd, 0, 0, SHARED_SIZE), 0);
	self->buf = udmabuf_create(self->dev, self->memfd, 0, SHARED_SIZE, 0);
	ASSERT_GE(self->buf, 0);
	b = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->buf, 0);
	ASSERT_NE(b, MAP_FAILED);
	fill(b, SHARED_SIZE);

	m = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->memfd, 0);
	ASSERT_NE(m, MAP_FAILED);
	bad = bad_pages(m, SHARED_SIZE, self->page_size, &zero);
	EXPECT_EQ(bad, 0)
		TH_LOG("memfd: %zu of %zu pages differ, %zu read as 0", bad, pages, zero);

	/* and the other way round */
	memset(b, 0, SHARED_SIZE);
	fill(m, SHARED_SIZE);
	bad = bad_pages(b, SHARED_SIZE, self->page_size, &zero);
	EXPECT_EQ(bad, 0)
		TH_LOG("dma-buf: %zu of %zu pages differ, %zu read as 0", bad, pages, zero);
	munmap(m, SHARED_SIZE);
	munmap(b, SHARED_SIZE);
}

/* Who may only read a memfd must not get a buffer, as that can be written. */
TEST_F(udmabuf_data, read_only_fd)
{
	static const int modes[] = { O_RDONLY, O_WRONLY };
	char before = 'a', after = 0;
	size_t i;
	char *p;
	int fd;

	self->memfd = memfd_sealed(self->page_size, F_SEAL_SHRINK);
	ASSERT_GE(self->memfd, 0);
	ASSERT_EQ(pwrite(self->memfd, &before, 1, 0), 1);

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		fd = reopen(self->memfd, modes[i]);
		if (fd < 0)
			SKIP(return, "cannot open the memfd again (no /proc?)");
		errno = 0;
		self->buf = udmabuf_create(self->dev, fd, 0, self->page_size, 0);
		EXPECT_EQ(self->buf, -1);
		EXPECT_EQ(errno, EACCES);
		close(fd);
		if (self->buf < 0 || modes[i] != O_RDONLY)
			continue;

		/* So there is a buffer. How bad is it? */
		p = mmap(NULL, self->page_size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 self->buf, 0);
		if (p != MAP_FAILED) {
			*p = 'b';
			munmap(p, self->page_size);
		}
		close(self->buf);
		self->buf = -1;
		ASSERT_EQ(pread(self->memfd, &after, 1, 0), 1);
		EXPECT_EQ(after, before)
			TH_LOG("written through a read-only fd");
	}

	/* Opening it again is not what is wrong. */
	fd = reopen(self->memfd, O_RDWR);
	ASSERT_GE(fd, 0);
	close(self->buf);
	self->buf = udmabuf_create(self->dev, fd, 0, self->page_size, 0);
	EXPECT_GE(self->buf, 0);
	close(fd);
}

TEST_HARNESS_MAIN
