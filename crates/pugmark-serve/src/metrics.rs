//! What the server counts, as Prometheus text (exposition format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of times, in seconds.
const SECONDS: [f64; 12] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// Upper bounds of probabilities.
const SHARES: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
/// Upper bounds of photos in a batch.
const PHOTOS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Everything that is counted.
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    answers: Mutex<BTreeMap<(String, String), u64>>,
    broken: AtomicU64,
    /// Requests that were kept, and that were to be and are not.
    kept: AtomicU64,
    lost: AtomicU64,
    lines_lost: AtomicU64,
    /// Spans that a collector took, and that none did.
    spans_sent: AtomicU64,
    spans_lost: AtomicU64,
    pub(crate) in_flight: AtomicUsize,
    request_seconds: Histogram,
    queue_seconds: Histogram,
    model_seconds: Histogram,
    batch_photos: Histogram,
    confidence: Histogram,
    brightness: Histogram,
    /// Copies of requests that a shadow took, and that were dropped.
    copies: AtomicU64,
    copies_dropped: AtomicU64,
    /// Photos of which a shadow says the same, something else, nothing.
    shadow: [AtomicU64; 3],
    shadow_difference: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let seconds = || Histogram::new(&SECONDS);
        Self {
            requests: Mutex::default(),
            answers: Mutex::default(),
            broken: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            lines_lost: AtomicU64::new(0),
            spans_sent: AtomicU64::new(0),
            spans_lost: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            request_seconds: seconds(),
            queue_seconds: seconds(),
            model_seconds: seconds(),
            batch_photos: Histogram::new(&PHOTOS),
            confidence: Histogram::new(&SHARES),
            brightness: Histogram::new(&SHARES),
            copies: AtomicU64::new(0),
            copies_dropped: AtomicU64::new(0),
            shadow: Default::default(),
            shadow_difference: Histogram::new(&SHARES),
        }
    }

    /// A request was answered.
    pub(crate) fn request(&self, route: &str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route.to_owned(), status)).or_default() += 1;
        self.request_seconds.add(took.as_secs_f64());
    }

    /// A photo was taken for a class.
    pub(crate) fn answered(&self, variant: &str, class: &str, probability: f32, brightness: f32) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((variant.to_owned(), class.to_owned())).or_default() += 1;
        self.confidence.add(probability.into());
        self.brightness.add(brightness.into());
    }

    /// Of a variant that is no more, nothing is told.
    pub(crate) fn forget(&self, variant: &str) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|(of, _), _| of != variant);
    }

    /// A photo had no answer.
    pub(crate) fn broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// A copy of a request went to the shadow, or was dropped.
    pub(crate) fn copied(&self, taken: bool) {
        if taken { &self.copies } else { &self.copies_dropped }.fetch_add(1, Ordering::Relaxed);
    }

    /// What a shadow says of a photo: whether the same class, and how much less or more probable it is; or nothing.
    pub(crate) fn shadowed(&self, said: Option<(bool, f32)>) {
        let place = match said {
            Some((true, _)) => 0,
            Some((false, _)) => 1,
            None => 2,
        };
        self.shadow[place].fetch_add(1, Ordering::Relaxed);
        if let Some((_, difference)) = said {
            self.shadow_difference.add(difference.into());
        }
    }

    /// A request was kept, or could not be.
    pub(crate) fn capture(&self, kept: bool) {
        if kept { &self.kept } else { &self.lost }.fetch_add(1, Ordering::Relaxed);
    }

    /// A line of the log was written, or is lost.
    pub(crate) fn log_line(&self, lost: bool) {
        self.lines_lost.fetch_add(lost.into(), Ordering::Relaxed);
    }

    /// Spans were sent, or are lost.
    pub(crate) fn spans(&self, sent: bool, spans: usize) {
        if sent { &self.spans_sent } else { &self.spans_lost }.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// A batch went through the model.
    pub(crate) fn batch(&self, photos: usize, took: Duration) {
        self.batch_photos.add(photos as f64);
        self.model_seconds.add(took.as_secs_f64());
    }

    /// A photo waited for its batch.
    pub(crate) fn queued(&self, time: Duration) {
        self.queue_seconds.add(time.as_secs_f64());
    }

    /// Everything as text; `waiting` photos have been taken in and not answered, `models` were loaded by request.
    pub(crate) fn text(&self, waiting: usize, models: usize) -> String {
        let mut text = String::new();
        head(&mut text, "requests_total", "counter", "Requests answered, by path and status.");
        for ((route, status), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(text, "pugmark_requests_total{{path=\"{route}\",status=\"{status}\"}} {count}");
        }
        head(&mut text, "photos_total", "counter", "Photos answered, by variant and most likely class.");
        for ((variant, class), count) in &*self.answers.lock().unwrap_or_else(PoisonError::into_inner) {
            let (variant, class) = (label(variant), label(class));
            let _ = writeln!(text, "pugmark_photos_total{{variant=\"{variant}\",class=\"{class}\"}} {count}");
        }
        head(
            &mut text,
            "shadow_photos_total",
            "counter",
            "Photos a shadow saw, by what it says of their class.",
        );
        for (outcome, count) in ["agrees", "differs", "failed"].iter().zip(&self.shadow) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(text, "pugmark_shadow_photos_total{{outcome=\"{outcome}\"}} {count}");
        }
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let in_flight = self.in_flight.load(Ordering::Relaxed) as u64;
        let single = [
            ("broken_photos_total", "counter", "Photos that have no answer.", of(&self.broken)),
            ("captured_total", "counter", "Requests kept by --capture.", of(&self.kept)),
            ("captures_lost_total", "counter", "Requests that could not be kept.", of(&self.lost)),
            ("shadow_copies_total", "counter", "Requests that the shadow took.", of(&self.copies)),
            (
                "shadow_copies_dropped_total",
                "counter",
                "Requests it had no time for.",
                of(&self.copies_dropped),
            ),
            ("log_lines_lost_total", "counter", "Lines of the log that nobody took.", of(&self.lines_lost)),
            ("spans_sent_total", "counter", "Spans that the collector took.", of(&self.spans_sent)),
            ("spans_lost_total", "counter", "Spans that it did not take.", of(&self.spans_lost)),
            ("requests_in_flight", "gauge", "Requests being answered.", in_flight),
            ("models_loaded", "gauge", "Models that were loaded by request.", models as u64),
            ("photos_waiting", "gauge", "Photos being decoded, waiting or looked at.", waiting as u64),
        ];
        for (name, kind, help, value) in single {
            head(&mut text, name, kind, help);
            let _ = writeln!(text, "pugmark_{name} {value}");
        }
        let histograms = [
            ("request_seconds", "From the head of a request to its answer.", &self.request_seconds),
            ("queue_seconds", "A photo's wait for its batch.", &self.queue_seconds),
            ("model_seconds", "A batch's time in the model.", &self.model_seconds),
            ("batch_photos", "Photos in a batch.", &self.batch_photos),
            ("confidence", "Probability of the most likely class.", &self.confidence),
            ("brightness", "Mean brightness of a photo.", &self.brightness),
            ("shadow_difference", "How far a shadow is from a class's probability.", &self.shadow_difference),
        ];
        for (name, help, histogram) in histograms {
            head(&mut text, name, "histogram", help);
            histogram.write(&mut text, name);
        }
        text
    }
}

