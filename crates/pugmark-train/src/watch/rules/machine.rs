//! Rules of time, cores and memory.

use std::collections::VecDeque;

use super::{Context, Hit, Rule, Verdict};
use crate::watch::record::{Record, Start, System};
use crate::watch::thresholds::{RuleInfo, SLOW_START, rule};

pub(super) fn rules() -> Vec<Box<dyn Rule>> {
    let intervals: [(&str, Judge); 3] =
        [("low-utilization", utilisation), ("cpu-bottleneck", processors), ("io-bottleneck", discs)];
    let mut list: Vec<Box<dyn Rule>> = vec![Box::new(SlowStart)];
    list.extend(intervals.into_iter().filter_map(|(id, judge)| {
        Some(Box::new(OfIntervals { info: rule(id)?, judge, window: VecDeque::new() }) as Box<dyn Rule>)
    }));
    list.extend(rule("stalled-training").map(|info| Box::new(Stalled { info, last: None }) as Box<dyn Rule>));
    list.extend(
        rule("step-outlier").map(|info| Box::new(Outliers { info, times: VecDeque::new() }) as Box<dyn Rule>),
    );
    list.extend(
        rule("memory-growth")
            .map(|info| Box::new(Memory { info, held: VecDeque::new(), base: None }) as Box<dyn Rule>),
    );
    list
}

struct SlowStart;

impl Rule for SlowStart {
    fn info(&self) -> &'static RuleInfo {
        &SLOW_START
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        let Record::Start(Start { startup, step, epoch, .. }) = record else { return };
        let (value, threshold) = (startup / 60.0, context.get(&SLOW_START, "minutes"));
        if verdict.point(value > threshold) {
            let text = format!("the first step came after {value:.0} minutes");
            let (step, epoch, tensor) = (*step, *epoch, "start".into());
            verdict.hits.push(Hit { step, epoch, tensor, value, threshold, text });
        }
    }
}

/// What intervals come to: the value, its threshold, whether it is beyond it, and a sentence.
type Judge = fn(&[System], &Context, &RuleInfo) -> (f64, f64, bool, String);

/// A rule that looks at the last intervals together.
struct OfIntervals {
    info: &'static RuleInfo,
    judge: Judge,
    window: VecDeque<System>,
}

impl Rule for OfIntervals {
    fn info(&self) -> &'static RuleInfo {
        self.info
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        let system = match record {
            // Another process, perhaps on another machine.
            Record::Start(_) => return self.window.clear(),
            Record::System(system) => *system,
            _ => return,
        };
        let length = (context.get(self.info, "window") as usize).max(1);
        self.window.push_back(system);
        while self.window.len() > length {
            self.window.pop_front();
        }
        if self.window.len() < length {
            return;
        }
        let (value, threshold, violated, text) =
            (self.judge)(self.window.make_contiguous(), context, self.info);
        if verdict.point(violated) {
            let (step, epoch, tensor) = (system.step, system.epoch, "cores".into());
            verdict.hits.push(Hit { step, epoch, tensor, value, threshold, text });
        }
    }
}

/// The value below which 95 % of all lie, the nearest one.
fn percentile_95(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * 0.95).round() as usize).copied().unwrap_or(0.0)
}

/// A training that waits this share of its time for photos has another problem than its threads.
const WAITS: f64 = 0.3;

fn utilisation(window: &[System], context: &Context, info: &RuleInfo) -> (f64, f64, bool, String) {
    let threshold = context.get(info, "p95");
    let value = percentile_95(window.iter().map(|system| system.cpu));
    let machine = percentile_95(window.iter().map(|system| system.machine));
    let waiting = window.iter().map(|system| system.waiting).sum::<f64>() / window.len() as f64;
    let violated = value < threshold && machine < threshold && waiting < WAITS;
    let text = format!("at most {:.0} % of the cores are in use, 95 % of the time", value * 100.0);
    (value, threshold, violated, text)
}

fn processors(window: &[System], context: &Context, info: &RuleInfo) -> (f64, f64, bool, String) {
    let cpu = context.get(info, "cpu");
    waiting(window, context, info, "while the cores are busy", &|system| system.cpu >= cpu)
}

fn discs(window: &[System], context: &Context, info: &RuleInfo) -> (f64, f64, bool, String) {
    let cpu = context.get(info, "cpu");
    waiting(window, context, info, "while the cores are idle", &|system| system.cpu < cpu)
}

