//! `trace.json`: the first and the last steps in the Trace Event Format, which Perfetto (ui.perfetto.dev) and
//! chrome://tracing show.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Instant;

use pugmark_data::{BatchTime, Stage};
use pugmark_engine::OperatorTime;
use serde_json::{Value, json};

use super::Phase;
use super::machine::{METRICS, Sample};

/// Steps that `trace.json` has of the beginning, and as many of the end.
pub const TRACED_STEPS: usize = 100;
/// Of these, with every operator.
const WITH_OPERATORS: usize = 10;
/// Validations, saves and the like.
const OUTSIDE: usize = 10_000;
const PROCESS: u32 = 1;
/// Tracks: the thread that trains, the operators in it, and then the loader's threads.
const TRAINING: usize = 1;
const OPERATORS: usize = 2;
const LOADER: usize = 10;

/// A bar in a track, or a point of a counter.
#[derive(Debug)]
struct Event {
    name: Cow<'static, str>,
    track: usize,
    /// In seconds since the beginning.
    start: f64,
    seconds: f64,
    arguments: Value,
}

/// The events that are kept.
#[derive(Debug)]
pub(super) struct Trace {
    started: Instant,
    /// So far.
    steps: usize,
    first: Vec<Vec<Event>>,
    last: VecDeque<Vec<Event>>,
    /// Of the step in progress.
    current: Vec<Event>,
    /// Phases that are in no step.
    outside: Vec<Event>,
}

