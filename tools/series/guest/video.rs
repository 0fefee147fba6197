// SPDX-License-Identifier: GPL-2.0
//! Drivers that import buffers into their video queues.

use std::fs;

use crate::sys::{Fd, Result};

/// A driver by the name of its device.
pub struct Driver {
    name: &'static str,
    /// Width and height of its pictures.
    side: u32,
    /// A parameter of its module, and what that must be.
    told: Option<(&'static str, &'static str)>,
}

/// Maps a buffer for the CPU. Each time that its device is opened, it has queues of its own.
pub const VIM2M: Driver = Driver {
    name: "vim2m",
    side: 128,
    told: None,
};

/// Attaches to a buffer and maps it for its device, which wants a picture in one piece: one that fits into a page is. So it
/// does because the command line says so.
pub const VIVID: Driver = Driver {
    name: "vivid-000-vid-out",
    side: 16,
    told: Some(("/sys/module/vivid/parameters/allocators", "1")),
};

const DEVICES: &str = "/sys/class/video4linux";

impl Driver {
    fn is_as_told(&self) -> bool {
        self.told.is_none_or(|(file, wanted)| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.trim().split(',').next() == Some(wanted)
        })
    }

    fn open(&self) -> Result<Fd> {
        let devices = fs::read_dir(DEVICES).expect("CONFIG_VIDEO_DEV");
        let device = devices.flatten().find(|device| {
            let name = fs::read_to_string(device.path().join("name"));
            name.is_ok_and(|name| name.trim() == self.name)
        });
        let device = device.expect("the driver has a device");
        assert!(self.is_as_told(), "{} is not as told", self.name);
        Fd::open(&format!("/dev/{}", device.file_name().to_string_lossy()))
    }
}

const VIDIOC_S_FMT: u64 = 0xc0d0_5605;
const VIDIOC_REQBUFS: u64 = 0xc014_5608;
const VIDIOC_QBUF: u64 = 0xc058_560f;

const OUTPUT: u32 = 2;
const DMABUF: u32 = 4;
const NO_FIELD: u32 = 1;
/// Two bytes a pixel.
const RGB565: u32 = u32::from_le_bytes(*b"RGBP");

/// A device that can keep a buffer until this is dropped.
pub struct Importer {
    device: Fd,
    /// The bytes of a picture.
    size: u32,
}

impl Importer {
    /// With room for one buffer.
    pub fn new(driver: &Driver) -> Result<Self> {
        let device = driver.open()?;
        let side = driver.side;
        // struct v4l2_format: the type, nothing, then width, height, format and field.
        let mut format = [0u32; 52];
        format[0] = OUTPUT;
        format[2..6].copy_from_slice(&[side, side, RGB565, NO_FIELD]);
        device.ioctl(VIDIOC_S_FMT, &mut format)?;
        // struct v4l2_requestbuffers.
        device.ioctl(VIDIOC_REQBUFS, &mut [1, OUTPUT, DMABUF, 0, 0])?;
        let size = side * side * 2;
        Ok(Importer { device, size })
    }

    /// Imports a buffer of eight pages or more, as if it held a picture.
    pub fn import(&self, buffer: &Fd) -> Result<()> {
        // struct v4l2_buffer.
        let mut queued = [0u32; 22];
        queued[1] = OUTPUT;
        queued[2] = self.size;
        queued[15] = DMABUF;
        queued[16] = buffer.number() as u32;
        queued[18] = self.size;
        self.device.ioctl(VIDIOC_QBUF, &mut queued).map(drop)
    }
}
