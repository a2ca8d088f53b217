//! Rules of gradients, weights, activations and pictures.

use std::collections::HashMap;

use super::{Context, Hit, Rule, Verdict};
use crate::watch::record::{Name, Record, Sample, Weight};
use crate::watch::thresholds::{RuleInfo, rule};

/// A measurement of one tensor in a sample.
struct Measured {
    tensor: String,
    value: f64,
    threshold: f64,
    violated: bool,
    text: String,
}

type Measure = fn(&Sample, &Context, &RuleInfo) -> Vec<Measured>;

pub(super) fn rules() -> Vec<Box<dyn Rule>> {
    let list: [(&str, Measure); 9] = [
        ("vanishing-gradient", vanishing),
        ("exploding-tensor", exploding),
        ("dead-relu", dead),
        ("saturated-activation", saturated),
        ("poor-initialization", initialisation),
        ("update-ratio", update),
        ("all-zero", zeros),
        ("unchanged-tensor", unchanged),
        ("input-not-normalized", input),
    ];
    let made = list.into_iter().filter_map(|(id, measure)| {
        Some(Box::new(OfSamples { info: rule(id)?, measure, in_a_row: HashMap::new() }) as Box<dyn Rule>)
    });
    made.collect()
}

/// A rule that measures tensors sample by sample, and waits for several violations of a tensor in a row.
struct OfSamples {
    info: &'static RuleInfo,
    measure: Measure,
    in_a_row: HashMap<String, u32>,
}

impl Rule for OfSamples {
    fn info(&self) -> &'static RuleInfo {
        self.info
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        match record {
            Record::Sample(sample) => {
                let patience = match self.info.thresholds.iter().any(|t| t.name == "patience") {
                    true => context.get(self.info, "patience"),
                    false => 1.0,
                };
                for Measured { tensor, value, threshold, violated, text } in
                    (self.measure)(sample, context, self.info)
                {
                    if !verdict.point(violated) {
                        self.in_a_row.remove(&tensor);
                        continue;
                    }
                    let count = self.in_a_row.entry(tensor.clone()).or_default();
                    *count += 1;
                    if f64::from(*count) >= patience {
                        let (step, epoch) = (sample.step, sample.epoch);
                        verdict.hits.push(Hit { step, epoch, tensor, value, threshold, text });
                    }
                }
            }
            Record::NotFinite { step, epoch, tensor } if self.info.id == "exploding-tensor" => {
                verdict.point(true);
                let text = "holds NaN or an infinity".into();
                let (tensor, value) = (tensor.clone(), f64::INFINITY);
                verdict.hits.push(Hit {
                    step: *step,
                    epoch: *epoch,
                    tensor,
                    value,
                    threshold: f64::INFINITY,
                    text,
                });
            }
            _ => {}
        }
    }
}

/// The weights proper.
fn weights<'a>(sample: &'a Sample, context: &'a Context) -> impl Iterator<Item = (&'a Name, &'a Weight)> {
    context.weights.iter().zip(&sample.weights).filter(|(name, _)| name.kind == "weight")
}

fn vanishing(sample: &Sample, context: &Context, info: &RuleInfo) -> Vec<Measured> {
    let Some((_, last)) = weights(sample, context).last() else { return Vec::new() };
    let threshold = context.get(info, "ratio");
    // What is multiplied by a small factor on its way to the loss has gradients as small.
    let factor = |block: usize| {
        let scales = context.weights.iter().zip(&sample.weights);
        let of_block = scales.filter(|(name, _)| name.kind == "layer scale" && name.block == block);
        let root_mean_square = |(name, weight): (&Name, &Weight)| weight.norm / (name.values as f64).sqrt();
        of_block.map(root_mean_square).fold(1.0, f64::min)
    };
    weights(sample, context)
        .map(|(name, weight)| {
            let value = weight.gradient_mean / last.gradient_mean / factor(name.block);
            Measured {
                tensor: name.name.clone(),
                value,
                threshold,
                violated: weight.gradient_mean > 0.0 && value < threshold,
                text: format!(
                    "the mean absolute gradient is {:.1e}, that of the last layer {:.1e}",
                    weight.gradient_mean, last.gradient_mean
                ),
            }
        })
        .collect()
}

fn exploding(sample: &Sample, context: &Context, _: &RuleInfo) -> Vec<Measured> {
    let mut list = vec![("loss".to_owned(), vec![sample.loss.0, sample.gradient_norm.0])];
    let layers = context.layers.iter().zip(&sample.layers);
    list.extend(layers.map(|(name, layer)| (name.name.clone(), vec![layer.mean, layer.std])));
    let weights = context.weights.iter().zip(&sample.weights);
    list.extend(weights.map(|(name, w)| (name.name.clone(), vec![w.norm, w.gradient_norm, w.update_norm])));
    list.into_iter()
        .map(|(tensor, values)| Measured {
            tensor,
            value: values.iter().copied().find(|value| !value.is_finite()).unwrap_or(0.0),
            threshold: f64::INFINITY,
            violated: values.iter().any(|value| !value.is_finite()),
            text: "holds NaN or an infinity".into(),
        })
        .collect()
}

