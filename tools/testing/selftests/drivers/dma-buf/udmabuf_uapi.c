// SPDX-License-Identifier: GPL-2.0
/*
 * What a program that uses /dev/udmabuf can rely on: which error is returned
 * for what, and what a buffer is good for. None of this may change.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <linux/dma-buf.h>
#include "kselftest_harness.h"
#include "udmabuf_util.h"

#define PAGES	16

FIXTURE(udmabuf_uapi)
{
	size_t page;
	size_t size;
	int dev;
	int memfd;
	int buf;
};

FIXTURE_SETUP(udmabuf_uapi)
{
	self->page = sysconf(_SC_PAGESIZE);
	self->size = PAGES * self->page;
	self->memfd = -1;
	self->buf = -1;
	self->dev = open(UDMABUF_DEV, O_RDWR);
	if (self->dev < 0)
		SKIP(return, "cannot open " UDMABUF_DEV ": %s", strerror(errno));
	self->memfd = memfd_sealed(self->size, F_SEAL_SHRINK);
	ASSERT_GE(self->memfd, 0);
}

FIXTURE_TEARDOWN(udmabuf_uapi)
{
	close(self->buf);
	close(self->memfd);
	close(self->dev);
}

#define EXPECT_ERR(call, err) do {	\
	long ret_;			\
	int errno_;			\
					\
	errno = 0;			\
	ret_ = (call);			\
	errno_ = errno;			\
	EXPECT_EQ(ret_, -1);		\
	EXPECT_EQ(errno_, err);		\
} while (0)

#define EXPECT_CREATE_ERR(err, memfd, offset, size) \
	EXPECT_ERR(udmabuf_create(self->dev, memfd, offset, size, 0), err)

/* Room for @count items, all of them one page of @memfd. */
static struct udmabuf_create_list *alloc_list(int memfd, size_t page, __u32 count)
{
	struct udmabuf_create_list *l;
	__u32 i;

	l = calloc(1, sizeof(*l) + count * sizeof(l->list[0]));
	if (!l)
		return NULL;
	l->count = count;
	for (i = 0; i < count; i++) {
		l->list[i].memfd = memfd;
		l->list[i].offset = i % PAGES * page;
		l->list[i].size = page;
	}
	return l;
}

static char *map(int fd, size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

TEST_F(udmabuf_uapi, unknown_ioctl)
{
	struct udmabuf_create c = {};

	EXPECT_ERR(ioctl(self->dev, _IO('u', 0x42), &c), ENOTTY);
	EXPECT_ERR(ioctl(self->dev, _IOW('u', 0x44, struct udmabuf_create), &c), ENOTTY);
	EXPECT_ERR(ioctl(self->dev, _IOWR('u', 0x42, struct udmabuf_create), &c), ENOTTY);
}

TEST_F(udmabuf_uapi, bad_address)
{
	struct udmabuf_create_list *l;
	char *p;

	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE, NULL), EFAULT);
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, NULL), EFAULT);

	/* The head of the list can be read, its items cannot. */
	p = mmap(NULL, 2 * self->page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(p, MAP_FAILED);
	ASSERT_EQ(munmap(p + self->page, self->page), 0);
	l = (void *)(p + self->page - sizeof(*l));
	l->count = 1;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EFAULT);
	munmap(p, self->page);
}

TEST_F(udmabuf_uapi, bad_range)
{
	EXPECT_CREATE_ERR(EINVAL, self->memfd, 0, 0);
	EXPECT_CREATE_ERR(EINVAL, self->memfd, 1, self->page);
	EXPECT_CREATE_ERR(EINVAL, self->memfd, self->page / 2, self->page);
	EXPECT_CREATE_ERR(EINVAL, self->memfd, 0, 1);
	EXPECT_CREATE_ERR(EINVAL, self->memfd, 0, self->page + 1);
	EXPECT_CREATE_ERR(EINVAL, self->memfd, 0, self->size + self->page);
	EXPECT_CREATE_ERR(EINVAL, self->memfd, self->size, self->page);
	EXPECT_CREATE_ERR(EINVAL, self->memfd, self->page, self->size);
	EXPECT_CREATE_ERR(EINVAL, self->memfd, -(__u64)self->page, self->page);
}

