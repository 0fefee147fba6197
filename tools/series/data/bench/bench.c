// SPDX-License-Identifier: GPL-2.0
/*
 * The guest of `series bench`: its first and only process. Counts the instructions of operations on /dev/udmabuf.
 *
 * QEMU's -icount shift=0 makes the time stamp counter the number of executed instructions. Each operation is measured
 * on a fresh buffer, REPEATS times; the least counts, because an interrupt of the timer can only add to it.
 *
 * Parameters are in the environment, where the kernel puts what it does not know of its command line:
 *   bench_buffer=NAME     one of the buffers below
 *   bench_sizes=16,256    sizes in MiB
 *   bench_only=OP         this operation only, for a profile
 *   bench_latency=1       not what operations cost, but how long they keep interrupts or preemption off
 * Results are lines on the second serial port, "bench: BUFFER MIB OPERATION VALUE", and "bench: end" in the end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define REPEATS		2
#define PAGE		4096UL
#define MIB		(1UL << 20)
#define LARGE_FOLIO	(64UL << 10)
#define HUGE_PAGE	(2 * MIB)
#define GIGANTIC_PAGE	(1024 * MIB)
#define PIECES		1024
/* How many pages a random touch takes: one instruction count per touch is reported. */
#define TOUCHES		256

/* mm/gup_test.h and enum in include/linux/mm_types.h; neither is for user space. */
struct gup_test {
	uint64_t get_delta_usec;
	uint64_t put_delta_usec;
	uint64_t addr;
	uint64_t size;
	uint32_t nr_pages_per_call;
	uint32_t gup_flags;
	uint32_t test_flags;
	uint32_t which_pages[8];
};
#define PIN_FAST_BENCHMARK	_IOWR('g', 2, struct gup_test)
#define FOLL_WRITE		(1 << 0)
#define FOLL_LONGTERM		(1 << 8)

/* mm/gup_test.h of the stack. */
struct pin_fd_test_start {
	int32_t fd;
	uint32_t flags;
	uint64_t start;
	uint64_t size;
	uint32_t max_ranges;
	uint32_t nr_ranges;
	uint64_t pinned;
};
#define PIN_FD_TEST_START	_IOWR('g', 10, struct pin_fd_test_start)
#define PIN_FD_TEST_STOP	_IO('g', 14)
#define PIN_FD_WRITE		0x1

/* data/bench/series_bench.c, which is in each kernel. */
#define BENCH_ATTACH		_IO('s', 1)
#define BENCH_DETACH		_IO('s', 2)
#define BENCH_VMAP		_IO('s', 3)
#define BENCH_VUNMAP		_IO('s', 4)
#define BENCH_PIN		_IO('s', 5)
#define BENCH_UNPIN		_IO('s', 6)
#define BENCH_PURGE		_IO('s', 7)

struct buffer {
	const char *name;
	unsigned int memfd_flags;
	size_t folio;		/* the size of each */
	int hole;		/* never written: create fills it */
	int pieces;		/* a list of scattered pieces */
	int killed;		/* its creation, half way */
};

static const struct buffer buffers[] = {
	{ "shmem",      0, .folio = PAGE },
	{ "holes",      0, .folio = PAGE, .hole = 1 },
	{ "list",       0, .folio = PAGE, .pieces = 1 },
	{ "mthp",       0, .folio = LARGE_FOLIO },
	{ "thp",        0, .folio = HUGE_PAGE },
	{ "hugetlb",    MFD_HUGETLB | MFD_HUGE_2MB, .folio = HUGE_PAGE },
	{ "hugetlb-1g", MFD_HUGETLB | MFD_HUGE_1GB, .folio = GIGANTIC_PAGE },
	{ "killed",     0, .folio = PAGE, .hole = 1, .killed = 1 },
};

static const struct buffer *buffer;
static size_t size;
static const char *only;
static int udmabuf, helper, gup_test, out;
static int latency;

