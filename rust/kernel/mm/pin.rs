// SPDX-License-Identifier: GPL-2.0

//! Pages of a file, pinned for long-term access.
//!
//! A driver that lets a device or the kernel access the memory of a file for longer than a system
//! call pins it: the pages can then neither be migrated nor reclaimed. [`PinnedRanges`] owns such
//! pins, gives them back when it is dropped, and marks the pages dirty first if they were pinned
//! for writing.
//!
//! The pages are described by what is contiguous: a huge page costs as little as a small one.
//!
//! C header: [`include/linux/pin_fd.h`](srctree/include/linux/pin_fd.h)

use crate::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    error::to_result,
    fs::{
        file::Offset,
        LocalFile, //
    },
    impl_flags,
    page::PAGE_SHIFT,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ops,
    slice, //
};

impl_flags!(
    /// How the pages of a file are pinned, see [`PinFlag`].
    #[derive(Debug, Clone, Default, Copy, PartialEq, Eq)]
    pub struct PinFlags(u32);

    /// A condition that pinning has to meet.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum PinFlag {
        /// The pages will be written.
        ///
        /// The file must be open for writing and must not be sealed against writes. The pages are
        /// marked dirty when they are unpinned. Without this flag they are refused wherever they
        /// could be written.
        Write = bindings::PIN_FD_WRITE,

        /// Refuse a file that can still be truncated.
        NoShrink = bindings::PIN_FD_NOSHRINK,
    }
);

/// A physically contiguous piece of one folio, in 8 bytes.
///
/// The lower [`Range::PAGES_BITS`] bits hold the number of pages, less one. The other bits hold
/// the page frame number of the first page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range(u64);

impl Range {
    /// 20 bits are enough for huge pages of 1 GiB (`2^18` pages of 4 KiB) and of 16 GiB (`2^18`
    /// pages of 64 KiB). They leave 44 bits for a page frame number, which makes a physical
    /// address space of 56 bits with pages of 4 KiB; no architecture has more. What does not fit
    /// is refused.
    const PAGES_BITS: u32 = 20;

    /// Packs `nr_pages` pages from `pfn` on, if they fit.
    #[inline]
    fn new(pfn: usize, nr_pages: usize) -> Option<Self> {
        // CAST: `usize` has at most 64 bits on all supported architectures.
        let (pfn, less_one) = (pfn as u64, nr_pages.checked_sub(1)? as u64);

        (pfn >> (u64::BITS - Self::PAGES_BITS) == 0 && less_one >> Self::PAGES_BITS == 0)
            .then_some(Self(pfn << Self::PAGES_BITS | less_one))
    }

    /// The page frame number of the first page.
    #[inline]
    fn pfn(self) -> usize {
        // CAST: `Range::new()` took the number from a `usize`.
        (self.0 >> Self::PAGES_BITS) as usize
    }

    /// The number of pages, never 0.
    #[inline]
    fn nr_pages(self) -> usize {
        // CAST: The value has at most `PAGES_BITS` bits.
        (self.0 & ((1 << Self::PAGES_BITS) - 1)) as usize + 1
    }
}

/// A list of [`Range`]s that can be looked up by page.
///
/// This is the bookkeeping of [`PinnedRanges`] without the ownership of the pins.
///
/// # Invariants
///
/// - `nr_pages` is the sum of the pages of `ranges`; as many bytes fit into a `usize`.
/// - `starts[i]` is the number of pages in front of `ranges[i * CHUNK]`.
struct RangeList {
    ranges: KVVec<Range>,
    starts: KVVec<usize>,
    nr_pages: usize,
}

impl RangeList {
    /// The number of ranges per entry of `starts`. Half of them are walked through to find a page.
    const CHUNK: usize = 16;

    const fn new() -> Self {
        // INVARIANT: There are no ranges.
        Self {
            ranges: KVVec::new(),
            starts: KVVec::new(),
            nr_pages: 0,
        }
    }

    /// Whether each range is a single page, so that no index is needed to find one.
    #[inline]
    fn is_dense(&self) -> bool {
        self.nr_pages == self.ranges.len()
    }

    /// Makes room for `additional` more ranges.
    fn reserve(&mut self, additional: usize, flags: Flags) -> Result<(), AllocError> {
        self.ranges.reserve(additional, flags)
    }

