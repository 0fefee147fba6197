// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings of a udmabuf show the memory of the memfd, whatever the sizes of its
 * pages and of the entries of the page tables are.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <linux/memfd.h>
#include "kselftest_harness.h"
#include "udmabuf_util.h"

#define HUGE_PAGE	(2UL << 20)
#define SIZE		(4 * HUGE_PAGE)

#define HUGE_PAGES	"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define NR_HUGE_PAGES	HUGE_PAGES "nr_hugepages"
#define SHMEM_ENABLED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define PMD_SIZE	"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"

FIXTURE(udmabuf_mmap)
{
	size_t page;
	char *mem;		/* the memfd */
	int dev;
	int memfd;
	int buf;
};

FIXTURE_VARIANT(udmabuf_mmap)
{
	unsigned int memfd_flags;
	bool thp;
};

FIXTURE_VARIANT_ADD(udmabuf_mmap, small) { };

FIXTURE_VARIANT_ADD(udmabuf_mmap, thp) { .thp = true };

FIXTURE_VARIANT_ADD(udmabuf_mmap, hugetlb) {
	.memfd_flags = MFD_HUGETLB | MFD_HUGE_2MB,
};

static long read_long(const char *path)
{
	FILE *f = fopen(path, "r");
	long value;

	if (!f || fscanf(f, "%ld", &value) != 1)
		value = -1;
	if (f)
		fclose(f);
	return value;
}

/* The word in brackets of a file such as shmem_enabled. */
static void read_choice(const char *path, char *word, size_t size)
{
	FILE *f = fopen(path, "r");
	char line[128], *end;

	*word = 0;
	if (f && fgets(line, sizeof(line), f)) {
		char *start = strchr(line, '[');

		end = start ? strchr(start, ']') : NULL;
		if (end && (size_t)(end - start) <= size) {
			*end = 0;
			strcpy(word, start + 1);
		}
	}
	if (f)
		fclose(f);
}

static bool set_huge_pages(long nr)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", nr);
	return write_str(NR_HUGE_PAGES, text);
}

/* Every page gets a number that no other page has. */
static void number(char *p, size_t page, long first)
{
	for (size_t i = 0; i < SIZE; i += page)
		__atomic_store_n((long *)(p + i), first + i / page,
				 __ATOMIC_RELAXED);
}

/* The first page of @len bytes that does not have its number, or -1. */
static long wrong_page(const char *p, size_t len, size_t page, long first)
{
	for (size_t i = 0; i < len; i += page) {
		long found = __atomic_load_n((const long *)(p + i),
					     __ATOMIC_RELAXED);

		if (found != first + (long)(i / page))
			return i / page;
	}
	return -1;
}

/* Whether a child that writes to @p gets @signal; 0 for none. */
static bool write_ends_with(char *p, int signal)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		__atomic_fetch_or(p, 0, __ATOMIC_RELAXED);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	return signal ? WIFSIGNALED(status) && WTERMSIG(status) == signal : !status;
}

/* The faults of this process until now. */
static long nr_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* The page tables of this process, of all levels. */
static long nr_tables(size_t page)
{
	return read_counter("/proc/self/status", "VmPTE:") * 1024 / page;
}

/* What the settings were when the program began. */
static long saved_huge_pages;
static char saved_shmem[16];

static void restore_settings(void)
{
	char shmem[16];

	if (saved_huge_pages >= 0 && read_long(NR_HUGE_PAGES) != saved_huge_pages)
		set_huge_pages(saved_huge_pages);
	read_choice(SHMEM_ENABLED, shmem, sizeof(shmem));
	if (*saved_shmem && strcmp(shmem, saved_shmem))
		write_str(SHMEM_ENABLED, saved_shmem);
}

/* There is no teardown after a setup that ends early: the end of the program does it. */
static void __attribute__((constructor)) save_settings(void)
{
	saved_huge_pages = read_long(NR_HUGE_PAGES);
	read_choice(SHMEM_ENABLED, saved_shmem, sizeof(saved_shmem));
	atexit(restore_settings);
}

/* How many huge pages can be had. */
static long free_huge_pages(void)
{
	return read_long(HUGE_PAGES "free_hugepages") -
	       read_long(HUGE_PAGES "resv_hugepages");
}