/* A profile counts what is executed between these two. */
__attribute__((noinline, aligned(64))) void bench_begin(void) { asm volatile(""); }
__attribute__((noinline, aligned(64))) void bench_end(void) { asm volatile(""); }

static void say(const char *format, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (write(out, line, n) != n)
		reboot(RB_POWER_OFF);
}

static void __attribute__((noreturn)) die(const char *what)
{
	say("bench: error %s: %s (%s, %zu MiB)\n", what, strerror(errno),
	    buffer ? buffer->name : "-", size / MIB);
	reboot(RB_POWER_OFF);
	_exit(1);
}

static inline uint64_t now(void)
{
	uint32_t low, high;

	asm volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) :: "memory");
	return (uint64_t)high << 32 | low;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd))
		die(path);
}

static long get(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0 || close(fd))
		die(path);
	return atol(text);
}

/* A number of /proc/meminfo, in bytes. */
static long meminfo(const char *key)
{
	char text[4096], *found;
	int fd = open("/proc/meminfo", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		die("/proc/meminfo");
	close(fd);
	text[n] = 0;
	found = strstr(text, key);
	return found ? atol(found + strlen(key)) * 1024 : 0;
}

/* What the kernel holds for itself. The counters of each CPU are added to the sums first. */
static long metadata(void)
{
	put("/proc/sys/vm/stat_refresh", "1");
	return meminfo("\nSlab:") + meminfo("\nVmallocUsed:");
}

static void *map(int fd, int flags)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void unmap(void *p)
{
	if (munmap(p, size))
		die("munmap");
}

/* With shmem_enabled=within_size a write makes the largest folio that fits into the file and has no page yet. */
static void populate_by_folio(int fd)
{
	for (size_t offset = 0; offset < size; offset += LARGE_FOLIO)
		if (ftruncate(fd, offset + LARGE_FOLIO) || pwrite(fd, "", 1, offset) != 1)
			die("write");
}

/* The file, with all pages that it shall have. */
static int make_memfd(void)
{
	static const char setting[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	int fd = memfd_create("bench", MFD_ALLOW_SEALING | buffer->memfd_flags);

	put(setting, buffer->folio == PAGE ? "never" :
		     buffer->folio == LARGE_FOLIO ? "within_size" : "always");
	if (fd < 0)
		die("memfd");
	if (buffer->folio == LARGE_FOLIO)
		populate_by_folio(fd);
	if (ftruncate(fd, size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		die("memfd");
	if (!buffer->hole && buffer->folio != LARGE_FOLIO)
		unmap(map(fd, MAP_POPULATE));
	/* Or khugepaged would make huge pages of what is mapped from now on. Huge pages would be mapped one by one. */
	if (buffer->folio == LARGE_FOLIO)
		put(setting, "never");
	return fd;
}

static int create(int memfd)
{
	static char request[sizeof(struct udmabuf_create_list) +
			    PIECES * sizeof(struct udmabuf_create_item)];
	struct udmabuf_create_list *list = (void *)request;
	struct udmabuf_create one = { .memfd = memfd, .size = size };
	size_t piece = size / PIECES;

	if (!buffer->pieces)
		return ioctl(udmabuf, UDMABUF_CREATE, &one);

	list->count = PIECES;
	for (unsigned int i = 0; i < PIECES; i++)
		list->list[i] = (struct udmabuf_create_item){
			.memfd = memfd,
			/* A permutation: the factor is odd. */
			.offset = (i * 389 % PIECES) * piece,
			.size = piece,
		};
	return ioctl(udmabuf, UDMABUF_CREATE_LIST, list);
}

static int fresh(int memfd)
{
	int fd = create(memfd);

	if (fd < 0)
		die("create");
	return fd;
}

static void sync_buffer(int fd, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags | DMA_BUF_SYNC_RW };

	if (ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync))
		die("sync");
}

static void __attribute__((noinline)) touch(volatile char *p)
{
	for (size_t i = 0; i < size; i += PAGE)
		p[i] = 1;
}

static void __attribute__((noinline)) touch_randomly(volatile char *p)
{
	uint32_t pages = size / PAGE, page = 12345;

	for (int i = 0; i < TOUCHES; i++) {
		/* Visits every page of a power of two once before it repeats. */
		page = (page * 1664525 + 1013904223) & (pages - 1);
		p[page * PAGE] = 1;
	}
}

/* How many pieces of contiguous memory the file has: the entries of the table of a sync. */
static long runs(int memfd)
{
	static uint64_t map_entries[4096];
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	char *p = map(memfd, MAP_POPULATE);
	size_t pages = size / PAGE, piece = buffer->pieces ? pages / PIECES : pages;
	uint64_t last = 0;
	long found = 0;

	for (size_t i = 0; i < pages; i += 4096) {
		if (pread(pagemap, map_entries, sizeof(map_entries),
			  ((uintptr_t)p / PAGE + i) * 8) != sizeof(map_entries))
			die("pagemap");
		for (size_t j = 0; j < 4096; j++) {
			uint64_t pfn = map_entries[j] & ((1ULL << 55) - 1);

			found += pfn != last + 1 || (i + j) % piece == 0;
			last = pfn;
		}
	}
	unmap(p);
	close(pagemap);
	return found;
}

enum op {
	CREATE, METADATA, FIRST_TOUCH, TOUCH_ALL, TOUCH_LOOP, RANDOM_TOUCH, MUNMAP,
	FIRST_SYNC, LATER_SYNC, ATTACH, DETACH, VMAP, VUNMAP, CLOSE,
	PIN, UNPIN, PIN_FAST, UNPIN_FAST, KILLED, RUNS, NR_OPS
};

static const char *const names[NR_OPS] = {
	"create", "metadata", "first_touch", "touch_all", "touch_loop", "random_touch", "munmap",
	"first_sync", "later_sync", "attach", "detach", "vmap", "vunmap", "close",
	"pin", "unpin", "pin_fast", "unpin_fast", "killed", "runs"
};

static int64_t least[NR_OPS];

static void result(enum op op, int64_t value)
{
	if (least[op] < 0 || value < least[op])
		least[op] = value;
}

static int wanted(enum op op)
{
	return !only || !strcmp(only, names[op]);
}

static uint64_t begin(enum op op)
{
	if (latency) {
		put("/sys/kernel/tracing/tracing_max_latency", "0");
		put("/sys/kernel/tracing/tracing_on", "1");
	}
	if (only && wanted(op))
		bench_begin();
	return now();
}

static void end(enum op op, uint64_t start)
{
	uint64_t value = now() - start;

	if (only && wanted(op))
		bench_end();
	if (latency) {
		put("/sys/kernel/tracing/tracing_on", "0");
		/* The kernel reports microseconds: thousands of instructions. */
		value = get("/sys/kernel/tracing/tracing_max_latency") * 1000;
	}
	result(op, value);
}

/* Counts the instructions of @code as an @op. */
#define MEASURE(op, code) do {					\
	uint64_t begun = begin(op);				\
								\
	code;							\
	end(op, begun);						\
} while (0)

/* As MEASURE, for what returns a negative number if it fails. */
#define MEASURE_CALL(op, call) do {				\
	long ret;						\
								\
	MEASURE(op, ret = (call));				\
	if (ret < 0)						\
		die(names[op]);					\
} while (0)

