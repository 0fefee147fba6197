// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of pin_user_pages_fd().
 *
 * Most cases run on a file of a type of their own, whose hooks do what the case
 * wants. The others run on memory of shmem.
 */
#include <kunit/test.h>

#include <linux/anon_inodes.h>
#include <linux/bits.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pin_fd.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>

#define FAKE_PAGES	16

/* How often a page may refuse in a row: PIN_FD_MAX_STALLS of mm/pin_fd.c. */
#define MAX_STALLS	10

/* A file whose type is this test. */
struct fake {
	struct kunit *test;
	struct file *file;

	/* The number of the first page. All others here count from it. */
	pgoff_t base;

	/* The folio of each page, NULL for a hole, and its idle references. */
	struct folio *folios[FAKE_PAGES];
	int refs[FAKE_PAGES];

	/* get_folio() fails @fail_times times with @fail_err at @fail_index. */
	pgoff_t fail_index;
	int fail_err;
	unsigned int fail_times;

	/* Called at every get_folio(). */
	void (*on_get)(struct fake *fake, pgoff_t index);

	int may_pin_err;

	/* What the hooks saw. */
	bool expect_exclusive;
	unsigned int nr_get;
	unsigned int get_flags;
	unsigned int nr_may_pin;
	loff_t may_pin_start;
	loff_t may_pin_end;
	unsigned int may_pin_flags;

	/* What is pinned. */
	struct pinned_range ranges[FAKE_PAGES];
	unsigned int nr_ranges;
};

/* Hooks run under i_rwsem in the way that the caller took it, and only there. */
static void fake_check_locks(struct fake *fake)
{
	struct inode *inode = file_inode(fake->file);
	struct mm_struct *mm = current->mm;
	struct kunit *test = fake->test;
	bool shared;

	lockdep_assert_held(&inode->i_rwsem);
	KUNIT_EXPECT_TRUE(test, inode_is_locked(inode));
	shared = inode_trylock_shared(inode);
	if (shared)
		inode_unlock_shared(inode);
	KUNIT_EXPECT_EQ(test, shared, !fake->expect_exclusive);

	if (mm) {
		lockdep_assert_not_held(&mm->mmap_lock);
		KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&mm->mmap_lock));
	}
}

static struct folio *fake_get_folio(struct file *file, pgoff_t index,
				    unsigned int flags)
{
	struct fake *fake = file->private_data;
	struct folio *folio;

	fake_check_locks(fake);
	fake->nr_get++;
	fake->get_flags = flags;
	index -= fake->base;
	if (fake->on_get)
		fake->on_get(fake, index);

	if (index == fake->fail_index && fake->fail_times) {
		fake->fail_times--;
		return ERR_PTR(fake->fail_err);
	}

	if (index >= FAKE_PAGES)
		return ERR_PTR(-EINVAL);
	folio = fake->folios[index];
	if (!folio)
		return ERR_PTR(-ENOENT);
	folio_get(folio);
	return folio;
}

static int fake_may_pin(struct file *file, loff_t start, loff_t end,
			unsigned int flags)
{
	struct fake *fake = file->private_data;

	fake_check_locks(fake);
	fake->nr_may_pin++;
	fake->may_pin_start = start;
	fake->may_pin_end = end;
	fake->may_pin_flags = flags;
	return fake->may_pin_err;
}

static const struct pin_fd_operations fake_ops = {
	.get_folio	= fake_get_folio,
	.may_pin	= fake_may_pin,
};

static const struct file_operations fake_fops = {
	.pin_fd_ops	= &fake_ops,
};

static const struct pin_fd_operations fake_open_ops = {
	.get_folio	= fake_get_folio,
};

/* Its type has no opinion on who may pin. */
static const struct file_operations fake_open_fops = {
	.pin_fd_ops	= &fake_open_ops,
};

static const struct pin_fd_operations fake_cached_ops = {
	.get_folio	= fake_get_folio,
	.flags		= PIN_FD_OP_PAGE_CACHE,
};

static const struct file_operations fake_cached_fops = {
	.pin_fd_ops	= &fake_cached_ops,
};

static const struct file_operations fake_plain_fops = {
};

KUNIT_DEFINE_ACTION_WRAPPER(put_file, fput, struct file *);
KUNIT_DEFINE_ACTION_WRAPPER(put_one_folio, folio_put, struct folio *);

/* Put a folio of 2^@order pages at @index, which it is aligned for. */
static struct folio *fake_add_folio(struct fake *fake, pgoff_t index,
				    unsigned int order)
{
	struct kunit *test = fake->test;
	struct folio *folio;
	unsigned int i;

	KUNIT_ASSERT_LE(test, index + (1 << order), FAKE_PAGES);
	folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, order);
	KUNIT_ASSERT_NOT_NULL(test, folio);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_one_folio,
							folio), 0);

	for (i = 0; i < 1 << order; i++) {
		fake->folios[index + i] = folio;
		fake->refs[index + i] = folio_ref_count(folio);
	}
	return folio;
}

static void fake_cache_folio(struct fake *fake, pgoff_t index, bool uptodate)
{
	struct folio *folio = fake->folios[index];
	int err;

	err = filemap_add_folio(fake->file->f_mapping, folio,
				fake->base + index, GFP_KERNEL);
	KUNIT_ASSERT_EQ(fake->test, err, 0);
	if (uptodate)
		folio_mark_uptodate(folio);
	folio_unlock(folio);
}

static void fake_set_size(struct fake *fake, loff_t size)
{
	struct inode *inode = file_inode(fake->file);

	inode_lock(inode);
	i_size_write(inode, size);
	inode_unlock(inode);
}

/* A file of @nr_pages single pages; the rest of its index space is holes. */
static struct fake *fake_create(struct kunit *test,
				const struct file_operations *fops, int flags,
				unsigned int nr_pages)
{
	struct fake *fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake->test = test;
	fake->file = anon_inode_create_getfile("[pin_fd_kunit]", fops, fake,
					       flags, NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fake->file);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_file,
							fake->file), 0);
	fake_set_size(fake, FAKE_PAGES * PAGE_SIZE);
	for (i = 0; i < nr_pages; i++)
		fake_add_folio(fake, i, 0);
	return fake;
}

/* Pin, and see that the lock is free again. */
static long pin_file(struct kunit *test, struct file *file, loff_t start,
		     size_t len, unsigned int flags,
		     struct pinned_range *ranges, unsigned int max_ranges,
		     unsigned int *nr_ranges)
{
	long ret;

	*nr_ranges = UINT_MAX;
	ret = pin_user_pages_fd(file, start, len, flags, ranges, max_ranges,
				nr_ranges);
	if (ret < 0)
		KUNIT_EXPECT_EQ(test, *nr_ranges, 0);
	else
		KUNIT_EXPECT_LE(test, *nr_ranges, max_ranges);
	KUNIT_EXPECT_FALSE(test, inode_is_locked(file_inode(file)));
	return ret;
}

static long fake_pin_max(struct fake *fake, loff_t start, size_t len,
			 unsigned int flags, unsigned int max_ranges)
{
	return pin_file(fake->test, fake->file, start, len, flags,
			fake->ranges, max_ranges, &fake->nr_ranges);
}

/* In pages. */
static long fake_pin(struct fake *fake, pgoff_t index, unsigned int nr_pages,
		     unsigned int flags)
{
	return fake_pin_max(fake, index * PAGE_SIZE, nr_pages * PAGE_SIZE,
			    flags, ARRAY_SIZE(fake->ranges));
}

