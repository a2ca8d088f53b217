//! Vectors of an instruction set, and how a loop is compiled once for each of them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

use crate::Bf16;

/// The f32 vectors of one instruction set.
///
/// Generic code over this trait is `#[inline(always)]` all the way up to a function with the instruction
/// set's `target_feature`s; only there do the intrinsics become instructions.
///
/// # Safety
/// Every function requires that the machine has the instruction set. The pointers of `load` and `store` are
/// valid for [`Simd::LANES`] values, those of the functions that take `n` for `n <= LANES`, those of pairs as each
/// says; none needs an alignment. `prefetch` takes any pointer.
pub(crate) trait Simd {
    /// A vector of [`Simd::LANES`] values.
    type V: Copy;
    const LANES: usize;

    unsafe fn splat(value: f32) -> Self::V;
    unsafe fn load(at: *const f32) -> Self::V;
    unsafe fn store(at: *mut f32, v: Self::V);
    /// Lanes from `n` on are zero.
    unsafe fn load_partial(at: *const f32, n: usize) -> Self::V;
    unsafe fn store_partial(at: *mut f32, v: Self::V, n: usize);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, in one rounding where the machine can.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Negative lanes become zero, NaN stays.
    unsafe fn relu(v: Self::V) -> Self::V;
    /// Lanes from `n` on are zero.
    unsafe fn load_bf16(at: *const Bf16, n: usize) -> Self::V;
    /// Stores the bf16 values nearest to the first `n` lanes, as [`Element::from_f32`](crate::Element::from_f32)
    /// does; returns what is stored now.
    unsafe fn store_bf16(at: *mut Bf16, v: Self::V, n: usize) -> Self::V;
    /// The odd or the even ones of `2 * LANES` values.
    unsafe fn load_half<const ODD: bool>(at: *const Bf16) -> Self::V;
    /// The second or the first of two values in all lanes.
    unsafe fn splat_half<const ODD: bool>(at: *const Bf16) -> Self::V;
    /// Starts to bring the value's cache line near, where the machine can be told.
    #[inline(always)]
    unsafe fn prefetch(_at: *const f32) {}
}

/// Compiles a function once for each instruction set; the one defined takes the [`Isa`](crate::Isa) to use
/// first, which must not exceed what the machine has. For safe loops that the compiler vectorises by
/// itself. Functions of ours that the loop calls are `#[inline(always)]`, and it has no closures: compiled by
/// themselves they would not have the instruction set.
macro_rules! multiversion {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$($generic:ident: $bound:path),+>)? ($($arg:ident: $ty:ty),* $(,)?) $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name $(<$($generic: $bound),+>)? (isa: $crate::Isa, $($arg: $ty),*) {
            #[inline(always)]
            fn body $(<$($generic: $bound),+>)? ($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2 $(<$($generic: $bound),+>)? ($($arg: $ty),*) {
                body $(::<$($generic),+>)? ($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
            fn avx512 $(<$($generic: $bound),+>)? ($($arg: $ty),*) {
                body $(::<$($generic),+>)? ($($arg),*);
            }
            match isa.vectors() {
                // SAFETY: the machine has what `isa` says.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx512 => unsafe { avx512 $(::<$($generic),+>)? ($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx2 => unsafe { avx2 $(::<$($generic),+>)? ($($arg),*) },
                _ => body $(::<$($generic),+>)? ($($arg),*),
            }
        }
    };
}
pub(crate) use multiversion;

/// Compiles an unsafe function that is generic over an instruction set (and perhaps more, behind a semicolon) once for each
/// of them; the one defined takes the [`Isa`](crate::Isa) to use first, which must not exceed what the machine has.
macro_rules! per_isa {
    (
        $(#[$meta:meta])*
        $vis:vis unsafe fn $name:ident<$s:ident: $bound:path $(; $($generic:ident: $also:path),+)?>
        ($($arg:ident: $ty:ty),* $(,)?) $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "one more than the body has")]
        $vis unsafe fn $name $(<$($generic: $also),+>)? (isa: $crate::Isa, $($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            unsafe fn body<$s: $bound $(, $($generic: $also),+)?>($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            unsafe fn avx2 $(<$($generic: $also),+>)? ($($arg: $ty),*) {
                // SAFETY: the caller's promise is the same.
                unsafe { body::<$crate::simd::Avx2 $(, $($generic),+)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            unsafe fn avx512 $(<$($generic: $also),+>)? ($($arg: $ty),*) {
                // SAFETY: the caller's promise is the same.
                unsafe { body::<$crate::simd::Avx512 $(, $($generic),+)?>($($arg),*) }
            }
            // SAFETY: the machine has what `isa` says; the rest is the caller's promise.
            unsafe {
                match isa.vectors() {
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx512 => avx512 $(::<$($generic),+>)? ($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::Isa::Avx2 => avx2 $(::<$($generic),+>)? ($($arg),*),
                    _ => body::<$crate::simd::Portable $(, $($generic),+)?>($($arg),*),
                }
            }
        }
    };
}
pub(crate) use per_isa;
