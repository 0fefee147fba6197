// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever allocation fails: the operation ends with an error, or does without
 * it; no pin, page, huge page, reservation or fd is left behind, and the pages hold
 * what they held.
 *
 * Each operation is repeated, and the first allocation of it fails, then the
 * second, and so on, until there are no more that could fail.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdlib.h>
#include <linux/dma-buf.h>
#include "kselftest_harness.h"
#include "udmabuf_gmem.h"
#include "udmabuf_util.h"
#include "udmabuf_video.h"

#define DEBUGFS		"/sys/kernel/debug"
#define MAX_ALLOCATIONS	2000
/* Some allocations are not made each time. */
#define QUIET_ROUNDS	3
#define PIECES		3
#define PAGES		64
#define MAX_HUGE_PAGE	(64UL << 20)

struct counts {
	long long pins;
	long long hugetlb_free;
	long long hugetlb_reserved;
	long long fds;
};

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int nr = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static struct counts count(void)
{
	return (struct counts){
		.pins = read_pins(),
		.hugetlb_free = read_counter("/proc/meminfo", "HugePages_Free:"),
		.hugetlb_reserved = read_counter("/proc/meminfo", "HugePages_Rsvd:"),
		.fds = count_fds(),
	};
}

/*
 * Any allocation may fail, and the log does not tell of each. It stays like this
 * when the test is over.
 */
static bool setup_faults(void)
{
	static const char * const set[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
	};
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(set); i++) {
		snprintf(path, sizeof(path), DEBUGFS "/%s", set[i][0]);
		if (!write_str(path, set[i][1]))
			return false;
	}
	return true;
}

/* What there is when nobody else is at work. */
static struct counts count_at_rest(void)
{
	struct counts now = count(), before;
	int i = 0;

	do {
		before = now;
		usleep(50000);
		now = count();
	} while (memcmp(&now, &before, sizeof(now)) && ++i < 20);
	return now;
}

/* Other users of pins may be at work: they have a second to end. */
static bool is_back_to(const struct counts *before)
{
	struct counts now;
	int i;

	for (i = 0; i < 20; i++) {
		now = count();
		if (!memcmp(&now, before, sizeof(now)))
			return true;
		usleep(50000);
	}
	ksft_print_msg("left behind: pins %lld, huge pages %lld, reserved %lld, fds %lld\n",
		       now.pins - before->pins,
		       before->hugetlb_free - now.hugetlb_free,
		       now.hugetlb_reserved - before->hugetlb_reserved,
		       now.fds - before->fds);
	return false;
}

/* The first byte of a page of a file that has no holes, and never 0. */
static unsigned char pattern(int piece, size_t page)
{
	return 1 + piece * PAGES + page % PAGES;
}

FIXTURE(fail_nth)
{
	int dev;
	int nth;
	int kvm;
	int vm;
	int memfd[PIECES];
	size_t page;
	size_t size;
};

FIXTURE_VARIANT(fail_nth)
{
	unsigned int memfd_flags;
	bool guest_memfd;
	bool holes;
	int pieces;
};

FIXTURE_VARIANT_ADD(fail_nth, populated) {
	.pieces = 1,
};

FIXTURE_VARIANT_ADD(fail_nth, holes) {
	.holes = true,
	.pieces = 1,
};

FIXTURE_VARIANT_ADD(fail_nth, list) {
	.pieces = PIECES,
};

FIXTURE_VARIANT_ADD(fail_nth, list_of_holes) {
	.holes = true,
	.pieces = PIECES,
};

FIXTURE_VARIANT_ADD(fail_nth, hugetlb_populated) {
	.memfd_flags = MFD_HUGETLB,
	.pieces = 1,
};

FIXTURE_VARIANT_ADD(fail_nth, hugetlb_holes) {
	.memfd_flags = MFD_HUGETLB,
	.holes = true,
	.pieces = 1,
};

