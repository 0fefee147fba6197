// SPDX-License-Identifier: GPL-2.0

//! Operations on virtual memory areas.
//!
//! A driver that wants to handle the page faults of a mapping implements [`VmOps`] for the data
//! that the mapping shows, and hands out [`Operations`] when the mapping is made. The subsystem
//! that owns the data installs them, as the last thing that it does for the mapping.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    flags,
    VmaNew,
    VmaRef, //
};
use crate::{
    bindings,
    error::VTABLE_DEFAULT_ERROR,
    mm::pin::{
        PinnedBlock,
        PinnedPage,
        PinnedRanges, //
    },
    page::PAGE_SIZE,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ops::Range,
    ptr, //
};

/// Why a page fault could not be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultError {
    /// There is no memory for a page table.
    Oom,
    /// There is no page at this address.
    Sigbus,
    /// There is no huge page: small ones are to be tried.
    Fallback,
}

impl From<FaultError> for bindings::vm_fault_t {
    #[inline]
    fn from(err: FaultError) -> Self {
        match err {
            FaultError::Oom => bindings::vm_fault_reason_VM_FAULT_OOM,
            FaultError::Sigbus => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
            FaultError::Fallback => bindings::vm_fault_reason_VM_FAULT_FALLBACK,
        }
    }
}

/// Data that can be mapped into the address space of a process.
///
/// The operations are called concurrently, for every virtual memory area that shows the data. See
/// `struct vm_operations_struct`.
///
/// # Examples
///
/// ```
/// use kernel::{
///     mm::{
///         pin::PinnedRanges,
///         virt::ops::{
///             FaultError,
///             VmFault,
///             VmOps, //
///         }, //
///     },
///     prelude::*, //
/// };
///
/// /// Pages that are mapped one by one.
/// struct Pages(PinnedRanges);
///
/// #[vtable]
/// impl VmOps for Pages {
///     fn fault<'vma>(&'vma self, vmf: &VmFault<'vma>) -> Result<(), FaultError> {
///         let page = vmf.pgoff();
///
///         vmf.insert_pages(vmf.address(), &self.0, page..page + 1)
///     }
/// }
/// ```
#[vtable]
pub trait VmOps: Sync + Sized + 'static {
    /// Handles the first access to a page: inserts it into the mapping.
    ///
    /// `'vma` stands for the lifetime of the mapping. As it can be any, all the pages that can be
    /// inserted are those that `self` keeps, and those that are kept for ever. A page that could go
    /// away before the mapping does not compile:
    ///
    /// ```ignore,compile_fail,E0597
    /// # use kernel::mm::{pin::PinnedRanges, virt::ops::{FaultError, VmFault, VmOps}};
    /// # use kernel::{prelude::*, sync::Mutex};
    /// #[pin_data]
    /// struct Data {
    ///     #[pin]
    ///     pages: Mutex<PinnedRanges>,
    /// }
    ///
    /// #[vtable]
    /// impl VmOps for Data {
    ///     fn fault<'vma>(&'vma self, vmf: &VmFault<'vma>) -> Result<(), FaultError> {
    ///         let pages = self.pages.lock();
    ///
    ///         // Error: `pages` does not live long enough.
    ///         vmf.insert_pages(vmf.address(), &pages, vmf.pgoff()..vmf.pgoff() + 1)
    ///     }
    /// }
    /// ```
    ///
    /// Nor does a page of some other lifetime, as `'vma` can be made neither longer nor shorter:
    ///
    /// ```ignore,compile_fail,E0621
    /// # use kernel::mm::{pin::PinnedRanges, virt::ops::{FaultError, VmFault}};
    /// fn insert<'a>(vmf: &VmFault<'a>, pages: &PinnedRanges) -> Result<(), FaultError> {
    ///     // Error: the pages must live for `'a`.
    ///     vmf.insert_pages(vmf.address(), pages, 0..1)
    /// }
    /// ```
    ///
    /// [`FaultError::Fallback`] is not for this function, and becomes [`FaultError::Sigbus`].
    ///
    /// Called with the mmap lock or the lock of the area held, for reading at least; may sleep, but
    /// must not call [`PinnedRanges::pin`] or [`PinnedRanges::check`].
    fn fault<'vma>(&'vma self, vmf: &VmFault<'vma>) -> Result<(), FaultError>;

    /// Handles the first access to a part of the mapping that a huge page of [`VmFault::order`]
    /// could show, with [`VmFault::insert_block`]. It is called again for a write to a huge page
    /// that is mapped but write-protected, which inserting the same block makes writable.
    ///
    /// If this fails with [`FaultError::Fallback`], what was mapped is unmapped, and a smaller page
    /// is tried: this function is called for the order of a `pmd` after that of a `pud`, and
    /// [`VmOps::fault`] at last. On an architecture that cannot map huge pages in this way, this
    /// function is not called.
    ///
    /// A handler that knows only one order has to fall back for all others. The context is that of
    /// [`VmOps::fault`].
    fn huge_fault<'vma>(&'vma self, _vmf: &VmFault<'vma>) -> Result<(), FaultError> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// A page fault in a mapping that lives for `'vma`.
///
/// The lifetime is invariant: it can neither be made longer nor shorter.
///
/// # Invariants
///
/// - `vmf` points to a valid `struct vm_fault`, whose virtual memory area is locked, for reading at
///   least.
/// - `order` is that of the handler that was called, and 0 for [`VmOps::fault`]. If it is at most
///   that of a `pmd`, `vmf->pmd` is valid.
/// - What lives for `'vma` lives longer than the virtual memory area of the fault, and longer than
///   all that are split or copied from it.
pub struct VmFault<'vma> {
    vmf: *mut bindings::vm_fault,
    order: u32,
    _vma: PhantomData<fn(&'vma ()) -> &'vma ()>,
}

