// SPDX-License-Identifier: GPL-2.0
/*
 * pin_user_pages_fd() pins the pages of a file without a mapping of it. What its
 * documentation promises is tested here through the ioctls of gup_test, on all
 * kinds of files that can be pinned. mm/tests/pin_fd_kunit.c has the errnos that
 * are not brought about here, or that nobody lives to see: -EIO, -EINTR, -ETXTBSY,
 * and -ENOMEM but for a page of 1 GiB that has nowhere to go.
 *
 * Pages are counted after each test: none may stay pinned, no huge page may be
 * missing from its pool.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <mm/gup_test.h>
#include "kselftest_harness.h"
#include "hugepage_settings.h"
#include "vm_util.h"

#define GUP_TEST	"/sys/kernel/debug/gup_test"
#define UNPOISON	"/sys/kernel/debug/hwpoison/unpoison-pfn"
#define SHMEM_ENABLED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define NORMAL_MEMORY	"/sys/devices/system/node/has_normal_memory"

#define KiB		1024UL
#define MiB		(1024 * KiB)
#define GiB		(1024 * MiB)

#define WRITE		PIN_FD_TEST_FLAG_WRITE
#define NOALLOC		PIN_FD_TEST_FLAG_NOALLOC
#define NOSHRINK	PIN_FD_TEST_FLAG_NOSHRINK

/* Enough to be killed in the middle. */
#define KILL_SIZE	(256 * MiB)
#define KILL_HUGE_PAGES	32
#define KILL_TRIES	10

#define SWAP_SIZE	(256 * MiB)
#define PAGEOUT_TRIES	64
#define DIRT_SIZE	(64 * MiB)

/* As many as a mask of one word has room for. */
#define MAX_NODES	(8 * sizeof(long) - 1)

/* The longest pause in a race, in turns of a loop. */
#define MAX_DELAY	16000000L

/* It takes 150 ms to refuse a seal. */
#define SEAL_ROUNDS	100

/* What a page holds: words that differ, or zeroes. */
#define ZEROES		0
#define BY_FILE		0x9e3779b97f4a7c15ULL
#define BY_PIN		0xc2b2ae3d27d4eb4fULL

enum backing { MEMFD, TMPFS, SHMEM_HUGE, HUGETLB, GUEST_MEMFD };

struct hugetlb_counts {
	unsigned long total;
	unsigned long free;
	unsigned long reserved;
	unsigned long surplus;
};

FIXTURE(pin_fd) {
	int test;		/* GUP_TEST */
	int fd;			/* the file */
	size_t page;
	size_t unit;		/* a huge page, or a page */
	size_t size;		/* of the file */
	uint64_t start;		/* what is pinned begins here */
	uint32_t nr_ranges;
	uint32_t nr_dirty;	/* ranges that were dirty when they were pinned */
	void *map;		/* of all of the file, if a test needs it for longer */
	int hog;		/* a file that keeps huge pages from being used */
	int zram;
	char swap[64];
	bool swap_on;
	long pins;
	struct hugetlb_counts hugetlb;
};

FIXTURE_VARIANT(pin_fd) {
	enum backing backing;
	size_t unit;
	unsigned int nr;	/* units in the file */
	unsigned int rounds;	/* of races */
};

FIXTURE_VARIANT_ADD(pin_fd, memfd) {
	.backing = MEMFD,
	.nr = 64,
	.rounds = 2000,
};

FIXTURE_VARIANT_ADD(pin_fd, tmpfs) {
	.backing = TMPFS,
	.nr = 64,
	.rounds = 2000,
};

FIXTURE_VARIANT_ADD(pin_fd, shmem_huge) {
	.backing = SHMEM_HUGE,
	.nr = 4,
	.rounds = 200,
};

FIXTURE_VARIANT_ADD(pin_fd, hugetlb_2M) {
	.backing = HUGETLB,
	.unit = 2 * MiB,
	.nr = 8,
	.rounds = 200,
};

FIXTURE_VARIANT_ADD(pin_fd, hugetlb_1G) {
	.backing = HUGETLB,
	.unit = GiB,
	.nr = 1,
	.rounds = 2,
};

FIXTURE_VARIANT_ADD(pin_fd, guest_memfd) {
	.backing = GUEST_MEMFD,
	.nr = 64,
};

/* Once for all tests; given back when the program ends. */
static void __attribute__((constructor)) take_huge_pages(void)
{
	static const struct {
		unsigned long size;
		unsigned long nr;
	} wanted[] = {
		{ GiB, 1 },
		{ 2 * MiB, KILL_HUGE_PAGES },
	};
	unsigned long sizes[16];
	size_t i;
	int nr, j;

	hugetlb_save_settings();
	nr = detect_hugetlb_page_sizes(sizes, ARRAY_SIZE(sizes));
	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		for (j = 0; j < nr; j++) {
			unsigned long free;

			if (sizes[j] != wanted[i].size)
				continue;
			free = hugetlb_free_pages(sizes[j]);
			if (free < wanted[i].nr)
				hugetlb_set_nr_pages(sizes[j], hugetlb_nr_pages(sizes[j]) +
						     wanted[i].nr - free);
		}
	}
}

static bool is_shmem(const FIXTURE_VARIANT(pin_fd) * variant)
{
	return variant->backing == MEMFD || variant->backing == TMPFS ||
	       variant->backing == SHMEM_HUGE;
}

static bool is_memfd(const FIXTURE_VARIANT(pin_fd) * variant)
{
	return variant->backing == MEMFD || variant->backing == HUGETLB;
}

static bool write_str(const char *path, const char *s)
{
	int fd = open(path, O_WRONLY);
	ssize_t n;

	if (fd < 0)
		return false;
	n = write(fd, s, strlen(s));
	close(fd);
	return n == (ssize_t)strlen(s);
}

static bool shmem_enabled_is(const char *choice)
{
	FILE *f = fopen(SHMEM_ENABLED, "r");
	char line[128];
	bool is;

	is = f && fgets(line, sizeof(line), f) && strstr(line, choice);
	if (f)
		fclose(f);
	return is;
}

/* Has shmem huge pages that neither a mount option nor madvise() asks for? */
static bool shmem_is_huge(void)
{
	return shmem_enabled_is("[always]") || shmem_enabled_is("[within_size]") ||
	       shmem_enabled_is("[force]");
}

/* What /proc/vmstat says of @name, less what it says of @less at the same time */
static long read_vmstat(const char *name, const char *less)
{
	long value, found = 0;
	char key[64];
	FILE *f;

	write_str("/proc/sys/vm/stat_refresh", "1");
	f = fopen("/proc/vmstat", "r");
	while (f && fscanf(f, "%63s %ld", key, &value) == 2) {
		if (!strcmp(key, name))
			found += value;
		else if (!strcmp(key, less))
			found -= value;
	}
	if (f)
		fclose(f);
	return found;
}

static long pins(void)
{
	return read_vmstat("nr_foll_pin_acquired", "nr_foll_pin_released");
}

/* Others may be at work: waits for them a little. */
static bool pins_are_back_to(long before)
{
	for (int i = 0; i < 50; i++) {
		if (pins() == before)
			return true;
		usleep(100000);
	}
	return false;
}

static unsigned long hugetlb_count(size_t size, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%zukB/%s",
		 size / KiB, name);
	return read_num(path);
}

static struct hugetlb_counts hugetlb_counts(size_t size)
{
	return (struct hugetlb_counts) {
		.total = hugetlb_count(size, "nr_hugepages"),
		.free = hugetlb_count(size, "free_hugepages"),
		.reserved = hugetlb_count(size, "resv_hugepages"),
		.surplus = hugetlb_count(size, "surplus_hugepages"),
	};
}

static bool hugetlb_knows(size_t size)
{
	unsigned long sizes[16];
	int i, nr = detect_hugetlb_page_sizes(sizes, ARRAY_SIZE(sizes));

	for (i = 0; i < nr; i++)
		if (sizes[i] == size)
			return true;
	return false;
}

/* A file of a file system that nobody else sees and that goes with the file */
static int open_on(const char *type, const char *options)
{
	char dir[] = "/tmp/pin_fd.XXXXXX", path[64];
	int fd;

	if (!mkdtemp(dir))
		return -1;
	if (mount("none", dir, type, 0, options)) {
		rmdir(dir);
		return -1;
	}
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	return fd;
}

static int guest_memfd(size_t size, uint64_t flags)
{
	struct kvm_create_guest_memfd args = {
		.size = size,
		.flags = flags,
	};
	int kvm, vm, fd = -1;

	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		return -1;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	close(kvm);
	if (vm < 0)
		return -1;
	if (ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD) > 0 &&
	    (ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS) & flags) == flags)
		fd = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &args);
	close(vm);
	return fd;
}

static int make_file(const FIXTURE_VARIANT(pin_fd) * variant, size_t size)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = -1;

	switch (variant->backing) {
	case MEMFD:
		fd = memfd_create("pin_fd", flags);
		break;
	case TMPFS:
		fd = open_on("tmpfs", "huge=never");
		break;
	case SHMEM_HUGE:
		fd = open_on("tmpfs", "huge=always");
		break;
	case HUGETLB:
		flags |= MFD_HUGETLB | (__builtin_ctzl(variant->unit) << MFD_HUGE_SHIFT);
		fd = memfd_create("pin_fd", flags);
		break;
	case GUEST_MEMFD:
		return guest_memfd(size, GUEST_MEMFD_FLAG_MMAP |
					 GUEST_MEMFD_FLAG_INIT_SHARED);
	}
	if (fd >= 0 && ftruncate(fd, size)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The same file, opened once more in another mode */
static int reopen(int fd, int mode)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, mode);
}

