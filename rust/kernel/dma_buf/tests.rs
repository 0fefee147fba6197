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
    dma::DataDirection,
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
        PAGE_SIZE, //
    },
    prelude::*,
    scatterlist::SGTable,
    sizes::SizeConstants,
    sync::{
        aref::ARef,
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
const DIR: bindings::dma_data_direction = bindings::dma_data_direction::DMA_BIDIRECTIONAL;

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
fn importer() -> Result<faux::Registration> {
    let reg = faux::Registration::new(c"rust_dma_buf", None)?;
    let faux: &faux::Device<device::Bound> = reg.as_ref();
    let dev = AsRef::<device::Device<device::Bound>>::as_ref(faux).as_raw();

    // SAFETY: The device is valid, and nobody else uses it. The mask lives as long as it.
    unsafe {
        (*dev).coherent_dma_mask = u64::MAX;
        (*dev).dma_mask = &raw mut (*dev).coherent_dma_mask;
    }
    Ok(reg)
}

fn raw_device(reg: &faux::Registration) -> *mut bindings::device {
    let faux: &faux::Device<device::Bound> = reg.as_ref();

    AsRef::<device::Device<device::Bound>>::as_ref(faux).as_raw()
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
        if self.area != Area::Plain {
            vma.set_pfnmap()?;
        }
        if self.area == Area::ReadOnly {
            vma.try_clear_maywrite()?;
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

/// Calls `f` while the buffer is mapped for an importer; says why it cannot be, otherwise.
fn with_importer<R>(
    buf: &DmaBuf,
    dir: DataDirection,
    f: impl FnOnce(&SGTable) -> R,
) -> Result<Result<R>> {
    let reg = importer()?;
    let dir: bindings::dma_data_direction = dir.into();

    // SAFETY: The buffer and the device are valid.
    let attach = unsafe { bindings::dma_buf_attach(buf.as_raw(), raw_device(&reg)) };
    let attach = from_err_ptr(attach)?;
    // SAFETY: The attachment is valid, and the reservation lock is not held.
    let sgt = unsafe { bindings::dma_buf_map_attachment_unlocked(attach, dir) };
    let ret = from_err_ptr(sgt).map(|sgt| {
        // SAFETY: The table is valid until it is unmapped.
        let ret = f(unsafe { SGTable::from_raw(sgt) });

        // SAFETY: The table was returned for this attachment.
        unsafe { bindings::dma_buf_unmap_attachment_unlocked(attach, sgt, dir) };
        ret
    });
    // SAFETY: The attachment is valid, and nothing is mapped.
    unsafe { bindings::dma_buf_detach(buf.as_raw(), attach) };
    Ok(ret)
}

/// What mapping the buffer for an importer fails with, if it does.
fn map_error(buf: &DmaBuf, dir: DataDirection) -> Result<Option<Error>> {
    Ok(with_importer(buf, dir, |_| ())?.err())
}

#[macros::kunit_tests(rust_dma_buf)]
mod kunit {
    use super::*;

    #[test]
    fn failed_pin_leaves_no_trace() -> Result {
        let file = ShmemFile::new(SIZE)?;
        let mut pages = PinnedRanges::new(PinFlag::Write);
        let offset = SIZE.try_into()?;

        pages.pin(file.file(), 0, 2 * PAGE_SIZE, GFP_KERNEL)?;
        // The second part lies beyond the end of the file.
        assert_eq!(
            pages.pin(file.file(), offset, PAGE_SIZE, GFP_KERNEL),
            Err(EINVAL)
        );
        assert_eq!(pages.pin(file.file(), 0, 0, GFP_KERNEL), Err(EINVAL));
        assert_eq!(
            pages.pin(file.file(), 1, PAGE_SIZE, GFP_KERNEL),
            Err(EINVAL)
        );
        assert_eq!(pages.nr_pages(), 2);

        // Files like this one have no seals.
        let mut sealed = PinnedRanges::new(PinFlag::NoShrink);
        assert!(sealed.pin(file.file(), 0, PAGE_SIZE, GFP_KERNEL).is_err());
        assert_eq!(sealed.nr_pages(), 0);
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
            let page = pages.get(i).ok_or(EINVAL)?;
            let page = NonNull::new(page.as_ptr()).ok_or(EINVAL)?;
            // SAFETY: The page stays pinned for as long as `pages` exists. It belongs to no other
            // file, and the file has no large folios.
            let page = unsafe { BorrowedPage::from_raw(page) };
            let mut value = 0u8;

            // SAFETY: `value` is valid for writes, and nobody else writes to the page.
            unsafe { page.read_raw(&mut value, 0, 1) }?;
            assert_eq!(usize::from(value), i + 1);
        }
        assert_eq!(pages.size(), SIZE);
        Ok(())
    }

    #[test]
    fn importer_gets_all_pages() -> Result {
        let (buf, pages) = shared(SIZE)?;

        with_importer(&buf, DataDirection::Bidirectional, |table| {
            let mut len = 0;
            for entry in table.iter() {
                len += usize::try_from(entry.dma_len())?;
            }
            assert_eq!(len, SIZE);
            // There is one entry for each run, unless the mapping has merged them, or the device
            // cannot take that much at once: 64 KiB, as it says nothing.
            assert!(table.iter().count() <= pages.runs(usize::SZ_64K / PAGE_SIZE).count());

            for dir in [DataDirection::FromDevice, DataDirection::Bidirectional] {
                // SAFETY: The buffer is valid, and its reservation lock is not held.
                to_result(unsafe { bindings::dma_buf_begin_cpu_access(buf.as_raw(), dir.into()) })?;
                // SAFETY: As above.
                to_result(unsafe { bindings::dma_buf_end_cpu_access(buf.as_raw(), dir.into()) })?;
            }
            Ok(())
        })??
    }

    #[test]
    fn unmapping_keeps_what_was_written() -> Result {
        let (buf, _) = shared(SIZE)?;

        // With swiotlb=force, the device has a copy of the pages.
        with_importer(&buf, DataDirection::Bidirectional, |_| {
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
        let (buf, _) = shared(SIZE + PAGE_SIZE)?;

        assert_eq!(map_error(&buf, DataDirection::Bidirectional)?, Some(EINVAL));
        Ok(())
    }

    #[test]
    fn read_only_pages_are_not_written() -> Result {
        let (buf, pages) = shared_with(SIZE, PinFlags::default())?;

        assert_eq!(map_error(&buf, DataDirection::ToDevice)?, None);
        assert_eq!(map_error(&buf, DataDirection::FromDevice)?, Some(EACCES));
        assert_eq!(map_error(&buf, DataDirection::Bidirectional)?, Some(EACCES));
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
    fn no_direction_is_refused() -> Result {
        let (buf, _) = shared(SIZE)?;

        assert_eq!(map_error(&buf, DataDirection::None)?, Some(EINVAL));
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
        // SAFETY: The buffer is valid, and its reservation lock is not held. Without an operation
        // there is nothing to do.
        to_result(unsafe { bindings::dma_buf_begin_cpu_access(buf.as_raw(), DIR) })?;

        let failed = export::<Unused>(PAGE_SIZE, Err(EBUSY));
        assert_eq!(failed.err(), Some(EBUSY));
        Ok(())
    }
}
