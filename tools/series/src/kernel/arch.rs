// SPDX-License-Identifier: GPL-2.0
//! What differs between architectures: how make is asked for one, what it builds, and the machine that boots it.

use serde::{Deserialize, Deserializer, de::Error as _};

#[derive(Debug, PartialEq, Eq)]
pub struct Arch {
    /// As lanes name it, and as make takes it after ARCH=.
    pub name: &'static str,
    /// The target that builds a kernel.
    pub target: &'static str,
    /// What it leaves in the objects' folder.
    pub image: &'static str,
    /// In front of the name of gcc and of the binutils; empty on the machine's own architecture.
    pub cross: &'static str,
    pub machine: Option<&'static Machine>,
}

/// A guest of this architecture, under QEMU.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    /// As the kernel's makefiles take it after ARCH=, when they build programs for it.
    pub arch: &'static str,
    pub qemu: &'static str,
    pub model: &'static [&'static str],
    /// Everything that QEMU can emulate.
    pub cpu: &'static str,
    /// The same without what differs from run to run.
    pub steady_cpu: &'static str,
    pub console: &'static str,
    /// The second serial port, for results.
    pub results: &'static str,
    /// Builds the programs of the guest.
    pub cc: &'static str,
    /// The guest's busybox, in the toolchain root.
    pub busybox: &'static str,
    /// An accelerator of the machine that this runs on may be of use.
    pub native: bool,
}

static PC: Machine = Machine {
    arch: "x86_64",
    qemu: "qemu-system-x86_64",
    model: &[],
    cpu: "max",
    steady_cpu: "max,-rdrand,-rdseed",
    console: "ttyS0",
    results: "ttyS1",
    cc: "gcc",
    busybox: "bin/busybox",
    native: true,
};

static VIRT: Machine = Machine {
    arch: "arm64",
    qemu: "qemu-system-aarch64",
    // The guest starts where a hypervisor runs, so that it has KVM.
    model: &["-machine", "virt,virtualization=on,gic-version=3"],
    // Another algorithm for signing pointers than the default: that one costs more than all else under TCG.
    cpu: "max,pauth-impdef=on",
    steady_cpu: "max,pauth-impdef=on",
    console: "ttyAMA0",
    results: "ttyAMA1",
    cc: "aarch64-linux-gnu-gcc",
    busybox: "opt/arm64/usr/bin/busybox",
    native: false,
};

static ARCHES: [Arch; 5] = [
    Arch {
        name: "x86_64",
        target: "bzImage",
        image: "arch/x86/boot/bzImage",
        cross: "",
        machine: Some(&PC),
    },
    Arch {
        name: "i386",
        target: "bzImage",
        image: "arch/x86/boot/bzImage",
        cross: "",
        machine: None,
    },
    Arch {
        name: "arm64",
        target: "Image",
        image: "arch/arm64/boot/Image",
        cross: "aarch64-linux-gnu-",
        machine: Some(&VIRT),
    },
    Arch {
        name: "arm",
        target: "zImage",
        image: "arch/arm/boot/zImage",
        cross: "arm-linux-gnueabihf-",
        machine: None,
    },
    Arch {
        name: "riscv",
        target: "Image",
        image: "arch/riscv/boot/Image",
        cross: "riscv64-linux-gnu-",
        machine: None,
    },
];

impl Arch {
    /// Where everything runs that is not asked for another architecture.
    pub fn native() -> &'static Arch {
        &ARCHES[0]
    }

    #[cfg(test)]
    pub fn of_test(name: &str) -> &'static Arch {
        ARCHES.iter().find(|arch| arch.name == name).unwrap()
    }

    /// The name of its folder in arch/.
    pub fn sources(&self) -> &'static str {
        self.image
            .split('/')
            .nth(1)
            .expect("an image lies in arch/")
    }

    /// The name of the file that a kernel is kept in.
    pub fn image_name(&self) -> &'static str {
        self.image.rsplit('/').next().expect("a path has an end")
    }
}

impl<'de> Deserialize<'de> for &'static Arch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        ARCHES.iter().find(|arch| arch.name == name).ok_or_else(|| {
            let known: Vec<&str> = ARCHES.iter().map(|arch| arch.name).collect();
            D::Error::custom(format!("arch = {name:?} is none of {}", known.join(", ")))
        })
    }
}