FIXTURE_VARIANT_ADD(fail_nth, guest_memfd_holes) {
	.guest_memfd = true,
	.holes = true,
	.pieces = 1,
};

/* EBADFD is what udmabuf says about any file that it knows nothing of. */
static bool takes_guest_memfd(FIXTURE_DATA(fail_nth) *self)
{
	int fd = gmem_create(self->vm, self->size, GMEM_SHARED);
	int buf = udmabuf_create(self->dev, fd, 0, self->page, 0);
	bool taken = fd < 0 || buf >= 0 || errno != EBADFD;

	close(buf);
	close(fd);
	return taken;
}

FIXTURE_SETUP(fail_nth)
{
	const char *missing;
	char path[64];

	self->kvm = -1;
	self->vm = -1;
	snprintf(path, sizeof(path), "/proc/self/task/%d/fail-nth", getpid());
	self->nth = open(path, O_RDWR);
	if (self->nth < 0 || !setup_faults())
		SKIP(return, "no fault injection in " DEBUGFS ", see config");
	self->dev = open(UDMABUF_DEV, O_RDWR);
	if (self->dev < 0)
		SKIP(return, "cannot open " UDMABUF_DEV ": %s", strerror(errno));
	if (read_vmstat("nr_foll_pin_acquired") < 0)
		SKIP(return, "no nr_foll_pin_acquired in /proc/vmstat, or not root");

	self->page = sysconf(_SC_PAGESIZE);
	self->size = PAGES * self->page;
	if (variant->memfd_flags & MFD_HUGETLB) {
		self->page = read_counter("/proc/meminfo", "Hugepagesize:") * 1024;
		self->size = 2 * self->page;
		if (self->page > MAX_HUGE_PAGE)
			SKIP(return, "huge pages are that huge that it takes too long");
		if (read_counter("/proc/meminfo", "HugePages_Free:") -
		    read_counter("/proc/meminfo", "HugePages_Rsvd:") < 2)
			SKIP(return, "needs two free huge pages");
	}
	if (variant->guest_memfd) {
		missing = gmem_vm(&self->kvm, &self->vm);
		if (missing)
			SKIP(return, "%s", missing);
		if (!takes_guest_memfd(self))
			SKIP(return, "udmabuf does not take a guest_memfd");
	}
}

FIXTURE_TEARDOWN(fail_nth)
{
	close(self->vm);
	close(self->kvm);
	close(self->dev);
	close(self->nth);
}

/* From now on, the @n-th allocation fails. */
static bool arm(FIXTURE_DATA(fail_nth) *self, int n)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%d", n);

	return pwrite(self->nth, buf, len, 0) == len;
}

/* Whether an allocation has failed since arm(). */
static bool disarm(FIXTURE_DATA(fail_nth) *self)
{
	char buf[16] = "";
	bool fired = pread(self->nth, buf, sizeof(buf) - 1, 0) <= 0 ||
		     !atoi(buf);

	/* Writing can be what fails, once. */
	if (pwrite(self->nth, "0", 1, 0) != 1 && pwrite(self->nth, "0", 1, 0) != 1)
		abort();
	return fired;
}

/* Whether @err comes of something that fails: user space can be it as well. */
static bool is_injected(int err)
{
	return err == ENOMEM ||
	       (err == EFAULT && !access(DEBUGFS "/fail_usercopy", F_OK));
}

/* A file that cannot get smaller. */
static int make_file(FIXTURE_DATA(fail_nth) *self,
		     const FIXTURE_VARIANT(fail_nth) *variant)
{
	if (variant->guest_memfd)
		return gmem_create(self->vm, self->size, GMEM_SHARED);
	return memfd_with_flags(variant->memfd_flags, self->size, F_SEAL_SHRINK);
}

