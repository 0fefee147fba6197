// SPDX-License-Identifier: GPL-2.0
/*
 * A udmabuf of a guest_memfd, the memory of a virtual machine: what the buffer,
 * the file and the guest see must be the same, what the host may not see must
 * not become a buffer, and what the file gives up must stay with the buffer.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <linux/falloc.h>
#include "kselftest_harness.h"
#include "udmabuf_gmem.h"
#include "udmabuf_util.h"

#define PAGES		16

#define LEAK_PAGES	4096
#define LEAK_SLACK	512
#define RACE_TRIES	200

FIXTURE(udmabuf_gmem)
{
	size_t page;
	size_t size;
	int dev;
	int kvm;
	int vm;
	int gmem;
	int buf;
};

static char *map(int fd, size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static int punch_hole(int fd, off_t offset, off_t len)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
}

FIXTURE_SETUP(udmabuf_gmem)
{
	const char *missing;

	self->page = sysconf(_SC_PAGESIZE);
	self->size = PAGES * self->page;
	self->kvm = -1;
	self->vm = -1;
	self->gmem = -1;
	self->buf = -1;

	self->dev = open(UDMABUF_DEV, O_RDWR);
	if (self->dev < 0)
		SKIP(return, "cannot open " UDMABUF_DEV ": %s", strerror(errno));
	missing = gmem_vm(&self->kvm, &self->vm);
	if (missing)
		SKIP(return, "%s", missing);

	self->gmem = gmem_create(self->vm, self->size, GMEM_SHARED);
	ASSERT_GE(self->gmem, 0);

	/* This is what udmabuf says about any file that it knows nothing of. */
	self->buf = udmabuf_create(self->dev, self->gmem, 0, self->page, 0);
	if (self->buf < 0 && errno == EBADFD)
		SKIP(return, "udmabuf does not take a guest_memfd");
	ASSERT_GE(self->buf, 0)
		TH_LOG("%s", strerror(errno));
	close(self->buf);
	self->buf = -1;
	ASSERT_EQ(punch_hole(self->gmem, 0, self->size), 0);
}

FIXTURE_TEARDOWN(udmabuf_gmem)
{
	close(self->buf);
	close(self->gmem);
	close(self->vm);
	close(self->kvm);
	close(self->dev);
}

#define EXPECT_CREATE_ERR(err, fd, offset, size) do {				\
	int errno_, ret_;							\
										\
	errno = 0;								\
	ret_ = udmabuf_create(self->dev, fd, offset, size, 0);			\
	errno_ = errno;								\
	EXPECT_EQ(ret_, -1);							\
	EXPECT_EQ(errno_, err);							\
	close(ret_);								\
} while (0)

TEST_F(udmabuf_gmem, same_memory)
{
	char *b, *g;
	int i;

	g = map(self->gmem, self->size);
	ASSERT_NE(g, MAP_FAILED);
	/* Half of the pages exist before the buffer does. */
	for (i = 0; i < PAGES; i += 2)
		g[i * self->page] = i + 1;

	self->buf = udmabuf_create(self->dev, self->gmem, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	b = map(self->buf, self->size);
	ASSERT_NE(b, MAP_FAILED);

	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(b[i * self->page], i % 2 ? 0 : i + 1);
		b[i * self->page + 1] = i + 'a';
	}
	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(g[i * self->page + 1], i + 'a');
		g[i * self->page + 2] = i + 'A';
	}
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(b[i * self->page + 2], i + 'A');
	munmap(b, self->size);

	/* and nothing of it goes with the buffer */
	close(self->buf);
	self->buf = -1;
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(g[i * self->page + 1], i + 'a');
	munmap(g, self->size);
}

/*
 * Nobody has cleared a page that fallocate() made. The buffer must show zeroes,
 * and the first fault on the file must not clear what the buffer holds by then.
 */
