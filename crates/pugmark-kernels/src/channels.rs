//! Values that belong to a channel, laid out for loops over rows of pixels.

/// A period of at least this many values makes loops over it long enough to vectorise well, however few the
/// channels.
const PERIOD: usize = 256;

/// How often `channels` values repeat in a period.
pub(crate) fn repeats(channels: usize) -> usize {
    PERIOD.div_ceil(channels.max(1))
}

/// Values of each channel, repeated to a whole period.
pub(crate) fn repeated(values: &[f32]) -> Vec<f32> {
    values.repeat(repeats(values.len()))
}

/// Adds up the sums of a period: `total[c]` is the sum over the period's values of channel `c`.
pub(crate) fn folded(period: &[f64], channels: usize) -> Vec<f64> {
    let mut total = vec![0.0; channels];
    for pixel in period.chunks_exact(channels.max(1)) {
        for (total, part) in total.iter_mut().zip(pixel) {
            *total += part;
        }
    }
    total
}
