//! Smooth activations: GELU, SiLU and the logistic function.
//!
//! The Gaussian error linear unit (arXiv 1606.08415) is here in its exact form: `x` times the share of a standard normal
//! below `x`. With `a = |x|` and `tail(a)` the share above `a`, `gelu(x) = max(x, 0) - a tail(a)`: nothing cancels. The tail is
//! `exp(-a^2 / 2)` times a smooth function of `a` (the error function's scaled complement), here a polynomial in
//! `1 / (1 + 0.3 a)` fitted to 5e-8 of it. Value and slope are within 4e-7 of the truth, and the value within 3e-6 of
//! itself above -5. The other two are made of the same exponential and err no more.

use std::sync::LazyLock;

use crate::element::Element;
use crate::elementwise::relu;
use crate::parallel::{for_each_row, row, write_rows};
use crate::plane::{Plane, check, check_interior};
use crate::simd::multiversion;
use crate::{Bf16, Isa};

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

/// A function of one value, and its slope; NaN stays NaN.
trait Curve: Send + Sync + 'static {
    fn value(x: f32) -> f32;
    fn slope(x: f32) -> f32;
    /// A table that is made once.
    fn table() -> &'static LazyLock<Table>;
}

/// Rounded values and slopes of all bf16: the same bits as computed ones, sooner.
struct Table {
    values: Box<[u16; PLACES]>,
    slopes: Box<[f32; PLACES]>,
}

/// Values that a bf16 can have.
const PLACES: usize = 1 << 16;

impl Table {
    fn new<C: Curve>() -> Self {
        let mut table = Table { values: Box::new([0; PLACES]), slopes: Box::new([0.0; PLACES]) };
        for place in 0..=u16::MAX {
            let (x, place) = (Bf16::at_place(place).to_f32(), usize::from(place));
            table.values[place] = Bf16::from_f32(C::value(x)).place();
            table.slopes[place] = C::slope(x);
        }
        table
    }
}

macro_rules! table {
    ($curve:ty) => {
        fn table() -> &'static LazyLock<Table> {
            static TABLE: LazyLock<Table> = LazyLock::new(Table::new::<$curve>);
            &TABLE
        }
    };
}

struct Gelu;

impl Curve for Gelu {
    table!(Gelu);

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
    table!(Sigmoid);

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
    table!(Silu);

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
            *y = E::from_f32(C::value(x.to_f32()));
        }
    }
}

/// `out[i] := of` the table's entry for `x[i]`. Not compiled for each instruction set: their gathers are slower than loads on
/// many machines.
fn look_up<E: Element, T: Copy, O>(table: &[T; PLACES], x: &[E], out: &mut [O], of: impl Fn(T) -> O) {
    let entry = |x: E| of(table[usize::from(x.place())]);
    let ((x, last_x), (out, last_out)) = (x.as_chunks::<16>(), out.as_chunks_mut::<16>());
    for (out, x) in out.iter_mut().zip(x) {
        *out = x.map(entry);
    }
    for (out, &x) in last_out.iter_mut().zip(last_x) {
        *out = entry(x);
    }
}

/// Slopes that are looked up at a time.
const LOOKED_UP: usize = 1024;

multiversion! {
    fn product_row<E: Element>(dy: &[E], slopes: &[f32], dx: &mut [E]) {
        for ((dx, &dy), &slope) in dx.iter_mut().zip(dy).zip(slopes) {
            *dx = E::from_f32(dy.to_f32() * slope);
        }
    }
}

multiversion! {
    fn slope_row<C: Curve, E: Element>(dy: &[E], x: &[E], dx: &mut [E]) {
        for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = E::from_f32(dy.to_f32() * C::slope(x.to_f32()));
        }
    }
}

multiversion! {
    fn slope_accumulate_row<C: Curve, E: Element>(dy: &[E], x: &[E], dx: &mut [E]) {
        for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = E::from_f32(dx.to_f32() + dy.to_f32() * C::slope(x.to_f32()));
        }
    }
}

fn forward<C: Curve, E: Element>(images: usize, x: &[E], xp: Plane, y: &mut [E], yp: Plane) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_interior("x", &xp, &yp);
    let isa = Isa::active();
    if E::FEW {
        let values = &*C::table().values;
        write_rows(y, yp, |image, r, y| look_up(values, row(x, &xp, image, r), y, E::at_place));
    } else {
        write_rows(y, yp, |image, r, y| value_row::<C, E>(isa, row(x, &xp, image, r), y));
    }
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
    } else if E::FEW {
        let table = &*C::table().slopes;
        write_rows(dx, dxp, |image, r, dx| {
            let (dy, x) = (row(dy, &dyp, image, r), row(x, &xp, image, r));
            let mut slopes = [0.0; LOOKED_UP];
            let parts = dy.chunks(LOOKED_UP).zip(x.chunks(LOOKED_UP));
            for (dx, (dy, x)) in dx.chunks_mut(LOOKED_UP).zip(parts) {
                look_up(table, x, &mut slopes[..x.len()], |slope| slope);
                product_row(isa, dy, &slopes[..x.len()], dx);
            }
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
