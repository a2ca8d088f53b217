//! What is wrong with a space.

/// A space that can't be read or searched: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct SpaceError {
    place: String,
    what: String,
    hint: String,
}

impl SpaceError {
    pub(super) fn new(place: impl Into<String>, what: String, hint: impl Into<String>) -> Self {
        Self { place: place.into(), what, hint: hint.into() }
    }

    /// What to do about it.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// "did you mean ..?" for the nearest of `known`, where one is near.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let nearest = known.into_iter().min_by_key(|other| distance(word, other))?;
    (distance(word, nearest) <= nearest.chars().count().max(3) / 3 + 1)
        .then(|| format!("did you mean {nearest}?"))
}

/// Letters to insert, remove or change (Levenshtein), whatever their case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let change = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.chars().count()]
}