/* What a user has who maps the file for it. */
static void measure_fast_pins(int memfd)
{
	struct gup_test gup = { .size = size, .nr_pages_per_call = size / PAGE,
				.gup_flags = FOLL_WRITE | FOLL_LONGTERM };
	char *p = map(memfd, MAP_POPULATE);

	gup.addr = (uintptr_t)p;
	if (ioctl(gup_test, PIN_FAST_BENCHMARK, &gup) || gup.size != size)
		die("gup_test");
	/* The kernel reports microseconds: thousands of instructions. */
	result(PIN_FAST, gup.get_delta_usec * 1000);
	result(UNPIN_FAST, gup.put_delta_usec * 1000);
	unmap(p);
}

/* pin_user_pages_fd() where the kernel has it, and what it has instead elsewhere; that marks nothing dirty. */
static void measure_pins(int memfd)
{
	unsigned long folios = size / buffer->folio;
	struct pin_fd_test_start start = { .fd = memfd, .flags = PIN_FD_WRITE, .size = size,
					   .max_ranges = folios };

	if (ioctl(gup_test, PIN_FD_TEST_STOP, 0)) {
		MEASURE_CALL(PIN, ioctl(helper, BENCH_PIN, folios << 32 | memfd));
		MEASURE_CALL(UNPIN, ioctl(helper, BENCH_UNPIN, 0));
		return;
	}
	MEASURE_CALL(PIN, ioctl(gup_test, PIN_FD_TEST_START, &start));
	/* Less than all: the folios are not of the size that the buffer's name promises. */
	if (start.pinned != size || start.nr_ranges != folios) {
		errno = ERANGE;
		die("pin");
	}
	MEASURE_CALL(UNPIN, ioctl(gup_test, PIN_FD_TEST_STOP, 1));
}