fn dead(sample: &Sample, context: &Context, info: &RuleInfo) -> Vec<Measured> {
    let what = "of the channels let less than 1 % of their values pass";
    shares(sample, context, info, "ReLU", what)
}

fn saturated(sample: &Sample, context: &Context, info: &RuleInfo) -> Vec<Measured> {
    shares(sample, context, info, "sigmoid", "of the inputs are below -23 or above 17")
}

fn shares(sample: &Sample, context: &Context, info: &RuleInfo, kind: &str, what: &str) -> Vec<Measured> {
    let threshold = context.get(info, "share");
    let layers = context.layers.iter().zip(&sample.layers).filter(|(name, _)| name.kind == kind);
    layers
        .map(|(name, layer)| Measured {
            tensor: name.name.clone(),
            value: layer.share,
            threshold,
            violated: layer.share > threshold,
            text: format!("{:.0} % {what}", layer.share * 100.0),
        })
        .collect()
}

/// What a layer's variance is held against when it is zero is left to other rules.
fn initialisation(sample: &Sample, context: &Context, info: &RuleInfo) -> Vec<Measured> {
    if sample.step != 1 {
        return Vec::new();
    }
    let layers = context.layers.iter().zip(&sample.layers);
    let variances: Vec<(&str, f64)> = layers
        .filter(|(name, layer)| !["input", "sigmoid"].contains(&name.kind.as_str()) && layer.std > 0.0)
        .map(|(name, layer)| (name.name.as_str(), layer.std * layer.std))
        .collect();
    let by_variance = |a: &&(&str, f64), b: &&(&str, f64)| a.1.total_cmp(&b.1);
    let ends = (variances.iter().min_by(by_variance), variances.iter().max_by(by_variance));
    let (Some((least, small)), Some((most, large))) = ends else { return Vec::new() };
    let (value, threshold) = (large / small, context.get(info, "ratio"));
    let text = format!("the variance of the activations is {small:.1e} in {least} and {large:.1e} in {most}");
    vec![Measured { tensor: (*least).into(), value, threshold, violated: value > threshold, text }]
}

/// Whether the learning rate is not where a warm-up begins or a schedule ends.
fn moves(sample: &Sample, context: &Context) -> bool {
    let first = context.start.as_ref().map_or(0.0, |start| start.learning_rate);
    sample.learning_rate > 0.0 && sample.learning_rate >= first / 100.0
}

fn update(sample: &Sample, context: &Context, info: &RuleInfo) -> Vec<Measured> {
    let (large, small) = (context.get(info, "large"), context.get(info, "small"));
    weights(sample, context)
        .filter(|(_, weight)| weight.norm > 0.0)
        .map(|(name, weight)| {
            let value = weight.update_norm / weight.norm;
            let too_small = value > 0.0 && value < small && moves(sample, context);
            Measured {
                tensor: name.name.clone(),
                value,
                threshold: if too_small { small } else { large },
                violated: too_small || value > large,
                text: match value {
                    0.1.. => format!("the step changes the weight by {value:.1} times its size"),
                    _ => format!("the step changes the weight by {value:.1e} times its size"),
                },
            }
        })
        .collect()
}

fn zeros(sample: &Sample, context: &Context, info: &RuleInfo) -> Vec<Measured> {
    let threshold = context.get(info, "share");
    let of = |tensor: String, value: f64, what: &str| Measured {
        tensor,
        value,
        threshold,
        violated: value >= threshold,
        text: format!("{:.0} % of the {what} are zero", value * 100.0),
    };
    weights(sample, context)
        .flat_map(|(name, weight)| {
            let gradient = format!("gradient of {}", name.name);
            [of(name.name.clone(), weight.zeros, "values"), of(gradient, weight.gradient_zeros, "values")]
        })
        .collect()
}

fn unchanged(sample: &Sample, context: &Context, _: &RuleInfo) -> Vec<Measured> {
    weights(sample, context)
        .map(|(name, weight)| Measured {
            tensor: name.name.clone(),
            value: weight.update_norm,
            threshold: 0.0,
            violated: weight.update_norm == 0.0 && moves(sample, context),
            text: "the step changes no bit of it".into(),
        })
        .collect()
}

fn input(sample: &Sample, context: &Context, info: &RuleInfo) -> Vec<Measured> {
    let [most, low, high] = ["mean", "low", "high"].map(|name| context.get(info, name));
    let colours = ["red", "green", "blue"].into_iter().zip(&sample.input);
    colours
        .map(|(colour, [mean, std])| {
            let (mean, std) = (mean.0, std.0);
            let (value, threshold, violated) = if mean.abs() > most {
                (mean, most, true)
            } else if std > high {
                (std, high, true)
            } else {
                (std, low, std < low)
            };
            let text = format!("normalised values have mean {mean:.2} and deviation {std:.2}");
            Measured { tensor: format!("input, {colour}"), value, threshold, violated, text }
        })
        .collect()
}
