/// A model of which nothing is known but what it says: the score of one class, for each of some pictures.
pub struct BlackBox<'a, E> {
    at_once: usize,
    score: &'a mut dyn FnMut(usize, &[u8]) -> Result<Vec<f32>, E>,
}

impl<'a, E> BlackBox<'a, E> {
    /// `score` takes so many pictures of one size (height x width x RGB each), at most `at_once`, and gives one score a picture.
    pub fn new(at_once: usize, score: &'a mut dyn FnMut(usize, &[u8]) -> Result<Vec<f32>, E>) -> Self {
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
