use crate::{DeviceError, Gpu, Slice, Type};

/// Values from one parameter's start to the next possible one, where several are moved together.
pub const GRANULE: usize = 64;

/// Blocks that sum squares.
const SUMS: usize = 1024;

/// Rates of one parameter: those of AdamW are `1 - lr * weight_decay`, `lr / (1 - beta1^t)` and `sqrt(1 - beta2^t)`, those of
/// SGD `lr`, `weight_decay`, and 1 in the parameter's first step, else 0.
pub type Rates = [f32; 3];

/// Parameters that lie in one place, each from a multiple of [`GRANULE`] on, and what moves them.
#[derive(Debug, Clone, Copy)]
pub struct Moved<'a> {
    /// Which parameter the values of each granule are of, counted in `rates`; `u32`.
    pub owner: Slice<'a>,
    /// [`Rates`] of each.
    pub rates: Slice<'a>,
    /// The values, f32.
    pub values: Slice<'a>,
    /// Their gradients, f32.
    pub gradients: Slice<'a>,
}

impl Moved<'_> {
    #[track_caller]
    fn checked(&self) -> (usize, [u64; 4]) {
        let len = self.values.len();
        let rates = self.rates.len();
        assert!(len.is_multiple_of(GRANULE) && rates.is_multiple_of(3), "{len} values, {rates} rates");
        let places = [
            self.owner.checked("owner", Type::F32, len / GRANULE),
            self.rates.checked("rates", Type::F32, rates),
            self.values.checked("values", Type::F32, len),
            self.gradients.checked("gradients", Type::F32, len),
        ];
        (len, places)
    }
}

/// One step of AdamW (arXiv 1711.05101) with `betas`, from the moments `m` and `v` on.
///
/// # Errors
/// As the device says.
pub fn adamw_step(
    moved: &Moved<'_>,
    (beta1, beta2): (f32, f32),
    eps: f32,
    m: Slice<'_>,
    v: Slice<'_>,
) -> Result<(), DeviceError> {
    let (len, [owner, rates, values, gradients]) = moved.checked();
    let (m_at, v_at) = (m.checked("m", Type::F32, len), v.checked("v", Type::F32, len));
    let args = [
        len.into(),
        owner.into(),
        rates.into(),
        beta1.into(),
        beta2.into(),
        eps.into(),
        values.into(),
        gradients.into(),
        m_at.into(),
        v_at.into(),
    ];
    m.gpu().each(Type::F32, "adamw", len, &args)
}

/// One step of SGD with momentum, kept in `buffer`.
///
/// # Errors
/// As the device says.
pub fn sgd_step(
    moved: &Moved<'_>,
    momentum: f32,
    nesterov: bool,
    buffer: Slice<'_>,
) -> Result<(), DeviceError> {
    let (len, [owner, rates, values, gradients]) = moved.checked();
    let buffer_at = buffer.checked("buffer", Type::F32, len);
    let args = [
        len.into(),
        owner.into(),
        rates.into(),
        momentum.into(),
        i32::from(nesterov).into(),
        values.into(),
        gradients.into(),
        buffer_at.into(),
    ];
    buffer.gpu().each(Type::F32, "sgd", len, &args)
}

/// Multiplies f32 values by a factor.
///
/// # Errors
/// As the device says.
pub fn scale_values(factor: f32, values: Slice<'_>) -> Result<(), DeviceError> {
    let len = values.len();
    let args = [len.into(), factor.into(), values.checked("values", Type::F32, len).into()];
    values.gpu().each(Type::F32, "scale_values", len, &args)
}

/// Cuts f32 values off at plus and minus `limit`.
///
/// # Errors
/// As the device says.
pub fn clip_values(limit: f32, values: Slice<'_>) -> Result<(), DeviceError> {
    let len = values.len();
    let args = [len.into(), limit.into(), values.checked("values", Type::F32, len).into()];
    values.gpu().each(Type::F32, "clip_values", len, &args)
}

/// Scales the gradients of each of `units` so that their norm is at most `share` of its weights' (arXiv 2102.06171). A unit's
/// values lie together, or with `apart` one of each unit after the other.
///
/// # Errors
/// As the device says.
pub fn clip_adaptive(
    share: f32,
    units: usize,
    apart: bool,
    values: Slice<'_>,
    gradients: Slice<'_>,
) -> Result<(), DeviceError> {
    let len = values.len();
    assert!(units > 0 && len.is_multiple_of(units), "{units} units of {len} values");
    let per = len / units;
    let (step, first) = if apart { (units, 1) } else { (1, per) };
    let args = [
        per.into(),
        step.into(),
        first.into(),
        share.into(),
        values.checked("values", Type::F32, len).into(),
        gradients.checked("gradients", Type::F32, len).into(),
    ];
    values.gpu().blocks(Type::F32, "clip_adaptive", units, &args)
}

/// Moves a running average by `share` of the way to the values; both f32.
///
/// # Errors
/// As the device says.
pub fn move_average(share: f32, average: Slice<'_>, values: Slice<'_>) -> Result<(), DeviceError> {
    let len = values.len();
    let args = [
        len.into(),
        share.into(),
        average.checked("average", Type::F32, len).into(),
        values.checked("values", Type::F32, len).into(),
    ];
    values.gpu().each(Type::F32, "move_average", len, &args)
}

/// The sum of the squares of f32 values. Waits for it.
///
/// # Errors
/// As the device says.
pub fn sum_of_squares(gpu: &Gpu, values: Slice<'_>) -> Result<f64, DeviceError> {
    let len = values.len();
    if len == 0 {
        return Ok(0.0);
    }
    let blocks = len.div_ceil(4 * 256).min(SUMS);
    // Each sum is a double: two words.
    let partial = gpu.allocate(Type::F32, 2 * blocks)?;
    let args = [
        len.into(),
        values.checked("values", Type::F32, len).into(),
        partial.all().checked("partial", Type::F32, 2 * blocks).into(),
    ];
    gpu.blocks(Type::F32, "sum_of_squares", blocks, &args)?;
    let words = partial.all().read::<u32>()?;
    let (pairs, _) = words.as_chunks::<2>();
    Ok(pairs.iter().map(|&[low, high]| f64::from_bits(u64::from(high) << 32 | u64::from(low))).sum())
}
