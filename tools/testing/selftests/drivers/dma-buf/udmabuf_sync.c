// SPDX-License-Identifier: GPL-2.0
/*
 * DMA_BUF_IOCTL_SYNC on a udmabuf: by two threads at once, in one direction
 * after the other, of long parts, and while others write to the memfd. None of
 * this may leak or lose anything or make the kernel complain.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <linux/dma-buf.h>
#include "kselftest_harness.h"
#include "udmabuf_util.h"

#define ITEMS		1024	/* the default of list_limit */
#define ITEM_PAGES	4
#define PAGES		(ITEMS * ITEM_PAGES)
#define BUFFERS		300
#define FEW_BUFFERS	30
#define ROUNDS		3

/* A kernel with debug options needs seconds for a buffer, and tells with few. */
#define SLOW_BUFFERS	10
#define SLOW_NS		(NSEC_PER_SEC / 10)

#define NSEC_PER_SEC	1000000000L

/* What is less than this much memory, in KiB, may be somebody else's. */
#define NOISE		1024

#define DMA_API		"/sys/kernel/debug/dma-api/"
#define KMEMLEAK	"/sys/kernel/debug/kmemleak"
/* Only what is older is reported, see MSECS_MIN_AGE in mm/kmemleak.c. */
#define KMEMLEAK_AGE	6

static int sync_buf(int buf, __u64 flags)
{
	struct dma_buf_sync s = { .flags = flags };

	return ioctl(buf, DMA_BUF_IOCTL_SYNC, &s);
}

/* The number in @file that follows @key, or -1. */
static long read_number(const char *file, const char *key)
{
	char line[256];
	long ret = -1;
	FILE *f;

	f = fopen(file, "r");
	if (!f)
		return -1;
	while (ret < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			ret = strtol(line + strlen(key), NULL, 10);
	fclose(f);
	return ret;
}

/* How many lines of @file contain @text, or -1. */
static long count_lines(const char *file, const char *text)
{
	char line[512];
	long ret = 0;
	FILE *f;

	f = fopen(file, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		ret += !!strstr(line, text);
	fclose(f);
	return ret;
}

/* Why nobody would notice what is wrong with DMA mappings, or NULL. */
static const char *no_dma_debug(void)
{
	char word[8] = "";
	FILE *f;

	f = fopen(DMA_API "disabled", "r");
	if (!f)
		return "no " DMA_API " (CONFIG_DMA_API_DEBUG, debugfs, root)";
	if (!fgets(word, sizeof(word), f))
		*word = 0;
	fclose(f);
	return *word == 'N' ? NULL : "CONFIG_DMA_API_DEBUG has given up";
}

/* The DMA mappings of all devices. */
static long count_mappings(void)
{
	return read_number(DMA_API "nr_total_entries", "") -
	       read_number(DMA_API "num_free_entries", "");
}

static bool tell_kmemleak(const char *command)
{
	int fd = open(KMEMLEAK, O_WRONLY);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, command, strlen(command)) == (ssize_t)strlen(command);
	close(fd);
	return ok;
}

FIXTURE(udmabuf_sync)
{
	size_t page;
	int dev;
	int memfd;
	int buf;
	struct udmabuf_create_list *list;

	/* The second thread: what makes it go, and what became of it. */
	pthread_t thread;
	int timer;
	sem_t done;
	bool stop;
	int ret;
};

FIXTURE_SETUP(udmabuf_sync)
{
	struct udmabuf_create_item *item;
	int i;

	self->page = sysconf(_SC_PAGESIZE);
	self->memfd = -1;
	self->buf = -1;
	self->dev = open(UDMABUF_DEV, O_RDWR);
	if (self->dev < 0)
		SKIP(return, "cannot open " UDMABUF_DEV ": %s", strerror(errno));
	self->memfd = memfd_sealed(PAGES * self->page, F_SEAL_SHRINK);
	ASSERT_GE(self->memfd, 0);

	/*
	 * No item is next to its neighbour, in the file and so, with pages that
	 * are allocated in file order, in memory: the table has an entry for each.
	 */
	ASSERT_EQ(fallocate(self->memfd, 0, 0, PAGES * self->page), 0);
	self->list = calloc(1, sizeof(*self->list) + ITEMS * sizeof(self->list->list[0]));
	ASSERT_NE(self->list, NULL);
	self->list->count = ITEMS;
	for (i = 0; i < ITEMS; i++) {
		item = &self->list->list[i];
		item->memfd = self->memfd;
		item->size = ITEM_PAGES * self->page;
		item->offset = (2 * i % ITEMS + 2 * i / ITEMS) * item->size;
	}
	self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, self->list);
	if (self->buf < 0 && errno == EINVAL)
		SKIP(return, "list_limit is less than %d", ITEMS);
	ASSERT_GE(self->buf, 0);
}

