// SPDX-License-Identifier: GPL-2.0
//! vim2m, a driver that imports buffers into its video queues and maps them for the CPU. Each time that its device is
//! opened, it has queues of its own.

use crate::sys::{Fd, Result};

/// The only video device of the guest.
const DEVICE: &str = "/dev/video0";

const VIDIOC_S_FMT: u64 = 0xc0d0_5605;
const VIDIOC_REQBUFS: u64 = 0xc014_5608;
const VIDIOC_QBUF: u64 = 0xc058_560f;

const OUTPUT: u32 = 2;
const DMABUF: u32 = 4;
const NO_FIELD: u32 = 1;
/// Two bytes a pixel.
const RGB565: u32 = u32::from_le_bytes(*b"RGBP");
const SIDE: u32 = 128;

/// A device that keeps a buffer until this is dropped.
pub struct Importer {
    _device: Fd,
}

impl Importer {
    /// Imports a buffer of eight pages or more, as if it held a picture.
    pub fn of(buffer: &Fd) -> Result<Self> {
        let device = Fd::open(DEVICE)?;
        // struct v4l2_format: the type, nothing, then width, height, format and field.
        let mut format = [0u32; 52];
        format[0] = OUTPUT;
        format[2..6].copy_from_slice(&[SIDE, SIDE, RGB565, NO_FIELD]);
        device.ioctl(VIDIOC_S_FMT, &mut format)?;
        // struct v4l2_requestbuffers: room for one.
        device.ioctl(VIDIOC_REQBUFS, &mut [1, OUTPUT, DMABUF, 0, 0])?;
        // struct v4l2_buffer.
        let mut queued = [0u32; 22];
        queued[1] = OUTPUT;
        queued[2] = SIDE * SIDE * 2;
        queued[15] = DMABUF;
        queued[16] = buffer.number() as u32;
        device.ioctl(VIDIOC_QBUF, &mut queued)?;
        Ok(Importer { _device: device })
    }
}
