//! A factor for each channel of each image: what squeeze and excitation ends with.

use crate::Isa;
use crate::element::Element;
use crate::parallel::{for_each_chunk, row, write_rows};
use crate::plane::{Plane, check, check_interior, check_len};
use crate::simd::multiversion;

multiversion! {
    fn gate_row<E: Element>(x: &[E], gate: &[E], y: &mut [E]) {
        for (x, y) in x.chunks_exact(gate.len()).zip(y.chunks_exact_mut(gate.len())) {
            for ((y, &x), &gate) in y.iter_mut().zip(x).zip(gate) {
                *y = E::from_f32(x.to_f32() * gate.to_f32());
            }
        }
    }
}

multiversion! {
    fn product_row<E: Element>(dy: &[E], x: &[E], sums: &mut [f32]) {
        for (dy, x) in dy.chunks_exact(sums.len()).zip(x.chunks_exact(sums.len())) {
            for ((sum, &dy), &x) in sums.iter_mut().zip(dy).zip(x) {
                *sum += dy.to_f32() * x.to_f32();
            }
        }
    }
}

/// `y := x * gate[image][channel]`; writes `y`'s border too. The gradient of `x` is the same call on that of `y`.
pub fn gate_forward<E: Element>(images: usize, x: &[E], xp: Plane, gate: &[E], y: &mut [E], yp: Plane) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_interior("x", &xp, &yp);
    check_len("gate", gate.len(), images * yp.channels);
    if yp.channels == 0 {
        return;
    }
    let isa = Isa::active();
    write_rows(y, yp, |image, r, y| {
        gate_row(isa, row(x, &xp, image, r), &gate[image * yp.channels..][..yp.channels], y);
    });
}

/// `dgate[image][channel] :=` the sum of `dy * x` over the image's pixels.
pub fn gate_backward<E: Element>(images: usize, dy: &[E], dyp: Plane, x: &[E], xp: Plane, dgate: &mut [E]) {
    check("dy", dy.len(), images, &dyp);
    check("x", x.len(), images, &xp);
    check_interior("dy", &dyp, &xp);
    check_len("dgate", dgate.len(), images * xp.channels);
    let isa = Isa::active();
    for_each_chunk(dgate, xp.channels.max(1), |image, dgate| {
        let mut total = vec![0f64; xp.channels];
        let mut sums = vec![0f32; xp.channels];
        for r in 0..xp.height {
            sums.fill(0.0);
            product_row(isa, row(dy, &dyp, image, r), row(x, &xp, image, r), &mut sums);
            for (total, &sum) in total.iter_mut().zip(&sums) {
                *total += f64::from(sum);
            }
        }
        for (dgate, total) in dgate.iter_mut().zip(total) {
            *dgate = E::from_f32(total as f32);
        }
    });
}
