//! Every rule with its thresholds and why they are what they are; `docs/watch.md` is written from this table.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A rule and all that is said of it.
#[derive(Debug)]
pub struct RuleInfo {
    /// Its name in settings.
    pub id: &'static str,
    /// SageMaker Debugger's name of it.
    pub sagemaker: &'static str,
    /// What it fires on.
    pub about: &'static str,
    /// What can be changed of it.
    pub thresholds: &'static [Threshold],
    /// Why these thresholds and not SageMaker's.
    pub why: &'static str,
    /// What to try.
    pub advice: &'static str,
    /// A command to try; `RUN` and `DATA` stand for those of the run, `RATE/10` for a tenth of its learning rate.
    pub command: &'static str,
    /// Whether `--watch stop` ends a training for it: what depends on the machine does not.
    pub stops: bool,
}

/// One number of a rule.
#[derive(Debug)]
pub struct Threshold {
    /// Its name behind the rule's and a dot.
    pub name: &'static str,
    /// Its value unless it is set.
    pub default: f64,
    /// What it is.
    pub about: &'static str,
}

const fn t(name: &'static str, default: f64, about: &'static str) -> Threshold {
    Threshold { name, default, about }
}

/// All rules, in the order they are documented.
pub const RULES: [RuleInfo; 20] = [
    RuleInfo {
        id: "vanishing-gradient",
        sagemaker: "VanishingGradient",
        about: "The gradients of a weight are not zero, and so small beside those of the last layer that it hardly learns.",
        thresholds: &[
            t("ratio", 1e-6, "mean absolute gradient of the weight over that of the last layer"),
            t("patience", 3.0, "samples in a row"),
        ],
        why: "SageMaker's limit is a mean absolute gradient of 1e-7 whatever the model; but every gradient of a model that has learnt its photos gets there. Beside the last layer's, the loss cancels out. Behind a layer scale, which begins at 1e-6 in ConvNeXt, as much less is expected.",
        advice: "start from pretrained weights, or take a model with norms, which keep gradients alike in all layers",
        command: "pugmark train --config RUN/config.toml --model resnet18 --weights resnet18",
        stops: true,
    },
    RuleInfo {
        id: "exploding-tensor",
        sagemaker: "ExplodingTensor",
        about: "A loss, gradient, weight or activation is NaN or infinite. The step is not taken, and the training ends with what it saved before.",
        thresholds: &[],
        why: "Nothing can be learnt from what is no number. The step is run once more to name the first layer it happens in.",
        advice: "lower the learning rate, let it rise slowly, and clip gradients",
        command: "pugmark train --config RUN/config.toml --learning-rate RATE/10 --warmup-epochs 1 --clip-norm 1",
        stops: true,
    },
    RuleInfo {
        id: "dead-relu",
        sagemaker: "DeadRelu",
        about: "Most channels of a ReLU let less than 1 % of their values pass: they compute nothing, and learn nothing any more.",
        thresholds: &[t("share", 0.8, "of the layer's channels"), t("patience", 2.0, "samples in a row")],
        why: "A channel counts, over all pixels and photos, and not a single unit as with SageMaker, since a convolution's weights are shared. SageMaker's share is 0.5; pretrained backbones on photos of a single kind get near to that in their last layers and learn well.",
        advice: "a high learning rate pushes channels below zero for good: lower it, let it rise slowly",
        command: "pugmark train --config RUN/config.toml --learning-rate RATE/10 --warmup-epochs 1",
        stops: true,
    },
    RuleInfo {
        id: "saturated-activation",
        sagemaker: "SaturatedActivation",
        about: "Most inputs of a sigmoid (the squeeze-and-excitation gates of EfficientNet) are below -23 or above 17, where it has no gradient in f32.",
        thresholds: &[t("share", 0.5, "of the layer's values"), t("patience", 2.0, "samples in a row")],
        why: "SageMaker's limits and share. The other activations here (ReLU, GELU, SiLU) do not saturate to both sides.",
        advice: "weights that are too large saturate gates: lower the learning rate, or raise the weight decay",
        command: "pugmark train --config RUN/config.toml --learning-rate RATE/10 --weight-decay 0.05",
        stops: true,
    },
    RuleInfo {
        id: "poor-initialization",
        sagemaker: "PoorWeightInitialization",
        about: "In the first step, activations of one layer are spread far more or far less than those of another.",
        thresholds: &[t("ratio", 1e4, "largest variance of a layer's activations over the smallest")],
        why: "SageMaker's ratio is 10. Sums of residual blocks and gates alone spread the variances of sound models: up to 35 times in EfficientNet.",
        advice: "start from pretrained weights, or leave `--weights` out so that they are drawn anew",
        command: "pugmark train --config RUN/config.toml --weights none",
        stops: true,
    },
    RuleInfo {
        id: "update-ratio",
        sagemaker: "WeightUpdateRatio",
        about: "A step changes a weight by more than its own size, or by so little that rounding swallows it.",
        thresholds: &[
            t("large", 15.0, "norm of the change over that of the weight, at most"),
            t("small", 1e-8, "the same, at least, where the weight changes at all"),
        ],
        why: "Sound trainings are around 0.001, but for the first step: in front of a norm it may make a weight several times as large, and nothing is lost (10 times in EfficientNet with SGD). SageMaker has 10. Its small ratio of 1e-8 is below the last place of an f32 (6e-8). Steps at less than a hundredth of the first learning rate, where schedules begin and end, are not held against it.",
        advice: "the learning rate is far off: search for it",
        command: "pugmark train --config RUN/config.toml --find-learning-rate",
        stops: true,
    },
    RuleInfo {
        id: "all-zero",
        sagemaker: "AllZero",
        about: "A weight or its gradient is zero throughout.",
        thresholds: &[t("share", 1.0, "of the values that are zero"), t("patience", 2.0, "samples in a row")],
        why: "SageMaker's share. Biases and norms begin at zero and are not looked at; ReLUs are dead-relu's.",
        advice: "a layer that is cut off by zeros never learns: draw its weights anew, or start from others",
        command: "pugmark train --config RUN/config.toml --weights none",
        stops: true,
    },
    RuleInfo {
        id: "unchanged-tensor",
        sagemaker: "UnchangedTensor",
        about: "A weight that is trained does not change at all.",
        thresholds: &[t("patience", 3.0, "samples in a row")],
        why: "SageMaker takes changes below 1e-5 of a value for none; small rates of fine-tuning and the end of a cosine are as small and do their work. Here every bit counts, and steps at less than a hundredth of the first learning rate do not.",
        advice: "the learning rate is too small to change a weight: search for it",
        command: "pugmark train --config RUN/config.toml --find-learning-rate",
        stops: true,
    },
    RuleInfo {
        id: "class-imbalance",
        sagemaker: "ClassImbalance",
        about: "The largest class has many times the photos of the smallest, and nothing makes up for it.",
        thresholds: &[
            t("ratio", 10.0, "photos of the largest class over those of the smallest"),
            t("photos", 100.0, "to train on, at least"),
        ],
        why: "SageMaker's ratio. Class weights or balanced sampling are the remedy, and silence it. How often a class is missed is confusion's.",
        advice: "let rare classes count more",
        command: "pugmark train --config RUN/config.toml --class-weights balanced",
        stops: false,
    },
    RuleInfo {
        id: "confusion",
        sagemaker: "Confusion",
        about: "Most validation photos of a class are taken for one other class, epoch after epoch, and hardly any is found.",
        thresholds: &[
            t("off_diagonal", 0.7, "share of the class's photos that are taken for the other, at least"),
            t("diagonal", 0.2, "share of them that are found, at most"),
            t("photos", 20.0, "of the class in the validation part, at least"),
            t("patience", 3.0, "epochs in a row"),
            t("steps", 100.0, "before which nothing is said"),
        ],
        why: "SageMaker asks for 0.9 on the diagonal and 0.1 beside it from the start, which no training fulfils in its first epochs and few at the end. A class that is swallowed by another is what a person can act on.",
        advice: "look whether the two classes are mixed up in the labels, and give the class more photos or weight",
        command: "pugmark report RUN",
        stops: false,
    },
    RuleInfo {
        id: "loss-not-decreasing",
        sagemaker: "LossNotDecreasing",
        about: "The training loss has not fallen since the training began, or has risen far above its lowest.",
        thresholds: &[
            t(
                "fall",
                0.05,
                "share by which the mean loss of the last windows must be below that of the first",
            ),
            t("rise", 2.0, "times the lowest mean loss of a window, and 0.5 above it"),
            t("windows", 3.0, "without such a fall, or 2 with such a rise"),
            t("steps", 50.0, "of a window, at least; a window is whole epochs, or 200 steps of one"),
        ],
        why: "SageMaker compares ten single steps: noise of small batches is larger than its 0.1 %, and moves means over 50 steps by 1 or 2 %. Windows of whole epochs are of the same photos, and a loss that has fallen once is no longer one that never falls. Steps of a warm-up do not count, nor does a loss below a tenth of guessing's.",
        advice: "the learning rate does not fit, or labels say nothing about the photos: search for it, look at the labels",
        command: "pugmark train --config RUN/config.toml --find-learning-rate",
        stops: true,
    },
    RuleInfo {
        id: "overfit",
        sagemaker: "Overfit",
        about: "The validation loss is far above the training loss and rises from its lowest.",
        thresholds: &[
            t("ratio", 0.5, "(validation - training) / training loss"),
            t("rise", 0.25, "share by which the validation loss is above its lowest"),
            t("patience", 3.0, "epochs in a row"),
            t("start", 0.0, "epoch after which it begins"),
            t("steps", 50.0, "before which nothing is said"),
        ],
        why: "SageMaker's 0.1 for one epoch is usual for any small training whose training loss gets near to zero. Losses that part are no harm as long as validation does not get worse; and the running statistics of batch norms take some dozens of steps to say anything.",
        advice: "end earlier, augment more, or take fewer trained parameters",
        command: "pugmark train --config RUN/config.toml --early-stopping 3 --random-crop 0.5 --mixup 0.2",
        stops: true,
    },
    RuleInfo {
        id: "overtraining",
        sagemaker: "Overtraining",
        about: "Neither training nor validation loss gets better any more.",
        thresholds: &[
            t("patience_train", 5.0, "epochs without a lower training loss"),
            t("patience_validation", 10.0, "epochs without a lower validation loss"),
            t("delta", 0.01, "share by which a loss must be lower"),
        ],
        why: "SageMaker's patience; its delta of 0.01 is absolute, which a loss of 0.02 can hardly fall by. Early stopping is the remedy, and silences it.",
        advice: "the rest of the epochs is for nothing: end when it gets no better",
        command: "pugmark train --config RUN/config.toml --early-stopping 5",
        stops: true,
    },
    RuleInfo {
        id: "stalled-training",
        sagemaker: "StalledTrainingRule",
        about: "Nothing has happened for a long time.",
        thresholds: &[t("seconds", 1800.0, "between two signs of life")],
        why: "SageMaker's half an hour; a sign of life is written at least every ten seconds while steps or validation go on. A training that hangs can't say so itself: `pugmark watch RUN` does.",
        advice: "the photos are not there (a network drive, a bucket), or the machine sleeps: go on with it",
        command: "pugmark train --resume RUN",
        stops: false,
    },
    RuleInfo {
        id: "input-not-normalized",
        sagemaker: "NotNormalizedImages",
        about: "The pictures that reach the model are far from mean 0 and deviation 1: nearly black, nearly white, without contrast, or not scaled.",
        thresholds: &[
            t("mean", 1.9, "absolute mean of a colour"),
            t("low", 0.02, "standard deviation of a colour, at least"),
            t("high", 3.0, "standard deviation of a colour, at most"),
            t("patience", 2.0, "samples in a row"),
        ],
        why: "SageMaker's 0.2 for the mean fires on any night camera. Normalised black is -2.1 and white 2.6, infrared frames lie around -1; pixels that are not scaled have deviations around 60.",
        advice: "look at the photos as the model is shown them; dark or flat files tell of a decoding or export error",
        command: "pugmark check DATA --preview RUN/config.toml --preview-out preview.html",
        stops: true,
    },
    RuleInfo {
        id: "low-utilization",
        sagemaker: "LowGPUUtilization",
        about: "Cores are idle though the training does not wait for photos.",
        thresholds: &[
            t("p95", 0.7, "95th percentile of the share of cores in use, below"),
            t("window", 30.0, "intervals of ten seconds"),
        ],
        why: "SageMaker's 70 %, over five minutes. The machine's cores must be idle too: those that others use can't be had.",
        advice: "let it use every core, and give it larger batches",
        command: "pugmark train --config RUN/config.toml --threads 0 --batch-size auto",
        stops: false,
    },
    RuleInfo {
        id: "cpu-bottleneck",
        sagemaker: "CPUBottleneck",
        about: "The training waits for photos while the cores are busy with decoding and augmenting them.",
        thresholds: &[
            t("waiting", 0.3, "share of an interval's time spent waiting for photos"),
            t("cpu", 0.9, "share of the cores in use"),
            t("share", 0.5, "of the intervals"),
            t("window", 30.0, "intervals of ten seconds"),
        ],
        why: "SageMaker's 90 % and half of the time. Without a GPU, waiting takes the place of its idleness; below 30 % there is little to win.",
        advice: "decode and resize the photos once and for all, and train from that",
        command: "pugmark prepare DATA --out DATA-prepared",
        stops: false,
    },
    RuleInfo {
        id: "io-bottleneck",
        sagemaker: "IOBottleneck",
        about: "The training waits for photos and the cores are idle: disc or network is the limit.",
        thresholds: &[
            t("waiting", 0.3, "share of an interval's time spent waiting for photos"),
            t("cpu", 0.7, "share of the cores in use, below"),
            t("share", 0.5, "of the intervals"),
            t("window", 30.0, "intervals of ten seconds"),
        ],
        why: "SageMaker's half of the time; the machine's own count of time spent waiting for discs knows nothing of networks, so that idle cores stand for it.",
        advice: "pack the photos into shards, which are read in one go, on a near disc; or read with more threads",
        command: "pugmark prepare DATA --out DATA-prepared",
        stops: false,
    },
    RuleInfo {
        id: "step-outlier",
        sagemaker: "StepOutlier",
        about: "Single steps take far longer than the others, often enough to cost time.",
        thresholds: &[
            t("factor", 3.0, "times the median of the last 1000 steps"),
            t("outliers", 10.0, "of these, more than"),
            t("share", 0.1, "of the time that they took, at least"),
        ],
        why: "SageMaker's more than 10 of at least 100 steps. Its mean + 3 standard deviations moves with the outliers themselves: of steps that are all alike but every tenth, none is one. The first step of an epoch waits for its photos and does not count.",
        advice: "something else takes the machine now and then, or some photos are far larger than others: prepare them",
        command: "pugmark prepare DATA --out DATA-prepared",
        stops: false,
    },
    RuleInfo {
        id: "memory-growth",
        sagemaker: "GPUMemoryIncrease",
        about: "The process takes more and more memory after its second epoch.",
        thresholds: &[
            t("increase", 0.1, "share by which the last window is above the first"),
            t("mib", 128.0, "and so much, at least"),
            t("window", 10.0, "intervals of ten seconds"),
        ],
        why: "SageMaker's 10 %. Caches fill in the first epoch and its validation, so that counting begins with the third.",
        advice: "keep fewer decoded photos",
        command: "pugmark train --resume RUN --cache-mib 0",
        stops: false,
    },
];

