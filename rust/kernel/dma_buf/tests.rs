// SPDX-License-Identifier: GPL-2.0

//! An exporter in Rust and an importer in C, with pages of a shmem file between them.

use super::{
    export,
    Attachment,
    DmaBuf,
    Exporter,
    Locked,
    Mapped, //
};
use crate::{
    bindings,
    device,
    dma::{
        DataDirection,
        DmaAddress, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    faux,
    fs::{
        file::flags::O_CLOEXEC,
        LocalFile, //
    },
    mm::{
        pin::{
            PinFlag,
            PinFlags,
            PinnedRanges, //
        },
        virt::{
            ops::{
                FaultError,
                Operations,
                VmFault,
                VmOps, //
            },
            VmaNew, //
        },
        vmap::PinnedVmap, //
    },
    page::{
        BorrowedPage,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    scatterlist::{
        PinnedSGTable,
        SGTable, //
    },
    sizes::SZ_32M,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    types::Opaque,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use core::{
    ops::Range,
    ptr::NonNull, //
};

const NR_PAGES: usize = 16;
const SIZE: usize = NR_PAGES * PAGE_SIZE;

/// A file without a file descriptor.
struct ShmemFile(*mut bindings::file);

impl ShmemFile {
    fn new(size: usize) -> Result<Self> {
        // SAFETY: The name is a string that is not freed.
        let file = unsafe {
            bindings::shmem_kernel_file_setup(
                c"rust_dma_buf".as_char_ptr(),
                size.try_into()?,
                pin_init::zeroed(),
            )
        };

        Ok(Self(from_err_ptr(file)?))
    }

    /// A file that consists of huge pages if there are any.
    fn huge(size: usize) -> Result<Self> {
        /// `SHMEM_HUGE_ALWAYS` of `mm/shmem.c`.
        const ALWAYS: c_uchar = 1;

        let size = size.try_into()?;
        let name = c"rust_dma_buf".as_char_ptr();

        // SAFETY: The name is a string.
        let tmpfs = unsafe { bindings::get_fs_type(c"tmpfs".as_char_ptr()) };
        if tmpfs.is_null() {
            return Err(ENODEV);
        }
        // SAFETY: `tmpfs` is a type of file system, which is built in.
        let mnt = from_err_ptr(unsafe { bindings::kern_mount(tmpfs) })?;
        // SAFETY: The mount is valid, and so is its super block.
        let info = unsafe { (*(*mnt).mnt_sb).s_fs_info }.cast::<bindings::shmem_sb_info>();
        // SAFETY: This is what a super block of tmpfs has there, and nobody else uses it.
        unsafe { (*info).huge = ALWAYS };
        // SAFETY: The mount is valid. The name is a string that is not freed.
        let file =
            unsafe { bindings::shmem_file_setup_with_mnt(mnt, name, size, pin_init::zeroed()) };
        // SAFETY: The mount was made above. A file has a reference of its own to it.
        unsafe { bindings::kern_unmount(mnt) };

        Ok(Self(from_err_ptr(file)?))
    }

    fn file(&self) -> &LocalFile {
        // SAFETY: `self` owns a reference to the file, which is not used with `fdget_pos()`.
        unsafe { LocalFile::from_raw_file(self.0) }
    }
}

impl Drop for ShmemFile {
    fn drop(&mut self) {
        // SAFETY: `self` owns a reference to the file.
        unsafe { bindings::fput(self.0) };
    }
}

/// A device that can access all memory.
struct Importer {
    // Note: The drop order is relevant, the device uses the parameters.
    reg: faux::Registration,
    _params: KBox<bindings::device_dma_parameters>,
}

impl Importer {
    fn new() -> Result<Self> {
        let reg = faux::Registration::new(c"rust_dma_buf", None)?;
        let params = bindings::device_dma_parameters {
            max_segment_size: u32::MAX,
            ..pin_init::zeroed()
        };
        let mut params = KBox::new(params, GFP_KERNEL)?;
        let dev = Self::device(&reg);

        // The tests access memory by the CPU in place of the device. On some architectures, that is
        // not what a device sees, unless it takes part in the coherency of the caches.
        //
        // SAFETY: The device is valid, and nobody else uses it.
        unsafe { bindings::dev_set_dma_coherent(dev) };
        // SAFETY: The device is valid, and nobody else uses it. The mask lives as long as it, and
        // so do the parameters, which do not move with their box.
        unsafe {
            (*dev).coherent_dma_mask = u64::MAX;
            (*dev).dma_mask = &raw mut (*dev).coherent_dma_mask;
            (*dev).dma_parms = &raw mut *params;
        }
        Ok(Self {
            reg,
            _params: params,
        })
    }

    fn device(reg: &faux::Registration) -> *mut bindings::device {
        let faux: &faux::Device<device::Bound> = reg.as_ref();

        AsRef::<device::Device<device::Bound>>::as_ref(faux).as_raw()
    }

    fn as_raw(&self) -> *mut bindings::device {
        Self::device(&self.reg)
    }

    /// How many pages it can map at once.
    fn max_pages(&self) -> usize {
        // SAFETY: The device is valid.
        let size = unsafe { bindings::dma_max_mapping_size(self.as_raw()) };

        size >> PAGE_SHIFT
    }

    /// Whether the addresses of the device are made by the direct mapping.
    fn is_direct(&self) -> bool {
        // SAFETY: The device is valid.
        let ops = unsafe { bindings::get_dma_ops(self.as_raw()) };
        // SAFETY: As above.
        let iommu = unsafe { bindings::use_dma_iommu(self.as_raw()) };

        ops.is_null() && !iommu
    }
}

/// The first byte of a page that stays where it is for `'a`.
///
/// # Invariants
///
/// The page exists for `'a`. Meanwhile only this task, and what it calls, accesses that byte; never
/// during a call of `read()` or `write()`.
struct Byte<'a>(BorrowedPage<'a>);

impl Byte<'_> {
    fn read(&self) -> Result<u8> {
        let mut value = 0;

        // SAFETY: `value` is valid for writes. By the type invariants, only this task accesses the
        // byte. `&self` is used by this task, which is in this call, so nothing races.
        unsafe { self.0.read_raw(&mut value, 0, 1) }?;
        Ok(value)
    }

    fn write(&self, value: u8) -> Result {
        // SAFETY: `value` is valid for reads. By the type invariants, only this task accesses the
        // byte. `&self` is used by this task, which is in this call, so nothing races.
        unsafe { self.0.write_raw(&value, 0, 1) }
    }
}

/// What the CPU sees of a page of a buffer.
fn cpu_byte(pages: &PinnedRanges, page: usize) -> Result<Byte<'_>> {
    let block = pages.block(page, 0).ok_or(ERANGE)?;
    let page = NonNull::new(block.first().as_ptr()).ok_or(EINVAL)?;

    // INVARIANT: The page stays pinned while `pages` is borrowed. No other task knows its file.
    // What this task calls accesses the page, but not while it is in `read()` or `write()`.
    //
    // SAFETY: As above, the page stays pinned.
    Ok(Byte(unsafe { BorrowedPage::from_raw(page) }))
}

/// What a device sees of a buffer that is mapped for it during `'a`.
struct View<'a> {
    table: &'a SGTable,
    pages: &'a PinnedRanges,
    importer: &'a Importer,
}

