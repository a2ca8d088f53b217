//! Every combination, the last parameter first.

use crate::{Domain, Parameter, Sampler, Settings, Space, Trial, Value};

/// A grid: every category, every integer and every number of a range, where there are at most `count` of them; else `count` of them,
/// evenly on its scale, both ends among them. Behind its end it starts again.
pub struct Grid {
    count: u32,
}

impl Grid {
    /// `count` values of each range that has more, at least 1.
    pub fn new(count: u32) -> Self {
        Self { count: count.max(1) }
    }

    /// How many different settings the grid has, saturating.
    pub fn size(&self, space: &Space) -> u64 {
        self.size_behind(&space.parameters, space, &mut Settings::new())
    }

    fn size_behind(&self, left: &[Parameter], space: &Space, settings: &mut Settings) -> u64 {
        let Some((parameter, behind)) = left.split_first() else { return 1 };
        if !space.is_active(parameter, settings) {
            return self.size_behind(behind, space, settings);
        }
        let count = self.count(&parameter.domain);
        // Only where a condition asks for this parameter does its value change what follows.
        let asks = |other: &Parameter| {
            other.condition.as_ref().is_some_and(|condition| condition.parameter == parameter.name)
        };
        if !behind.iter().any(asks) {
            return count.saturating_mul(self.size_behind(behind, space, settings));
        }
        let mut size = 0u64;
        for i in 0..count {
            settings.insert(parameter.name.clone(), self.value(&parameter.domain, i));
            size = size.saturating_add(self.size_behind(behind, space, settings));
        }
        settings.remove(&parameter.name);
        size
    }

    fn count(&self, domain: &Domain) -> u64 {
        match domain {
            Domain::Categorical(values) => values.len() as u64,
            _ => domain.count().unwrap_or(u64::MAX).min(u64::from(self.count)),
        }
    }

    fn value(&self, domain: &Domain, i: u64) -> Value {
        let count = self.count(domain);
        match domain {
            Domain::Categorical(values) => Value::Text(values[i as usize].clone()),
            Domain::Integer { min, .. } if domain.count() == Some(count) => Value::Integer(min + i as i64),
            // One value of many is the middle.
            _ if count == 1 => domain.from_unit(0.5),
            _ => domain.from_unit(i as f64 / (count - 1) as f64),
        }
    }
}

impl Sampler for Grid {
    fn propose(&self, space: &Space, _history: &[Trial], number: u32) -> Settings {
        let mut settings = Settings::new();
        let mut rest = u64::from(number) % self.size(space);
        for (i, parameter) in space.parameters.iter().enumerate() {
            if !space.is_active(parameter, &settings) {
                continue;
            }
            for value in 0..self.count(&parameter.domain) {
                settings.insert(parameter.name.clone(), self.value(&parameter.domain, value));
                let size = self.size_behind(&space.parameters[i + 1..], space, &mut settings);
                if rest < size {
                    break;
                }
                rest -= size;
            }
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(flags: &[&str], count: u32) -> Vec<Settings> {
        let space = Space::from_flags(flags).unwrap();
        let grid = Grid::new(count);
        let size = grid.size(&space) as u32;
        assert_eq!(grid.propose(&space, &[], 0), grid.propose(&space, &[], size));
        (0..size).map(|number| grid.propose(&space, &[], number)).collect()
    }

    #[test]
    fn every_combination_once() {
        let settings = all(&["lr=log(1e-3,1e-1)", "batch=16,32", "epochs=2..4"], 3);
        assert_eq!(settings.len(), 3 * 2 * 3);
        let rates: Vec<_> = settings
            .iter()
            .map(|settings| {
                format!(
                    "{:.3}",
                    match settings["lr"] {
                        Value::Number(rate) => rate,
                        _ => panic!(),
                    }
                )
            })
            .collect();
        assert_eq!([&rates[0], &rates[6], &rates[17]], ["0.001", "0.010", "0.100"]);
        for (i, one) in settings.iter().enumerate() {
            assert!(!settings[..i].contains(one));
        }
    }

    #[test]
    fn inactive_parameters_do_not_multiply() {
        let settings = all(&["optimiser=sgd,adam", "momentum=0.5..0.9 if optimiser=sgd", "layers=1..9"], 3);
        // Three momenta of sgd and adam alone, with three of nine layers.
        assert_eq!(settings.len(), (3 + 1) * 3);
        assert_eq!(
            settings[11],
            Settings::from([
                ("optimiser".to_owned(), Value::Text("adam".to_owned())),
                ("layers".to_owned(), Value::Integer(9)),
            ])
        );
    }

    #[test]
    fn one_value_is_the_middle() {
        assert_eq!(
            all(&["x=0.0..1.0", "y=3.5..3.5"], 1),
            [Settings::from([("x".to_owned(), Value::Number(0.5)), ("y".to_owned(), Value::Number(3.5)),])]
        );
    }
}
