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
    fs::LocalFile,
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
    scatterlist::SGTable,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use core::ptr::NonNull;

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

/// As [`shared`], if it can be found out what a device sees of the buffer. Says so if it cannot: a
/// test gives up then.
fn shared_with_device() -> Result<Option<(ARef<DmaBuf>, Arc<PinnedRanges>)>> {
    if !Importer::new()?.is_direct() {
        pr_info!("the addresses of devices are not those of the direct mapping: test skipped\n");
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
    /// It is asked to show a block of pages where a page is missing.
    Block,
    /// It is to show page frames, and pages that are counted.
    PfnmapThenMixedmap,
    /// As above, in the other order.
    MixedmapThenPfnmap,
}

/// A buffer that can be mapped into a process.
struct Shown {
    pages: PinnedRanges,
    area: Area,
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
            _ => vma.set_pfnmap()?,
        }
        Ok(Operations::new())
    }
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

        if self.area == Area::Block {
            let block = self.pages.block(page, 0).ok_or(FaultError::Oom)?;

            return vmf.insert_block(block);
        }
        vmf.insert_pages(address, &self.pages, range)
    }
}

/// A file whose second page begins with `mark`.
fn marked_file(mark: u8) -> Result<ShmemFile> {
    let file = ShmemFile::new(SIZE)?;
    let mut pages = PinnedRanges::new(PinFlag::Write);
    pages.pin(file.file(), 0, 2 * PAGE_SIZE, GFP_KERNEL)?;
    let vmap = PinnedVmap::new(Arc::new(pages, GFP_KERNEL)?, GFP_KERNEL)?;
    let second = vmap.as_ptr().cast::<u8>().wrapping_add(PAGE_SIZE);

    // SAFETY: The mapping has two pages, and nobody else uses it.
    unsafe { second.write_volatile(mark) };
    Ok(file)
}

/// Whether pages that are pinned with `flags` can be read in the address space of the test.
fn can_be_read(flags: PinFlags, area: Area, prot: usize, map: usize) -> Result<bool> {
    let file = marked_file(42)?;
    let mut pages = PinnedRanges::new(flags);
    pages.pin(file.file(), 0, 3 * PAGE_SIZE, GFP_KERNEL)?;
    let buf = export(3 * PAGE_SIZE, Ok(Shown { pages, area }))?;

    // SAFETY: A test is a thread of the kernel that runs nothing else, and has no address space.
    // The one that it gets here goes when it ends.
    to_result(unsafe { bindings::kunit_attach_mm() })?;
    // SAFETY: The buffer and its file are valid. The thread has an address space, and does not hold
    // its lock.
    let addr = unsafe {
        let file = (*buf.as_raw()).file;
        bindings::vm_mmap(file, 0, 2 * PAGE_SIZE, prot, map, 0)
    };
    // The last page of the addresses is for errors.
    if addr > usize::MAX - PAGE_SIZE {
        // CAST: An error is a small negative number.
        to_result(addr as c_int)?;
    }

    let second = UserPtr::from_addr(addr + PAGE_SIZE);
    let value = UserSlice::new(second, 1).reader().read::<u8>();

    // SAFETY: As above. This is what was mapped, and nobody uses it any more.
    to_result(unsafe { bindings::vm_munmap(addr, 2 * PAGE_SIZE) })?;
    match value {
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
        assert!(!can_be_read(write, Area::Block, PROT_READ, MAP_SHARED)?);
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
}