impl<'vma> VmFault<'vma> {
    /// The virtual memory area that the fault is in.
    #[inline]
    pub fn vma(&self) -> &VmaRef {
        // SAFETY: By the type invariants, `vmf` is valid and its virtual memory area is locked.
        unsafe { VmaRef::from_raw((*self.vmf).__bindgen_anon_1.vma) }
    }

    /// The order of the pages that can be inserted: 0 for [`VmOps::fault`].
    #[inline]
    pub fn order(&self) -> u32 {
        self.order
    }

    /// The offset of the faulting page in the mapped file, in pages.
    #[inline]
    pub fn pgoff(&self) -> usize {
        // SAFETY: By the type invariants, `vmf` is valid.
        unsafe { (*self.vmf).__bindgen_anon_1.pgoff }
    }

    /// The page-aligned address of the fault.
    #[inline]
    pub fn address(&self) -> usize {
        // SAFETY: By the type invariants, `vmf` is valid.
        unsafe { (*self.vmf).__bindgen_anon_1.address }
    }

    /// The addresses that the page table of the fault holds, as far as they lie in the virtual
    /// memory area.
    pub fn table_range(&self) -> Range<usize> {
        let vma = self.vma();
        // SAFETY: This only computes a number.
        let mask = (PAGE_SIZE << unsafe { bindings::pmd_order() }) - 1;
        let last = (vma.end() - 1).min(self.address() | mask);

        vma.start().max(self.address() & !mask)..last + 1
    }

    /// The offset in the mapped file, in pages, of the block around the fault that a page of
    /// [`VmFault::order`] would show.
    ///
    /// Blocks are aligned in the address space. There is none if it does not lie in the virtual
    /// memory area as a whole.
    pub fn block_pgoff(&self) -> Option<usize> {
        let size = PAGE_SIZE
            .checked_shl(self.order)
            .filter(|size| *size != 0)?;
        let start = self.address() & !(size - 1);
        let (vma_start, vma_end) = (self.vma().start(), self.vma().end());

        if start < vma_start || vma_end - start < size {
            return None;
        }
        self.pgoff()
            .checked_sub((self.address() - start) / PAGE_SIZE)
    }

    /// Whether page frames may be inserted into the virtual memory area.
    fn may_insert(&self, writable: bool) -> bool {
        let vma = self.vma();

        vma.flags() & (flags::PFNMAP | flags::MIXEDMAP) == flags::PFNMAP
            && !vma.is_cow_mapping()
            && (writable || vma.flags() & (flags::WRITE | flags::MAYWRITE) == 0)
    }

