// SPDX-License-Identifier: GPL-2.0

//! The side of a shared buffer that owns the memory.

use super::DmaBuf;
use crate::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::{
        from_err_ptr,
        from_result,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    fs::file,
    mm::{
        pin::PinnedRanges,
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
    sync::{
        aref::ARef,
        Arc, //
    },
    task::MAX_SCHEDULE_TIMEOUT,
    types::NotThreadSafe, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr,
    ptr::NonNull, //
};

/// The data and operations behind a shared buffer.
///
/// The data is dropped with the last reference to the buffer. All operations are called
/// concurrently, except that those with a [`Locked`] are serialised for each buffer.
///
/// All operations may sleep. Those with a [`Locked`] hold the reservation lock, which comes after
/// the mmap lock, and so after the inode lock of most files: pages of a file must not be pinned
/// there.
///
/// As importers are other tasks, and as the last of them can outlive the one that exported the
/// buffer, the data must be `Send`, `Sync` and borrow nothing. What is not does not compile:
///
/// ```ignore,compile_fail,E0277
/// # use core::cell::Cell;
/// # use kernel::{dma_buf::{Attachment, Exporter, Locked, Mapped}, prelude::*};
/// struct Counter(Cell<usize>);
///
/// #[vtable]
/// impl Exporter for Counter {
///     // Error: `Cell<usize>` cannot be shared between threads safely.
///     fn map<'a>(&self, _: &Locked<'_>, _: &Attachment<'a>) -> Result<Mapped<'a>> {
///         self.0.set(self.0.get() + 1);
///         Err(EINVAL)
///     }
/// }
/// ```
///
/// ```ignore,compile_fail,E0277
/// # use kernel::{dma_buf::{Attachment, Exporter, Locked, Mapped}, prelude::*, sync::MutexGuard};
/// struct Kept(MutexGuard<'static, usize>);
///
/// #[vtable]
/// impl Exporter for Kept {
///     // Error: the guard cannot be sent between threads safely, and any may drop the last
///     // reference.
///     fn map<'a>(&self, _: &Locked<'_>, _: &Attachment<'a>) -> Result<Mapped<'a>> {
///         Err(EINVAL)
///     }
/// }
/// ```
///
/// ```ignore,compile_fail,E0310
/// # use kernel::{dma_buf::{Attachment, Exporter, Locked, Mapped}, prelude::*};
/// struct MayBorrow<T>(T);
///
/// #[vtable]
/// impl<T: Send + Sync> Exporter for MayBorrow<T> {
///     // Error: `T` may not live long enough, unless it is `'static`.
///     fn map<'a>(&self, _: &Locked<'_>, _: &Attachment<'a>) -> Result<Mapped<'a>> {
///         Err(EINVAL)
///     }
/// }
/// ```
#[vtable]
pub trait Exporter: Send + Sync + Sized + 'static {
    /// Maps the buffer for an importer, with [`Attachment::map`].
    ///
    /// The pages are unmapped, and the share of them is dropped, when the importer gives them back.
    /// There is no operation for that: an exporter never gets hold of what it has mapped, so it
    /// cannot be dropped twice.
    fn map<'a>(&self, lock: &Locked<'_>, attachment: &Attachment<'a>) -> Result<Mapped<'a>>;

    /// Prepares the buffer for access by the CPU.
    ///
    /// Most exporters call [`Locked::sync_for_cpu`]. All fences that concern this access, and were
    /// there when it began, have been signaled. One added later may not have.
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
    /// faults. They are installed after this function has returned them: if it fails, they never
    /// see the mapping.
    ///
    /// Called with the mmap lock held for writing: must not call [`PinnedRanges::pin`] or
    /// [`PinnedRanges::check`].
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
    tables: KVec<Pin<KBox<PinnedSGTable>>>,
    /// The mapping into the kernel.
    vmap: Option<PinnedVmap>,
}

