//! What the figures mean, in a sentence.

use super::machine::busy;
use super::{LoaderTime, Metric, StepTimes};

/// SageMaker's report calls a machine busy whose 95th percentile is above this, in %.
const BUSY: f64 = 70.0;
/// Share of the steps' time in waiting for photos from which on the loader is to blame.
pub(super) const WAITING: f64 = 0.1;
/// Share of the time that the disk lets the machine wait, in %, from which on it is to blame.
const DISK: f64 = 20.0;

/// What the loader's threads spend most of their working time on, and its share.
pub(super) fn slowest_stage(loader: &LoaderTime) -> (&'static str, f64) {
    let LoaderTime { read, decode, resize, augment, .. } = *loader;
    let all = read + decode + resize + augment;
    let stages = [("reading", read), ("decoding", decode), ("resizing", resize), ("augmenting", augment)];
    let longest = stages.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    longest.map_or(("reading", 0.0), |(name, seconds)| (name, if all > 0.0 { seconds / all } else { 0.0 }))
}

/// What to do about a loader that is slow in that.
fn remedy(stage: &str) -> &'static str {
    match stage {
        "reading" => "a faster disk, `pugmark prepare`, or more `--cache-mib` would help",
        "augmenting" => "more `--loader-threads` or less augmentation would help",
        _ => "`pugmark prepare`, more `--cache-mib` or more `--loader-threads` would help",
    }
}

/// What limits the training.
pub(super) fn verdict(
    steps: Option<&StepTimes>,
    waiting: f64,
    loader: Option<&LoaderTime>,
    system: &[Metric],
) -> String {
    let Some(steps) = steps else { return "No step was trained: there is nothing to say.".to_owned() };
    let free = steps.images_per_sec_without_loading;
    if waiting >= WAITING {
        let (why, what) = match loader.map(slowest_stage) {
            Some((stage, share)) => {
                (format!(", of which its threads spend {:.0} % on {stage}", share * 100.0), remedy(stage))
            }
            None => (String::new(), remedy("")),
        };
        return format!(
            "Loading photos is the limit: {:.0} % of the steps' time is spent waiting for the loader{why}; with the loader free \
             you would reach {free:.1} images/s instead of {:.1}; {what}.",
            waiting * 100.0,
            steps.images_per_sec
        );
    }
    match busy(system) {
        Some([_, _, disk]) if disk > DISK => format!(
            "Computing is the limit, but the cores wait for the disk {disk:.0} % of the time (p95): something else may be using it."
        ),
        Some([own, all, _]) if own < BUSY && all > BUSY => format!(
            "Something else uses the processor: this training gets {own:.0} % of the cores while {all:.0} % are busy (p95)."
        ),
        Some([own, ..]) if own < BUSY => format!(
            "Neither loading nor computing fills the machine: this training uses {own:.0} % of the cores (p95); a larger `--batch-size` or \
             more `--threads` may help."
        ),
        Some([own, ..]) => format!(
            "Computing is the limit, as it should be: {own:.0} % of the cores are used (p95), and {:.1} % of the steps' time is spent \
             waiting for photos.",
            waiting * 100.0
        ),
        None => format!(
            "Computing is the limit, as it should be: {:.1} % of the steps' time is spent waiting for photos.",
            waiting * 100.0
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spread;
    use super::super::machine::METRICS;
    use super::*;

    fn steps() -> StepTimes {
        StepTimes {
            count: 10,
            images: 80,
            seconds: Spread::default(),
            images_per_sec: 20.0,
            images_per_sec_without_loading: 40.0,
            histogram: Default::default(),
            outlier_above: None,
            outlier_rule: String::new(),
            outlier_count: 0,
            outliers: Vec::new(),
        }
    }

    fn system([own, all, disk]: [f64; 3]) -> Vec<Metric> {
        let value = |at| [own, all, disk, 0.0, 0.0, 0.0][at];
        let metric = |(at, (name, unit)): (usize, (&str, &str))| Metric {
            name: name.into(),
            unit: unit.into(),
            values: Spread::of([value(at)]),
        };
        METRICS.into_iter().enumerate().map(metric).collect()
    }

    #[test]
    fn the_limit_is_named_with_what_to_do() {
        let loader = |read, decode, augment| LoaderTime {
            threads: 2,
            batches: 10,
            read,
            decode,
            resize: 0.0,
            augment,
            idle: 0.0,
            ready: Spread::default(),
            ready_over_time: Vec::new(),
        };
        let say = |waiting, loader: Option<LoaderTime>, machine| {
            verdict(Some(&steps()), waiting, loader.as_ref(), &system(machine))
        };
        let busy = [90.0, 95.0, 0.0];
        let cases = [
            (
                say(0.5, Some(loader(9.0, 1.0, 0.0)), busy),
                "90 % on reading; with the loader free you would reach 40.0 images/s instead of 20.0; a faster disk",
            ),
            (say(0.5, Some(loader(1.0, 9.0, 0.0)), busy), "on decoding; with the loader free"),
            (say(0.5, Some(loader(1.0, 0.0, 9.0)), busy), "less augmentation would help"),
            (say(0.5, None, busy), "waiting for the loader; with"),
            (say(0.01, None, busy), "as it should be: 90 % of the cores"),
            (
                say(0.01, None, [30.0, 95.0, 0.0]),
                "Something else uses the processor: this training gets 30 %",
            ),
            (say(0.01, None, [30.0, 35.0, 0.0]), "Neither loading nor computing"),
            (say(0.01, None, [90.0, 95.0, 60.0]), "wait for the disk 60 %"),
            (verdict(Some(&steps()), 0.01, None, &[]), "as it should be: 1.0 %"),
            (verdict(None, 0.0, None, &[]), "nothing to say"),
        ];
        for (said, part) in cases {
            assert!(said.contains(part), "{part}: {said}");
            assert_eq!(said.matches(". ").count(), 0, "one sentence: {said}");
        }
    }
}