FIXTURE_TEARDOWN(udmabuf_sync)
{
	free(self->list);
	close(self->buf);
	close(self->memfd);
	close(self->dev);
}

static int begin_and_end(int buf)
{
	return sync_buf(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW) ?:
	       sync_buf(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
}

static void *second_thread(void *arg)
{
	FIXTURE_DATA(udmabuf_sync) *self = arg;

	uint64_t ticks;

	for (;;) {
		self->ret = read(self->timer, &ticks, sizeof(ticks)) != sizeof(ticks);
		if (self->stop)
			return NULL;
		self->ret |= begin_and_end(self->buf);
		sem_post(&self->done);
	}
}

/*
 * The second thread is on the same CPU and goes first whenever it is ready: so
 * it can be made to come when the first one is in the middle of something.
 * Returns what is missing, or NULL.
 */
static const char *start_thread(FIXTURE_DATA(udmabuf_sync) *self)
{
	struct sched_param param = { .sched_priority = 1 };
	cpu_set_t cpu;

	close(self->buf);
	self->buf = -1;
	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu))
		return "cannot stay on one CPU";
	self->timer = timerfd_create(CLOCK_MONOTONIC, 0);
	if (self->timer < 0)
		return "no timerfd";
	if (sem_init(&self->done, 0, 0) ||
	    pthread_create(&self->thread, NULL, second_thread, self))
		return "no thread";
	if (pthread_setschedparam(self->thread, SCHED_FIFO, &param))
		return "no real-time scheduling (not root?)";
	return NULL;
}

static int set_timer(FIXTURE_DATA(udmabuf_sync) *self, long ns)
{
	struct itimerspec its = {
		.it_value.tv_sec = ns / NSEC_PER_SEC,
		.it_value.tv_nsec = ns % NSEC_PER_SEC,
	};

	return timerfd_settime(self->timer, 0, &its, NULL);
}

static void stop_thread(FIXTURE_DATA(udmabuf_sync) *self)
{
	self->stop = true;
	set_timer(self, 1);
	pthread_join(self->thread, NULL);
}

static long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* How long the first access to a buffer takes to begin, in ns, or -1. */
static long first_access(FIXTURE_DATA(udmabuf_sync) *self)
{
	long ns, least = LONG_MAX;
	int i;

	for (i = 0; i < 10; i++) {
		self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, self->list);
		if (self->buf < 0)
			return -1;
		ns = now();
		if (sync_buf(self->buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW))
			return -1;
		ns = now() - ns;
		if (ns < least)
			least = ns;
		close(self->buf);
		self->buf = -1;
	}
	return least;
}

/*
 * Both threads begin to access a fresh buffer, again and again, the second one a
 * little later each time, until the first one must be done.
 */
static bool race(FIXTURE_DATA(udmabuf_sync) *self, int most)
{
	long ns = first_access(self);
	int buffers = ns < SLOW_NS ? most : SLOW_BUFFERS;
	bool ok = ns >= 0;
	int i;

	for (i = 0; ok && i < buffers; i++) {
		self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, self->list);
		if (self->buf < 0)
			return false;
		if (set_timer(self, 1 + 3 * ns * i / buffers))
			return false;
		ok = !begin_and_end(self->buf);
		sem_wait(&self->done);
		ok &= !self->ret;
		close(self->buf);
		self->buf = -1;
	}
	return ok;
}

/* The first access must not decide in which direction the next ones go. */
TEST_F(udmabuf_sync, directions)
{
	static const __u64 dirs[] = {
		DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_RW,
	};
	const char *missing = no_dma_debug();
	long before, after;
	size_t i, j;

	if (missing)
		SKIP(return, "%s", missing);
	before = read_number(DMA_API "error_count", "");
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		close(self->buf);
		self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, self->list);
		ASSERT_GE(self->buf, 0);
		ASSERT_EQ(sync_buf(self->buf, DMA_BUF_SYNC_START | dirs[i]), 0);
		ASSERT_EQ(sync_buf(self->buf, DMA_BUF_SYNC_END | dirs[i]), 0);
		for (j = 0; j < ARRAY_SIZE(dirs); j++) {
			ASSERT_EQ(sync_buf(self->buf, DMA_BUF_SYNC_START | dirs[j]), 0);
			ASSERT_EQ(sync_buf(self->buf, DMA_BUF_SYNC_END | dirs[j]), 0);
		}
	}
	close(self->buf);
	self->buf = -1;
	after = read_number(DMA_API "error_count", "");
	EXPECT_EQ(after, before)
		TH_LOG("%ld complaints about the use of the DMA API", after - before);
	EXPECT_EQ(no_dma_debug(), NULL);
}

/*
 * Mappings of buffers that are gone. What race_memory leaves of them on a broken
 * kernel makes mapping slow: it comes later.
 */