/* Makes the files, of holes or of pages with a pattern(). */
static bool make_files(FIXTURE_DATA(fail_nth) *self,
		       const FIXTURE_VARIANT(fail_nth) *variant)
{
	size_t off;
	int i, fd;
	char *p;

	for (i = 0; i < variant->pieces; i++) {
		fd = make_file(self, variant);
		self->memfd[i] = fd;
		if (fd < 0)
			return false;
		if (variant->holes)
			continue;
		p = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 fd, 0);
		if (p == MAP_FAILED)
			return false;
		for (off = 0; off < self->size; off += self->page)
			p[off] = pattern(i, off / self->page);
		munmap(p, self->size);
	}
	return true;
}

/* The first byte of a page, or -1. A guest_memfd can only be mapped. */
static int first_byte(FIXTURE_DATA(fail_nth) *self,
		      const FIXTURE_VARIANT(fail_nth) *variant, int fd, size_t page)
{
	unsigned char c;
	char *p;

	if (!variant->guest_memfd)
		return pread(fd, &c, 1, page * self->page) == 1 ? c : -1;
	p = mmap(NULL, self->page, PROT_READ, MAP_SHARED, fd, page * self->page);
	if (p == MAP_FAILED)
		return -1;
	c = *p;
	munmap(p, self->page);
	return c;
}

static bool files_are_intact(FIXTURE_DATA(fail_nth) *self,
			     const FIXTURE_VARIANT(fail_nth) *variant)
{
	size_t page;
	int i, c;

	for (i = 0; i < variant->pieces; i++)
		for (page = 0; page < self->size / self->page; page++) {
			c = first_byte(self, variant, self->memfd[i], page);
			if (c != (variant->holes ? 0 : pattern(i, page)))
				return false;
		}
	return true;
}

/*
 * Whether nobody else has a page of the files: memfds can be sealed against
 * writing only then.
 */
static bool close_files(FIXTURE_DATA(fail_nth) *self,
			const FIXTURE_VARIANT(fail_nth) *variant)
{
	bool unused = true;
	int i;

	for (i = 0; i < variant->pieces; i++) {
		if (!variant->guest_memfd &&
		    fcntl(self->memfd[i], F_ADD_SEALS, F_SEAL_WRITE))
			unused = false;
		close(self->memfd[i]);
	}
	return unused;
}

static int create(FIXTURE_DATA(fail_nth) *self,
		  const FIXTURE_VARIANT(fail_nth) *variant)
{
	struct {
		struct udmabuf_create_list head;
		struct udmabuf_create_item items[PIECES];
	} list = { .head.count = variant->pieces };
	int i;

	if (variant->pieces == 1)
		return udmabuf_create(self->dev, self->memfd[0], 0, self->size, 0);
	for (i = 0; i < variant->pieces; i++)
		list.items[i] = (struct udmabuf_create_item){
			.memfd = self->memfd[i],
			.size = self->size,
		};
	return ioctl(self->dev, UDMABUF_CREATE_LIST, &list);
}

/* The buffer shows what the files hold. */
static bool buffer_is_right(FIXTURE_DATA(fail_nth) *self,
			    const FIXTURE_VARIANT(fail_nth) *variant, int buf)
{
	size_t size = variant->pieces * self->size, page;
	bool right = true;
	char *p, *q;
	int i;

	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	if (p == MAP_FAILED)
		return false;
	q = p;
	for (i = 0; i < variant->pieces; i++, q += self->size)
		for (page = 0; page < self->size / self->page; page++) {
			char c = variant->holes ? 0 : pattern(i, page);

			right &= q[page * self->page] == c;
			/* Nobody wrote to the end of a page. */
			right &= !q[(page + 1) * self->page - 1];
		}
	munmap(p, size);
	return right;
}

/* The calls that the core answers; 0 or an errno. */
static int use_core(int buf)
{
	struct dma_buf_export_sync_file export = { .flags = DMA_BUF_SYNC_RW };
	struct dma_buf_import_sync_file import = { .flags = DMA_BUF_SYNC_RW };
	int err = 0;

	if (ioctl(buf, DMA_BUF_SET_NAME_B, "fail-nth"))
		err = errno;
	/* CONFIG_SYNC_FILE */
	if (ioctl(buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export))
		return errno == ENOTTY ? err : errno;
	import.fd = export.fd;
	if (ioctl(buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import))
		err = errno;
	close(export.fd);
	return err;
}

