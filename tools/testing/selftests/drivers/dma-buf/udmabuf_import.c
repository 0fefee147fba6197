// SPDX-License-Identifier: GPL-2.0
/*
 * Other drivers import buffers of udmabuf: vim2m, whose video queues keep and vmap
 * the buffers that are queued, and vivid, which maps them for a device. The first
 * one reads one buffer and writes another, also when nothing else refers to them
 * any more.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <linux/dma-buf.h>
#include <linux/memfd.h>
#include "kselftest_harness.h"
#include "udmabuf_util.h"
#include "udmabuf_video.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define HUGE_PAGE	(2UL << 20)

/* What vim2m starts with; it is the largest picture that it takes. */
#define WIDTH		640
#define HEIGHT		480
#define LINE		(WIDTH * 2UL)
#define PICTURE		(HEIGHT * LINE)

/* A control of vim2m: how many milliseconds a picture takes. */
#define CID_TRANS_TIME	(V4L2_CID_USER_BASE + 0x1000)

#define NR_THREADS	4
#define ROUNDS		8

/* Memory that holds a picture, and the buffer that is made of it. */
struct picture {
	int memfd;
	int buf;
	char *mem;
	size_t skip;	/* what lies before the picture */
	size_t size;	/* a multiple of the page size */
	size_t split;	/* the buffer has what lies before this after the rest */
};

FIXTURE(udmabuf_import)
{
	size_t page;
	long long pins;		/* before there were buffers */
	struct picture a;
	struct picture b;
	int video;
	int dev;
};

FIXTURE_VARIANT(udmabuf_import)
{
	unsigned int memfd_flags;
	bool thp;
};

FIXTURE_VARIANT_ADD(udmabuf_import, small) { };

FIXTURE_VARIANT_ADD(udmabuf_import, thp) { .thp = true };

FIXTURE_VARIANT_ADD(udmabuf_import, hugetlb) {
	.memfd_flags = MFD_HUGETLB | MFD_HUGE_2MB,
};

/* Where the eight bytes at @i of the buffer are. */
static uint64_t *word(const struct picture *p, size_t i)
{
	size_t rest = p->size - p->split;

	return (uint64_t *)(p->mem + p->skip +
			    (i < rest ? p->split + i : i - rest));
}

static void paint(const struct picture *p, uint64_t seed)
{
	for (size_t i = 0; i < PICTURE; i += 8)
		__atomic_store_n(word(p, i), seed << 32 | i, __ATOMIC_RELAXED);
}

/* The first byte that is not as paint() left it, or -1. */
static long wrong_byte(const struct picture *p, uint64_t seed)
{
	for (size_t i = 0; i < PICTURE; i += 8)
		if (__atomic_load_n(word(p, i), __ATOMIC_RELAXED) != (seed << 32 | i))
			return i;
	return -1;
}

/* The same of what vim2m made of it: it stands on its head. */
static long wrong_copy(const struct picture *p, uint64_t seed)
{
	for (size_t i = 0; i < PICTURE; i += 8) {
		size_t from = PICTURE - LINE - i / LINE * LINE + i % LINE;

		if (__atomic_load_n(word(p, i), __ATOMIC_RELAXED) !=
		    (seed << 32 | from))
			return i;
	}
	return -1;
}

/*
 * A memfd of one huge page, or of as many small ones, at an address that is a
 * multiple of its size. What could not be had, or NULL.
 */