static void fake_unpin(struct fake *fake)
{
	unpin_user_ranges(fake->ranges, fake->nr_ranges, false);
	fake->nr_ranges = 0;
}

/* The ranges are the pages from @index on, @nr_pages of them. */
static void fake_expect_cover(struct fake *fake, pgoff_t index,
			      unsigned int nr_pages)
{
	struct kunit *test = fake->test;
	pgoff_t end = index + nr_pages;
	unsigned int i;
	size_t off;

	for (i = 0; i < fake->nr_ranges; i++) {
		struct pinned_range *range = &fake->ranges[i];

		KUNIT_EXPECT_GT(test, range->len, 0);
		KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(range->offset));
		KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(range->len));
		KUNIT_EXPECT_LE(test, range->offset + range->len,
				folio_size(range->folio));
		KUNIT_EXPECT_TRUE(test, folio_maybe_dma_pinned(range->folio));
		for (off = 0; off < range->len; off += PAGE_SIZE, index++) {
			KUNIT_ASSERT_LT(test, index, end);
			KUNIT_EXPECT_PTR_EQ(test, range->folio,
					    fake->folios[index]);
			/* Naturally aligned in the file. */
			KUNIT_EXPECT_EQ(test, range->offset + off,
					offset_in_folio(range->folio,
							index * PAGE_SIZE));
		}
	}
	KUNIT_EXPECT_EQ(test, index, end);
}

/* No folio has a pin or a reference that it had not at the start. */
static void fake_expect_idle(struct fake *fake)
{
	struct kunit *test = fake->test;
	unsigned int i;

	for (i = 0; i < FAKE_PAGES; i++) {
		struct folio *folio = fake->folios[i];

		if (!folio)
			continue;
		KUNIT_EXPECT_EQ_MSG(test, folio_ref_count(folio),
				    fake->refs[i], "page %u", i);
		KUNIT_EXPECT_FALSE_MSG(test, folio_maybe_dma_pinned(folio),
				       "page %u", i);
	}
}

/* The arguments */

static void pin_fd_arguments(struct kunit *test)
{
	static const struct {
		const char *what;
		loff_t start;
		size_t len;
		unsigned int flags;
		unsigned int max_ranges;
	} cases[] = {
		{ "no length", 0, 0, 0, 1 },
		{ "no room", 0, PAGE_SIZE, 0, 0 },
		{ "negative start", -(loff_t)PAGE_SIZE, PAGE_SIZE, 0, 1 },
		{ "unaligned start", 1, PAGE_SIZE, 0, 1 },
		{ "unaligned length", 0, PAGE_SIZE + 1, 0, 1 },
		{ "length below a page", 0, PAGE_SIZE - 1, 0, 1 },
		{ "end past LLONG_MAX", round_down(LLONG_MAX, PAGE_SIZE),
		  PAGE_SIZE, 0, 1 },
		{ "end past ULLONG_MAX", round_down(LLONG_MAX, PAGE_SIZE),
		  SIZE_MAX & PAGE_MASK, 0, 1 },
		{ "unknown flag", 0, PAGE_SIZE, BIT(3), 1 },
		{ "highest flag", 0, PAGE_SIZE, BIT(31), 1 },
	};
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 1);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test,
				    fake_pin_max(fake, cases[i].start,
						 cases[i].len, cases[i].flags,
						 cases[i].max_ranges),
				    -EINVAL, "%s", cases[i].what);
	KUNIT_EXPECT_EQ(test, fake->nr_may_pin, 0);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 0);

	/* What is left when nothing is wrong. */
	KUNIT_EXPECT_EQ(test, fake_pin_max(fake, 0, PAGE_SIZE, 0, 1),
			PAGE_SIZE);
	fake_unpin(fake);
	fake_expect_idle(fake);
}

static void pin_fd_arguments_locked(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 1);
	struct inode *inode = file_inode(fake->file);
	unsigned int nr = UINT_MAX;

	inode_lock_shared(inode);
	KUNIT_EXPECT_EQ(test, pin_user_pages_fd_locked(fake->file, 0, 0, 0,
						       fake->ranges, 1, &nr),
			-EINVAL);
	inode_unlock_shared(inode);
	KUNIT_EXPECT_EQ(test, nr, 0);
	KUNIT_EXPECT_EQ(test, fake->nr_may_pin, 0);
}

/* The type of the file */

static void pin_fd_type(struct kunit *test)
{
	/* The type comes before the mode: this one cannot be read, either. */
	struct fake *fake = fake_create(test, &fake_plain_fops, O_WRONLY, 1);

	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, PIN_FD_WRITE), -EOPNOTSUPP);
	/* And what lies past the end. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, FAKE_PAGES, 1, 0), -EOPNOTSUPP);
	/* And arguments that are wrong for any file. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 0, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, BIT(31)), -EOPNOTSUPP);
	fake_expect_idle(fake);
}

/* Access mode */

static void pin_fd_mode(struct kunit *test)
{
	struct fake *ro = fake_create(test, &fake_fops, O_RDONLY, 1);
	struct fake *wo = fake_create(test, &fake_fops, O_WRONLY, 1);
	struct fake *rw = fake_create(test, &fake_fops, O_RDWR, 1);

	KUNIT_EXPECT_EQ(test, fake_pin(ro, 0, 1, PIN_FD_WRITE), -EACCES);
	KUNIT_EXPECT_EQ(test, fake_pin(wo, 0, 1, 0), -EACCES);
	KUNIT_EXPECT_EQ(test, fake_pin(wo, 0, 1, PIN_FD_WRITE), -EACCES);
	KUNIT_EXPECT_EQ(test, ro->nr_get + wo->nr_get, 0);

	KUNIT_EXPECT_EQ(test, fake_pin(ro, 0, 1, 0), PAGE_SIZE);
	fake_unpin(ro);
	KUNIT_EXPECT_EQ(test, fake_pin(rw, 0, 1, 0), PAGE_SIZE);
	fake_unpin(rw);
	KUNIT_EXPECT_EQ(test, fake_pin(rw, 0, 1, PIN_FD_WRITE), PAGE_SIZE);
	fake_unpin(rw);

	fake_expect_idle(ro);
	fake_expect_idle(wo);
	fake_expect_idle(rw);
}

static void fake_set_inode_flags(struct fake *fake, unsigned int flags)
{
	struct inode *inode = file_inode(fake->file);

	inode_lock(inode);
	inode_set_flags(inode, flags, S_APPEND | S_SWAPFILE);
	inode_unlock(inode);
}

static void pin_fd_append_only(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 1);

	fake_set_inode_flags(fake, S_APPEND);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, PIN_FD_WRITE), -EACCES);
	KUNIT_EXPECT_EQ(test, fake->nr_may_pin, 0);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, 0), PAGE_SIZE);
	fake_unpin(fake);
	fake_set_inode_flags(fake, 0);
	fake_expect_idle(fake);
}

static void pin_fd_swapfile(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 1);

	fake_set_inode_flags(fake, S_SWAPFILE);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, PIN_FD_WRITE), -ETXTBSY);
	KUNIT_EXPECT_EQ(test, fake->nr_may_pin, 0);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, 0), PAGE_SIZE);
	fake_unpin(fake);
	fake_set_inode_flags(fake, 0);
	fake_expect_idle(fake);
}

/* What the type has to say */