    /// Appends ranges, which there has to be room for: all of them, or none if this fails.
    #[inline]
    fn append(&mut self, ranges: impl IntoIterator<Item = Option<Range>>) -> Result {
        let mut slots = self.ranges.spare_capacity_mut().iter_mut();
        let (mut nr_ranges, mut nr_pages) = (0, self.nr_pages);

        for range in ranges {
            let range = range.ok_or(EOVERFLOW)?;

            slots.next().ok_or(ENOMEM)?.write(range);
            nr_ranges += 1;
            nr_pages = nr_pages.saturating_add(range.nr_pages());
        }
        if nr_pages > usize::MAX >> PAGE_SHIFT {
            return Err(EOVERFLOW);
        }

        // SAFETY: As many slots were there, and have been initialized.
        unsafe { self.ranges.inc_len(nr_ranges) };
        // INVARIANT: The pages of the new ranges are accounted for.
        self.nr_pages = nr_pages;
        Ok(())
    }

    /// Removes all ranges but the first `len`.
    fn truncate(&mut self, len: usize) {
        let removed = if self.is_dense() {
            self.ranges.len().saturating_sub(len)
        } else {
            let ranges = self.ranges.iter().skip(len);

            ranges.map(|range| range.nr_pages()).sum()
        };

        // INVARIANT: The ranges are removed, and so are their pages, and the entries of `starts`
        // that begin with them.
        self.nr_pages -= removed;
        self.ranges.truncate(len);
        self.starts.truncate(len.div_ceil(Self::CHUNK));
    }

    /// Makes all ranges findable; to be called after [`RangeList::append`].
    fn index(&mut self, flags: Flags) -> Result<(), AllocError> {
        if self.is_dense() {
            return Ok(());
        }

        let nr_chunks = self.ranges.len().div_ceil(Self::CHUNK);
        self.starts.reserve(nr_chunks - self.starts.len(), flags)?;

        let mut chunk = self.starts.len().saturating_sub(1);
        let mut start = self.starts.pop().unwrap_or(0);

        while chunk < nr_chunks {
            // INVARIANT: `start` is the number of pages in front of `chunk`: it was in the list,
            // or is 0 for the first chunk, or is the sum below.
            self.starts.push(start, flags)?;

            let ranges = self.ranges.iter().skip(chunk * Self::CHUNK);
            start += ranges
                .take(Self::CHUNK)
                .map(|range| range.nr_pages())
                .sum::<usize>();
            chunk += 1;
        }
        Ok(())
    }

    /// Finds the range that holds the given page, and the page's place in it.
    #[inline]
    fn find(&self, page: usize) -> Option<(usize, usize)> {
        if page >= self.nr_pages {
            return None;
        }
        if self.is_dense() {
            return Some((page, 0));
        }

        // Without an index, all ranges are searched.
        let chunk = self.starts.partition_point(|start| *start <= page);
        let chunk = chunk.saturating_sub(1);
        let mut offset = page - self.starts.get(chunk).unwrap_or(&0);

        for (i, range) in self.ranges.iter().enumerate().skip(chunk * Self::CHUNK) {
            if offset < range.nr_pages() {
                return Some((i, offset));
            }
            offset -= range.nr_pages();
        }
        None
    }

    /// Returns the page frame number of a page, if the `2^order` pages from it on lie in one range
    /// and are aligned to their size.
    #[inline]
    fn block(&self, page: usize, order: u32) -> Option<usize> {
        let nr_pages = 1_usize.checked_shl(order)?;
        let (i, offset) = self.find(page)?;
        let range = self.ranges.get(i)?;
        let pfn = range.pfn() + offset;

        (pfn % nr_pages == 0 && range.nr_pages() - offset >= nr_pages).then_some(pfn)
    }

    /// Writes what `f` makes of the page frame numbers of `pages` to `slots`: as many as there are,
    /// and as there is room for. Returns what was written.
    #[inline]
    fn fill<'s, T>(
        &self,
        pages: ops::Range<usize>,
        slots: &'s mut [MaybeUninit<T>],
        f: impl Fn(usize) -> T,
    ) -> &'s mut [T] {
        let nr = slots.len().min(pages.len());
        let slots = slots.get_mut(..nr).unwrap_or_default();
        let (first, mut skip) = self.find(pages.start).unwrap_or((self.ranges.len(), 0));
        let ranges = self.ranges.get(first..).unwrap_or_default();
        let mut nr = 0;

        // Lists of small pages are mostly just arrays.
        if self.is_dense() {
            nr = slots.len().min(ranges.len());
            for (slot, range) in slots.iter_mut().zip(ranges) {
                slot.write(f(range.pfn()));
            }
        } else {
            let mut rest = &mut slots[..];

            for range in ranges {
                let len = rest.len().min(range.nr_pages() - skip);
                let (part, behind) = rest.split_at_mut(len);

                for (i, slot) in part.iter_mut().enumerate() {
                    slot.write(f(range.pfn() + skip + i));
                }
                nr += len;
                if behind.is_empty() {
                    break;
                }
                (rest, skip) = (behind, 0);
            }
        }
        // SAFETY: The first `nr` slots have been written, and are borrowed mutably.
        unsafe { slice::from_raw_parts_mut(slots.as_mut_ptr().cast(), nr) }
    }

    /// Returns the runs of physically contiguous pages, each at most `max_pages` long.
    fn runs(&self, max_pages: usize) -> Runs<'_> {
        Runs {
            ranges: self.ranges.iter(),
            rest: None,
            max_pages: max_pages.max(1),
            _pages: PhantomData,
        }
    }
}

