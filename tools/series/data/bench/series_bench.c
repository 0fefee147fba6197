// SPDX-License-Identifier: GPL-2.0
/*
 * For figures only, and no part of the stack: `series bench` adds this file to the kernels that it counts on.
 *
 * An importer of dma-bufs that does nothing but attach, map and vmap, which no interface of a kernel without further
 * drivers lets user space ask for; and memfd_pin_folios() alone, where there is one. Where there is none, gup_test
 * has ioctls for pin_user_pages_fd().
 *
 * Each ioctl takes a file descriptor; BENCH_PIN the most folios in the upper half of the argument, too. Nothing here is
 * done for each page besides the call that is counted.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/iosys-map.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* data/bench/bench.c has the same numbers. */
enum {
	BENCH_ATTACH	= _IO('s', 1),
	BENCH_DETACH	= _IO('s', 2),
	BENCH_VMAP	= _IO('s', 3),
	BENCH_VUNMAP	= _IO('s', 4),
	BENCH_PIN	= _IO('s', 5),
	BENCH_UNPIN	= _IO('s', 6),
	BENCH_PURGE	= _IO('s', 7),
};

static DEFINE_MUTEX(bench_mutex);
static struct dma_buf *bench_buf;
static struct dma_buf_attachment *bench_attachment;
static struct sg_table *bench_table;
static struct iosys_map bench_map;

static struct miscdevice bench_device;

static long bench_attach(int fd)
{
	bench_buf = dma_buf_get(fd);
	if (IS_ERR(bench_buf))
		return PTR_ERR(bench_buf);
	bench_attachment = dma_buf_attach(bench_buf, bench_device.this_device);
	if (IS_ERR(bench_attachment)) {
		dma_buf_put(bench_buf);
		return PTR_ERR(bench_attachment);
	}
	bench_table = dma_buf_map_attachment_unlocked(bench_attachment, DMA_BIDIRECTIONAL);
	if (IS_ERR(bench_table)) {
		dma_buf_detach(bench_buf, bench_attachment);
		dma_buf_put(bench_buf);
		return PTR_ERR(bench_table);
	}
	return 0;
}

static long bench_detach(void)
{
	dma_buf_unmap_attachment_unlocked(bench_attachment, bench_table, DMA_BIDIRECTIONAL);
	dma_buf_detach(bench_buf, bench_attachment);
	dma_buf_put(bench_buf);
	return 0;
}

static long bench_vmap(int fd)
{
	int ret;

	bench_buf = dma_buf_get(fd);
	if (IS_ERR(bench_buf))
		return PTR_ERR(bench_buf);
	ret = dma_buf_vmap_unlocked(bench_buf, &bench_map);
	if (ret)
		dma_buf_put(bench_buf);
	return ret;
}

static long bench_vunmap(void)
{
	dma_buf_vunmap_unlocked(bench_buf, &bench_map);
	dma_buf_put(bench_buf);
	return 0;
}

#if __has_include(<linux/pin_fd.h>)
static long bench_pin(int fd, unsigned int max_folios)
{
	return -EOPNOTSUPP;
}

static long bench_unpin(void)
{
	return -EOPNOTSUPP;
}
#else
static struct folio **bench_folios;
static long bench_nr_folios;

static long bench_pin(int fd, unsigned int max_folios)
{
	CLASS(fd, f)(fd);
	pgoff_t offset;

	if (fd_empty(f))
		return -EBADF;
	bench_folios = kvmalloc_array(max_folios, sizeof(*bench_folios), GFP_KERNEL);
	if (!bench_folios)
		return -ENOMEM;
	bench_nr_folios = memfd_pin_folios(fd_file(f), 0, i_size_read(file_inode(fd_file(f))) - 1,
					   bench_folios, max_folios, &offset);
	if (bench_nr_folios < 0) {
		kvfree(bench_folios);
		return bench_nr_folios;
	}
	return 0;
}

static long bench_unpin(void)
{
	unpin_folios(bench_folios, bench_nr_folios);
	kvfree(bench_folios);
	return 0;
}
#endif

/* The one user does things in the right order. */
static long bench_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	guard(mutex)(&bench_mutex);
	switch (cmd) {
	case BENCH_ATTACH:
		return bench_attach(arg);
	case BENCH_DETACH:
		return bench_detach();
	case BENCH_VMAP:
		return bench_vmap(arg);
	case BENCH_VUNMAP:
		return bench_vunmap();
	case BENCH_PIN:
		return bench_pin(lower_32_bits(arg), upper_32_bits(arg));
	case BENCH_UNPIN:
		return bench_unpin();
	case BENCH_PURGE:
		/* Or where the next mapping is, and whether it has page tables, depends on when others are purged. */
		vm_unmap_aliases();
		return 0;
	default:
		return -ENOTTY;
	}
}

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = bench_ioctl,
};

static struct miscdevice bench_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "series_bench",
	.fops = &bench_fops,
};

static struct device_dma_parameters bench_parameters;

/* A device as a GPU is one: it reaches all memory, in segments of any size. */
static int __init bench_init(void)
{
	int ret = misc_register(&bench_device);

	if (ret)
		return ret;
	bench_device.this_device->dma_parms = &bench_parameters;
	dma_set_max_seg_size(bench_device.this_device, UINT_MAX);
	return dma_coerce_mask_and_coherent(bench_device.this_device, DMA_BIT_MASK(64));
}
device_initcall(bench_init);