static void pin_fd_may_pin(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 4);
	struct fake *ro = fake_create(test, &fake_fops, O_RDONLY, 1);
	unsigned int flags = PIN_FD_WRITE | PIN_FD_NOSHRINK | PIN_FD_NOALLOC;

	/* It is asked once for the whole range, with all flags. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 1, 3, flags), 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_may_pin, 1);
	KUNIT_EXPECT_EQ(test, fake->may_pin_start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->may_pin_end, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->may_pin_flags, flags);
	KUNIT_EXPECT_EQ(test, fake->get_flags, flags);
	fake_unpin(fake);

	/* Its answer is the caller's. */
	fake->may_pin_err = -EPERM;
	fake->nr_get = 0;
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, PIN_FD_WRITE), -EPERM);
	fake->may_pin_err = -EREMOTE;
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, 0), -EREMOTE);
	/* It comes before the bounds, */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, FAKE_PAGES, 1, 0), -EREMOTE);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 0);
	fake_expect_idle(fake);

	/* and after the mode. */
	ro->may_pin_err = -EPERM;
	KUNIT_EXPECT_EQ(test, fake_pin(ro, 0, 1, PIN_FD_WRITE), -EACCES);
	KUNIT_EXPECT_EQ(test, ro->nr_may_pin, 0);
	KUNIT_EXPECT_EQ(test, fake_pin(ro, 0, 1, 0), -EPERM);
}

static void pin_fd_no_may_pin(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_open_fops, O_RDWR, 1);

	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, PIN_FD_NOSHRINK), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 0);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, PIN_FD_WRITE), PAGE_SIZE);
	fake_unpin(fake);
	fake_expect_idle(fake);
}

/* Bounds */

static void pin_fd_bounds(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 6);

	/* The last page counts as soon as there is a byte of it. */
	fake_set_size(fake, 3 * PAGE_SIZE + 1);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 5, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 4, 1, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_pin_max(fake, 0, LONG_MAX & PAGE_MASK, 0, 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 0);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 4, 0), 4 * PAGE_SIZE);
	fake_expect_cover(fake, 0, 4);
	fake_unpin(fake);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 3, 1, 0), PAGE_SIZE);
	fake_unpin(fake);

	fake_set_size(fake, 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 4, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 3, 0), 3 * PAGE_SIZE);
	fake_unpin(fake);

	fake_set_size(fake, 0);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, 0), -EINVAL);
	fake_expect_idle(fake);
}

static void fake_truncate_at_2(struct fake *fake, pgoff_t index)
{
	if (index == 2)
		i_size_write(file_inode(fake->file), 4 * PAGE_SIZE);
}

static void pin_fd_shrinks(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 6);

	/* Page 2 lies in the file, but the rest of the range does not. */
	fake->on_get = fake_truncate_at_2;
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 6, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 3);
	fake_expect_idle(fake);

	/* A try after a refusal looks at the size again. */
	fake_set_size(fake, 6 * PAGE_SIZE);
	fake->nr_get = 0;
	fake->fail_index = 2;
	fake->fail_err = -EAGAIN;
	fake->fail_times = 1;
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 2, 4, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 1);
	fake_expect_idle(fake);
}

/* Holes */

static void pin_fd_noalloc(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 3);

	fake_add_folio(fake, 4, 0);

	/* Page 3 is a hole. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 1, 5, PIN_FD_NOALLOC),
			2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->get_flags, PIN_FD_NOALLOC);
	fake_expect_cover(fake, 1, 2);
	fake_unpin(fake);

	KUNIT_EXPECT_EQ(test, fake_pin(fake, 3, 2, PIN_FD_NOALLOC), 0);
	KUNIT_EXPECT_EQ(test, fake->nr_ranges, 0);

	/* Only who asked to leave holes alone is content with one. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 1, 5, 0), -ENOENT);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 3, 1, PIN_FD_WRITE), -ENOENT);
	fake_expect_idle(fake);
}

/* Refusals. This one sleeps for a bit more than half a second. */
static void pin_fd_stalls(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 4);

	/* Forever at page 2: a bounded number of tries. */
	fake->fail_index = 2;
	fake->fail_err = -EAGAIN;
	fake->fail_times = UINT_MAX;
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 4, 0), -EBUSY);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 2 + 1 + MAX_STALLS);
	fake_expect_idle(fake);

	/* Not forever: it goes on as if nothing had been. */
	fake->fail_err = -EEXIST;
	fake->fail_times = 2;
	fake->nr_get = 0;
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 4, 0), 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 4 + 2);
	fake_expect_cover(fake, 0, 4);
	fake_unpin(fake);
	fake_expect_idle(fake);
}

#define REFUSALS	3

static void fake_refuse_every_page(struct fake *fake, pgoff_t index)
{
	if (index == fake->fail_index)
		return;
	fake->fail_index = index;
	fake->fail_times = REFUSALS;
}

/* More refusals in all than one page may have, with progress in between. */
static void pin_fd_progress(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 4);

	BUILD_BUG_ON(4 * REFUSALS <= MAX_STALLS);
	fake->on_get = fake_refuse_every_page;
	fake->fail_index = ULONG_MAX;
	fake->fail_err = -EAGAIN;
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 4, 0), 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 4 * (REFUSALS + 1));
	fake_expect_cover(fake, 0, 4);
	fake_unpin(fake);
	fake_expect_idle(fake);
}

/* Errors */

static void pin_fd_unwind(struct kunit *test)
{
	static const int errors[] = {
		-ENOMEM, -ENOSPC, -EDQUOT, -EIO, -EPERM, -EINVAL, -EHWPOISON,
		-EOPNOTSUPP,
	};
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 4);
	unsigned int i;

	fake_add_folio(fake, 4, 2);
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		fake->fail_index = 8;
		fake->fail_err = errors[i];
		fake->fail_times = 1;
		fake->nr_get = 0;
		/* Four pages and a large folio are pinned by then. */
		KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 9, PIN_FD_WRITE),
				errors[i]);
		KUNIT_EXPECT_EQ(test, fake->nr_get, 6);
		fake_expect_idle(fake);

		fake->fail_index = 0;
		fake->fail_times = 1;
		KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, 0), errors[i]);
		fake_expect_idle(fake);
	}
}

static void pin_fd_poison(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 2);
	struct folio *large = fake_add_folio(fake, 4, 2);

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "no CONFIG_MEMORY_FAILURE");

	SetPageHWPoison(folio_page(fake->folios[1], 0));
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 2, 0), -EHWPOISON);
	fake_expect_idle(fake);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, 0), PAGE_SIZE);
	fake_unpin(fake);
	ClearPageHWPoison(folio_page(fake->folios[1], 0));

	/* In a large folio one bad page does not spoil the others. */
	SetPageHWPoison(folio_page(large, 2));
	folio_set_has_hwpoisoned(large);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 4, 2, 0), 2 * PAGE_SIZE);
	fake_unpin(fake);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 7, 1, 0), PAGE_SIZE);
	fake_unpin(fake);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 4, 3, 0), -EHWPOISON);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 6, 2, 0), -EHWPOISON);
	folio_clear_has_hwpoisoned(large);
	ClearPageHWPoison(folio_page(large, 2));

	fake_expect_idle(fake);
}

static void fake_send_signal(struct task_struct *task, int signal)
{
	spin_lock_irq(&unrcu_pointer(task->sighand)->siglock);
	sigaddset(&task->pending.signal, signal);
	signal_wake_up(task, signal == SIGKILL);
	spin_unlock_irq(&unrcu_pointer(task->sighand)->siglock);
}