/// A number of physically contiguous pages.
///
/// # Invariants
///
/// There are `nr_pages` pages, not 0, from number `pfn` on, and their `struct page`s are contiguous
/// too. All of them are kept pinned for `'a`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    pfn: usize,
    nr_pages: usize,
    _pages: PhantomData<&'a PinnedRanges>,
}

impl Run<'_> {
    /// The number of pages, never 0.
    #[inline]
    pub fn nr_pages(self) -> usize {
        self.nr_pages
    }

    /// The first page.
    #[inline]
    pub fn as_ptr(self) -> *mut bindings::page {
        // SAFETY: By the type invariants, `pfn` is the number of a page of a folio, so it has a
        // `struct page`.
        unsafe { bindings::pfn_to_page(self.pfn) }
    }
}

/// An iterator over [`Run`]s.
#[derive(Clone)]
struct Runs<'a> {
    ranges: slice::Iter<'a, Range>,
    rest: Option<(usize, usize)>,
    max_pages: usize,
    _pages: PhantomData<&'a PinnedRanges>,
}

impl Runs<'_> {
    /// Whether the `struct page`s of contiguous pages are contiguous too, across sections of
    /// memory, as users of a run expect. Those of one range are anyway.
    const MERGE: bool = cfg!(CONFIG_SPARSEMEM_VMEMMAP) || !cfg!(CONFIG_SPARSEMEM);
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        let (pfn, mut nr_pages) = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let range = self.ranges.next()?;

                (range.pfn(), range.nr_pages())
            }
        };

        while Self::MERGE && nr_pages < self.max_pages {
            match self.ranges.as_slice().first() {
                Some(range) if range.pfn() == pfn + nr_pages => nr_pages += range.nr_pages(),
                _ => break,
            }
            self.ranges.next();
        }

        if nr_pages > self.max_pages {
            self.rest = Some((pfn + self.max_pages, nr_pages - self.max_pages));
            nr_pages = self.max_pages;
        }

        // INVARIANT: The pages are those of one range, whose folio has contiguous `struct page`s,
        // or of neighbours of which `MERGE` says so. Their list is borrowed for `'a`.
        Some(Run {
            pfn,
            nr_pages,
            _pages: PhantomData,
        })
    }
}

/// A page that is kept pinned for `'a`.
///
/// This is not a [`Page`], which is owned and of order 0: a pinned page can be any page of a
/// folio. There is no way from one to the other:
///
/// ```ignore,compile_fail,E0277
/// # use kernel::{mm::pin::PinnedPage, page::Page};
/// fn page_of<'a>(page: PinnedPage<'a>) -> &'a Page {
///     // Error: nothing converts it.
///     page.into()
/// }
/// ```
///
/// # Invariants
///
/// `pfn` is the number of a page of a folio, which is kept pinned for `'a`, and with
/// [`PinFlag::Write`] if `writable` is set.
///
/// [`Page`]: crate::page::Page
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PinnedPage<'a> {
    pfn: usize,
    writable: bool,
    _pages: PhantomData<&'a PinnedRanges>,
}

impl PinnedPage<'_> {
    /// Returns the raw `struct page *`.
    #[inline]
    pub fn as_ptr(self) -> *mut bindings::page {
        // SAFETY: By the type invariants, `pfn` is the number of a page of a folio, so it has a
        // `struct page`.
        unsafe { bindings::pfn_to_page(self.pfn) }
    }

    /// The page frame number.
    #[inline]
    pub fn pfn(self) -> usize {
        self.pfn
    }

    /// Whether the page was pinned with [`PinFlag::Write`].
    #[inline]
    pub fn is_writable(self) -> bool {
        self.writable
    }
}

