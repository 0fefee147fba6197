// SPDX-License-Identifier: GPL-2.0
//! QEMU with a graphics adapter whose resources are memory of its guest: it makes a dma-buf of each, with /dev/udmabuf, and
//! shows a picture from there. This program is that guest: it drives the adapter by QEMU's qtest protocol, which takes the
//! place of a CPU, and writes the picture after the resource was made, in pages that are in another order in memory.
//!
//! usage: blobs FILE
//!
//! What the screen shows goes to FILE. It must be the picture.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const QMP: &str = "/tmp/qmp";

/// How long a request may take, and the monitor. programs.sh limits all of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the adapter is on the bus, and where its registers are to be.
const SLOT: u32 = 4;
const REGISTERS: u64 = 0xe000_0000;

/// Memory of the guest, a page each.
const DESCRIPTORS: u64 = 0x10_0000;
const AVAILABLE: u64 = 0x10_1000;
const USED: u64 = 0x10_2000;
const COMMAND: u64 = 0x10_3000;
const ANSWER: u64 = 0x10_4000;
const PICTURE: [u64; 4] = [0x20_3000, 0x20_1000, 0x30_0000, 0x20_2000];

const PAGE: usize = 4096;
const SIDE: u32 = 64;

/// Of the specification of virtio.
const STATUS_DRIVER: u64 = 1 | 2;
const FEATURES_OK: u64 = 8;
const DRIVER_OK: u64 = 4;
const RESOURCE_BLOB: u64 = 1 << 3;
const VERSION_1: u64 = 1;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

const CREATE_BLOB: u32 = 0x010c;
const SET_SCANOUT_BLOB: u32 = 0x010d;
const FLUSH: u32 = 0x0104;
const UNREF: u32 = 0x0102;
const OK: u32 = 0x1100;
const BLOB_OF_GUEST: u32 = 1;
const SHAREABLE: u32 = 2;
/// Blue, green, red and nothing.
const FORMAT: u32 = 2;
const RESOURCE: u32 = 1;

struct Qemu {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Where the adapter's structures are, relative to its registers.
struct Adapter {
    common: u64,
    notify: u64,
    /// How many requests were made.
    requests: u16,
}

fn qemu() -> Qemu {
    let mut child = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "pc,accel=qtest,memory-backend=memory",
            "-m",
            "64M",
        ])
        .args([
            "-object",
            "memory-backend-memfd,id=memory,size=64M,share=on",
        ])
        .args(["-nodefaults", "-display", "none", "-vga", "none"])
        .args(["-device", "virtio-gpu-pci,id=gpu,blob=on,addr=4"])
        .args(["-qtest", "stdio", "-qtest-log", "none"])
        .args(["-qmp", &format!("unix:{QMP},server=on,wait=off")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-system-x86_64 is installed");
    let input = child.stdin.take().expect("it is a pipe");
    let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
    Qemu {
        child,
        input,
        output,
    }
}

/// It ends with this program, however that ends.
impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Qemu {
    /// What it says to a command, without "OK".
    fn ask(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").expect("QEMU runs");
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("QEMU runs");
            assert_ne!(read, 0, "QEMU has ended at {command:.60}");
            if let Some(answer) = line.strip_prefix("OK") {
                return answer.trim().to_owned();
            }
            // Interrupts are told as they come.
            assert!(line.starts_with("IRQ"), "{command:.60}: {line}");
        }
    }

    fn number(&mut self, command: &str) -> u64 {
        let answer = self.ask(command);
        let digits = answer.trim_start_matches("0x");
        u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{command}: {answer}"))
    }

    /// A double word of the adapter's PCI configuration.
    fn config(&mut self, register: u32) -> u32 {
        let address = 1 << 31 | SLOT << 11 | register & !3;
        self.ask(&format!("outl 0xcf8 {address:#x}"));
        self.number("inl 0xcfc") as u32
    }

    fn set_config(&mut self, register: u32, value: u32) {
        self.config(register);
        self.ask(&format!("outl 0xcfc {value:#x}"));
    }

    /// Bits 8, 16, 32 or 64 of something in memory, or of a register.
    fn set(&mut self, bits: u32, address: u64, value: u64) {
        let width = match bits {
            8 => 'b',
            16 => 'w',
            32 => 'l',
            _ => 'q',
        };
        self.ask(&format!("write{width} {address:#x} {value:#x}"));
    }

    fn write(&mut self, address: u64, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.ask(&format!("write {address:#x} {:#x} 0x{hex}", bytes.len()));
    }

    /// Finds the adapter, and makes its first queue ready.
    fn start(&mut self) -> Adapter {
        assert_eq!(self.config(0), 0x1050_1af4, "virtio-gpu is in slot {SLOT}");
        let (mut common, mut notify) = (None, None);
        let mut capability = self.config(0x34) & 0xff;
        while capability != 0 {
            let head = self.config(capability);
            if head & 0xff == 9 {
                let bar = self.config(capability + 4) & 0xff;
                let offset = REGISTERS + u64::from(self.config(capability + 8));
                match (head >> 24, bar) {
                    (1, 4) => common = Some(offset),
                    (2, 4) => notify = Some(offset),
                    _ => {}
                }
            }
            capability = head >> 8 & 0xff;
        }
        let adapter = Adapter {
            common: common.expect("a common configuration"),
            notify: notify.expect("a place for notifications"),
            requests: 0,
        };
        self.set_config(0x20, REGISTERS as u32);
        self.set_config(0x24, 0);
        // It answers to its addresses, and reaches memory itself.
        self.set_config(4, 2 | 4);

        let at = |offset: u64| adapter.common + offset;
        self.set(8, at(20), STATUS_DRIVER);
        for (half, features) in [(0, RESOURCE_BLOB), (1, VERSION_1)] {
            self.set(32, at(0), half);
            let offered = self.number(&format!("readl {:#x}", at(4)));
            assert_eq!(offered & features, features, "QEMU offers blobs");
            self.set(32, at(8), half);
            self.set(32, at(12), features);
        }
        self.set(8, at(20), STATUS_DRIVER | FEATURES_OK);
        self.set(16, at(22), 0);
        for (offset, ring) in [(32, DESCRIPTORS), (40, AVAILABLE), (48, USED)] {
            self.set(64, at(offset), ring);
        }
        self.set(16, at(28), 1);
        self.set(8, at(20), STATUS_DRIVER | FEATURES_OK | DRIVER_OK);
        adapter
    }

    /// Has the adapter carry out a command.
    fn request(&mut self, adapter: &mut Adapter, kind: u32, words: &[u32]) {
        // What it is, and no fence.
        let head = [kind, 0, 0, 0, 0, 0];
        let bytes: Vec<u8> = head
            .iter()
            .chain(words)
            .flat_map(|word| word.to_le_bytes())
            .collect();
        self.write(COMMAND, &bytes);
        self.set(32, ANSWER, 0);
        for (n, address, len, flags) in [(0, COMMAND, bytes.len(), NEXT), (1, ANSWER, PAGE, WRITE)]
        {
            let descriptor = DESCRIPTORS + 16 * n;
            self.set(64, descriptor, address);
            self.set(32, descriptor + 8, len as u64);
            self.set(32, descriptor + 12, u64::from(flags) | 1 << 16);
        }
        // The queue has room for all of them.
        let place = u64::from(adapter.requests);
        self.set(16, AVAILABLE + 4 + 2 * place, 0);
        adapter.requests += 1;
        self.set(16, AVAILABLE + 2, adapter.requests.into());
        self.set(16, adapter.notify, 0);
        let start = Instant::now();
        while self.number(&format!("readw {:#x}", USED + 2)) as u16 != adapter.requests {
            assert!(
                start.elapsed() < PATIENCE,
                "request {kind:#x} is not answered"
            );
            thread::sleep(Duration::from_millis(10));
        }
        let answer = self.number(&format!("readl {ANSWER:#x}"));
        assert_eq!(answer, u64::from(OK), "request {kind:#x}");
    }
}

