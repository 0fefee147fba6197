// SPDX-License-Identifier: GPL-2.0

//! The side of a shared buffer that owns the memory.

use super::DmaBuf;
use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    dma::DataDirection,
    error::{
        from_err_ptr,
        from_result,
        VTABLE_DEFAULT_ERROR, //
    },
    fs::file,
    mm::{
        virt::{
            ops::Operations,
            VmaNew, //
        },
        vmap::PinnedVmap, //
    },
    module::{
        this_module,
        ModuleMetadata, //
    },
    prelude::*,
    scatterlist::PinnedSGTable,
    str::as_char_ptr_in_const_context,
    sync::aref::ARef,
    types::NotThreadSafe, //
};
use core::{
    cell::UnsafeCell,
    ptr,
    ptr::NonNull, //
};

/// The data and operations behind a shared buffer.
///
/// The data is dropped with the last reference to the buffer. All operations are called
/// concurrently, except that those with a [`Locked`] are serialised for each buffer.
///
/// All operations may sleep.
#[vtable]
pub trait Exporter: Send + Sync + Sized + 'static {
    /// Maps the buffer for the device of an importer.
    ///
    /// The table is unmapped and dropped when the importer gives it back.
    fn map<'dev>(
        &self,
        lock: &Locked<'_>,
        attachment: &Attachment<'dev>,
        dir: DataDirection,
    ) -> Result<PinnedSGTable<'dev>>;

    /// Prepares the buffer for access by the CPU.
    ///
    /// Most exporters call [`Locked::sync_for_cpu`].
    fn begin_cpu_access(&self, _lock: &Locked<'_>, _dir: DataDirection) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Ends an access by the CPU.
    ///
    /// Most exporters call [`Locked::sync_for_device`].
    fn end_cpu_access(&self, _lock: &Locked<'_>, _dir: DataDirection) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Sets up a mapping of the buffer into a process.
    ///
    /// The range is known to be inside of the buffer. The returned operations will handle the page
    /// faults; they are installed after this function has returned.
    fn mmap(&self, _vma: &VmaNew) -> Result<Operations<Self>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Maps the buffer into the kernel.
    ///
    /// Only called while there is no such mapping. It is dropped when the last importer gives it
    /// back.
    fn vmap(&self, _lock: &Locked<'_>) -> Result<PinnedVmap> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// What is handed out to importers, written in C or in Rust.
struct Lent {
    /// The tables that are mapped for devices.
    tables: KVec<PinnedSGTable<'static>>,
    /// The mapping into the kernel.
    vmap: Option<PinnedVmap>,
}

/// The private data of a buffer.
///
/// # Invariants
///
/// `lent` is only accessed by an owner of a [`Locked`] of the buffer, or when the last reference
/// to the buffer is gone.
#[pin_data]
struct Inner<T> {
    // Note: The drop order is relevant, an exporter may free what has been lent.
    lent: UnsafeCell<Lent>,
    #[pin]
    data: T,
}

/// Proof that the current task holds the reservation lock of a buffer that is exported from Rust.
///
/// # Invariants
///
/// - The reservation lock is held by the current task for as long as this value exists, and this
///   is the only such value of the buffer.
/// - `lent` is that of the private data of the buffer.
pub struct Locked<'a> {
    buf: &'a DmaBuf,
    lent: &'a UnsafeCell<Lent>,
    _task: NotThreadSafe,
}

impl<'a> Locked<'a> {
    /// The buffer that is locked.
    #[inline]
    pub fn buffer(&self) -> &'a DmaBuf {
        self.buf
    }

    fn lent(&self) -> &Lent {
        // SAFETY: By the type invariants, nobody else has a `Locked`, and `&mut Locked` is
        // borrowed for as long as there is a mutable reference.
        unsafe { &*self.lent.get() }
    }

    fn lent_mut(&mut self) -> &mut Lent {
        // SAFETY: By the type invariants, nobody else has a `Locked`, and `self` is borrowed
        // mutably.
        unsafe { &mut *self.lent.get() }
    }

    /// Hands over to the CPU what devices have written to the buffer.
    ///
    /// This goes through all tables that are mapped for importers, in the direction that they are
    /// mapped with.
    pub fn sync_for_cpu(&self) {
        for table in &self.lent().tables {
            table.sync_for_cpu();
        }
    }

    /// Hands over to devices what the CPU has written to the buffer.
    ///
    /// The counterpart of [`Locked::sync_for_cpu`].
    pub fn sync_for_device(&self) {
        for table in &self.lent().tables {
            table.sync_for_device();
        }
    }
}

/// An importer's device, attached to a buffer, and bound to its driver during `'dev`.
///
/// # Invariants
///
/// The device is bound during `'dev`.
pub struct Attachment<'dev> {
    dev: &'dev Device<Bound>,
}