static void fake_kill_at_2(struct fake *fake, pgoff_t index)
{
	if (index == 2)
		fake_send_signal(current, SIGKILL);
}

static void pin_fd_killed(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 4);
	long ret;

	fake->on_get = fake_kill_at_2;
	ret = fake_pin(fake, 0, 4, 0);
	flush_signals(current);

	KUNIT_EXPECT_EQ(test, ret, -EINTR);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 3);
	fake_expect_idle(fake);
}

static void fake_signal_at_2(struct fake *fake, pgoff_t index)
{
	if (index == 2)
		fake_send_signal(current, SIGUSR1);
}

/* Any other signal waits until the pages are pinned. */
static void pin_fd_signal(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 4);
	bool pending;
	long ret;

	fake->on_get = fake_signal_at_2;
	ret = fake_pin(fake, 0, 4, 0);
	pending = signal_pending(current);
	flush_signals(current);

	KUNIT_EXPECT_TRUE(test, pending);
	KUNIT_EXPECT_EQ(test, ret, 4 * PAGE_SIZE);
	fake_expect_cover(fake, 0, 4);
	fake_unpin(fake);
	fake_expect_idle(fake);
}

/* A thread that has i_rwsem, and kills a task that waits for it. */
struct fake_holder {
	struct inode *inode;
	struct task_struct *waiter;
	bool waited;
	struct completion held;
	struct completion go;
};

static int fake_hold_lock(void *arg)
{
	struct fake_holder *holder = arg;
	unsigned long end = jiffies + 10 * HZ;
	struct rw_semaphore *lock = &holder->inode->i_rwsem;

	inode_lock(holder->inode);
	complete(&holder->held);
	while (!rwsem_is_contended(lock) && time_before(jiffies, end))
		usleep_range(1000, 2000);
	holder->waited = rwsem_is_contended(lock);
	if (holder->waited) {
		/* It should sleep by now. Nothing is wrong if it does not. */
		msleep(20);
		fake_send_signal(holder->waiter, SIGKILL);
		wait_for_completion_timeout(&holder->go, 10 * HZ);
	}
	inode_unlock(holder->inode);
	return 0;
}

static long fake_wait_to_pin(struct fake *fake)
{
	return pin_user_pages_fd(fake->file, 0, PAGE_SIZE, 0, fake->ranges,
				 ARRAY_SIZE(fake->ranges), &fake->nr_ranges);
}

static long fake_wait_to_check(struct fake *fake)
{
	return pin_user_pages_fd_check(fake->file, 0, PAGE_SIZE, 0);
}

/* A task that is killed while it waits for i_rwsem does not wait any longer. */
static void pin_fd_killed_waiting(struct kunit *test)
{
	static long (* const calls[])(struct fake *fake) = {
		fake_wait_to_pin, fake_wait_to_check,
	};
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 1);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		struct fake_holder holder = {
			.inode = file_inode(fake->file),
			.waiter = current,
		};
		struct task_struct *task;
		long ret;

		init_completion(&holder.held);
		init_completion(&holder.go);
		task = kthread_create(fake_hold_lock, &holder, "pin_fd_kunit");
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
		get_task_struct(task);
		wake_up_process(task);
		wait_for_completion(&holder.held);

		ret = calls[i](fake);
		complete(&holder.go);
		kthread_stop_put(task);
		flush_signals(current);

		KUNIT_EXPECT_TRUE(test, holder.waited);
		KUNIT_EXPECT_EQ(test, ret, -EINTR);
		KUNIT_EXPECT_EQ(test, fake->nr_may_pin, 0);
		KUNIT_EXPECT_EQ(test, fake->nr_ranges, 0);
	}
	fake_expect_idle(fake);
}

/* pin_user_pages_fd_check() */

static int fake_check(struct fake *fake, pgoff_t index, unsigned int nr_pages,
		      unsigned int flags)
{
	struct inode *inode = file_inode(fake->file);
	int err;

	err = pin_user_pages_fd_check(fake->file, index * PAGE_SIZE,
				      nr_pages * PAGE_SIZE, flags);
	KUNIT_EXPECT_FALSE(fake->test, inode_is_locked(inode));
	return err;
}

static void pin_fd_check(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 1);
	struct fake *ro = fake_create(test, &fake_fops, O_RDONLY, 1);
	struct fake *wo = fake_create(test, &fake_fops, O_WRONLY, 1);
	struct fake *open = fake_create(test, &fake_open_fops, O_RDWR, 1);
	struct fake *plain = fake_create(test, &fake_plain_fops, O_WRONLY, 1);
	unsigned int flags = PIN_FD_WRITE | PIN_FD_NOSHRINK;

	KUNIT_EXPECT_EQ(test, fake_check(plain, 0, 0, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, fake_check(fake, 0, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_check(fake, 0, 1, BIT(31)), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_check(wo, 0, 1, 0), -EACCES);
	KUNIT_EXPECT_EQ(test, fake_check(ro, 0, 1, PIN_FD_WRITE), -EACCES);
	KUNIT_EXPECT_EQ(test, fake_check(ro, 0, 1, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_check(open, 0, 1, PIN_FD_NOSHRINK), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_check(open, 0, 1, PIN_FD_WRITE), 0);

	/* The file may grow until the pages are pinned. */
	KUNIT_EXPECT_EQ(test, fake_check(fake, 1, FAKE_PAGES, flags), 0);
	KUNIT_EXPECT_EQ(test, fake->nr_may_pin, 1);
	KUNIT_EXPECT_EQ(test, fake->may_pin_start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->may_pin_end, (FAKE_PAGES + 1) * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->may_pin_flags, flags);
	fake->may_pin_err = -EPERM;
	KUNIT_EXPECT_EQ(test, fake_check(fake, 0, 1, 0), -EPERM);
	fake_set_inode_flags(fake, S_SWAPFILE);
	KUNIT_EXPECT_EQ(test, fake_check(fake, 0, 1, PIN_FD_WRITE), -ETXTBSY);
	fake_set_inode_flags(fake, S_APPEND);
	KUNIT_EXPECT_EQ(test, fake_check(fake, 0, 1, PIN_FD_WRITE), -EACCES);
	fake_set_inode_flags(fake, 0);
	KUNIT_EXPECT_EQ(test, fake->nr_get + ro->nr_get + open->nr_get, 0);
	fake_expect_idle(fake);
}

/* Coverage */

static void pin_fd_max_ranges(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 4);

	fake_add_folio(fake, 4, 2);
	fake->ranges[2].folio = ERR_PTR(-EFAULT);
	KUNIT_EXPECT_EQ(test, fake_pin_max(fake, 0, 8 * PAGE_SIZE, 0, 2),
			2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_ranges, 2);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 2);
	/* It does not write past the room that it has. */
	KUNIT_EXPECT_PTR_EQ(test, fake->ranges[2].folio, ERR_PTR(-EFAULT));
	fake_expect_cover(fake, 0, 2);
	fake_unpin(fake);

	/* From where it ended on, with exactly enough room. */
	KUNIT_EXPECT_EQ(test, fake_pin_max(fake, 2 * PAGE_SIZE, 6 * PAGE_SIZE,
					   0, 3),
			6 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_ranges, 3);
	fake_expect_cover(fake, 2, 6);
	fake_unpin(fake);

	/* The large folio does not count for more than one. */
	KUNIT_EXPECT_EQ(test, fake_pin_max(fake, 4 * PAGE_SIZE, 4 * PAGE_SIZE,
					   0, 1),
			4 * PAGE_SIZE);
	fake_unpin(fake);
	fake_expect_idle(fake);
}

