//! Attention inside windows against the processor's.
//!
//! Both calculate in f32, with sums of at most 64 terms in another order and another exponential; what
//! follows a softmax takes on the error of scores. Values are up to 1, so that 2e-6 of the greatest expected
//! value, or of 1, is some roundings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activations;

use activations::{Activation, Random, There, assert_close, gpu, test_elements, wide};
use pugmark_cuda::{
    Attention, Type, window_attention_backward, window_attention_forward, window_attention_scratch_len,
};
use pugmark_kernels::{self as kernels, Plane, WindowAttention};

test_elements! {
    forward_is_the_processors,
    gradients_are_the_processors,
}

/// Images, height, width; window and shift.
const PICTURES: [([usize; 3], [usize; 2]); 9] = [
    ([2, 8, 8], [4, 2]),
    ([2, 8, 8], [4, 0]),
    // Padded on both sides, shifted and not.
    ([2, 10, 7], [4, 2]),
    ([1, 10, 7], [4, 0]),
    // One window along both sides or along one: no shift there.
    ([2, 7, 7], [7, 3]),
    ([1, 6, 15], [7, 3]),
    ([1, 14, 14], [7, 3]),
    // The largest window, and more windows than are summed at once; the last ones padded.
    ([1, 16, 9], [8, 4]),
    ([3, 11, 9], [2, 1]),
];

/// Heads, and channels of each.
const HEADS: [[usize; 2]; 4] = [[1, 3], [3, 8], [1, 32], [3, 32]];

fn cases() -> impl Iterator<Item = Attention> {
    PICTURES.into_iter().flat_map(|([images, height, width], [window, shift])| {
        HEADS.map(|[heads, depth]| Attention {
            images,
            height,
            width,
            channels: heads * depth,
            heads,
            window,
            shift,
        })
    })
}

struct Problem<E> {
    x: Vec<E>,
    dy: Vec<E>,
    padding: Vec<f32>,
    table: Vec<f32>,
    processors: WindowAttention,
    xp: Plane,
    yp: Plane,
}

impl<E: Activation> Problem<E> {
    fn new(of: &Attention) -> Self {
        let Attention { images, height, width, channels, heads, window, shift } = *of;
        let processors = WindowAttention { heads, window, shift };
        let plane = |channels| Plane { height, width, channels, border: 0 };
        let (xp, yp) = (plane(3 * channels), plane(channels));
        let mut random = Random(7);
        Self {
            x: random.values(images * xp.len()),
            dy: random.values(images * yp.len()),
            padding: random.values(3 * channels),
            table: random.values(processors.table_len()),
            processors,
            xp,
            yp,
        }
    }
}

fn tolerance(expected: &[f32]) -> f32 {
    2e-6 * expected.iter().fold(1.0, |most: f32, value| most.max(value.abs()))
}

#[track_caller]
fn close<E: Activation>(what: &str, of: &Attention, values: &[E], expected: &[f32]) {
    let tolerance = tolerance(expected);
    assert_close(&format!("{what} of {of:?}"), values, expected, |_| tolerance);
}

fn forward_is_the_processors<E: Activation>() {
    let gpu = gpu();
    for of in cases() {
        let Problem { x, padding, table, processors, xp, yp, .. } = Problem::<E>::new(&of);
        let mut expected = vec![0.0; of.images * yp.len()];
        kernels::window_attention_forward(
            &processors,
            of.images,
            &wide(&x),
            xp,
            &padding,
            &table,
            &mut expected,
            yp,
        );
        for behind in [0, 1] {
            let x = There::new(&gpu, behind, &x);
            let padding = There::new(&gpu, behind, &padding);
            let table = There::new(&gpu, behind, &table);
            let y = There::<E>::poisoned(&gpu, behind, expected.len());
            window_attention_forward(&of, x.all(), padding.all(), table.all(), y.all()).unwrap();
            close("y", &of, &y.read(), &expected);
        }
    }
}

