use crate::{Arg, DeviceError, Slice, Type};

/// Pixels that a thread of a kernel treats that treats each channel in its own way: `STRIP` of the kernels.
const STRIP: usize = 4;

/// Activations that a thread treats at once: 16 bytes.
pub(super) fn several(of: Type) -> usize {
    assert!(of != Type::U8, "bytes are no activations");
    16 / of.bytes()
}

/// Pixels of so many values.
#[track_caller]
pub(super) fn pixels_of(len: usize, channels: usize) -> usize {
    assert!(
        channels > 0 && len.is_multiple_of(channels),
        "{len} values are no pixels of {channels} channels"
    );
    len / channels
}

/// The address of what may be absent: then 0.
#[track_caller]
pub(super) fn optional(slice: Option<Slice<'_>>, name: &str, of: Type, len: usize) -> Arg {
    slice.map_or(0, |slice| slice.checked(name, of, len)).into()
}

/// Runs a kernel that treats all values of `like` in the same way.
pub(super) fn each_value(like: Slice<'_>, kernel: &'static str, args: &[Arg]) -> Result<(), DeviceError> {
    like.gpu().each(like.of(), kernel, like.len().div_ceil(several(like.of())), args)
}

/// Runs a kernel that treats each channel of the pixels of `like` in its own way.
pub(super) fn each_channel(
    like: Slice<'_>,
    channels: usize,
    kernel: &'static str,
    args: &[Arg],
) -> Result<(), DeviceError> {
    let pixels = pixels_of(like.len(), channels);
    let threads = channels.div_ceil(several(like.of())) * pixels.div_ceil(STRIP);
    like.gpu().each(like.of(), kernel, threads, args)
}

/// Values in another type: `to` rounded from `from` or widened.
///
/// # Errors
/// As the device says.
pub fn convert(from: Slice<'_>, to: Slice<'_>) -> Result<(), DeviceError> {
    let len = from.len();
    let (like, kernel) = if from.of() == Type::F32 { (to, "from_f32") } else { (from, "to_f32") };
    let expected = if from.of() == Type::F32 { to.of() } else { Type::F32 };
    let args =
        [len.into(), from.checked("from", from.of(), len).into(), to.checked("to", expected, len).into()];
    each_value(like, kernel, &args)
}

/// `to := from`, of one type.
///
/// # Errors
/// As the device says.
pub fn copy(from: Slice<'_>, to: Slice<'_>) -> Result<(), DeviceError> {
    move_values(from, to, false)
}

/// `to += from`, of one type.
///
/// # Errors
/// As the device says.
pub fn accumulate(from: Slice<'_>, to: Slice<'_>) -> Result<(), DeviceError> {
    move_values(from, to, true)
}

fn move_values(from: Slice<'_>, to: Slice<'_>, accumulate: bool) -> Result<(), DeviceError> {
    let (of, len) = (from.of(), from.len());
    let args = [
        len.into(),
        from.checked("from", of, len).into(),
        to.checked("to", of, len).into(),
        accumulate.into(),
    ];
    each_value(from, "copy_values", &args)
}

/// Every value of `to` becomes `value`.
///
/// # Errors
/// As the device says.
pub fn fill(to: Slice<'_>, value: f32) -> Result<(), DeviceError> {
    let len = to.len();
    each_value(to, "fill_values", &[len.into(), value.into(), to.checked("to", to.of(), len).into()])
}

/// `y := (pixel / 255 - mean) / std` of each of three channels; `pixels` are bytes, `[pixels, 3]` like `y`.
///
/// # Errors
/// As the device says.
pub fn input_from_u8(
    pixels: Slice<'_>,
    mean: [f32; 3],
    std: [f32; 3],
    y: Slice<'_>,
) -> Result<(), DeviceError> {
    let len = y.len();
    pixels_of(len, 3);
    let [m0, m1, m2] = mean.map(Arg::from);
    let [s0, s1, s2] = std.map(Arg::from);
    let pixels = pixels.checked("pixels", Type::U8, len).into();
    let y_at = y.checked("y", y.of(), len).into();
    each_value(y, "input_from_u8", &[len.into(), pixels, m0, m1, m2, s0, s1, s2, y_at])
}

