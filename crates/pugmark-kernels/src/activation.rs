//! Smooth activations: GELU, SiLU and the logistic function.
//!
//! The Gaussian error linear unit (arXiv 1606.08415) is here in its exact form: `x` times the share of a standard normal
//! below `x`. With `a = |x|` and `tail(a)` the share above `a`, `gelu(x) = max(x, 0) - a tail(a)`: nothing cancels. The tail is
//! `exp(-a^2 / 2)` times a smooth function of `a` (the error function's scaled complement), here a polynomial in
//! `1 / (1 + 0.3 a)` fitted to 5e-8 of it. Value and slope are within 4e-7 of the truth, and the value within 3e-6 of
//! itself above -5; in bf16 the tail is a coarser polynomial's exponential. The other two are made of the same exponential
//! and err no more.

use crate::Isa;
use crate::element::Element;
use crate::elementwise::relu;
use crate::parallel::{for_each_row, row, write_rows};
use crate::plane::{Plane, check, check_interior};
use crate::simd::multiversion;

/// Beyond it the tail is 0 in f32 but for denormal numbers.
const FAR: f32 = 13.0;

/// The tail of the standard normal above `a` and its density at `a`, for `a` in [0, [`FAR`]].
#[inline(always)]
fn normal(a: f32) -> (f32, f32) {
    let t = 1.0 / (1.0 + 0.3 * a);
    let ratio = 0.037_124_673 * t - 0.162_962;
    let ratio = ratio * t + 0.215_573_57;
    let ratio = ratio * t - 0.061_170_515;
    let ratio = ratio * t + 0.131_636_52;
    let ratio = ratio * t + 0.099_484_353;
    let ratio = ratio * t + 0.120_642_56;
    let ratio = ratio * t + 0.119_675_32;
    let ratio = ratio * t - 4.459_652e-6;
    let bell = exp2(a * a * (-0.5 * std::f32::consts::LOG2_E));
    (ratio * bell, bell * 0.398_942_3)
}

/// 2 to the power of `z`, for `z` in [-125, 0]: a polynomial for the fraction (to 2e-9), the exponent's bits for the rest.
#[inline(always)]
fn exp2(z: f32) -> f32 {
    // Adding it rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = z + ROUND;
    let f = z - (shifted - ROUND);
    let power = 1.534_581_1e-4 * f + 1.339_993_1e-3;
    let power = power * f + 9.618_489e-3;
    let power = power * f + 5.550_328_8e-2;
    let power = power * f + 2.402_264_7e-1;
    let power = power * f + 6.931_472e-1;
    let power = power * f + 1.0;
    f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// A polynomial of even degree, the highest coefficient first: its even and its odd powers by themselves, half the wait.
#[inline(always)]
fn polynomial<const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let square = x * x;
    let (mut even, mut odd) = (coefficients[0], coefficients[1]);
    for pair in coefficients[2..].chunks(2) {
        even = even * square + pair[0];
        if let [_, next] = pair {
            odd = odd * square + *next;
        }
    }
    odd * x + even
}

/// As [`exp2`], for `z` in [-127, 0] and within 3e-6 of itself; below -126 it is less than 2^-126 and no more is promised.
#[inline(always)]
fn exp2_for_bf16(z: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let shifted = z + ROUND;
    let f = z - (shifted - ROUND);
    let power = polynomial([9.570_1e-3, 5.591_786e-2, 0.240_247_45, 0.693_121_8, 0.999_999_3], f);
    f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// The tail of the standard normal above `a`, for `a` in [0, [`FAR`]]: 2 to the power of a polynomial fitted to its logarithm.
/// It is within 8e-5 of itself below 5 and 3e-4 further out, a seventh of what rounding to bf16 changes, and divides nothing.
#[inline(always)]
fn tail_for_bf16(a: f32) -> f32 {
    let log2 = polynomial(
        [
            3.220_331_9e-8,
            -1.982_975_2e-6,
            5.263_323_2e-5,
            -7.966_367e-4,
            7.721_976e-3,
            -5.174_130_4e-2,
            -0.461_366_6,
            -1.149_841_9,
            -1.000_109_5,
        ],
        a,
    );
    exp2_for_bf16(log2)
}

/// A function of one value, and its slope; NaN stays NaN. What is rounded to bf16 may be some ten-thousandths off.
trait Curve: Send + Sync + 'static {
    fn value(x: f32) -> f32;
    fn slope(x: f32) -> f32;

    #[inline(always)]
    fn value_for_bf16(x: f32) -> f32 {
        Self::value(x)
    }

    #[inline(always)]
    fn slope_for_bf16(x: f32) -> f32 {
        Self::slope(x)
    }
}

#[inline(always)]
fn value<C: Curve, E: Element>(x: E) -> f32 {
    if size_of::<E>() == 2 { C::value_for_bf16(x.to_f32()) } else { C::value(x.to_f32()) }
}

#[inline(always)]
fn slope<C: Curve, E: Element>(x: E) -> f32 {
    if size_of::<E>() == 2 { C::slope_for_bf16(x.to_f32()) } else { C::slope(x.to_f32()) }
}

struct Gelu;

impl Curve for Gelu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        let a = x.abs().min(FAR);
        relu(x) - a * normal(a).0
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let a = x.abs().min(FAR);
        let (tail, density) = normal(a);
        let below = tail - a * density;
        if x > 0.0 { 1.0 - below } else { below }
    }

    #[inline(always)]
    fn value_for_bf16(x: f32) -> f32 {
        let a = x.abs().min(FAR);
        relu(x) - a * tail_for_bf16(a)
    }

    #[inline(always)]
    fn slope_for_bf16(x: f32) -> f32 {
        let a = x.abs().min(FAR);
        let density = 0.398_942_3 * exp2_for_bf16(a * a * (-0.5 * std::f32::consts::LOG2_E));
        let below = tail_for_bf16(a) - a * density;
        if x > 0.0 { 1.0 - below } else { below }
    }
}

