/* SPDX-License-Identifier: GPL-2.0 */
/* Test drivers of V4L2 that import the buffers in their queues. */
#ifndef UDMABUF_VIDEO_H
#define UDMABUF_VIDEO_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/videodev2.h>

/* Whether a device has this name: others had better not be opened. */
static inline bool video_is(int i, const char *wanted)
{
	char path[64], name[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/video4linux/video%d/name", i);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (fscanf(f, "%31s", name) != 1)
		*name = 0;
	fclose(f);
	return !strcmp(name, wanted);
}

/* Opens the device with this name and driver. */
static inline int video_open(const char *name, const char *driver, __u32 caps)
{
	for (int i = 0; i < 64; i++) {
		struct v4l2_capability cap;
		char path[32];
		int fd;

		if (!video_is(i, name))
			continue;
		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open(path, O_RDWR);
		if (fd < 0)
			continue;
		if (!ioctl(fd, VIDIOC_QUERYCAP, &cap) &&
		    !strcmp((char *)cap.driver, driver) && cap.device_caps & caps)
			return fd;
		close(fd);
	}
	return -1;
}

/*
 * vim2m, which vmaps what is in its queues. Each time it is opened, it has queues
 * of its own.
 */
static inline int vim2m_open(void)
{
	return video_open("vim2m", "vim2m", V4L2_CAP_VIDEO_M2M);
}

/* Whether vivid maps for a device what it imports: it does what it was told to. */
static inline bool vivid_attaches(void)
{
	FILE *f = fopen("/sys/module/vivid/parameters/allocators", "r");
	int allocator = 0;

	if (!f)
		return false;
	if (fscanf(f, "%d", &allocator) != 1)
		allocator = 0;
	fclose(f);
	return allocator == 1;
}

/* Whether there is memory that a device with addresses of 32 bits cannot reach. */
static inline bool is_memory_far(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	bool normal = false, far = false;
	char line[128];
	long pages;

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, ", zone "))
			normal = strstr(line, " Normal");
		else if (normal && sscanf(line, " managed %ld", &pages) == 1)
			far |= pages > 0;
	}
	fclose(f);
	return far;
}

#define VIVID_MISSING	"no output of vivid (CONFIG_VIDEO_VIVID), no " \
			"vivid.allocators=1, or memory above 4 GiB"

/*
 * The output of vivid, which attaches to what is in its queue and maps it for its
 * device. There is one queue, for whoever has room in it.
 */
static inline int vivid_open(void)
{
	/* What is far goes through bounce buffers, which take short pieces only. */
	if (!vivid_attaches() || is_memory_far())
		return -1;
	return video_open("vivid-000-vid-out", "vivid", V4L2_CAP_VIDEO_OUTPUT);
}

/*
 * Room for so many buffers in the queue of @type, for more if the driver wants
 * that; or none.
 */
static inline bool video_set_room(int video, __u32 type, __u32 count)
{
	struct v4l2_requestbuffers r = {
		.count = count,
		.type = type,
		.memory = V4L2_MEMORY_DMABUF,
	};

	return !ioctl(video, VIDIOC_REQBUFS, &r) &&
	       (count ? r.count >= count : !r.count);
}

/* Pictures of two bytes a pixel, and room for one. */
static inline bool video_set_up(int video, __u32 type, __u32 width, __u32 height)
{
	struct v4l2_format f = {
		.type = type,
		.fmt.pix = {
			.width = width,
			.height = height,
			.pixelformat = V4L2_PIX_FMT_RGB565,
			.field = V4L2_FIELD_NONE,
		},
	};

	return !ioctl(video, VIDIOC_S_FMT, &f) &&
	       f.fmt.pix.sizeimage == width * height * 2 &&
	       video_set_room(video, type, 1);
}

/*
 * Imports a buffer that holds @bytes of a picture, or is to hold it. If @length is
 * 0, all of the buffer.
 */
static inline bool video_queue(int video, __u32 type, int buf, __u32 length,
			       __u32 bytes)
{
	struct v4l2_buffer b = {
		.type = type,
		.memory = V4L2_MEMORY_DMABUF,
		.length = length,
		.bytesused = bytes,
		.m.fd = buf,
	};

	return !ioctl(video, VIDIOC_QBUF, &b);
}

#endif /* UDMABUF_VIDEO_H */
