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
    mm::pin::PinnedPage,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    ptr, //
};

/// Why a page fault could not be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultError {
    /// There is no memory for a page table.
    Oom,
    /// There is no page at this address.
    Sigbus,
}

impl From<FaultError> for bindings::vm_fault_t {
    #[inline]
    fn from(err: FaultError) -> Self {
        match err {
            FaultError::Oom => bindings::vm_fault_reason_VM_FAULT_OOM,
            FaultError::Sigbus => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
        }
    }
}

/// Data that can be mapped into the address space of a process.
///
/// The operations are called concurrently, for every virtual memory area that shows the data. See
/// `struct vm_operations_struct`.
pub trait VmOps: Sync + Sized + 'static {
    /// Handles the first access to a page: inserts it into the mapping.
    ///
    /// `'vma` stands for the lifetime of the mapping. As it can be any, all the pages that can be
    /// inserted are those that `self` keeps. A page that could go away before the mapping does not
    /// compile:
    ///
    /// ```ignore,compile_fail
    /// # use kernel::mm::{pin::PinnedRanges, virt::ops::{FaultError, VmFault, VmOps}};
    /// # use kernel::sync::Mutex;
    /// struct Data(Mutex<PinnedRanges>);
    ///
    /// impl VmOps for Data {
    ///     fn fault<'vma>(&'vma self, vmf: &VmFault<'vma>) -> Result<(), FaultError> {
    ///         let pages = self.0.lock();
    ///         let page = pages.get(vmf.pgoff()).ok_or(FaultError::Sigbus)?;
    ///
    ///         // Error: `pages` does not live long enough.
    ///         vmf.insert_pfn(vmf.address(), page)
    ///     }
    /// }
    /// ```
    ///
    /// Called with the mmap lock or the lock of the area held for reading; may sleep.
    fn fault<'vma>(&'vma self, vmf: &VmFault<'vma>) -> Result<(), FaultError>;
}

/// A page fault in a mapping that lives for `'vma`.
///
/// The lifetime is invariant: it can neither be made longer nor shorter.
///
/// # Invariants
///
/// Points to a valid `struct vm_fault`, whose virtual memory area is locked for reading.
pub struct VmFault<'vma> {
    vmf: *mut bindings::vm_fault,
    _vma: PhantomData<fn(&'vma ()) -> &'vma ()>,
}

impl<'vma> VmFault<'vma> {
    /// The virtual memory area that the fault is in.
    #[inline]
    pub fn vma(&self) -> &VmaRef {
        // SAFETY: By the type invariants, `vmf` is valid and its virtual memory area is locked.
        unsafe { VmaRef::from_raw((*self.vmf).__bindgen_anon_1.vma) }
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

    /// Maps `page` at `address`, which need not be the address of the fault.
    ///
    /// Does nothing if something is mapped there already. Fails with [`FaultError::Sigbus`] for an
    /// address outside of the virtual memory area, for an area that is not `VM_PFNMAP`, and for one
    /// that is or may become writable if the page was not pinned with [`PinFlag::Write`].
    ///
    /// [`PinFlag::Write`]: crate::mm::pin::PinFlag::Write
    pub fn insert_pfn(&self, address: usize, page: PinnedPage<'vma>) -> Result<(), FaultError> {
        let vma = self.vma();

        if vma.flags() & (flags::PFNMAP | flags::MIXEDMAP) != flags::PFNMAP || vma.is_cow_mapping()
        {
            return Err(FaultError::Sigbus);
        }
        if vma.flags() & (flags::WRITE | flags::MAYWRITE) != 0 && !page.is_writable() {
            return Err(FaultError::Sigbus);
        }

        // SAFETY: The virtual memory area is locked, has only `VM_PFNMAP` of the two flags, and is
        // no COW mapping. The page stays pinned for as long as it is mapped, which is `'vma`.
        let ret = unsafe { bindings::vmf_insert_pfn(vma.as_ptr(), address, page.pfn()) };

        match ret {
            bindings::vm_fault_reason_VM_FAULT_NOPAGE => Ok(()),
            bindings::vm_fault_reason_VM_FAULT_OOM => Err(FaultError::Oom),
            _ => Err(FaultError::Sigbus),
        }
    }
}

/// The operations of a mapping that shows a `T`.
///
/// # Invariants
///
/// The first argument of the operations is a `T`, given as the private data of the virtual memory
/// area.
pub struct Operations<T> {
    ops: &'static bindings::vm_operations_struct,
    _data: PhantomData<fn(&T)>,
}

impl<T: VmOps> Operations<T> {
    const VTABLE: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(Self::fault),
        ..pin_init::zeroed()
    };

    /// The operations that `T` implements.
    #[inline]
    pub fn new() -> Self {
        // INVARIANT: `fault` takes a `T`.
        Self {
            ops: &Self::VTABLE,
            _data: PhantomData,
        }
    }

    /// # Safety
    ///
    /// `vmf` must be a valid pointer to a `struct vm_fault`, whose virtual memory area is locked
    /// for reading, and has a `T` as its private data that lives longer than the mapping.
    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: `vmf` is valid, and so is its virtual memory area.
        let data = unsafe { (*(*vmf).__bindgen_anon_1.vma).vm_private_data };
        // SAFETY: The private data is a `T`, which is valid for as long as the mapping.
        let data = unsafe { &*data.cast::<T>() };

        // INVARIANT: `vmf` is valid and its virtual memory area is locked during this call.
        let vmf = VmFault {
            vmf,
            _vma: PhantomData,
        };

        match data.fault(&vmf) {
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