// It is reached by raw pointers, and dropped by whatever task gives it back.
const _: () = {
    const fn assert_send<T: Send>() {}

    assert_send::<Lent>();
};

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
/// It belongs to that task. Handing it to another one does not compile:
///
/// ```ignore,compile_fail,E0277
/// # use kernel::dma_buf::Locked;
/// fn to_another_task(_: impl Send) {}
///
/// fn give_away(lock: &Locked<'_>) {
///     // Error: it cannot be shared between threads safely.
///     to_another_task(lock);
/// }
/// ```
///
/// Nor can it be kept after the call that got it:
///
/// ```ignore,compile_fail,E0521
/// # use kernel::{dma_buf::Locked, sync::Arc};
/// fn keep<T: 'static>(_: T) {}
///
/// fn lock_for_ever(lock: &Locked<'_>) {
///     // Error: borrowed data escapes.
///     keep(lock);
/// }
/// ```
///
/// Nor can it be made by others than the code that calls back:
///
/// ```ignore,compile_fail,E0451
/// # use kernel::{dma_buf::{DmaBuf, Locked}, types::NotThreadSafe};
/// fn make_up(buf: &DmaBuf) -> Locked<'_> {
///     // Error: the fields are private.
///     Locked { buf, lent: todo!(), unlock: false, _task: NotThreadSafe }
/// }
/// ```
///
/// # Invariants
///
/// - The reservation lock is held by the current task for as long as this value exists, and this
///   is the only such value of the buffer.
/// - `lent` is that of the private data of the buffer.
pub struct Locked<'a> {
    buf: &'a DmaBuf,
    lent: &'a UnsafeCell<Lent>,
    /// Whether the lock is released together with this value, or by whoever took it.
    unlock: bool,
    _task: NotThreadSafe,
}

impl Locked<'_> {
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
    /// This goes through all that is mapped for importers, and leaves alone what the access does
    /// not concern: a CPU that only writes, and a device that only reads. Mappings into the kernel
    /// are left alone too: their caches are not invalidated.
    ///
    /// If a device has a bounce buffer, all of that is copied over the pages; if it is not coherent
    /// with the caches, their lines are dropped. What was written to the pages since they were
    /// handed to the device is lost, unless the device only reads. [`Locked::sync_for_device`] at
    /// the end of an access hands over what was written in it, which is kept then, if the device
    /// reads as well as writes and no other access that reads has begun meanwhile. One that only
    /// writes is handed nothing: what was written in an access can be lost like anything else.
    ///
    /// What is handed over is all of the buffer: what such a device has written to its bounce
    /// buffer since an access that reads last began is lost. So an access that only writes should
    /// begin as one that reads too, if it does not write everything. If several devices that write
    /// have a bounce buffer, the table that was mapped last has the last word.
    pub fn sync_for_cpu(&self, access: DataDirection) {
        for table in &self.lent().tables {
            table.sync_for_cpu(access);
        }
    }

    /// Hands over what the CPU has written to the buffer to the devices that read it.
    ///
    /// The counterpart of [`Locked::sync_for_cpu`].
    pub fn sync_for_device(&self, access: DataDirection) {
        for table in &self.lent().tables {
            table.sync_for_device(access);
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.unlock {
            // SAFETY: By the type invariants, the lock is held by the current task.
            unsafe { bindings::dma_resv_unlock((*self.buf.as_raw()).resv) };
        }
    }
}

/// The wish of an importer to have a buffer mapped for its device.
///
/// The lifetime is invariant and stands for one such wish: what is mapped for an importer can
/// neither be given to another one:
///
/// ```ignore,compile_fail,E0621
/// # use kernel::{dma_buf::{Attachment, Mapped}, mm::pin::PinnedRanges, prelude::*, sync::Arc};
/// fn for_another<'a>(
///     _: &Attachment<'a>,
///     other: &Attachment<'_>,
///     pages: Arc<PinnedRanges>,
/// ) -> Result<Mapped<'a>> {
///     // Error: the other one must be of `'a` too.
///     other.map(pages)
/// }
/// ```
///
/// nor be kept for a later one:
///
/// ```ignore,compile_fail,E0521
/// # use kernel::dma_buf::Mapped;
/// fn keep<T: 'static>(_: T) {}
///
/// fn keep_for_later(mapped: Mapped<'_>) {
///     // Error: borrowed data escapes.
///     keep(mapped);
/// }
/// ```
///
/// # Invariants
///
/// The device is set up for DMA until the importer gives back what is mapped during `'a`, and that
/// setup, its mask included, does not change.
pub struct Attachment<'a> {
    dev: &'a Device,
    dir: DataDirection,
    _importer: PhantomData<fn(&'a ()) -> &'a ()>,
}

