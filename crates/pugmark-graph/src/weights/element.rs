use half::{bf16, f16};

/// Floating-point types that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
}

impl Element {
    /// Little-endian bytes as f32, rounded to nearest; bytes that do not fill an element are dropped.
    pub(super) fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F64 => elements(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F32 => elements(bytes, f32::from_le_bytes),
            Self::F16 => elements(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => elements(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        }
    }
}

fn elements<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&chunk| value(chunk)).collect()
}
