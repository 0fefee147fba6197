// SPDX-License-Identifier: GPL-2.0
/*
 * A mount of hugetlbfs with a size has room for so many huge pages. One that could
 * not be allocated takes none of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "hugepage_settings.h"
#include "kselftest_harness.h"

HUGETLB_SETUP_DEFAULT_PAGES(3)

/* A file on a mount that nobody else sees and that goes with the file */
static int open_on_mount(const char *options)
{
	char dir[] = "/tmp/hugetlb_mount_size.XXXXXX", path[64];
	int fd;

	if (!mkdtemp(dir))
		return -1;
	if (mount("none", dir, "hugetlbfs", 0, options)) {
		rmdir(dir);
		return -1;
	}
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	return fd;
}

/* All free huge pages that nobody else has reserved */
static void *reserve_all(size_t page, size_t *len)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
	void *p = MAP_FAILED;

	*len = hugetlb_free_pages(page) * page;
	for (; *len; *len -= page) {
		p = mmap(NULL, *len, PROT_READ | PROT_WRITE, flags, -1, 0);
		if (p != MAP_FAILED)
			break;
	}
	return p;
}

static long count(size_t page, const char *name)
{
	char path[128];
	long nr = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%zukB/%s",
		 page / 1024, name);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%ld", &nr) != 1)
			nr = -1;
		fclose(f);
	}
	return nr;
}

/* How many huge pages the mount of the file has room for */
static long room(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) ? -1 : (long)fs.f_bfree;
}

FIXTURE(hugetlb_mount_size)
{
	size_t page;
	/* Nobody else uses huge pages. */
	bool alone;
	int fd;
};

FIXTURE_VARIANT(hugetlb_mount_size)
{
	/* How many huge pages the mount has reserved; it has room for one more. */
	size_t min;
};

FIXTURE_VARIANT_ADD(hugetlb_mount_size, max)
{
	.min = 0,
};

FIXTURE_VARIANT_ADD(hugetlb_mount_size, min_and_max)
{
	.min = 1,
};

FIXTURE_SETUP(hugetlb_mount_size)
{
	char options[64];

	self->page = default_huge_page_size();
	if (!self->page)
		SKIP(return, "no huge pages (CONFIG_HUGETLBFS)");
	self->alone = !count(self->page, "resv_hugepages") &&
		      count(self->page, "free_hugepages") == count(self->page, "nr_hugepages");
	snprintf(options, sizeof(options), "size=%zu,min_size=%zu",
		 (variant->min + 1) * self->page, variant->min * self->page);
	self->fd = open_on_mount(options);
	if (self->fd < 0)
		SKIP(return, "cannot mount hugetlbfs: %s", strerror(errno));
}

FIXTURE_TEARDOWN(hugetlb_mount_size)
{
}

TEST_F(hugetlb_mount_size, failed_allocation)
{
	off_t last = variant->min * self->page;
	size_t len;
	void *all;

	if (variant->min && fallocate(self->fd, 0, 0, last))
		SKIP(return, "no huge page: %s", strerror(errno));
	ASSERT_EQ(room(self->fd), 1);
	all = reserve_all(self->page, &len);
	if (all == MAP_FAILED)
		SKIP(return, "no free huge page");

	if (!fallocate(self->fd, 0, last, self->page))
		SKIP(return, "more can be had than the pool has");
	EXPECT_EQ(errno, ENOSPC);
	EXPECT_EQ(room(self->fd), 1);
	ASSERT_EQ(munmap(all, len), 0);

	ASSERT_EQ(close(self->fd), 0);
	if (self->alone)
		EXPECT_EQ(count(self->page, "resv_hugepages"), 0);
}

TEST_HARNESS_MAIN