impl<'a> Attachment<'a> {
    /// Maps pages for the device of the importer.
    ///
    /// Fails with [`EINVAL`] if there are no pages, if the importer wants no direction, or if its
    /// device cannot take a page at once; with [`EACCES`] if the device could write to pages that
    /// were not pinned for that; with [`ENOMEM`] if there is no memory for the table; and as
    /// `dma_map_sgtable()` does, for instance with [`EIO`] if no bounce buffer is left, or with
    /// [`ENOMEM`] if no address is. May sleep.
    pub fn map(&self, pages: Arc<PinnedRanges>) -> Result<Mapped<'a>> {
        // SAFETY: By the type invariants, the device is set up for DMA until the importer gives
        // the table back, and that does not change. Only `VTable::map_dma_buf()` gets it out of a
        // `Mapped`.
        let table = unsafe { PinnedSGTable::new(pages, self.dev, self.dir, GFP_KERNEL) }?;

        Ok(Mapped {
            table,
            _importer: PhantomData,
        })
    }
}

/// Pages that are mapped for the importer that made the [`Attachment<'a>`].
///
/// The table cannot be taken out, to be kept for longer than the importer has it:
///
/// ```ignore,compile_fail,E0616
/// # use kernel::dma_buf::Mapped;
/// fn keep(mapped: Mapped<'_>) {
///     // Error: the table is private.
///     let _table = mapped.table;
/// }
/// ```
pub struct Mapped<'a> {
    table: Pin<KBox<PinnedSGTable>>,
    _importer: PhantomData<fn(&'a ()) -> &'a ()>,
}

/// Creates a shared buffer of `size` bytes, which is open for reading and writing.
///
/// `size` is a multiple of the page size. What the operations map for a device, or into the kernel,
/// has to be as large; they fail with [`EINVAL`] otherwise.
///
/// Fails as the initialiser `data` does; with [`ENOMEM`] if there is no memory; with [`ENFILE`] if
/// the system has no file left; and with [`ENOENT`] if the module that implements [`Exporter`] is
/// being unloaded. What `data` has initialised is dropped then. May sleep. A module that calls this
/// imports the symbol namespace `DMA_BUF`.
///
/// The buffer keeps the module that implements [`Exporter`] loaded, and a mapping into a process
/// keeps the buffer: no operation is called after that module is gone. It has to be the one that
/// calls this, because generic code is compiled where it is used. An implementation in a library,
/// for whoever calls it, would have to ask for the caller's module; there is none yet, and
/// [`MiscDevice`] has the same limit. What else the module has registered, like the device that
/// created the buffer, can go before the buffer does.
///
/// [`MiscDevice`]: crate::miscdevice::MiscDevice
///
/// # Examples
///
/// ```
/// use kernel::{
///     dma_buf::{
///         self,
///         Attachment,
///         Exporter,
///         Locked,
///         Mapped, //
///     },
///     page::PAGE_SIZE, //
/// };
///
/// /// A buffer that no device can access.
/// struct Nothing;
///
/// #[vtable]
/// impl Exporter for Nothing {
///     fn map<'a>(&self, _: &Locked<'_>, _: &Attachment<'a>) -> Result<Mapped<'a>> {
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
        // Null for what is built in, as is the kernel crate: it needs no reference.
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

impl DmaBuf {
    /// Waits until devices have done what an access by the CPU must come after, unless a signal is
    /// pending. May sleep.
    fn wait_for_devices(&self, access: DataDirection) -> Result {
        let write = matches!(
            access,
            DataDirection::Bidirectional | DataDirection::ToDevice
        );

        // SAFETY: This only translates a value.
        let usage = unsafe { bindings::dma_resv_usage_rw(write) };
        // SAFETY: By the type invariants of `DmaBuf`, the buffer is valid, so it has a reservation
        // object, which is initialised.
        let left = unsafe {
            bindings::dma_resv_wait_timeout(
                (*self.as_raw()).resv,
                usage,
                true,
                // CAST: It is not negative.
                MAX_SCHEDULE_TIMEOUT as c_ulong,
            )
        };

        // CAST: Errors fit into a `c_int`.
        to_result(left.min(0) as c_int)
    }
}

