// SPDX-License-Identifier: GPL-2.0

//! Buffers that are shared between devices.
//!
//! A driver that owns memory (the exporter) wraps it into a [`DmaBuf`]. User space passes the
//! buffer around as a file descriptor, and other drivers (the importers) attach their devices to
//! it.
//!
//! An exporter implements [`Exporter`].
//!
//! # Locking
//!
//! Each buffer has a reservation lock. Whether it is held in a callback is part of the callback's
//! signature: where it is, the callback gets a [`Locked`]. This is the convention of
//! `Documentation/driver-api/dma-buf.rst`.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

use crate::{
    bindings,
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};
use core::ptr::NonNull;

mod exporter;
#[cfg(CONFIG_RUST_DMA_BUF_KUNIT_TEST)]
mod tests;

pub use self::exporter::{
    export,
    Attachment,
    Exporter,
    Locked,
    Mapped, //
};

/// A shared buffer.
///
/// # Invariants
///
/// A valid `struct dma_buf`, which is reference counted through its file.
#[repr(transparent)]
pub struct DmaBuf(Opaque<bindings::dma_buf>);

// SAFETY: A reference can be given back by any task.
unsafe impl Send for DmaBuf {}

// SAFETY: The methods that take a shared reference can be called concurrently.
unsafe impl Sync for DmaBuf {}

// SAFETY: `get_dma_buf()` and `dma_buf_put()` count references to the file, and the buffer is
// freed with the file.
unsafe impl AlwaysRefCounted for DmaBuf {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: By the type invariants, the buffer is valid.
        unsafe { bindings::get_dma_buf(self.as_raw()) };
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference to the buffer.
        unsafe { bindings::dma_buf_put(obj.cast().as_ptr()) };
    }
}

impl DmaBuf {
    /// Returns the raw `struct dma_buf *`.
    #[inline]
    pub(crate) fn as_raw(&self) -> *mut bindings::dma_buf {
        self.0.get()
    }

    /// # Safety
    ///
    /// `ptr` must point to a valid `struct dma_buf` during `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::dma_buf) -> &'a Self {
        // SAFETY: `DmaBuf` is a transparent wrapper. The rest is a safety requirement.
        unsafe { &*ptr.cast() }
    }

    /// The size of the buffer in bytes, which never changes.
    #[inline]
    pub fn size(&self) -> usize {
        // SAFETY: By the type invariants, the buffer is valid. Its size is not written after it
        // was created.
        unsafe { (*self.as_raw()).size }
    }

    /// Makes a file descriptor of the buffer, in the current process.
    ///
    /// The file descriptor takes over the reference, and user space may close it before this
    /// returns. The only flag with a meaning is [`O_CLOEXEC`]. May sleep.
    ///
    /// Fails with [`EMFILE`] if the process has no file descriptor left, with [`ENOMEM`] if there
    /// is no memory for more, and with [`EINVAL`] if `flags` does not fit into an `int` of C. The
    /// reference is given back then.
    ///
    /// As the reference is gone, nothing can be done with the buffer by it afterwards:
    ///
    /// ```ignore,compile_fail,E0382
    /// # use kernel::{dma_buf::DmaBuf, prelude::*, sync::aref::ARef};
    /// fn size_of_shared(buf: ARef<DmaBuf>) -> Result<usize> {
    ///     DmaBuf::into_fd(buf, 0)?;
    ///     // Error: `buf` was moved. User space may have closed the file descriptor.
    ///     Ok(buf.size())
    /// }
    /// ```
    ///
    /// [`O_CLOEXEC`]: crate::fs::file::flags::O_CLOEXEC
    pub fn into_fd(this: ARef<Self>, flags: u32) -> Result<c_int> {
        // SAFETY: `this` owns a reference to a valid buffer.
        let fd = unsafe { bindings::dma_buf_fd(this.as_raw(), flags.try_into()?) };
        if fd < 0 {
            // `this` gives back the reference.
            return to_result(fd).map(|()| fd);
        }

        // The file descriptor owns the reference now.
        let _ = ARef::into_raw(this);
        Ok(fd)
    }
}