/// `y := x + other`, then ReLU if asked for. Any of them may be one place.
///
/// # Errors
/// As the device says.
pub fn add_forward(x: Slice<'_>, other: Slice<'_>, relu: bool, y: Slice<'_>) -> Result<(), DeviceError> {
    let (of, len) = (x.of(), x.len());
    let args = [
        len.into(),
        x.checked("x", of, len).into(),
        other.checked("other", of, len).into(),
        relu.into(),
        y.checked("y", of, len).into(),
    ];
    each_value(x, "add_forward", &args)
}

/// `y := f(x)`, by a kernel for it.
#[track_caller]
pub(super) fn map_forward(kernel: &'static str, x: Slice<'_>, y: Slice<'_>) -> Result<(), DeviceError> {
    let (of, len) = (x.of(), x.len());
    let args = [len.into(), x.checked("x", of, len).into(), y.checked("y", of, len).into()];
    each_value(x, kernel, &args)
}

/// `dx :=` or `+=` what a kernel makes of `dy` and the function's input or output, which has that name.
#[track_caller]
pub(super) fn map_backward(
    kernel: &'static str,
    dy: Slice<'_>,
    (name, value): (&str, Slice<'_>),
    dx: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    let (of, len) = (dy.of(), dy.len());
    let args = [
        len.into(),
        dy.checked("dy", of, len).into(),
        value.checked(name, of, len).into(),
        dx.checked("dx", of, len).into(),
        accumulate.into(),
    ];
    each_value(dy, kernel, &args)
}

/// `y := max(x, 0)`; NaN stays. Both may be one place.
///
/// # Errors
/// As the device says.
pub fn relu_forward(x: Slice<'_>, y: Slice<'_>) -> Result<(), DeviceError> {
    map_forward("relu_forward", x, y)
}

/// `dx :=` (or `+=` with `accumulate`) `dy` where the output `y` of the ReLU is positive, else 0.
///
/// # Errors
/// As the device says.
pub fn relu_backward(
    dy: Slice<'_>,
    y: Slice<'_>,
    dx: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    map_backward("relu_backward", dy, ("y", y), dx, accumulate)
}

/// `y :=` (or `+=` with `accumulate`) `x / (1 - p)` with probability `1 - p`, else 0, for `p` in [0, 1).
///
/// Which it is depends on `seed` and the value's index alone, as on the processor, so that the backward pass is the same call
/// on the gradient.
///
/// # Errors
/// As the device says.
pub fn dropout(seed: u64, p: f32, x: Slice<'_>, y: Slice<'_>, accumulate: bool) -> Result<(), DeviceError> {
    assert!((0.0..1.0).contains(&p), "p: {p} is not in [0, 1)");
    let (of, len) = (x.of(), x.len());
    let threshold = (f64::from(p) * (1u64 << 32) as f64) as u64;
    let args = [
        len.into(),
        seed.into(),
        threshold.into(),
        (1.0 / (1.0 - p)).into(),
        x.checked("x", of, len).into(),
        y.checked("y", of, len).into(),
        accumulate.into(),
    ];
    each_value(x, "dropout", &args)
}

/// `y := x + bias` of each channel, for `[pixels, channels]`; `bias` is f32. `x` and `y` may be one place.
///
/// # Errors
/// As the device says.
pub fn add_bias(x: Slice<'_>, channels: usize, bias: Slice<'_>, y: Slice<'_>) -> Result<(), DeviceError> {
    let (of, len) = (x.of(), x.len());
    let args = [
        pixels_of(len, channels).into(),
        channels.into(),
        x.checked("x", of, len).into(),
        bias.checked("bias", Type::F32, channels).into(),
        y.checked("y", of, len).into(),
    ];
    each_channel(x, channels, "add_bias", &args)
}