static const char *get_memory(struct picture *p, unsigned int flags, bool thp)
{
	char *area;

	p->memfd = memfd_create("udmabuf_import", MFD_ALLOW_SEALING | flags);
	if (p->memfd < 0 || ftruncate(p->memfd, HUGE_PAGE) ||
	    fcntl(p->memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		return flags ? "no huge pages of 2 MiB" : "no memfd";

	area = mmap(NULL, 2 * HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (area == MAP_FAILED)
		return "no room in the address space";
	area = (char *)(((uintptr_t)area + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	area = mmap(area, HUGE_PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED, p->memfd, 0);
	if (area == MAP_FAILED)
		return flags ? "no huge pages of 2 MiB" : "no mapping of a memfd";
	p->mem = area;
	memset(area, 0xee, HUGE_PAGE);
	if (thp && (madvise(area, HUGE_PAGE, MADV_COLLAPSE) || !is_huge(area)))
		return "shmem got no huge page of 2 MiB";
	return NULL;
}

static bool create(int dev, struct picture *p)
{
	struct {
		struct udmabuf_create_list head;
		struct udmabuf_create_item items[2];
	} list = {
		.head.count = p->split ? 2 : 1,
		.items = {
			{ .memfd = p->memfd, .offset = p->skip + p->split,
			  .size = p->size - p->split },
			{ .memfd = p->memfd, .offset = p->skip,
			  .size = p->split },
		},
	};

	p->buf = ioctl(dev, UDMABUF_CREATE_LIST, &list);
	return p->buf >= 0;
}

static void close_fds(struct picture *p)
{
	close(p->buf);
	close(p->memfd);
	p->buf = -1;
	p->memfd = -1;
}

static void forget(struct picture *p)
{
	close_fds(p);
	if (p->mem)
		munmap(p->mem, HUGE_PAGE);
	p->mem = NULL;
}

static bool set_control(int video, __u32 id, int value)
{
	struct v4l2_control c = { .id = id, .value = value };

	return !ioctl(video, VIDIOC_S_CTRL, &c);
}

static int new_queues(void)
{
	int video = vim2m_open();

	if (video >= 0 &&
	    video_set_up(video, V4L2_BUF_TYPE_VIDEO_OUTPUT, WIDTH, HEIGHT) &&
	    video_set_up(video, V4L2_BUF_TYPE_VIDEO_CAPTURE, WIDTH, HEIGHT) &&
	    set_control(video, V4L2_CID_VFLIP, 1) &&
	    set_control(video, CID_TRANS_TIME, 1))
		return video;
	close(video);
	return -1;
}

/* vim2m shall read a picture from @from, and write it to @to. */
static bool queue_both(int video, const struct picture *from,
		       const struct picture *to)
{
	return video_queue(video, V4L2_BUF_TYPE_VIDEO_OUTPUT, from->buf, 0, PICTURE) &&
	       video_queue(video, V4L2_BUF_TYPE_VIDEO_CAPTURE, to->buf, 0, PICTURE);
}

/* Waits until it has. */
static bool dequeue(int video, __u32 type)
{
	struct v4l2_buffer b = { .type = type, .memory = V4L2_MEMORY_DMABUF };

	return !ioctl(video, VIDIOC_DQBUF, &b) && !(b.flags & V4L2_BUF_FLAG_ERROR) &&
	       b.bytesused == PICTURE;
}

static bool dequeue_both(int video)
{
	return dequeue(video, V4L2_BUF_TYPE_VIDEO_OUTPUT) &&
	       dequeue(video, V4L2_BUF_TYPE_VIDEO_CAPTURE);
}

static bool stream(int video, bool on)
{
	int out = V4L2_BUF_TYPE_VIDEO_OUTPUT, cap = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	unsigned long call = on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF;

	return !ioctl(video, call, &out) && !ioctl(video, call, &cap);
}

static bool sync_buf(int buf, __u64 flags)
{
	struct dma_buf_sync s = { .flags = flags };
	int ret;

	do {
		ret = ioctl(buf, DMA_BUF_IOCTL_SYNC, &s);
	} while (ret && (errno == EINTR || errno == EAGAIN));
	return !ret;
}

/* Streaming has ended, and nothing is imported any more. */
static bool empty_queues(int video)
{
	return stream(video, false) &&
	       video_set_room(video, V4L2_BUF_TYPE_VIDEO_OUTPUT, 0) &&
	       video_set_room(video, V4L2_BUF_TYPE_VIDEO_CAPTURE, 0);
}

FIXTURE_SETUP(udmabuf_import)
{
	struct picture *pictures[] = { &self->a, &self->b };
	size_t pages;

	self->page = sysconf(_SC_PAGESIZE);
	self->dev = open(UDMABUF_DEV, O_RDWR);
	if (self->dev < 0)
		SKIP(return, "cannot open " UDMABUF_DEV ": %s", strerror(errno));
	self->video = vim2m_open();
	if (self->video < 0)
		SKIP(return, "no device of vim2m (CONFIG_VIDEO_VIM2M)");
	close(self->video);
	if (read_vmstat("nr_foll_pin_acquired") < 0)
		SKIP(return, "no nr_foll_pin_* in /proc/vmstat (root?)");

	/*
	 * The buffers begin and end within a huge page, if there are any. Of one
	 * of them the halves are exchanged.
	 */
	pages = (PICTURE + self->page - 1) / self->page;
	for (int i = 0; i < 2; i++) {
		struct picture *p = pictures[i];
		const char *missing;

		p->buf = -1;
		p->skip = self->page;
		p->size = pages * self->page;
		p->split = i ? 0 : pages / 2 * self->page;
		missing = get_memory(p, variant->memfd_flags, variant->thp);
		if (missing)
			SKIP(return, "%s", missing);
	}

	self->video = new_queues();
	ASSERT_GE(self->video, 0);
	self->pins = read_pins();
}

FIXTURE_TEARDOWN(udmabuf_import)
{
	close(self->video);
	forget(&self->a);
	forget(&self->b);
	close(self->dev);
	EXPECT_TRUE(wait_for_pins(self->pins));
}

TEST_F(udmabuf_import, picture)
{
	ASSERT_TRUE(create(self->dev, &self->a));
	ASSERT_TRUE(create(self->dev, &self->b));
	ASSERT_TRUE(stream(self->video, true));

	/* Each time another buffer is in each of the queues. */
	for (int i = 1; i <= ROUNDS; i++) {
		struct picture *from = i % 2 ? &self->a : &self->b;
		struct picture *to = i % 2 ? &self->b : &self->a;

		paint(from, i);
		ASSERT_TRUE(queue_both(self->video, from, to));
		ASSERT_TRUE(dequeue_both(self->video));
		ASSERT_EQ(wrong_byte(from, i), -1);
		ASSERT_EQ(wrong_copy(to, i), -1);
	}
	/* The same buffers, which stay imported. */
	for (int i = 100; i < 100 + ROUNDS; i++) {
		paint(&self->a, i);
		ASSERT_TRUE(queue_both(self->video, &self->a, &self->b));
		ASSERT_TRUE(dequeue_both(self->video));
		ASSERT_EQ(wrong_copy(&self->b, i), -1);
	}
	/* What lies next to the picture is as it was. */
	EXPECT_EQ(self->b.mem[self->page - 1], (char)0xee);
	EXPECT_EQ(self->b.mem[self->b.skip + PICTURE], (char)0xee);
}

/* Nothing but the queues is left of the process that made the buffers. */
TEST_F(udmabuf_import, creator_exits)
{
	pid_t pid;
	int status;

	paint(&self->a, 1);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		bool queued = create(self->dev, &self->a) &&
			      create(self->dev, &self->b) &&
			      queue_both(self->video, &self->a, &self->b);

		forget(&self->a);
		forget(&self->b);
		_exit(!queued);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	EXPECT_GT(read_pins(), self->pins);

	ASSERT_TRUE(stream(self->video, true));
	ASSERT_TRUE(dequeue_both(self->video));
	EXPECT_EQ(wrong_copy(&self->b, 1), -1);
	EXPECT_GT(read_pins(), self->pins);
	ASSERT_TRUE(empty_queues(self->video));
	EXPECT_TRUE(wait_for_pins(self->pins));
}

/* The first buffer has nothing but the queue, the other its memory too. */
TEST_F(udmabuf_import, fds_are_closed)
{
	ASSERT_TRUE(create(self->dev, &self->a));
	ASSERT_TRUE(create(self->dev, &self->b));
	paint(&self->a, 1);
	ASSERT_TRUE(queue_both(self->video, &self->a, &self->b));
	forget(&self->a);
	close_fds(&self->b);
	EXPECT_GT(read_pins(), self->pins);

	ASSERT_TRUE(stream(self->video, true));
	ASSERT_TRUE(dequeue_both(self->video));
	EXPECT_EQ(wrong_copy(&self->b, 1), -1);
	ASSERT_TRUE(empty_queues(self->video));
	EXPECT_TRUE(wait_for_pins(self->pins));
}

/* The queues go while buffers are in them, before a picture and during one. */
TEST_F(udmabuf_import, queues_are_closed)
{
	for (int streaming = 0; streaming < 2; streaming++) {
		ASSERT_TRUE(create(self->dev, &self->a));
		ASSERT_TRUE(create(self->dev, &self->b));
		paint(&self->a, 1 + streaming);
		ASSERT_TRUE(set_control(self->video, CID_TRANS_TIME, 200));
		ASSERT_TRUE(queue_both(self->video, &self->a, &self->b));
		close(self->a.buf);
		close(self->b.buf);
		self->a.buf = -1;
		self->b.buf = -1;
		EXPECT_GT(read_pins(), self->pins);
		if (streaming)
			ASSERT_TRUE(stream(self->video, true));
		ASSERT_EQ(close(self->video), 0);
		EXPECT_TRUE(wait_for_pins(self->pins));
		self->video = new_queues();
		ASSERT_GE(self->video, 0);
	}
}

/*
 * Makes a buffer, queues it, and writes it between a begin and an end of access
 * by the CPU, which leave it attached. Nothing else of this process remains.
 */
static int attach_and_exit(int dev, int video, struct picture *p, __u32 bytes,
			   uint64_t seed)
{
	if (!create(dev, p) ||
	    !video_queue(video, V4L2_BUF_TYPE_VIDEO_OUTPUT, p->buf, bytes, bytes) ||
	    !sync_buf(p->buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW))
		return 1;
	paint(p, seed);
	return !sync_buf(p->buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
}

/*
 * Another driver attaches to the buffer and maps it for its device, which wants
 * the picture in one piece.
 */
TEST_F(udmabuf_import, attached)
{
	const __u32 side = 16;
	int video, status;
	pid_t pid;

	video = vivid_open();
	if (video < 0)
		SKIP(return, "%s", VIVID_MISSING);
	for (int i = 0; i < ROUNDS; i++) {
		ASSERT_TRUE(video_set_up(video, V4L2_BUF_TYPE_VIDEO_OUTPUT, side, side));
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			_exit(attach_and_exit(self->dev, video, &self->a,
					      side * side * 2, i));
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		ASSERT_EQ(status, 0);
		EXPECT_GT(read_pins(), self->pins);
		EXPECT_EQ(wrong_byte(&self->a, i), -1);
		ASSERT_TRUE(video_set_room(video, V4L2_BUF_TYPE_VIDEO_OUTPUT, 0));
		EXPECT_TRUE(wait_for_pins(self->pins));
	}
	close(video);
}

struct cpu {
	pthread_t thread;
	const int *bufs;
	const bool *stop;
	long rounds;
	int error;
};

static void *access_by_cpu(void *arg)
{
	struct cpu *c = arg;

	while (!__atomic_load_n(c->stop, __ATOMIC_RELAXED) && !c->error) {
		int buf = c->bufs[c->rounds % 2];
		__u64 how = c->rounds % 4 < 2 ? DMA_BUF_SYNC_READ : DMA_BUF_SYNC_RW;

		if (!sync_buf(buf, DMA_BUF_SYNC_START | how) ||
		    !sync_buf(buf, DMA_BUF_SYNC_END | how))
			c->error = errno;
		__atomic_fetch_add(&c->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* The CPU's access begins and ends again and again while buffers are imported. */
TEST_F(udmabuf_import, access_by_cpu)
{
	struct cpu cpus[NR_THREADS] = {};
	bool stop = false;
	long wrong = -1;
	bool done = true;
	int bufs[2];

	ASSERT_TRUE(create(self->dev, &self->a));
	ASSERT_TRUE(create(self->dev, &self->b));
	bufs[0] = self->a.buf;
	bufs[1] = self->b.buf;
	/* Threads that race to be the first one are udmabuf_sync's */
	for (int i = 0; i < 2; i++) {
		ASSERT_TRUE(sync_buf(bufs[i],
				     DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
		ASSERT_TRUE(sync_buf(bufs[i],
				     DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	}
	ASSERT_TRUE(stream(self->video, true));
	for (int i = 0; i < NR_THREADS; i++) {
		cpus[i].bufs = bufs;
		cpus[i].stop = &stop;
		ASSERT_EQ(pthread_create(&cpus[i].thread, NULL, access_by_cpu,
					 &cpus[i]), 0);
	}

	for (int i = 1; i <= 4 * ROUNDS && done && wrong < 0; i++) {
		/* Now and then the same buffers stay imported. */
		struct picture *from = i % 4 < 2 ? &self->a : &self->b;
		struct picture *to = i % 4 < 2 ? &self->b : &self->a;

		paint(from, i);
		done = queue_both(self->video, from, to) &&
		       dequeue_both(self->video);
		wrong = wrong_copy(to, i);
	}
	/* Each has begun. */
	for (int i = 0; i < NR_THREADS; i++)
		while (!__atomic_load_n(&cpus[i].rounds, __ATOMIC_RELAXED))
			sched_yield();
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < NR_THREADS; i++) {
		ASSERT_EQ(pthread_join(cpus[i].thread, NULL), 0);
		EXPECT_EQ(cpus[i].error, 0);
		EXPECT_GT(cpus[i].rounds, 0);
	}
	EXPECT_TRUE(done);
	EXPECT_EQ(wrong, -1);
}

/* What is left of a buffer is a mapping that a child has. */
static int keep_mapping(struct picture *mapped, int go, int done)
{
	char c;

	if (read(go, &c, 1) != 1 || wrong_copy(mapped, 1) >= 0)
		return 1;
	paint(mapped, 2);
	if (write(done, "", 1) != 1)
		return 1;
	return read(go, &c, 1) != 0;
}

static int leave_mapping(int dev, struct picture *a, struct picture *b, int go,
			 int done)
{
	struct picture mapped = { .size = b->size };
	int video = new_queues();
	pid_t pid;

	if (video < 0 || !create(dev, a) || !create(dev, b))
		return 1;
	mapped.mem = mmap(NULL, mapped.size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  b->buf, 0);
	if (mapped.mem == MAP_FAILED || !stream(video, true) ||
	    !queue_both(video, a, b) || !dequeue_both(video))
		return 1;

	pid = fork();
	if (!pid) {
		close(video);
		close(dev);
		forget(a);
		forget(b);
		_exit(keep_mapping(&mapped, go, done));
	}
	return pid < 0;
}

TEST_F(udmabuf_import, mapping_is_inherited)
{
	int go[2], done[2], status;
	pid_t pid;
	char c;

	paint(&self->a, 1);
	ASSERT_EQ(pipe(go), 0);
	ASSERT_EQ(pipe(done), 0);
	/* to wait for the child of the child */
	ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(go[1]);
		close(done[0]);
		close(self->video);
		_exit(leave_mapping(self->dev, &self->a, &self->b, go[0],
				    done[1]));
	}
	close(go[0]);
	close(done[1]);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	EXPECT_GT(read_pins(), self->pins);

	EXPECT_EQ(write(go[1], "", 1), 1);
	EXPECT_EQ(read(done[0], &c, 1), 1);
	EXPECT_EQ(wrong_byte(&self->b, 2), -1);
	EXPECT_GT(read_pins(), self->pins);
	close(go[1]);
	close(done[0]);
	ASSERT_GT(waitpid(-1, &status, 0), 0);
	EXPECT_EQ(status, 0);
	EXPECT_TRUE(wait_for_pins(self->pins));
}

/* What could not be imported is not kept. */
TEST(shorter_than_asked_for)
{
	size_t page = sysconf(_SC_PAGESIZE);
	size_t size = (PICTURE + page - 1) / page * page;
	int dev, video, memfd, buf;
	long long pins;

	dev = open(UDMABUF_DEV, O_RDWR);
	if (dev < 0)
		SKIP(return, "cannot open " UDMABUF_DEV ": %s", strerror(errno));
	video = new_queues();
	if (video < 0)
		SKIP(return, "no device of vim2m (CONFIG_VIDEO_VIM2M)");
	if (read_vmstat("nr_foll_pin_acquired") < 0)
		SKIP(return, "no nr_foll_pin_* in /proc/vmstat (root?)");

	pins = read_pins();
	memfd = memfd_sealed(size, F_SEAL_SHRINK);
	ASSERT_GE(memfd, 0);
	buf = udmabuf_create(dev, memfd, 0, size, 0);
	ASSERT_GE(buf, 0);
	EXPECT_FALSE(video_queue(video, V4L2_BUF_TYPE_VIDEO_OUTPUT, buf, size + 1,
				 PICTURE));
	EXPECT_EQ(errno, EFAULT);
	close(buf);
	close(memfd);
	EXPECT_TRUE(wait_for_pins(pins));
	close(video);
	close(dev);
}

TEST_HARNESS_MAIN