/// SageMaker's rule for a long way to the first step, which is one of the machine too.
pub const SLOW_START: RuleInfo = RuleInfo {
    id: "slow-start",
    sagemaker: "MaxInitializationTime",
    about: "The first step comes late.",
    thresholds: &[t("minutes", 20.0, "to the first step, features not counted")],
    why: "SageMaker's.",
    advice: "a data set is read and hashed photo by photo: prepare it once",
    command: "pugmark prepare DATA --out DATA-prepared",
    stops: false,
};

/// Every rule.
pub fn rules() -> impl Iterator<Item = &'static RuleInfo> {
    RULES.iter().chain([&SLOW_START])
}

/// The rule of that name.
pub(crate) fn rule(id: &str) -> Option<&'static RuleInfo> {
    rules().find(|rule| rule.id == id)
}

/// Thresholds that are not the default: `RULE.NAME=VALUE`, with commas between them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Thresholds(BTreeMap<String, f64>);

impl Thresholds {
    /// A rule's threshold.
    pub(crate) fn get(&self, rule: &RuleInfo, name: &str) -> f64 {
        let of = |threshold: &&Threshold| threshold.name == name;
        let default = rule.thresholds.iter().find(of).map_or(f64::NAN, |threshold| threshold.default);
        self.0.get(&format!("{}.{name}", rule.id)).copied().unwrap_or(default)
    }

