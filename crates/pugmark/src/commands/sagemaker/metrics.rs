//! Metrics by regular expressions on the lines of a log.

use pugmark_train::{EpochMetrics, MetricDefinition as Definition};
use regex_lite::Regex;

use crate::error::WrongCall;

/// SageMaker's limits: definitions, characters of a name and of an expression.
const MOST: (usize, usize, usize) = (40, 255, 500);

/// Definitions that can be searched for.
#[derive(Clone, Debug)]
pub(super) struct Metrics(Vec<(Definition, Regex)>);

impl Metrics {
    /// Those that the call names, or our own.
    pub(super) fn new(given: &[(String, String)]) -> Result<Self, WrongCall> {
        let given = given.iter().map(|(name, regex)| Definition { name: name.clone(), regex: regex.clone() });
        let mut definitions: Vec<Definition> = given.collect();
        if definitions.is_empty() {
            definitions = EpochMetrics::definitions();
        }
        let (most, name, regex) = MOST;
        if definitions.len() > most {
            return Err(WrongCall::new(format!("SageMaker takes {most} metrics, not {}", definitions.len())));
        }
        let compile = |definition: Definition| {
            let place = format!("--metric {}", definition.name);
            if definition.name.chars().count() > name || definition.regex.chars().count() > regex {
                return Err(WrongCall::new(format!(
                    "{place}: SageMaker takes {name} characters of a name and {regex} of an expression"
                )));
            }
            match Regex::new(&definition.regex) {
                Ok(regex) if regex.captures_len() > 1 => Ok((definition, regex)),
                Ok(_) => Err(WrongCall::new(format!("{place}: the expression has no group for the number"))
                    .with_hint("put the number into brackets, as in `loss=([0-9.]+);`")),
                Err(error) => Err(WrongCall::new(format!("{place}: {error}"))),
            }
        };
        definitions.into_iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.0.iter().map(|(definition, _)| definition)
    }

    /// The metrics that a line of the log reports.
    pub(super) fn read<'a>(&'a self, line: &str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(definition, regex)| {
            let number: f64 = regex.captures(line)?.get(1)?.as_str().parse().ok()?;
            // One that is no number is no metric, and would be the best or the worst of all.
            number.is_finite().then_some((definition.name.as_str(), number))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> EpochMetrics {
        EpochMetrics {
            epoch: 3,
            train_loss: 0.2881,
            train_acc: 0.9012,
            val_loss: 0.4536,
            val_acc: 0.8634,
            val_macro_f1: 0.8,
            learning_rate: 0.000_01,
            images_per_sec: 97.3,
            seconds: 12.5,
            peak_memory_mib: Some(512),
        }
    }

    #[test]
    fn every_expression_reads_its_value_from_a_line() {
        let metrics = Metrics::new(&[]).unwrap();
        let read: Vec<(&str, f64)> = metrics.read(&row().line()).collect();
        let expected = [
            ("epoch", 3.0),
            ("train_loss", 0.2881),
            ("train_acc", 0.9012),
            ("val_loss", 0.4536),
            ("val_acc", 0.8634),
            ("val_macro_f1", 0.8),
            ("learning_rate", 0.000_01),
            ("images_per_sec", 97.3),
            ("seconds", 12.5),
            ("peak_memory_mib", 512.0),
        ];
        assert_eq!(read, expected);
        assert_eq!(metrics.definitions().count(), expected.len());
    }

    #[test]
    fn what_is_no_number_and_other_lines_are_passed_over() {
        let metrics = Metrics::new(&[]).unwrap();
        let row = EpochMetrics { val_loss: f64::NAN, peak_memory_mib: None, ..row() };
        let names: Vec<&str> = metrics.read(&row.line()).map(|(name, _)| name).collect();
        assert!(names.len() == 8 && !names.contains(&"val_loss"), "{names:?}");
        assert_eq!(metrics.read("val_acc=0.9; train_loss=1;").count(), 0);
    }

    #[test]
    fn expressions_of_ones_own() {
        let given = |name: &str, regex: &str| Metrics::new(&[(name.to_owned(), regex.to_owned())]);
        let gan = given("gan", "GAN_loss=(.*?);").unwrap();
        assert_eq!(gan.read("GAN_loss=NaN;").count(), 0);
        assert_eq!(gan.read("GAN_loss=0.138318;  Scaled_reg=2.65;").collect::<Vec<_>>(), [("gan", 0.138318)]);
        for (name, regex, why) in
            [("a", "loss=", "no group"), ("a", "(", "--metric a"), ("a", &"(x)".repeat(200), "500 of an")]
        {
            let error = given(name, regex).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