/// A block of physically contiguous pages, as many and aligned as a huge page of some order, that
/// is kept pinned for `'a`.
///
/// # Invariants
///
/// There are `2^order` pages from `first` on, all kept pinned for `'a`, and the page frame number
/// of `first` is a multiple of that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PinnedBlock<'a> {
    first: PinnedPage<'a>,
    order: u32,
}

impl<'a> PinnedBlock<'a> {
    /// The first page.
    #[inline]
    pub fn first(self) -> PinnedPage<'a> {
        self.first
    }

    /// The binary logarithm of the number of pages.
    #[inline]
    pub fn order(self) -> u32 {
        self.order
    }
}

/// Pages of files, pinned for long-term access.
///
/// The pages of several files, or of several parts of one, can be pinned one after the other. They
/// are numbered in the order in which they were pinned.
///
/// The pins belong to no task, and the list of them does not change behind a shared reference: a
/// value can be sent to, used and dropped by any thread that may sleep.
///
/// # Invariants
///
/// Each range of `list` owns one pin, taken as `flags` says, on the folio that holds its pages, all
/// of which belong to that folio.
///
/// # Examples
///
/// ```no_run
/// use kernel::{
///     fs::LocalFile,
///     mm::pin::{
///         PinFlag,
///         PinnedRanges, //
///     },
///     page::PAGE_SIZE,
/// };
///
/// fn pin_two_pages(fd: u32) -> Result<PinnedRanges> {
///     let file = LocalFile::fget(fd)?;
///     let mut pages = PinnedRanges::new(PinFlag::Write | PinFlag::NoShrink);
///
///     pages.pin(&file, 0, 2 * PAGE_SIZE, GFP_KERNEL)?;
///     assert_eq!(pages.nr_pages(), 2);
///     assert!(pages.block(1, 0).is_some());
///     assert!(pages.block(2, 0).is_none());
///     Ok(pages)
/// }
/// ```
pub struct PinnedRanges {
    list: RangeList,
    flags: PinFlags,
}

impl PinnedRanges {
    /// The number of ranges that are handed to or taken from C at once.
    const BATCH: usize = 32;

    /// The same if it is not done at once: what a page has room for.
    const LARGE_BATCH: usize = 4096 / size_of::<bindings::pinned_range>();

    /// The number of ranges that memory is allocated for before they are pinned: 8 MiB of memory.
    const MAX_ESTIMATE: usize = 1 << 20;

    /// Creates an empty list, whose pages will be pinned as `flags` says.
    pub fn new(flags: impl Into<PinFlags>) -> Self {
        // INVARIANT: There are no ranges.
        Self {
            list: RangeList::new(),
            flags: flags.into(),
        }
    }

    /// Asks whether [`PinnedRanges::pin`] would be allowed now, without looking at the pages.
    ///
    /// Fails as that does, but the range may lie beyond the end of the file. The context is that of
    /// [`PinnedRanges::pin`].
    pub fn check(&self, file: &LocalFile, offset: Offset, len: usize) -> Result {
        // SAFETY: `file` is a valid file.
        to_result(unsafe {
            bindings::pin_user_pages_fd_check(file.as_ptr(), offset, len, self.flags.into())
        })
    }

    /// Pins `len` bytes of `file` from byte `offset` on, and appends the pages.
    ///
    /// `offset` and `len` are multiples of the page size, `len` is not 0, and the range does not
    /// reach beyond the page that holds the end of the file. Holes are filled. Memory for the list
    /// is allocated with `flags`; nothing is printed if there is none.
    ///
    /// On error, the list is as it was before. See [`pin_user_pages_fd()`] for the errors. Besides,
    /// fails with [`ENOMEM`] if there is no memory for the list, and with [`EOVERFLOW`] if all its
    /// pages have more bytes than a `usize` can count, one has a number of more than 44 bits, or a
    /// folio more than 2^20 pages.
    ///
    /// Takes the inode lock of `file` and may sleep; a fatal signal interrupts it. For most files
    /// that lock comes before the mmap lock, so the latter must not be held, nor a lock that comes
    /// after it, as the reservation lock of a dma-buf does: handlers of `mmap` and of page faults
    /// must not call this, nor must the serialised operations of an exporter.
    ///
    /// [`pin_user_pages_fd()`]: srctree/include/linux/pin_fd.h
    pub fn pin(&mut self, file: &LocalFile, offset: Offset, len: usize, flags: Flags) -> Result {
        let nr_ranges = self.list.ranges.len();
        // User space often says how much that is.
        let flags = flags | __GFP_NOWARN;

        let res = self
            .pin_batches(file, offset, len, flags)
            .and_then(|()| Ok(self.list.index(flags)?));

        if res.is_err() {
            // Nothing had the chance to write to these pages.
            self.unpin(nr_ranges, false);
        }
        res
    }

