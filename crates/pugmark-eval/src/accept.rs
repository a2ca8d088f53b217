use serde::Serialize;

use crate::evaluation::most_probable;

/// Which answers need no second look, so that a wanted share of those is right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Acceptance {
    /// The share that was wanted.
    pub wanted: f64,
    /// Answers that are at least this sure are accepted.
    pub confidence: f64,
    /// How many they are.
    pub accepted: usize,
    /// The share of them that is right.
    pub right: f64,
    /// Photos that remain for a person.
    pub remain: usize,
}

/// Seconds that a person needs to look at a photo and agree or not.
pub const SECONDS_A_PHOTO: f64 = 2.0;

impl Acceptance {
    /// How long a person sits over what remains, in words.
    pub fn time(&self) -> String {
        match (self.remain as f64 * SECONDS_A_PHOTO / 60.0).round() {
            minutes if minutes < 1.0 => "less than a minute".to_owned(),
            minutes if minutes < 2.0 => "about a minute".to_owned(),
            minutes if minutes < 120.0 => format!("about {minutes} minutes"),
            minutes => format!("about {:.0} hours", minutes / 60.0),
        }
    }
}

/// The lowest confidence at which `wanted` of the accepted answers are right; none where there is no such. Arguments are
/// those that [`evaluate`](crate::evaluate) has taken.
pub fn accept(labels: &[usize], probabilities: &[f32], wanted: f64) -> Option<Acceptance> {
    let classes = probabilities.len() / labels.len().max(1);
    let answer = |(&label, row): (&usize, &[f32])| {
        let predicted = most_probable(row);
        (row[predicted], predicted == label)
    };
    let mut answers: Vec<(f32, bool)> =
        labels.iter().zip(probabilities.chunks_exact(classes.max(1))).map(answer).collect();
    answers.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut accepted, mut hits) = (0, 0);
    let mut best = None;
    // Equally sure answers are accepted together.
    for tied in answers.chunk_by(|a, b| a.0 == b.0) {
        accepted += tied.len();
        hits += tied.iter().filter(|(_, right)| *right).count();
        let right = hits as f64 / accepted as f64;
        if right >= wanted {
            let (confidence, remain) = (f64::from(tied[0].0), labels.len() - accepted);
            best = Some(Acceptance { wanted, confidence, accepted, right, remain });
        }
    }
    best
}