TEST_F(udmabuf_gmem, fallocated_pages_are_zero)
{
	size_t i, old = 0, lost = 0;
	char *b, *g;
	int status;
	pid_t pid;

	/* Leave something in the pages that will be used next. */
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		b = mmap(NULL, 256 * self->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (b != MAP_FAILED)
			memset(b, 'x', 256 * self->size);
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);

	ASSERT_EQ(fallocate(self->gmem, FALLOC_FL_KEEP_SIZE, 0, self->size), 0);
	self->buf = udmabuf_create(self->dev, self->gmem, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	b = map(self->buf, self->size);
	ASSERT_NE(b, MAP_FAILED);
	for (i = 0; i < self->size; i++)
		old += b[i] != 0;
	EXPECT_EQ(old, 0);

	memset(b, 'y', self->size);
	g = map(self->gmem, self->size);
	ASSERT_NE(g, MAP_FAILED);
	for (i = 0; i < self->size; i++)
		lost += g[i] != 'y';
	EXPECT_EQ(lost, 0);
	munmap(g, self->size);
	munmap(b, self->size);
}

/* A buffer can be mapped: none of what must not be mapped. */
TEST_F(udmabuf_gmem, private_memory)
{
	static const __u64 flags[] = {
		0,
		GUEST_MEMFD_FLAG_MMAP,
		GUEST_MEMFD_FLAG_INIT_SHARED,
	};
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		fd = gmem_create(self->vm, self->size, flags[i]);
		ASSERT_GE(fd, 0);
		errno = 0;
		self->buf = udmabuf_create(self->dev, fd, 0, self->page, 0);
		EXPECT_TRUE(self->buf == -1 && errno == EPERM)
			TH_LOG("flags %#llx: %d, %s", (unsigned long long)flags[i],
			       self->buf, strerror(errno));
		close(self->buf);
		self->buf = -1;
		/* The bounds come last. */
		EXPECT_CREATE_ERR(EPERM, fd, self->size, self->page);
		close(fd);
	}
}

/* The same number must not stand for a memfd's seals, which is another mistake. */
TEST_F(udmabuf_gmem, seals_are_told_apart)
{
	static const int seals[] = {
		F_SEAL_SHRINK | F_SEAL_WRITE,
		F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE,
		F_SEAL_WRITE,
	};
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(seals); i++) {
		fd = memfd_sealed(self->size, seals[i]);
		ASSERT_GE(fd, 0);
		EXPECT_CREATE_ERR(EINVAL, fd, 0, self->page);
		close(fd);
	}
}

TEST_F(udmabuf_gmem, bad_range)
{
	EXPECT_CREATE_ERR(EINVAL, self->gmem, 0, 0);
	EXPECT_CREATE_ERR(EINVAL, self->gmem, self->page / 2, self->page);
	EXPECT_CREATE_ERR(EINVAL, self->gmem, 0, self->size + self->page);
	EXPECT_CREATE_ERR(EINVAL, self->gmem, self->size, self->page);
	EXPECT_CREATE_ERR(EINVAL, self->gmem, self->page, self->size);
}

/* The hole takes the pages from the file, but not from the buffer. */
TEST_F(udmabuf_gmem, punch_hole)
{
	char *b, *g;
	int i, fd;

	self->buf = udmabuf_create(self->dev, self->gmem, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	b = map(self->buf, self->size);
	g = map(self->gmem, self->size);
	ASSERT_NE(b, MAP_FAILED);
	ASSERT_NE(g, MAP_FAILED);
	memset(b, 'x', self->size);

	ASSERT_EQ(punch_hole(self->gmem, 0, self->size / 2), 0);

	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(b[i * self->page], 'x');
		EXPECT_EQ(g[i * self->page], i < PAGES / 2 ? 0 : 'x');
		g[i * self->page] = 'g';
		EXPECT_EQ(b[i * self->page], i < PAGES / 2 ? 'x' : 'g');
	}
	munmap(b, self->size);
	close(self->buf);

	/* A new buffer is of the new pages. */
	self->buf = udmabuf_create(self->dev, self->gmem, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	b = map(self->buf, self->size);
	ASSERT_NE(b, MAP_FAILED);
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(b[i * self->page], 'g');

	/* The old file and the old mapping were all that is left to go. */
	munmap(g, self->size);
	fd = self->gmem;
	self->gmem = -1;
	close(fd);
	EXPECT_EQ(b[0], 'g');
	munmap(b, self->size);
}

/* Whatever comes first, a hole or the pin: there is a buffer of whole pages. */
TEST_F_TIMEOUT(udmabuf_gmem, punch_hole_race, 120)
{
	int i, j, status, good = 0, busy = 0;
	pid_t pid;
	char *b;

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		/* Not longer than the test, however that ends. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			if (punch_hole(self->gmem, 0, self->size))
				_exit(1);
	}
	for (i = 0; i < RACE_TRIES; i++) {
		self->buf = udmabuf_create(self->dev, self->gmem, 0, self->size, 0);
		if (self->buf < 0) {
			/* A page that leaves the file again and again. */
			EXPECT_EQ(errno, EBUSY);
			busy++;
			continue;
		}
		good++;
		b = map(self->buf, self->size);
		ASSERT_NE(b, MAP_FAILED);
		for (j = 0; j < PAGES; j++) {
			EXPECT_EQ(b[j * self->page], 0);
			b[j * self->page] = 'x';
			EXPECT_EQ(b[j * self->page], 'x');
		}
		munmap(b, self->size);
		close(self->buf);
		self->buf = -1;
		ASSERT_EQ(punch_hole(self->gmem, 0, self->size), 0);
	}
	TH_LOG("%d buffers, %d errors", good, busy);
	EXPECT_GT(good, 0);
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_TRUE(WIFSIGNALED(status));
}

