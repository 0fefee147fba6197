/* SPDX-License-Identifier: GPL-2.0 */
/* vim2m, a driver that vmaps the buffers in its video queues. */
#ifndef UDMABUF_VIM2M_H
#define UDMABUF_VIM2M_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/videodev2.h>

/* Whether the device is one of vim2m: others had better not be opened. */
static inline bool vim2m_is(int i)
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
	return !strcmp(name, "vim2m");
}

/* Opens the device of vim2m: each time it is opened, it has queues of its own. */
static inline int vim2m_open(void)
{
	for (int i = 0; i < 64; i++) {
		struct v4l2_capability cap;
		char path[32];
		int fd;

		if (!vim2m_is(i))
			continue;
		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open(path, O_RDWR);
		if (fd < 0)
			continue;
		if (!ioctl(fd, VIDIOC_QUERYCAP, &cap) &&
		    !strcmp((char *)cap.driver, "vim2m") &&
		    cap.device_caps & V4L2_CAP_VIDEO_M2M)
			return fd;
		close(fd);
	}
	return -1;
}

/* Room for one buffer in the queue of @type, or none. */
static inline bool vim2m_set_room(int video, __u32 type, __u32 count)
{
	struct v4l2_requestbuffers r = {
		.count = count,
		.type = type,
		.memory = V4L2_MEMORY_DMABUF,
	};

	return !ioctl(video, VIDIOC_REQBUFS, &r) && r.count == count;
}

/* Pictures of two bytes a pixel, and room for one. */
static inline bool vim2m_set_up(int video, __u32 type, __u32 width, __u32 height)
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
	       vim2m_set_room(video, type, 1);
}

/*
 * Imports a buffer that holds @bytes of a picture, or is to hold it. If @length is
 * 0, all of the buffer.
 */
static inline bool vim2m_queue(int video, __u32 type, int buf, __u32 length,
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

#endif /* UDMABUF_VIM2M_H */
