// SPDX-License-Identifier: GPL-2.0
/*
 * Pin the pages behind a file descriptor, without a mapping of it.
 *
 * What a file consists of is the business of its pin_fd_operations. This file
 * takes the pins, moves pages out of ZONE_MOVABLE and CMA first, listens to
 * signals and leaves nothing pinned when it fails.
 */
#include <linux/folio_batch.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/hugetlb.h>
#include <linux/lockdep.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>
#include <linux/pin_fd.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>

#include "internal.h"

#define PIN_FD_FLAGS	(PIN_FD_WRITE | PIN_FD_NOALLOC | PIN_FD_NOSHRINK)

/*
 * How often in a row the same page may refuse to be pinned, with a pause that
 * doubles each time: about half a second in all.
 */
#define PIN_FD_MAX_STALLS	10

/* How many folios are pinned or unpinned in a row. */
#define PIN_FD_BATCH		256

/* One call on its way through a file. */
struct pin_fd_walk {
	struct file *file;
	const struct pin_fd_operations *ops;
	loff_t pos;			/* the next byte to pin */
	loff_t end;			/* the first byte not asked for */
	unsigned int flags;
	struct pinned_range *ranges;
	unsigned int max_ranges;
	unsigned int nr_ranges;
	unsigned int stalls;		/* tries since the last progress */
	unsigned long block;		/* a pageblock of a type that may stay */
};

#define PIN_FD_NO_BLOCK		ULONG_MAX

/* Pins that /proc/vmstat does not know of yet, all of one node. */
struct pin_fd_count {
	enum node_stat_item item;
	int nid;
	unsigned int nr;
};

static void pin_fd_count_flush(struct pin_fd_count *count)
{
	if (count->nr)
		mod_node_page_state(NODE_DATA(count->nid), count->item, count->nr);
	count->nr = 0;
}

static void pin_fd_count(struct pin_fd_count *count, struct folio *folio)
{
	int nid = folio_nid(folio);

	if (unlikely(nid != count->nid)) {
		pin_fd_count_flush(count);
		count->nid = nid;
	}
	count->nr++;
}

static bool pin_fd_done(const struct pin_fd_walk *walk)
{
	return walk->pos == walk->end || walk->nr_ranges == walk->max_ranges;
}

/* A partial last page counts: its tail lies in the last folio of the file. */
static bool pin_fd_in_bounds(const struct file *file, loff_t last)
{
	loff_t size = i_size_read(file_inode(file));

	return size && last >> PAGE_SHIFT <= (size - 1) >> PAGE_SHIFT;
}

static bool pin_fd_poisoned(struct folio *folio, bool large, size_t offset,
			    size_t len)
{
	size_t end = offset + len;

	if (!large)
		return folio_test_hwpoison(folio);
	if (likely(!folio_contain_hwpoisoned_page(folio)))
		return false;
	/* A hugetlb folio is mapped as a whole or not at all. */
	if (folio_test_hugetlb(folio))
		return true;
	for (; offset < end; offset += PAGE_SIZE)
		if (PageHWPoison(folio_page(folio, offset >> PAGE_SHIFT)))
			return true;
	return false;
}

/*
 * May the folio stay where it is? That depends on its zone, on its device and on
 * the type of its pageblock, which is what costs: it is looked up once a step for
 * neighbours. A type that changes just now is seen by the one who changes it: he
 * finds the pin.
 */
static bool pin_fd_may_stay(struct pin_fd_walk *walk, struct folio *folio)
{
	unsigned long block = folio_pfn(folio) >> pageblock_order;

	if (likely(block == walk->block && !folio_is_zone_movable(folio) &&
		   !folio_is_zone_device(folio)))
		return true;
	if (!folio_is_longterm_pinnable(folio))
		return false;
	walk->block = block;
	return true;
}

/* The part of @folio that the walk wants next. It goes by whole pages. */
static struct pinned_range pin_fd_part(const struct pin_fd_walk *walk,
				       struct folio *folio, bool large)
{
	struct pinned_range range = { .folio = folio, .len = PAGE_SIZE };

	if (large) {
		range.offset = walk->pos & (folio_size(folio) - 1);
		range.len = min_t(loff_t, folio_size(folio) - range.offset,
				  walk->end - walk->pos);
	}
	return range;
}

