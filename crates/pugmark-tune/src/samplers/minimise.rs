//! Minimising a smooth function in a box.

/// Pairs of steps and gradient changes that are remembered.
const MEMORY: usize = 10;

/// What ends a search.
pub(super) struct Limits {
    /// Most iterations.
    pub(super) iterations: usize,
    /// Of the projected gradient, in its largest coordinate.
    pub(super) gradient: f64,
}

/// Quasi-Newton steps (L-BFGS, Nocedal 1980) in the coordinates that are not held at a bound, projected onto the box `bounds`. `function`
/// gives the value and writes the gradient; a value that is not finite is never taken. Moves `x` and gives its value.
pub(super) fn minimise(
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
    x: &mut [f64],
    bounds: &[(f64, f64)],
    limits: &Limits,
) -> f64 {
    let n = x.len();
    let mut gradient = vec![0.0; n];
    let mut value = function(x, &mut gradient);
    let mut memory: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    let (mut trial, mut trial_gradient) = (vec![0.0; n], vec![0.0; n]);
    for _ in 0..limits.iterations {
        let held =
            |j: usize| x[j] <= bounds[j].0 && gradient[j] > 0.0 || x[j] >= bounds[j].1 && gradient[j] < 0.0;
        let free: Vec<f64> = (0..n).map(|j| if held(j) { 0.0 } else { gradient[j] }).collect();
        let slope = (0..n)
            .map(|j| ((x[j] - free[j]).clamp(bounds[j].0, bounds[j].1) - x[j]).abs())
            .fold(0.0, f64::max);
        if !value.is_finite() || slope <= limits.gradient {
            break;
        }
        let mut direction = quasi_newton(&memory, &free);
        let descends = dot(&direction, &free) < 0.0;
        if !descends {
            memory.clear();
            direction = free.iter().map(|g| -g).collect();
        }
        // The first step has no curvature yet: at most a tenth of a unit.
        let largest = direction.iter().fold(0.0f64, |a, d| a.max(d.abs()));
        let mut step = if memory.is_empty() { (0.1 / largest).min(1.0) } else { 1.0 };
        let mut taken = None;
        for _ in 0..25 {
            for j in 0..n {
                trial[j] = (x[j] + step * if free[j] == 0.0 { 0.0 } else { direction[j] })
                    .clamp(bounds[j].0, bounds[j].1);
            }
            let moved: f64 = (0..n).map(|j| free[j] * (trial[j] - x[j])).sum();
            let new = function(&trial, &mut trial_gradient);
            if new.is_finite() && new <= value + 1e-4 * moved {
                taken = Some(new);
                break;
            }
            // The minimum of the parabola through the value, the slope and the new value, within reason.
            let parabola = -moved * step / (2.0 * (new - value - moved));
            step = if parabola.is_finite() { parabola.clamp(0.1 * step, 0.5 * step) } else { 0.2 * step };
        }
        let Some(new) = taken else {
            if memory.is_empty() {
                break;
            }
            memory.clear();
            continue;
        };
        let moved: Vec<f64> = (0..n).map(|j| trial[j] - x[j]).collect();
        let change: Vec<f64> = (0..n).map(|j| trial_gradient[j] - gradient[j]).collect();
        if dot(&moved, &change) > 1e-10 * (dot(&moved, &moved) * dot(&change, &change)).sqrt() {
            if memory.len() == MEMORY {
                memory.remove(0);
            }
            memory.push((moved, change));
        }
        let gained = value - new;
        x.copy_from_slice(&trial);
        gradient.copy_from_slice(&trial_gradient);
        value = new;
        if gained <= 1e-10 * value.abs().max(1.0) {
            break;
        }
    }
    value
}

/// Minus the inverse Hessian that the memory suggests, times the gradient.
fn quasi_newton(memory: &[(Vec<f64>, Vec<f64>)], gradient: &[f64]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut factors = vec![0.0; memory.len()];
    for (i, (moved, change)) in memory.iter().enumerate().rev() {
        factors[i] = dot(moved, &direction) / dot(moved, change);
        add(&mut direction, -factors[i], change);
    }
    if let Some((moved, change)) = memory.last() {
        let scale = dot(moved, change) / dot(change, change);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for (factor, (moved, change)) in factors.iter().zip(memory) {
        let back = dot(change, &direction) / dot(moved, change);
        add(&mut direction, factor - back, moved);
    }
    direction
}

/// Eight sums side by side, which compilers turn into vectors.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, rest), (b, other)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f64>() + rest.iter().zip(other).map(|(a, b)| a * b).sum::<f64>()
}

fn add(a: &mut [f64], factor: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { iterations: 500, gradient: 1e-9 };

    fn rosenbrock(x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut value = 0.0;
        for i in 0..x.len() - 1 {
            let (a, b) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
            value += 100.0 * a * a + b * b;
            gradient[i] += -400.0 * a * x[i] - 2.0 * b;
            gradient[i + 1] += 200.0 * a;
        }
        value
    }

    #[test]
    fn the_curved_valley() {
        let mut x = [-1.2, 1.0, -0.5, 0.8];
        let value = minimise(rosenbrock, &mut x, &[(-5.0, 5.0); 4], &LIMITS);
        assert!(value < 1e-12 && x.iter().all(|x| (x - 1.0).abs() < 1e-5), "{x:?}: {value}");
    }

    /// In the plane x <= 0.5 the least is at (0.5, 0.25), by the condition of Karush, Kuhn and Tucker.
    #[test]
    fn a_bound_holds() {
        let mut x = [-1.2, 1.0];
        minimise(rosenbrock, &mut x, &[(-2.0, 0.5), (-2.0, 2.0)], &LIMITS);
        assert!(x[0] == 0.5 && (x[1] - 0.25).abs() < 1e-6, "{x:?}");
    }

    /// A function that has no value beyond a line is not left there.
    #[test]
    fn infinite_values_are_not_taken() {
        let function = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = 1.0 - 1.0 / x[0];
            if x[0] > 0.0 { x[0] - x[0].ln() } else { f64::NAN }
        };
        let mut x = [30.0];
        minimise(function, &mut x, &[(-100.0, 100.0)], &LIMITS);
        assert!((x[0] - 1.0).abs() < 1e-6, "{x:?}");
    }
}
