//! SIMD loops on slices; the only home of unsafe arithmetic.