/* @range has been pinned. */
static void pin_fd_add(struct pin_fd_walk *walk, struct pin_fd_count *count,
		       struct pinned_range range)
{
	walk->ranges[walk->nr_ranges++] = range;
	walk->pos += range.len;
	pin_fd_count(count, range.folio);
}

/* Turns our reference into a pin. */
static int pin_fd_get_pin(struct folio *folio)
{
	/*
	 * s390: takes the page back from a secure guest, as GUP does. A reference
	 * keeps it from being made secure again.
	 */
	if (arch_make_folio_accessible(folio))
		return -EIO;
	return folio_ref_to_pin(folio) ? 0 : -ENOMEM;
}

/*
 * Is the locked folio still what the page cache has at walk->pos? Reclaim looks
 * for pins under the folio lock and takes the folio out of the file under the
 * same lock: either it sees the pin, or it is seen here that the folio has left.
 * Without the lock a folio could be pinned and in the swap cache, where
 * F_ADD_SEALS does not look for pins.
 */
static bool pin_fd_is_cached(const struct pin_fd_walk *walk, struct folio *folio,
			     bool large)
{
	pgoff_t index = walk->pos >> PAGE_SHIFT;

	return folio->mapping == walk->file->f_mapping &&
	       (large ? folio_contains(folio, index) : folio->index == index) &&
	       folio_test_uptodate(folio);
}

/*
 * The fast path for one folio: pins it if nothing at all speaks against it. It is
 * inlined once for each value of @large, so that small folios skip what only large
 * ones need.
 */
static __always_inline bool
pin_fd_try_pin(struct pin_fd_walk *walk, struct pin_fd_count *count,
	       struct folio *folio, bool large)
{
	struct pinned_range range;
	bool ok = false;

	if (!folio_trylock(folio))
		return false;

	if (likely(pin_fd_is_cached(walk, folio, large))) {
		range = pin_fd_part(walk, folio, large);
		if (!pin_fd_poisoned(folio, large, range.offset, range.len) &&
		    pin_fd_may_stay(walk, folio) && !pin_fd_get_pin(folio)) {
			pin_fd_add(walk, count, range);
			ok = true;
		}
	}
	folio_unlock(folio);
	return ok;
}

/*
 * Pin what the page cache has ready. No folio is waited for, filled or moved; the
 * first one that asks for it is left to pin_fd_take(). Returns whether any was
 * pinned.
 */
static bool pin_fd_fast(struct pin_fd_walk *walk)
{
	XA_STATE(xas, &walk->file->f_mapping->i_pages, walk->pos >> PAGE_SHIFT);
	struct pin_fd_count count = { .item = NR_FOLL_PIN_ACQUIRED };
	unsigned int first = walk->nr_ranges;
	struct folio *folio;
	bool large, ok;

	rcu_read_lock();
	for (folio = xas_load(&xas); folio; folio = xas_next(&xas)) {
		if (xa_is_value(folio) || xa_is_internal(folio))
			break;
		if (!folio_try_get(folio))
			break;
		/*
		 * Only if it is still there it may be locked: whoever has got
		 * the page meanwhile can be the only one who knows of it, and
		 * set its flags without atomic operations.
		 */
		if (unlikely(folio != xas_reload(&xas))) {
			folio_put(folio);
			break;
		}
		/* Our reference keeps it from being split. */
		large = folio_test_large(folio);
		ok = large ? pin_fd_try_pin(walk, &count, folio, true) :
			     pin_fd_try_pin(walk, &count, folio, false);
		if (unlikely(!ok)) {
			folio_put(folio);
			break;
		}
		if (pin_fd_done(walk) || walk->nr_ranges - first == PIN_FD_BATCH)
			break;
		if (large)
			xas_advance(&xas, (walk->pos >> PAGE_SHIFT) - 1);
	}
	rcu_read_unlock();

	pin_fd_count_flush(&count);
	if (walk->nr_ranges == first)
		return false;
	walk->stalls = 0;
	return true;
}

/*
 * Pin @range as soon as its folio is not locked; the pin takes over our reference.
 * memory_failure() may have handled an error while we waited for the lock.
 */