    fn pin_batches(
        &mut self,
        file: &LocalFile,
        mut offset: Offset,
        mut len: usize,
        flags: Flags,
    ) -> Result {
        let mut few = [const { MaybeUninit::<bindings::pinned_range>::uninit() }; Self::BATCH];
        let mut many = KVec::new();
        let mut larger = Some(&mut many);
        let mut batch = &mut few[..];

        loop {
            let mut nr: c_uint = 0;

            // SAFETY:
            // - `file` is a valid file.
            // - `batch` has room for as many entries as it is long.
            let pinned = unsafe {
                bindings::pin_user_pages_fd(
                    file.as_ptr(),
                    offset,
                    len,
                    self.flags.into(),
                    batch.as_mut_ptr().cast(),
                    // CAST: An allocation can be larger than was asked for, but not that large.
                    batch.len() as c_uint,
                    &mut nr,
                )
            };
            let pinned = match usize::try_from(pinned) {
                Ok(0) => return Err(EINVAL),
                Ok(pinned) => pinned,
                // CAST: Errors fit into a `c_int`.
                Err(_) => return to_result(pinned as c_int),
            };

            // SAFETY: C has written the first `nr` entries of `batch`, and no more than there are.
            //
            // CAST: `usize` has at least 32 bits on all supported architectures.
            let pieces: &[bindings::pinned_range] =
                unsafe { slice::from_raw_parts(batch.as_ptr().cast(), nr as usize) };
            // SAFETY: C has just returned them, with a pin for each.
            unsafe { self.take_over(pieces, len, flags) }?;

            len = len.saturating_sub(pinned);
            if len == 0 {
                return Ok(());
            }
            offset = Offset::try_from(pinned)
                .ok()
                .and_then(|pinned| offset.checked_add(pinned))
                .ok_or(EOVERFLOW)?;

            // To ask C less often pays if it would have to be asked again and again. What is left
            // is likely to be as fragmented as what came so far.
            if len > pinned {
                if let Some(many) = larger.take() {
                    if many.reserve(Self::LARGE_BATCH, flags).is_ok() {
                        batch = many.spare_capacity_mut();
                    }
                }
            }
        }
    }

    /// Takes over the pins of `batch`, the first ranges of `len` bytes. If it fails, they are given
    /// back.
    ///
    /// # Safety
    ///
    /// Each entry must own a pin that `pin_user_pages_fd()` took as `self.flags` says.
    unsafe fn take_over(
        &mut self,
        batch: &[bindings::pinned_range],
        len: usize,
        flags: Flags,
    ) -> Result {
        let ranges = batch.iter().map(|raw| {
            // SAFETY: `raw` owns a pin on the folio, so it is valid.
            let pfn = unsafe { bindings::folio_pfn(raw.folio) } + (raw.offset >> PAGE_SHIFT);

            Range::new(pfn, raw.len >> PAGE_SHIFT)
        });

        // INVARIANT: Each entry of `batch` owns a pin as required of this function, which belongs
        // to its range in the list, or is given back below.
        let res = self
            .make_room(batch, len, flags)
            .map_err(Error::from)
            .and_then(|()| self.list.append(ranges));

        if res.is_err() {
            // CAST: There are as many as C was asked for as a `c_uint`, at most.
            let nr = batch.len() as c_uint;

            // SAFETY: `batch` are ranges that own their pins: the list has taken over none.
            unsafe { bindings::unpin_user_ranges(batch.as_ptr(), nr, false) };
        }
        res
    }

    /// Makes room for `batch`, and if there is none, for all of `len` bytes that are as fragmented
    /// as `batch`, within reason.
    fn make_room(
        &mut self,
        batch: &[bindings::pinned_range],
        len: usize,
        flags: Flags,
    ) -> Result<(), AllocError> {
        let ranges = &self.list.ranges;

        if ranges.capacity() - ranges.len() >= batch.len() {
            return Ok(());
        }

        let bytes = batch.iter().map(|raw| raw.len).sum::<usize>();
        let average = bytes.checked_div(batch.len()).unwrap_or(0);

        // Beyond that, the list doubles. A user can ask for more than there is memory.
        let nr = len
            .checked_div(average)
            .unwrap_or(0)
            .clamp(batch.len(), Self::MAX_ESTIMATE);

        self.list.reserve(nr, flags)
    }