    /// These, and in front of them those of `other`.
    pub fn with(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().map(|(name, value)| (name.clone(), *value)));
        self
    }
}

/// How no thresholds are written.
const NONE: &str = "none";

impl FromStr for Thresholds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut thresholds = BTreeMap::new();
        let text = if text == NONE { "" } else { text };
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || format!("`{part}` is no RULE.NAME=VALUE such as overfit.ratio=0.2");
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            let (id, own) = name.split_once('.').ok_or_else(wrong)?;
            let known = |names: Vec<&str>| names.join(", ");
            let info = rule(id).ok_or_else(|| {
                format!("there is no rule `{id}`; there are {}", known(rules().map(|r| r.id).collect()))
            })?;
            if !info.thresholds.iter().any(|threshold| threshold.name == own) {
                return Err(match info.thresholds {
                    [] => format!("the rule {id} has no thresholds"),
                    some => {
                        let names = some.iter().map(|threshold| threshold.name).collect();
                        format!("the rule {id} has no threshold `{own}`; it has {}", known(names))
                    }
                });
            }
            let value: f64 = value.parse().map_err(|_| wrong())?;
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!("{name} is {value}: it must be 0 or more"));
            }
            thresholds.insert(name.to_owned(), value);
        }
        Ok(Self(thresholds))
    }
}