static int pin_fd_pin(struct pin_fd_walk *walk, const struct pinned_range *range)
{
	struct folio *folio = range->folio;
	bool large = folio_test_large(folio);
	int err;

	if (!(walk->ops->flags & PIN_FD_OP_PAGE_CACHE))
		return pin_fd_get_pin(folio);

	if (unlikely(folio_lock_killable(folio)))
		return -EINTR;
	if (unlikely(!pin_fd_is_cached(walk, folio, large)))
		err = -EAGAIN;
	else if (pin_fd_poisoned(folio, large, range->offset, range->len))
		err = -EHWPOISON;
	else
		err = pin_fd_get_pin(folio);
	folio_unlock(folio);
	return err;
}

/*
 * Take the folios of @fbatch that cannot stay where they are off the LRU, from
 * number @i on and as far as there are ranges for them. A folio that somebody
 * else has isolated just now stays behind, and so does one with a page that must
 * not be copied.
 */
static void pin_fd_isolate(struct pin_fd_walk *walk, struct folio_batch *fbatch,
			   unsigned int i, struct list_head *movable)
{
	enum lru_cache_drained drained = LRU_CACHE_NOT_DRAINED;
	unsigned int end = i + min(folio_batch_count(fbatch) - i,
				   walk->max_ranges - walk->nr_ranges);

	for (; i < end; i++) {
		struct folio *folio = fbatch->folios[i];

		if (folio_is_longterm_pinnable(folio) ||
		    folio_contain_hwpoisoned_page(folio))
			continue;
		if (folio_test_hugetlb(folio)) {
			folio_isolate_hugetlb(folio, movable);
			continue;
		}
		/* One reference is the batch's. */
		lru_cache_drain_for_folio(folio, 1, &drained);
		if (!folio_isolate_lru(folio))
			continue;
		list_add_tail(&folio->lru, movable);
		node_stat_mod_folio(folio,
				    NR_ISOLATED_ANON + folio_is_file_lru(folio),
				    folio_nr_pages(folio));
	}
}

/* Returns -EAGAIN: whether it worked is seen when the pages are looked up. */
static int pin_fd_migrate(struct list_head *movable)
{
	struct migration_target_control mtc = {
		.nid = NUMA_NO_NODE,
		.gfp_mask = GFP_USER | __GFP_NOWARN,
		.reason = MR_LONGTERM_PIN,
	};
	int err;

	if (list_empty(movable))
		return -EAGAIN;

	err = migrate_pages(movable, alloc_migration_target, NULL,
			    (unsigned long)&mtc, MIGRATE_SYNC,
			    MR_LONGTERM_PIN, NULL);
	putback_movable_pages(movable);
	return err < 0 ? err : -EAGAIN;
}

/*
 * Pin the folios of @fbatch, which continue the file at walk->pos, and drop the
 * references to those that are not pinned. Stops at the first folio that has to
 * move and moves it together with the others of the batch; nothing pinned before
 * is touched.
 */
static int pin_fd_take(struct pin_fd_walk *walk, struct folio_batch *fbatch)
{
	struct pin_fd_count count = { .item = NR_FOLL_PIN_ACQUIRED };
	LIST_HEAD(movable);
	unsigned int i;
	int err = 0;

	for (i = 0; i < folio_batch_count(fbatch) && !pin_fd_done(walk); i++) {
		struct folio *folio = fbatch->folios[i];
		bool large = folio_test_large(folio);
		struct pinned_range range = pin_fd_part(walk, folio, large);

		if (pin_fd_poisoned(folio, large, range.offset, range.len)) {
			err = -EHWPOISON;
			break;
		}
		if (unlikely(!pin_fd_may_stay(walk, folio))) {
			pin_fd_isolate(walk, fbatch, i, &movable);
			err = -EAGAIN;
			break;
		}
		err = pin_fd_pin(walk, &range);
		if (unlikely(err))
			break;
		pin_fd_add(walk, &count, range);
		walk->stalls = 0;
	}
	pin_fd_count_flush(&count);
	for (; i < folio_batch_count(fbatch); i++)
		folio_put(fbatch->folios[i]);

	/* Without our references: migration does not go around them. */
	if (err == -EAGAIN)
		err = pin_fd_migrate(&movable);
	return err;
}