FIXTURE_SETUP(pin_fd)
{
	self->page = sysconf(_SC_PAGESIZE);
	self->unit = variant->unit ?: self->page;
	self->fd = -1;
	self->hog = -1;
	self->zram = -1;
	self->map = MAP_FAILED;

	self->test = open(GUP_TEST, O_RDWR);
	if (self->test < 0)
		SKIP(return, "cannot open " GUP_TEST " (CONFIG_GUP_TEST, root): %s",
		     strerror(errno));

	if (variant->backing == HUGETLB) {
		if (!hugetlb_knows(self->unit))
			SKIP(return, "no huge pages of this size on this system");
		self->hugetlb = hugetlb_counts(self->unit);
		if (self->hugetlb.free < self->hugetlb.reserved + variant->nr)
			SKIP(return, "%lu huge pages of %zu MiB free, %u needed",
			     self->hugetlb.free - self->hugetlb.reserved,
			     self->unit / MiB, variant->nr);
	}
	if ((variant->backing == MEMFD || variant->backing == TMPFS) && shmem_is_huge())
		SKIP(return, "for small pages (%s is not never, advise or deny)",
		     SHMEM_ENABLED);
	if (variant->backing == SHMEM_HUGE) {
		self->unit = read_pmd_pagesize();
		if (!self->unit || shmem_enabled_is("[deny]"))
			SKIP(return, "no transparent huge pages");
	}

	self->size = variant->nr * self->unit;
	self->pins = pins();
	self->fd = make_file(variant, self->size);
	if (self->fd < 0 && variant->backing == GUEST_MEMFD)
		SKIP(return, "no guest_memfd with shared memory (CONFIG_KVM)");
	if (self->fd < 0 && variant->backing == SHMEM_HUGE)
		SKIP(return, "no huge pages in tmpfs");
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(pin_fd)
{
	struct hugetlb_counts now;
	char nr[16];

	close(self->test);
	if (self->map != MAP_FAILED)
		munmap(self->map, self->size);
	close(self->fd);
	close(self->hog);
	if (self->swap_on)
		swapoff(self->swap);
	if (self->zram >= 0) {
		snprintf(nr, sizeof(nr), "%d", self->zram);
		write_str("/sys/class/zram-control/hot_remove", nr);
	}

	EXPECT_TRUE(pins_are_back_to(self->pins));
	if (variant->backing == HUGETLB) {
		now = hugetlb_counts(self->unit);
		EXPECT_EQ(now.total, self->hugetlb.total);
		EXPECT_EQ(now.free, self->hugetlb.free);
		EXPECT_EQ(now.reserved, self->hugetlb.reserved);
		EXPECT_EQ(now.surplus, self->hugetlb.surplus);
	}
}

/* Returns the number of bytes pinned, or an error. */
static long start(int test, int fd, uint32_t flags, uint64_t pos, uint64_t size,
		  uint32_t max_ranges, uint32_t *nr_ranges)
{
	struct pin_fd_test_start args = {
		.fd = fd,
		.flags = flags,
		.start = pos,
		.size = size,
		.max_ranges = max_ranges,
	};

	if (ioctl(test, PIN_FD_TEST_START, &args))
		return -errno;
	if (nr_ranges)
		*nr_ranges = args.nr_ranges;
	return args.pinned;
}

static int stop(int test, bool make_dirty)
{
	return ioctl(test, PIN_FD_TEST_STOP, make_dirty);
}

/* Are the ranges what they are documented to be? Returns how many are dirty. */
static uint32_t check_ranges(struct __test_metadata *_metadata, int test, size_t page,
			     uint64_t pos, uint64_t pinned, uint32_t nr)
{
	struct pin_fd_test_range *ranges = calloc(nr, sizeof(*ranges));
	uint64_t addr = (uintptr_t)ranges, sum = 0;
	uint32_t i, dirty = 0;

	ASSERT_NE(ranges, NULL);
	ASSERT_EQ(ioctl(test, PIN_FD_TEST_RANGES, &addr), 0);

	for (i = 0; i < nr; i++) {
		struct pin_fd_test_range *r = &ranges[i];
		uint64_t folio = (uint64_t)page << r->order;
		bool bad = false;

		bad |= !r->len || r->len % page || r->offset % page;
		bad |= r->offset + r->len > folio;
		/* without gaps: all but the last one end with their folio ... */
		bad |= i + 1 < nr && r->offset + r->len != folio;
		/* ... and all but the first one begin with it */
		bad |= i && r->offset;
		/* naturally aligned in the file and in memory */
		bad |= (pos + sum - r->offset) % folio;
		bad |= (r->pfn - r->offset / page) % (folio / page);
		/* as the kernel sees them */
		bad |= !(r->flags & PIN_FD_TEST_RANGE_PINNED);
		bad |= !(r->flags & PIN_FD_TEST_RANGE_UPTODATE);
		bad |= !!(r->flags & PIN_FD_TEST_RANGE_MOVABLE);
		bad |= !!(r->flags & PIN_FD_TEST_RANGE_CMA);
		bad |= !!(r->flags & PIN_FD_TEST_RANGE_HWPOISON);

		ASSERT_FALSE(bad)
			TH_LOG("range %u/%u: pfn %#llx offset %#llx len %#llx order %u flags %#x",
			       i, nr, (unsigned long long)r->pfn,
			       (unsigned long long)r->offset, (unsigned long long)r->len,
			       r->order, r->flags);
		sum += r->len;
		dirty += !!(r->flags & PIN_FD_TEST_RANGE_DIRTY);
	}
	ASSERT_EQ(sum, pinned);
	free(ranges);
	return dirty;
}

/* start() of all that is asked for, and the ranges are checked */
#define pin(flags, pos, size)	__pin(_metadata, self, flags, pos, size)
static long __pin(struct __test_metadata *_metadata, FIXTURE_DATA(pin_fd) * self,
		  uint32_t flags, uint64_t pos, uint64_t size)
{
	long ret;

	ret = start(self->test, self->fd, flags, pos, size, size / self->page,
		    &self->nr_ranges);
	if (ret > 0) {
		self->start = pos;
		self->nr_dirty = check_ranges(_metadata, self->test, self->page,
					      pos, ret, self->nr_ranges);
	}
	return ret;
}

/* Ways to get at the page at @pos in the file */
typedef bool (*io_fn)(FIXTURE_DATA(pin_fd) * self, uint64_t pos, void *buf, bool write);

static bool io_pin(FIXTURE_DATA(pin_fd) * self, uint64_t pos, void *buf, bool write)
{
	struct pin_fd_test_data args = {
		.addr = (uintptr_t)buf,
		.offset = pos - self->start,
		.size = self->page,
	};

	return !ioctl(self->test, write ? PIN_FD_TEST_WRITE : PIN_FD_TEST_READ, &args);
}

static bool io_mmap(FIXTURE_DATA(pin_fd) * self, uint64_t pos, void *buf, bool write)
{
	size_t offset = pos % self->unit;
	char *p;

	p = mmap(NULL, self->unit, write ? PROT_READ | PROT_WRITE : PROT_READ,
		 MAP_SHARED | MAP_NORESERVE, self->fd, pos - offset);
	if (p == MAP_FAILED)
		return false;
	if (write)
		memcpy(p + offset, buf, self->page);
	else
		memcpy(buf, p + offset, self->page);
	munmap(p, self->unit);
	return true;
}

static bool io_syscall(FIXTURE_DATA(pin_fd) * self, uint64_t pos, void *buf, bool write)
{
	ssize_t n = write ? pwrite(self->fd, buf, self->page, pos) :
			    pread(self->fd, buf, self->page, pos);

	return n == (ssize_t)self->page;
}

static uint64_t pattern(uint64_t pos, uint64_t by)
{
	return (pos / sizeof(uint64_t) + 1) * by;
}

static bool put_page(FIXTURE_DATA(pin_fd) * self, io_fn io, uint64_t pos, uint64_t by)
{
	uint64_t buf[self->page / sizeof(uint64_t)];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(buf); i++)
		buf[i] = pattern(pos + i * sizeof(*buf), by);
	return io(self, pos, buf, true);
}

static bool page_is(FIXTURE_DATA(pin_fd) * self, io_fn io, uint64_t pos, uint64_t by)
{
	uint64_t buf[self->page / sizeof(uint64_t)];
	size_t i;

	if (!io(self, pos, buf, false))
		return false;
	for (i = 0; i < ARRAY_SIZE(buf); i++)
		if (buf[i] != pattern(pos + i * sizeof(*buf), by))
			return false;
	return true;
}

/* The first and the last page stand for a unit. */
static bool put_unit(FIXTURE_DATA(pin_fd) * self, io_fn io, unsigned int i, uint64_t by)
{
	return put_page(self, io, i * self->unit, by) &&
	       put_page(self, io, (i + 1) * self->unit - self->page, by);
}

static bool unit_is(FIXTURE_DATA(pin_fd) * self, io_fn io, unsigned int i, uint64_t by)
{
	return page_is(self, io, i * self->unit, by) &&
	       page_is(self, io, (i + 1) * self->unit - self->page, by);
}

static bool put_all(FIXTURE_DATA(pin_fd) * self, io_fn io, uint64_t by)
{
	uint64_t pos;

	for (pos = 0; pos < self->size; pos += self->unit)
		if (!put_unit(self, io, pos / self->unit, by))
			return false;
	return true;
}

static bool all_is(FIXTURE_DATA(pin_fd) * self, io_fn io, uint64_t by)
{
	uint64_t pos;

	for (pos = 0; pos < self->size; pos += self->unit)
		if (!unit_is(self, io, pos / self->unit, by))
			return false;
	return true;
}

static bool populate(FIXTURE_DATA(pin_fd) * self)
{
	return put_all(self, io_mmap, BY_FILE);
}

/* Pages of @p that are in the page cache, or mapped */
static size_t resident(void *p, size_t size, size_t page)
{
	size_t i, nr = size / page, sum = 0;
	unsigned char *vec = malloc(nr);

	if (!vec || mincore(p, size, vec)) {
		free(vec);
		return nr;
	}
	for (i = 0; i < nr; i++)
		sum += vec[i] & 1;
	free(vec);
	return sum;
}

