use super::Picture;

/// Colours of values, which are even in lightness: twice the value looks twice as far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// 0 and more: matplotlib's inferno, dark to yellow.
    Positive,
    /// Both signs: ColorBrewer's RdBu, blue against to red for the class.
    Signed,
}

const INFERNO: [[u8; 3]; 9] = [
    [0, 0, 4],
    [33, 12, 74],
    [87, 16, 110],
    [138, 34, 106],
    [188, 55, 84],
    [228, 90, 49],
    [249, 142, 9],
    [249, 203, 53],
    [252, 255, 164],
];

const RED_BLUE: [[u8; 3]; 11] = [
    [5, 48, 97],
    [32, 101, 171],
    [67, 147, 195],
    [144, 196, 221],
    [209, 229, 240],
    [247, 246, 246],
    [253, 219, 199],
    [243, 164, 129],
    [214, 96, 77],
    [177, 24, 43],
    [103, 0, 31],
];

/// How much of the colour there is over the picture.
const OPACITY: f32 = 0.6;

impl Scale {
    /// The colour of a value from 0 (or -1, where there are two signs) to 1.
    fn colour(self, value: f32) -> [f32; 3] {
        let (colours, share) = match self {
            Self::Positive => (INFERNO.as_slice(), value),
            Self::Signed => (RED_BLUE.as_slice(), f32::midpoint(value, 1.0)),
        };
        let place = share.clamp(0.0, 1.0) * (colours.len() - 1) as f32;
        let low = (place as usize).min(colours.len() - 2);
        let [a, b] = [low, low + 1].map(|index| colours[index].map(f32::from));
        std::array::from_fn(|i| a[i] + (place - low as f32) * (b[i] - a[i]))
    }
}

/// The picture in gray under the colours of a map, one value a pixel; the largest has the last colour. A map that is 0
/// everywhere is as dark (or as pale) as its scale begins.
pub fn overlay(picture: &Picture, map: &[f32], scale: Scale) -> Picture {
    let most = map.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let rgb = picture.rgb.chunks_exact(3).zip(map).flat_map(|(rgb, value)| {
        // ITU-R 601, as Pillow's gray.
        let gray = 0.299 * f32::from(rgb[0]) + 0.587 * f32::from(rgb[1]) + 0.114 * f32::from(rgb[2]);
        let colour = scale.colour(if most > 0.0 { value / most } else { 0.0 });
        colour.map(|level| (OPACITY * level + (1.0 - OPACITY) * gray).round() as u8)
    });
    Picture { rgb: rgb.collect(), ..*picture }
}

/// Two pictures of one height beside each other.
pub fn beside(left: &Picture, right: &Picture) -> Picture {
    assert_eq!(left.height, right.height, "pictures of one height");
    let rows = left.rgb.chunks_exact(left.width * 3).zip(right.rgb.chunks_exact(right.width * 3));
    let rgb = rows.flat_map(|(left, right)| [left, right].concat()).collect();
    Picture { rgb, width: left.width + right.width, height: left.height }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_over_gray() {
        let picture = Picture::new(vec![100; 12], 2, 2);
        let hot = overlay(&picture, &[0.0, 1.0, 4.0, 2.0], Scale::Positive);
        // 0.6 of the colour and 40 of the gray.
        assert_eq!(hot.rgb[..3], [40, 40, 42]);
        assert_eq!(hot.rgb[6..9], [191, 193, 138]);
        assert_eq!(hot.rgb[9..12], [153, 73, 90], "half of the largest is the middle colour");
        let signed = overlay(&picture, &[0.0, -1.0, 0.5, 1.0], Scale::Signed);
        assert_eq!(signed.rgb, [188, 188, 188, 43, 69, 98, 177, 118, 102, 102, 40, 59]);
        assert_eq!(overlay(&picture, &[0.0; 4], Scale::Positive).rgb, [40, 40, 42].repeat(4));
    }

    /// Rec. 601 luma grows from one end of inferno to the other, and falls to both ends from the middle of RdBu.
    #[test]
    fn more_is_lighter_or_darker_all_the_way() {
        let luma = |[r, g, b]: [f32; 3]| 0.299 * r + 0.587 * g + 0.114 * b;
        let levels = |scale: Scale, low: i16, high: i16| -> Vec<f32> {
            (low..=high).map(|i| luma(scale.colour(f32::from(i) / 100.0))).collect()
        };
        assert!(levels(Scale::Positive, 0, 100).is_sorted_by(|a, b| a < b));
        assert!(levels(Scale::Signed, -100, 0).is_sorted_by(|a, b| a < b));
        assert!(levels(Scale::Signed, 0, 100).is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn side_by_side() {
        let (a, b) = (Picture::new(vec![1; 6], 1, 2), Picture::new(vec![2; 12], 2, 2));
        let both = beside(&a, &b);
        assert_eq!((both.width, both.height), (3, 2));
        assert_eq!(both.rgb, [[1; 3], [2; 3], [2; 3], [1; 3], [2; 3], [2; 3]].concat());
    }
}
