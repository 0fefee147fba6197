// SPDX-License-Identifier: GPL-2.0

//! Mappings into the address space of the kernel.
//!
//! C header: [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h)

use crate::{
    alloc::{
        flags::__GFP_NOWARN,
        Flags, //
    },
    bindings,
    mm::pin::{
        PinnedPage,
        PinnedRanges, //
    },
    prelude::*,
    sync::Arc, //
};
use core::ptr::NonNull;

/// Pinned pages, mapped one after the other into the address space of the kernel.
///
/// The mapping owns a share of the pages: they stay pinned for as long as it exists. What is in
/// the pages can be changed by user space and by devices at any time, so there is no way to get a
/// reference to it:
///
/// ```ignore,compile_fail,E0608
/// # use kernel::mm::vmap::PinnedVmap;
/// fn first_byte(map: &PinnedVmap) -> u8 {
///     // Error: it cannot be indexed.
///     map[0]
/// }
/// ```
///
/// # Invariants
///
/// `addr` was returned by `vm_map_ram()` for `count` pages, and not unmapped since.
pub struct PinnedVmap {
    addr: NonNull<c_void>,
    count: c_uint,
    pages: Arc<PinnedRanges>,
}

// SAFETY: The mapping belongs to no task, and can be unmapped by any.
unsafe impl Send for PinnedVmap {}

// SAFETY: A shared reference only gives the address.
unsafe impl Sync for PinnedVmap {}

impl PinnedVmap {
    /// Maps all `pages`. Memory for a list of them is allocated with `flags`, and freed again.
    ///
    /// Fails with [`EINVAL`] if there are none, or more than `u32::MAX`, with [`EACCES`] if they
    /// were not pinned with [`PinFlag::Write`], as the mapping is writable, and with [`ENOMEM`] if
    /// there is no memory, or no room in the address space. May sleep.
    ///
    /// [`PinFlag::Write`]: crate::mm::pin::PinFlag::Write
    pub fn new(pages: Arc<PinnedRanges>, flags: Flags) -> Result<Self> {
        let count = c_uint::try_from(pages.nr_pages())?;
        if count == 0 {
            return Err(EINVAL);
        }
        if !pages.is_writable() {
            return Err(EACCES);
        }

        let mut array = KVVec::with_capacity(pages.nr_pages(), flags | __GFP_NOWARN)?;
        let slots = array.spare_capacity_mut();
        let array = pages.fill(0..pages.nr_pages(), slots, PinnedPage::as_ptr);
        // CAST: There are at most `count`.
        let count = array.len() as c_uint;

        // SAFETY: `array` holds `count` pages of `pages`. They are not accessed after this call,
        // but the memory that they stand for stays pinned until it is unmapped.
        let addr =
            unsafe { bindings::vm_map_ram(array.as_mut_ptr(), count, bindings::NUMA_NO_NODE) };

        // INVARIANT: If the address is not null, `count` pages were mapped.
        Ok(Self {
            addr: NonNull::new(addr).ok_or(ENOMEM)?,
            count,
            pages,
        })
    }

    /// The size of the mapping in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        self.pages.size()
    }

    /// The address of the first page.
    #[inline]
    pub fn as_ptr(&self) -> *mut c_void {
        self.addr.as_ptr()
    }
}

impl Drop for PinnedVmap {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, `count` pages are mapped at `addr`.
        unsafe { bindings::vm_unmap_ram(self.addr.as_ptr(), self.count) };
    }
}