FIXTURE_SETUP(udmabuf_mmap)
{
	const long huge_pages = SIZE / HUGE_PAGE;

	self->page = sysconf(_SC_PAGESIZE);
	self->dev = open(UDMABUF_DEV, O_RDWR);
	if (self->dev < 0)
		SKIP(return, "cannot open " UDMABUF_DEV ": %s", strerror(errno));

	if (variant->memfd_flags) {
		if (free_huge_pages() < huge_pages)
			set_huge_pages(read_long(NR_HUGE_PAGES) + huge_pages -
				       free_huge_pages());
		if (free_huge_pages() < huge_pages) {
			restore_settings();
			SKIP(return, "no huge pages of 2 MiB");
		}
	}
	if (variant->thp && !write_str(SHMEM_ENABLED, "always"))
		SKIP(return, "no huge pages of shmem");

	self->memfd = memfd_create("udmabuf_mmap",
				   MFD_ALLOW_SEALING | variant->memfd_flags);
	ASSERT_GE(self->memfd, 0);
	ASSERT_EQ(ftruncate(self->memfd, SIZE), 0);
	ASSERT_EQ(fcntl(self->memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	self->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			 self->memfd, 0);
	ASSERT_NE(self->mem, MAP_FAILED);
	number(self->mem, self->page, 1000);
	/* There is no teardown when a test is skipped. */
	if (variant->thp && !is_huge(self->mem)) {
		restore_settings();
		SKIP(return, "shmem got no huge pages");
	}

	self->buf = udmabuf_create(self->dev, self->memfd, 0, SIZE, 0);
	ASSERT_GE(self->buf, 0);
}

FIXTURE_TEARDOWN(udmabuf_mmap)
{
	if (self->mem)
		munmap(self->mem, SIZE);
	close(self->buf);
	close(self->memfd);
	close(self->dev);
	restore_settings();
}

static char *map(FIXTURE_DATA(udmabuf_mmap) *self, size_t len, size_t offset)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, self->buf,
		    offset);
}

TEST_F(udmabuf_mmap, whole)
{
	char *p = map(self, SIZE, 0);

	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EQ(wrong_page(p, SIZE, self->page, 1000), -1);
	number(p, self->page, 5000);
	EXPECT_EQ(wrong_page(self->mem, SIZE, self->page, 5000), -1);
	EXPECT_EQ(munmap(p, SIZE), 0);
}

/* Neither end is that of a huge page; the access is in the middle of one. */
TEST_F(udmabuf_mmap, part)
{
	size_t len = SIZE - 2 * self->page;
	char *p = map(self, len, self->page);

	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EQ(wrong_page(p + 3 * self->page, self->page, self->page, 1004), -1);
	EXPECT_EQ(wrong_page(p, len, self->page, 1001), -1);
	EXPECT_EQ(munmap(p, len), 0);
}

/* Where a mapping has a hole, what is left shows what it showed. */
TEST_F(udmabuf_mmap, hole)
{
	char *p = map(self, SIZE, 0), *after;

	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EQ(wrong_page(p, SIZE, self->page, 1000), -1);
	ASSERT_EQ(munmap(p + 7 * self->page, self->page), 0);
	after = p + 8 * self->page;
	EXPECT_EQ(wrong_page(p, 7 * self->page, self->page, 1000), -1);
	EXPECT_EQ(wrong_page(after, SIZE - 8 * self->page, self->page, 1008), -1);
	EXPECT_TRUE(write_ends_with(p + 7 * self->page, SIGSEGV));
	EXPECT_EQ(munmap(p, SIZE), 0);
}

TEST_F(udmabuf_mmap, moved)
{
	char *p = map(self, SIZE, 0), *to;

	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EQ(wrong_page(p, SIZE, self->page, 1000), -1);
	/* To an address that is not that of a huge page. */
	to = mmap(NULL, SIZE + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		  -1, 0);
	ASSERT_NE(to, MAP_FAILED);
	p = mremap(p, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to + self->page);
	ASSERT_EQ(p, to + self->page);
	EXPECT_EQ(wrong_page(p, SIZE, self->page, 1000), -1);
	EXPECT_EQ(munmap(to, SIZE + HUGE_PAGE), 0);
}

TEST_F(udmabuf_mmap, protected)
{
	char *p = map(self, SIZE, 0);

	ASSERT_NE(p, MAP_FAILED);
	/* Mapped, but only read until now. */
	EXPECT_EQ(wrong_page(p, SIZE, self->page, 1000), -1);
	ASSERT_EQ(mprotect(p, SIZE, PROT_READ), 0);
	EXPECT_TRUE(write_ends_with(p, SIGSEGV));
	ASSERT_EQ(mprotect(p + self->page, self->page, PROT_READ | PROT_WRITE), 0);
	EXPECT_TRUE(write_ends_with(p + self->page, 0));
	EXPECT_TRUE(write_ends_with(p + 2 * self->page, SIGSEGV));
	ASSERT_EQ(mprotect(p, SIZE, PROT_READ | PROT_WRITE), 0);
	number(p, self->page, 7000);
	EXPECT_EQ(wrong_page(self->mem, SIZE, self->page, 7000), -1);
	EXPECT_EQ(munmap(p, SIZE), 0);
}

/* A child has the mapping as well, whether it was accessed before or not. */
TEST_F(udmabuf_mmap, inherited)
{
	char *p = map(self, SIZE, 0);
	int status;
	pid_t pid;

	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EQ(wrong_page(p, SIZE / 2, self->page, 1000), -1);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		if (wrong_page(p, SIZE, self->page, 1000) >= 0)
			_exit(1);
		number(p, self->page, 9000);
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(wrong_page(p, SIZE, self->page, 9000), -1);
	EXPECT_EQ(wrong_page(self->mem, SIZE, self->page, 9000), -1);
	EXPECT_EQ(munmap(p, SIZE), 0);
}