fn waiting(
    window: &[System],
    context: &Context,
    info: &RuleInfo,
    how: &str,
    matches: &dyn Fn(&System) -> bool,
) -> (f64, f64, bool, String) {
    let (least, threshold) = (context.get(info, "waiting"), context.get(info, "share"));
    let hit = window.iter().filter(|system| system.waiting > least && matches(system)).count();
    let value = hit as f64 / window.len() as f64;
    let text = format!("in {:.0} % of the intervals the training waits for photos {how}", value * 100.0);
    (value, threshold, value > threshold, text)
}

struct Stalled {
    info: &'static RuleInfo,
    /// Time, step and epoch of the last sign of life.
    last: Option<(f64, u64, u32)>,
}

impl Stalled {
    fn judge(&mut self, now: f64, context: &Context, verdict: &mut Verdict) {
        let Some((since, step, epoch)) = self.last else { return };
        let (value, threshold) = (now - since, context.get(self.info, "seconds"));
        if verdict.point(value > threshold) {
            let text = format!("nothing happened for {:.0} minutes after step {step}", value / 60.0);
            verdict.hits.push(Hit { step, epoch, tensor: "training".into(), value, threshold, text });
        }
    }
}

impl Rule for Stalled {
    fn info(&self) -> &'static RuleInfo {
        self.info
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        match record {
            // It was not there in between.
            Record::Start(start) => self.last = Some((start.time, start.step, start.epoch)),
            Record::System(system) => {
                self.judge(system.time, context, verdict);
                self.last = Some((system.time, system.step, system.epoch));
            }
            _ => {}
        }
    }

    fn silence(&mut self, now: f64, context: &Context, verdict: &mut Verdict) {
        self.judge(now, context, verdict);
    }
}

struct Outliers {
    info: &'static RuleInfo,
    times: VecDeque<f64>,
}

/// Steps that are looked at together, at most and at least.
const STEPS: (usize, usize) = (1000, 100);

impl Rule for Outliers {
    fn info(&self) -> &'static RuleInfo {
        self.info
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        let (step, epoch) = match record {
            Record::Start(_) => return self.times.clear(),
            Record::Steps { step, epoch, begins, milliseconds, .. } => {
                let times = milliseconds.iter().map(|time| time.0).skip(usize::from(*begins));
                self.times.extend(times.filter(|time| time.is_finite()));
                (*step, *epoch)
            }
            _ => return,
        };
        while self.times.len() > STEPS.0 {
            self.times.pop_front();
        }
        if self.times.len() < STEPS.1 {
            return;
        }
        let mut sorted: Vec<f64> = self.times.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let of = |name| context.get(self.info, name);
        let median = sorted[sorted.len() / 2];
        let limit = median * of("factor");
        let slow = &sorted[sorted.partition_point(|&time| time <= limit)..];
        let (value, threshold) = (slow.iter().sum::<f64>() / sorted.iter().sum::<f64>(), of("share"));
        if verdict.point(slow.len() as f64 > of("outliers") && value >= threshold) {
            let text = format!(
                "{} of the last {} steps took more than {limit:.1} ms, and {:.0} % of the time; half of them took less than {median:.1} ms",
                slow.len(),
                sorted.len(),
                value * 100.0
            );
            verdict.hits.push(Hit { step, epoch, tensor: "steps".into(), value, threshold, text });
        }
    }
}

struct Memory {
    info: &'static RuleInfo,
    /// MiB in the last intervals.
    held: VecDeque<f64>,
    /// Their first mean.
    base: Option<f64>,
}

impl Rule for Memory {
    fn info(&self) -> &'static RuleInfo {
        self.info
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        let system = match record {
            Record::Start(_) => {
                self.held.clear();
                self.base = None;
                return;
            }
            Record::System(system) if system.epoch > 2 && system.memory_mib > 0.0 => system,
            _ => return,
        };
        let of = |name| context.get(self.info, name);
        let length = (of("window") as usize).max(1);
        self.held.push_back(system.memory_mib);
        while self.held.len() > length {
            self.held.pop_front();
        }
        if self.held.len() < length {
            return;
        }
        let mean = self.held.iter().sum::<f64>() / length as f64;
        let base = *self.base.get_or_insert(mean);
        let (value, threshold) = (mean / base - 1.0, of("increase"));
        if verdict.point(value > threshold && mean - base > of("mib")) {
            let text = format!("the process held {base:.0} MiB in its third epoch and holds {mean:.0} MiB");
            let (step, epoch, tensor) = (system.step, system.epoch, "memory".into());
            verdict.hits.push(Hit { step, epoch, tensor, value, threshold, text });
        }
    }
}
