use crate::{DeviceError, Slice, Type};

/// Values in another type: `to` rounded from `from` or widened.
///
/// # Errors
/// As the device says.
pub fn convert(from: Slice<'_>, to: Slice<'_>) -> Result<(), DeviceError> {
    let len = from.len();
    let (of, kernel) = match (from.of(), to.of()) {
        (Type::F32, of) => (of, "from_f32"),
        (of, _) => (of, "to_f32"),
    };
    let args =
        [len.into(), from.checked("from", from.of(), len).into(), to.checked("to", to.of(), len).into()];
    from.gpu().each(of, kernel, len, &args)
}