impl Trace {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            steps: 0,
            first: Vec::new(),
            last: VecDeque::new(),
            current: Vec::new(),
            outside: Vec::new(),
        }
    }

    fn at(&self, instant: Instant) -> f64 {
        instant.saturating_duration_since(self.started).as_secs_f64()
    }

    /// A phase that began at `since`.
    pub(super) fn phase(&mut self, phase: Phase, since: Instant, seconds: f64) {
        let event = Event {
            name: phase.name().into(),
            track: TRAINING,
            start: self.at(since),
            seconds,
            arguments: Value::Null,
        };
        match phase {
            Phase::Loading | Phase::Forward | Phase::Backward | Phase::Optimiser | Phase::Other => {
                self.current.push(event);
            }
            _ if self.outside.len() < OUTSIDE => self.outside.push(event),
            _ => {}
        }
    }

    /// The operators of a step, one after the other from `since` on.
    pub(super) fn operators(&mut self, times: &[OperatorTime], since: Instant) {
        let mut start = self.at(since);
        for OperatorTime { name, kind, pass, seconds, .. } in times {
            self.current.push(Event {
                name: name.clone().into(),
                track: OPERATORS,
                start,
                seconds: *seconds,
                arguments: json!({ "operator": kind, "pass": pass.name() }),
            });
            start += seconds;
        }
    }

    /// Batches that the loader made.
    pub(super) fn batches(&mut self, times: &[BatchTime]) {
        for time in times {
            let start = self.at(time.began);
            let [read, decode, resize, augment] = Stage::ALL.map(|stage| time.seconds[stage as usize] * 1e3);
            self.current.push(Event {
                name: format!("batch {}", time.batch + 1).into(),
                track: LOADER + time.thread,
                start,
                seconds: self.at(time.ended) - start,
                arguments: json!({ "read_ms": read, "decode_ms": decode, "resize_ms": resize, "augment_ms": augment }),
            });
        }
    }

    /// The step in progress is done.
    pub(super) fn end_step(&mut self, epoch: u32, number: usize, ready: usize, began: Instant, seconds: f64) {
        self.current.push(Event {
            name: format!("epoch {epoch}, step {number}").into(),
            track: 0,
            start: self.at(began),
            seconds,
            arguments: json!({ "batches_ready": ready }),
        });
        let events = std::mem::take(&mut self.current);
        self.steps += 1;
        if self.first.len() < TRACED_STEPS {
            self.first.push(events);
        } else {
            self.last.push_back(events);
            if self.last.len() > TRACED_STEPS {
                self.last.pop_front();
            }
        }
        // It is not among the last ones any more that have their operators.
        let Some(step) = self.steps.checked_sub(WITH_OPERATORS + 1) else { return };
        let earlier = match step {
            ..WITH_OPERATORS => None,
            WITH_OPERATORS..TRACED_STEPS => self.first.get_mut(step),
            _ => self.last.get_mut(step + self.last.len() - self.steps),
        };
        earlier.into_iter().for_each(|events| events.retain(|event| event.track != OPERATORS));
    }

    /// Writes it all, an event a line.
    pub(super) fn write(
        &self,
        file: &mut dyn Write,
        engine: &str,
        loader_threads: usize,
        samples: &[Sample],
    ) -> io::Result<()> {
        let name = |what: &str, track: usize, name: &str| json!({ "ph": "M", "name": what, "pid": PROCESS, "tid": track, "args": { "name": name } });
        writeln!(file, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
        write!(file, "{}", name("process_name", 0, &format!("pugmark train, {engine}")))?;
        let mut tracks = vec![
            (0, "steps".to_owned()),
            (TRAINING, "training".to_owned()),
            (OPERATORS, "operators".to_owned()),
        ];
        tracks.extend((0..loader_threads).map(|thread| (LOADER + thread, format!("loader {}", thread + 1))));
        for (track, title) in &tracks {
            write!(file, ",\n{}", name("thread_name", *track, title))?;
            let order = json!({ "ph": "M", "name": "thread_sort_index", "pid": PROCESS, "tid": track, "args": { "sort_index": track } });
            write!(file, ",\n{order}")?;
        }
        for event in self.outside.iter().chain(self.first.iter().flatten()).chain(self.last.iter().flatten())
        {
            let Event { name, track, start, seconds, arguments } = event;
            let mut bar = json!({ "ph": "X", "name": name, "pid": PROCESS, "tid": track, "ts": start * 1e6, "dur": seconds * 1e6 });
            if !arguments.is_null() {
                bar["args"] = arguments.clone();
            }
            write!(file, ",\n{bar}")?;
            if *track == 0 {
                let counter = json!({ "ph": "C", "name": "batches ready", "pid": PROCESS, "ts": start * 1e6, "args": { "batches": arguments["batches_ready"] } });
                write!(file, ",\n{counter}")?;
            }
        }
        for Sample { at, values } in samples {
            for ((title, unit), value) in METRICS.into_iter().zip(values) {
                let counter = json!({ "ph": "C", "name": title, "pid": PROCESS, "ts": self.at(*at) * 1e6, "args": { unit: value } });
                write!(file, ",\n{counter}")?;
            }
        }
        file.write_all(b"\n]}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pugmark_engine::Pass;

    use super::*;

    fn operator() -> OperatorTime {
        OperatorTime {
            name: "conv1".into(),
            kind: "conv 3x3".into(),
            pass: Pass::Forward,
            seconds: 0.001,
            flops: 0.0,
            bytes: 0.0,
        }
    }

    #[test]
    fn the_file_is_bounded_and_well_formed() {
        let started = Instant::now();
        for steps in [5, 150, 1000] {
            let mut trace = Trace::new(started);
            for number in 1..=steps {
                let since = started + Duration::from_millis(20 * number as u64);
                trace.phase(Phase::Forward, since, 0.01);
                trace.operators(&[operator(), operator()], since);
                let batch =
                    BatchTime { batch: number, thread: 1, began: since, ended: since, seconds: [0.001; 4] };
                trace.batches(&[batch]);
                trace.end_step(1, number, 2, since, 0.02);
            }
            trace.phase(Phase::Saving, started + Duration::from_secs(60), 0.5);
            let samples = [Sample { at: started + Duration::from_secs(1), values: [1.0; METRICS.len()] }];
            let mut file = Vec::new();
            trace.write(&mut file, "cpu", 2, &samples).unwrap();
            let json: Value = serde_json::from_slice(&file).unwrap();
            let events = json["traceEvents"].as_array().unwrap();
            let of = |key: &str, value: &str| events.iter().filter(|event| event[key] == value).count();
            let shown = steps.min(2 * TRACED_STEPS);
            assert_eq!(of("name", "forward"), shown);
            assert_eq!(of("name", "conv1"), 2 * steps.min(2 * WITH_OPERATORS), "{steps} steps");
            assert_eq!((of("name", "saving"), of("name", "batches ready")), (1, shown));
            assert_eq!(of("name", &format!("epoch 1, step {steps}")), 1, "the last step is there");
            for event in events {
                let phase = event["ph"].as_str().unwrap();
                assert!(event["pid"].is_u64() && event["name"].is_string());
                match phase {
                    "X" => assert!(event["ts"].as_f64() >= Some(0.0) && event["dur"].as_f64() >= Some(0.0)),
                    "C" => assert!(event["args"].as_object().unwrap().values().all(Value::is_number)),
                    other => assert_eq!(other, "M"),
                }
            }
        }
    }
}