static void fake_expect_range(struct fake *fake, unsigned int i,
			      struct folio *folio, unsigned int offset,
			      unsigned int len)
{
	struct kunit *test = fake->test;

	KUNIT_ASSERT_LT(test, i, fake->nr_ranges);
	KUNIT_EXPECT_PTR_EQ(test, fake->ranges[i].folio, folio);
	KUNIT_EXPECT_EQ(test, fake->ranges[i].offset, offset * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->ranges[i].len, len * PAGE_SIZE);
}

/* A file of folios of 1, 1, 2, 4 and 8 pages. */
static struct fake *fake_create_large(struct kunit *test,
				      const struct file_operations *fops)
{
	struct fake *fake = fake_create(test, fops, O_RDWR, 2);

	fake_add_folio(fake, 2, 1);
	fake_add_folio(fake, 4, 2);
	fake_add_folio(fake, 8, 3);
	return fake;
}

/* They are pinned whole, when the file is asked @nr_get times, and in part. */
static void fake_pin_large(struct fake *fake, unsigned int nr_get)
{
	struct folio *two = fake->folios[2];
	struct folio *four = fake->folios[4];
	struct folio *eight = fake->folios[8];
	struct kunit *test = fake->test;

	/* As they are. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 16, 0), 16 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_ranges, 5);
	KUNIT_EXPECT_EQ(test, fake->nr_get, nr_get);
	fake_expect_range(fake, 2, two, 0, 2);
	fake_expect_range(fake, 3, four, 0, 4);
	fake_expect_range(fake, 4, eight, 0, 8);
	fake_expect_cover(fake, 0, 16);
	fake_unpin(fake);

	/* Both ends cut. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 5, 6, 0), 6 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_ranges, 2);
	fake_expect_range(fake, 0, four, 1, 3);
	fake_expect_range(fake, 1, eight, 0, 3);
	fake_expect_cover(fake, 5, 6);
	fake_unpin(fake);

	/* Both ends of the same folio cut. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 10, 3, 0), 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_ranges, 1);
	fake_expect_range(fake, 0, eight, 2, 3);
	fake_expect_cover(fake, 10, 3);
	fake_unpin(fake);
}

static void pin_fd_large_folios(struct kunit *test)
{
	struct fake *fake = fake_create_large(test, &fake_fops);

	fake_pin_large(fake, 5);
	fake_expect_idle(fake);
}

/* In pages. Its lower 32 bits are 0. */
#define FAR	BIT_ULL(33)

static void fake_far(struct kunit *test, const struct file_operations *fops)
{
	struct fake *fake = fake_create_large(test, fops);
	unsigned int i;

	fake->base = (pgoff_t)FAR;
	fake_set_size(fake, (FAR + FAKE_PAGES) << PAGE_SHIFT);
	if (fops == &fake_cached_fops) {
		mapping_set_large_folios(fake->file->f_mapping);
		for (i = 0; i < FAKE_PAGES; i += folio_nr_pages(fake->folios[i]))
			fake_cache_folio(fake, i, true);
	}

	KUNIT_EXPECT_EQ(test, fake_pin_max(fake, (FAR + 1) << PAGE_SHIFT,
					   15 * PAGE_SIZE, 0, FAKE_PAGES),
			15 * PAGE_SIZE);
	fake_expect_cover(fake, 1, 15);
	fake_unpin(fake);

	/* There is nothing at the page that its lower 32 bits name. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 1, 1, 0), -EINVAL);

	truncate_inode_pages(fake->file->f_mapping, 0);
	lru_add_drain_all();
	fake_expect_idle(fake);
}

static void pin_fd_far(struct kunit *test)
{
	if (BITS_PER_LONG == 32)
		kunit_skip(test, "page numbers have 32 bits");

	fake_far(test, &fake_fops);
	/* The page cache has large folios only with this. */
	if (IS_ENABLED(CONFIG_XARRAY_MULTI))
		fake_far(test, &fake_cached_fops);
}

/* More than UINT_MAX pages. The lower 32 bits of their number are 1. */
static void fake_many_pages(struct kunit *test,
			    const struct file_operations *fops)
{
	struct fake *fake = fake_create(test, fops, O_RDWR, 4);
	const u64 len = (UINT_MAX + 2ULL) << PAGE_SHIFT;
	unsigned int i;

	fake_set_size(fake, FAR << PAGE_SHIFT);
	for (i = 0; fops == &fake_cached_fops && i < 4; i++)
		fake_cache_folio(fake, i, true);

	KUNIT_EXPECT_EQ(test, fake_pin_max(fake, 0, len, 0, 3), 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_ranges, 3);
	fake_expect_cover(fake, 0, 3);
	fake_unpin(fake);

	truncate_inode_pages(fake->file->f_mapping, 0);
	lru_add_drain_all();
	fake_expect_idle(fake);
}

static void pin_fd_many_pages(struct kunit *test)
{
	if (BITS_PER_LONG == 32)
		kunit_skip(test, "lengths have 32 bits");

	fake_many_pages(test, &fake_fops);
	fake_many_pages(test, &fake_cached_fops);
}

/* A range owns one pin and nothing else. */
static void pin_fd_counts(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 1);
	struct folio *small = fake->folios[0];
	struct folio *large = fake_add_folio(fake, 4, 2);
	struct pinned_range again[1];
	unsigned int nr_again;

	KUNIT_ASSERT_EQ(test, fake_pin(fake, 0, 1, 0), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, folio_ref_count(small),
			fake->refs[0] + GUP_PIN_COUNTING_BIAS);
	fake_unpin(fake);
	fake_expect_idle(fake);

	/* Twice, and in the middle: pins add up. */
	KUNIT_ASSERT_EQ(test, fake_pin(fake, 4, 4, 0), 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, folio_ref_count(large), fake->refs[4] + 1);
	KUNIT_ASSERT_EQ(test, pin_file(test, fake->file, 5 * PAGE_SIZE,
				       PAGE_SIZE, 0, again, 1, &nr_again),
			PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, folio_ref_count(large), fake->refs[4] + 2);
	fake_unpin(fake);
	KUNIT_EXPECT_EQ(test, folio_ref_count(large), fake->refs[4] + 1);
	KUNIT_EXPECT_TRUE(test, folio_maybe_dma_pinned(large));
	unpin_user_ranges(again, nr_again, false);
	fake_expect_idle(fake);

	/* Nothing is nothing. */
	unpin_user_ranges(NULL, 0, true);
}

/* A count that would overflow is left alone. */
static void fake_too_many_pins(struct kunit *test,
			       const struct file_operations *fops)
{
	struct fake *fake = fake_create(test, fops, O_RDWR, 2);
	struct folio *folio = fake->folios[1];
	struct pinned_range again[2];
	unsigned int nr_again;
	int refs, many;

	if (fops == &fake_cached_fops) {
		fake_cache_folio(fake, 0, true);
		fake_cache_folio(fake, 1, true);
	}
	lru_add_drain_all();
	refs = folio_ref_count(folio);
	many = INT_MAX - GUP_PIN_COUNTING_BIAS / 2 - refs;
	folio_ref_add(folio, many);

	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 2, 0), 2 * PAGE_SIZE);
	KUNIT_EXPECT_LT(test, folio_ref_count(folio), 0);
	KUNIT_EXPECT_EQ(test, pin_file(test, fake->file, 0, 2 * PAGE_SIZE, 0,
				       again, 2, &nr_again), -ENOMEM);
	fake_unpin(fake);

	folio_ref_sub(folio, many);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), refs);
	KUNIT_EXPECT_FALSE(test, folio_maybe_dma_pinned(fake->folios[0]));
	truncate_inode_pages(fake->file->f_mapping, 0);
}

