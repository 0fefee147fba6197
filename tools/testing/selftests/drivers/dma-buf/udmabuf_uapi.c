// SPDX-License-Identifier: GPL-2.0
/*
 * What a program that uses /dev/udmabuf can rely on: which error is returned
 * for what, and what a buffer is good for. None of this may change.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <linux/dma-buf.h>
#include "kselftest_harness.h"
#include "udmabuf_util.h"

#define PAGES	16
#define SHMEM_ENABLED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

enum { LIST_LIMIT, SIZE_LIMIT, NR_PARAMETERS };

static const char * const parameters[NR_PARAMETERS] = {
	[LIST_LIMIT] = "/sys/module/udmabuf/parameters/list_limit",
	[SIZE_LIMIT] = "/sys/module/udmabuf/parameters/size_limit_mb",
};

/* What they were when the program began. */
static char saved[NR_PARAMETERS][32];

FIXTURE(udmabuf_uapi)
{
	long long pins;
	size_t page;
	size_t size;
	int dev;
	int memfd;
	int buf;
};

/* The first line of a file, without its end. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "r");
	bool found = f && fgets(line, size, f);

	if (f)
		fclose(f);
	if (found)
		line[strcspn(line, "\n")] = 0;
	return found;
}

static void restore_parameters(void)
{
	char now[32];

	for (int i = 0; i < NR_PARAMETERS; i++)
		if (*saved[i] && read_line(parameters[i], now, sizeof(now)) &&
		    strcmp(now, saved[i]))
			write_str(parameters[i], saved[i]);
}

/* A test that is ended from outside restores nothing: the end of the program does. */
static void __attribute__((constructor)) save_parameters(void)
{
	for (int i = 0; i < NR_PARAMETERS; i++)
		if (!read_line(parameters[i], saved[i], sizeof(saved[i])))
			*saved[i] = 0;
	atexit(restore_parameters);
}

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
	self->pins = read_pins();
}

FIXTURE_TEARDOWN(udmabuf_uapi)
{
	restore_parameters();
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

/* A file that has no name on a new mount of @fs, which has pages of 2 MiB. */
static int open_on(const char *fs)
{
	int fsfd = fsopen(fs, 0), mnt = -1, fd = -1, err;

	if (fsfd >= 0 &&
	    (strcmp(fs, "hugetlbfs") ||
	     !fsconfig(fsfd, FSCONFIG_SET_STRING, "pagesize", "2M", 0)) &&
	    !fsconfig(fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		mnt = fsmount(fsfd, 0, 0);
	if (mnt >= 0)
		fd = openat(mnt, ".", O_TMPFILE | O_RDWR, 0600);
	err = errno;
	close(fsfd);
	close(mnt);
	errno = err;
	return fd;
}

/* Files of the same kinds can be sealed only if they are memfds. */
static void expect_no_memfd(struct __test_metadata *_metadata,
			    FIXTURE_DATA(udmabuf_uapi) * self, const char *fs)
{
	int fd = open_on(fs);

	if (fd < 0)
		SKIP(return, "no file on %s: %s", fs, strerror(errno));
	ASSERT_EQ(ftruncate(fd, 2 << 20), 0);
	EXPECT_ERR(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), EPERM);
	EXPECT_CREATE_ERR(EINVAL, fd, 0, self->page);
	EXPECT_CREATE_ERR(EINVAL, fd, 0, 2 << 20);
	close(fd);
}

TEST_F(udmabuf_uapi, tmpfs_file)
{
	expect_no_memfd(_metadata, self, "tmpfs");
}

TEST_F(udmabuf_uapi, hugetlbfs_file)
{
	expect_no_memfd(_metadata, self, "hugetlbfs");
}

/* While a buffer exists, devices may write: no seal against that. */
TEST_F(udmabuf_uapi, write_seal_is_refused)
{
	self->buf = udmabuf_create(self->dev, self->memfd, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	EXPECT_ERR(fcntl(self->memfd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);

	close(self->buf);
	self->buf = -1;
	EXPECT_EQ(fcntl(self->memfd, F_ADD_SEALS, F_SEAL_WRITE), 0);
}

/*
 * A hole takes pages from the file, but not from the buffer. A part of a page
 * that is larger is filled with zeroes where it is.
 */
TEST_F(udmabuf_uapi, hole_in_memfd)
{
	char *b, c = 'm', choice[128] = "";

	if (read_line(SHMEM_ENABLED, choice, sizeof(choice)) &&
	    !strstr(choice, "[never]") && !strstr(choice, "[advise]") &&
	    !strstr(choice, "[deny]"))
		SKIP(return, "memfds may have huge pages");

	ASSERT_EQ(pwrite(self->memfd, "m", 1, 0), 1);
	self->buf = udmabuf_create(self->dev, self->memfd, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	b = map(self->buf, self->size);
	ASSERT_NE(b, MAP_FAILED);

	EXPECT_EQ(fallocate(self->memfd,
			    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			    self->page), 0);
	EXPECT_EQ(b[0], 'm');
	EXPECT_EQ(pread(self->memfd, &c, 1, 0), 1);
	EXPECT_EQ(c, 0);
	b[0] = 'b';
	b[self->page] = 'b';
	EXPECT_EQ(pread(self->memfd, &c, 1, 0), 1);
	EXPECT_EQ(c, 0);
	EXPECT_EQ(pread(self->memfd, &c, 1, self->page), 1);
	EXPECT_EQ(c, 'b');
	munmap(b, self->size);
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
	l->list[PAGES - 1].size = 0;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EINVAL);
	/* A wrong file is told even if nothing or too much of it is asked for. */
	l->list[PAGES - 1].memfd = self->dev;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EBADFD);
	l->list[PAGES - 1].size = self->page;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EBADFD);
	l->list[PAGES - 1].offset = 1ULL << 63;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EBADFD);
	l->count = 0;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EINVAL);
	free(l);
}

