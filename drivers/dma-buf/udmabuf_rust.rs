// SPDX-License-Identifier: GPL-2.0

//! Rust reference driver for userspace dmabufs.
//!
//! C version of this driver: [`drivers/dma-buf/udmabuf.c`](./udmabuf.c)

use kernel::{
    dma::DataDirection,
    dma_buf::{
        self,
        Attachment,
        DmaBuf,
        Exporter,
        Locked,
        Mapped, //
    },
    fs::{
        file::{
            flags::O_CLOEXEC,
            Offset, //
        },
        File,
        LocalFile, //
    },
    ioctl::_IOW,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    mm::{
        pin::{
            PinFlag,
            PinnedRanges, //
        },
        virt::{
            flags,
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
    page::PAGE_SIZE,
    prelude::*,
    sizes::SizeConstants,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};

module! {
    type: UdmabufModule,
    name: "udmabuf",
    authors: ["Seed 1850bfbf maintainers"],
    description: "Rust reference driver for userspace dmabufs",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
    params: {
        list_limit: i32 {
            default: 1024,
            description: "udmabuf_create_list->count limit. Default is 1024.",
            permissions: 0o644,
        },
        size_limit_mb: i32 {
            default: i32::MAX,
            description: "Max size of a dmabuf, in megabytes. Default is INT_MAX.",
            permissions: 0o644,
        },
    },
}

const UDMABUF_CREATE: u32 = _IOW::<uapi::udmabuf_create>('u' as u32, 0x42);
const UDMABUF_CREATE_LIST: u32 = _IOW::<uapi::udmabuf_create_list>('u' as u32, 0x43);

static_assert!(size_of::<uapi::udmabuf_create>() == 24);
static_assert!(size_of::<uapi::udmabuf_create_item>() == 24);
static_assert!(size_of::<uapi::udmabuf_create_list>() == 8);

#[pin_data]
struct UdmabufModule {
    #[pin]
    _misc: MiscDeviceRegistration<Udmabuf>,
}

impl kernel::InPlaceModule for UdmabufModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _misc <- MiscDeviceRegistration::register(MiscDeviceOptions { name: c"udmabuf" }),
        })
    }
}

/// The pages of memfds, shared as a buffer.
struct Udmabuf {
    pages: Arc<PinnedRanges>,
    /// Whether the CPU has begun to access the buffer.
    cpu_access: Atomic<bool>,
}

impl Udmabuf {
    /// Checks what can be checked without looking at the files, and returns the total size.
    fn total_size(items: &[uapi::udmabuf_create_item]) -> Result<usize> {
        // As in C, a negative limit is a huge one.
        //
        // CAST: The sign extension is wanted.
        let limit = (module_parameters::size_limit_mb.value() as u64).wrapping_mul(u64::SZ_1M);
        let mut total: u64 = 0;

        for item in items {
            if item.offset % PAGE_SIZE as u64 != 0 || item.size % PAGE_SIZE as u64 != 0 {
                return Err(EINVAL);
            }

            total = total.checked_add(item.size).ok_or(EINVAL)?;
            if total > limit {
                return Err(EINVAL);
            }
        }

        // As in C, no more than can be mapped.
        match isize::try_from(total) {
            Ok(0) | Err(_) => Err(EINVAL),
            // CAST: It is not negative.
            Ok(total) => Ok(total as usize),
        }
    }

    /// Whether memory that must not be written is private to a guest and no seal is to blame: seals
    /// do not forbid to read.
    fn is_private(file: &LocalFile, offset: Offset) -> bool {
        PinnedRanges::new(PinFlag::NoShrink).check(file, offset, PAGE_SIZE) == Err(EPERM)
    }

    /// Pins the pages of all items and makes a file descriptor of them.
    fn create(items: &[uapi::udmabuf_create_item], flags: u32) -> Result<isize> {
        let size = Self::total_size(items)?;
        let mut pages = PinnedRanges::new(PinFlag::Write | PinFlag::NoShrink);

        for item in items {
            let memfd = LocalFile::fget(item.memfd).map_err(|_| EBADFD)?;
            // CAST: What is negative then is refused, after what the file is.
            let (offset, len) = (item.offset as Offset, item.size.try_into()?);

            pages
                .pin(&memfd, offset, len, GFP_KERNEL_ACCOUNT)
                .map_err(|err| match err {
                    // The file is no memfd.
                    EOPNOTSUPP => EBADFD,
                    // The file is sealed against writes.
                    EPERM if !Self::is_private(&memfd, offset) => EINVAL,
                    err => err,
                })?;
        }
        // Failing to save memory is not a failure.
        let _ = pages.shrink_to_fit(GFP_KERNEL_ACCOUNT);

        let buf = dma_buf::export(
            size,
            Ok(Self {
                pages: Arc::new(pages, GFP_KERNEL)?,
                cpu_access: Atomic::new(false),
            }),
        )?;

        let cloexec = flags & uapi::UDMABUF_FLAGS_CLOEXEC != 0;
        let fd = DmaBuf::into_fd(buf, if cloexec { O_CLOEXEC } else { 0 })?;

        Ok(fd.try_into()?)
    }
}