TEST_F_TIMEOUT(fail_nth, create, 120)
{
	struct counts before = count_at_rest();
	int n, buf, err, quiet = 0;
	bool fired;

	for (n = 0; quiet < QUIET_ROUNDS; quiet = fired ? 0 : quiet + 1) {
		ASSERT_LT(n++, MAX_ALLOCATIONS);
		ASSERT_TRUE(make_files(self, variant));

		ASSERT_TRUE(arm(self, n));
		buf = create(self, variant);
		err = errno;
		fired = disarm(self);

		if (buf < 0) {
			ASSERT_TRUE(fired) TH_LOG("%d: %s", n, strerror(err));
			EXPECT_TRUE(is_injected(err)) TH_LOG("%d: %s", n, strerror(err));
		} else {
			EXPECT_TRUE(buffer_is_right(self, variant, buf));
			close(buf);
		}
		EXPECT_TRUE(files_are_intact(self, variant));
		/* Closing the file gives back what was lost, too. */
		EXPECT_EQ(read_counter("/proc/meminfo", "HugePages_Rsvd:"),
			  before.hugetlb_reserved);
		EXPECT_TRUE(close_files(self, variant)) TH_LOG("%d", n);
		ASSERT_TRUE(is_back_to(&before)) TH_LOG("%d", n);
	}
	/* The buffer and its file, at least. */
	EXPECT_GT(n - QUIET_ROUNDS, 1);
	TH_LOG("the last of them was allocation %d", n - QUIET_ROUNDS);
}