TEST_F(udmabuf_uapi, list_limit)
{
	int limit = *saved[LIST_LIMIT] ? atoi(saved[LIST_LIMIT]) : 1024;
	struct udmabuf_create_list *l;

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

/* Whether @text can be written to @parameter, and is what is then read. */
static bool set_parameter(const char *parameter, const char *text)
{
	char found[32];

	return write_str(parameter, text) &&
	       read_line(parameter, found, sizeof(found)) && !strcmp(found, text);
}

TEST_F(udmabuf_uapi, parameters)
{
	static const char good[][16] = {
		"0", "1", "-1", "2147483647", "-2147483648",
	};
	static const char bad[][16] = { "many", "1 2", "2147483648", "-2147483649" };
	char found[32];
	struct stat st;

	for (int i = 0; i < NR_PARAMETERS; i++)
		if (access(parameters[i], W_OK))
			SKIP(return, "cannot write the parameters");

	for (int i = 0; i < NR_PARAMETERS; i++) {
		const char *path = parameters[i];
		size_t j;

		ASSERT_EQ(stat(path, &st), 0);
		EXPECT_EQ(st.st_mode & 07777, 0644);
		for (j = 0; j < ARRAY_SIZE(good); j++)
			EXPECT_TRUE(set_parameter(path, good[j]))
				TH_LOG("parameter %d, %s", i, good[j]);
		/* as the kernel reads numbers everywhere */
		EXPECT_TRUE(write_str(path, "0x10\n"));
		for (j = 0; j < ARRAY_SIZE(bad); j++) {
			errno = 0;
			EXPECT_FALSE(write_str(path, bad[j]));
			/* What is out of range may be told from what is no number. */
			EXPECT_TRUE(errno == EINVAL || (j > 1 && errno == ERANGE))
				TH_LOG("parameter %d, %s: %s", i, bad[j], strerror(errno));
		}
		/* What is refused changes nothing. */
		EXPECT_TRUE(read_line(path, found, sizeof(found)));
		EXPECT_STREQ(found, "16");
	}
}

/* A negative limit is none. */
TEST_F(udmabuf_uapi, list_limit_set)
{
	struct udmabuf_create_list *l;
	const __u32 many = 5000;

	if (access(parameters[LIST_LIMIT], W_OK))
		SKIP(return, "cannot write the parameters");
	l = alloc_list(self->memfd, self->page, many);
	ASSERT_NE(l, NULL);

	ASSERT_TRUE(set_parameter(parameters[LIST_LIMIT], "4"));
	l->count = 5;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EINVAL);
	l->count = 4;
	self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, l);
	EXPECT_GE(self->buf, 0);
	close(self->buf);

	ASSERT_TRUE(set_parameter(parameters[LIST_LIMIT], "0"));
	l->count = 1;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EINVAL);
	/* It is for lists only. */
	self->buf = udmabuf_create(self->dev, self->memfd, 0, self->size, 0);
	EXPECT_GE(self->buf, 0);
	close(self->buf);

	ASSERT_TRUE(set_parameter(parameters[LIST_LIMIT], "-1"));
	l->count = many;
	self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, l);
	EXPECT_GE(self->buf, 0);
	if (self->buf >= 0)
		EXPECT_EQ(lseek(self->buf, 0, SEEK_END), (off_t)(many * self->page));
	free(l);
}

