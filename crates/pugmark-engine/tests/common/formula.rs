//! Numbers that Rust and Python both compute from a name (`fixtures/README.md`).

use pugmark_graph::{Graph, Role, Tensor, Tensors};

pub fn hash(name: &str, index: usize) -> u64 {
    let fnv1a = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut z = fnv1a.wrapping_add(index as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub fn parameters(graph: &Graph) -> Tensors {
    let of = |role: Role, name: &str, shape: &[usize]| -> Vec<f32> {
        let (low, high) = match role {
            Role::ConvWeight | Role::LinearWeight | Role::PositionBias => {
                let bound = 0.5 * (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
                (-bound, bound)
            }
            Role::NormWeight | Role::LayerScale => (0.5, 1.5),
            Role::Bias { .. } | Role::NormBias => (-0.1, 0.1),
            Role::RunningMean => (0.0, 0.0),
            Role::RunningVar => (1.0, 1.0),
        };
        let unit = |i| (hash(name, i) >> 40) as f64 / f64::from(1 << 24);
        (0..shape.iter().product()).map(|i| (low + (high - low) * unit(i)) as f32).collect()
    };
    graph
        .params()
        .iter()
        .map(|p| {
            let values = of(p.role, &p.name, &p.shape);
            (p.name.clone(), Tensor { shape: p.shape.clone(), values })
        })
        .collect()
}

/// `count` 8-bit values.
pub fn pixels(name: &str, count: usize) -> Vec<u8> {
    (0..count).map(|i| (hash(name, i) >> 56) as u8).collect()
}
