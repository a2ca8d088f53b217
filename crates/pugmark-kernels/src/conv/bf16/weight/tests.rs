//! Every way to cut the work gives the same sums.

use super::super::super::ConvShape;
use super::super::Path;
use super::fill::Source;
use super::plan::{Cut, Plan};
use crate::plane::Plane;
use crate::{Bf16, Element, Isa};

/// Small whole numbers: their sums are exact in any order.
fn values(n: usize, seed: usize) -> Vec<Bf16> {
    (0..n).map(|i| Bf16::from_f32(((i * 7 + i / 5 + seed) % 9) as f32 - 4.0)).collect()
}

#[test]
fn every_cut_gives_the_same_sums() {
    for (kernel, stride, (in_channels, out_channels), size) in
        [(3, 1, (40, 48), 6), (3, 2, (33, 20), 9), (5, 2, (3, 40), 11), (1, 1, (70, 36), 5)]
    {
        let s =
            ConvShape { kernel: (kernel, kernel), stride, padding: kernel / 2, in_channels, out_channels };
        let images = 5;
        let (height, width) = s.output_size(size, size);
        let xp = Plane { height: size, width: size, channels: in_channels, border: s.padding };
        let dyp = Plane { height, width, channels: out_channels, border: 1 };
        let mut x = values(images * xp.len(), 1);
        crate::parallel::zero_border(&mut x, xp);
        let dy = values(images * dyp.len(), 3);
        let gradient = |path, change: &dyn Fn(&mut Plan)| {
            let mut plan = Plan::new(&s, images, &dyp);
            change(&mut plan);
            let zeros = vec![Bf16::default(); plan.depth.max(out_channels)];
            let source = Source { s: &s, x: &x, xp, dy: &dy, dyp, zeros: &zeros };
            let mut dw = vec![f32::NAN; s.weights()];
            let mut scratch = vec![f32::NAN; plan.scratch_len()];
            super::run(path, &plan, &source, &mut dw, &mut scratch);
            dw
        };

        let vectors = Path::Isa(Isa::Portable);
        let whole = gradient(vectors, &|_| ());
        assert!(whole.iter().all(|dw| dw.is_finite()) && whole.iter().any(|&dw| dw != 0.0));
        for path in [vectors, Path::Modelled] {
            for (splits, split_bands, group_bands) in [(1, 5, 5), (1, 5, 2), (2, 3, 3), (3, 2, 1), (5, 1, 1)]
            {
                let cut = gradient(path, &|plan| {
                    assert_eq!(plan.bands, images, "a band an image");
                    plan.cut = Cut::Pixels { splits, split_bands, group_bands };
                });
                assert!(cut == whole, "{s:?} in {splits} splits by {group_bands}");
            }
            for (group_bands, side, parts) in [(5, 32, 1), (2, 32, kernel), (1, 64, 1)] {
                let cut = gradient(path, &|plan| {
                    plan.cut = Cut::Channels { group_bands, side, parts };
                });
                assert!(cut == whole, "{s:?} in areas of {side} by {group_bands}");
            }
        }
    }
}

#[test]
fn bands_of_a_large_image_cover_it() {
    let s = ConvShape { kernel: (3, 3), stride: 1, padding: 1, in_channels: 256, out_channels: 64 };
    let dyp = Plane { height: 56, width: 56, channels: 64, border: 1 };
    let plan = Plan::new(&s, 2, &dyp);
    assert!(plan.image_bands > 1 && plan.bands == 2 * plan.image_bands);
    assert!((plan.image_bands - 1) * plan.band_rows < 56 && plan.image_bands * plan.band_rows >= 56);
}