TEST_F(udmabuf_uapi, size_limit_set)
{
	const size_t mib = 1 << 20;
	struct udmabuf_create_list *l;
	int fd;

	if (access(parameters[SIZE_LIMIT], W_OK))
		SKIP(return, "cannot write the parameters");
	l = alloc_list(self->memfd, self->page, 2);
	ASSERT_NE(l, NULL);
	fd = memfd_sealed(4 * mib, F_SEAL_SHRINK);
	ASSERT_GE(fd, 0);

	ASSERT_TRUE(set_parameter(parameters[SIZE_LIMIT], "2"));
	EXPECT_CREATE_ERR(EINVAL, fd, 0, 2 * mib + self->page);
	self->buf = udmabuf_create(self->dev, fd, 0, 2 * mib, 0);
	EXPECT_GE(self->buf, 0);
	close(self->buf);
	/* It is for the sum of a list. */
	l->list[0].memfd = fd;
	l->list[0].size = 2 * mib;
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EINVAL);
	l->list[0].size -= self->page;
	self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, l);
	EXPECT_GE(self->buf, 0);
	close(self->buf);

	ASSERT_TRUE(set_parameter(parameters[SIZE_LIMIT], "0"));
	EXPECT_CREATE_ERR(EINVAL, fd, 0, self->page);

	ASSERT_TRUE(set_parameter(parameters[SIZE_LIMIT], "-1"));
	self->buf = udmabuf_create(self->dev, fd, 0, 4 * mib, 0);
	EXPECT_GE(self->buf, 0);
	free(l);
	close(fd);
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

	/* Other flags are ignored. */
	fd = udmabuf_create(self->dev, self->memfd, 0, self->page, ~UDMABUF_FLAGS_CLOEXEC);
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

/* The flags that smaps has for the mapping at @p, as " rd wr sh ", or "". */
static void read_vm_flags(const char *p, char *vm_flags, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool here = false;
	char line[256];

	*vm_flags = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start == (uintptr_t)p;
		else if (here && !strncmp(line, "VmFlags:", 8))
			snprintf(vm_flags, size, "%s", line + 8);
	}
	vm_flags[strcspn(vm_flags, "\n")] = 0;
	if (f)
		fclose(f);
}

