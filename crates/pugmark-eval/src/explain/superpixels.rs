use super::{Picture, Regions};

/// How a picture is cut into superpixels.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Slic {
    /// About how many there will be.
    pub segments: usize,
    /// What a distance of one superpixel's side counts, in units of the colours' distance (CIELAB): the more, the squarer.
    pub compactness: f32,
}

impl Default for Slic {
    /// As SageMaker Clarify has it.
    fn default() -> Self {
        Self { segments: 20, compactness: 5.0 }
    }
}

const ROUNDS: usize = 10;

/// A pixel, or the mean of several: colour and place.
#[derive(Clone, Copy, Default)]
struct Point {
    lab: [f32; 3],
    row: f32,
    column: f32,
}

/// SLIC superpixels (Achanta and others, SLIC Superpixels Compared to State-of-the-art Superpixel Methods, 2012): k-means on
/// colour and place, in a window around each centre. Every region is connected.
pub fn superpixels(picture: &Picture, settings: Slic) -> Regions {
    let (width, height) = (picture.width, picture.height);
    let side = (picture.pixels() as f32 / settings.segments.max(1) as f32).sqrt().max(1.0);
    let down = ((height as f32 / side).round() as usize).clamp(1, height.min(settings.segments.max(1)));
    let across = ((settings.segments as f32 / down as f32).round() as usize).clamp(1, width);
    let points: Vec<Point> = picture
        .rgb
        .chunks_exact(3)
        .enumerate()
        .map(|(pixel, rgb)| {
            let (row, column) = (pixel / width, pixel % width);
            Point { lab: lab([rgb[0], rgb[1], rgb[2]]), row: row as f32, column: column as f32 }
        })
        .collect();
    // The first labels are the cells of a grid; a centre far from all others keeps its pixels.
    let Regions { mut of_pixel, count } = Regions::cells(picture, across, down);
    let place = (settings.compactness / side).powi(2);
    for _ in 0..ROUNDS {
        let centres = means(&points, &of_pixel, count);
        let mut nearest = vec![f32::INFINITY; points.len()];
        let before = of_pixel.clone();
        for (label, centre) in centres.iter().enumerate() {
            let window = |middle: f32, size: usize| {
                (middle - side).max(0.0) as usize..((middle + side) as usize + 1).min(size)
            };
            for row in window(centre.row, height) {
                for column in window(centre.column, width) {
                    let pixel = row * width + column;
                    let distance = distance(&points[pixel], centre, place);
                    if distance < nearest[pixel] {
                        (nearest[pixel], of_pixel[pixel]) = (distance, label);
                    }
                }
            }
        }
        if of_pixel == before {
            break;
        }
    }
    connected(&of_pixel, count, width, height)
}

fn distance(a: &Point, b: &Point, place: f32) -> f32 {
    let colour: f32 = a.lab.iter().zip(&b.lab).map(|(x, y)| (x - y) * (x - y)).sum();
    colour + place * ((a.row - b.row).powi(2) + (a.column - b.column).powi(2))
}

fn means(points: &[Point], labels: &[usize], count: usize) -> Vec<Point> {
    let mut sums = vec![([0.0_f64; 5], 0_usize); count];
    for (point, &label) in points.iter().zip(labels) {
        let (sum, number) = &mut sums[label];
        let [l, a, b] = point.lab;
        for (sum, value) in sum.iter_mut().zip([l, a, b, point.row, point.column]) {
            *sum += f64::from(value);
        }
        *number += 1;
    }
    // One without a pixel is in the corner and takes what is near.
    let mean = |(sum, number): ([f64; 5], usize)| {
        let [l, a, b, row, column] = sum.map(|sum| (sum / number.max(1) as f64) as f32);
        Point { lab: [l, a, b], row, column }
    };
    sums.into_iter().map(mean).collect()
}

/// One region a label: its largest connected piece (a pixel has four neighbours). The other pieces, many on a noisy picture,
/// are dealt out to the regions beside them, ring by ring.
fn connected(labels: &[usize], count: usize, width: usize, height: usize) -> Regions {
    let mut largest: Vec<Vec<usize>> = vec![Vec::new(); count];
    for piece in pieces(labels, width, height) {
        let kept = &mut largest[labels[piece[0]]];
        if piece.len() > kept.len() {
            *kept = piece;
        }
    }
    largest.retain(|piece| !piece.is_empty());
    let mut of_pixel = vec![None; labels.len()];
    let mut border = Vec::new();
    for (region, piece) in largest.iter().enumerate() {
        piece.iter().for_each(|&pixel| of_pixel[pixel] = Some(region));
        border.extend_from_slice(piece);
    }
    while !border.is_empty() {
        let mut next = Vec::new();
        for pixel in border {
            for neighbour in neighbours(pixel, width, height) {
                if of_pixel[neighbour].is_none() {
                    of_pixel[neighbour] = of_pixel[pixel];
                    next.push(neighbour);
                }
            }
        }
        border = next;
    }
    Regions { of_pixel: of_pixel.into_iter().flatten().collect(), count: largest.len() }
}

