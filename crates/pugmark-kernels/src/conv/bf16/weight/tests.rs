//! Every way to cut the work gives the same sums.

use super::super::super::ConvShape;
use super::super::Path;
use super::fill::Source;
use super::plan::{Cut, Plan};
use super::{backward_weight, scratch_len};
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
            let mut plan = Plan::new(&s, images, &xp, &dyp);
            change(&mut plan);
            let zeros = vec![Bf16::default(); plan.depth.max(out_channels)];
            let source = Source { isa: Isa::active(), s: &s, x: &x, xp, dy: &dy, dyp, zeros: &zeros };
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
            for (group_bands, sides) in [(5, (32, 32)), (2, (32, 64)), (1, (64, 64))] {
                let cut = gradient(path, &|plan| {
                    plan.cut = Cut::Channels { group_bands, sides };
                });
                assert!(cut == whole, "{s:?} in areas of {sides:?} by {group_bands}");
            }
        }
    }
}

#[test]
fn bands_of_a_large_image_cover_it() {
    let s = ConvShape { kernel: (3, 3), stride: 1, padding: 1, in_channels: 256, out_channels: 64 };
    let dyp = Plane { height: 56, width: 56, channels: 64, border: 1 };
    let xp = Plane { channels: 256, ..dyp };
    let plan = Plan::new(&s, 2, &xp, &dyp);
    assert!(plan.image_bands > 1 && plan.bands == 2 * plan.image_bands);
    assert!((plan.image_bands - 1) * plan.band_rows < 56 && plan.image_bands * plan.band_rows >= 56);
}

#[test]
fn pixels_that_meet_alone_need_no_gaps_between_images() {
    let s = ConvShape { kernel: (1, 1), stride: 1, padding: 0, in_channels: 70, out_channels: 36 };
    let images = 3;
    let gradient = |path, border: usize| {
        let xp = Plane { height: 7, width: 5, channels: 70, border };
        let dyp = Plane { channels: 36, ..xp };
        let plan = Plan::new(&s, images, &xp, &dyp);
        assert_eq!((plan.bands, plan.blocks), if border == 0 { (1, 4) } else { (images, 2) });
        let [x, dy] = [(xp, 1), (dyp, 3)].map(|(plane, seed)| {
            let inner = values(images * plane.height * plane.row_len(), seed);
            let mut padded = vec![Bf16::default(); images * plane.len()];
            for (row, inner) in inner.chunks_exact(plane.row_len()).enumerate() {
                let at = row / plane.height * plane.len() + plane.offset(row % plane.height, 0);
                padded[at..][..inner.len()].copy_from_slice(inner);
            }
            padded
        });
        let mut dw = vec![f32::NAN; s.weights()];
        let mut scratch = vec![f32::NAN; scratch_len(&s, images, &xp, &dyp)];
        backward_weight(path, &s, images, &x, xp, &dy, dyp, &mut dw, &mut scratch);
        dw
    };
    for path in [Path::Isa(Isa::Portable), Path::Modelled] {
        let joined = gradient(path, 0);
        assert!(joined.iter().any(|&dw| dw != 0.0) && joined == gradient(path, 1));
    }
}