TEST_F(udmabuf_uapi, vm_flags)
{
	/* PFNMAP, and neither grown, dumped nor MIXEDMAP or IO */
	static const char * const has[] = { "sh", "pf", "de", "dd" };
	static const char * const lacks[] = { "mm", "io", "lo", "dc", "nr" };
	char vm_flags[256], flag[8], *p;
	size_t i;

	self->buf = udmabuf_create(self->dev, self->memfd, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	p = map(self->buf, self->size);
	ASSERT_NE(p, MAP_FAILED);
	for (int touched = 0; touched < 2; touched++) {
		read_vm_flags(p, vm_flags, sizeof(vm_flags));
		if (!*vm_flags)
			SKIP(return, "no VmFlags in /proc/self/smaps");
		for (i = 0; i < ARRAY_SIZE(has); i++) {
			snprintf(flag, sizeof(flag), " %s ", has[i]);
			EXPECT_NE(strstr(vm_flags, flag), NULL)
				TH_LOG("no %s in %s", has[i], vm_flags);
		}
		for (i = 0; i < ARRAY_SIZE(lacks); i++) {
			snprintf(flag, sizeof(flag), " %s ", lacks[i]);
			EXPECT_EQ(strstr(vm_flags, flag), NULL)
				TH_LOG("%s in %s", lacks[i], vm_flags);
		}
		__atomic_store_n(p, 'x', __ATOMIC_RELAXED);
	}
	munmap(p, self->size);
}

/* A mapping may shrink and move, but not grow, although the buffer is larger. */
TEST_F(udmabuf_uapi, mremap)
{
	size_t half = self->size / 2;
	char *p, *q;

	self->buf = udmabuf_create(self->dev, self->memfd, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	ASSERT_EQ(pwrite(self->memfd, "x", 1, self->page), 1);
	p = map(self->buf, half);
	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EQ(p[self->page], 'x');
	errno = 0;
	q = mremap(p, half, self->size, MREMAP_MAYMOVE);
	EXPECT_EQ(q, MAP_FAILED);
	EXPECT_EQ(errno, EFAULT);
	errno = 0;
	q = mremap(p, half, half + self->page, 0);
	EXPECT_EQ(q, MAP_FAILED);
	EXPECT_EQ(errno, EFAULT);
	/* It is still there. */
	EXPECT_EQ(p[self->page], 'x');
	EXPECT_EQ(mremap(p, half, 2 * self->page, 0), p);
	EXPECT_EQ(p[self->page], 'x');
	munmap(p, 2 * self->page);
}

/* What can be asked of the file descriptor of a buffer. */
TEST_F(udmabuf_uapi, size)
{
	char path[64], name[32] = "", line[128];
	struct stat st;
	FILE *f;

	self->buf = udmabuf_create(self->dev, self->memfd, self->page,
				   self->size - self->page, 0);
	ASSERT_GE(self->buf, 0);
	ASSERT_EQ(fstat(self->buf, &st), 0);
	EXPECT_EQ(st.st_size, (off_t)(self->size - self->page));
	EXPECT_EQ(lseek(self->buf, 0, SEEK_END), st.st_size);
	EXPECT_EQ(lseek(self->buf, 0, SEEK_SET), 0);
	EXPECT_ERR(lseek(self->buf, self->page, SEEK_SET), EINVAL);
	EXPECT_ERR(lseek(self->buf, -1, SEEK_END), EINVAL);

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->buf);
	EXPECT_EQ(read_counter(path, "size:"), st.st_size);
	EXPECT_EQ(read_counter(path, "count:"), 1);
	f = fopen(path, "r");
	ASSERT_NE(f, NULL);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "exp_name: %31s", name);
	fclose(f);
	EXPECT_STREQ(name, "udmabuf");

	/* It is for mappings and importers only. */
	EXPECT_ERR(read(self->buf, line, 1), EINVAL);
	EXPECT_ERR(write(self->buf, line, 1), EINVAL);
	EXPECT_ERR(ftruncate(self->buf, self->page), EINVAL);
}

TEST_F(udmabuf_uapi, sync)
{
	struct dma_buf_sync s = { .flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW };

	self->buf = udmabuf_create(self->dev, self->memfd, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	/* With bounce buffers there is nothing to begin or to end. */
	if (!has_bounce_buffers())
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
	struct udmabuf_create_list *l;
	long long acquired;

	acquired = read_vmstat("nr_foll_pin_acquired");
	if (acquired < 0)
		SKIP(return, "no nr_foll_pin_* in /proc/vmstat (root?)");

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
	EXPECT_TRUE(wait_for_pins(self->pins));
}

/* With no file descriptor left, the buffer goes again. */
TEST_F(udmabuf_uapi, no_fd)
{
	struct udmabuf_create_list *l;
	struct rlimit old, none;
	long long acquired;
	int next;

	acquired = read_vmstat("nr_foll_pin_acquired");
	if (acquired < 0)
		SKIP(return, "no nr_foll_pin_* in /proc/vmstat (root?)");
	l = alloc_list(self->memfd, self->page, PAGES);
	ASSERT_NE(l, NULL);

	ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
	next = dup(self->memfd);
	ASSERT_GT(next, 0);
	close(next);
	none = old;
	none.rlim_cur = next;
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	EXPECT_CREATE_ERR(EMFILE, self->memfd, 0, self->size);
	EXPECT_ERR(ioctl(self->dev, UDMABUF_CREATE_LIST, l), EMFILE);
	/* What is wrong with the request is found first. */
	EXPECT_CREATE_ERR(EINVAL, self->memfd, 0, self->size + self->page);
	EXPECT_CREATE_ERR(EBADFD, self->dev, 0, self->size);
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	free(l);

	EXPECT_GT(read_vmstat("nr_foll_pin_acquired"), acquired);
	EXPECT_TRUE(wait_for_pins(self->pins));
}

TEST_HARNESS_MAIN