/// The operations of buffers whose private data is an [`Inner<T>`].
///
/// They may have several addresses, or the same one as others; nothing compares it.
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
        // INVARIANT: The lock is held, the caller has no other `Locked`, and `lent` belongs to the
        // buffer.
        Locked {
            // SAFETY: `buf` is valid during `'a`.
            buf: unsafe { DmaBuf::from_raw(buf) },
            // SAFETY: `buf` was created by `export()` for a `T`, and is valid during `'a`.
            lent: unsafe { &Self::inner(buf).lent },
            unlock: false,
            _task: NotThreadSafe,
        }
    }

    /// Takes the reservation lock.
    ///
    /// # Safety
    ///
    /// As for [`VTable::inner`]. The reservation lock of the buffer must not be held by the current
    /// task.
    unsafe fn lock<'a>(buf: *mut bindings::dma_buf) -> Locked<'a> {
        // Without an acquire context, this always succeeds.
        //
        // SAFETY: `buf` is valid, and has a reservation object, which is initialised.
        unsafe { bindings::dma_resv_lock((*buf).resv, ptr::null_mut()) };

        // SAFETY: `buf` is as required of this function. The lock is held from here on, and was not
        // before, so this task has no other `Locked` of the buffer.
        let mut locked = unsafe { Self::locked(buf) };
        locked.unlock = true;
        locked
    }

    /// Takes the reservation lock, unless a signal is pending.
    ///
    /// # Safety
    ///
    /// As for [`VTable::lock`].
    unsafe fn lock_interruptible<'a>(buf: *mut bindings::dma_buf) -> Result<Locked<'a>> {
        // SAFETY: `buf` is valid, and has a reservation object, which is initialised.
        to_result(unsafe { bindings::dma_resv_lock_interruptible((*buf).resv, ptr::null_mut()) })?;

        // SAFETY: `buf` is as required of this function. The lock is held from here on, and was not
        // before, so this task has no other `Locked` of the buffer.
        let mut locked = unsafe { Self::locked(buf) };
        locked.unlock = true;
        Ok(locked)
    }

    /// # Safety
    ///
    /// Must be called by `dma_buf_map_attachment()`, with the reservation lock held, for a valid
    /// buffer created by [`export`] for a `T`. The importer must hold a reference to the device
    /// while it is attached, and keep it set up for DMA, its mask included, until the table is
    /// given back.
    unsafe extern "C" fn map_dma_buf(
        attach: *mut bindings::dma_buf_attachment,
        dir: bindings::dma_data_direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: `attach` is valid.
        let (buf, dev) = unsafe { ((*attach).dmabuf, (*attach).dev) };
        // SAFETY: `buf` was created by `export()` for a `T`, and is valid during this call. Its
        // lock is held; the C caller has no `Locked`, and this call makes only this one.
        let mut lock = unsafe { Self::locked(buf) };
        // SAFETY: As above.
        let inner = unsafe { Self::inner(buf) };

        let mut map = || {
            // Make room first, so that there is nothing to undo.
            lock.lent_mut().tables.reserve(1, GFP_KERNEL)?;

            let attachment = Attachment {
                // INVARIANT: As required of this function, the device is set up for DMA. Every
                // exporter relies on that, and none can check it: whether the device is bound to a
                // driver is up to the importer, and so is what unbinding takes away.
                //
                // SAFETY: As required of this function, the importer holds a reference to the
                // device, which is attached during this call.
                dev: unsafe { Device::from_raw(dev) },
                dir: dir.try_into()?,
                _importer: PhantomData,
            };
            let Mapped { table, .. } = inner.data.map(&lock, &attachment)?;
            let raw = table.as_raw();

            // Importers rely on the size of the buffer.
            if table.size() != lock.buf.size() {
                return Err(EINVAL);
            }

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
    /// table that was returned by [`VTable::map_dma_buf`] for the same attachment, whose buffer is
    /// valid.
    unsafe extern "C" fn unmap_dma_buf(
        attach: *mut bindings::dma_buf_attachment,
        sgt: *mut bindings::sg_table,
        _dir: bindings::dma_data_direction,
    ) {
        // SAFETY: `attach` is valid. Its buffer was created by `export()` for a `T`, and is valid
        // during this call. The lock is held; the C caller has no `Locked`, and this call makes
        // only this one.
        let mut lock = unsafe { Self::locked((*attach).dmabuf) };
        let tables = &mut lock.lent_mut().tables;

        let Some(i) = tables.iter().position(|table| table.as_raw() == sgt) else {
            pr_warn!("dma-buf: an importer gave back what it was not lent\n");
            return;
        };
        // This unmaps and frees the table. As `Lent` is `Send`, any task may do that.
        drop(tables.remove(i));
    }

    /// # Safety
    ///
    /// Must be called when there are no more references to `buf`, which was created by [`export`]
    /// for a `T`.
    unsafe extern "C" fn release(buf: *mut bindings::dma_buf) {
        // SAFETY: `export()` stored the value, and nobody uses it any more. `Lent` and `T` are
        // `Send`, so the task that gives back the last reference may drop it.
        let inner = unsafe { KBox::<Inner<T>>::from_raw((*buf).priv_.cast()) };

        // SAFETY: The value was pinned by `export()`, and is dropped in place.
        drop(unsafe { Pin::new_unchecked(inner) });
    }

    /// # Safety
    ///
    /// `buf` must be valid, and have been created by [`export`] for a `T`. Its reservation lock
    /// must not be held by the current task.
    unsafe extern "C" fn begin_cpu_access(
        buf: *mut bindings::dma_buf,
        dir: bindings::dma_data_direction,
    ) -> c_int {
        from_result(|| {
            let dir = dir.try_into()?;
            // SAFETY: `buf` is valid, and was created by `export()` for a `T`.
            let data = unsafe { &Self::inner(buf).data };

            // The core waits afterwards, which is too late for what is then written to a bounce
            // buffer. It lets the exporter wait first, and nobody else has to wait for the lock.
            //
            // SAFETY: `buf` is valid.
            unsafe { DmaBuf::from_raw(buf) }.wait_for_devices(dir)?;

            // SAFETY: As required of this function, `buf` is valid and was created by `export()`
            // for a `T`, and its reservation lock is not held by the current task.
            let lock = unsafe { Self::lock_interruptible(buf) }?;

            data.begin_cpu_access(&lock, dir)?;
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
            // SAFETY: `buf` is valid, and was created by `export()` for a `T`.
            let data = unsafe { &Self::inner(buf).data };

            // Users in the kernel do not expect that an access cannot be ended.
            //
            // SAFETY: As required of this function, `buf` is valid and was created by `export()`
            // for a `T`, and its reservation lock is not held by the current task.
            let lock = unsafe { Self::lock(buf) };

            data.end_cpu_access(&lock, dir)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `buf` must be valid, and have been created by [`export`] for a `T`. `vma` must be a virtual
    /// memory area that is being set up, whose file is that of `buf`.
    unsafe extern "C" fn mmap(
        buf: *mut bindings::dma_buf,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        from_result(|| {
            // SAFETY: `buf` is valid, and was created by `export()` for a `T`.
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
    /// Must be called by `dma_buf_vmap()`, with the reservation lock held, for a valid buffer
    /// created by [`export`] for a `T`. `map` must be valid for writes.
    unsafe extern "C" fn vmap(buf: *mut bindings::dma_buf, map: *mut bindings::iosys_map) -> c_int {
        from_result(|| {
            // SAFETY: `buf` was created by `export()` for a `T`, and is valid during this call. Its
            // lock is held; the C caller has no `Locked`, and this call makes only this one.
            let mut lock = unsafe { Self::locked(buf) };
            // SAFETY: As above.
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
    /// Must be called by `dma_buf_vunmap()`, with the reservation lock held, for a valid buffer
    /// created by [`export`] for a `T`, when nobody uses the mapping any more.
    unsafe extern "C" fn vunmap(buf: *mut bindings::dma_buf, _map: *mut bindings::iosys_map) {
        // SAFETY: `buf` was created by `export()` for a `T`, and is valid during this call. Its
        // lock is held; the C caller has no `Locked`, and this call makes only this one.
        let mut lock = unsafe { Self::locked(buf) };

        lock.lent_mut().vmap = None;
    }
}
