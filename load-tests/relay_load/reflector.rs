//! A reflector in the kernel (XDP_TX): UDP goes back to where it came from,
//! addresses and ports exchanged. It costs the device's core about a
//! microsecond a packet, so what the generator cannot do with it, it cannot do
//! at all.
//!
//! veth looks at what XDP_TX has sent to it only where it has a program, too:
//! one that lets everything pass.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::arguments::Arguments;

/// Reflects until standard input ends.
pub fn reflect(arguments: &Arguments) -> io::Result<()> {
    serve(arguments, &reflecting())
}

/// Lets everything pass until standard input ends.
pub fn pass(arguments: &Arguments) -> io::Result<()> {
    serve(arguments, &passing())
}

fn serve(arguments: &Arguments, program: &[Instruction]) -> io::Result<()> {
    let name = CString::new(arguments.interface.as_str())?;
    // SAFETY: the name is a C string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let program = load(program)?;
    let _attached = attach(&program, index)?;
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// An instruction: `linux/bpf.h`'s `struct bpf_insn`.
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high ones.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: to | from << 4,
        offset,
        immediate,
    }
}

// Codes, by class, size and mode.
const LOAD_WORD: u8 = 0x61;
const LOAD_HALF: u8 = 0x69;
const LOAD_BYTE: u8 = 0x71;
const STORE_WORD: u8 = 0x63;
const STORE_HALF: u8 = 0x6b;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const ADD_NUMBER: u8 = 0x07;
const JUMP_GREATER: u8 = 0x2d;
const JUMP_UNEQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

const XDP_PASS: i32 = 2;
const XDP_TX: i32 = 3;

fn passing() -> Vec<Instruction> {
    vec![
        instruction(MOVE_NUMBER, 0, 0, 0, XDP_PASS),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

fn reflecting() -> Vec<Instruction> {
    // Context in register 1: where the frame starts and ends.
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(LOAD_WORD, 3, 1, 4, 0),
        instruction(MOVE, 4, 2, 0, 0),
        instruction(ADD_NUMBER, 4, 0, 0, 42),
    ];
    let mut checks = vec![program.len()];
    program.push(instruction(JUMP_GREATER, 4, 3, 0, 0));
    // Bytes 8 and 0 as this machine reads them, which has to be little-endian.
    program.push(instruction(LOAD_HALF, 5, 2, 12, 0));
    checks.push(program.len());
    program.push(instruction(JUMP_UNEQUAL, 5, 0, 0, 8));
    program.push(instruction(LOAD_BYTE, 5, 2, 23, 0));
    checks.push(program.len());
    program.push(instruction(JUMP_UNEQUAL, 5, 0, 0, 17));
    // Hardware addresses (a word and a half each), addresses, ports.
    for (load, store, one, other) in [
        (LOAD_WORD, STORE_WORD, 0, 6),
        (LOAD_HALF, STORE_HALF, 4, 10),
        (LOAD_WORD, STORE_WORD, 26, 30),
        (LOAD_HALF, STORE_HALF, 34, 36),
    ] {
        program.push(instruction(load, 5, 2, one, 0));
        program.push(instruction(load, 6, 2, other, 0));
        program.push(instruction(store, 2, 6, one, 0));
        program.push(instruction(store, 2, 5, other, 0));
    }
    program.push(instruction(MOVE_NUMBER, 0, 0, 0, XDP_TX));
    program.push(instruction(EXIT, 0, 0, 0, 0));
    let pass = program.len();
    program.extend(passing());
    for check in checks {
        program[check].offset = (pass - check - 1) as i16;
    }
    program
}

/// What `bpf(2)` takes, by the kernel's layout: only what is used here.
#[repr(C, align(8))]
struct Attributes([u8; 128]);

impl Attributes {
    fn new() -> Attributes {
        Attributes([0; 128])
    }

    fn word(mut self, at: usize, value: u32) -> Attributes {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn pointer<T>(mut self, at: usize, value: *const T) -> Attributes {
        self.0[at..at + 8].copy_from_slice(&(value as u64).to_ne_bytes());
        self
    }
}

const PROGRAM_LOAD: i32 = 5;
const LINK_CREATE: i32 = 28;
const PROGRAM_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// In the driver, not behind it: `XDP_FLAGS_DRV_MODE`.
const IN_DRIVER: u32 = 1 << 2;

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = Attributes::new()
        .word(0, PROGRAM_TYPE_XDP)
        .word(4, program.len() as u32)
        .pointer(8, program.as_ptr())
        .pointer(16, c"GPL".as_ptr())
        .word(68, ATTACH_XDP);
    bpf(PROGRAM_LOAD, &attributes)
}

/// The program runs as long as this is open.
fn attach(program: &OwnedFd, index: u32) -> io::Result<OwnedFd> {
    let attributes = Attributes::new()
        .word(0, program.as_raw_fd() as u32)
        .word(4, index)
        .word(8, ATTACH_XDP)
        .word(12, IN_DRIVER);
    bpf(LINK_CREATE, &attributes)
}

fn bpf(command: i32, attributes: &Attributes) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are live and as long as said, and so is what they
    // point at, until the call is over.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.0.as_ptr(),
            attributes.0.len(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands open a file that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