impl<'a> View<'a> {
    /// The page that the device accesses, and whether it is a bounce buffer.
    fn page(&self, page: usize) -> Result<(Byte<'a>, bool)> {
        let dev = self.importer.as_raw();
        let mut skip = page * PAGE_SIZE;

        // What follows has a meaning for the direct mapping only.
        if !self.importer.is_direct() {
            return Err(EOPNOTSUPP);
        }
        for entry in self.table.iter() {
            let len = usize::try_from(entry.dma_len())?;
            if skip >= len {
                skip -= len;
                continue;
            }

            let addr = entry.dma_address() + DmaAddress::try_from(skip)?;
            // SAFETY: The device is valid.
            let phys = unsafe { bindings::dma_to_phys(dev, addr) };
            // SAFETY: As above.
            let pool = unsafe { bindings::swiotlb_find_pool(dev, phys) };
            let bounces = !pool.is_null();
            let pfn = usize::try_from(phys >> PAGE_SHIFT)?;
            let own = self.pages.block(page, 0).ok_or(ERANGE)?.first();

            // Otherwise it is not known what the address means, and what it is translated to.
            //
            // CAST: A `phys_addr_t` is at least as large as a `usize`.
            if phys % (PAGE_SIZE as bindings::phys_addr_t) != 0 || !bounces && pfn != own.pfn() {
                return Err(EOPNOTSUPP);
            }
            // SAFETY: It is the number of a page of the buffer, or of memory of swiotlb, which has
            // a `struct page`: the pool comes from memblock or the page allocator.
            let page = unsafe { bindings::pfn_to_page(pfn) };
            let page = NonNull::new(page).ok_or(EINVAL)?;

            // INVARIANT: The page belongs to the buffer while it is mapped for the device, which is
            // none that accesses memory. This task makes swiotlb do so, but not while it is in
            // `read()` or `write()`.
            //
            // SAFETY: As above, the page belongs to the buffer for `'a`.
            return Ok((Byte(unsafe { BorrowedPage::from_raw(page) }), bounces));
        }
        Err(ERANGE)
    }

    fn byte(&self, page: usize) -> Result<Byte<'a>> {
        Ok(self.page(page)?.0)
    }

    /// Whether the device sees a copy. Says so if it does not: the tests of synchronisation see
    /// little then.
    fn bounces(&self, page: usize) -> Result<bool> {
        let (_, bounces) = self.page(page)?;

        if !bounces {
            crate::pr_info_once!("without swiotlb=force, device and CPU see the same memory\n");
        }
        Ok(bounces)
    }
}

struct Shared {
    pages: Arc<PinnedRanges>,
}

#[vtable]
impl Exporter for Shared {
    fn map<'a>(&self, _lock: &Locked<'_>, attachment: &Attachment<'a>) -> Result<Mapped<'a>> {
        attachment.map(self.pages.clone())
    }

    fn begin_cpu_access(&self, lock: &Locked<'_>, dir: DataDirection) -> Result {
        lock.sync_for_cpu(dir);
        Ok(())
    }

    fn end_cpu_access(&self, lock: &Locked<'_>, dir: DataDirection) -> Result {
        lock.sync_for_device(dir);
        Ok(())
    }

    fn vmap(&self, _lock: &Locked<'_>) -> Result<PinnedVmap> {
        PinnedVmap::new(self.pages.clone(), GFP_KERNEL)
    }
}

/// Exports the pages of a new file as a buffer of `size` bytes.
fn shared(size: usize) -> Result<(ARef<DmaBuf>, Arc<PinnedRanges>)> {
    shared_with(size, PinFlag::Write.into())
}

/// Marks the running test as skipped, and says why.
fn skip(reason: &CStr) {
    // SAFETY: Only tests call this, so there is a current one; it is valid, and no other task
    // accesses these two fields meanwhile.
    let (status, comment) = unsafe {
        let test = bindings::kunit_get_current_test();
        (&mut (*test).status, &mut (*test).status_comment)
    };

    *status = bindings::kunit_status_KUNIT_SKIPPED;
    for (to, from) in comment.iter_mut().zip(reason.to_bytes_with_nul()) {
        *to = *from;
    }
}

/// As [`shared`], if it can be found out what a device sees of the buffer. A test gives up if it
/// cannot.
fn shared_with_device() -> Result<Option<(ARef<DmaBuf>, Arc<PinnedRanges>)>> {
    if !Importer::new()?.is_direct() {
        skip(c"the addresses of devices are not those of the direct mapping");
        return Ok(None);
    }
    shared(SIZE).map(Some)
}

fn shared_with(size: usize, flags: PinFlags) -> Result<(ARef<DmaBuf>, Arc<PinnedRanges>)> {
    let file = ShmemFile::new(SIZE)?;
    let mut pages = PinnedRanges::new(flags);
    pages.pin(file.file(), 0, SIZE, GFP_KERNEL)?;

    let pages = Arc::new(pages, GFP_KERNEL)?;
    let buf = export(
        size,
        Ok(Shared {
            pages: pages.clone(),
        }),
    )?;

    Ok((buf, pages))
}

// The same on all architectures.
const PROT_READ: usize = 0x1;
const PROT_WRITE: usize = 0x2;
const MAP_SHARED: usize = 0x1;
const MAP_PRIVATE: usize = 0x2;

/// What an exporter makes of a mapping into a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Area {
    /// It shows page frames.
    Pfnmap,
    /// As above, and it can never be written.
    ReadOnly,
    /// Nothing: no page can be inserted.
    Plain,
    /// It is asked to show a page behind its end too.
    Beyond,
    /// It is asked to show no page at all.
    Nowhere,
    /// It is asked to show a block of pages of this order, but not where that would be right.
    Block(u32),
    /// It shows huge pages where there are any.
    Huge,
    /// It shows page frames, but then the exporter refuses it.
    Refused,
    /// It is to show page frames, and pages that are counted.
    PfnmapThenMixedmap,
    /// As above, in the other order.
    MixedmapThenPfnmap,
}

/// How many huge pages have been mapped.
static BLOCKS: Atomic<i32> = Atomic::new(0);

/// Whether the data of a buffer has been dropped.
static DROPPED: Atomic<bool> = Atomic::new(false);

/// A buffer that can be mapped into a process.
struct Shown {
    pages: PinnedRanges,
    area: Area,
}

impl Drop for Shown {
    fn drop(&mut self) {
        DROPPED.store(true, Relaxed);
    }
}

#[vtable]
impl Exporter for Shown {
    fn map<'a>(&self, _: &Locked<'_>, _: &Attachment<'a>) -> Result<Mapped<'a>> {
        Err(ENODEV)
    }

    fn mmap(&self, vma: &VmaNew) -> Result<Operations<Self>> {
        match self.area {
            Area::Plain => (),
            Area::ReadOnly => {
                vma.set_pfnmap()?;
                vma.try_clear_maywrite()?;
            }
            Area::PfnmapThenMixedmap => {
                vma.set_pfnmap().map_err(|_| EIO)?;
                vma.set_mixedmap()?;
            }
            Area::MixedmapThenPfnmap => {
                vma.set_mixedmap().map_err(|_| EIO)?;
                vma.set_pfnmap()?;
            }
            Area::Refused => {
                vma.set_pfnmap()?;
                return Err(EBUSY);
            }
            _ => vma.set_pfnmap()?,
        }
        Ok(Operations::new())
    }
}

impl Shown {
    /// Asks for a mapping of the block of pages around the fault.
    fn insert_block<'vma>(&'vma self, vmf: &VmFault<'vma>, order: u32) -> Result<(), FaultError> {
        let first = vmf.pgoff() & !((1 << order) - 1);
        let block = self.pages.block(first, order).ok_or(FaultError::Oom)?;