static void measure_importer(int memfd)
{
	int fd = fresh(memfd);

	MEASURE_CALL(ATTACH, ioctl(helper, BENCH_ATTACH, fd));
	MEASURE_CALL(DETACH, ioctl(helper, BENCH_DETACH, 0));
	MEASURE_CALL(VMAP, ioctl(helper, BENCH_VMAP, fd));
	MEASURE_CALL(VUNMAP, ioctl(helper, BENCH_VUNMAP, 0));
	if (ioctl(helper, BENCH_PURGE, 0))
		die("purge");
	close(fd);
}

static void measure_touches(int memfd)
{
	volatile char *p;
	int fd = fresh(memfd);

	MEASURE(FIRST_TOUCH, { p = map(fd, 0); p[0] = 1; });
	unmap((void *)p);
	close(fd);

	fd = fresh(memfd);
	MEASURE(TOUCH_ALL, { p = map(fd, 0); touch(p); });
	MEASURE(TOUCH_LOOP, touch(p));
	MEASURE(MUNMAP, unmap((void *)p));
	close(fd);

	fd = fresh(memfd);
	p = map(fd, 0);
	MEASURE(RANDOM_TOUCH, touch_randomly(p));
	unmap((void *)p);
	close(fd);
}

static void measure_syncs(int memfd)
{
	int fd = fresh(memfd);

	MEASURE(FIRST_SYNC, sync_buffer(fd, DMA_BUF_SYNC_START));
	sync_buffer(fd, DMA_BUF_SYNC_END);
	MEASURE(LATER_SYNC, sync_buffer(fd, DMA_BUF_SYNC_START));
	sync_buffer(fd, DMA_BUF_SYNC_END);
	close(fd);
}

static void measure_life(int memfd)
{
	long before = metadata();
	int fd;

	MEASURE(CREATE, fd = create(memfd));
	if (fd < 0)
		die("create");
	/* On holes that would count the tree of the file's new pages too. */
	if (!buffer->hole && !latency)
		result(METADATA, metadata() - before);
	MEASURE(CLOSE, close(fd));
}

static int64_t monotonic(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* A process that creates a buffer, and is killed by a timer of its own at this time, if at any. */
static pid_t create_in_child(int memfd, int64_t killed_at)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	struct itimerspec time = { .it_value = { killed_at / 1000000000, killed_at % 1000000000 } };
	timer_t timer;
	pid_t child = fork();

	if (child)
		return child;
	if (killed_at && (timer_create(CLOCK_MONOTONIC, &event, &timer) ||
			  timer_settime(timer, TIMER_ABSTIME, &time, NULL)))
		die("timer");
	if (create(memfd) < 0)
		die("create");
	_exit(0);
}