/* Small pages and huge ones side by side, in one page table of the mapping too. */
TEST_F(udmabuf_mmap, mixed)
{
	int small = memfd_sealed(HUGE_PAGE, F_SEAL_SHRINK), buf;
	size_t half = HUGE_PAGE / 2, len = 2 * HUGE_PAGE + half;
	struct {
		struct udmabuf_create_list head;
		struct udmabuf_create_item items[3];
	} list = {
		.head.count = 3,
		.items = {
			{ .memfd = self->memfd, .size = HUGE_PAGE },
			{ .memfd = small, .size = half },
			{ .memfd = self->memfd, .offset = HUGE_PAGE,
			  .size = HUGE_PAGE },
		},
	};
	char *p;

	ASSERT_GE(small, 0);
	for (size_t i = 0; i < half; i += self->page) {
		long n = 3000 + i / self->page;

		ASSERT_EQ(pwrite(small, &n, sizeof(n), i), sizeof(n));
	}
	buf = ioctl(self->dev, UDMABUF_CREATE_LIST, &list);
	ASSERT_GE(buf, 0);

	/* Once from each end: what is mapped already is met in both ways. */
	for (int backwards = 0; backwards < 2; backwards++) {
		long huge = HUGE_PAGE / self->page;
		char *middle, *last;

		p = mmap(NULL, len, PROT_READ, MAP_SHARED, buf, 0);
		ASSERT_NE(p, MAP_FAILED);
		middle = p + HUGE_PAGE;
		last = middle + half;
		if (backwards)
			EXPECT_EQ(wrong_page(last, HUGE_PAGE, self->page,
					     1000 + huge), -1);
		EXPECT_EQ(wrong_page(p, HUGE_PAGE, self->page, 1000), -1);
		EXPECT_EQ(wrong_page(middle, half, self->page, 3000), -1);
		EXPECT_EQ(wrong_page(last, HUGE_PAGE, self->page, 1000 + huge), -1);
		EXPECT_EQ(munmap(p, len), 0);
	}
	close(buf);
	close(small);
}

/*
 * What it costs to touch every page. A driver may map all of a mapping at once
 * with small entries, but where it returns for each huge page, that has one entry
 * and no page table. In no case is there a fault for each small page.
 */
TEST_F(udmabuf_mmap, cost)
{
	const long huge_pages = SIZE / HUGE_PAGE;
	char *p = map(self, SIZE, 0);
	long faults, tables;

	ASSERT_NE(p, MAP_FAILED);
	/* What it takes to count has been touched. */
	nr_faults();
	nr_tables(self->page);

	tables = nr_tables(self->page);
	faults = nr_faults();
	EXPECT_EQ(wrong_page(p, SIZE, self->page, 1000), -1);
	faults = nr_faults() - faults;
	tables = nr_tables(self->page) - tables;

	/* An end may lie in a page table of its own, and others fault now and then. */
	EXPECT_GT(faults, 0);
	EXPECT_LE(faults, 2 * huge_pages);
	if (variant->thp || variant->memfd_flags)
		EXPECT_TRUE(faults < huge_pages || tables < huge_pages)
			TH_LOG("%ld faults, %ld page tables", faults, tables);
	EXPECT_EQ(munmap(p, SIZE), 0);
}

/* The mapping outlives the fd and the memfd. */
TEST_F(udmabuf_mmap, kept)
{
	char *p = map(self, SIZE, 0);

	ASSERT_NE(p, MAP_FAILED);
	close(self->buf);
	close(self->memfd);
	munmap(self->mem, SIZE);
	self->buf = -1;
	self->memfd = -1;
	self->mem = NULL;
	EXPECT_EQ(wrong_page(p, SIZE, self->page, 1000), -1);
	EXPECT_EQ(munmap(p, SIZE), 0);
}

TEST_F(udmabuf_mmap, past_the_end)
{
	EXPECT_EQ(map(self, SIZE, self->page), MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(map(self, SIZE + self->page, 0), MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
}

/* So that an exporter can map huge pages with one entry. */
TEST_F(udmabuf_mmap, aligned)
{
	long pmd = read_long(PMD_SIZE);
	char *p[3];

	if (sizeof(long) < 8 || pmd <= 0 || pmd > (long)SIZE)
		SKIP(return, "no transparent huge pages of a size that fits");

	/* The first one may be aligned by chance. */
	for (int i = 0; i < 3; i++) {
		p[i] = map(self, SIZE - self->page * i, 0);
		ASSERT_NE(p[i], MAP_FAILED);
		EXPECT_EQ((uintptr_t)p[i] % pmd, 0);
	}
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(munmap(p[i], SIZE - self->page * i), 0);
}

TEST_HARNESS_MAIN