    /// Unpins all ranges but the first `keep`.
    fn unpin(&mut self, keep: usize, make_dirty: bool) {
        let mut batch = [const { MaybeUninit::uninit() }; Self::BATCH];

        while self.list.ranges.len() > keep {
            let first = self.list.ranges.len().saturating_sub(batch.len()).max(keep);
            let mut nr: c_uint = 0;

            for (raw, range) in batch.iter_mut().zip(self.list.ranges.iter().skip(first)) {
                // SAFETY: The range owns a pin on the folio of its pages, by the type invariants,
                // so its page frame number belongs to a folio.
                let folio = unsafe { bindings::pfn_folio(range.pfn()) };
                // SAFETY: As above, `folio` is valid.
                let folio_pfn = unsafe { bindings::folio_pfn(folio) };

                raw.write(bindings::pinned_range {
                    folio,
                    offset: (range.pfn() - folio_pfn) << PAGE_SHIFT,
                    len: range.nr_pages() << PAGE_SHIFT,
                });
                nr += 1;
            }
            self.list.truncate(first);

            // SAFETY: The first `nr` entries are initialized, and own the pins of the ranges that
            // were removed from the list. A pinned folio is not split, so they are what
            // `pin_user_pages_fd()` returned.
            unsafe { bindings::unpin_user_ranges(batch.as_ptr().cast(), nr, make_dirty) };
        }
    }

    /// Gives back memory that the list was allocated in excess.
    ///
    /// To be called when all files are pinned. If it fails, the list is as it was.
    pub fn shrink_to_fit(&mut self, flags: Flags) -> Result<(), AllocError> {
        self.list.ranges.shrink_to(0, flags | __GFP_NOWARN)?;
        self.list.starts.shrink_to(0, flags | __GFP_NOWARN)
    }

    /// Whether the pages are pinned with [`PinFlag::Write`].
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.flags.contains(PinFlag::Write)
    }

    /// The number of pages.
    #[inline]
    pub fn nr_pages(&self) -> usize {
        self.list.nr_pages
    }

    /// The size of the pages in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        self.list.nr_pages << PAGE_SHIFT
    }

    /// # Safety
    ///
    /// `pfn` must be the number of a page of the list.
    #[inline]
    unsafe fn pinned_page(&self, pfn: usize) -> PinnedPage<'_> {
        // INVARIANT: By the type invariants, the pages of the list are kept pinned as `flags` says,
        // and they are not unpinned while `self` is borrowed.
        PinnedPage {
            pfn,
            writable: self.is_writable(),
            _pages: PhantomData,
        }
    }

    /// Writes what `f` makes of the given pages to `slots`, one after the other: as many as there
    /// are, and as there is room for. Returns what was written.
    ///
    /// The first page is number 0. It is found in a constant number of steps if all folios are
    /// small, and in a number logarithmic in the number of ranges otherwise. What the slots
    /// contained before is not dropped.
    pub fn fill<'a, 's, T>(
        &'a self,
        pages: ops::Range<usize>,
        slots: &'s mut [MaybeUninit<T>],
        f: impl Fn(PinnedPage<'a>) -> T,
    ) -> &'s mut [T] {
        self.list.fill(pages, slots, |pfn| {
            // SAFETY: The list gives the numbers of its pages.
            f(unsafe { self.pinned_page(pfn) })
        })
    }

    /// Returns the `2^order` pages from the given one on, if they belong to one folio and are
    /// aligned to their size. They are numbered as for [`PinnedRanges::fill`].
    ///
    /// A page of a higher order than that of a folio is never found, even if the memory of
    /// neighbours is contiguous.
    pub fn block(&self, page: usize, order: u32) -> Option<PinnedBlock<'_>> {
        let pfn = self.list.block(page, order)?;

        // INVARIANT: The list has found as many pages from `pfn` on, which is aligned. They lie in
        // one range, so they are kept pinned as the first one.
        Some(PinnedBlock {
            // SAFETY: The list has just given its number.
            first: unsafe { self.pinned_page(pfn) },
            order,
        })
    }

    /// Returns the runs of physically contiguous pages, each at most `max_pages` long.
    pub fn runs(&self, max_pages: usize) -> impl Iterator<Item = Run<'_>> + Clone {
        self.list.runs(max_pages)
    }
}

impl Drop for PinnedRanges {
    fn drop(&mut self) {
        self.unpin(0, self.is_writable());
    }
}

#[cfg(CONFIG_RUST_PIN_KUNIT_TEST)]
#[macros::kunit_tests(rust_mm_pin)]
mod tests {
    use super::*;

