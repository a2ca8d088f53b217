//! Optimiser updates.

use rayon::prelude::*;

use crate::Isa;
use crate::parallel::GRAIN;
use crate::plane::check_len;
use crate::simd::multiversion;

/// AdamW's settings, as `torch.optim.AdamW`'s.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean of the gradient.
    pub beta1: f32,
    /// Decay of the mean of its square.
    pub beta2: f32,
    /// Added to the denominator.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

/// One step of AdamW (Loshchilov and Hutter, 2019) on parameters `p` with gradient `g` and moments `m`, `v`.
///
/// `step` counts from 1; the bias corrections are computed in f64.
pub fn adamw_step(o: &AdamW, step: u64, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    check_len("g", g.len(), p.len());
    check_len("m", m.len(), p.len());
    check_len("v", v.len(), p.len());
    let correction = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
    let decay = (1.0 - f64::from(o.lr) * f64::from(o.weight_decay)) as f32;
    let step_size = (f64::from(o.lr) / correction(o.beta1)) as f32;
    let denominator = correction(o.beta2).sqrt() as f32;
    let isa = Isa::active();
    let chunks = p
        .par_chunks_mut(GRAIN)
        .zip(g.par_chunks(GRAIN))
        .zip(m.par_chunks_mut(GRAIN))
        .zip(v.par_chunks_mut(GRAIN));
    chunks.for_each(|(((p, g), m), v)| adamw_chunk(isa, o, decay, step_size, denominator, p, g, m, v));
}

multiversion! {
    #[expect(clippy::too_many_arguments, reason = "four tensors and the step's constants")]
    fn adamw_chunk(
        o: &AdamW,
        decay: f32,
        step_size: f32,
        denominator: f32,
        p: &mut [f32],
        g: &[f32],
        m: &mut [f32],
        v: &mut [f32],
    ) {
        for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            *m += (g - *m) * (1.0 - o.beta1);
            *v = *v * o.beta2 + g * g * (1.0 - o.beta2);
            *p = *p * decay - step_size * *m / (v.sqrt() / denominator + o.eps);
        }
    }
}

/// The settings of SGD, as `torch.optim.SGD`'s, without dampening.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the momentum buffer; 0 for none.
    pub momentum: f32,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f32,
    /// Nesterov's form of momentum.
    pub nesterov: bool,
}

/// One step of SGD on parameters `p` with gradient `g` and momentum buffer `buf` (set, not read, in the
/// `first` step).
pub fn sgd_step(o: &Sgd, first: bool, p: &mut [f32], g: &[f32], buf: &mut [f32]) {
    check_len("g", g.len(), p.len());
    check_len("buf", buf.len(), p.len());
    let isa = Isa::active();
    let chunks = p.par_chunks_mut(GRAIN).zip(g.par_chunks(GRAIN)).zip(buf.par_chunks_mut(GRAIN));
    chunks.for_each(|((p, g), buf)| sgd_chunk(isa, o, first, p, g, buf));
}

multiversion! {
    fn sgd_chunk(o: &Sgd, first: bool, p: &mut [f32], g: &[f32], buf: &mut [f32]) {
        for ((p, &g), buf) in p.iter_mut().zip(g).zip(buf) {
            let g = g + o.weight_decay * *p;
            *buf = if first { g } else { o.momentum * *buf + g };
            let step = if o.nesterov { g + o.momentum * *buf } else { *buf };
            *p -= o.lr * step;
        }
    }
}