    /// Maps the pages of `pages` with the numbers `range`, as far as they exist, from `address` on,
    /// a user address that is a multiple of the page size.
    ///
    /// To be called by [`VmOps::fault`]. Does nothing where something is mapped already. May sleep.
    ///
    /// Fails with [`FaultError::Sigbus`] if the page at [`VmFault::address`] is not among them, if
    /// they reach beyond [`VmFault::table_range`], if the area is not `VM_PFNMAP`, and if it is or
    /// may become writable but the pages were not pinned with [`PinFlag::Write`]; with
    /// [`FaultError::Oom`] if there is no memory for a page table; and with
    /// [`FaultError::Fallback`] in [`VmOps::huge_fault`]. The pages in front may have been mapped
    /// when this fails.
    ///
    /// [`PinFlag::Write`]: crate::mm::pin::PinFlag::Write
    pub fn insert_pages(
        &self,
        mut address: usize,
        pages: &'vma PinnedRanges,
        mut range: Range<usize>,
    ) -> Result<(), FaultError> {
        let nr = pages.nr_pages().min(range.end).saturating_sub(range.start);
        let faulting = self.address().checked_sub(address);
        let mut pfns = [const { MaybeUninit::uninit() }; 64];

        if self.order != 0 {
            return Err(FaultError::Fallback);
        }
        // Otherwise the access would fault again, for ever.
        if address % PAGE_SIZE != 0 || faulting.is_none_or(|offset| offset / PAGE_SIZE >= nr) {
            return Err(FaultError::Sigbus);
        }
        if !self.may_insert(pages.is_writable()) {
            return Err(FaultError::Sigbus);
        }

        loop {
            let pfns = pages.fill(range.clone(), &mut pfns, PinnedPage::pfn);
            let nr = pfns.len();
            if nr == 0 {
                return Ok(());
            }

            // SAFETY: By the type invariants, `vmf` is valid, its virtual memory area is locked,
            // and `vmf->pmd` is valid, as the order is 0. The area has only `VM_PFNMAP` of the two
            // flags, and is no COW mapping. By the type invariants of `PinnedPage`, `pfns` are
            // pages that are kept pinned for `'vma`, so for longer than they are mapped. They are
            // RAM and cached as such, and nothing here can ask for another memory type:
            // `vm_page_prot` comes from the flags of the area.
            let ret = unsafe {
                bindings::vmf_insert_pfns(
                    self.vmf,
                    address,
                    pfns.as_ptr(),
                    // CAST: There are at most as many as there are slots.
                    nr as c_uint,
                )
            };
            Self::inserted(ret)?;
            address = address.wrapping_add(nr * PAGE_SIZE);
            range.start += nr;
        }
    }

    /// Maps a block of pages around the fault with one entry of the page table above.
    ///
    /// To be called by [`VmOps::huge_fault`], with the pages that [`VmFault::block_pgoff`] asks
    /// for. Where they are mapped already, a write makes the entry writable. Where a page table
    /// came first, nothing is done, and the access faults again.
    ///
    /// Fails with [`FaultError::Fallback`] if the block is of an order that cannot be mapped or
    /// that the handler was not called for, or does not lie in the virtual memory area, with
    /// [`FaultError::Oom`] if there is no memory for a page table, and with [`FaultError::Sigbus`]
    /// as [`VmFault::insert_pages`] does.
    #[cfg(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP)]
    pub fn insert_block(&self, block: PinnedBlock<'vma>) -> Result<(), FaultError> {
        let order = block.order();

        // SAFETY: This only computes a number.
        if order != unsafe { bindings::pmd_order() }
            || order != self.order
            || self.block_pgoff().is_none()
        {
            return Err(FaultError::Fallback);
        }
        if !self.may_insert(block.first().is_writable()) {
            return Err(FaultError::Sigbus);
        }

        // SAFETY: By the type invariants, `vmf` is valid.
        let flags = unsafe { (*self.vmf).flags };
        let write = flags & bindings::fault_flag_FAULT_FLAG_WRITE != 0;
        // SAFETY: By the type invariants, `vmf` is valid, its virtual memory area is locked, and
        // `vmf->pmd` is valid, as the order is that of a `pmd`. The area has only `VM_PFNMAP` of
        // the two flags, is no COW mapping, and contains the huge page around the fault. By the
        // type invariants of `PinnedBlock`, the block is as large, aligned to its size, and kept
        // pinned for `'vma`, so for longer than it is mapped.
        let ret = unsafe { bindings::vmf_insert_pfn_pmd(self.vmf, block.first().pfn(), write) };

        Self::inserted(ret)
    }

    /// Maps a block of pages around the fault with one entry of the page table above.
    ///
    /// The architecture cannot do that.
    #[cfg(not(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP))]
    pub fn insert_block(&self, _block: PinnedBlock<'vma>) -> Result<(), FaultError> {
        Err(FaultError::Fallback)
    }

