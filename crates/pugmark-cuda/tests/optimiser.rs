//! What moves parameters, against the processor's. Sums are in double on both sides and the rest is the same formula value by
//! value, which compilers may contract: 1e-6 of the largest value.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use pugmark_cuda::{
    Emulator, GRANULE, Gpu, Moved, Rates, adamw_step, clip_adaptive, clip_values, move_average, scale_values,
    sgd_step, sum_of_squares,
};
use pugmark_kernels as kernels;

fn gpu() -> Gpu {
    if !Emulator::is_possible() {
        // None of these tests can say anything.
        std::process::exit(0);
    }
    Gpu(Arc::new(Emulator::new().unwrap()))
}

fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

#[track_caller]
fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-6_f32, |most, v| most.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= 1e-6 * scale, "[{i}]: {f} against {e}");
    }
}

/// Two parameters, of two granules and of one, with rates and pasts of their own.
struct Case {
    lens: [usize; 2],
    lr: [f32; 2],
    weight_decay: [f32; 2],
    steps: [u64; 2],
}

const CASE: Case =
    Case { lens: [2 * GRANULE, GRANULE], lr: [0.1, 0.03], weight_decay: [0.01, 0.0], steps: [1, 7] };
const LEN: usize = 3 * GRANULE;
const OWNER: [u32; 3] = [0, 0, 1];

impl Case {
    fn parts(&self) -> [std::ops::Range<usize>; 2] {
        [0..self.lens[0], self.lens[0]..LEN]
    }
}

#[test]
fn adamw_moves_each_parameter_at_its_own_rates() {
    let gpu = gpu();
    let [values, gradients, m, v] = [1, 2, 3, 4].map(|seed| noise(LEN, seed));
    let v: Vec<f32> = v.iter().map(|v| v * v).collect();
    let rates = |i: usize| -> Rates {
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(CASE.steps[i] as f64);
        let (lr, decay) = (f64::from(CASE.lr[i]), f64::from(CASE.weight_decay[i]));
        [(1.0 - lr * decay) as f32, (lr / correction(0.9)) as f32, correction(0.999).sqrt() as f32]
    };
    let (own_values, own_m, own_v) = (gpu.put(&values).unwrap(), gpu.put(&m).unwrap(), gpu.put(&v).unwrap());
    let (owner, own_rates) = (gpu.put(&OWNER).unwrap(), gpu.put(&[rates(0), rates(1)].concat()).unwrap());
    let own_gradients = gpu.put(&gradients).unwrap();
    let moved = Moved {
        owner: owner.all(),
        rates: own_rates.all(),
        values: own_values.all(),
        gradients: own_gradients.all(),
    };
    adamw_step(&moved, (0.9, 0.999), 1e-8, own_m.all(), own_v.all()).unwrap();
    let (mut p, mut m, mut v) = (values, m, v);
    for (i, part) in CASE.parts().into_iter().enumerate() {
        let (lr, weight_decay) = (CASE.lr[i], CASE.weight_decay[i]);
        let adamw = kernels::AdamW { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay };
        let (m, v) = (&mut m[part.clone()], &mut v[part.clone()]);
        kernels::adamw_step(&adamw, CASE.steps[i], &mut p[part.clone()], &gradients[part], m, v);
    }
    for (own, expected) in [(&own_values, p), (&own_m, m), (&own_v, v)] {
        close(&own.all().read::<f32>().unwrap(), &expected);
    }
}

#[test]
fn sgd_moves_each_parameter_at_its_own_rates() {
    for nesterov in [false, true] {
        let gpu = gpu();
        let [values, gradients, buffer] = [1, 2, 3].map(|seed| noise(LEN, seed));
        let rates = |i: usize| -> Rates {
            [CASE.lr[i], CASE.weight_decay[i], f32::from(u8::from(CASE.steps[i] == 1))]
        };
        let (own_values, own_buffer) = (gpu.put(&values).unwrap(), gpu.put(&buffer).unwrap());
        let (owner, own_rates) = (gpu.put(&OWNER).unwrap(), gpu.put(&[rates(0), rates(1)].concat()).unwrap());
        let own_gradients = gpu.put(&gradients).unwrap();
        let moved = Moved {
            owner: owner.all(),
            rates: own_rates.all(),
            values: own_values.all(),
            gradients: own_gradients.all(),
        };
        sgd_step(&moved, 0.9, nesterov, own_buffer.all()).unwrap();
        let (mut p, mut buffer) = (values, buffer);
        for (i, part) in CASE.parts().into_iter().enumerate() {
            let sgd =
                kernels::Sgd { lr: CASE.lr[i], momentum: 0.9, weight_decay: CASE.weight_decay[i], nesterov };
            let first = CASE.steps[i] == 1;
            let buffer = &mut buffer[part.clone()];
            kernels::sgd_step(&sgd, first, &mut p[part.clone()], &gradients[part], buffer);
        }
        close(&own_values.all().read::<f32>().unwrap(), &p);
        close(&own_buffer.all().read::<f32>().unwrap(), &buffer);
    }
}

#[test]
fn gradients_are_summed_scaled_and_clipped() {
    let gpu = gpu();
    for len in [1, 255, 6000] {
        let values = noise(len, 5);
        let own = gpu.put(&values).unwrap();
        let expected = kernels::sum_of_squares(&values);
        let found = sum_of_squares(&gpu, own.all()).unwrap();
        assert!((found - expected).abs() <= 1e-12 * expected, "{found} against {expected}");
        let mut expected = values.clone();
        scale_values(0.3, own.all()).unwrap();
        kernels::scale(0.3, &mut expected);
        close(&own.all().read::<f32>().unwrap(), &expected);
        clip_values(0.1, own.all()).unwrap();
        kernels::clip_values(0.1, &mut expected);
        close(&own.all().read::<f32>().unwrap(), &expected);
        let average = gpu.put(&values).unwrap();
        let mut expected_average = values;
        move_average(0.2, average.all(), own.all()).unwrap();
        kernels::move_average(0.2, &mut expected_average, &expected);
        close(&average.all().read::<f32>().unwrap(), &expected_average);
    }
    let nothing = gpu.allocate(pugmark_cuda::Type::F32, 0).unwrap();
    assert_eq!(sum_of_squares(&gpu, nothing.all()).unwrap(), 0.0);
}

/// The processor's units lie one value of each after the other; where they lie together here, they are turned for it.
#[test]
fn units_are_clipped_by_their_weights() {
    let gpu = gpu();
    let (units, per) = (5, 300);
    let (values, gradients) = (noise(units * per, 1), noise(units * per, 2));
    let mut expected = gradients.clone();
    kernels::clip_adaptive(0.01, units, &values, &mut expected);
    let clipped = |apart: bool, values: &[f32], gradients: &[f32]| {
        let (values, gradients) = (gpu.put(values).unwrap(), gpu.put(gradients).unwrap());
        clip_adaptive(0.01, units, apart, values.all(), gradients.all()).unwrap();
        gradients.all().read::<f32>().unwrap()
    };
    close(&clipped(true, &values, &gradients), &expected);
    let turned = |of: &[f32]| -> Vec<f32> {
        (0..units)
            .flat_map(|unit| (0..per).map(move |i| (unit, i)))
            .map(|(unit, i)| of[i * units + unit])
            .collect()
    };
    close(&clipped(false, &turned(&values), &turned(&gradients)), &turned(&expected));
    assert_ne!(expected, gradients);
}