fn gradients_are_the_processors<E: Activation>() {
    let gpu = gpu();
    for of in cases() {
        let Problem { x, dy, padding, table, processors, xp, yp } = Problem::<E>::new(&of);
        let mut expected = vec![0.0; x.len()];
        let (mut dpadding_expected, mut dtable_expected) = (vec![0.0; padding.len()], vec![0.0; table.len()]);
        kernels::window_attention_backward(
            &processors,
            of.images,
            &wide(&dy),
            yp,
            &wide(&x),
            xp,
            &padding,
            &table,
            &mut expected,
            xp,
            &mut dpadding_expected,
            &mut dtable_expected,
        );
        for accumulate in [false, true] {
            let behind = usize::from(accumulate);
            let before: Vec<E> = Random(8).values(x.len());
            let dx = if accumulate {
                There::new(&gpu, behind, &before)
            } else {
                There::poisoned(&gpu, behind, x.len())
            };
            if accumulate {
                for (expected, before) in expected.iter_mut().zip(&before) {
                    *expected += before.to_f32();
                }
            }
            let (x, dy) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &dy));
            let (own_padding, own_table) =
                (There::new(&gpu, behind, &padding), There::new(&gpu, behind, &table));
            // More scratch than needed, as where steps share it.
            let scratch = There::<f32>::poisoned(&gpu, behind, window_attention_scratch_len(&of) + 5);
            let dpadding = There::<f32>::poisoned(&gpu, behind, padding.len());
            let dtable = There::<f32>::poisoned(&gpu, behind, table.len());
            window_attention_backward(
                &of,
                dy.all(),
                x.all(),
                own_padding.all(),
                own_table.all(),
                (dx.all(), accumulate),
                scratch.all(),
                dpadding.all(),
                dtable.all(),
            )
            .unwrap();
            close("dx", &of, &dx.read(), &expected);
            close("dpadding", &of, &dpadding.read(), &dpadding_expected);
            close("dtable", &of, &dtable.read(), &dtable_expected);
            assert!(scratch.read()[window_attention_scratch_len(&of)..].iter().all(|value| value.is_nan()));
        }
    }
}

/// Across a seam tokens do not mix: where all else is equal, a pixel's output is the mean of the values on
/// its side, but for e^-100 of the other side's.
#[test]
fn pixels_that_were_no_neighbours_do_not_mix() {
    let gpu = gpu();
    let of = Attention { images: 1, height: 4, width: 2, channels: 1, heads: 1, window: 2, shift: 1 };
    // No queries and keys; the values are the rows' numbers. The last window has the last row and the first.
    let x: Vec<f32> = (0..8).flat_map(|pixel| [0.0, 0.0, (pixel / 2) as f32]).collect();
    let (x, zeros) = (gpu.put(&x).unwrap(), gpu.put(&[0.0_f32; 9]).unwrap());
    let y = gpu.allocate(Type::F32, 8).unwrap();
    window_attention_forward(&of, x.all(), zeros.slice(0..3), zeros.all(), y.all()).unwrap();
    let expected = [0.0, 0.0, 1.5, 1.5, 1.5, 1.5, 3.0, 3.0];
    assert_close("y", &y.all().read::<f32>().unwrap(), &expected, |_| 1e-42);
}

#[test]
fn no_images_have_no_gradients() {
    let gpu = gpu();
    let of = Attention { images: 0, height: 3, width: 3, channels: 2, heads: 1, window: 2, shift: 1 };
    let nothing = gpu.allocate(Type::F32, window_attention_scratch_len(&of)).unwrap();
    assert!(nothing.is_empty());
    let given = gpu.put(&[1.0_f32; 9]).unwrap();
    let (dpadding, dtable) = (gpu.put(&[f32::NAN; 6]).unwrap(), gpu.put(&[f32::NAN; 9]).unwrap());
    let (padding, none) = (given.slice(0..6), nothing.all());
    window_attention_backward(
        &of,
        none,
        none,
        padding,
        given.all(),
        (none, false),
        none,
        dpadding.all(),
        dtable.all(),
    )
    .unwrap();
    assert_eq!(dpadding.all().read::<f32>().unwrap(), [0.0; 6]);
    assert_eq!(dtable.all().read::<f32>().unwrap(), [0.0; 9]);
}

#[test]
#[should_panic(expected = "33 channels of a head")]
fn a_head_that_does_not_fit_is_refused() {
    let of = Attention { images: 1, height: 7, width: 7, channels: 66, heads: 2, window: 7, shift: 3 };
    window_attention_scratch_len(&of);
}

#[test]
#[should_panic(expected = "windows of 9 pixels")]
fn a_window_that_does_not_fit_is_refused() {
    let of = Attention { images: 1, height: 9, width: 9, channels: 6, heads: 2, window: 9, shift: 4 };
    window_attention_scratch_len(&of);
}