        vmf.insert_block(block)
    }
}

/// The order of a huge page.
fn huge_order() -> u32 {
    // SAFETY: This only computes a number.
    unsafe { bindings::pmd_order() }
}

/// Whether the page table of a fault is described as it is: as far as the area goes.
fn table_is_right(vmf: &VmFault<'_>) -> bool {
    let (vma, table) = (vmf.vma(), vmf.table_range());
    let bits = PAGE_SIZE.trailing_zeros() + huge_order();
    let is_aligned = |address: usize| address.trailing_zeros() >= bits;

    table.contains(&vmf.address())
        && table.start >> bits == (table.end - 1) >> bits
        && vma.start() <= table.start
        && table.end <= vma.end()
        && (table.start == vma.start() || is_aligned(table.start))
        && (table.end == vma.end() || is_aligned(table.end))
}

#[vtable]
impl VmOps for Shown {
    fn fault<'vma>(&'vma self, vmf: &VmFault<'vma>) -> Result<(), FaultError> {
        let (page, address) = (vmf.pgoff(), vmf.address());
        let range = match self.area {
            Area::Beyond => page..page + 2,
            Area::Nowhere => page..page,
            _ => page..page + 1,
        };

        if !table_is_right(vmf) {
            return Err(FaultError::Sigbus);
        }
        if let Area::Block(order) = self.area {
            return self.insert_block(vmf, order);
        }
        vmf.insert_pages(address, &self.pages, range)
    }

    fn huge_fault<'vma>(&'vma self, vmf: &VmFault<'vma>) -> Result<(), FaultError> {
        let page = vmf.pgoff();

        match self.area {
            Area::Huge => {
                let block = vmf
                    .block_pgoff()
                    .and_then(|first| self.pages.block(first, vmf.order()))
                    .ok_or(FaultError::Fallback)?;

                vmf.insert_block(block)?;
                BLOCKS.add(1, Relaxed);
                Ok(())
            }
            // A block of the order of the fault would be right.
            Area::Block(order) if order != vmf.order() => self.insert_block(vmf, order),
            // Pages are not for this function, and do not get there.
            _ => vmf
                .insert_pages(vmf.address(), &self.pages, page..page + 1)
                .and(Err(FaultError::Sigbus)),
        }
    }
}

/// Makes the given page of a file begin with `value`.
fn mark(file: &ShmemFile, page: usize, value: u8) -> Result {
    let offset = (page * PAGE_SIZE).try_into()?;
    let mut pages = PinnedRanges::new(PinFlag::Write);
    pages.pin(file.file(), offset, PAGE_SIZE, GFP_KERNEL)?;
    let vmap = PinnedVmap::new(Arc::new(pages, GFP_KERNEL)?, GFP_KERNEL)?;

    // SAFETY: The mapping has a page, and nobody else uses it.
    unsafe { vmap.as_ptr().cast::<u8>().write_volatile(value) };
    Ok(())
}

/// A file of two huge pages, the second small pages of which begin with 1 and 2. A test gives up if
/// there is none.
fn huge_file() -> Result<Option<ShmemFile>> {
    let order = huge_order();
    let (nr, size) = (1 << order, PAGE_SIZE << order);

    if !cfg!(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP) || size > SZ_32M {
        skip(c"huge pages cannot be mapped, or are too large");
        return Ok(None);
    }

    let file = ShmemFile::huge(2 * size)?;
    let mut pages = PinnedRanges::new(PinFlag::Write);
    pages.pin(file.file(), 0, 2 * size, GFP_KERNEL)?;
    if pages.block(0, order).is_none() || pages.block(nr, order).is_none() {
        skip(c"there are no huge pages");
        return Ok(None);
    }

    mark(&file, 1, 1)?;
    mark(&file, nr + 1, 2)?;
    Ok(Some(file))
}

/// Exports the first `size` bytes of a file, which are pinned with `flags`.
fn shown(file: &ShmemFile, size: usize, flags: PinFlags, area: Area) -> Result<ARef<DmaBuf>> {
    let mut pages = PinnedRanges::new(flags);
    pages.pin(file.file(), 0, size, GFP_KERNEL)?;

    export(size, Ok(Shown { pages, area }))
}

/// Waits until buffers without references are gone. Returns whether one of [`shown`] has gone since
/// the last call.
fn was_dropped() -> bool {
    // SAFETY: This thread of the kernel holds no locks.
    unsafe { bindings::flush_delayed_fput() };

    let dropped = DROPPED.load(Relaxed);
    DROPPED.store(false, Relaxed);
    dropped
}

/// Maps a part of the buffer into the address space of the test and calls `f` with the address.
fn with_mapping<R>(
    buf: &DmaBuf,
    part: Range<usize>,
    prot: usize,
    map: usize,
    f: impl FnOnce(usize) -> R,
) -> Result<R> {
    // SAFETY: A test is a thread of the kernel that runs nothing else, and has no address space.
    // The one that it gets here goes when it ends.
    to_result(unsafe { bindings::kunit_attach_mm() })?;
    // SAFETY: The buffer and its file are valid. The thread has an address space, and does not hold
    // its lock.
    let addr = unsafe {
        let file = (*buf.as_raw()).file;
        bindings::vm_mmap(file, 0, part.len(), prot, map, part.start)
    };
    // The last page of the addresses is for errors.
    if addr > usize::MAX - PAGE_SIZE {
        // CAST: An error is a small negative number.
        to_result(addr as c_int)?;
    }

    let ret = f(addr);
    // SAFETY: As above. This is what was mapped, and nobody uses it any more.
    to_result(unsafe { bindings::vm_munmap(addr, part.len()) })?;
    Ok(ret)
}

fn read_byte(addr: usize) -> Result<u8> {
    UserSlice::new(UserPtr::from_addr(addr), 1).reader().read()
}

fn write_byte(addr: usize, value: u8) -> Result {
    UserSlice::new(UserPtr::from_addr(addr), 1)
        .writer()
        .write(&value)
}

/// Whether pages that are pinned with `flags` can be read in the address space of the test.
fn can_be_read(flags: PinFlags, area: Area, prot: usize, map: usize) -> Result<bool> {
    let file = ShmemFile::new(SIZE)?;
    mark(&file, 1, 42)?;
    let buf = shown(&file, 3 * PAGE_SIZE, flags, area)?;
    let part = 0..2 * PAGE_SIZE;

    match with_mapping(&buf, part, prot, map, |addr| read_byte(addr + PAGE_SIZE))? {
        Ok(42) => Ok(true),
        Ok(_) => Err(EIO),
        Err(EFAULT) => Ok(false),
        Err(err) => Err(err),
    }
}

/// Maps the buffer into the kernel and calls `f` with the address.
fn with_vmap<R>(buf: &DmaBuf, f: impl FnOnce(*mut u8) -> R) -> Result<R> {
    let mut map: bindings::iosys_map = pin_init::zeroed();

    // SAFETY: The buffer is valid, and its reservation lock is not held.
    to_result(unsafe { bindings::dma_buf_vmap_unlocked(buf.as_raw(), &mut map) })?;
    // SAFETY: The mapping is not of I/O memory.
    let ret = f(unsafe { map.__bindgen_anon_1.vaddr }.cast());
    // SAFETY: The buffer was mapped above.
    unsafe { bindings::dma_buf_vunmap_unlocked(buf.as_raw(), &mut map) };
    Ok(ret)
}

