/// Takes so many pictures of one size (height x width x RGB each), and gives one score a picture.
pub type Score<'a, E> = dyn FnMut(usize, &[u8]) -> Result<Vec<f32>, E> + 'a;

/// A model of which nothing is known but what it says: the score of one class, for each of some pictures.
pub struct BlackBox<'a, E> {
    at_once: usize,
    score: &'a mut Score<'a, E>,
}

impl<'a, E> BlackBox<'a, E> {
    /// Asks `score` about at most `at_once` pictures at a time.
    pub fn new(at_once: usize, score: &'a mut Score<'a, E>) -> Self {
        Self { at_once: at_once.max(1), score }
    }

    /// The scores of all pictures, which are made when it is their turn.
    ///
    /// # Errors
    /// The first one of `score`.
    pub fn scores(&mut self, pictures: impl IntoIterator<Item = Vec<u8>>) -> Result<Vec<f64>, E> {
        let mut pictures = pictures.into_iter();
        let mut scores = Vec::new();
        loop {
            let some: Vec<Vec<u8>> = pictures.by_ref().take(self.at_once).collect();
            if some.is_empty() {
                return Ok(scores);
            }
            scores.extend((self.score)(some.len(), &some.concat())?.into_iter().map(f64::from));
        }
    }
}
