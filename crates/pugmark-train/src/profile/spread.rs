use serde::{Deserialize, Serialize};

/// Some values in a few.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
    /// What 99 % do not exceed.
    pub p99: f64,
    /// What 95 % do not exceed.
    pub p95: f64,
    /// The median.
    pub p50: f64,
    /// The smallest.
    pub min: f64,
}

impl Spread {
    /// Of finite values; all 0 where there is none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let Some(&max) = sorted.last() else { return Self::default() };
        Self {
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            max,
            p99: quantile(&sorted, 0.99),
            p95: quantile(&sorted, 0.95),
            p50: quantile(&sorted, 0.5),
            min: sorted[0],
        }
    }
}

/// As numpy's `quantile`, linear between two values; `sorted` holds at least one.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

/// The median; 0 of none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Spread::of(values).p50
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn quantiles_are_numpys() {
        // numpy.quantile([3, 1, 4, 1, 5, 9, 2, 6, 5, 3], [0.99, 0.95, 0.5])
        let spread = Spread::of([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0]);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(spread.p99, 8.73);
        close(spread.p95, 7.65);
        close(spread.p50, 3.5);
        close(spread.mean, 3.9);
        assert_eq!((spread.min, spread.max), (1.0, 9.0));
        assert_eq!(Spread::of([2.0]).p99, 2.0);
        assert_eq!(Spread::of([f64::NAN]), Spread::default());
    }
}