/// The picture, as it is in memory.
fn picture(seed: u32) -> Vec<u8> {
    let pixel = |n: u32| (n.wrapping_mul(2_654_435_761) ^ seed).to_le_bytes();
    (0..SIDE * SIDE).flat_map(pixel).collect()
}

/// What the screen shows, by QEMU's monitor.
fn screen(file: &str) -> Vec<u8> {
    let mut monitor = UnixStream::connect(QMP).expect("QEMU has a monitor");
    let limit = monitor.set_read_timeout(Some(PATIENCE));
    limit.expect("a socket");
    let mut answers = BufReader::new(monitor.try_clone().expect("a socket")).lines();
    let mut wait_for = |word: &str| {
        for line in &mut answers {
            let line = line.expect("the monitor answers");
            assert!(!line.contains("\"error\""), "{line}");
            if line.contains(word) {
                return;
            }
        }
        panic!("the monitor has gone");
    };
    wait_for("QMP");
    writeln!(monitor, "{{\"execute\": \"qmp_capabilities\"}}").expect("a socket");
    wait_for("return");
    let arguments = format!("{{\"filename\": \"{file}\", \"device\": \"gpu\"}}");
    let command = format!("{{\"execute\": \"screendump\", \"arguments\": {arguments}}}");
    writeln!(monitor, "{command}").expect("a socket");
    wait_for("return");
    fs::read(file).expect("the screen was written")
}

/// The picture as a file in the format that QEMU writes: red, green and blue.
fn as_file(picture: &[u8]) -> Vec<u8> {
    let pixels = picture
        .chunks(4)
        .flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]);
    let head = format!("P6\n{SIDE} {SIDE}\n255\n").into_bytes();
    head.into_iter().chain(pixels).collect()
}

fn main() {
    let file = std::env::args().nth(1).expect("usage: blobs FILE");
    let mut qemu = qemu();
    let mut adapter = qemu.start();

    let mut blob = vec![
        RESOURCE,
        BLOB_OF_GUEST,
        SHAREABLE,
        PICTURE.len() as u32,
        0,
        0,
    ];
    blob.extend([SIDE * SIDE * 4, 0]);
    for page in PICTURE {
        blob.extend([page as u32, 0, PAGE as u32, 0]);
    }
    qemu.request(&mut adapter, CREATE_BLOB, &blob);
    let mut shown = vec![0, 0, SIDE, SIDE, 0, RESOURCE, SIDE, SIDE, FORMAT, 0];
    shown.extend([SIDE * 4, 0, 0, 0, 0, 0, 0, 0]);
    qemu.request(&mut adapter, SET_SCANOUT_BLOB, &shown);

    for seed in 1..=4 {
        let picture = picture(seed);
        for (page, part) in PICTURE.iter().zip(picture.chunks(PAGE)) {
            qemu.write(*page, part);
        }
        qemu.request(&mut adapter, FLUSH, &[0, 0, SIDE, SIDE, RESOURCE, 0]);
        assert_eq!(screen(&file), as_file(&picture), "picture {seed}");
    }
    qemu.request(&mut adapter, UNREF, &[RESOURCE, 0]);
}