    fn inserted(ret: bindings::vm_fault_t) -> Result<(), FaultError> {
        match ret {
            bindings::vm_fault_reason_VM_FAULT_NOPAGE => Ok(()),
            bindings::vm_fault_reason_VM_FAULT_OOM => Err(FaultError::Oom),
            bindings::vm_fault_reason_VM_FAULT_FALLBACK => Err(FaultError::Fallback),
            _ => Err(FaultError::Sigbus),
        }
    }
}

/// The operations of a mapping that shows a `T`.
///
/// # Invariants
///
/// The operations take the private data of the virtual memory area for a pointer to a `T` that is
/// valid for longer than the area.
///
/// What `ops` points to may have several addresses, or the same one as others; nothing compares it.
/// Nor can a driver:
///
/// ```ignore,compile_fail,E0369
/// # use kernel::mm::virt::ops::{Operations, VmOps};
/// fn are_same<T: VmOps>(a: Operations<T>, b: Operations<T>) -> bool {
///     // Error: operations cannot be compared.
///     a == b
/// }
/// ```
pub struct Operations<T> {
    ops: &'static bindings::vm_operations_struct,
    _data: PhantomData<fn(&T)>,
}

impl<T: VmOps> Operations<T> {
    const VTABLE: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(Self::fault),
        huge_fault: if T::HAS_HUGE_FAULT && cfg!(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP) {
            Some(Self::huge_fault)
        } else {
            None
        },
        ..pin_init::zeroed()
    };

    /// The operations that `T` implements.
    #[inline]
    pub fn new() -> Self {
        // INVARIANT: `call()` is the only one that uses the private data, and takes it for a `T`.
        Self {
            ops: &Self::VTABLE,
            _data: PhantomData,
        }
    }

    /// # Safety
    ///
    /// `vmf` must be a valid pointer to a `struct vm_fault`, whose virtual memory area is locked,
    /// for reading at least, and has a `T` as its private data that lives longer than the mapping.
    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: As required of this function. The order is 0.
        unsafe {
            Self::call(vmf, 0, |data, vmf| match data.fault(vmf) {
                Err(FaultError::Fallback) => Err(FaultError::Sigbus),
                res => res,
            })
        }
    }

    /// # Safety
    ///
    /// As for [`Operations::fault`].
    unsafe extern "C" fn huge_fault(
        vmf: *mut bindings::vm_fault,
        order: c_uint,
    ) -> bindings::vm_fault_t {
        // SAFETY: As required of this function.
        unsafe { Self::call(vmf, order, |data, vmf| data.huge_fault(vmf)) }
    }

    /// # Safety
    ///
    /// As for [`Operations::fault`]. `order` must be that of the handler that was called, and 0 for
    /// `fault`.
    #[inline]
    unsafe fn call<F>(vmf: *mut bindings::vm_fault, order: u32, handle: F) -> bindings::vm_fault_t
    where
        F: for<'vma> FnOnce(&'vma T, &VmFault<'vma>) -> Result<(), FaultError>,
    {
        // SAFETY: `vmf` is valid, and so is its virtual memory area.
        let data = unsafe { (*(*vmf).__bindgen_anon_1.vma).vm_private_data };
        // SAFETY: The private data is a `T`, which is valid for as long as the mapping.
        let data = unsafe { &*data.cast::<T>() };

        // INVARIANT:
        // - `vmf` is valid and its virtual memory area is locked during this call.
        // - The page tables down to the `pmd` are there when a handler for it, or for a page, is
        //   called.
        // - `handle` works for any `'vma`, so all that it can get of it is what `data` keeps, which
        //   lives longer than the mapping, and what lives for ever.
        let vmf = VmFault {
            vmf,
            order,
            _vma: PhantomData,
        };

        match handle(data, &vmf) {
            Ok(()) => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
            Err(err) => err.into(),
        }
    }
}

impl<T: VmOps> Default for Operations<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl VmaNew {
    /// Installs operations.
    ///
    /// To be called when the mapping cannot fail any more, as the operations are replaced without
    /// notice if it does.
    ///
    /// # Safety
    ///
    /// `data` must be valid, and only used by shared reference, for as long as this virtual memory
    /// area, or one that is split or copied from it, exists.
    pub unsafe fn set_ops<T>(&self, ops: Operations<T>, data: *const T) {
        let vma = self.as_ptr();

        // SAFETY: The virtual memory area is being set up, so nobody else uses it.
        unsafe { (*vma).vm_private_data = data.cast_mut().cast() };
        // SAFETY: As above. By the type invariants of `Operations`, they are made for a `T`.
        unsafe { (*vma).vm_ops = ptr::from_ref(ops.ops) };
    }
}