/// The pixels of each connected piece of a label, in the order of their first pixels.
fn pieces(labels: &[usize], width: usize, height: usize) -> Vec<Vec<usize>> {
    let mut seen = vec![false; labels.len()];
    let mut pieces = Vec::new();
    for first in 0..labels.len() {
        if std::mem::replace(&mut seen[first], true) {
            continue;
        }
        let mut piece = vec![first];
        let mut next = 0;
        while let Some(&pixel) = piece.get(next) {
            next += 1;
            for neighbour in neighbours(pixel, width, height) {
                if labels[neighbour] == labels[first] && !std::mem::replace(&mut seen[neighbour], true) {
                    piece.push(neighbour);
                }
            }
        }
        pieces.push(piece);
    }
    pieces
}

/// Above, left, right, below.
fn neighbours(pixel: usize, width: usize, height: usize) -> impl Iterator<Item = usize> {
    let (row, column) = (pixel / width, pixel % width);
    let above = (row > 0).then(|| pixel - width);
    let left = (column > 0).then(|| pixel - 1);
    let right = (column + 1 < width).then_some(pixel + 1);
    let below = (row + 1 < height).then_some(pixel + width);
    [above, left, right, below].into_iter().flatten()
}

/// CIELAB of an sRGB colour under D65: lightness to 100, then green to red and blue to yellow.
fn lab(rgb: [u8; 3]) -> [f32; 3] {
    let [r, g, b] = rgb.map(|value| {
        let value = f32::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    let share = |weights: [f32; 3]| {
        let value = weights[0] * r + weights[1] * g + weights[2] * b;
        if value > 216.0 / 24389.0 { value.cbrt() } else { (24389.0 / 27.0 * value + 16.0) / 116.0 }
    };
    // The rows of the matrix to XYZ, over those of white.
    let x = share([0.433_953, 0.376_219, 0.189_828]);
    let y = share([0.212_671, 0.715_160, 0.072_169]);
    let z = share([0.017_758, 0.109_477, 0.872_765]);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scikit-image's `rgb2lab` (0.26), to a tenth.
    #[test]
    fn colours_as_scikit_image_has_them() {
        let cases = [
            ([255, 255, 255], [100.0, 0.0, 0.0]),
            ([0, 0, 0], [0.0, 0.0, 0.0]),
            ([255, 0, 0], [53.24, 80.09, 67.20]),
            ([10, 120, 250], [52.28, 22.10, -72.09]),
            ([3, 2, 1], [0.59, 0.12, 0.47]),
        ];
        for (rgb, expected) in cases {
            let found = lab(rgb);
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 0.1), "{rgb:?}: {found:?}");
        }
    }

    /// Noise, on which nothing is smooth.
    fn noise(width: usize, height: usize) -> Picture {
        let mut random = crate::random::Random::new(3);
        Picture::new((0..width * height * 3).map(|_| random.below(256) as u8).collect(), width, height)
    }

    fn sizes(regions: &Regions) -> Vec<usize> {
        let mut sizes = vec![0; regions.count];
        regions.of_pixel.iter().for_each(|&region| sizes[region] += 1);
        sizes
    }

    #[test]
    fn every_region_is_there_and_connected() {
        let smooth = Picture::new((0..90 * 60 * 3).map(|i| (i / 71 % 256) as u8).collect(), 90, 60);
        for picture in [noise(96, 64), noise(32, 32), smooth, noise(5, 3), noise(1, 40)] {
            for settings in [Slic::default(), Slic { segments: 7, compactness: 40.0 }] {
                let regions = superpixels(&picture, settings);
                let sizes = sizes(&regions);
                assert!(regions.of_pixel.iter().all(|&region| region < regions.count));
                assert!(sizes.iter().all(|&size| size > 0), "{sizes:?}");
                let pieces = pieces(&regions.of_pixel, picture.width, picture.height);
                assert_eq!(pieces.len(), regions.count, "each is in one piece");
                let asked = settings.segments.min(picture.pixels());
                assert!(regions.count > asked / 2 && regions.count < asked * 2, "{}", regions.count);
                assert_eq!(superpixels(&picture, settings), regions, "the same again");
            }
        }
    }

    /// A flat picture is cut as a grid.
    #[test]
    fn about_as_many_as_asked_for() {
        let flat = Picture::new(vec![90; 224 * 224 * 3], 224, 224);
        for (segments, across, down) in [(20, 5, 4), (1, 1, 1), (100, 10, 10)] {
            let regions = superpixels(&flat, Slic { segments, compactness: 5.0 });
            assert_eq!(regions.count, across * down);
        }
        let wide = Picture::new(vec![90; 300 * 100 * 3], 300, 100);
        assert_eq!(superpixels(&wide, Slic::default()).count, 21);
    }

    /// An edge between two colours is an edge between regions, wherever the grid is.
    #[test]
    fn regions_end_where_colours_do() {
        let (width, height, edge) = (100, 80, 37);
        let colour = |pixel: usize| if pixel % width < edge { [200, 40, 40] } else { [30, 60, 190] };
        let picture = Picture::new((0..width * height).flat_map(colour).collect(), width, height);
        let regions = superpixels(&picture, Slic::default());
        let left = |pixel: usize| pixel % width < edge;
        for region in 0..regions.count {
            let pixels: Vec<usize> =
                (0..width * height).filter(|&pixel| regions.of_pixel[pixel] == region).collect();
            let on_the_left = pixels.iter().filter(|&&pixel| left(pixel)).count();
            assert!(
                on_the_left == 0 || on_the_left == pixels.len(),
                "{region}: {on_the_left} of {}",
                pixels.len()
            );
        }
    }
}