#[vtable]
impl MiscDevice for Udmabuf {
    type Ptr = ();

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result {
        Ok(())
    }

    fn ioctl(_this: (), _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let arg = UserPtr::from_addr(arg);

        match cmd {
            UDMABUF_CREATE => {
                let create: uapi::udmabuf_create =
                    UserSlice::new(arg, size_of::<uapi::udmabuf_create>())
                        .reader()
                        .read()?;
                let item = uapi::udmabuf_create_item {
                    memfd: create.memfd,
                    __pad: 0,
                    offset: create.offset,
                    size: create.size,
                };

                Self::create(&[item], create.flags)
            }
            UDMABUF_CREATE_LIST => {
                const HEAD: usize = size_of::<uapi::udmabuf_create_list>();
                const ITEM: usize = size_of::<uapi::udmabuf_create_item>();

                let head: uapi::udmabuf_create_list = UserSlice::new(arg, HEAD).reader().read()?;

                // As in C, a negative limit is a huge one.
                //
                // CAST: The sign is to be reinterpreted.
                if head.count > module_parameters::list_limit.value() as u32 {
                    return Err(EINVAL);
                }

                let count: usize = head.count.try_into()?;
                let len = count.checked_mul(ITEM).ok_or(EOVERFLOW)?;
                let mut reader = UserSlice::new(arg.wrapping_byte_add(HEAD), len).reader();
                let mut items = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;

                for _ in 0..count {
                    items.push(
                        reader.read::<uapi::udmabuf_create_item>()?,
                        GFP_KERNEL_ACCOUNT,
                    )?;
                }

                Self::create(&items, head.flags)
            }
            _ => Err(ENOTTY),
        }
    }
}

#[vtable]
impl Exporter for Udmabuf {
    fn map<'a>(&self, _lock: &Locked<'_>, attachment: &Attachment<'a>) -> Result<Mapped<'a>> {
        attachment.map(self.pages.clone())
    }

    fn begin_cpu_access(&self, lock: &Locked<'_>, dir: DataDirection) -> Result {
        lock.sync_for_cpu(dir);
        self.cpu_access.store(true, Relaxed);
        Ok(())
    }

    fn end_cpu_access(&self, lock: &Locked<'_>, dir: DataDirection) -> Result {
        if !self.cpu_access.load(Relaxed) {
            return Err(EINVAL);
        }
        lock.sync_for_device(dir);
        Ok(())
    }

    fn mmap(&self, vma: &VmaNew) -> Result<Operations<Self>> {
        if vma.flags() & (flags::SHARED | flags::MAYSHARE) == 0 {
            return Err(EINVAL);
        }

        vma.set_pfnmap()?;
        vma.set_dontexpand();
        vma.set_dontdump();
        Ok(Operations::new())
    }

    fn vmap(&self, _lock: &Locked<'_>) -> Result<PinnedVmap> {
        PinnedVmap::new(self.pages.clone(), GFP_KERNEL)
    }
}

#[vtable]
impl VmOps for Udmabuf {
    /// Maps what the page table holds around the fault too, as it is likely to be accessed next.
    fn fault<'vma>(&'vma self, vmf: &VmFault<'vma>) -> Result<(), FaultError> {
        let vma = vmf.vma();
        let table = vmf.table_range();
        let first = vma.pgoff() + (table.start - vma.start()) / PAGE_SIZE;
        let pages = first..first + table.len() / PAGE_SIZE;

        vmf.insert_pages(table.start, &self.pages, pages)
    }

    fn huge_fault<'vma>(&'vma self, vmf: &VmFault<'vma>) -> Result<(), FaultError> {
        let block = vmf
            .block_pgoff()
            .and_then(|first| self.pages.block(first, vmf.order()))
            .ok_or(FaultError::Fallback)?;

        vmf.insert_block(block)
    }
}