TEST_F_TIMEOUT(udmabuf_sync, race_mappings, 300)
{
	const char *missing;
	long before, after;

	missing = no_dma_debug();
	if (missing)
		SKIP(return, "%s", missing);
	missing = start_thread(self);
	if (missing)
		SKIP(return, "%s", missing);
	before = count_mappings();
	EXPECT_TRUE(race(self, FEW_BUFFERS));
	stop_thread(self);
	after = count_mappings();
	/* A table that nobody knows any more has one for nearly each item. */
	EXPECT_LT(after - before, ITEMS / 2)
		TH_LOG("%ld mappings are left", after - before);
	EXPECT_EQ(no_dma_debug(), NULL);
}

/*
 * Memory that is missing, whoever has it: in the round with the least of it,
 * without the first one, in which caches fill.
 */
TEST_F_TIMEOUT(udmabuf_sync, race_memory, 300)
{
	long before, lost, least = LONG_MAX;
	const char *missing;
	int i;

	if (!access(KMEMLEAK, F_OK))
		SKIP(return, "a debug kernel keeps freed memory; see race_objects");
	missing = start_thread(self);
	if (missing)
		SKIP(return, "%s", missing);
	for (i = 0; i <= ROUNDS; i++) {
		before = read_number("/proc/meminfo", "MemFree:");
		ASSERT_TRUE(race(self, BUFFERS));
		lost = before - read_number("/proc/meminfo", "MemFree:");
		if (i && lost < least)
			least = lost;
	}
	stop_thread(self);
	EXPECT_LT(least, NOISE)
		TH_LOG("at least %ld KiB lost", least);
}

/* Objects that nobody knows any more */
TEST_F_TIMEOUT(udmabuf_sync, race_objects, 300)
{
	const char *missing;
	long leaked;

	if (!tell_kmemleak("clear"))
		SKIP(return, "no " KMEMLEAK " (CONFIG_DEBUG_KMEMLEAK, debugfs, root)");
	missing = start_thread(self);
	if (missing)
		SKIP(return, "%s", missing);
	EXPECT_TRUE(race(self, BUFFERS));
	stop_thread(self);

	sleep(KMEMLEAK_AGE);
	ASSERT_TRUE(tell_kmemleak("scan"));
	ASSERT_TRUE(tell_kmemleak("scan"));
	leaked = count_lines(KMEMLEAK, "comm \"udmabuf_sync\"");
	EXPECT_EQ(leaked, 0)
		TH_LOG("%ld objects leaked", leaked);
}

/* A part that is contiguous in memory may be as long as a huge page, or longer. */
TEST_F(udmabuf_sync, contiguous)
{
	size_t size = read_counter("/proc/meminfo", "Hugepagesize:") * 1024;
	/* -1 without CONFIG_DMA_API_DEBUG, debugfs or root, at the end as well. */
	long before = read_number(DMA_API "error_count", "");
	int memfd, buf;

	if (read_counter("/proc/meminfo", "HugePages_Free:") -
	    read_counter("/proc/meminfo", "HugePages_Rsvd:") < 1)
		SKIP(return, "needs a free huge page");
	memfd = memfd_create("udmabuf-test", MFD_ALLOW_SEALING | MFD_HUGETLB);
	ASSERT_GE(memfd, 0);
	ASSERT_EQ(ftruncate(memfd, size), 0);
	ASSERT_EQ(fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	buf = udmabuf_create(self->dev, memfd, 0, size, 0);
	ASSERT_GE(buf, 0);

	EXPECT_EQ(sync_buf(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
	EXPECT_EQ(sync_buf(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
	EXPECT_EQ(read_number(DMA_API "error_count", ""), before);
	close(buf);
	close(memfd);
}

/*
 * What others write to the pages is there for the CPU to read: it must not be
 * undone by a copy from a bounce buffer. Only with swiotlb=force is there one.
 * Caches are another matter: without it, they may drop what is written outside
 * of a begin and an end.
 */
TEST_F(udmabuf_sync, written_by_others)
{
	static const char text[] = "written after the first access";
	char read_back[sizeof(text)] = "";

	if (!has_bounce_buffers())
		SKIP(return, "needs swiotlb=force");

	ASSERT_EQ(sync_buf(self->buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
	ASSERT_EQ(sync_buf(self->buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), 0);
	ASSERT_EQ(pwrite(self->memfd, text, sizeof(text), 0), sizeof(text));
	ASSERT_EQ(sync_buf(self->buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
	ASSERT_EQ(pread(self->memfd, read_back, sizeof(text), 0), sizeof(text));
	ASSERT_EQ(sync_buf(self->buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), 0);
	EXPECT_STREQ(read_back, text);
}

TEST_HARNESS_MAIN