impl<'dev> Attachment<'dev> {
    /// The device that will access the buffer.
    #[inline]
    pub fn device(&self) -> &'dev Device<Bound> {
        self.dev
    }
}

/// Creates a shared buffer of `size` bytes, which is open for reading and writing.
///
/// `size` is a multiple of the page size. What the operations map for a device, or into the kernel,
/// has to be as large; they fail with [`EINVAL`] otherwise.
///
/// If this fails, `data` is dropped. May sleep.
///
/// # Examples
///
/// ```
/// use kernel::{
///     dma::DataDirection,
///     dma_buf::{
///         self,
///         Attachment,
///         Exporter,
///         Locked, //
///     },
///     page::PAGE_SIZE,
///     scatterlist::PinnedSGTable, //
/// };
///
/// /// A buffer that no device can access.
/// struct Nothing;
///
/// #[vtable]
/// impl Exporter for Nothing {
///     fn map<'dev>(
///         &self,
///         _lock: &Locked<'_>,
///         _attachment: &Attachment<'dev>,
///         _dir: DataDirection,
///     ) -> Result<PinnedSGTable<'dev>> {
///         Err(ENODEV)
///     }
/// }
///
/// let buf = dma_buf::export(PAGE_SIZE, Ok(Nothing))?;
/// assert_eq!(buf.size(), PAGE_SIZE);
/// # Ok::<(), Error>(())
/// ```
pub fn export<T: Exporter>(size: usize, data: impl PinInit<T, Error>) -> Result<ARef<DmaBuf>> {
    let inner = KBox::pin_init(
        try_pin_init!(Inner {
            lent: UnsafeCell::new(Lent {
                tables: KVec::new(),
                vmap: None,
            }),
            data <- data,
        }),
        GFP_KERNEL,
    )?;

    let flags = file::flags::O_RDWR.try_into()?;

    // Owned by the buffer from here on, and taken back by `VTable::release()`.
    //
    // SAFETY: The value is not moved, and only used by shared reference, before it is dropped.
    let inner = KBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) });

    let info = bindings::dma_buf_export_info {
        exp_name: as_char_ptr_in_const_context(<T::OwnerModule as ModuleMetadata>::NAME),
        owner: this_module::<T::OwnerModule>().as_ptr(),
        ops: &VTable::<T>::VTABLE,
        size,
        flags,
        resv: ptr::null_mut(),
        priv_: inner.cast(),
    };

    // SAFETY: `info` is valid, and made of operations that take an `Inner<T>`, which lives until
    // `release`.
    let buf = from_err_ptr(unsafe { bindings::dma_buf_export(&info) }).inspect_err(|_| {
        // SAFETY: `inner` came from `KBox::into_raw()`, and there is no buffer that owns it.
        drop(unsafe { KBox::from_raw(inner) });
    })?;

    // SAFETY: `dma_buf_export()` returned a valid buffer and a reference to it. `DmaBuf` is a
    // transparent wrapper.
    Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(buf.cast())) })
}

/// The operations of buffers whose private data is an [`Inner<T>`].
struct VTable<T>(T);

