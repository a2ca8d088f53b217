//! How a value lies in memory.

use std::fmt;

/// A value of an activation or its gradient: f32, or bf16 where memory and multipliers count for more than the last
/// digits. Arithmetic is in f32 whatever lies in memory. The default is zero.
pub trait Element: Copy + PartialEq + Default + fmt::Debug + Send + Sync + 'static {
    /// The value nearest to `value`; of two equally near ones the even one.
    fn from_f32(value: f32) -> Self;

    /// The value itself: nothing is lost.
    fn to_f32(self) -> f32;

    /// So few values exist that a function of one may be looked up in a table of all.
    const FEW: bool;

    /// The place of a value in such a table, from 0 to 65,535.
    fn place(self) -> u16;

    /// The value at that place.
    fn at_place(place: u16) -> Self;

    /// What [`Element::key`] makes of a value.
    type Key: Ord + Copy;

    /// An integer in the order of the values, -infinity the least and NaN above all.
    fn key(self) -> Self::Key;

    /// The value of that key.
    fn of_key(key: Self::Key) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    const FEW: bool = false;

    fn place(self) -> u16 {
        unreachable!("f32 has too many values")
    }

    fn at_place(_place: u16) -> Self {
        unreachable!("f32 has too many values")
    }

    type Key = i32;

    #[inline(always)]
    fn key(self) -> i32 {
        let bits = self.to_bits() as i32;
        // Negative values in their order; then a NaN of either sign is above +infinity, by way of overflow.
        (bits ^ (bits >> (i32::BITS - 1) & i32::MAX)).wrapping_sub(0x007f_ffff)
    }

    #[inline(always)]
    fn of_key(key: i32) -> Self {
        let bits = key.wrapping_add(0x007f_ffff);
        f32::from_bits((bits ^ (bits >> (i32::BITS - 1) & i32::MAX)) as u32)
    }
}

/// The upper half of an f32: its sign, its exponent and 7 bits of its mantissa.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The value with these bits.
    pub const fn from_bits(bits: u16) -> Self {
        Bf16(bits)
    }

    /// Its bits.
    pub const fn to_bits(self) -> u16 {
        self.0
    }
}

impl Element for Bf16 {
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        // Half of the last place kept, and one less where that place is even: ties go to even.
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
        // Rounding could turn a NaN into an infinity.
        let bits = if value.is_nan() { bits | 0x0040_0000 } else { rounded };
        Bf16((bits >> 16) as u16)
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    const FEW: bool = true;

    #[inline(always)]
    fn place(self) -> u16 {
        self.0
    }

    #[inline(always)]
    fn at_place(place: u16) -> Self {
        Bf16(place)
    }

    type Key = i16;

    #[inline(always)]
    fn key(self) -> i16 {
        let bits = self.0 as i16;
        // Negative values in their order; then a NaN of either sign is above +infinity, by way of overflow.
        (bits ^ (bits >> (i16::BITS - 1) & i16::MAX)).wrapping_sub(0x7f)
    }

    #[inline(always)]
    fn of_key(key: i16) -> Self {
        let bits = key.wrapping_add(0x7f);
        Bf16((bits ^ (bits >> (i16::BITS - 1) & i16::MAX)) as u16)
    }
}

impl fmt::Debug for Bf16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_f32(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nearest of all 65,536 values, by trying them; the even one of two.
    fn nearest(value: f32) -> Bf16 {
        let distance = |bf16: Bf16| (f64::from(bf16.to_f32()) - f64::from(value)).abs();
        (0..=u16::MAX)
            .map(Bf16)
            .filter(|bf16| bf16.to_f32().is_finite())
            .min_by(|a, b| distance(*a).total_cmp(&distance(*b)).then((a.0 & 1).cmp(&(b.0 & 1))))
            .expect("there are finite values")
    }

    #[test]
    fn from_f32_gives_the_nearest_value_and_ties_go_to_even() {
        const HALF_PLACE: f32 = 1.0 / 256.0;
        let ties = [1.0 + HALF_PLACE, 1.0 + 3.0 * HALF_PLACE, -1.0 - HALF_PLACE, -1.0 - 3.0 * HALF_PLACE];
        let near_tie = [(1.0 + HALF_PLACE).next_up(), (1.0 + HALF_PLACE).next_down()];
        let others = [0.1, -3.3, 1e-40, 65_535.0, 3.0e38, f32::MIN_POSITIVE, near_tie[0], near_tie[1]];
        for value in ties.into_iter().chain(others) {
            assert_eq!(Bf16::from_f32(value), nearest(value), "{value}");
        }
    }

    /// All bf16 values, their keys, and those of the same values in f32.
    #[test]
    fn keys_are_in_the_order_of_the_values() {
        fn check<E: Element>(values: &mut [E]) {
            values.sort_by_key(|value| value.key());
            assert_eq!(values[0].to_f32(), f32::NEG_INFINITY);
            for pair in values.windows(2) {
                let (a, b) = (pair[0].to_f32(), pair[1].to_f32());
                assert!(a <= b || b.is_nan(), "{a} before {b}");
            }
            for &value in &*values {
                let back = E::of_key(value.key());
                let same = back.to_f32().to_bits() == value.to_f32().to_bits();
                assert!(same, "{value:?} came back as {back:?}");
            }
        }
        let mut all: Vec<Bf16> = (0..=u16::MAX).map(Bf16).collect();
        let mut widened: Vec<f32> = all.iter().map(|value| value.to_f32()).collect();
        check(&mut all);
        check(&mut widened);
    }

    #[test]
    fn every_value_survives_and_so_do_nan_and_the_infinities() {
        for bf16 in (0..=u16::MAX).map(Bf16) {
            let back = Bf16::from_f32(bf16.to_f32());
            assert!(back == bf16 || (bf16.to_f32().is_nan() && back.to_f32().is_nan()), "{bf16:?}");
        }
        assert!(Bf16::from_f32(f32::from_bits(0x7f80_0001)).to_f32().is_nan());
        assert_eq!(Bf16::from_f32(f32::MAX).to_f32(), f32::INFINITY);
    }
}