TEST_F(udmabuf_gmem, buffer_outlives_vm)
{
	char *b;
	int i;

	self->buf = udmabuf_create(self->dev, self->gmem, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);

	close(self->vm);
	self->vm = -1;
	b = map(self->buf, self->size);
	ASSERT_NE(b, MAP_FAILED);
	memset(b, 'v', self->size);

	/* The file keeps the VM; now it goes. */
	close(self->gmem);
	close(self->kvm);
	self->gmem = -1;
	self->kvm = -1;
	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(b[i * self->page], 'v');
		b[i * self->page] = 'w';
	}

	/* Last of all a mapping. */
	close(self->buf);
	self->buf = -1;
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(b[i * self->page], 'w');
	munmap(b, self->size);
}

/*
 * Poisons page @index of @fd. Whoever has it mapped gets SIGBUS, so this is done
 * by a child.
 */
static bool poison(int fd, size_t index, size_t page)
{
	int status;
	pid_t pid;
	char *p;

	pid = fork();
	if (!pid) {
		p = map(fd, (index + 1) * page);
		if (p == MAP_FAILED)
			_exit(1);
		p[index * page] = 'x';
		_exit(madvise(p + index * page, page, MADV_HWPOISON) ? 1 : 0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid &&
	       (WIFEXITED(status) ? !WEXITSTATUS(status) : WTERMSIG(status) == SIGBUS);
}

/* A page with a memory error is not to be had. */
TEST_F(udmabuf_gmem, poisoned_page)
{
	long long before = read_pins();

	if (!poison(self->gmem, 1, self->page))
		SKIP(return, "cannot poison a page (CONFIG_MEMORY_FAILURE, root)");

	EXPECT_CREATE_ERR(EHWPOISON, self->gmem, 0, self->size);
	EXPECT_CREATE_ERR(EHWPOISON, self->gmem, self->page, self->page);
	EXPECT_TRUE(wait_for_pins(before));

	self->buf = udmabuf_create(self->dev, self->gmem, 2 * self->page, self->page, 0);
	EXPECT_GE(self->buf, 0);
}

/* Every pin is given back, by a buffer as well as by a failed creation. */
TEST_F(udmabuf_gmem, pins_are_balanced)
{
	struct udmabuf_create_list *l;
	long long before, acquired;
	int i, private, memfd;

	before = read_pins();
	acquired = read_vmstat("nr_foll_pin_acquired");
	if (acquired < 0)
		SKIP(return, "no nr_foll_pin_* in /proc/vmstat");

	private = gmem_create(self->vm, self->size, 0);
	ASSERT_GE(private, 0);
	memfd = memfd_sealed(self->size, F_SEAL_SHRINK);
	ASSERT_GE(memfd, 0);

	l = calloc(1, sizeof(*l) + 3 * sizeof(l->list[0]));
	ASSERT_NE(l, NULL);
	l->count = 3;
	for (i = 0; i < 3; i++) {
		l->list[i].memfd = self->gmem;
		l->list[i].size = self->size;
	}
	l->list[1].memfd = memfd;
	self->buf = ioctl(self->dev, UDMABUF_CREATE_LIST, l);
	ASSERT_GE(self->buf, 0);
	EXPECT_EQ(lseek(self->buf, 0, SEEK_END), (off_t)(3 * self->size));

	l->list[2].memfd = private;
	EXPECT_EQ(ioctl(self->dev, UDMABUF_CREATE_LIST, l), -1);
	EXPECT_EQ(errno, EPERM);
	free(l);

	/* That the counters count, and then that nothing is left. */
	EXPECT_GE(read_vmstat("nr_foll_pin_acquired"), acquired + 4 * PAGES);
	ASSERT_EQ(punch_hole(self->gmem, 0, self->size), 0);
	close(self->buf);
	self->buf = -1;
	EXPECT_TRUE(wait_for_pins(before))
		TH_LOG("%lld pins before, %lld now", before, read_pins());
	close(private);
	close(memfd);
}

/* The memory of a guest_memfd is unevictable for as long as it is allocated. */
TEST_F(udmabuf_gmem, memory_is_freed)
{
	size_t size = LEAK_PAGES * self->page;
	long long before, during, least;
	int i, fd;

	before = read_vmstat("nr_unevictable");
	fd = gmem_create(self->vm, size, GMEM_SHARED);
	ASSERT_GE(fd, 0);
	self->buf = udmabuf_create(self->dev, fd, 0, size, 0);
	ASSERT_GE(self->buf, 0);
	during = read_vmstat("nr_unevictable");
	least = before + LEAK_PAGES - LEAK_SLACK;
	if (before < 0 || during < least)
		SKIP(return, "nr_unevictable does not count: %lld, then %lld", before, during);

	/* One half is taken from the file here, the other one when it is closed. */
	ASSERT_EQ(punch_hole(fd, 0, size / 2), 0);
	EXPECT_GE(read_vmstat("nr_unevictable"), least);
	close(fd);
	EXPECT_GE(read_vmstat("nr_unevictable"), least);

	close(self->buf);
	self->buf = -1;
	for (i = 0; i < 50; i++) {
		if (read_vmstat("nr_unevictable") < before + LEAK_SLACK)
			break;
		usleep(100000);
	}
	EXPECT_LT(i, 50)
		TH_LOG("%lld unevictable pages before, %lld now", before,
		       read_vmstat("nr_unevictable"));
}

#ifdef __x86_64__
/* The guest runs what the buffer holds, and the buffer holds what it writes. */
TEST_F(udmabuf_gmem, guest_access)
{
	static const char code[] = {
		0xa0, 0x00, 0x10,	/* mov al, [0x1000] */
		0xfe, 0xc0,		/* inc al */
		0xa2, 0x00, 0x20,	/* mov [0x2000], al */
		0xf4,			/* hlt */
	};
	struct kvm_userspace_memory_region2 region = {
		.flags = KVM_MEM_GUEST_MEMFD,
		.memory_size = self->size,
		.guest_memfd = self->gmem,
	};
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;
	struct kvm_run *run;
	int vcpu, run_size;
	char *b, *g;

	g = map(self->gmem, self->size);
	ASSERT_NE(g, MAP_FAILED);
	region.userspace_addr = (unsigned long)g;
	ASSERT_EQ(ioctl(self->vm, KVM_SET_USER_MEMORY_REGION2, &region), 0);
	self->buf = udmabuf_create(self->dev, self->gmem, 0, self->size, 0);
	ASSERT_GE(self->buf, 0);
	b = map(self->buf, self->size);
	ASSERT_NE(b, MAP_FAILED);
	memcpy(b, code, sizeof(code));
	b[0x1000] = 'a';

	vcpu = ioctl(self->vm, KVM_CREATE_VCPU, 0);
	ASSERT_GE(vcpu, 0);
	run_size = ioctl(self->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	ASSERT_GT(run_size, 0);
	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	ASSERT_NE(run, MAP_FAILED);
	ASSERT_EQ(ioctl(vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	ASSERT_EQ(ioctl(vcpu, KVM_SET_SREGS, &sregs), 0);
	ASSERT_EQ(ioctl(vcpu, KVM_SET_REGS, &regs), 0);
	ASSERT_EQ(ioctl(vcpu, KVM_RUN, NULL), 0);
	EXPECT_EQ(run->exit_reason, KVM_EXIT_HLT);
	EXPECT_EQ(b[0x2000], 'b');

	/* The hole takes the memory from the guest, too, but not from the buffer. */
	ASSERT_EQ(punch_hole(self->gmem, 0x1000, self->size - 0x1000), 0);
	ASSERT_EQ(ioctl(vcpu, KVM_SET_REGS, &regs), 0);
	ASSERT_EQ(ioctl(vcpu, KVM_RUN, NULL), 0);
	EXPECT_EQ(run->exit_reason, KVM_EXIT_HLT);
	EXPECT_EQ(g[0x2000], 1);
	EXPECT_EQ(b[0x2000], 'b');

	munmap(run, run_size);
	close(vcpu);
	munmap(b, self->size);
	munmap(g, self->size);
}
#endif

TEST_HARNESS_MAIN