/* The leading folios at walk->pos that the page cache has ready for use. */
static void pin_fd_lookup(struct pin_fd_walk *walk, struct folio_batch *fbatch)
{
	pgoff_t index = walk->pos >> PAGE_SHIFT;
	pgoff_t last = (walk->end - 1) >> PAGE_SHIFT;
	unsigned int nr, i;

	nr = filemap_get_folios_contig(walk->file->f_mapping, &index, last,
				       fbatch);
	for (i = 0; i < nr; i++)
		if (unlikely(!folio_test_uptodate(fbatch->folios[i])))
			break;

	fbatch->nr = i;
	while (unlikely(i < nr))
		folio_put(fbatch->folios[i++]);
}

/* As many folios as are ready, or one batch, or one folio from the file. */
static int pin_fd_step(struct pin_fd_walk *walk)
{
	bool page_cache = walk->ops->flags & PIN_FD_OP_PAGE_CACHE;
	/* Most steps do not need it: not worth clearing. */
	struct folio_batch fbatch __uninitialized;
	struct folio *folio;

	walk->block = PIN_FD_NO_BLOCK;
	if (page_cache && pin_fd_fast(walk))
		return 0;

	folio_batch_init(&fbatch);
	/*
	 * After a stall the file is asked. What it returns was locked and in the
	 * page cache just now; what is looked up may be about to be replaced by
	 * somebody who has it locked, again and again.
	 */
	if (page_cache && !walk->stalls)
		pin_fd_lookup(walk, &fbatch);

	if (!folio_batch_count(&fbatch)) {
		folio = walk->ops->get_folio(walk->file,
					     walk->pos >> PAGE_SHIFT,
					     walk->flags);
		if (IS_ERR(folio))
			return PTR_ERR(folio);
		folio_batch_add(&fbatch, folio);
	}
	return pin_fd_take(walk, &fbatch);
}

/* Somebody else holds the page; give him time. The first try is for free. */
static int pin_fd_stalled(struct pin_fd_walk *walk)
{
	if (++walk->stalls > PIN_FD_MAX_STALLS)
		return -EBUSY;
	if (walk->stalls > 1)
		schedule_timeout_killable(msecs_to_jiffies(1 << (walk->stalls - 2)));
	return 0;
}

/*
 * Walk as far as the ranges last. On error everything that this walk pinned is
 * unpinned again.
 */
static int pin_fd_run(struct pin_fd_walk *walk)
{
	unsigned int pin_flags = memalloc_pin_save();
	int err = 0;

	while (!pin_fd_done(walk)) {
		cond_resched();
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
		/* What else may shrink a file is the business of its type. */
		if (!pin_fd_in_bounds(walk->file, walk->end - 1)) {
			err = -EINVAL;
			break;
		}

		err = pin_fd_step(walk);
		if (err == -ENOENT && (walk->flags & PIN_FD_NOALLOC)) {
			err = 0;
			break;
		}
		if (err == -EAGAIN || err == -EEXIST)
			err = pin_fd_stalled(walk);
		if (err)
			break;
	}
	memalloc_pin_restore(pin_flags);

	if (err) {
		unpin_user_ranges(walk->ranges, walk->nr_ranges, false);
		walk->nr_ranges = 0;
	}
	return err;
}

/*
 * In the order that callers document: type, mode, seals. The bounds, which come
 * last, are the walk's.
 */
static int pin_fd_permitted(struct file *file, loff_t start, loff_t end,
			    unsigned int flags)
{
	const struct pin_fd_operations *ops = file->f_op->pin_fd_ops;
	struct inode *inode = file_inode(file);

	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if (flags & PIN_FD_WRITE) {
		if (!(file->f_mode & FMODE_WRITE) || IS_APPEND(inode))
			return -EACCES;
		if (IS_SWAPFILE(inode))
			return -ETXTBSY;
	}

	if (ops->may_pin)
		return ops->may_pin(file, start, end, flags);
	return flags & PIN_FD_NOSHRINK ? -EINVAL : 0;
}

