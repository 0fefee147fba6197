/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of udmabuf have in common. */
#ifndef UDMABUF_UTIL_H
#define UDMABUF_UTIL_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/types.h>
#include <linux/udmabuf.h>

#define UDMABUF_DEV	"/dev/udmabuf"

/* A memfd of @size bytes that is one hole and has the seals @seals. */
static inline int memfd_with_flags(unsigned int flags, size_t size, int seals)
{
	int fd = memfd_create("udmabuf-test", MFD_ALLOW_SEALING | flags);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, size) || (seals && fcntl(fd, F_ADD_SEALS, seals))) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline int memfd_sealed(size_t size, int seals)
{
	return memfd_with_flags(0, size, seals);
}

/* The fd of the new dma-buf, or -1 and errno. */
static inline int udmabuf_create(int dev, int memfd, __u64 offset, __u64 size,
				 __u32 flags)
{
	struct udmabuf_create c = {
		.memfd = memfd,
		.flags = flags,
		.offset = offset,
		.size = size,
	};

	return ioctl(dev, UDMABUF_CREATE, &c);
}

/* Opens the file that @fd refers to once more. */
static inline int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags);
}

/* Writes to a file of proc, sysfs or the like. */
static inline bool write_str(const char *path, const char *s)
{
	int fd = open(path, O_WRONLY);
	ssize_t n;

	if (fd < 0)
		return false;
	n = write(fd, s, strlen(s));
	close(fd);
	return n == (ssize_t)strlen(s);
}

/* What a file of proc says of @name, in a line of its own; -1 if nothing. */
static inline long long read_counter(const char *path, const char *name)
{
	long long val, ret = -1;
	char line[256], key[64];
	FILE *f = fopen(path, "r");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lld", key, &val) == 2 &&
		    !strcmp(key, name))
			ret = val;
	fclose(f);
	return ret;
}

/*
 * Value of @name in /proc/vmstat, or -1. CPUs keep differences to themselves
 * until stat_refresh asks for them.
 */
static inline long long read_vmstat(const char *name)
{
	if (!write_str("/proc/sys/vm/stat_refresh", "1"))
		return -1;
	return read_counter("/proc/vmstat", name);
}

/*
 * Whether devices see bounce buffers only. A guest with encrypted memory, which
 * has them as well, is not recognised.
 */
static inline bool has_bounce_buffers(void)
{
	char command_line[4096] = "";
	int fd = open("/proc/cmdline", O_RDONLY);
	ssize_t n = read(fd, command_line, sizeof(command_line) - 1);

	close(fd);
	return n > 0 && strstr(command_line, "swiotlb=force");
}

/* Whether the mapping at @p shows a huge page of shmem by one entry. */
static inline bool is_huge(const char *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool here = false;
	char line[256];
	long kib = 0;

	while (f && !kib && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (uintptr_t)p && (uintptr_t)p < end;
		else if (here)
			sscanf(line, "ShmemPmdMapped: %ld", &kib);
	}
	if (f)
		fclose(f);
	return kib > 0;
}

/* How many pins there are, both counters at the same time. */
static inline long long read_pins(void)
{
	long long val, pins = 0;
	char line[256], key[64];
	FILE *f;

	if (!write_str("/proc/sys/vm/stat_refresh", "1"))
		return -1;
	f = fopen("/proc/vmstat", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %lld", key, &val) != 2)
			continue;
		if (!strcmp(key, "nr_foll_pin_acquired"))
			pins += val;
		else if (!strcmp(key, "nr_foll_pin_released"))
			pins -= val;
	}
	if (f)
		fclose(f);
	return pins;
}

/* Whether there are @pins. Others may be at work: waits for them a little. */
static inline bool wait_for_pins(long long pins)
{
	for (int i = 0; i < 50; i++) {
		if (read_pins() == pins)
			return true;
		usleep(100000);
	}
	return false;
}

#endif /* UDMABUF_UTIL_H */