static void pin_fd_too_many_pins(struct kunit *test)
{
	fake_too_many_pins(test, &fake_fops);
	fake_too_many_pins(test, &fake_cached_fops);
}

/* Locks */

static void pin_fd_locks(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 4);

	/* So that there is an mmap_lock to look at. */
	KUNIT_ASSERT_EQ(test, kunit_attach_mm(), 0);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 4, PIN_FD_WRITE),
			4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_may_pin, 1);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 4);
	fake_unpin(fake);
	fake_expect_idle(fake);
}

static void pin_fd_locked(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_fops, O_RDWR, 4);
	struct inode *inode = file_inode(fake->file);
	long ret;

	fake->expect_exclusive = true;
	inode_lock(inode);
	ret = pin_user_pages_fd_locked(fake->file, 0, 4 * PAGE_SIZE,
				       PIN_FD_WRITE, fake->ranges,
				       ARRAY_SIZE(fake->ranges),
				       &fake->nr_ranges);
	/* It is the caller's lock. */
	KUNIT_EXPECT_FALSE(test, inode_trylock_shared(inode));
	inode_unlock(inode);

	KUNIT_EXPECT_EQ(test, ret, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_may_pin, 1);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 4);
	fake_expect_cover(fake, 0, 4);
	fake_unpin(fake);

	fake->expect_exclusive = false;
	inode_lock_shared(inode);
	ret = pin_user_pages_fd_locked(fake->file, 0, PAGE_SIZE, 0,
				       fake->ranges, 1, &fake->nr_ranges);
	KUNIT_EXPECT_FALSE(test, inode_trylock(inode));
	inode_unlock_shared(inode);
	KUNIT_EXPECT_EQ(test, ret, PAGE_SIZE);
	fake_unpin(fake);
	fake_expect_idle(fake);
}

/* The page cache */

/* As a file system does: page 1 is read, page 2 is a hole. */
static void fake_fill(struct fake *fake, pgoff_t index)
{
	if (index == 1)
		folio_mark_uptodate(fake->folios[1]);
	else
		fake_cache_folio(fake, index, true);
}

/* The first answer for page 2 is a folio that has left the file already. */
static void fake_fill_late(struct fake *fake, pgoff_t index)
{
	if (index != 2 || fake->nr_get > 2)
		fake_fill(fake, index);
}

static void fake_cached(struct kunit *test,
			void (*fill)(struct fake *fake, pgoff_t index),
			unsigned int nr_get)
{
	struct fake *fake = fake_create(test, &fake_cached_fops, O_RDWR, 4);

	fake_cache_folio(fake, 0, true);
	fake_cache_folio(fake, 1, false);
	fake_cache_folio(fake, 3, true);
	fake->on_get = fill;

	/* The file is asked only for what is not there or not uptodate. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 4, 0), 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_get, nr_get);
	fake_expect_cover(fake, 0, 4);
	fake_unpin(fake);

	/* Everything is there now. */
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 4, 0), 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_get, nr_get);
	fake_unpin(fake);

	/* Only the file's references are left. */
	truncate_inode_pages(fake->file->f_mapping, 0);
	lru_add_drain_all();
	fake_expect_idle(fake);
}

static void pin_fd_cached(struct kunit *test)
{
	fake_cached(test, fake_fill, 2);
}

static void pin_fd_left_the_cache(struct kunit *test)
{
	fake_cached(test, fake_fill_late, 3);
}

static void fake_put_right(struct fake *fake, pgoff_t index)
{
	fake->folios[index]->index = fake->base + index;
}

/* Whoever looks up page 1 finds that it has just been replaced. The file knows. */
static void pin_fd_replaced(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_cached_fops, O_RDWR, 2);

	fake_cache_folio(fake, 0, true);
	fake_cache_folio(fake, 1, true);
	fake->folios[1]->index++;
	fake->on_get = fake_put_right;

	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 2, 0), 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake->nr_get, 1);
	fake_expect_cover(fake, 0, 2);
	fake_unpin(fake);

	fake_put_right(fake, 1);
	truncate_inode_pages(fake->file->f_mapping, 0);
	lru_add_drain_all();
	fake_expect_idle(fake);
}

/* What is in the page cache is pinned as what the file hands out is. */
static void pin_fd_cached_large(struct kunit *test)
{
	struct fake *fake;
	unsigned int i;

	if (!IS_ENABLED(CONFIG_XARRAY_MULTI))
		kunit_skip(test, "no large folios in the page cache");

	fake = fake_create_large(test, &fake_cached_fops);
	mapping_set_large_folios(fake->file->f_mapping);
	for (i = 0; i < FAKE_PAGES; i += folio_nr_pages(fake->folios[i]))
		fake_cache_folio(fake, i, true);

	fake_pin_large(fake, 0);

	/* No more than there is room for. */
	fake->ranges[2].folio = ERR_PTR(-EFAULT);
	KUNIT_EXPECT_EQ(test, fake_pin_max(fake, 2 * PAGE_SIZE, 14 * PAGE_SIZE,
					   0, 2),
			6 * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, fake->ranges[2].folio, ERR_PTR(-EFAULT));
	fake_expect_cover(fake, 2, 6);
	fake_unpin(fake);

	/* The file was never asked. */
	KUNIT_EXPECT_EQ(test, fake->nr_get, 0);
	truncate_inode_pages(fake->file->f_mapping, 0);
	lru_add_drain_all();
	fake_expect_idle(fake);
}

/* A page with a memory error is not pinned from the page cache either. */
static void pin_fd_cached_poison(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_cached_fops, O_RDWR, 2);

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "no CONFIG_MEMORY_FAILURE");

	fake_cache_folio(fake, 0, true);
	fake_cache_folio(fake, 1, true);
	SetPageHWPoison(folio_page(fake->folios[1], 0));
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 2, 0), -EHWPOISON);
	KUNIT_EXPECT_EQ(test, fake_pin(fake, 0, 1, 0), PAGE_SIZE);
	fake_unpin(fake);
	ClearPageHWPoison(folio_page(fake->folios[1], 0));
	truncate_inode_pages(fake->file->f_mapping, 0);
	lru_add_drain_all();
	fake_expect_idle(fake);
}

struct fake_thread {
	struct fake *fake;
	struct completion done;
	long ret;
};

static int fake_pin_in_thread(void *data)
{
	struct fake_thread *thread = data;

	thread->ret = pin_user_pages_fd(thread->fake->file, 0, PAGE_SIZE, 0,
					thread->fake->ranges, 1,
					&thread->fake->nr_ranges);
	complete(&thread->done);
	return 0;
}