static int pin_fd_valid(struct file *file, loff_t start, size_t len,
			unsigned int flags, unsigned int max_ranges)
{
	/* The wrong type is told whatever else is wrong. */
	if (!file->f_op->pin_fd_ops)
		return -EOPNOTSUPP;
	if (flags & ~PIN_FD_FLAGS)
		return -EINVAL;
	if (!len || !max_ranges || start < 0)
		return -EINVAL;
	if (!PAGE_ALIGNED(start) || !PAGE_ALIGNED(len))
		return -EINVAL;
	return len > LLONG_MAX - start ? -EINVAL : 0;
}

/**
 * pin_user_pages_fd_check() - would pin_user_pages_fd() be allowed?
 * @file: the file
 * @start: offset of the first byte
 * @len: number of bytes
 * @flags: PIN_FD_* flags
 *
 * For callers that pin later and want to fail early. The answer is that of this
 * moment: it is asked again when the pages are pinned. Whether the range lies in
 * the file is not looked at, as the file may grow until then.
 *
 * Context: May sleep. Takes i_rwsem of the file's inode shared; mmap_lock must
 * not be held.
 * Return: 0, or -EINVAL, -EOPNOTSUPP, -EACCES, -EPERM, -ETXTBSY or -EINTR as
 * pin_user_pages_fd().
 */
int pin_user_pages_fd_check(struct file *file, loff_t start, size_t len,
			    unsigned int flags)
{
	struct inode *inode = file_inode(file);
	int err;

	err = pin_fd_valid(file, start, len, flags, 1);
	if (err)
		return err;
	err = inode_lock_shared_killable(inode);
	if (err)
		return err;
	err = pin_fd_permitted(file, start, start + len, flags);
	inode_unlock_shared(inode);
	return err;
}
EXPORT_SYMBOL_GPL(pin_user_pages_fd_check);

/**
 * pin_user_pages_fd_locked() - pin_user_pages_fd() with i_rwsem held
 * @file: the file
 * @start: offset of the first byte
 * @len: number of bytes
 * @flags: PIN_FD_* flags
 * @ranges: receives the pieces
 * @max_ranges: room in @ranges
 * @nr_ranges: receives the number of pieces
 *
 * For callers that hold the inode lock for a reason of their own.
 *
 * Context: May sleep. i_rwsem of the file's inode is held, shared or exclusive;
 * mmap_lock is not.
 * Return: as pin_user_pages_fd().
 */
long pin_user_pages_fd_locked(struct file *file, loff_t start, size_t len,
			      unsigned int flags, struct pinned_range *ranges,
			      unsigned int max_ranges, unsigned int *nr_ranges)
{
	struct pin_fd_walk walk = {
		.file = file,
		.pos = start,
		.flags = flags,
		.ranges = ranges,
		.max_ranges = max_ranges,
	};
	int err;

	*nr_ranges = 0;
	lockdep_assert_held(&file_inode(file)->i_rwsem);

	err = pin_fd_valid(file, start, len, flags, max_ranges);
	if (err)
		return err;
	err = pin_fd_permitted(file, start, start + len, flags);
	if (err)
		return err;

	walk.ops = file->f_op->pin_fd_ops;
	walk.end = start + min_t(size_t, len, LONG_MAX & PAGE_MASK);
	err = pin_fd_run(&walk);
	*nr_ranges = walk.nr_ranges;
	return err ? err : walk.pos - start;
}