/// Calls `f` while the buffer of `pages` is mapped for an importer; says why it cannot be,
/// otherwise.
fn with_importer<R>(
    buf: &DmaBuf,
    pages: &PinnedRanges,
    importer: &Importer,
    dir: DataDirection,
    f: impl FnOnce(View<'_>) -> R,
) -> Result<Result<R>> {
    let dev = importer.as_raw();
    let dir: bindings::dma_data_direction = dir.into();

    // SAFETY: The buffer and the device are valid.
    let attach = unsafe { bindings::dma_buf_attach(buf.as_raw(), dev) };
    let attach = from_err_ptr(attach)?;
    // SAFETY: The attachment is valid, and the reservation lock is not held.
    let sgt = unsafe { bindings::dma_buf_map_attachment_unlocked(attach, dir) };
    let ret = from_err_ptr(sgt).map(|sgt| {
        // SAFETY: The table is valid until it is unmapped.
        let table = unsafe { SGTable::from_raw(sgt) };
        let ret = f(View {
            table,
            pages,
            importer,
        });

        // SAFETY: The table was returned for this attachment.
        unsafe { bindings::dma_buf_unmap_attachment_unlocked(attach, sgt, dir) };
        ret
    });
    // SAFETY: The attachment is valid, and nothing is mapped.
    unsafe { bindings::dma_buf_detach(buf.as_raw(), attach) };
    Ok(ret)
}

/// What mapping the buffer for an importer fails with, if it does.
fn map_error(buf: &DmaBuf, pages: &PinnedRanges, dir: DataDirection) -> Result<Option<Error>> {
    Ok(with_importer(buf, pages, &Importer::new()?, dir, |_| ())?.err())
}

fn begin_cpu_access(buf: &DmaBuf, access: DataDirection) -> Result {
    // SAFETY: The buffer is valid, and its reservation lock is not held.
    to_result(unsafe { bindings::dma_buf_begin_cpu_access(buf.as_raw(), access.into()) })
}

fn end_cpu_access(buf: &DmaBuf, access: DataDirection) -> Result {
    // SAFETY: The buffer is valid, and its reservation lock is not held.
    to_result(unsafe { bindings::dma_buf_end_cpu_access(buf.as_raw(), access.into()) })
}

/// Whether somebody has waited for the last [`add_fence`].
static WAITED: Atomic<bool> = Atomic::new(false);

/// Whether the reservation lock was held then.
static WAITED_LOCKED: Atomic<bool> = Atomic::new(false);

/// A fence, and the reservation object that it is added to.
#[repr(C)]
struct BufFence {
    /// Comes first: it is what gets freed.
    fence: bindings::dma_fence,
    resv: *mut bindings::dma_resv,
}

/// An exporter that knows whether its buffer has been waited for.
struct Waiting;

#[vtable]
impl Exporter for Waiting {
    fn map<'a>(&self, _: &Locked<'_>, _: &Attachment<'a>) -> Result<Mapped<'a>> {
        Err(ENODEV)
    }

    fn begin_cpu_access(&self, _: &Locked<'_>, _: DataDirection) -> Result {
        WAITED.load(Relaxed).then_some(()).ok_or(EBUSY)
    }
}

extern "C" fn fence_name(_fence: *mut bindings::dma_fence) -> *const c_char {
    c"rust_dma_buf".as_char_ptr()
}

/// Called when somebody begins to wait. Returns that there is nothing to wait for any more.
extern "C" fn enable_signaling(fence: *mut bindings::dma_fence) -> bool {
    // SAFETY: Only `add_fence()` makes fences that call this, of a `BufFence` whose buffer exists
    // while it is waited for.
    let locked = unsafe { bindings::dma_resv_is_locked((*fence.cast::<BufFence>()).resv) };

    WAITED_LOCKED.store(locked, Relaxed);
    WAITED.store(true, Relaxed);
    false
}

/// Adds the fence of an access to the buffer that ends when it is waited for.
fn add_fence(buf: &DmaBuf, usage: bindings::dma_resv_usage) -> Result {
    static OPS: bindings::dma_fence_ops = bindings::dma_fence_ops {
        get_driver_name: Some(fence_name),
        get_timeline_name: Some(fence_name),
        enable_signaling: Some(enable_signaling),
        ..pin_init::zeroed()
    };
    // SAFETY: The buffer is valid.
    let resv = unsafe { (*buf.as_raw()).resv };
    let fence = BufFence {
        fence: pin_init::zeroed(),
        resv,
    };
    let fence: *mut bindings::dma_fence = KBox::into_raw(KBox::new(fence, GFP_KERNEL)?).cast();

    WAITED_LOCKED.store(false, Relaxed);
    WAITED.store(false, Relaxed);
    // SAFETY: This only takes a number.
    let context = unsafe { bindings::dma_fence_context_alloc(1) };
    // SAFETY: `fence` is valid for writes and does not move. It is freed with its last reference,
    // in the way of `kfree_rcu()`, which is right for a `KBox`.
    unsafe { bindings::dma_fence_init(fence, &OPS, core::ptr::null_mut(), context, 1) };

    // SAFETY: The reservation object is that of the buffer. This task does not hold its lock.
    unsafe { bindings::dma_resv_lock(resv, core::ptr::null_mut()) };
    // SAFETY: The lock is held.
    let res = to_result(unsafe { bindings::dma_resv_reserve_fences(resv, 1) });
    if res.is_ok() {
        // SAFETY: The lock is held, and there is room. This takes a reference to the fence, which
        // is valid.
        unsafe { bindings::dma_resv_add_fence(resv, fence, usage) };
    }
    // SAFETY: The lock was taken above.
    unsafe { bindings::dma_resv_unlock(resv) };
    // SAFETY: This gives back the reference that came with the fence, which is not used any more.
    unsafe { bindings::dma_fence_put(fence) };
    res
}

/// How often each page is pinned.
fn pins(pages: &PinnedRanges) -> Result<KVec<c_int>> {
    let mut pins = KVec::with_capacity(pages.nr_pages(), GFP_KERNEL)?;

    for page in 0..pages.nr_pages() {
        let page = pages.block(page, 0).ok_or(ERANGE)?.first().as_ptr();
        // SAFETY: The page is pinned, so it is valid. Its folio is small, so each pin counts as
        // `GUP_PIN_COUNTING_BIAS` references. Others may change the number: it is read once.
        let refs = unsafe { (&raw const (*page)._refcount.counter).read_volatile() };

        // CAST: A small constant.
        pins.push(refs / bindings::GUP_PIN_COUNTING_BIAS as c_int, GFP_KERNEL)?;
    }
    Ok(pins)
}

#[macros::kunit_tests(rust_dma_buf)]
mod kunit {
    use super::*;

    #[test]
    fn failed_pin_leaves_no_trace() -> Result {
        let file = ShmemFile::new(SIZE)?;
        let mut pages = PinnedRanges::new(PinFlag::Write);
        let offset = SIZE.try_into()?;

        pages.pin(file.file(), 0, SIZE, GFP_KERNEL)?;
        let before = pins(&pages)?;
        assert!(before.iter().all(|pins| *pins == 1));

        // The second part lies beyond the end of the file.
        assert_eq!(
            pages.pin(file.file(), offset, PAGE_SIZE, GFP_KERNEL),
            Err(EINVAL)
        );
        assert_eq!(
            pages.pin(file.file(), 0, SIZE + PAGE_SIZE, GFP_KERNEL),
            Err(EINVAL)
        );
        assert_eq!(pages.pin(file.file(), 0, 0, GFP_KERNEL), Err(EINVAL));
        assert_eq!(
            pages.pin(file.file(), 1, PAGE_SIZE, GFP_KERNEL),
            Err(EINVAL)
        );
        assert_eq!(pages.nr_pages(), NR_PAGES);

        // Files like this one have no seals.
        let mut sealed = PinnedRanges::new(PinFlag::NoShrink);
        assert!(sealed.pin(file.file(), 0, PAGE_SIZE, GFP_KERNEL).is_err());
        assert_eq!(sealed.nr_pages(), 0);
        assert_eq!(&pins(&pages)?[..], &before[..]);
        Ok(())
    }

    #[test]
    fn what_may_be_pinned_is_known_before() -> Result {
        let file = ShmemFile::new(SIZE)?;
        let pages = PinnedRanges::new(PinFlag::Write);

        pages.check(file.file(), 0, SIZE)?;
        // The file may grow.
        pages.check(file.file(), SIZE.try_into()?, PAGE_SIZE)?;
        for (offset, len) in [(0, 0), (0, 1), (1, PAGE_SIZE)] {
            assert_eq!(pages.check(file.file(), offset, len), Err(EINVAL));
        }
        // Files like this one have no seals.
        let sealed = PinnedRanges::new(PinFlag::NoShrink);
        assert_eq!(sealed.check(file.file(), 0, SIZE), Err(EINVAL));

        assert_eq!((pages.nr_pages(), sealed.nr_pages()), (0, 0));
        Ok(())
    }

    #[test]
    fn list_is_as_before_when_it_has_shrunk() -> Result {
        let file = ShmemFile::new(SIZE)?;
        let mut pages = PinnedRanges::new(PinFlag::Write);
        pages.pin(file.file(), 0, SIZE, GFP_KERNEL)?;

        let mut before = KVec::with_capacity(NR_PAGES, GFP_KERNEL)?;
        for page in 0..NR_PAGES {
            let block = pages.block(page, 0).ok_or(ERANGE)?;

            before.push(block.first().pfn(), GFP_KERNEL)?;
        }

        pages.shrink_to_fit(GFP_KERNEL)?;
        pages.pin(file.file(), 0, PAGE_SIZE, GFP_KERNEL)?;
        pages.shrink_to_fit(GFP_KERNEL)?;
        assert_eq!(pages.nr_pages(), NR_PAGES + 1);
        for page in 0..=NR_PAGES {
            let pfn = pages.block(page, 0).ok_or(ERANGE)?.first().pfn();

            assert_eq!(Some(&pfn), before.get(page % NR_PAGES));
        }
        Ok(())
    }

    /// A file that is pinned in three calls, the third of which fails.
    #[cfg(CONFIG_MEMORY_FAILURE)]
    #[test]
    fn pin_that_fails_late_leaves_no_trace() -> Result {
        let size = 5 * SIZE;
        let file = ShmemFile::new(size)?;
        let mut pages = PinnedRanges::new(PinFlag::Write);

        pages.pin(file.file(), 0, size, GFP_KERNEL)?;
        let before = pins(&pages)?;
        let bad = pages.block(4 * NR_PAGES + 1, 0).ok_or(ERANGE)?;
        let bad = bad.first().as_ptr();
        // CAST: A small constant.
        let bit = bindings::pageflags_PG_hwpoison as c_ulong;

        let mut again = PinnedRanges::new(PinFlag::Write);
        again.pin(file.file(), 0, PAGE_SIZE, GFP_KERNEL)?;
        // SAFETY: The page is pinned, and nobody but this test will pin it again.
        unsafe { bindings::set_bit(bit, &raw mut (*bad).flags.f) };
        let res = again.pin(file.file(), 0, size, GFP_KERNEL);
        // SAFETY: As above.
        unsafe { bindings::clear_bit(bit, &raw mut (*bad).flags.f) };

        assert_eq!(res, Err(EHWPOISON));
        assert_eq!(again.nr_pages(), 1);
        drop(again);
        assert_eq!(&pins(&pages)?[..], &before[..]);
        Ok(())
    }

    #[test]
    fn vmap_shows_the_pages() -> Result {
        let (buf, pages) = shared(SIZE)?;

        with_vmap(&buf, |addr| {
            for page in 0..NR_PAGES {
                // SAFETY: The mapping is `SIZE` bytes long.
                unsafe { addr.add(page * PAGE_SIZE).write_volatile(page as u8 + 1) };
            }
        })?;

        // Each page has got what was written to its place.
        for i in 0..NR_PAGES {
            assert_eq!(usize::from(cpu_byte(&pages, i)?.read()?), i + 1);
        }
        assert_eq!(pages.size(), SIZE);
        Ok(())
    }

    #[test]
    fn importer_gets_all_pages_in_order() -> Result {
        let Some((buf, pages)) = shared_with_device()? else {
            return Ok(());
        };

        for i in 0..NR_PAGES {
            cpu_byte(&pages, i)?.write(i as u8 + 1)?;
        }
        let importer = Importer::new()?;
        let dir = DataDirection::Bidirectional;

        with_importer(&buf, &pages, &importer, dir, |view| -> Result {
            let mut size = 0;
            for entry in view.table.iter() {
                let len = usize::try_from(entry.dma_len())?;
                assert!(len >> PAGE_SHIFT <= importer.max_pages());
                size += len;
            }
            assert_eq!(size, SIZE);
            // There is one entry for each run, unless the mapping has merged them.
            assert!(view.table.iter().count() <= pages.runs(importer.max_pages()).count());

            for i in 0..NR_PAGES {
                assert_eq!(usize::from(view.byte(i)?.read()?), i + 1);
            }
            Ok(())
        })??
    }

    #[test]
    fn cpu_sees_what_the_device_wrote() -> Result {
        use DataDirection::{
            Bidirectional,
            FromDevice, //
        };

        let Some((buf, pages)) = shared_with_device()? else {
            return Ok(());
        };
        let last = NR_PAGES - 1;
        let cpu = cpu_byte(&pages, last)?;
        let mut value = 0;

        for dir in [FromDevice, Bidirectional] {
            with_importer(&buf, &pages, &Importer::new()?, dir, |view| -> Result {
                let bounces = view.bounces(last)?;

                for access in [FromDevice, Bidirectional] {
                    value += 1;
                    view.byte(last)?.write(value)?;
                    let before = if bounces { value - 1 } else { value };
                    assert_eq!(cpu.read()?, before);

                    begin_cpu_access(&buf, access)?;
                    assert_eq!(cpu.read()?, value);
                    end_cpu_access(&buf, access)?;
                    assert_eq!(view.byte(last)?.read()?, value);
                }
                Ok(())
            })???;
        }
        Ok(())
    }

    #[test]
    fn device_sees_what_the_cpu_wrote() -> Result {
        use DataDirection::{
            Bidirectional,
            ToDevice, //
        };

        let Some((buf, pages)) = shared_with_device()? else {
            return Ok(());
        };
        let last = NR_PAGES - 1;
        let cpu = cpu_byte(&pages, last)?;
        let mut value = 0;

        for dir in [ToDevice, Bidirectional] {
            with_importer(&buf, &pages, &Importer::new()?, dir, |view| -> Result {
                let bounces = view.bounces(last)?;

                for access in [ToDevice, Bidirectional] {
                    value += 1;
                    begin_cpu_access(&buf, access)?;
                    cpu.write(value)?;
                    let before = if bounces { value - 1 } else { value };
                    assert_eq!(view.byte(last)?.read()?, before);

                    end_cpu_access(&buf, access)?;
                    assert_eq!(view.byte(last)?.read()?, value);
                }
                Ok(())
            })???;
        }
        Ok(())
    }

    #[test]
    fn bounce_buffer_undoes_what_was_written_outside_of_an_access() -> Result {
        use DataDirection::{
            Bidirectional,
            FromDevice,
            ToDevice, //
        };

        let Some((buf, pages)) = shared_with_device()? else {
            return Ok(());
        };
        let cpu = cpu_byte(&pages, 0)?;

        for access in [FromDevice, Bidirectional] {
            with_importer(&buf, &pages, &Importer::new()?, Bidirectional, |view| {
                let bounces = view.bounces(0)?;

                begin_cpu_access(&buf, ToDevice)?;
                cpu.write(1)?;
                end_cpu_access(&buf, ToDevice)?;

                cpu.write(2)?;
                begin_cpu_access(&buf, access)?;
                assert_eq!(cpu.read()?, if bounces { 1 } else { 2 });
                end_cpu_access(&buf, access)
            })???;
        }

        // A device that only reads has nothing to hand over.
        with_importer(&buf, &pages, &Importer::new()?, ToDevice, |_| {
            cpu.write(3)?;
            begin_cpu_access(&buf, FromDevice)?;
            assert_eq!(cpu.read()?, 3);
            end_cpu_access(&buf, FromDevice)
        })??
    }

    #[test]
    fn device_that_only_writes_has_the_last_word() -> Result {
        use DataDirection::{
            Bidirectional,
            FromDevice,
            ToDevice, //
        };

        let Some((buf, pages)) = shared_with_device()? else {
            return Ok(());
        };
        let cpu = cpu_byte(&pages, 0)?;

        for access in [ToDevice, Bidirectional] {
            cpu.write(1)?;
            let (importer, dir) = (Importer::new()?, FromDevice);
            let bounces = with_importer(&buf, &pages, &importer, dir, |view| -> Result<_> {
                let bounces = view.bounces(0)?;

                // Its copy does not get what is written, although that is in an access.
                begin_cpu_access(&buf, access)?;
                cpu.write(2)?;
                end_cpu_access(&buf, access)?;
                let expected = if bounces { 1 } else { 2 };
                assert_eq!(view.byte(0)?.read()?, expected);

                begin_cpu_access(&buf, FromDevice)?;
                assert_eq!(cpu.read()?, expected);
                end_cpu_access(&buf, FromDevice)?;

                cpu.write(3)?;
                Ok(bounces)
            })???;

            assert_eq!(cpu.read()?, if bounces { 1 } else { 3 });
        }
        Ok(())
    }

    #[test]
    fn access_of_the_other_direction_changes_nothing() -> Result {
        use DataDirection::{
            Bidirectional,
            FromDevice,
            ToDevice, //
        };

        let Some((buf, pages)) = shared_with_device()? else {
            return Ok(());
        };
        let importer = Importer::new()?;
        let cpu = cpu_byte(&pages, 0)?;

        with_importer(&buf, &pages, &importer, Bidirectional, |view| -> Result {
            if !view.bounces(0)? {
                return Ok(());
            }

            // A CPU that only writes does not get what the device wrote.
            view.byte(0)?.write(1)?;
            begin_cpu_access(&buf, ToDevice)?;
            assert_eq!(cpu.read()?, 0);

            // A CPU that only reads does not undo it.
            end_cpu_access(&buf, FromDevice)?;
            assert_eq!(view.byte(0)?.read()?, 1);
            Ok(())
        })??
    }

    /// Maps pages without dma-buf.c, which lends a wrapper of the table for debugging.
    fn table(importer: &Importer, pages: &Arc<PinnedRanges>) -> Result<Pin<KBox<PinnedSGTable>>> {
        // SAFETY: The device is valid.
        let dev = unsafe { device::Device::from_raw(importer.as_raw()) };

        // SAFETY: The device is set up for DMA, that does not change, and it outlives the table.
        unsafe { PinnedSGTable::new(pages.clone(), dev, DataDirection::Bidirectional, GFP_KERNEL) }
    }

    /// Some importers move the addresses that they got, and undo it before they give them back. It
    /// matters behind a bounce buffer only; and CONFIG_DMA_API_DEBUG would complain.
    #[test]
    fn what_was_lent_may_be_changed() -> Result {
        let Some((_buf, pages)) = shared_with_device()? else {
            return Ok(());
        };
        let importer = Importer::new()?;
        let table = table(&importer, &pages)?;
        let view = View {
            // SAFETY: The table is valid. Nobody reads it while it is changed below.
            table: unsafe { SGTable::from_raw(table.as_raw()) },
            pages: &pages,
            importer: &importer,
        };
        let (seen, own) = (view.byte(0)?, cpu_byte(&pages, 0)?);
        view.bounces(0)?;

        // SAFETY: The table is valid and has an entry.
        let address = unsafe { &raw mut (*(*table.as_raw()).sgl).dma_address };
        // SAFETY: Nobody else uses what was lent.
        unsafe { *address += PAGE_SIZE as DmaAddress };
        let written = seen.write(42);
        table.sync_for_cpu(DataDirection::FromDevice);
        let value = own.read();
        table.sync_for_device(DataDirection::ToDevice);
        // SAFETY: As above.
        unsafe { *address -= PAGE_SIZE as DmaAddress };

        written?;
        assert_eq!(value?, 42);
        Ok(())
    }

    /// One that does not fit into a page is chained.
    #[test]
    fn long_tables_have_all_pages() -> Result {
        let fit = PAGE_SIZE / size_of::<bindings::scatterlist>();
        let nr = 2 * fit;
        let importer = Importer::new()?;

        if !importer.is_direct() || nr * PAGE_SIZE > SZ_32M {
            skip(c"the addresses are not those of the direct mapping, or pages are too large");
            return Ok(());
        }
        let file = ShmemFile::new(nr * PAGE_SIZE)?;
        let mut pages = PinnedRanges::new(PinFlag::Write);
        // Pages that are neighbours in the file may be so in memory as well, once they are there.
        PinnedRanges::new(PinFlag::Write).pin(file.file(), 0, nr * PAGE_SIZE, GFP_KERNEL)?;
        for i in 0..nr {
            // Every second one, then the others.
            let page = i % fit * 2 + i / fit;
            let offset = (page * PAGE_SIZE).try_into()?;
            pages.pin(file.file(), offset, PAGE_SIZE, GFP_KERNEL)?;
        }
        let pages = Arc::new(pages, GFP_KERNEL)?;
        let table = table(&importer, &pages)?;
        let view = View {
            // SAFETY: The table is valid, and nobody changes it.
            table: unsafe { SGTable::from_raw(table.as_raw()) },
            pages: &pages,
            importer: &importer,
        };

        assert!(view.table.iter().count() > fit);
        for page in 0..nr {
            cpu_byte(&pages, page)?.write(page as u8)?;
        }
        table.sync_for_device(DataDirection::ToDevice);
        for page in 0..nr {
            assert_eq!(view.byte(page)?.read()?, page as u8);
        }
        Ok(())
    }

    #[test]
    fn cpu_access_begins_when_devices_are_done() -> Result {
        use crate::bindings::{
            dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP as BOOKKEEP,
            dma_resv_usage_DMA_RESV_USAGE_KERNEL as KERNEL,
            dma_resv_usage_DMA_RESV_USAGE_READ as READ,
            dma_resv_usage_DMA_RESV_USAGE_WRITE as WRITE, //
        };
        use DataDirection::{
            Bidirectional,
            FromDevice,
            ToDevice, //
        };

        for (usage, access, waited) in [
            (KERNEL, FromDevice, true),
            (KERNEL, ToDevice, true),
            (WRITE, FromDevice, true),
            (WRITE, ToDevice, true),
            (WRITE, Bidirectional, true),
            // Two may read at the same time.
            (READ, FromDevice, false),
            (READ, ToDevice, true),
            (READ, Bidirectional, true),
            // What nobody waits for implicitly.
            (BOOKKEEP, Bidirectional, false),
        ] {
            let buf = export(PAGE_SIZE, Ok(Waiting))?;

            add_fence(&buf, usage)?;
            let res = begin_cpu_access(&buf, access);
            assert_eq!(res.err(), (!waited).then_some(EBUSY));
            assert!(!WAITED_LOCKED.load(Relaxed));
        }
        Ok(())
    }

    #[test]
    fn unmapping_hands_over_what_the_device_wrote() -> Result {
        let Some((buf, pages)) = shared_with_device()? else {
            return Ok(());
        };
        let importer = Importer::new()?;
        let dir = DataDirection::FromDevice;

        with_importer(&buf, &pages, &importer, dir, |view| view.byte(0)?.write(42))???;
        assert_eq!(cpu_byte(&pages, 0)?.read()?, 42);
        Ok(())
    }

    #[test]
    fn unmapping_keeps_what_was_written() -> Result {
        let (buf, pages) = shared(SIZE)?;
        let importer = Importer::new()?;
        let dir = DataDirection::Bidirectional;

        // With swiotlb=force, the device has a copy of the pages.
        with_importer(&buf, &pages, &importer, dir, |_| {
            // SAFETY: The mapping is `SIZE` bytes long.
            with_vmap(&buf, |addr| unsafe { addr.write_volatile(42) })
        })???;
        // SAFETY: As above.
        let value = with_vmap(&buf, |addr| unsafe { addr.read_volatile() })?;
        assert_eq!(value, 42);
        Ok(())
    }

    #[test]
    fn wrong_size_is_refused() -> Result {
        let (buf, pages) = shared(SIZE + PAGE_SIZE)?;
        let dir = DataDirection::Bidirectional;

        assert_eq!(map_error(&buf, &pages, dir)?, Some(EINVAL));
        Ok(())
    }

    #[test]
    fn read_only_pages_are_not_written() -> Result {
        let (buf, pages) = shared_with(SIZE, PinFlags::default())?;

        for (dir, refused) in [
            (DataDirection::ToDevice, false),
            (DataDirection::FromDevice, true),
            (DataDirection::Bidirectional, true),
        ] {
            let res = map_error(&buf, &pages, dir)?;
            assert_eq!(res, refused.then_some(EACCES));
        }
        assert_eq!(PinnedVmap::new(pages, GFP_KERNEL).err(), Some(EACCES));
        Ok(())
    }

    #[test]
    fn read_only_pages_are_not_mapped_where_they_can_be_written() -> Result {
        let (write, read) = (PinFlag::Write.into(), PinFlags::default());
        let writable = PROT_READ | PROT_WRITE;

        assert!(can_be_read(write, Area::Pfnmap, writable, MAP_SHARED)?);
        assert!(can_be_read(write, Area::Pfnmap, PROT_READ, MAP_SHARED)?);
        assert!(!can_be_read(read, Area::Pfnmap, writable, MAP_SHARED)?);
        // mprotect() could make it writable, unless the exporter forbids that.
        assert!(!can_be_read(read, Area::Pfnmap, PROT_READ, MAP_SHARED)?);
        assert!(can_be_read(read, Area::ReadOnly, PROT_READ, MAP_SHARED)?);
        let refused = can_be_read(read, Area::ReadOnly, writable, MAP_SHARED);
        assert_eq!(refused, Err(EINVAL));
        Ok(())
    }

    #[test]
    fn pages_are_only_mapped_as_page_frames() -> Result {
        let write = PinFlag::Write.into();
        let writable = PROT_READ | PROT_WRITE;

        assert!(!can_be_read(write, Area::Plain, writable, MAP_SHARED)?);
        // A write would make a copy that nobody pinned.
        for prot in [PROT_READ, writable] {
            let private = can_be_read(write, Area::Pfnmap, prot, MAP_PRIVATE);
            assert_eq!(private, Err(EINVAL));
        }
        assert!(!can_be_read(write, Area::Plain, writable, MAP_PRIVATE)?);
        Ok(())
    }

    #[test]
    fn pages_are_only_mapped_where_they_belong() -> Result {
        let write = PinFlag::Write.into();

        assert!(!can_be_read(write, Area::Beyond, PROT_READ, MAP_SHARED)?);
        assert!(!can_be_read(write, Area::Nowhere, PROT_READ, MAP_SHARED)?);
        assert!(!can_be_read(write, Area::Block(0), PROT_READ, MAP_SHARED)?);
        Ok(())
    }

    #[test]
    fn huge_pages_are_mapped_whole() -> Result {
        let (write, size) = (PinFlag::Write.into(), PAGE_SIZE << huge_order());
        let writable = PROT_READ | PROT_WRITE;
        let Some(file) = huge_file()? else {
            return Ok(());
        };
        let buf = shown(&file, 2 * size, write, Area::Huge)?;

        BLOCKS.store(0, Relaxed);
        with_mapping(&buf, 0..2 * size, PROT_READ, MAP_SHARED, |addr| -> Result {
            // Otherwise the mapping could not be aligned.
            let nr = i32::from(addr % size == 0);

            assert_eq!(read_byte(addr + PAGE_SIZE)?, 1);
            assert_eq!(read_byte(addr)?, 0);
            assert_eq!(BLOCKS.load(Relaxed), nr);
            assert_eq!(read_byte(addr + size + PAGE_SIZE)?, 2);
            assert_eq!(BLOCKS.load(Relaxed), 2 * nr);
            Ok(())
        })??;
        with_mapping(&buf, 0..2 * size, writable, MAP_SHARED, |addr| -> Result {
            write_byte(addr + PAGE_SIZE, 3)?;
            assert_eq!(read_byte(addr + PAGE_SIZE)?, 3);
            Ok(())
        })??;

        // No huge page lies in this as a whole.
        BLOCKS.store(0, Relaxed);
        let part = PAGE_SIZE..2 * size - PAGE_SIZE;
        with_mapping(&buf, part, PROT_READ, MAP_SHARED, |addr| -> Result {
            assert_eq!(read_byte(addr)?, 3);
            assert_eq!(read_byte(addr + size)?, 2);
            assert_eq!(BLOCKS.load(Relaxed), 0);
            Ok(())
        })??;
        Ok(())
    }

    #[test]
    fn huge_pages_are_only_mapped_where_they_belong() -> Result {
        let (read, write) = (PinFlags::default(), PinFlag::Write.into());
        let size = PAGE_SIZE << huge_order();
        let Some(file) = huge_file()? else {
            return Ok(());
        };

        for (flags, area) in [
            // mprotect() could make it writable.
            (read, Area::Huge),
            // The fault is one of a page, or of a larger block.
            (write, Area::Block(huge_order())),
            // The fault is one of a huge page.
            (write, Area::Block(1)),
        ] {
            let buf = shown(&file, 2 * size, flags, area)?;
            let res = with_mapping(&buf, 0..2 * size, PROT_READ, MAP_SHARED, read_byte)?;

            assert_eq!(res, Err(EFAULT));
        }
        Ok(())
    }

    #[test]
    fn operations_are_installed_last() -> Result {
        let file = ShmemFile::new(SIZE)?;
        let write = PinFlag::Write.into();

        for (area, expected) in [(Area::Pfnmap, Ok(())), (Area::Refused, Err(EBUSY))] {
            let buf = shown(&file, SIZE, write, area)?;
            let vma = Opaque::<bindings::vm_area_struct>::zeroed();
            // SAFETY: The buffer is valid, and so are its operations.
            let mmap = unsafe { (*(*buf.as_raw()).ops).mmap }.ok_or(EINVAL)?;

            // SAFETY: The buffer is valid. The area is being set up, and is part of no address
            // space. It gets no faults, so its file does not matter.
            let res = to_result(unsafe { mmap(buf.as_raw(), vma.get()) });
            // SAFETY: Nobody else uses the area.
            let (ops, data) = unsafe { ((*vma.get()).vm_ops, (*vma.get()).vm_private_data) };

            assert_eq!(res, expected);
            assert_eq!(ops.is_null(), expected.is_err());
            assert_eq!(data.is_null(), expected.is_err());
        }

        // What failed holds no reference to the buffer.
        was_dropped();
        let refused = can_be_read(write, Area::Refused, PROT_READ, MAP_SHARED);
        assert_eq!(refused, Err(EBUSY));
        assert!(was_dropped());
        Ok(())
    }

    #[test]
    fn page_frames_exclude_counted_pages() -> Result {
        for area in [Area::PfnmapThenMixedmap, Area::MixedmapThenPfnmap] {
            let refused = can_be_read(PinFlag::Write.into(), area, PROT_READ, MAP_SHARED);

            assert_eq!(refused, Err(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn no_direction_is_refused() -> Result {
        let (buf, pages) = shared(SIZE)?;
        let res = map_error(&buf, &pages, DataDirection::None)?;

        assert_eq!(res, Some(EINVAL));
        Ok(())
    }

    #[test]
    fn missing_operations_are_refused() -> Result {
        struct Unused;

        #[vtable]
        impl Exporter for Unused {
            fn map<'a>(&self, _: &Locked<'_>, _: &Attachment<'a>) -> Result<Mapped<'a>> {
                Err(ENODEV)
            }
        }

        let buf = export(PAGE_SIZE, Ok(Unused))?;
        assert_eq!(with_vmap(&buf, |_| ()), Err(EINVAL));
        // Without an operation there is nothing to do.
        begin_cpu_access(&buf, DataDirection::Bidirectional)?;

        let failed = export::<Unused>(PAGE_SIZE, Err(EBUSY));
        assert_eq!(failed.err(), Some(EBUSY));
        Ok(())
    }

    /// They are a constant, which may have several addresses.
    #[test]
    fn operations_work_at_any_address() -> Result {
        let (buf, pages) = shared(SIZE)?;
        let (importer, dir) = (Importer::new()?, DataDirection::Bidirectional);
        // SAFETY: The buffer is valid.
        let ops = unsafe { (*buf.as_raw()).ops };
        // SAFETY: They are valid for longer than the buffer, and never change.
        let copy = KBox::new(unsafe { ops.read() }, GFP_KERNEL)?;
        let set = |ops: *const bindings::dma_buf_ops| {
            // SAFETY: The buffer is valid, and no other task knows it.
            unsafe { (*buf.as_raw()).ops = ops };
        };

        // What the one has mapped, the other one unmaps.
        let mapped = with_importer(&buf, &pages, &importer, dir, |_| set(&raw const *copy));
        let synced = begin_cpu_access(&buf, dir).and_then(|()| end_cpu_access(&buf, dir));
        let seen = with_vmap(&buf, |_| ());
        // The copy is gone before the buffer is.
        set(ops);

        mapped??;
        synced?;
        seen
    }

    #[test]
    fn file_descriptor_takes_over_the_reference() -> Result {
        let file = ShmemFile::new(SIZE)?;
        let write = PinFlag::Write.into();

        // There are no such flags.
        was_dropped();
        let buf = shown(&file, SIZE, write, Area::Plain)?;
        assert_eq!(DmaBuf::into_fd(buf, u32::MAX), Err(EINVAL));
        assert!(was_dropped());

        let buf = shown(&file, SIZE, write, Area::Plain)?;
        let raw = buf.as_raw();
        let fd = DmaBuf::into_fd(buf, O_CLOEXEC)?;
        // SAFETY: This only looks up a file descriptor.
        let again = from_err_ptr(unsafe { bindings::dma_buf_get(fd) })?;
        assert!(again == raw);
        // SAFETY: This gives back the reference that was just taken.
        unsafe { bindings::dma_buf_put(again) };
        assert!(!was_dropped());

        // SAFETY: The file descriptor is that of this test.
        to_result(unsafe { bindings::close_fd(fd.try_into()?) })?;
        assert!(was_dropped());
        Ok(())
    }

    /// The data of a buffer is dropped by code of the module, by whoever uses the buffer last.
    #[cfg(CONFIG_MODULE_UNLOAD)]
    #[test]
    fn buffer_keeps_the_module_of_its_exporter() -> Result {
        use crate::module::{
            ModuleMetadata,
            ThisModule, //
        };

        /// A module that is never unloaded, but does not know that.
        struct Loaded(Opaque<bindings::module>);

        // SAFETY: What uses it can be called by any thread.
        unsafe impl Sync for Loaded {}

        static LOADED: Loaded = Loaded(Opaque::zeroed());

        /// The references to it when the data of a buffer was dropped.
        static LEFT: Atomic<i32> = Atomic::new(0);

        impl Loaded {
            fn refs(&self) -> c_int {
                // SAFETY: The module is valid. Others may change the number: it is read once.
                unsafe { (&raw const (*self.0.get()).refcnt.counter).read_volatile() }
            }
        }

        impl ModuleMetadata for Loaded {
            const NAME: &'static CStr = c"rust_dma_buf";

            const THIS_MODULE: ThisModule = {
                // SAFETY: It is in the place of the right one.
                unsafe { ThisModule::from_ptr(LOADED.0.get()) }
            };
        }

        struct Data;

        impl Drop for Data {
            fn drop(&mut self) {
                LEFT.store(LOADED.refs(), Relaxed);
            }
        }

        #[vtable]
        impl Exporter for Data {
            type OwnerModule = Loaded;

            fn map<'a>(&self, _: &Locked<'_>, _: &Attachment<'a>) -> Result<Mapped<'a>> {
                Err(ENODEV)
            }
        }

        let module = LOADED.0.get();
        // SAFETY: Nobody else uses the module. Being zeroed, it is one that is live.
        unsafe {
            (*module).state = bindings::module_state_MODULE_STATE_LIVE;
            (*module).refcnt.counter = 1;
        }

        let buf = export(PAGE_SIZE, Ok(Data))?;
        // SAFETY: The buffer is valid.
        let (owner, name) = unsafe { ((*buf.as_raw()).owner, (*buf.as_raw()).exp_name) };
        // SAFETY: The name is a string that lives as long as the module.
        let name = unsafe { CStr::from_char_ptr(name) };
        assert!(owner == module && name == Loaded::NAME);
        assert_eq!(LOADED.refs(), 2);

        drop(buf);
        was_dropped();
        assert_eq!((LEFT.load(Relaxed), LOADED.refs()), (2, 1));

        // SAFETY: Nobody else uses the module.
        unsafe { (*module).state = bindings::module_state_MODULE_STATE_GOING };
        assert_eq!(export(PAGE_SIZE, Ok(Data)).err(), Some(ENOENT));
        assert_eq!((LEFT.load(Relaxed), LOADED.refs()), (1, 1));
        Ok(())
    }
}