/* The memory error is found by who has the lock that the pin waits for. */
static void pin_fd_poisoned_meanwhile(struct kunit *test)
{
	struct fake *fake = fake_create(test, &fake_cached_fops, O_RDWR, 1);
	struct fake_thread thread = { .fake = fake };
	struct task_struct *task;
	struct folio *folio;
	unsigned int i;
	bool waits;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "no CONFIG_MEMORY_FAILURE");

	fake_cache_folio(fake, 0, true);
	folio = fake->folios[0];
	init_completion(&thread.done);
	fake->nr_ranges = UINT_MAX;

	folio_lock(folio);
	task = kthread_run(fake_pin_in_thread, &thread, "pin_fd_kunit");
	if (IS_ERR(task)) {
		folio_unlock(folio);
		KUNIT_FAIL_AND_ABORT(test, "no thread");
	}
	for (i = 0; i < 1000 && !folio_test_waiters(folio); i++)
		usleep_range(1000, 2000);
	waits = folio_test_waiters(folio);
	SetPageHWPoison(folio_page(folio, 0));
	folio_unlock(folio);
	wait_for_completion(&thread.done);
	ClearPageHWPoison(folio_page(folio, 0));

	KUNIT_EXPECT_TRUE(test, waits);
	KUNIT_EXPECT_EQ(test, thread.ret, -EHWPOISON);
	KUNIT_EXPECT_EQ(test, fake->nr_ranges, 0);
	truncate_inode_pages(fake->file->f_mapping, 0);
	lru_add_drain_all();
	fake_expect_idle(fake);
}

/* shmem */

#define SHMEM_PAGES	8UL

static struct file *shmem_create(struct kunit *test, loff_t size)
{
	struct file *file;

	file = shmem_file_setup("pin_fd_kunit", size, EMPTY_VMA_FLAGS);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_file, file),
			0);
	return file;
}

static void shmem_set_seals(struct file *file, unsigned int seals)
{
	struct inode *inode = file_inode(file);

	inode_lock(inode);
	SHMEM_I(inode)->seals = seals;
	inode_unlock(inode);
}

static void expect_zeroes(struct kunit *test, const struct pinned_range *range)
{
	size_t off;

	for (off = 0; off < range->len; off += PAGE_SIZE) {
		void *addr = kmap_local_folio(range->folio,
					      range->offset + off);

		KUNIT_EXPECT_NULL(test, memchr_inv(addr, 0, PAGE_SIZE));
		kunmap_local(addr);
	}
}

/*
 * Holes are filled with zeroes, and dirty from the beginning if they are pinned
 * for writing. A clean page stays clean until somebody says otherwise.
 */
static void pin_fd_shmem_dirty(struct kunit *test)
{
	struct file *file = shmem_create(test, SHMEM_PAGES * PAGE_SIZE);
	struct pinned_range ranges[SHMEM_PAGES];
	unsigned int nr, i;

	KUNIT_ASSERT_EQ(test, pin_file(test, file, 0, SHMEM_PAGES * PAGE_SIZE,
				       PIN_FD_WRITE, ranges, SHMEM_PAGES, &nr),
			SHMEM_PAGES * PAGE_SIZE);
	for (i = 0; i < nr; i++) {
		struct folio *folio = ranges[i].folio;

		expect_zeroes(test, &ranges[i]);
		KUNIT_EXPECT_PTR_EQ(test, folio->mapping, file->f_mapping);
		KUNIT_EXPECT_TRUE(test, folio_test_uptodate(folio));
		KUNIT_EXPECT_TRUE(test, folio_maybe_dma_pinned(folio));
		KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
		KUNIT_EXPECT_TRUE(test, folio_test_dirty(folio));
		folio_clear_dirty(folio);
		folio_get(folio);
	}

	unpin_user_ranges(ranges, nr / 2, false);
	unpin_user_ranges(ranges + nr / 2, nr - nr / 2, true);
	lru_add_drain_all();
	for (i = 0; i < nr; i++) {
		struct folio *folio = ranges[i].folio;

		KUNIT_EXPECT_FALSE(test, folio_maybe_dma_pinned(folio));
		KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
		KUNIT_EXPECT_EQ(test, folio_test_dirty(folio), i >= nr / 2);
		/* The page cache's and the one of above. */
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio),
				folio_nr_pages(folio) + 1);
		folio_put(folio);
	}
}

/* What is in the file is what is pinned. */
static void pin_fd_shmem_data(struct kunit *test)
{
	struct file *file = shmem_create(test, SHMEM_PAGES * PAGE_SIZE);
	struct pinned_range ranges[SHMEM_PAGES];
	unsigned int nr, i;
	loff_t pos;
	u32 word;

	for (i = 0; i < SHMEM_PAGES; i++) {
		word = 0x5eed0000 + i;
		pos = i * PAGE_SIZE;
		KUNIT_ASSERT_EQ(test, kernel_write(file, &word, sizeof(word),
						   &pos), sizeof(word));
	}

	KUNIT_ASSERT_EQ(test, pin_file(test, file, 2 * PAGE_SIZE,
				       (SHMEM_PAGES - 2) * PAGE_SIZE,
				       PIN_FD_NOALLOC, ranges, SHMEM_PAGES,
				       &nr),
			(SHMEM_PAGES - 2) * PAGE_SIZE);
	for (i = 0, pos = 2 * PAGE_SIZE; i < nr; i++) {
		size_t off;

		for (off = 0; off < ranges[i].len; off += PAGE_SIZE) {
			u32 *addr = kmap_local_folio(ranges[i].folio,
						     ranges[i].offset + off);

			KUNIT_EXPECT_EQ(test, *addr,
					0x5eed0000 + (pos >> PAGE_SHIFT));
			kunmap_local(addr);
			pos += PAGE_SIZE;
		}
	}
	KUNIT_EXPECT_EQ(test, pos, SHMEM_PAGES * PAGE_SIZE);
	unpin_user_ranges(ranges, nr, false);
}

/* fallocate() leaves pages behind that nobody has cleared yet. */
static void pin_fd_shmem_fallocated(struct kunit *test)
{
	struct file *file = shmem_create(test, SHMEM_PAGES * PAGE_SIZE);
	struct pinned_range ranges[SHMEM_PAGES];
	struct folio *folio;
	unsigned int nr, i;

	KUNIT_ASSERT_EQ(test, vfs_fallocate(file, 0, 0,
					    SHMEM_PAGES * PAGE_SIZE), 0);
	folio = filemap_get_folio(file->f_mapping, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));
	folio_put(folio);

	/* They are no holes. */
	KUNIT_ASSERT_EQ(test, pin_file(test, file, 0, SHMEM_PAGES * PAGE_SIZE,
				       PIN_FD_NOALLOC, ranges, SHMEM_PAGES,
				       &nr),
			SHMEM_PAGES * PAGE_SIZE);
	for (i = 0; i < nr; i++) {
		expect_zeroes(test, &ranges[i]);
		KUNIT_EXPECT_TRUE(test, folio_test_uptodate(ranges[i].folio));
	}
	unpin_user_ranges(ranges, nr, false);
}

/* With a memory error, such a page is not cleared: it may be unmapped. */
static void pin_fd_shmem_poison(struct kunit *test)
{
	struct file *file = shmem_create(test, 2 * PAGE_SIZE);
	struct pinned_range ranges[2];
	struct folio *folio;
	unsigned int nr;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "no CONFIG_MEMORY_FAILURE");

	KUNIT_ASSERT_EQ(test, vfs_fallocate(file, 0, 0, 2 * PAGE_SIZE), 0);
	folio = filemap_get_folio(file->f_mapping, 1);
	KUNIT_ASSERT_FALSE(test, IS_ERR(folio));

	SetPageHWPoison(folio_file_page(folio, 1));
	if (folio_test_large(folio))
		folio_set_has_hwpoisoned(folio);
	KUNIT_EXPECT_EQ(test, pin_file(test, file, 0, 2 * PAGE_SIZE, 0, ranges,
				       2, &nr),
			-EHWPOISON);
	KUNIT_EXPECT_FALSE(test, folio_test_uptodate(folio));
	if (folio_test_large(folio))
		folio_clear_has_hwpoisoned(folio);
	ClearPageHWPoison(folio_file_page(folio, 1));
	folio_put(folio);
}