    impl RangeList {
        /// Returns the page frame number of a page.
        fn pfn(&self, page: usize) -> Option<usize> {
            self.block(page, 0)
        }
    }

    fn list(ranges: &[(usize, usize)]) -> Result<RangeList> {
        let mut list = RangeList::new();

        for (pfn, nr_pages) in ranges {
            list.reserve(1, GFP_KERNEL)?;
            list.append([Range::new(*pfn, *nr_pages)])?;
        }
        list.index(GFP_KERNEL)?;
        Ok(list)
    }

    /// Slots that are filled with the pages of `list`.
    fn filled(list: &RangeList, pages: ops::Range<usize>, slots: usize) -> Result<KVVec<usize>> {
        let mut array = KVVec::with_capacity(slots, GFP_KERNEL)?;
        let spare = array.spare_capacity_mut().get_mut(..slots);
        let nr = list.fill(pages, spare.unwrap_or_default(), |pfn| pfn).len();

        // SAFETY: `fill()` returned as many initialized slots.
        unsafe { array.inc_len(nr) };
        Ok(array)
    }

    /// All pages of `list`.
    fn all(list: &RangeList) -> Result<KVVec<usize>> {
        filled(list, 0..list.nr_pages, list.nr_pages)
    }

    #[test]
    fn range_is_packed() -> Result {
        assert_eq!(size_of::<Range>(), 8);

        for (pfn, nr_pages) in [(0, 1), (0x12345, 512), (usize::MAX >> 20, 1 << 20)] {
            let range = Range::new(pfn, nr_pages).ok_or(EINVAL)?;

            assert_eq!((range.pfn(), range.nr_pages()), (pfn, nr_pages));
        }

        assert_eq!(Range::new(1, 0), None);
        assert_eq!(Range::new(1, (1 << 20) + 1), None);
        #[cfg(CONFIG_64BIT)]
        assert_eq!(Range::new(1 << 44, 1), None);
        Ok(())
    }

    #[test]
    fn small_pages_need_no_index() -> Result {
        let mut list = RangeList::new();
        for pfn in 0..1000 {
            list.reserve(1, GFP_KERNEL)?;
            list.append([Range::new(2 * pfn, 1)])?;
        }
        list.index(GFP_KERNEL)?;

        assert!(list.starts.is_empty());
        for page in 0..1000 {
            assert_eq!(list.pfn(page), Some(2 * page));
        }
        assert_eq!(list.pfn(1000), None);
        Ok(())
    }

    #[test]
    fn mixed_pages_are_found() -> Result {
        // Each range is one page longer than the one before, until it starts again.
        let mut list = RangeList::new();
        let mut expected = KVVec::new();

        for i in 0..200 {
            let (first, nr_pages) = (i * 1000, i % 7 + 1);

            list.reserve(1, GFP_KERNEL)?;
            list.append([Range::new(first, nr_pages)])?;
            for pfn in first..first + nr_pages {
                expected.push(pfn, GFP_KERNEL)?;
            }
            // Extending the index is the same as building it at once.
            if i % 50 == 10 {
                list.index(GFP_KERNEL)?;
            }
        }
        list.index(GFP_KERNEL)?;

        assert_eq!(list.starts.len(), 200_usize.div_ceil(RangeList::CHUNK));
        assert_eq!(list.nr_pages, expected.len());
        for (page, expected) in expected.iter().enumerate() {
            assert_eq!(list.pfn(page), Some(*expected));
        }
        assert_eq!(list.pfn(expected.len()), None);
        assert_eq!(
            &filled(&list, 100..usize::MAX, expected.len())?[..],
            &expected[100..]
        );
        Ok(())
    }

    #[test]
    fn slots_are_filled() -> Result {
        let dense = list(&[(10, 1), (30, 1), (20, 1)])?;
        let mixed = list(&[(10, 1), (30, 2), (20, 1)])?;

        for (list, all) in [(&dense, &[10, 30, 20][..]), (&mixed, &[10, 30, 31, 20])] {
            let nr = all.len();

            assert_eq!(&filled(list, 0..nr, nr)?[..], all);
            assert_eq!(&filled(list, 0..usize::MAX, nr + 1)?[..], all);
            assert_eq!(&filled(list, 1..3, nr)?[..], &all[1..3]);
            assert_eq!(&filled(list, 2..usize::MAX, nr)?[..], &all[2..]);
            assert_eq!(&filled(list, 1..nr, 1)?[..], &all[1..2]);
            assert!(filled(list, 0..nr, 0)?.is_empty());
            for nothing in [0..0, nr..nr + 1, nr + 1..usize::MAX] {
                assert!(filled(list, nothing, nr)?.is_empty());
            }
            let (start, end) = (2, 1);
            assert!(filled(list, start..end, nr)?.is_empty());
        }
        Ok(())
    }