/**
 * pin_user_pages_fd() - pin the pages behind a file for long-term access
 * @file: a file whose type opts in (&file_operations.pin_fd_ops)
 * @start: offset of the first byte, page aligned
 * @len: number of bytes, page aligned
 * @flags: %PIN_FD_WRITE if the pages will be written; %PIN_FD_NOALLOC to leave
 *         holes alone; %PIN_FD_NOSHRINK to refuse a file that can be truncated
 * @ranges: receives one entry for each physically contiguous piece of a folio,
 *          in file order and without gaps
 * @max_ranges: room in @ranges
 * @nr_ranges: receives the number of entries written; 0 on error
 *
 * Pins the pages of [@start, @start + @len) as pin_user_pages() does with
 * FOLL_LONGTERM, but finds them through the file and not through a mapping.
 * Pages in ZONE_MOVABLE or CMA are migrated first, holes are filled. All pages
 * are uptodate and free of hardware poison. The range may end in the file's
 * partial last page.
 *
 * The inode lock is held for all of the call. A caller that fills large holes and
 * can go on where it was should ask for a part at a time.
 *
 * No seal can be added while the pages are being pinned; once they are,
 * F_SEAL_WRITE fails with -EBUSY until they are unpinned. Nothing keeps the
 * pages in the file afterwards: a hole punched later leaves the pins where they
 * are, on pages that the file has forgotten; or, if the hole is a part of a large
 * folio, on pages of the file that are zeroes now.
 *
 * Every entry owns one pin. Give it back with unpin_user_ranges().
 *
 * Context: May sleep. Takes i_rwsem of the file's inode shared; mmap_lock must
 * not be held.
 *
 * Return: The number of bytes pinned from @start on. Less than @len only if
 * @ranges is full, @len is more than LONG_MAX, or %PIN_FD_NOALLOC met a hole; 0
 * only if there is a hole at @start. On error nothing stays pinned:
 *
 * * -EINVAL: @len or @max_ranges is 0, @start or @len is not page aligned, a
 *   flag is unknown, the range does not lie in the file, or %PIN_FD_NOSHRINK is
 *   set and the file can be truncated or its type cannot tell
 * * -EOPNOTSUPP: the file's type does not opt in
 * * -EACCES: the file is not open for reading, or, with %PIN_FD_WRITE, not for
 *   writing or for appending only
 * * -EPERM: %PIN_FD_WRITE and the file is sealed against writing, or, with any
 *   flags, it is a guest_memfd whose memory is private or cannot be mapped
 * * -ETXTBSY: %PIN_FD_WRITE and the file is in use as swap space
 * * -EHWPOISON: a page has a memory error
 * * -ENOMEM: no memory, or none to move a page out of ZONE_MOVABLE or CMA to; or
 *   a page has millions of pins already
 * * -ENOSPC, -EDQUOT: no space in the file system or no quota left; for a hole of
 *   hugetlbfs also: a cgroup is full, or there is no huge page
 * * -EIO: a page could not be read back from swap, or, on s390, from a secure
 *   guest
 * * -EINTR: a fatal signal is pending
 * * -EBUSY: a page cannot be moved out of ZONE_MOVABLE or CMA now, or leaves the
 *   file again and again, under memory pressure or as holes are punched into a
 *   guest_memfd
 */
long pin_user_pages_fd(struct file *file, loff_t start, size_t len,
		       unsigned int flags, struct pinned_range *ranges,
		       unsigned int max_ranges, unsigned int *nr_ranges)
{
	struct inode *inode = file_inode(file);
	long ret;

	*nr_ranges = 0;
	/* Only a file that opts in promises that its lock may be taken here. */
	ret = pin_fd_valid(file, start, len, flags, max_ranges);
	if (ret)
		return ret;

	ret = inode_lock_shared_killable(inode);
	if (ret)
		return ret;
	ret = pin_user_pages_fd_locked(file, start, len, flags, ranges,
				       max_ranges, nr_ranges);
	inode_unlock_shared(inode);
	return ret;
}
EXPORT_SYMBOL_GPL(pin_user_pages_fd);

/**
 * unpin_user_ranges() - give back what pin_user_pages_fd() pinned
 * @ranges: the entries, in any order
 * @nr_ranges: their number
 * @make_dirty: the pages may have been written: mark them dirty, so that
 *              reclaim does not drop what they hold. Needed for whatever was
 *              pinned with %PIN_FD_WRITE.
 *
 * Context: May sleep. Takes the folio lock if @make_dirty.
 */
void unpin_user_ranges(const struct pinned_range *ranges,
		       unsigned int nr_ranges, bool make_dirty)
{
	struct pin_fd_count count = { .item = NR_FOLL_PIN_RELEASED };
	unsigned int i;

	for (i = 0; i < nr_ranges; i++) {
		struct folio *folio = ranges[i].folio;

		if (!(i % PIN_FD_BATCH))
			cond_resched();
		/* A dirty pinned folio stays dirty: it is not written out. */
		if (make_dirty && !folio_test_dirty(folio)) {
			folio_lock(folio);
			folio_mark_dirty(folio);
			folio_unlock(folio);
		}
		pin_fd_count(&count, folio);
		folio_put_pin(folio);
	}
	pin_fd_count_flush(&count);
}
EXPORT_SYMBOL_GPL(unpin_user_ranges);