impl<T: Exporter> VTable<T> {
    const VTABLE: bindings::dma_buf_ops = bindings::dma_buf_ops {
        map_dma_buf: Some(Self::map_dma_buf),
        unmap_dma_buf: Some(Self::unmap_dma_buf),
        release: Some(Self::release),
        begin_cpu_access: if T::HAS_BEGIN_CPU_ACCESS {
            Some(Self::begin_cpu_access)
        } else {
            None
        },
        end_cpu_access: if T::HAS_END_CPU_ACCESS {
            Some(Self::end_cpu_access)
        } else {
            None
        },
        mmap: if T::HAS_MMAP { Some(Self::mmap) } else { None },
        vmap: if T::HAS_VMAP { Some(Self::vmap) } else { None },
        vunmap: if T::HAS_VMAP {
            Some(Self::vunmap)
        } else {
            None
        },
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `buf` must point to a buffer created by [`export`] for a `T`, which is valid during `'a`.
    unsafe fn inner<'a>(buf: *mut bindings::dma_buf) -> &'a Inner<T> {
        // SAFETY: `buf` is valid, and its private data is an `Inner<T>`.
        unsafe { &*(*buf).priv_.cast() }
    }

    /// # Safety
    ///
    /// - As for [`VTable::inner`].
    /// - The current task must hold the reservation lock of the buffer during `'a`, and must not
    ///   have another [`Locked`] of it.
    unsafe fn locked<'a>(buf: *mut bindings::dma_buf) -> Locked<'a> {
        // INVARIANT: The lock is held, and `lent` belongs to the buffer.
        Locked {
            // SAFETY: `buf` is valid.
            buf: unsafe { DmaBuf::from_raw(buf) },
            // SAFETY: As for this function.
            lent: unsafe { &Self::inner(buf).lent },
            _task: NotThreadSafe,
        }
    }

    /// Calls `f` with the reservation lock held.
    ///
    /// # Safety
    ///
    /// As for [`VTable::inner`]. The current task must not hold the reservation lock.
    unsafe fn with_lock<R>(buf: *mut bindings::dma_buf, f: impl FnOnce(&Locked<'_>) -> R) -> R {
        // SAFETY: `buf` is valid, and has a reservation object.
        let resv = unsafe { (*buf).resv };

        // Without an acquire context, this always succeeds.
        //
        // SAFETY: `resv` is initialised.
        unsafe { bindings::dma_resv_lock(resv, ptr::null_mut()) };
        // SAFETY: The lock is held, and was not before.
        let ret = f(&unsafe { Self::locked(buf) });
        // SAFETY: The lock is held by the current task.
        unsafe { bindings::dma_resv_unlock(resv) };
        ret
    }

    /// # Safety
    ///
    /// Must be called by `dma_buf_map_attachment()`, with the reservation lock held, for a buffer
    /// created by [`export`] for a `T`. The device is bound until the table is given back.
    unsafe extern "C" fn map_dma_buf(
        attach: *mut bindings::dma_buf_attachment,
        dir: bindings::dma_data_direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: `attach` is valid.
        let (buf, dev) = unsafe { ((*attach).dmabuf, (*attach).dev) };
        // SAFETY: The reservation lock is held.
        let mut lock = unsafe { Self::locked(buf) };
        // SAFETY: `buf` is one of ours.
        let inner = unsafe { Self::inner(buf) };

        let mut map = || {
            // Make room first, so that there is nothing to undo.
            lock.lent_mut().tables.reserve(1, GFP_KERNEL)?;

            let attachment = Attachment {
                // INVARIANT: Importers attach the device that they drive. They have to detach
                // before it is unbound, and to give back all tables before they detach.
                //
                // SAFETY: As above, the device is valid and bound.
                dev: unsafe { Device::from_raw(dev) },
            };
            let dir = dir.try_into()?;
            let table = inner.data.map(&lock, &attachment, dir)?;
            let raw = table.as_raw();

            // Importers rely on the size of the buffer, and give the addresses to their device.
            if table.size() != lock.buf.size() || !table.is_mapped_for(attachment.dev, dir) {
                return Err(EINVAL);
            }

            // SAFETY: The device stays bound until `unmap_dma_buf()` drops the table.
            let table = unsafe { table.assume_bound() };
            lock.lent_mut()
                .tables
                .push_within_capacity(table)
                .map_err(|_| ENOMEM)?;
            Ok(raw)
        };

        map().unwrap_or_else(|err: Error| err.to_ptr())
    }

    /// # Safety
    ///
    /// Must be called by `dma_buf_unmap_attachment()`, with the reservation lock held, with a
    /// table that was returned by [`VTable::map_dma_buf`] for the same attachment.
    unsafe extern "C" fn unmap_dma_buf(
        attach: *mut bindings::dma_buf_attachment,
        sgt: *mut bindings::sg_table,
        _dir: bindings::dma_data_direction,
    ) {
        // SAFETY: `attach` is valid, and the reservation lock of its buffer is held.
        let mut lock = unsafe { Self::locked((*attach).dmabuf) };
        let tables = &mut lock.lent_mut().tables;

        if let Some(i) = tables.iter().position(|table| table.as_raw() == sgt) {
            // This unmaps and frees the table.
            let _ = tables.remove(i);
        }
    }

    /// # Safety
    ///
    /// Must be called when there are no more references to `buf`, which was created by [`export`]
    /// for a `T`.
    unsafe extern "C" fn release(buf: *mut bindings::dma_buf) {
        // SAFETY: `export()` stored the value, and nobody uses it any more.
        let inner = unsafe { KBox::<Inner<T>>::from_raw((*buf).priv_.cast()) };

        // SAFETY: The value was pinned by `export()`, and is dropped in place.
        drop(unsafe { Pin::new_unchecked(inner) });
    }

    /// # Safety
    ///
    /// `buf` must have been created by [`export`] for a `T`. The reservation lock is not held.
    unsafe extern "C" fn begin_cpu_access(
        buf: *mut bindings::dma_buf,
        dir: bindings::dma_data_direction,
    ) -> c_int {
        from_result(|| {
            let dir = dir.try_into()?;
            // SAFETY: `buf` is one of ours.
            let data = unsafe { &Self::inner(buf).data };

            // SAFETY: `buf` is one of ours, and its reservation lock is not held.
            unsafe { Self::with_lock(buf, |lock| data.begin_cpu_access(lock, dir)) }?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// As for [`VTable::begin_cpu_access`].
    unsafe extern "C" fn end_cpu_access(
        buf: *mut bindings::dma_buf,
        dir: bindings::dma_data_direction,
    ) -> c_int {
        from_result(|| {
            let dir = dir.try_into()?;
            // SAFETY: `buf` is one of ours.
            let data = unsafe { &Self::inner(buf).data };

            // SAFETY: `buf` is one of ours, and its reservation lock is not held.
            unsafe { Self::with_lock(buf, |lock| data.end_cpu_access(lock, dir)) }?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `buf` must have been created by [`export`] for a `T`. `vma` must be a virtual memory area
    /// that is being set up, whose file is that of `buf`.
    unsafe extern "C" fn mmap(
        buf: *mut bindings::dma_buf,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        from_result(|| {
            // SAFETY: `buf` is one of ours.
            let data = unsafe { &Self::inner(buf).data };
            // SAFETY: `vma` is being set up.
            let vma = unsafe { VmaNew::from_raw(vma) };
            let ops = data.mmap(vma)?;

            // SAFETY: The area, and all that are split or copied from it, hold a reference to the
            // file of the buffer, and the buffer owns the data.
            unsafe { vma.set_ops(ops, data) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Must be called by `dma_buf_vmap()`, with the reservation lock held, for a buffer created by
    /// [`export`] for a `T`. `map` must be valid for writes.
    unsafe extern "C" fn vmap(buf: *mut bindings::dma_buf, map: *mut bindings::iosys_map) -> c_int {
        from_result(|| {
            // SAFETY: The reservation lock is held.
            let mut lock = unsafe { Self::locked(buf) };
            // SAFETY: `buf` is one of ours.
            let vmap = unsafe { Self::inner(buf) }.data.vmap(&lock)?;

            // Importers rely on the size of the buffer.
            if vmap.size() != lock.buf.size() {
                return Err(EINVAL);
            }

            let iosys_map = bindings::iosys_map {
                __bindgen_anon_1: bindings::iosys_map__bindgen_ty_1 {
                    vaddr: vmap.as_ptr(),
                },
                is_iomem: false,
            };
            // SAFETY: `map` is valid for writes.
            unsafe { map.write(iosys_map) };

            lock.lent_mut().vmap = Some(vmap);
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Must be called by `dma_buf_vunmap()`, with the reservation lock held, for a buffer created
    /// by [`export`] for a `T`, when nobody uses the mapping any more.
    unsafe extern "C" fn vunmap(buf: *mut bindings::dma_buf, _map: *mut bindings::iosys_map) {
        // SAFETY: The reservation lock is held.
        let mut lock = unsafe { Self::locked(buf) };

        lock.lent_mut().vmap = None;
    }
}