pub(crate) fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP pugmark_{name} {help}\n# TYPE pugmark_{name} {kind}");
}

/// The value of a label, escaped.
pub(crate) fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Counts of values up to each bound.
struct Histogram {
    bounds: &'static [f64],
    /// One a bound, and one for what is above all.
    counts: Vec<AtomicU64>,
    /// In millionths.
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    fn add(&self, value: f64) {
        let place = self.bounds.partition_point(|&bound| bound < value);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str) {
        let mut total = 0;
        for (place, count) in self.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            let bound = self.bounds.get(place).map_or("+Inf".to_owned(), f64::to_string);
            let _ = writeln!(text, "pugmark_{name}_bucket{{le=\"{bound}\"}} {total}");
        }
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "pugmark_{name}_sum {sum}\npugmark_{name}_count {total}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_prometheus_reads() {
        let metrics = Metrics::new();
        metrics.request("/invocations", 200, Duration::from_millis(5));
        metrics.request("/invocations", 200, Duration::from_millis(6));
        metrics.answered("main", "a \"cat\"\\", 1.0, 0.5);
        metrics.batch(3, Duration::from_secs(20));
        let text = metrics.text(7, 2);
        for line in [
            "pugmark_requests_total{path=\"/invocations\",status=\"200\"} 2",
            "pugmark_request_seconds_bucket{le=\"0.002\"} 0",
            "pugmark_request_seconds_bucket{le=\"0.005\"} 1",
            "pugmark_request_seconds_bucket{le=\"+Inf\"} 2",
            "pugmark_request_seconds_sum 0.011",
            "pugmark_request_seconds_count 2",
            "pugmark_photos_total{variant=\"main\",class=\"a \\\"cat\\\"\\\\\"} 1",
            "pugmark_model_seconds_bucket{le=\"10\"} 0",
            "pugmark_batch_photos_bucket{le=\"4\"} 1",
            "pugmark_photos_waiting 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