    #[test]
    fn blocks_are_aligned_and_of_one_range() -> Result {
        // Two huge pages of 8 pages, of the second of which the first 2 are missing, and small
        // pages that continue it.
        let list = list(&[(64, 8), (74, 6), (80, 1), (81, 1)])?;

        assert_eq!(list.block(0, 3), Some(64));
        assert_eq!(list.block(4, 2), Some(68));
        assert_eq!(list.block(7, 0), Some(71));
        assert_eq!(list.block(8, 1), Some(74));
        assert_eq!(list.block(10, 2), Some(76));
        assert_eq!(list.block(15, 0), Some(81));

        // The page frame number is not aligned: that of the page is not what counts.
        assert_eq!(list.block(1, 1), None);
        assert_eq!(list.block(8, 2), None);
        assert_eq!(list.block(2, 2), None);
        // The range is too short.
        assert_eq!(list.block(0, 4), None);
        assert_eq!(list.block(14, 1), None);
        // There is no such page, and no such order.
        assert_eq!(list.block(16, 0), None);
        assert_eq!(list.block(0, usize::BITS - 1), None);
        assert_eq!(list.block(0, usize::BITS), None);
        assert_eq!(list.block(0, u32::MAX), None);
        Ok(())
    }

    #[test]
    fn ranges_are_found_without_an_index() -> Result {
        let mut list = RangeList::new();

        list.reserve(2, GFP_KERNEL)?;
        list.append([Range::new(10, 2), Range::new(20, 2)])?;
        assert_eq!(list.pfn(3), Some(21));
        assert_eq!(&filled(&list, 0..4, 4)?[..], &[10, 11, 20, 21]);
        Ok(())
    }

    #[test]
    fn ranges_are_appended_all_or_none() -> Result {
        let mut list = list(&[(10, 1)])?;
        let one = Range::new(20, 1);

        list.reserve(2, GFP_KERNEL)?;
        assert_eq!(list.append([one, None]), Err(EOVERFLOW));
        let room = list.ranges.capacity() - list.ranges.len();
        assert_eq!(list.append((0..=room).map(|_| one)), Err(ENOMEM));
        assert_eq!(&all(&list)?[..], &[10]);

        // As many bytes as a `usize` can count.
        list.nr_pages = usize::MAX >> PAGE_SHIFT;
        assert_eq!(list.append([one]), Err(EOVERFLOW));
        list.nr_pages = usize::MAX;
        assert_eq!(list.append([one]), Err(EOVERFLOW));
        assert_eq!(list.ranges.len(), 1);
        Ok(())
    }

    #[test]
    fn truncate_undoes_append() -> Result {
        let mut list = list(&[(10, 1), (20, 1)])?;

        for i in 0..300 {
            list.reserve(1, GFP_KERNEL)?;
            list.append([Range::new(100 * i, 3)])?;
        }
        list.index(GFP_KERNEL)?;
        assert_eq!(list.pfn(2 + 3 * 299), Some(29900));

        list.truncate(3);
        assert_eq!(list.nr_pages, 5);
        assert_eq!(list.starts.len(), 1);

        list.reserve(1, GFP_KERNEL)?;
        list.append([Range::new(7, 1)])?;
        list.index(GFP_KERNEL)?;
        assert_eq!(&all(&list)?[..], &[10, 20, 0, 1, 2, 7]);

        list.truncate(0);
        assert_eq!(list.nr_pages, 0);
        assert_eq!(list.pfn(0), None);
        Ok(())
    }

    #[test]
    fn contiguous_ranges_make_runs() -> Result {
        fn runs(list: &RangeList, max_pages: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
            list.runs(max_pages).map(|run| (run.pfn, run.nr_pages))
        }

        let list = list(&[(10, 1), (11, 4), (15, 1), (17, 1), (16, 1), (17, 2)])?;

        assert!(runs(&list, usize::MAX).eq([(10, 6), (17, 1), (16, 3)]));
        assert!(runs(&list, 4).eq([(10, 4), (14, 2), (17, 1), (16, 3)]));
        assert!(runs(&list, 2).eq([(10, 2), (12, 2), (14, 2), (17, 1), (16, 2), (18, 1)]));
        assert_eq!(runs(&list, 1).count(), 10);
        Ok(())
    }
}
