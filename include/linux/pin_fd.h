/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_PIN_FD_H
#define _LINUX_PIN_FD_H

#include <linux/bits.h>
#include <linux/types.h>

struct file;
struct folio;

/**
 * struct pinned_range - one physically contiguous piece of one pinned folio
 * @folio:  the folio; the range owns one pin (FOLL_PIN) on it
 * @offset: where the piece starts, in bytes into @folio, page aligned
 * @len:    its length in bytes, page aligned, never 0
 */
struct pinned_range {
	struct folio *folio;
	size_t offset;
	size_t len;
};

/* The pages will be written, by a device, the kernel or user space. */
#define PIN_FD_WRITE	BIT(0)
/* Leave holes alone: stop in front of the first one. */
#define PIN_FD_NOALLOC	BIT(1)
/* Refuse a file that can still be truncated. */
#define PIN_FD_NOSHRINK	BIT(2)

/**
 * enum pin_fd_op_flags - what the core may take for granted about a file
 * @PIN_FD_OP_PAGE_CACHE: the folios are those of file->f_mapping. The core
 *                        looks them up there and calls &get_folio only for
 *                        what is missing or not uptodate.
 */
enum pin_fd_op_flags {
	PIN_FD_OP_PAGE_CACHE = BIT(0),
};

/**
 * struct pin_fd_operations - how a file offers its pages for pinning
 * @get_folio: Return the folio that holds page @index of @file, referenced,
 *             unlocked, uptodate and naturally aligned in the file. Fill a
 *             hole unless %PIN_FD_NOALLOC is set, as a page fault would, but
 *             never past the end of the file, and never with the zero page.
 *             Do not clear what has a memory error: it may be unmapped.
 *             It may be marked dirty under %PIN_FD_WRITE. May sleep.
 *
 *             Errors: -ENOENT for a hole under %PIN_FD_NOALLOC, -EAGAIN or
 *             -EEXIST if it is worth another try, -EINVAL past the end,
 *             -EHWPOISON for what would have to be cleared in spite of a
 *             memory error; any other one is handed to the caller.
 * @may_pin:   Optional: may [@start, @end) be pinned now, with these flags?
 *             Without it, %PIN_FD_NOSHRINK is refused.
 * @flags:     see &enum pin_fd_op_flags
 *
 * Both functions are called with the file's i_rwsem held, shared or exclusive,
 * and must not take it; mmap_lock is never held. Pins, batches, migration,
 * signals and unwinding are not their concern.
 */
struct pin_fd_operations {
	struct folio *(*get_folio)(struct file *file, pgoff_t index,
				   unsigned int flags);
	int (*may_pin)(struct file *file, loff_t start, loff_t end,
		       unsigned int flags);
	unsigned int flags;
};

long pin_user_pages_fd(struct file *file, loff_t start, size_t len,
		       unsigned int flags, struct pinned_range *ranges,
		       unsigned int max_ranges, unsigned int *nr_ranges);
long pin_user_pages_fd_locked(struct file *file, loff_t start, size_t len,
			      unsigned int flags, struct pinned_range *ranges,
			      unsigned int max_ranges, unsigned int *nr_ranges);
int pin_user_pages_fd_check(struct file *file, loff_t start, size_t len,
			    unsigned int flags);
void unpin_user_ranges(const struct pinned_range *ranges,
		       unsigned int nr_ranges, bool make_dirty);

#endif /* _LINUX_PIN_FD_H */