TEST_F(udmabuf_uapi, bad_fd)
{
	FILE *f;
	int pipefd[2], fd;

	fd = dup(self->memfd);
	ASSERT_GE(fd, 0);
	close(fd);
	EXPECT_CREATE_ERR(EBADFD, fd, 0, self->page);
	EXPECT_CREATE_ERR(EBADFD, -1, 0, self->page);
	EXPECT_CREATE_ERR(EBADFD, self->dev, 0, self->page);
	ASSERT_EQ(pipe(pipefd), 0);
	EXPECT_CREATE_ERR(EBADFD, pipefd[0], 0, self->page);
	close(pipefd[0]);
	close(pipefd[1]);

	f = fopen("/proc/self/status", "r");
	if (f) {
		/* This is the type's error although one may not write, either. */
		EXPECT_CREATE_ERR(EBADFD, fileno(f), 0, self->page);
		fclose(f);
	}
}

TEST_F(udmabuf_uapi, bad_seals)
{
	static const int bad[] = {
		0,
		F_SEAL_GROW,
		F_SEAL_SHRINK | F_SEAL_WRITE,
		F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE,
		F_SEAL_WRITE,
	};
	static const int good[] = {
		F_SEAL_SHRINK,
		F_SEAL_SHRINK | F_SEAL_GROW,
		F_SEAL_SHRINK | F_SEAL_SEAL,
	};
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		fd = memfd_sealed(self->size, bad[i]);
		ASSERT_GE(fd, 0);
		errno = 0;
		self->buf = udmabuf_create(self->dev, fd, 0, self->page, 0);
		EXPECT_TRUE(self->buf == -1 && errno == EINVAL)
			TH_LOG("seals %#x: %d, %s", bad[i], self->buf, strerror(errno));
		close(self->buf);
		close(fd);
	}
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		fd = memfd_sealed(self->size, good[i]);
		ASSERT_GE(fd, 0);
		self->buf = udmabuf_create(self->dev, fd, 0, self->page, 0);
		EXPECT_GE(self->buf, 0)
			TH_LOG("seals %#x: %s", good[i], strerror(errno));
		close(self->buf);
		close(fd);
	}
	self->buf = -1;
}

/* While a buffer exists, devices may write: no seal against that. */
TEST_F(udmabuf_uapi, shrink_is_refused)
{
	self->buf = udmabuf_create(self->dev, self->memfd, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	EXPECT_ERR(ftruncate(self->memfd, self->page), EPERM);
}

TEST_F(udmabuf_uapi, list)
{
	struct udmabuf_create_list *l = alloc_list(self->memfd, self->page, PAGES);
	char *b, *m;
	int i;

	ASSERT_NE(l, NULL);
	/* backwards, and the memory between the ranges does not matter */
	for (i = 0; i < PAGES; i++)
		l->list[i].offset = (PAGES - 1 - i) * self->page;
	self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, l);
	ASSERT_GE(self->buf, 0);
	EXPECT_EQ(lseek(self->buf, 0, SEEK_END), (off_t)self->size);
	b = map(self->buf, self->size);
	m = map(self->memfd, self->size);
	ASSERT_NE(b, MAP_FAILED);
	ASSERT_NE(m, MAP_FAILED);
	for (i = 0; i < PAGES; i++)
		b[i * self->page] = i + 1;
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(m[i * self->page], PAGES - i);
	munmap(b, self->size);
	munmap(m, self->size);

	/* One bad item spoils the list. */
	l->list[PAGES - 1].offset = self->size;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EINVAL);
	l->list[PAGES - 1].offset = 0;
	l->list[PAGES - 1].memfd = self->dev;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EBADFD);
	l->count = 0;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EINVAL);
	free(l);
}

TEST_F(udmabuf_uapi, list_limit)
{
	struct udmabuf_create_list *l;
	int limit = 1024;
	FILE *f;

	f = fopen("/sys/module/udmabuf/parameters/list_limit", "r");
	if (f) {
		if (fscanf(f, "%d", &limit) != 1)
			limit = 1024;
		fclose(f);
	}
	if (limit < 1 || limit > 65536)
		SKIP(return, "list_limit is %d", limit);

	l = alloc_list(self->memfd, self->page, limit + 1);
	ASSERT_NE(l, NULL);
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EINVAL);
	l->count = limit;
	self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, l);
	EXPECT_GE(self->buf, 0);
	free(l);
}

