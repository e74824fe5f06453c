//! The tile registers of AMX: permission, configuration, and the sum of one block of C, in assembly
//! because the intrinsics are not stable.
//!
//! ```text
//!            B:  tmm6    tmm7
//! A:  tmm4       tmm0    tmm1
//!     tmm5       tmm2    tmm3
//! ```
//!
//! A tile of A is up to 16 rows of 16 units (two bf16 each, `pack.rs`), one of B 16 units of 16
//! columns, one of sums up to 16 rows of 16 columns. `tdpbf16ps` adds the products of the first
//! halves of 16 units in their order, those of the second halves, and both to the sum: bits depend
//! on where k is cut, which is at multiples of [`UNITS`] and nowhere else. It rounds to nearest
//! even and takes denormals as zero.

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::marker::PhantomData;

/// Rows of a tile.
pub const ROWS: usize = 16;
/// Units of a tile.
pub const UNITS: usize = 16;
/// Bytes of a row of any tile.
pub const ROW_BYTES: usize = 64;

/// Whether this CPU multiplies tiles of bf16 and the kernel lets this process do it.
pub fn are_here() -> bool {
    // AMX-BF16 and AMX-TILE in EDX of leaf 7; their two states in XCR0.
    const FEATURES: u32 = 1 << 22 | 1 << 24;
    const STATES: u64 = 1 << 17 | 1 << 18;
    is_x86_feature_detected!("avx512f") && {
        // SAFETY: a CPU with AVX-512 in use has leaf 7 and XSAVE. (Newer compilers know the first.)
        #[allow(unused_unsafe)]
        let (features, states) = unsafe { (__cpuid_count(7, 0).edx, enabled_states()) };
        features & FEATURES == FEATURES && states & STATES == STATES && permitted()
    }
}

/// # Safety
/// The kernel uses XSAVE.
#[target_feature(enable = "xsave")]
unsafe fn enabled_states() -> u64 {
    // SAFETY: by contract.
    unsafe { _xgetbv(0) }
}

/// Ask Linux for the tiles of all threads of this process; without, the first use is a signal.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XTILEDATA: usize = 18;
    let status: isize;
    // SAFETY: the call reads and writes no memory of this process; `syscall` changes rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => status,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    status == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// This thread's tiles. Dropping it releases them: a thread that keeps tiles in use costs the
/// kernel 8 KiB at each switch.
pub struct Tiles {
    rows: usize,
    this_thread: PhantomData<*const ()>,
}

impl Tiles {
    /// # Safety
    /// `are_here`.
    pub unsafe fn new() -> Self {
        Self { rows: 0, this_thread: PhantomData }
    }

    /// Make A and the sums `rows` rows high, at most two tiles.
    pub fn set_rows(&mut self, rows: usize) {
        assert!((1..=2 * ROWS).contains(&rows), "{rows} rows in two tiles of {ROWS}");
        if rows == self.rows {
            return;
        }
        self.rows = rows;
        let (upper, lower) = (rows.min(ROWS) as u8, rows.saturating_sub(ROWS) as u8);
        let mut config = Config {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        let heights = [upper, upper, lower, lower, upper, lower, UNITS as u8, UNITS as u8];
        for (tile, height) in heights.into_iter().enumerate().filter(|&(_, height)| height > 0) {
            (config.rows[tile], config.row_bytes[tile]) = (height, ROW_BYTES as u16);
        }
        // SAFETY: `new` promised the instruction; the shapes are within those of palette 1.
        unsafe {
            asm!("ldtilecfg [{config}]", config = in(reg) &config, options(nostack, readonly));
        }
    }

    /// sums = A B, for A as high as `set_rows` said and B of `16 V` columns.
    ///
    /// # Safety
    /// `R` is the number of tiles that these rows need, 1 or 2, and `V` 1 or 2. The pointers of `x`
    /// are good for what they say, `sums` for as many rows of `16 V` words.
    pub unsafe fn multiply<const R: usize, const V: usize>(&self, x: &Operands, sums: *mut f32) {
        // SAFETY: by contract; tiles hold nothing between two calls.
        unsafe {
            asm!(
                "tilezero tmm0",
                ".if {V} > 1",
                "tilezero tmm1",
                ".endif",
                ".if {R} > 1",
                "tilezero tmm2",
                ".if {V} > 1",
                "tilezero tmm3",
                ".endif",
                ".endif",
                "test {blocks}, {blocks}",
                "jz 3f",
                "2:",
                "tileloadd tmm4, [{a} + 1*{a_row_bytes}]",
                "tileloadd tmm6, [{b} + 1*{b_row_bytes}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                ".if {V} > 1",
                "tileloadd tmm7, [{b} + 1*{b_row_bytes} + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                ".endif",
                ".if {R} > 1",
                "tileloadd tmm5, [{lower} + 1*{a_row_bytes}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                ".if {V} > 1",
                "tdpbf16ps tmm3, tmm5, tmm7",
                ".endif",
                ".endif",
                "add {a}, 64",
                "add {lower}, 64",
                "add {b}, {b_block_bytes}",
                "dec {blocks}",
                "jnz 2b",
                // The rest of k is one more block, once.
                "3:",
                "test {rest_a}, {rest_a}",
                "jz 4f",
                "mov {a}, {rest_a}",
                "lea {lower}, [{rest_a} + 1024]",
                "mov {a_row_bytes}, 64",
                "mov {b}, {rest_b}",
                "mov {blocks}, 1",
                "xor {rest_a:e}, {rest_a:e}",
                "jmp 2b",
                "4:",
                "tilestored [{sums} + 1*{b_row_bytes}], tmm0",
                ".if {V} > 1",
                "tilestored [{sums} + 1*{b_row_bytes} + 64], tmm1",
                ".endif",
                ".if {R} > 1",
                "tilestored [{lower_sums} + 1*{b_row_bytes}], tmm2",
                ".if {V} > 1",
                "tilestored [{lower_sums} + 1*{b_row_bytes} + 64], tmm3",
                ".endif",
                ".endif",
                R = const R,
                V = const V,
                b_block_bytes = const V * ROW_BYTES * UNITS,
                a = inout(reg) x.a => _,
                lower = inout(reg) x.a.wrapping_add(ROWS * x.a_row_bytes) => _,
                a_row_bytes = inout(reg) x.a_row_bytes => _,
                b = inout(reg) x.b => _,
                // Of the sums, too.
                b_row_bytes = in(reg) V * ROW_BYTES,
                blocks = inout(reg) x.blocks => _,
                rest_a = inout(reg) x.rest_a => _,
                rest_b = in(reg) x.rest_b,
                sums = in(reg) sums,
                lower_sums = in(reg) sums.wrapping_add(ROWS * V * ROW_BYTES / 4),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: `new` promised the instruction.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// What [`Tiles::multiply`] reads.
pub struct Operands {
    /// Rows of A, `a_row_bytes` apart, and `blocks` tiles of 64 bytes in each.
    pub a: *const u8,
    pub a_row_bytes: usize,
    /// A packed panel of B with as many blocks of [`UNITS`].
    pub b: *const u32,
    pub blocks: usize,
    /// The rest of k, filled up with zeros: rows of A, 64 bytes apart, and a block of B. Or null.
    pub rest_a: *const u8,
    pub rest_b: *const u32,
}