impl fmt::Display for Thresholds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NONE);
        }
        for (at, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={value}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Serialize for Thresholds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thresholds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_words() {
        let text = "overfit.ratio=0.2,update-ratio.large=5";
        let thresholds: Thresholds = text.parse().unwrap();
        assert_eq!(thresholds.to_string(), text);
        let of = |id: &str, name: &str| thresholds.get(rule(id).unwrap(), name);
        assert_eq!((of("overfit", "ratio"), of("overfit", "rise")), (0.2, 0.25));
        for none in ["", "none"] {
            assert_eq!(none.parse::<Thresholds>(), Ok(Thresholds::default()));
        }
        assert_eq!(Thresholds::default().to_string(), "none");
        for (text, why) in [
            ("overfit", "`overfit` is no RULE.NAME=VALUE such as overfit.ratio=0.2"),
            ("overfit.ratio=x", "`overfit.ratio=x` is no RULE.NAME=VALUE such as overfit.ratio=0.2"),
            ("overfit.ratio=-1", "overfit.ratio is -1: it must be 0 or more"),
            (
                "overfit.rate=1",
                "the rule overfit has no threshold `rate`; it has ratio, rise, patience, start, steps",
            ),
            ("exploding-tensor.x=1", "the rule exploding-tensor has no thresholds"),
        ] {
            assert_eq!(text.parse::<Thresholds>().unwrap_err(), why);
        }
        assert!(
            "over.x=1".parse::<Thresholds>().unwrap_err().starts_with("there is no rule `over`; there are v")
        );
    }
}