TEST_F(udmabuf_uapi, cloexec)
{
	int fd;

	fd = udmabuf_create(self->dev, self->memfd, 0, self->page, UDMABUF_FLAGS_CLOEXEC);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	EXPECT_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	close(fd);
	fd = udmabuf_create(self->dev, self->memfd, 0, self->page, 0);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(fcntl(fd, F_GETFD), 0);
	close(fd);
}

TEST_F(udmabuf_uapi, mmap)
{
	char *p;

	self->buf = udmabuf_create(self->dev, self->memfd, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	EXPECT_EQ(lseek(self->buf, 0, SEEK_END), (off_t)self->size);

	p = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->buf, 0);
	EXPECT_EQ(p, MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	p = map(self->buf, self->size + self->page);
	EXPECT_EQ(p, MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	p = mmap(NULL, self->page, PROT_READ, MAP_SHARED, self->buf, self->size);
	EXPECT_EQ(p, MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);

	/* a part of it */
	ASSERT_EQ(pwrite(self->memfd, "x", 1, 5 * self->page), 1);
	p = mmap(NULL, self->page, PROT_READ, MAP_SHARED, self->buf, 5 * self->page);
	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EQ(*p, 'x');
	munmap(p, self->page);
}

TEST_F(udmabuf_uapi, sync)
{
	struct dma_buf_sync s = { .flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW };

	self->buf = udmabuf_create(self->dev, self->memfd, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	EXPECT_ERR(ioctl(self->buf, DMA_BUF_IOCTL_SYNC, &s), EINVAL);
	s.flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW;
	EXPECT_EQ(ioctl(self->buf, DMA_BUF_IOCTL_SYNC, &s), 0);
	s.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	EXPECT_EQ(ioctl(self->buf, DMA_BUF_IOCTL_SYNC, &s), 0);
}

/* A mapping keeps the buffer, and the buffer keeps the pages. */
TEST_F(udmabuf_uapi, mapping_outlives_fds)
{
	char *p;
	int fd;

	fd = memfd_sealed(self->size, F_SEAL_SHRINK);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(pwrite(fd, "x", 1, self->page), 1);
	self->buf = udmabuf_create(self->dev, fd, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	p = map(self->buf, self->size);
	ASSERT_NE(p, MAP_FAILED);
	close(self->buf);
	self->buf = -1;
	close(fd);
	EXPECT_EQ(p[self->page], 'x');
	p[0] = 'y';
	EXPECT_EQ(p[0], 'y');
	munmap(p, self->size);
}

/* Parent and child have the same memory, before and after a first touch. */
TEST_F(udmabuf_uapi, fork)
{
	int status;
	pid_t pid;
	char *p;

	self->buf = udmabuf_create(self->dev, self->memfd, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	p = map(self->buf, self->size);
	ASSERT_NE(p, MAP_FAILED);
	p[0] = 'a';
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		if (p[0] != 'a')
			_exit(1);
		p[0] = 'b';
		p[self->page] = 'c';
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(p[0], 'b');
	EXPECT_EQ(p[self->page], 'c');
	munmap(p, self->size);
}

/* Every pin is given back, by a buffer as well as by a failed creation. */
TEST_F(udmabuf_uapi, pins_are_balanced)
{
	long long acquired, released, before;
	struct udmabuf_create_list *l;
	int i;

	acquired = read_vmstat("nr_foll_pin_acquired");
	released = read_vmstat("nr_foll_pin_released");
	if (acquired < 0 || released < 0)
		SKIP(return, "no nr_foll_pin_* in /proc/vmstat");
	before = acquired - released;

	l = alloc_list(self->memfd, self->page, PAGES);
	ASSERT_NE(l, NULL);
	self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, l);
	ASSERT_GE(self->buf, 0);
	l->list[PAGES - 1].memfd = self->dev;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EBADFD);
	free(l);

	/* That the counters count, and then that nothing is left. */
	EXPECT_GT(read_vmstat("nr_foll_pin_acquired"), acquired);
	close(self->buf);
	self->buf = -1;
	/* other users of pins may be at work: wait for them a little */
	for (i = 0; i < 50; i++) {
		acquired = read_vmstat("nr_foll_pin_acquired");
		released = read_vmstat("nr_foll_pin_released");
		if (acquired - released == before)
			break;
		usleep(100000);
	}
	EXPECT_EQ(acquired - released, before);
}

TEST_HARNESS_MAIN