/* How much of the file is no hole, in bytes */
static size_t allocated(const FIXTURE_VARIANT(pin_fd) * variant, int fd)
{
	size_t page = sysconf(_SC_PAGESIZE), sum;
	struct stat st;
	void *p;

	if (fstat(fd, &st))
		return -1;
	if (variant->backing != GUEST_MEMFD)
		return st.st_blocks * 512;

	/* It counts no blocks. */
	p = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -1;
	sum = resident(p, st.st_size, page) * page;
	munmap(p, st.st_size);
	return sum;
}

static bool punch(int fd, uint64_t pos, uint64_t size)
{
	return !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos, size);
}

/* Creates a zram device and swaps to it. Returns what is missing, or NULL. */
static const char *add_swap(FIXTURE_DATA(pin_fd) * self)
{
	union {
		struct {
			char bootbits[1024];
			uint32_t version;
			uint32_t last_page;
			uint32_t nr_badpages;
		};
		char bytes[1];
	} *head;
	char path[64], nr[16] = "";
	ssize_t n;
	int fd;

	/* Reading this file makes a new device and returns its number. */
	fd = open("/sys/class/zram-control/hot_add", O_RDONLY);
	if (fd < 0)
		return "no zram (CONFIG_ZRAM)";
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
	head = calloc(1, self->page);
	if (!head)
		return "no memory";
	head->version = 1;
	head->last_page = SWAP_SIZE / self->page - 1;
	memcpy(head->bytes + self->page - 10, "SWAPSPACE2", 10);
	fd = open(self->swap, O_WRONLY | O_SYNC);
	n = fd < 0 ? -1 : write(fd, head, self->page);
	close(fd);
	free(head);
	if (n != (ssize_t)self->page)
		return "cannot write to the zram device (no devtmpfs?)";

	if (swapon(self->swap, SWAP_FLAG_PREFER | 32767))
		return "swapon() failed (CONFIG_SWAP?)";
	self->swap_on = true;
	return NULL;
}

/* Maps the file and reads every page of it. */
static char *map_and_read(FIXTURE_DATA(pin_fd) * self)
{
	size_t pos;
	char *p;

	p = mmap(NULL, self->size, PROT_READ, MAP_SHARED, self->fd, 0);
	for (pos = 0; p != MAP_FAILED && pos < self->size; pos += self->page)
		FORCE_READ(p[pos]);
	return p;
}

/* Returns how many bytes of the file are still in memory. */
static size_t page_out(FIXTURE_DATA(pin_fd) * self)
{
	size_t left = self->size / self->page;
	char *p;
	int i;

	/* Only what is mapped is paged out. */
	p = map_and_read(self);
	if (p == MAP_FAILED)
		return self->size;
	for (i = 0; i < PAGEOUT_TRIES && left; i++) {
		if (madvise(p, self->size, MADV_PAGEOUT))
			break;
		left = resident(p, self->size, self->page);
	}
	munmap(p, self->size);
	return left * self->page;
}

TEST_F_TIMEOUT(pin_fd, populated, 120)
{
	ASSERT_TRUE(populate(self));

	ASSERT_EQ(pin(0, 0, self->size), self->size);
	EXPECT_TRUE(all_is(self, io_pin, BY_FILE));
	if (self->unit > self->page && variant->backing == HUGETLB)
		EXPECT_EQ(self->nr_ranges, variant->nr);
	if (variant->backing == SHMEM_HUGE && self->nr_ranges != variant->nr)
		SKIP(return, "%u ranges: not all pages are huge", self->nr_ranges);
	/* Without WRITE there is nothing that may be written. */
	EXPECT_FALSE(put_page(self, io_pin, 0, BY_PIN));
	EXPECT_EQ(errno, EACCES);
	EXPECT_EQ(stop(self->test, false), 0);
	EXPECT_TRUE(all_is(self, io_mmap, BY_FILE));
}

TEST_F_TIMEOUT(pin_fd, holes_are_filled_with_zeroes, 120)
{
	unsigned int i;

	for (i = 1; i < variant->nr; i += 2)
		ASSERT_TRUE(put_unit(self, io_mmap, i, BY_FILE));
	ASSERT_EQ(allocated(variant, self->fd), variant->nr / 2 * self->unit);

	ASSERT_EQ(pin(WRITE, 0, self->size), self->size);
	EXPECT_EQ(allocated(variant, self->fd), self->size);
	for (i = 0; i < variant->nr; i++)
		EXPECT_TRUE(unit_is(self, io_pin, i, i % 2 ? BY_FILE : ZEROES));
	EXPECT_EQ(stop(self->test, true), 0);
}

TEST_F_TIMEOUT(pin_fd, noalloc_hole_at_start, 120)
{
	EXPECT_EQ(pin(NOALLOC, 0, self->size), 0);
	EXPECT_EQ(self->nr_ranges, 0);
	EXPECT_EQ(allocated(variant, self->fd), 0);

	ASSERT_TRUE(put_unit(self, io_mmap, 0, BY_FILE));
	EXPECT_EQ(pin(NOALLOC, 0, self->unit), self->unit);
}

TEST_F_TIMEOUT(pin_fd, noalloc_hole_later, 120)
{
	if (variant->nr < 4)
		SKIP(return, "one huge page has no room for a hole");

	ASSERT_TRUE(put_unit(self, io_mmap, 0, BY_FILE));
	ASSERT_TRUE(put_unit(self, io_mmap, 1, BY_FILE));
	ASSERT_TRUE(put_unit(self, io_mmap, 3, BY_FILE));
	ASSERT_EQ(allocated(variant, self->fd), 3 * self->unit);

	EXPECT_EQ(pin(NOALLOC | WRITE, 0, self->size), 2 * self->unit);
	EXPECT_TRUE(unit_is(self, io_pin, 1, BY_FILE));
	EXPECT_EQ(stop(self->test, true), 0);
	EXPECT_EQ(pin(NOALLOC, 2 * self->unit, self->unit), 0);
	EXPECT_EQ(pin(NOALLOC, 3 * self->unit, self->unit), self->unit);
	EXPECT_EQ(stop(self->test, false), 0);
	EXPECT_EQ(allocated(variant, self->fd), 3 * self->unit);
}

TEST_F_TIMEOUT(pin_fd, swapped_out_comes_back, 120)
{
	const char *missing;
	size_t left;

	if (!is_shmem(variant))
		SKIP(return, "cannot be swapped out");
	missing = add_swap(self);
	if (missing)
		SKIP(return, "%s", missing);

	ASSERT_TRUE(populate(self));
	left = page_out(self);
	if (left > self->size / 2)
		SKIP(return, "%zu of %zu bytes are not swapped out", left, self->size);

	/* It is no hole. */
	ASSERT_EQ(pin(NOALLOC, 0, self->size), self->size);
	EXPECT_TRUE(all_is(self, io_pin, BY_FILE));
}

/* What the kernel writes is not lost when memory gets short after unpinning. */
TEST_F_TIMEOUT(pin_fd, written_pages_are_dirty, 120)
{
	const char *missing;
	size_t left;

	if (!is_shmem(variant))
		SKIP(return, "never leaves memory");
	missing = add_swap(self);
	if (missing)
		SKIP(return, "%s", missing);

	ASSERT_EQ(pin(WRITE, 0, self->size), self->size);
	ASSERT_TRUE(put_all(self, io_pin, BY_PIN));
	/* Not while they are pinned either. */
	left = page_out(self);
	ASSERT_EQ(left, self->size);
	ASSERT_EQ(stop(self->test, true), 0);

	left = page_out(self);
	if (left > self->size / 2)
		SKIP(return, "%zu of %zu bytes stay in memory", left, self->size);
	EXPECT_TRUE(all_is(self, io_mmap, BY_PIN));
}

/*
 * Nor if they were clean before, so that unpinning is all that tells of it. A page
 * that was swapped in would not do: it is dirty. A hole that is read gets a clean
 * one, which reclaim drops.
 */
TEST_F_TIMEOUT(pin_fd, clean_pages_get_dirty, 120)
{
	const char *missing;
	size_t left;
	char *p;

	if (!is_shmem(variant))
		SKIP(return, "never leaves memory");
	missing = add_swap(self);
	if (missing)
		SKIP(return, "%s", missing);

	p = map_and_read(self);
	ASSERT_NE(p, MAP_FAILED);
	munmap(p, self->size);
	ASSERT_EQ(allocated(variant, self->fd), self->size);

	ASSERT_EQ(pin(WRITE, 0, self->size), self->size);
	ASSERT_EQ(self->nr_dirty, 0);
	ASSERT_TRUE(put_all(self, io_pin, BY_PIN));
	ASSERT_EQ(stop(self->test, true), 0);

	left = page_out(self);
	if (left > self->size / 2)
		SKIP(return, "%zu of %zu bytes stay in memory", left, self->size);
	EXPECT_TRUE(all_is(self, io_mmap, BY_PIN));
}