/// The logistic function of `-|x|`: the smaller of its values at `x` and `-x`, which add up to 1.
#[inline(always)]
fn smaller(x: f32) -> f32 {
    // Beyond, it is 0 in f32 but for denormal numbers.
    let e = exp2(x.abs().min(86.0) * -std::f32::consts::LOG2_E);
    e / (1.0 + e)
}

struct Sigmoid;

impl Curve for Sigmoid {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        let small = smaller(x);
        let value = if x < 0.0 { small } else { 1.0 - small };
        if x.is_nan() { x } else { value }
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let small = smaller(x);
        small * (1.0 - small)
    }
}

struct Silu;

impl Curve for Silu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * Sigmoid::value(x)
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        Sigmoid::value(x) + x * Sigmoid::slope(x)
    }
}

multiversion! {
    fn value_row<C: Curve, E: Element>(x: &[E], y: &mut [E]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = E::from_f32(value::<C, E>(x));
        }
    }
}

multiversion! {
    fn slope_row<C: Curve, E: Element>(dy: &[E], x: &[E], dx: &mut [E]) {
        for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = E::from_f32(dy.to_f32() * slope::<C, E>(x));
        }
    }
}

multiversion! {
    fn slope_accumulate_row<C: Curve, E: Element>(dy: &[E], x: &[E], dx: &mut [E]) {
        for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = E::from_f32(dx.to_f32() + dy.to_f32() * slope::<C, E>(x));
        }
    }
}

fn forward<C: Curve, E: Element>(images: usize, x: &[E], xp: Plane, y: &mut [E], yp: Plane) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_interior("x", &xp, &yp);
    let isa = Isa::active();
    write_rows(y, yp, |image, r, y| value_row::<C, E>(isa, row(x, &xp, image, r), y));
}

#[expect(clippy::too_many_arguments, reason = "three tensors with their planes")]
fn backward<C: Curve, E: Element>(
    images: usize,
    dy: &[E],
    dyp: Plane,
    x: &[E],
    xp: Plane,
    dx: &mut [E],
    dxp: Plane,
    accumulate: bool,
) {
    check("dy", dy.len(), images, &dyp);
    check("x", x.len(), images, &xp);
    check("dx", dx.len(), images, &dxp);
    check_interior("dy", &dyp, &dxp);
    check_interior("x", &xp, &dxp);
    let isa = Isa::active();
    if accumulate {
        for_each_row(dx, dxp, |image, r, dx| {
            slope_accumulate_row::<C, E>(isa, row(dy, &dyp, image, r), row(x, &xp, image, r), dx);
        });
    } else {
        write_rows(dx, dxp, |image, r, dx| {
            slope_row::<C, E>(isa, row(dy, &dyp, image, r), row(x, &xp, image, r), dx);
        });
    }
}

/// `y :=` GELU of `x`; NaN stays. Writes `y`'s border too.
pub fn gelu_forward<E: Element>(images: usize, x: &[E], xp: Plane, y: &mut [E], yp: Plane) {
    forward::<Gelu, E>(images, x, xp, y, yp);
}

/// `dx :=` (or `+=` when `accumulate`) `dy` times the slope of GELU at the input `x`; the border of `dx` is zeroed when
/// not accumulating and stays otherwise.
#[expect(clippy::too_many_arguments, reason = "three tensors with their planes")]
pub fn gelu_backward<E: Element>(
    images: usize,
    dy: &[E],
    dyp: Plane,
    x: &[E],
    xp: Plane,
    dx: &mut [E],
    dxp: Plane,
    accumulate: bool,
) {
    backward::<Gelu, E>(images, dy, dyp, x, xp, dx, dxp, accumulate);
}

/// `y :=` `x / (1 + exp(-x))` of `x`; NaN stays. Writes `y`'s border too.
pub fn silu_forward<E: Element>(images: usize, x: &[E], xp: Plane, y: &mut [E], yp: Plane) {
    forward::<Silu, E>(images, x, xp, y, yp);
}

/// `dx :=` (or `+=` when `accumulate`) `dy` times the slope of `x / (1 + exp(-x))` at the input `x`; the border of `dx` is zeroed when
/// not accumulating and stays otherwise.
#[expect(clippy::too_many_arguments, reason = "three tensors with their planes")]
pub fn silu_backward<E: Element>(
    images: usize,
    dy: &[E],
    dyp: Plane,
    x: &[E],
    xp: Plane,
    dx: &mut [E],
    dxp: Plane,
    accumulate: bool,
) {
    backward::<Silu, E>(images, dy, dyp, x, xp, dx, dxp, accumulate);
}

/// `y :=` `1 / (1 + exp(-x))` of `x`; NaN stays. Writes `y`'s border too.
pub fn sigmoid_forward<E: Element>(images: usize, x: &[E], xp: Plane, y: &mut [E], yp: Plane) {
    forward::<Sigmoid, E>(images, x, xp, y, yp);
}

/// `dx :=` (or `+=` when `accumulate`) `dy` times the slope of `1 / (1 + exp(-x))` at the input `x`; the border of `dx` is zeroed when
/// not accumulating and stays otherwise.
#[expect(clippy::too_many_arguments, reason = "three tensors with their planes")]
pub fn sigmoid_backward<E: Element>(
    images: usize,
    dy: &[E],
    dyp: Plane,
    x: &[E],
    xp: Plane,
    dx: &mut [E],
    dxp: Plane,
    accumulate: bool,
) {
    backward::<Sigmoid, E>(images, dy, dyp, x, xp, dx, dxp, accumulate);
}