static void pin_fd_shmem_noalloc(struct kunit *test)
{
	struct file *file = shmem_create(test, SHMEM_PAGES * PAGE_SIZE);
	struct pinned_range ranges[SHMEM_PAGES];
	loff_t pos = 0;
	unsigned int nr;
	u8 byte = 1;

	KUNIT_EXPECT_EQ(test, pin_file(test, file, 0, SHMEM_PAGES * PAGE_SIZE,
				       PIN_FD_NOALLOC, ranges, SHMEM_PAGES,
				       &nr), 0);
	KUNIT_EXPECT_EQ(test, nr, 0);
	KUNIT_EXPECT_EQ(test, file->f_mapping->nrpages, 0);

	KUNIT_ASSERT_EQ(test, kernel_write(file, &byte, 1, &pos), 1);
	KUNIT_EXPECT_EQ(test, pin_file(test, file, 0, SHMEM_PAGES * PAGE_SIZE,
				       PIN_FD_NOALLOC, ranges, SHMEM_PAGES,
				       &nr),
			min(file->f_mapping->nrpages, SHMEM_PAGES) * PAGE_SIZE);
	unpin_user_ranges(ranges, nr, false);
}

static void pin_fd_shmem_seals(struct kunit *test)
{
	static const struct {
		unsigned int seals;
		unsigned int flags;
		long ret;
	} cases[] = {
		{ 0, PIN_FD_WRITE, PAGE_SIZE },
		{ F_SEAL_WRITE, PIN_FD_WRITE, -EPERM },
		{ F_SEAL_FUTURE_WRITE, PIN_FD_WRITE, -EPERM },
		{ F_SEAL_WRITE | F_SEAL_FUTURE_WRITE, 0, PAGE_SIZE },
		{ F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_EXEC, PIN_FD_WRITE,
		  PAGE_SIZE },
		{ 0, PIN_FD_NOSHRINK, -EINVAL },
		{ F_SEAL_GROW, PIN_FD_NOSHRINK, -EINVAL },
		{ F_SEAL_SHRINK, PIN_FD_NOSHRINK, PAGE_SIZE },
		{ F_SEAL_SHRINK, PIN_FD_NOSHRINK | PIN_FD_WRITE, PAGE_SIZE },
		{ F_SEAL_SHRINK | F_SEAL_WRITE, PIN_FD_NOSHRINK | PIN_FD_WRITE,
		  -EPERM },
		/* Both are missing: the right to write comes first. */
		{ F_SEAL_WRITE, PIN_FD_NOSHRINK | PIN_FD_WRITE, -EPERM },
	};
	struct file *file = shmem_create(test, PAGE_SIZE);
	struct pinned_range range;
	unsigned int nr, i;
	long ret;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		shmem_set_seals(file, cases[i].seals);
		ret = pin_file(test, file, 0, PAGE_SIZE, cases[i].flags,
			       &range, 1, &nr);
		KUNIT_EXPECT_EQ_MSG(test, ret, cases[i].ret,
				    "seals %#x, flags %#x", cases[i].seals,
				    cases[i].flags);
		unpin_user_ranges(&range, nr, false);
	}

	/* Seals come before the bounds. */
	shmem_set_seals(file, F_SEAL_WRITE);
	KUNIT_EXPECT_EQ(test, pin_file(test, file, PAGE_SIZE, PAGE_SIZE,
				       PIN_FD_WRITE, &range, 1, &nr), -EPERM);
	shmem_set_seals(file, F_SEAL_SEAL);
}

static void pin_fd_shmem_partial(struct kunit *test)
{
	struct file *file = shmem_create(test, 2 * PAGE_SIZE + 1);
	struct pinned_range ranges[4];
	unsigned int nr;

	KUNIT_EXPECT_EQ(test, pin_file(test, file, 0, 4 * PAGE_SIZE, 0, ranges,
				       4, &nr), -EINVAL);
	KUNIT_EXPECT_EQ(test, file->f_mapping->nrpages, 0);
	KUNIT_EXPECT_EQ(test, pin_file(test, file, 0, 3 * PAGE_SIZE, 0, ranges,
				       4, &nr), 3 * PAGE_SIZE);
	unpin_user_ranges(ranges, nr, false);
}

static struct kunit_case pin_fd_cases[] = {
	KUNIT_CASE(pin_fd_arguments),
	KUNIT_CASE(pin_fd_arguments_locked),
	KUNIT_CASE(pin_fd_type),
	KUNIT_CASE(pin_fd_mode),
	KUNIT_CASE(pin_fd_append_only),
	KUNIT_CASE(pin_fd_swapfile),
	KUNIT_CASE(pin_fd_may_pin),
	KUNIT_CASE(pin_fd_no_may_pin),
	KUNIT_CASE(pin_fd_bounds),
	KUNIT_CASE(pin_fd_shrinks),
	KUNIT_CASE(pin_fd_noalloc),
	KUNIT_CASE(pin_fd_stalls),
	KUNIT_CASE(pin_fd_progress),
	KUNIT_CASE(pin_fd_unwind),
	KUNIT_CASE(pin_fd_poison),
	KUNIT_CASE(pin_fd_killed),
	KUNIT_CASE(pin_fd_signal),
	KUNIT_CASE(pin_fd_killed_waiting),
	KUNIT_CASE(pin_fd_check),
	KUNIT_CASE(pin_fd_max_ranges),
	KUNIT_CASE(pin_fd_large_folios),
	KUNIT_CASE(pin_fd_far),
	KUNIT_CASE(pin_fd_many_pages),
	KUNIT_CASE(pin_fd_counts),
	KUNIT_CASE(pin_fd_too_many_pins),
	KUNIT_CASE(pin_fd_locks),
	KUNIT_CASE(pin_fd_locked),
	KUNIT_CASE(pin_fd_cached),
	KUNIT_CASE(pin_fd_left_the_cache),
	KUNIT_CASE(pin_fd_replaced),
	KUNIT_CASE(pin_fd_cached_large),
	KUNIT_CASE(pin_fd_cached_poison),
	KUNIT_CASE(pin_fd_poisoned_meanwhile),
	KUNIT_CASE(pin_fd_shmem_dirty),
	KUNIT_CASE(pin_fd_shmem_data),
	KUNIT_CASE(pin_fd_shmem_fallocated),
	KUNIT_CASE(pin_fd_shmem_poison),
	KUNIT_CASE(pin_fd_shmem_noalloc),
	KUNIT_CASE(pin_fd_shmem_seals),
	KUNIT_CASE(pin_fd_shmem_partial),
	{}
};

static struct kunit_suite pin_fd_suite = {
	.name = "pin_fd",
	.test_cases = pin_fd_cases,
};

kunit_test_suite(pin_fd_suite);

MODULE_DESCRIPTION("KUnit tests of pin_user_pages_fd()");
MODULE_LICENSE("GPL");