/* How long a process lives on that is killed while it creates a buffer, half way. */
static void measure_killed(void)
{
	int64_t start, killed_at, gone;
	int memfd, status;

	memfd = make_memfd();
	start = monotonic();
	waitpid(create_in_child(memfd, 0), &status, 0);
	gone = monotonic();
	close(memfd);
	if (!WIFEXITED(status))
		die("create");

	memfd = make_memfd();
	killed_at = monotonic() + (gone - start) / 2;
	waitpid(create_in_child(memfd, killed_at), &status, 0);
	gone = monotonic();
	close(memfd);
	if (!WIFSIGNALED(status) || gone < killed_at)
		die("killed");
	result(KILLED, gone - killed_at);
}

/* All operations on buffers of this size; the first round only warms up. */
static void measure(size_t mib)
{
	int memfd;

	size = mib * MIB;
	if (buffer->killed)
		return measure_killed();
	for (int i = 0; i < REPEATS; i++) {
		if (i == 0 || buffer->hole) {
			if (i)
				close(memfd);
			memfd = make_memfd();
		}
		measure_life(memfd);
		if (buffer->hole)
			continue;
		measure_touches(memfd);
		measure_syncs(memfd);
		measure_importer(memfd);
		/* The pieces of a list belong to udmabuf. */
		if (buffer->pieces)
			continue;
		measure_pins(memfd);
		if (!latency)
			measure_fast_pins(memfd);
	}
	if (!buffer->hole && !latency)
		result(RUNS, runs(memfd));
	close(memfd);
}

static void report(size_t mib)
{
	for (int op = 0; op < NR_OPS; op++)
		if (least[op] >= 0 && wanted(op))
			say("bench: %s %zu %s %lld\n", buffer->name, mib, names[op],
			    (long long)least[op]);
}

static void reset(void)
{
	for (int op = 0; op < NR_OPS; op++)
		least[op] = -1;
}

static int device(const char *path)
{
	int fd = open(path, O_RDWR);

	if (fd < 0)
		die(path);
	return fd;
}

static void set_up(void)
{
	struct termios tty;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	out = open("/dev/ttyS1", O_WRONLY | O_NOCTTY);
	if (!tcgetattr(out, &tty)) {
		cfmakeraw(&tty);
		tcsetattr(out, TCSANOW, &tty);
	}
	udmabuf = device("/dev/udmabuf");
	helper = device("/dev/series_bench");
	gup_test = device("/sys/kernel/debug/gup_test");
}

static void choose(const char *name)
{
	for (size_t i = 0; i < sizeof(buffers) / sizeof(*buffers); i++)
		if (name && !strcmp(name, buffers[i].name))
			buffer = &buffers[i];
	if (!buffer) {
		errno = EINVAL;
		die("bench_buffer");
	}
}

/* 1 GiB pages are reserved when the kernel boots. */
static void reserve_huge_pages(size_t largest)
{
	char number[32];

	snprintf(number, sizeof(number), "%zu", largest / HUGE_PAGE);
	if (buffer->memfd_flags == (MFD_HUGETLB | MFD_HUGE_2MB))
		put("/proc/sys/vm/nr_hugepages", number);
}

int main(void)
{
	char *sizes = getenv("bench_sizes");
	size_t mib, largest = 0;

	set_up();
	choose(getenv("bench_buffer"));
	only = getenv("bench_only");
	latency = getenv("bench_latency") != NULL;
	if (latency) {
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
		put("/sys/kernel/tracing/tracing_on", "0");
		put("/sys/kernel/tracing/current_tracer", "preemptirqsoff");
	}
	if (!sizes)
		die("bench_sizes");
	for (char *s = sizes; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
		if ((mib = strtoul(s, NULL, 10)) > largest)
			largest = mib;
	reserve_huge_pages(largest * MIB);

	/* Every path is run once before anything counts. */
	const char *profile = only;

	only = NULL;
	reset();
	measure(buffer->folio > 16 * MIB ? buffer->folio / MIB : 16);
	only = profile;
	for (char *s = sizes; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL) {
		mib = strtoul(s, NULL, 10);
		reset();
		measure(mib);
		report(mib);
	}
	say("bench: end\n");
	reboot(RB_POWER_OFF);
}