/* Leaves pages behind that are not zero, for the next one who asks. */
static void leave_dirt(void)
{
	cpu_set_t cpu;
	pid_t pid;
	char *p;

	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);

	pid = fork();
	if (!pid) {
		p = mmap(NULL, DIRT_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p != MAP_FAILED)
			memset(p, 0x5e, DIRT_SIZE);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

TEST_F_TIMEOUT(pin_fd, fallocated_pages_are_zeroed, 120)
{
	leave_dirt();
	ASSERT_EQ(fallocate(self->fd, FALLOC_FL_KEEP_SIZE, 0, self->size), 0);
	/* mincore() does not count pages that nobody has zeroed yet. */
	if (variant->backing != GUEST_MEMFD)
		ASSERT_EQ(allocated(variant, self->fd), self->size);

	ASSERT_EQ(pin(WRITE | NOALLOC, 0, self->size), self->size);
	EXPECT_TRUE(all_is(self, io_pin, ZEROES));
	/* The file must not zero them again. */
	ASSERT_TRUE(put_all(self, io_pin, BY_PIN));
	EXPECT_TRUE(all_is(self, io_mmap, BY_PIN));
	EXPECT_EQ(stop(self->test, true), 0);
}

TEST_F_TIMEOUT(pin_fd, same_data_as_file, 120)
{
	ASSERT_EQ(pin(WRITE, 0, self->size), self->size);

	ASSERT_TRUE(put_all(self, io_pin, BY_PIN));
	EXPECT_TRUE(all_is(self, io_mmap, BY_PIN));
	/* guest_memfd has no read() */
	if (variant->backing != GUEST_MEMFD)
		EXPECT_TRUE(all_is(self, io_syscall, BY_PIN));

	ASSERT_TRUE(put_all(self, io_mmap, BY_FILE));
	EXPECT_TRUE(all_is(self, io_pin, BY_FILE));
	/* hugetlbfs has no write() */
	if (is_shmem(variant)) {
		ASSERT_TRUE(put_all(self, io_pin, ZEROES));
		ASSERT_TRUE(put_all(self, io_syscall, BY_FILE));
		EXPECT_TRUE(all_is(self, io_pin, BY_FILE));
	}

	EXPECT_EQ(stop(self->test, true), 0);
	EXPECT_TRUE(all_is(self, io_mmap, BY_FILE));
}

TEST_F_TIMEOUT(pin_fd, seal_against_writing, 120)
{
	static const int seals[] = { F_SEAL_WRITE, F_SEAL_FUTURE_WRITE };
	size_t i;

	if (!is_memfd(variant))
		SKIP(return, "cannot be sealed");

	for (i = 0; i < ARRAY_SIZE(seals); i++) {
		close(self->fd);
		self->fd = make_file(variant, self->size);
		ASSERT_GE(self->fd, 0);
		ASSERT_TRUE(put_unit(self, io_mmap, 0, BY_FILE));
		ASSERT_EQ(fcntl(self->fd, F_ADD_SEALS, seals[i]), 0);

		EXPECT_EQ(pin(WRITE, 0, self->unit), -EPERM);
		EXPECT_EQ(pin(WRITE | NOALLOC, 0, self->unit), -EPERM);
		EXPECT_EQ(pin(0, 0, self->unit), self->unit);
		EXPECT_TRUE(unit_is(self, io_pin, 0, BY_FILE));
		EXPECT_EQ(stop(self->test, false), 0);
	}
}

TEST_F_TIMEOUT(pin_fd, no_seal_while_pinned, 120)
{
	if (!is_memfd(variant))
		SKIP(return, "cannot be sealed");

	ASSERT_EQ(pin(WRITE, 0, self->unit), self->unit);
	EXPECT_EQ(fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	EXPECT_EQ(errno, EBUSY);
	EXPECT_EQ(stop(self->test, true), 0);
	EXPECT_EQ(fcntl(self->fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	EXPECT_EQ(pin(WRITE, 0, self->unit), -EPERM);
}

TEST_F_TIMEOUT(pin_fd, seal_against_shrinking, 120)
{
	/* It cannot be truncated. */
	if (variant->backing == GUEST_MEMFD) {
		EXPECT_EQ(pin(NOSHRINK, 0, self->unit), self->unit);
		return;
	}

	EXPECT_EQ(pin(NOSHRINK, 0, self->unit), -EINVAL);
	EXPECT_EQ(pin(NOSHRINK | WRITE, 0, self->unit), -EINVAL);
	EXPECT_EQ(allocated(variant, self->fd), 0);
	if (!is_memfd(variant))
		return;

	ASSERT_EQ(fcntl(self->fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	EXPECT_EQ(pin(NOSHRINK, 0, self->unit), -EINVAL);
	ASSERT_EQ(fcntl(self->fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	EXPECT_EQ(pin(NOSHRINK | WRITE, 0, self->unit), self->unit);
	EXPECT_EQ(stop(self->test, true), 0);
}

TEST_F_TIMEOUT(pin_fd, access_mode, 120)
{
	int ro, wo;

	ro = reopen(self->fd, O_RDONLY);
	if (ro < 0)
		SKIP(return, "cannot be opened again: %s", strerror(errno));
	wo = reopen(self->fd, O_WRONLY);
	ASSERT_GE(wo, 0);
	close(self->fd);

	self->fd = wo;
	EXPECT_EQ(pin(0, 0, self->unit), -EACCES);
	EXPECT_EQ(pin(WRITE, 0, self->unit), -EACCES);

	self->fd = ro;
	EXPECT_EQ(pin(WRITE, 0, self->unit), -EACCES);
	EXPECT_EQ(allocated(variant, ro), 0);
	EXPECT_EQ(pin(0, 0, self->unit), self->unit);
	close(wo);
}

/* IS_SWAPFILE is not tested: nothing that can be pinned can be swapped to. */
TEST_F_TIMEOUT(pin_fd, append_only, 120)
{
	int flags;

	if (!is_shmem(variant))
		SKIP(return, "has no append-only files");
	if (ioctl(self->fd, FS_IOC_GETFLAGS, &flags))
		SKIP(return, "has no inode flags (CONFIG_TMPFS_XATTR): %s", strerror(errno));

	flags |= FS_APPEND_FL;
	ASSERT_EQ(ioctl(self->fd, FS_IOC_SETFLAGS, &flags), 0);
	EXPECT_EQ(pin(WRITE, 0, self->unit), -EACCES);
	EXPECT_EQ(pin(0, 0, self->unit), self->unit);
	EXPECT_EQ(stop(self->test, false), 0);

	flags &= ~FS_APPEND_FL;
	ASSERT_EQ(ioctl(self->fd, FS_IOC_SETFLAGS, &flags), 0);
	EXPECT_EQ(pin(WRITE, 0, self->unit), self->unit);
}

TEST_F_TIMEOUT(pin_fd, past_the_end, 120)
{
	EXPECT_EQ(pin(0, self->size, self->page), -EINVAL);
	EXPECT_EQ(pin(0, self->size - self->page, 2 * self->page), -EINVAL);
	EXPECT_EQ(pin(NOALLOC, self->size - self->page, 2 * self->page), -EINVAL);
	EXPECT_EQ(allocated(variant, self->fd), 0);

	ASSERT_TRUE(populate(self));
	EXPECT_EQ(pin(0, 0, self->size + self->page), -EINVAL);
	EXPECT_EQ(pin(0, self->size - self->page, self->page), self->page);
	EXPECT_EQ(stop(self->test, false), 0);

	if (variant->backing == GUEST_MEMFD)
		return;
	ASSERT_EQ(ftruncate(self->fd, 0), 0);
	EXPECT_EQ(pin(0, 0, self->page), -EINVAL);
}

TEST_F_TIMEOUT(pin_fd, partial_last_page, 120)
{
	const size_t size = 3 * self->page + 100;
	char buf[self->page];
	size_t i, bad = 0;

	if (!is_shmem(variant))
		SKIP(return, "always ends with a page");

	ASSERT_EQ(ftruncate(self->fd, size), 0);
	memset(buf, 'x', 100);
	ASSERT_EQ(pwrite(self->fd, buf, 100, 3 * self->page), 100);

	EXPECT_EQ(pin(0, 0, 5 * self->page), -EINVAL);
	EXPECT_EQ(pin(0, 4 * self->page, self->page), -EINVAL);
	ASSERT_EQ(pin(0, 0, 4 * self->page), 4 * self->page);
	ASSERT_TRUE(io_pin(self, 3 * self->page, buf, false));
	for (i = 0; i < self->page; i++)
		bad += buf[i] != (i < 100 ? 'x' : 0);
	EXPECT_EQ(bad, 0);
	EXPECT_EQ(stop(self->test, false), 0);

	/* F_SEAL_SHRINK changes nothing about it. */
	if (variant->backing == MEMFD) {
		ASSERT_EQ(fcntl(self->fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
		EXPECT_EQ(pin(NOSHRINK, 0, 4 * self->page), 4 * self->page);
	}
}

TEST_F_TIMEOUT(pin_fd, arguments, 120)
{
	const uint64_t size = self->size, page = self->page;
	const uint64_t huge = INT64_MAX & ~(page - 1);

	EXPECT_EQ(start(self->test, self->fd, 0, 0, 0, 1, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, 0, 0, size, 0, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, 0, 1, page, 1, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, 0, page / 2, page, 1, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, 0, 0, page - 1, 1, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, 0, 0, 1, 1, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, 0x8, 0, page, 1, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, WRITE | 1U << 31, 0, page, 1, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, 0, 1ULL << 63, page, 1, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, 0, -page, page, 1, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, 0, page, huge, 1, NULL), -EINVAL);
	EXPECT_EQ(start(self->test, self->fd, 0, page, -page, 1, NULL), -EINVAL);
	EXPECT_EQ(allocated(variant, self->fd), 0);
}

/* Page numbers, and numbers of pages, that do not fit into 32 bits */
TEST_F_TIMEOUT(pin_fd, beyond_32_bits, 120)
{
	const uint64_t far = (uint64_t)self->page << 33;
	const uint64_t many = ((uint64_t)self->page << 32) + self->page;
	const uint32_t nr = variant->nr < 4 ? variant->nr : 4;
	long ret;

	if (2 * far > SIZE_MAX)
		SKIP(return, "no file is that large");
	close(self->fd);
	self->fd = make_file(variant, 2 * far);
	ASSERT_GE(self->fd, 0);

	ASSERT_EQ(pin(WRITE, far, self->unit), self->unit);
	ASSERT_TRUE(put_page(self, io_pin, far, BY_PIN));
	EXPECT_TRUE(page_is(self, io_mmap, far, BY_PIN));
	EXPECT_EQ(stop(self->test, true), 0);
	EXPECT_TRUE(page_is(self, io_mmap, far, BY_PIN));
	/* Nothing is where the lower 32 bits lead. */
	EXPECT_EQ(pin(NOALLOC, 0, self->unit), 0);

	/* The lower 32 bits of this number are 1. */
	ASSERT_TRUE(punch(self->fd, far, self->unit));
	ret = start(self->test, self->fd, WRITE, 0, many, nr, &self->nr_ranges);
	ASSERT_GT(ret, (long)self->page);
	EXPECT_EQ(self->nr_ranges, nr);
	check_ranges(_metadata, self->test, self->page, 0, ret, self->nr_ranges);
	EXPECT_EQ(stop(self->test, true), 0);
}

/* A few pages out of a huge one */
TEST_F_TIMEOUT(pin_fd, part_of_a_folio, 120)
{
	uint64_t pos = self->unit - 3 * self->page;

	if (self->unit == self->page)
		SKIP(return, "a page is the smallest part");

	ASSERT_TRUE(put_page(self, io_mmap, pos, BY_FILE));
	ASSERT_EQ(pin(WRITE, pos, 2 * self->page), 2 * self->page);
	EXPECT_TRUE(page_is(self, io_pin, pos, BY_FILE));
	EXPECT_TRUE(put_page(self, io_pin, pos + self->page, BY_PIN));
	/* There is no third one. */
	EXPECT_FALSE(put_page(self, io_pin, pos + 2 * self->page, BY_PIN));
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(stop(self->test, true), 0);
	EXPECT_TRUE(page_is(self, io_mmap, pos, BY_FILE));
	EXPECT_TRUE(page_is(self, io_mmap, pos + self->page, BY_PIN));
	EXPECT_TRUE(page_is(self, io_mmap, pos + 2 * self->page, ZEROES));

	/* over the edge of two */
	if (variant->nr > 1) {
		ASSERT_EQ(pin(0, pos, 6 * self->page), 6 * self->page);
		EXPECT_TRUE(page_is(self, io_pin, pos + self->page, BY_PIN));
		EXPECT_TRUE(page_is(self, io_pin, pos + 5 * self->page, ZEROES));
	}
}

TEST_F_TIMEOUT(pin_fd, go_on_when_ranges_are_full, 120)
{
	int tests[variant->nr], test;
	unsigned int calls = 0;
	uint32_t nr = 0;
	uint64_t pos;
	long ret;

	ASSERT_TRUE(populate(self));
	for (pos = 0; pos < self->size; pos += ret) {
		test = open(GUP_TEST, O_RDWR);
		ASSERT_GE(test, 0);
		tests[calls++] = test;
		ret = start(test, self->fd, 0, pos, self->size - pos, 3, &nr);
		ASSERT_GT(ret, 0);
		if (pos + ret < self->size)
			ASSERT_EQ(nr, 3);
		check_ranges(_metadata, test, self->page, pos, ret, nr);
	}
	EXPECT_EQ(pos, self->size);

	/* All of it is pinned a second time, by a caller of its own. */
	ASSERT_EQ(pin(0, 0, self->size), self->size);
	EXPECT_TRUE(all_is(self, io_pin, BY_FILE));
	EXPECT_EQ(stop(self->test, false), 0);

	/* Closing it gives back what is pinned, as the end of a process does. */
	while (calls--)
		close(tests[calls]);
}

TEST_F_TIMEOUT(pin_fd, punched_while_pinned, 120)
{
	unsigned long free = 0;
	unsigned int i;

	ASSERT_EQ(pin(WRITE, 0, self->size), self->size);
	ASSERT_TRUE(put_all(self, io_pin, BY_PIN));
	if (variant->backing == HUGETLB)
		free = hugetlb_free_pages(self->unit);

	ASSERT_TRUE(punch(self->fd, 0, self->unit));
	EXPECT_EQ(allocated(variant, self->fd), self->size - self->unit);
	/* The file has forgotten the page, the pin has not. */
	EXPECT_TRUE(all_is(self, io_pin, BY_PIN));
	EXPECT_EQ(pin(NOALLOC, 0, self->unit), -EEXIST);

	if (variant->backing == HUGETLB) {
		EXPECT_EQ(hugetlb_free_pages(self->unit), free);
		EXPECT_EQ(stop(self->test, true), 0);
		EXPECT_EQ(hugetlb_free_pages(self->unit), free + 1);
	}
	EXPECT_EQ(stop(self->test, true), 0);
	EXPECT_EQ(pin(NOALLOC, 0, self->unit), 0);

	EXPECT_TRUE(unit_is(self, io_mmap, 0, ZEROES));
	for (i = 1; i < variant->nr; i++)
		EXPECT_TRUE(unit_is(self, io_mmap, i, BY_PIN));
}

/* A hole that is mapped has its huge page reserved: that one is taken. */
TEST_F_TIMEOUT(pin_fd, reserved_holes_are_filled, 120)
{
	struct hugetlb_counts now;

	if (variant->backing != HUGETLB)
		SKIP(return, "for hugetlbfs");

	self->map = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	ASSERT_NE(self->map, MAP_FAILED);
	now = hugetlb_counts(self->unit);
	ASSERT_EQ(now.reserved, self->hugetlb.reserved + variant->nr);
	ASSERT_EQ(now.free, self->hugetlb.free);

	ASSERT_EQ(pin(WRITE, 0, self->size), self->size);
	now = hugetlb_counts(self->unit);
	EXPECT_EQ(now.reserved, self->hugetlb.reserved);
	EXPECT_EQ(now.free, self->hugetlb.free - variant->nr);
	EXPECT_EQ(stop(self->test, true), 0);
}

/* A file is pinned while others, a thread for each, do something else to it. */
struct race {
	FIXTURE_DATA(pin_fd) * self;
	pthread_barrier_t barrier;
	unsigned int rounds;
	int fd;
	long refusal;		/* what the pin gets if it comes second */
	unsigned int won;	/* rounds in which it came first ... */
	unsigned int lost;	/* ... and second ... */
	unsigned int busy;	/* ... and in which a page left the file each time */
	bool may_be_busy;
	long delay;		/* of the others, or of the pin if it is negative */
	long step;
	bool was_first;
};

struct racer {
	void (*act)(struct race *race);
	struct race *race;
	pthread_t thread;
};

static void spin(long turns)
{
	for (; turns > 0; turns--)
		FORCE_READ(turns);
}

static void *run_racer(void *arg)
{
	struct racer *racer = arg;
	struct race *race = racer->race;
	unsigned int i;

	for (i = 0; i < race->rounds; i++) {
		pthread_barrier_wait(&race->barrier);
		racer->act(race);
		pthread_barrier_wait(&race->barrier);
	}
	return NULL;
}

static void begin_race(struct __test_metadata *_metadata, struct race *race,
		       struct racer *racers, unsigned int nr)
{
	unsigned int i;

	race->step = 1;
	ASSERT_EQ(pthread_barrier_init(&race->barrier, NULL, nr + 1), 0);
	for (i = 0; i < nr; i++) {
		racers[i].race = race;
		ASSERT_EQ(pthread_create(&racers[i].thread, NULL, run_racer, &racers[i]), 0);
	}
}

/* One round. Returns whether the pin came first. */
static bool pin_in_race(struct race *race, uint32_t *nr_ranges)
{
	const size_t size = race->self->size;
	bool first;
	long ret;

	pthread_barrier_wait(&race->barrier);
	spin(-race->delay);
	ret = start(race->self->test, race->fd, WRITE, 0, size, size / race->self->page,
		    nr_ranges);
	pthread_barrier_wait(&race->barrier);

	first = ret == (long)size;
	race->won += first;
	race->lost += ret == race->refusal;
	race->busy += ret == -EBUSY && race->may_be_busy;
	/* Who came first waits longer: so it is close, and both happens. */
	race->step = first == race->was_first && race->step < MAX_DELAY ?
		     2 * race->step : 64;
	race->was_first = first;
	race->delay += first ? -race->step : race->step;
	if (labs(race->delay) > MAX_DELAY)
		race->delay = 0;
	return first;
}

static void end_race(struct __test_metadata *_metadata, struct race *race,
		     struct racer *racers, unsigned int nr)
{
	while (nr--)
		pthread_join(racers[nr].thread, NULL);
	pthread_barrier_destroy(&race->barrier);

	TH_LOG("%u rounds: %u pinned, %u refused, %u busy", race->rounds, race->won,
	       race->lost, race->busy);
	EXPECT_EQ(race->won + race->lost + race->busy, race->rounds);
	/* A few rounds may all end in the same way. */
	if (race->rounds >= 100) {
		EXPECT_GT(race->won, 0);
		EXPECT_GT(race->lost, 0);
	}
}

static void truncate_all(struct race *race)
{
	spin(race->delay);
	if (ftruncate(race->fd, 0))
		abort();
}

TEST_F_TIMEOUT(pin_fd, truncated_while_pinning, 300)
{
	struct race race = {
		.self = self,
		.rounds = variant->rounds,
		.fd = self->fd,
		.refusal = -EINVAL,
	};
	struct racer racer = { .act = truncate_all };
	unsigned int i, past = 0;
	uint32_t nr = 0;
	bool first;

	if (!variant->rounds)
		SKIP(return, "cannot be truncated");

	begin_race(_metadata, &race, &racer, 1);
	for (i = 0; i < race.rounds; i++) {
		if (ftruncate(self->fd, self->size))
			abort();
		first = pin_in_race(&race, &nr);
		/* The file is empty: what it has is past its end. */
		past += allocated(variant, self->fd) != 0;
		/*
		 * What was pinned still is; all pins are counted in the end.
		 * A hugetlb page that leaves its file is not uptodate any more.
		 */
		if (first && variant->backing != HUGETLB)
			check_ranges(_metadata, self->test, self->page, 0, self->size, nr);
		stop(self->test, true);
	}
	end_race(_metadata, &race, &racer, 1);
	EXPECT_EQ(past, 0);
}

/* Whether it was added is looked up. */
static void add_seal(struct race *race)
{
	spin(race->delay);
	fcntl(race->fd, F_ADD_SEALS, F_SEAL_WRITE);
}

static void page_out_twice(struct race *race)
{
	page_out(race->self);
	page_out(race->self);
}

/* A file is pinned for writing, or it is sealed against that. */
static void race_for_seal(struct __test_metadata *_metadata, FIXTURE_DATA(pin_fd) * self,
			  const FIXTURE_VARIANT(pin_fd) * variant, bool paged_out)
{
	struct race race = {
		.self = self,
		.rounds = variant->rounds < SEAL_ROUNDS ? variant->rounds : SEAL_ROUNDS,
		.refusal = -EPERM,
		.may_be_busy = paged_out,
	};
	struct racer racers[] = {
		{ .act = add_seal },
		{ .act = page_out_twice },
	};
	const unsigned int nr = paged_out ? 2 : 1;
	unsigned int i, both = 0, neither = 0;
	bool pinned, sealed;

	begin_race(_metadata, &race, racers, nr);
	for (i = 0; i < race.rounds; i++) {
		close(self->fd);
		self->fd = make_file(variant, self->size);
		race.fd = self->fd;
		ASSERT_GE(race.fd, 0);
		/* What is mapped and could be written cannot be sealed. */
		if (paged_out) {
			ASSERT_TRUE(populate(self));
			self->fd = reopen(race.fd, O_RDONLY);
			ASSERT_GE(self->fd, 0);
		}

		pinned = pin_in_race(&race, NULL);
		sealed = fcntl(race.fd, F_GET_SEALS) & F_SEAL_WRITE;
		both += pinned && sealed;
		neither += !pinned && !sealed;
		stop(self->test, true);
		if (paged_out)
			close(race.fd);
	}
	end_race(_metadata, &race, racers, nr);
	EXPECT_EQ(both, 0);
	EXPECT_LE(neither, race.busy);
}

TEST_F_TIMEOUT(pin_fd, sealed_while_pinning, 300)
{
	if (!is_memfd(variant))
		SKIP(return, "cannot be sealed");
	race_for_seal(_metadata, self, variant, false);
}

/* The seal looks for pins in the file; reclaim takes pages away from there. */
TEST_F_TIMEOUT(pin_fd, sealed_while_paged_out, 300)
{
	const char *missing;
	size_t left;

	if (variant->backing != MEMFD)
		SKIP(return, "cannot be both sealed and swapped out");
	missing = add_swap(self);
	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_TRUE(populate(self));
	left = page_out(self);
	if (left > self->size / 2)
		SKIP(return, "%zu of %zu bytes are not swapped out", left, self->size);

	race_for_seal(_metadata, self, variant, true);
}

/* Waits until the child has begun to fill the file. Or has it ended before that? */
static bool child_ended(const FIXTURE_VARIANT(pin_fd) * variant, int fd, pid_t pid,
			int *status)
{
	while (!allocated(variant, fd)) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		sched_yield();
	}
	return false;
}

/* A hole gets no page of the pool that would have to move. */
static bool lacks_huge_pages(const FIXTURE_VARIANT(pin_fd) * variant, int status)
{
	return variant->backing == HUGETLB && WIFEXITED(status) &&
	       WEXITSTATUS(status) == ENOSPC;
}

TEST_F_TIMEOUT(pin_fd, killed, 120)
{
	size_t size = KILL_SIZE, done;
	int i, fd, status;
	long pinned;
	pid_t pid;

	if (variant->backing == HUGETLB) {
		size = KILL_HUGE_PAGES * self->unit;
		if (self->hugetlb.free < self->hugetlb.reserved + KILL_HUGE_PAGES)
			SKIP(return, "not enough huge pages");
	}

	/* The child may be done, or out of memory, before it is killed. */
	done = size;
	for (i = 0; i < KILL_TRIES; i++) {
		fd = make_file(variant, size);
		ASSERT_GE(fd, 0);
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			pinned = start(self->test, fd, WRITE, 0, size,
				       size / self->page, NULL);
			if (pinned < 0)
				_exit(-pinned);
			pause();
		}
		if (!child_ended(variant, fd, pid, &status)) {
			kill(pid, SIGKILL);
			ASSERT_EQ(waitpid(pid, &status, 0), pid);
		}

		done = WIFSIGNALED(status) ? allocated(variant, fd) : size;
		/* It was too late; GUP_TEST is ours, too. */
		if (done == size)
			stop(self->test, true);
		close(fd);
		if (done < size)
			break;
	}
	if (done == size && lacks_huge_pages(variant, status))
		SKIP(return, "not enough huge pages that can be pinned");
	TH_LOG("killed in try %d after %zu of %zu KiB", i + 1, done / KiB, size / KiB);
	EXPECT_LT(done, size);
	/* Nothing was left pinned. */
	EXPECT_EQ(pin(WRITE, 0, self->unit), self->unit);
}

static sig_atomic_t nr_signals;

static void count_signal(int signal)
{
	__atomic_fetch_add(&nr_signals, 1, __ATOMIC_RELAXED);
}

/* Only a fatal signal ends it. */
TEST_F_TIMEOUT(pin_fd, not_ended_by_a_signal, 120)
{
	const struct sigaction action = { .sa_handler = count_signal };
	long size = KILL_SIZE, done, pinned;
	int i, fd, status;
	pid_t pid;

	if (variant->backing == HUGETLB) {
		size = KILL_HUGE_PAGES * self->unit;
		if (self->hugetlb.free < self->hugetlb.reserved + KILL_HUGE_PAGES)
			SKIP(return, "not enough huge pages");
	}

	/* The handler runs when the call returns. It is inherited. */
	ASSERT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
	done = size;
	for (i = 0; i < KILL_TRIES && done == size; i++) {
		fd = make_file(variant, size);
		ASSERT_GE(fd, 0);
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			pinned = start(self->test, fd, WRITE, 0, size,
				       size / self->page, NULL);
			while (pinned == size &&
			       !__atomic_load_n(&nr_signals, __ATOMIC_RELAXED))
				sched_yield();
			_exit(pinned < 0 ? -pinned : pinned < size);
		}
		if (!child_ended(variant, fd, pid, &status)) {
			kill(pid, SIGUSR1);
			/* It was in the middle if there are holes left. */
			done = allocated(variant, fd);
			ASSERT_EQ(waitpid(pid, &status, 0), pid);
		}
		if (lacks_huge_pages(variant, status)) {
			close(fd);
			SKIP(return, "not enough huge pages that can be pinned");
		}
		ASSERT_EQ(status, 0);
		ASSERT_EQ(allocated(variant, fd), size);
		ASSERT_EQ(stop(self->test, true), 0);
		close(fd);
	}
	TH_LOG("signal in try %d after %lu of %lu KiB", i, done / KiB, size / KiB);
	EXPECT_LT(done, size);
}

TEST_F_TIMEOUT(pin_fd, poisoned, 120)
{
	struct pin_fd_test_range range;
	uint64_t addr = (uintptr_t)&range;
	uint64_t last = self->size - self->page;
	size_t good;
	pid_t pid;

	if (access(UNPOISON, W_OK))
		SKIP(return, "cannot undo it (CONFIG_HWPOISON_INJECT)");

	ASSERT_TRUE(populate(self));
	ASSERT_EQ(pin(0, last, self->page), self->page);
	ASSERT_EQ(ioctl(self->test, PIN_FD_TEST_RANGES, &addr), 0);
	ASSERT_EQ(stop(self->test, false), 0);

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		char *p = mmap(NULL, self->unit, PROT_READ | PROT_WRITE, MAP_SHARED,
			       self->fd, self->size - self->unit);

		if (p == MAP_FAILED)
			_exit(1);
		p += self->unit - self->page;
		FORCE_READ(*p);
		/* May well kill us. */
		_exit(madvise(p, self->page, MADV_HWPOISON) ? errno : 0);
	}
	ASSERT_EQ(waitpid(pid, NULL, 0), pid);

	/* All of a hugetlb page is lost. */
	good = self->size - (variant->backing == HUGETLB ? self->unit : self->page);
	EXPECT_EQ(pin(0, 0, self->size), -EHWPOISON);
	EXPECT_EQ(pin(WRITE | NOALLOC, last, self->page), -EHWPOISON);
	EXPECT_EQ(pin(0, good, self->size - good), -EHWPOISON);
	if (good) {
		EXPECT_EQ(pin(WRITE, 0, good), good);
		EXPECT_TRUE(unit_is(self, io_pin, 0, BY_FILE));
		EXPECT_EQ(stop(self->test, true), 0);
	}

	close(self->fd);
	self->fd = -1;
	/* hugetlb keeps book in the first page. */
	if (variant->backing == HUGETLB)
		range.pfn -= range.offset / self->page;
	EXPECT_EQ(unpoison_memory(range.pfn), 0);
}

/* ZONE_MOVABLE of all nodes: is @pfn in it? */
static bool in_zone_movable(unsigned long pfn)
{
	unsigned long spanned = 0, begin;
	bool movable = false, found = false;
	char line[256], zone[16];
	FILE *f;

	f = fopen("/proc/zoneinfo", "r");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Node %*d, zone %15s", zone) == 1)
			movable = !strcmp(zone, "Movable");
		if (!movable)
			continue;
		if (sscanf(line, " spanned %lu", &spanned) == 1)
			continue;
		if (sscanf(line, " start_pfn: %lu", &begin) == 1)
			found |= pfn >= begin && pfn - begin < spanned;
	}
	fclose(f);
	return found;
}

/*
 * Maps and populates the file. The pool may have huge pages inside and outside of
 * ZONE_MOVABLE; holes that are pinned take those outside, and are kept here. Are
 * there enough others for the file?
 */
static bool populate_in_zone_movable(FIXTURE_DATA(pin_fd) * self,
				     const FIXTURE_VARIANT(pin_fd) * variant)
{
	uint64_t pos = 0;

	if (variant->backing == HUGETLB) {
		self->hog = make_file(variant, self->hugetlb.free * self->unit);
		while (start(self->test, self->hog, 0, pos, self->unit, 1, NULL) > 0) {
			stop(self->test, false);
			pos += self->unit;
		}
		if (hugetlb_free_pages(self->unit) < variant->nr)
			return false;
	}
	if (!populate(self))
		return false;
	self->map = mmap(NULL, self->size, PROT_READ, MAP_SHARED, self->fd, 0);
	return self->map != MAP_FAILED;
}

static void free_hog(FIXTURE_DATA(pin_fd) * self)
{
	close(self->hog);
	self->hog = -1;
}

/* The number of units that begin in ZONE_MOVABLE; all are mapped then. */
static unsigned int movable_units(FIXTURE_DATA(pin_fd) * self)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	unsigned int nr = 0;
	char *p = self->map;
	size_t pos;

	if (pagemap < 0)
		return 0;
	for (pos = 0; pos < self->size; pos += self->unit) {
		FORCE_READ(p[pos]);
		nr += in_zone_movable(pagemap_get_pfn(pagemap, p + pos));
	}
	close(pagemap);
	return nr;
}

TEST_F_TIMEOUT(pin_fd, leaves_zone_movable, 120)
{
	unsigned int before = 0, after;

	if (populate_in_zone_movable(self, variant))
		before = movable_units(self);
	if (!before)
		SKIP(return, "none of its pages is in ZONE_MOVABLE (boot with movablecore=)");

	/* Nobody makes gigantic pages for it to go to. */
	if (variant->unit == GiB) {
		EXPECT_EQ(pin(WRITE, 0, self->size), -ENOMEM);
		EXPECT_EQ(movable_units(self), before);
	}
	free_hog(self);

	ASSERT_EQ(pin(WRITE, 0, self->size), self->size);
	after = movable_units(self);
	TH_LOG("%u of %u pages had to leave", before, variant->nr);
	EXPECT_EQ(after, 0);
	EXPECT_TRUE(all_is(self, io_pin, BY_FILE));
	EXPECT_TRUE(all_is(self, io_mmap, BY_FILE));
	EXPECT_EQ(stop(self->test, true), 0);
}

TEST_F_TIMEOUT(pin_fd, cannot_leave_zone_movable, 120)
{
	struct iovec iov;
	int pipefd[2];
	long pinned;

	if (!populate_in_zone_movable(self, variant) ||
	    movable_units(self) != variant->nr)
		SKIP(return, "not all of its pages are in ZONE_MOVABLE (boot with movablecore=)");
	free_hog(self);

	/* The pipe holds a reference to the last page. */
	ASSERT_EQ(pipe(pipefd), 0);
	iov.iov_base = self->map + self->size - self->page;
	iov.iov_len = self->page;
	ASSERT_EQ(vmsplice(pipefd[1], &iov, 1, 0), self->page);

	/* The others stay pinned while it is tried again. */
	pinned = read_vmstat("nr_foll_pin_acquired", "");
	EXPECT_EQ(pin(0, 0, self->size), -EBUSY);
	pinned = read_vmstat("nr_foll_pin_acquired", "") - pinned;
	EXPECT_EQ(pin(WRITE | NOALLOC, self->size - self->page, self->page), -EBUSY);

	close(pipefd[0]);
	close(pipefd[1]);
	EXPECT_EQ(pin(0, 0, self->size), self->size);
	EXPECT_LE(pinned, (long)self->nr_ranges);
	EXPECT_TRUE(all_is(self, io_pin, BY_FILE));
}

TEST_F_TIMEOUT(pin_fd, leaves_cma, 120)
{
	const long size = 16 * MiB, pages = size / self->page;
	long free_cma, taken;

	if (variant->backing != MEMFD)
		SKIP(return, "tested with a memfd only");
	free_cma = read_vmstat("nr_free_cma", "");
	if (free_cma < pages)
		SKIP(return, "no CMA area of this size (boot with cma=)");

	ASSERT_EQ(ftruncate(self->fd, size), 0);
	self->size = size;
	ASSERT_TRUE(populate(self));
	taken = free_cma - read_vmstat("nr_free_cma", "");
	if (taken < pages / 2)
		SKIP(return, "not enough of it is in CMA (boot with a larger cma=)");

	/* pin() looks whether one is. */
	ASSERT_EQ(pin(WRITE, 0, size), size);
	TH_LOG("nr_free_cma had fallen by %ld, for %ld pages", taken, pages);
	EXPECT_TRUE(all_is(self, io_pin, BY_FILE));
	EXPECT_TRUE(all_is(self, io_mmap, BY_FILE));
	EXPECT_EQ(stop(self->test, true), 0);
}

TEST_F_TIMEOUT(pin_fd, no_huge_page_left, 120)
{
	size_t free, size;
	int fd;

	if (variant->backing != HUGETLB)
		SKIP(return, "for hugetlbfs");
	free = self->hugetlb.free - self->hugetlb.reserved;
	if (free * self->unit > 4 * GiB)
		SKIP(return, "there are too many of them");
	if (hugetlb_count(self->unit, "nr_overcommit_hugepages"))
		SKIP(return, "more can be had than the pool has");

	size = (free + 1) * self->unit;
	fd = make_file(variant, size);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(start(self->test, fd, WRITE, 0, size, free + 1, NULL), -ENOSPC);
	/*
	 * What was filled stays filled, and is not pinned. Huge pages in
	 * ZONE_MOVABLE are no use for what is to be pinned.
	 */
	size = allocated(variant, fd);
	EXPECT_LE(size, free * self->unit);
	if (size) {
		ASSERT_TRUE(punch(fd, 0, size));
		EXPECT_EQ(start(self->test, fd, WRITE, 0, size, free, NULL), size);
		EXPECT_EQ(stop(self->test, true), 0);
	}
	close(fd);
}

TEST_F_TIMEOUT(pin_fd, no_space_left, 120)
{
	char options[64];

	if (variant->backing == TMPFS)
		snprintf(options, sizeof(options), "size=%zu", 16 * self->page);
	else if (variant->backing == HUGETLB)
		snprintf(options, sizeof(options), "size=%zu,pagesize=%zuK", self->unit,
			 self->unit / KiB);
	else
		SKIP(return, "for file systems with a size");

	close(self->fd);
	self->fd = open_on(variant->backing == TMPFS ? "tmpfs" : "hugetlbfs", options);
	if (self->fd < 0)
		SKIP(return, "cannot mount it: %s", strerror(errno));
	ASSERT_EQ(ftruncate(self->fd, 17 * self->unit), 0);

	EXPECT_EQ(pin(WRITE, 0, 17 * self->unit), -ENOSPC);
	EXPECT_EQ(pin(WRITE, 0, self->unit), self->unit);
}

/* Who has this one may exceed every quota. */
static int drop_sys_resource(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

	if (syscall(__NR_capget, &head, caps))
		return -1;
	caps[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective &= ~CAP_TO_MASK(CAP_SYS_RESOURCE);
	return syscall(__NR_capset, &head, caps);
}

TEST_F_TIMEOUT(pin_fd, no_quota_left, 120)
{
	const size_t limit = 16 * self->page;
	char options[96];

	if (variant->backing != TMPFS && variant->backing != SHMEM_HUGE)
		SKIP(return, "for file systems with a quota");

	snprintf(options, sizeof(options), "huge=%s,usrquota,usrquota_block_hardlimit=%zu",
		 variant->backing == TMPFS ? "never" : "always", limit);
	close(self->fd);
	self->fd = open_on("tmpfs", options);
	if (self->fd < 0)
		SKIP(return, "no quota in tmpfs (CONFIG_TMPFS_QUOTA): %s", strerror(errno));
	ASSERT_EQ(ftruncate(self->fd, limit + self->page), 0);
	ASSERT_EQ(drop_sys_resource(), 0);

	EXPECT_EQ(pin(WRITE, 0, limit + self->page), -EDQUOT);
	EXPECT_EQ(pin(WRITE, 0, limit), limit);
	EXPECT_EQ(allocated(variant, self->fd), limit);
}

/* Is the node in the file's list, such as "0-2,4"? */
static bool lists_node(const char *path, unsigned int nid)
{
	unsigned int first, last;
	char line[256], *item;
	bool found = false;
	FILE *f;
	int nr;

	f = fopen(path, "r");
	if (!f)
		return false;
	item = fgets(line, sizeof(line), f) ? strtok(line, ",") : NULL;
	for (; item; item = strtok(NULL, ",")) {
		nr = sscanf(item, "%u-%u", &first, &last);
		found |= nr == 1 && nid == first;
		found |= nr == 2 && nid >= first && nid <= last;
	}
	fclose(f);
	return found;
}

/* Does the cpuset let us use the node? */
static bool node_is_allowed(unsigned int nid)
{
	/* Room for all nodes that a kernel can have; we look at the first ones. */
	unsigned long mask[1024 / (8 * sizeof(long))] = {};

	return !syscall(__NR_get_mempolicy, NULL, mask, 8 * sizeof(mask), NULL,
			MPOL_F_MEMS_ALLOWED) && (mask[0] >> nid & 1);
}

/* Can the file get what can be pinned, and enough of it, from this node? */
static bool node_fits(FIXTURE_DATA(pin_fd) * self,
		      const FIXTURE_VARIANT(pin_fd) * variant, unsigned int nid)
{
	char path[128];

	if (!lists_node(NORMAL_MEMORY, nid) || !node_is_allowed(nid))
		return false;
	if (variant->backing != HUGETLB)
		return true;
	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%u/hugepages/hugepages-%zukB/free_hugepages",
		 nid, self->unit / KiB);
	return !access(path, R_OK) && read_num(path) >= variant->nr;
}

/* The number of pages of the file that are not on the node */
static size_t strays(FIXTURE_DATA(pin_fd) * self, int nid)
{
	size_t pos, sum = 0;
	char *p;
	int on;

	p = map_and_read(self);
	if (p == MAP_FAILED)
		return self->size / self->page;
	for (pos = 0; pos < self->size; pos += self->page)
		sum += syscall(__NR_get_mempolicy, &on, NULL, 0L, p + pos,
			       MPOL_F_NODE | MPOL_F_ADDR) || on != nid;
	munmap(p, self->size);
	return sum;
}

/* Holes are filled where a fault would fill them. */
TEST_F_TIMEOUT(pin_fd, memory_policy, 120)
{
	unsigned int i, nid, nr = 0, nodes[2];
	unsigned long mask;
	long pinned;

	for (nid = 0; nid < MAX_NODES && nr < 2; nid++)
		if (node_fits(self, variant, nid))
			nodes[nr++] = nid;
	if (nr < 2)
		SKIP(return, "no two nodes with memory for it (boot with numa=fake=2)");

	/* of the task */
	for (i = 0; i < nr; i++) {
		mask = 1UL << nodes[i];
		ASSERT_EQ(syscall(__NR_set_mempolicy, MPOL_BIND, &mask, MAX_NODES + 1), 0);
		pinned = pin(WRITE, 0, self->size);
		/* Those of the node may be movable ones. */
		if (variant->backing == HUGETLB && pinned == -ENOSPC)
			SKIP(return, "not enough huge pages that can be pinned");
		ASSERT_EQ(pinned, self->size);
		ASSERT_EQ(strays(self, nodes[i]), 0);
		ASSERT_EQ(stop(self->test, true), 0);
		ASSERT_TRUE(punch(self->fd, 0, self->size));
	}

	/* of the file, which comes first; hugetlbfs has none */
	if (variant->backing == HUGETLB)
		return;
	mask = 1UL << nodes[0];
	self->map = mmap(NULL, self->size, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(self->map, MAP_FAILED);
	ASSERT_EQ(syscall(__NR_mbind, self->map, self->size, MPOL_BIND, &mask,
			  MAX_NODES + 1, 0), 0);
	ASSERT_EQ(pin(WRITE, 0, self->size), self->size);
	EXPECT_EQ(strays(self, nodes[0]), 0);
	EXPECT_EQ(stop(self->test, true), 0);
}

/* Is @word in the first line of the file, with blanks around it? */
static bool has_word(const char *path, const char *word)
{
	char line[256], *found = NULL;
	FILE *f;

	f = fopen(path, "r");
	if (f && fgets(line, sizeof(line), f)) {
		found = strtok(line, "\n ");
		while (found && strcmp(found, word))
			found = strtok(NULL, "\n ");
	}
	if (f)
		fclose(f);
	return found;
}

/* A mount of cgroup2 that nobody else sees and that goes with the fd */
static int mount_cgroup2(void)
{
	int fsfd = fsopen("cgroup2", FSOPEN_CLOEXEC), mnt = -1;

	if (fsfd < 0)
		return -1;
	if (!fsconfig(fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mnt = fsmount(fsfd, FSMOUNT_CLOEXEC, 0);
	close(fsfd);
	return mnt;
}

/* What the pages of files in a cgroup amount to, in bytes. It is counted late. */
static unsigned long charged_files(const char *stat, unsigned long expected)
{
	unsigned long value, found = 0;
	char key[64];
	FILE *f;

	for (int i = 0; i < 600 && found < expected; i++) {
		if (i)
			usleep(100000);
		f = fopen(stat, "r");
		while (f && fscanf(f, "%63s %lu", key, &value) == 2)
			if (!strcmp(key, "file"))
				found = value;
		if (f)
			fclose(f);
	}
	return found;
}

/* Holes are charged to the one who fills them. */
TEST_F_TIMEOUT(pin_fd, charged_to_cgroup, 120)
{
	const char *controller = variant->backing == HUGETLB ? "hugetlb" : "memory";
	char group[64], control[64], path[128], change[16];
	/* The counter itself has pages that a CPU has charged in advance. */
	char usage[32] = "memory.stat";
	bool have_controller, turned_on, restored;
	unsigned long charged;
	int status, root;
	pid_t pid;

	if (variant->backing == HUGETLB)
		snprintf(usage, sizeof(usage), "hugetlb.%zu%cB.current",
			 self->unit < GiB ? self->unit / MiB : self->unit / GiB,
			 self->unit < GiB ? 'M' : 'G');

	root = mount_cgroup2();
	if (root < 0)
		SKIP(return, "no cgroup2: %s", strerror(errno));
	snprintf(control, sizeof(control), "/proc/self/fd/%d/cgroup.subtree_control", root);
	snprintf(change, sizeof(change), "+%s", controller);
	turned_on = !has_word(control, controller) && write_str(control, change);
	snprintf(group, sizeof(group), "/proc/self/fd/%d/pin_fd", root);
	mkdir(group, 0700);
	snprintf(path, sizeof(path), "%s/%s", group, usage);
	have_controller = !access(path, R_OK);

	pid = have_controller ? fork() : -1;
	if (!pid) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", group);
		_exit(!write_str(path, "0") ||
		      start(self->test, self->fd, WRITE, 0, self->size,
			    self->size / self->page, NULL) != (long)self->size);
	}
	if (have_controller) {
		EXPECT_EQ(waitpid(pid, &status, 0), pid);
		EXPECT_EQ(status, 0);
		/* The one who filled them is gone, they are still there. */
		charged = variant->backing == HUGETLB ? read_num(path) :
							charged_files(path, self->size);
		EXPECT_GE(charged, self->size);
	}

	rmdir(group);
	*change = '-';
	restored = !turned_on || write_str(control, change);
	close(root);
	if (!have_controller)
		SKIP(return, "no %s (CONFIG_MEMCG, CONFIG_CGROUP_HUGETLB)", usage);
	EXPECT_TRUE(restored);
	EXPECT_EQ(stop(self->test, true), 0);
}

FIXTURE(pin_fd_type) {
	size_t page;
	int test;
	long pins;
};

FIXTURE_SETUP(pin_fd_type)
{
	self->page = sysconf(_SC_PAGESIZE);
	self->pins = pins();
	self->test = open(GUP_TEST, O_RDWR);
	if (self->test < 0)
		SKIP(return, "cannot open " GUP_TEST " (CONFIG_GUP_TEST, root): %s",
		     strerror(errno));
}

FIXTURE_TEARDOWN(pin_fd_type)
{
	close(self->test);
	EXPECT_TRUE(pins_are_back_to(self->pins));
}

/* All flags are tried on a page; @fd is closed. */
#define expect_errno(fd, err)	__expect_errno(_metadata, self, fd, err)
static void __expect_errno(struct __test_metadata *_metadata,
			   FIXTURE_DATA(pin_fd_type) * self, int fd, int err)
{
	uint32_t flags;

	ASSERT_GE(fd, 0);
	for (flags = 0; flags <= (WRITE | NOALLOC | NOSHRINK); flags++)
		EXPECT_EQ(start(self->test, fd, flags, 0, self->page, 1, NULL), -err);
	close(fd);
}

TEST_F(pin_fd_type, no_file)
{
	EXPECT_EQ(start(self->test, -1, 0, 0, self->page, 1, NULL), -EBADF);
	EXPECT_EQ(start(self->test, open("/", O_PATH), 0, 0, self->page, 1, NULL), -EBADF);
}

TEST_F(pin_fd_type, no_pages)
{
	int fds[2];

	ASSERT_EQ(pipe(fds), 0);
	expect_errno(fds[0], EOPNOTSUPP);
	expect_errno(fds[1], EOPNOTSUPP);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	expect_errno(fds[0], EOPNOTSUPP);
	close(fds[1]);
	expect_errno(eventfd(0, 0), EOPNOTSUPP);
	expect_errno(open("/dev/zero", O_RDWR), EOPNOTSUPP);
	expect_errno(open("/proc/self/mem", O_RDWR), EOPNOTSUPP);
	expect_errno(open("/proc/self/maps", O_RDONLY), EOPNOTSUPP);
	expect_errno(open(GUP_TEST, O_RDWR), EOPNOTSUPP);
	expect_errno(open("/", O_RDONLY | O_DIRECTORY), EOPNOTSUPP);
}

TEST_F(pin_fd_type, regular_file)
{
	int fd = open_on("ramfs", NULL);

	if (fd < 0)
		SKIP(return, "cannot mount ramfs: %s", strerror(errno));
	ASSERT_EQ(ftruncate(fd, self->page), 0);
	ASSERT_EQ(pwrite(fd, "x", 1, 0), 1);
	expect_errno(fd, EOPNOTSUPP);
}

TEST_F(pin_fd_type, memfd_secret)
{
#ifdef __NR_memfd_secret
	int fd = syscall(__NR_memfd_secret, 0);

	if (fd < 0)
		SKIP(return, "no memfd_secret(): %s", strerror(errno));
	ASSERT_EQ(ftruncate(fd, self->page), 0);
	expect_errno(fd, EOPNOTSUPP);
#else
	SKIP(return, "no memfd_secret() here");
#endif
}

/* Only memfds can be sealed, and no mount option gives them huge pages. */
TEST_F(pin_fd_type, sealed_huge_page)
{
	size_t size = read_pmd_pagesize();
	char *room, *p;
	uint32_t nr;
	int fd;

	if (!size)
		SKIP(return, "no huge pages");
	fd = memfd_create("pin_fd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(ftruncate(fd, size), 0);
	room = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(room, MAP_FAILED);
	p = mmap(room + size - (uintptr_t)room % size, size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd, 0);
	ASSERT_NE(p, MAP_FAILED);
	memset(p, 1, size);
	if (madvise(p, size, MADV_COLLAPSE)) {
		close(fd);
		SKIP(return, "cannot get a huge page: %s", strerror(errno));
	}
	ASSERT_EQ(munmap(room, 2 * size), 0);

	EXPECT_EQ(start(self->test, fd, WRITE, 0, size, 2, &nr), (long)size);
	EXPECT_EQ(nr, 1);
	EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	EXPECT_EQ(errno, EBUSY);
	EXPECT_EQ(stop(self->test, true), 0);

	EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	EXPECT_EQ(start(self->test, fd, WRITE, 0, size, 2, &nr), -EPERM);
	EXPECT_EQ(start(self->test, fd, 0, 0, size, 2, &nr), (long)size);
	EXPECT_EQ(nr, 1);
	EXPECT_EQ(stop(self->test, false), 0);
	close(fd);
}

TEST_F(pin_fd_type, private_guest_memfd)
{
	static const uint64_t flags[] = {
		0,
		GUEST_MEMFD_FLAG_MMAP,
		/* It is shared, but cannot be mapped. */
		GUEST_MEMFD_FLAG_INIT_SHARED,
	};
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		fd = guest_memfd(self->page, flags[i]);
		if (fd < 0)
			SKIP(return, "no guest_memfd (CONFIG_KVM)");
		expect_errno(fd, EPERM);
	}
}

TEST_HARNESS_MAIN