/* Everything that can be done with the fd, with one failure in it. */
TEST_F_TIMEOUT(fail_nth, use, 120)
{
	struct dma_buf_sync start = { DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	struct dma_buf_sync end = { DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW };
	size_t size = variant->pieces * self->size, off;
	struct counts before = count_at_rest();
	int n, buf, sync, sync_err, core_err, err, quiet = 0;
	volatile char *p;
	bool fired;
	char sum;

	for (n = 0; quiet < QUIET_ROUNDS; quiet = fired ? 0 : quiet + 1) {
		ASSERT_LT(n++, MAX_ALLOCATIONS);
		ASSERT_TRUE(make_files(self, variant));
		buf = create(self, variant);
		ASSERT_GE(buf, 0);

		ASSERT_TRUE(arm(self, n));
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
		err = errno;
		/* A fault that finds no memory is tried again. */
		sum = 0;
		for (off = 0; p != MAP_FAILED && off < size; off += self->page)
			sum |= p[off];
		sync = ioctl(buf, DMA_BUF_IOCTL_SYNC, &start);
		if (!sync)
			sync = ioctl(buf, DMA_BUF_IOCTL_SYNC, &end);
		sync_err = errno;
		core_err = use_core(buf);
		fired = disarm(self);

		if (p == MAP_FAILED) {
			ASSERT_TRUE(fired) TH_LOG("%d: %s", n, strerror(err));
			EXPECT_TRUE(is_injected(err)) TH_LOG("%d: %s", n, strerror(err));
		} else {
			EXPECT_EQ(!sum, variant->holes);
			munmap((char *)p, size);
		}
		if (sync) {
			ASSERT_TRUE(fired) TH_LOG("%d: %s", n, strerror(sync_err));
			EXPECT_TRUE(is_injected(sync_err))
				TH_LOG("%d: %s", n, strerror(sync_err));
		}
		if (core_err) {
			ASSERT_TRUE(fired) TH_LOG("%d: %s", n, strerror(core_err));
			EXPECT_TRUE(is_injected(core_err))
				TH_LOG("%d: %s", n, strerror(core_err));
		}
		EXPECT_TRUE(buffer_is_right(self, variant, buf));
		close(buf);
		EXPECT_TRUE(files_are_intact(self, variant));
		EXPECT_TRUE(close_files(self, variant)) TH_LOG("%d", n);
		ASSERT_TRUE(is_back_to(&before)) TH_LOG("%d", n);
	}
	/* The area of the mapping, at least. */
	EXPECT_GT(n - QUIET_ROUNDS, 0);
	TH_LOG("the last of them was allocation %d", n - QUIET_ROUNDS);
}

/* A driver that takes one picture, which is smaller than a buffer. */
struct importer {
	int (*open)(void);
	const char *missing;
	__u32 side;
	/* What it says if it was the buffer that found no memory. */
	int err;
};

static int open_importer(const struct importer *importer)
{
	int video = importer->open();

	if (video >= 0 && video_set_up(video, V4L2_BUF_TYPE_VIDEO_OUTPUT,
				       importer->side, importer->side))
		return video;
	close(video);
	return -1;
}

static bool import(int video, const struct importer *importer, int buf)
{
	__u32 bytes = importer->side * importer->side * 2;

	return video_queue(video, V4L2_BUF_TYPE_VIDEO_OUTPUT, buf, bytes, bytes);
}

static void sweep_import(struct __test_metadata *_metadata,
			 FIXTURE_DATA(fail_nth) *self,
			 const FIXTURE_VARIANT(fail_nth) *variant,
			 const struct importer *importer)
{
	int n, buf, video, err, quiet = 0;
	bool fired, imported;
	struct counts before;

	video = open_importer(importer);
	if (video < 0)
		SKIP(return, "%s", importer->missing);
	close(video);

	before = count_at_rest();
	for (n = 0; quiet < QUIET_ROUNDS; quiet = fired ? 0 : quiet + 1) {
		ASSERT_LT(n++, MAX_ALLOCATIONS);
		ASSERT_TRUE(make_files(self, variant));
		buf = create(self, variant);
		ASSERT_GE(buf, 0);
		video = open_importer(importer);
		ASSERT_GE(video, 0);

		ASSERT_TRUE(arm(self, n));
		imported = import(video, importer, buf);
		err = errno;
		fired = disarm(self);

		if (!imported) {
			ASSERT_TRUE(fired) TH_LOG("%d: %s", n, strerror(err));
			EXPECT_TRUE(is_injected(err) || err == importer->err)
				TH_LOG("%d: %s", n, strerror(err));
			/* V4L2 has forgotten how large its pictures are. */
			close(video);
			video = open_importer(importer);
			ASSERT_GE(video, 0);
			EXPECT_TRUE(import(video, importer, buf));
		}
		EXPECT_TRUE(buffer_is_right(self, variant, buf));
		close(buf);
		close(video);
		EXPECT_TRUE(files_are_intact(self, variant));
		EXPECT_TRUE(close_files(self, variant)) TH_LOG("%d", n);
		ASSERT_TRUE(is_back_to(&before)) TH_LOG("%d", n);
	}
	/* What the importer knows of the buffer, at least. */
	EXPECT_GT(n - QUIET_ROUNDS, 0);
	TH_LOG("the last of them was allocation %d", n - QUIET_ROUNDS);
}

/* Another driver maps the buffer for the CPU. */
TEST_F_TIMEOUT(fail_nth, import, 120)
{
	static const struct importer vim2m = {
		.open = vim2m_open,
		.missing = "no device of vim2m (CONFIG_VIDEO_VIM2M)",
		.side = 128,
		.err = EFAULT,
	};

	sweep_import(_metadata, self, variant, &vim2m);
}

/*
 * Another driver attaches to the buffer and maps it for its device, which wants
 * the picture in one piece.
 */
TEST_F_TIMEOUT(fail_nth, attach, 120)
{
	static const struct importer vivid = {
		.open = vivid_open,
		.missing = VIVID_MISSING,
		.side = 16,
		.err = EINVAL,
	};

	sweep_import(_metadata, self, variant, &vivid);
}

TEST_HARNESS_MAIN
