//! Whether AMX may be used: the processor has it, the kernel saves its registers, and grants them.

/// Tile registers and their products of bf16, for every thread of this process.
pub(super) fn available() -> bool {
    cfg!(target_os = "linux") && has_instructions() && saves_registers() && granted()
}

fn has_instructions() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & (BF16 | TILE) == BF16 | TILE
}

/// XCR0 names the registers that the kernel saves when it switches threads.
fn saves_registers() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILE_CONFIG: u32 = 1 << 17;
    const TILE_DATA: u32 = 1 << 18;
    if std::arch::x86_64::__cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let low: u32;
    // SAFETY: the processor has the instruction, as OSXSAVE says; it reads a register alone.
    unsafe {
        std::arch::asm!(
            "xgetbv",
            in("ecx") 0, out("eax") low, out("edx") _,
            options(nomem, nostack, preserves_flags)
        );
    }
    low & (TILE_CONFIG | TILE_DATA) == TILE_CONFIG | TILE_DATA
}

/// Asks the kernel for the registers: a process that has not asked is killed when it touches them.
#[cfg(target_os = "linux")]
fn granted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const REQUEST_PERMISSION: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let result: isize;
    // SAFETY: the call grants registers to this process and touches no memory.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA,
            lateout("rcx") _, lateout("r11") _,
            options(nomem, nostack)
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn granted() -> bool {
    false
}
