use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use pugmark_data::{Digest, Item, Loader, Recipe};
use pugmark_engine::Engine;

use crate::{Classifier, ModelCard, ModelError, loader_settings};

/// Batches for which loaders are made at a time: a million items would be copied for each of them.
const BATCHES: usize = 256;

/// Several classifiers of the same classes that look at the same photos.
pub struct Panel {
    members: Vec<Member>,
    batch: usize,
}

struct Member {
    classifier: Classifier,
    /// Where each class of the first member is in this one's rows.
    places: Vec<usize>,
}

/// How photos are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// Threads that decode, see [`loader_threads`](crate::loader_threads).
    pub threads: usize,
    /// Each photo as it is and mirrored left to right: probabilities are the mean of both.
    pub mirrored: bool,
    /// Tell the digest of each file.
    pub digests: bool,
}

/// What the members say of one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinions {
    /// Identity of the photo in its data set.
    pub id: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its true class, where it is known.
    pub class: Option<usize>,
    /// One probability a class of the first member, for each member; or why the photo can't be decoded.
    pub outcome: Result<Vec<Vec<f32>>, String>,
    /// The file ends early; what is there was used.
    pub truncated: bool,
    /// Of its file, where that was asked for and the file could be read.
    pub digest: Option<Digest>,
}

impl Panel {
    /// Opens model files or runs, as [`Classifier::open`].
    ///
    /// # Errors
    /// Those of [`Classifier::open`]; [`ModelError::OtherClasses`] where one has other classes than the first. Another
    /// order is none.
    pub fn open(paths: &[PathBuf], engine: &dyn Engine, batch: usize) -> Result<Self, ModelError> {
        let mut members: Vec<Member> = Vec::with_capacity(paths.len());
        for path in paths {
            let classifier = Classifier::open(path, engine, batch)?;
            let own = &classifier.card().classes;
            let first = members.first().map_or(own, |first| &first.classifier.card().classes);
            let without = |classes: &[String], others: &[String]| -> Vec<String> {
                classes.iter().filter(|class| !others.contains(class)).cloned().collect()
            };
            let (lacks, adds) = (without(first, own), without(own, first));
            if !(lacks.is_empty() && adds.is_empty()) {
                return Err(ModelError::OtherClasses {
                    path: path.clone(),
                    first: paths[0].clone(),
                    lacks,
                    adds,
                });
            }
            // Every class of the first is among this one's.
            let places =
                first.iter().filter_map(|class| own.iter().position(|known| known == class)).collect();
            members.push(Member { classifier, places });
        }
        Ok(Self { members, batch })
    }

    /// What each member says about itself; the first names the classes.
    pub fn cards(&self) -> impl Iterator<Item = &ModelCard> {
        self.members.iter().map(|member| member.classifier.card())
    }

    /// The different recipes of the members.
    pub fn recipes(&self) -> Vec<Recipe> {
        let mut recipes: Vec<Recipe> = Vec::new();
        for card in self.cards() {
            if !recipes.contains(&card.recipe) {
                recipes.push(card.recipe.clone());
            }
        }
        recipes
    }

    /// Shows pictures to all members: `pictures` has those made by each of [`Panel::recipes`], all `images` of them one after
    /// the other. One probability a class of the first member, for each member, for each picture.
    ///
    /// # Errors
    /// As [`Classifier::probabilities`].
    pub fn probabilities(
        &mut self,
        images: usize,
        pictures: &[Vec<u8>],
    ) -> Result<Vec<Vec<Vec<f32>>>, ModelError> {
        let recipes = self.recipes();
        let mut rows = vec![Vec::with_capacity(self.members.len()); images];
        for member in &mut self.members {
            let own = recipes.iter().position(|recipe| *recipe == member.classifier.card().recipe);
            let pixels = own.and_then(|own| pictures.get(own)).map_or(&[][..], Vec::as_slice);
            let values = member.classifier.probabilities(images, pixels)?;
            for (rows, row) in rows.iter_mut().zip(member.in_order(&values)) {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// Shows photo files to all members in their order, as [`Classifier::predict`]. A photo is decoded once for each
    /// different recipe of the members; of the items, some hundred batches are in memory.
    ///
    /// # Errors
    /// As [`Classifier::predict`].
    pub fn predict(
        &mut self,
        items: &mut dyn Iterator<Item = Item>,
        look: Look,
        on: &mut dyn FnMut(Opinions) -> ControlFlow<()>,
    ) -> Result<(), ModelError> {
        loop {
            let some: Vec<Item> = items.take(self.batch.max(1) * BATCHES).collect();
            if some.is_empty() || self.predict_some(some, look, on)?.is_break() {
                return Ok(());
            }
        }
    }

    fn predict_some(
        &mut self,
        items: Vec<Item>,
        look: Look,
        on: &mut dyn FnMut(Opinions) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ModelError> {
        let recipes = self.recipes();
        let loaders: Vec<Loader> = recipes
            .iter()
            .map(|recipe| {
                let settings = loader_settings(recipe, self.batch, look.threads);
                let load = if look.digests { Loader::with_digests } else { Loader::new };
                load(items.clone(), settings)
            })
            .collect();
        let mut epochs: Vec<_> = loaders.iter().map(|loader| loader.epoch(0, 0)).collect();
        for first in (0..items.len()).step_by(self.batch.max(1)) {
            let last = items.len().min(first + self.batch.max(1));
            let mut rows: BTreeMap<usize, Vec<Vec<f32>>> =
                (first..last).map(|item| (item, vec![Vec::new(); self.members.len()])).collect();
            let (mut broken, mut truncated) = (BTreeMap::new(), Vec::new());
            let mut digests = BTreeMap::new();
            for (recipe, epoch) in recipes.iter().zip(&mut epochs) {
                let Some(batch) = epoch.next() else { continue };
                truncated.extend(batch.truncated);
                broken.extend(batch.broken);
                digests.extend(batch.digests);
                if batch.items.is_empty() {
                    continue;
                }
                let mirrored = look.mirrored.then(|| mirrored(&batch.pixels, recipe.width));
                for (index, member) in self.members.iter_mut().enumerate() {
                    if member.classifier.card().recipe != *recipe {
                        continue;
                    }
                    let mut values = member.classifier.probabilities(batch.items.len(), &batch.pixels)?;
                    if let Some(pixels) = &mirrored {
                        let others = member.classifier.probabilities(batch.items.len(), pixels)?;
                        values
                            .iter_mut()
                            .zip(others)
                            .for_each(|(value, other)| *value = (*value + other) / 2.0);
                    }
                    for (item, row) in batch.items.iter().zip(member.in_order(&values)) {
                        if let Some(rows) = rows.get_mut(item) {
                            rows[index] = row;
                        }
                    }
                }
            }
            for (item, rows) in rows {
                let Item { id, path, class, .. } = items[item].clone();
                let outcome = broken.remove(&item).map_or(Ok(rows), Err);
                let (truncated, digest) = (truncated.contains(&item), digests.remove(&item));
                if on(Opinions { id, path, class, outcome, truncated, digest }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Member {
    /// Rows of probabilities, with the classes in the first member's order.
    fn in_order(&self, values: &[f32]) -> impl Iterator<Item = Vec<f32>> {
        values
            .chunks_exact(self.places.len())
            .map(|row| self.places.iter().map(|&place| row[place]).collect())
    }
}

/// Pictures of `width` RGB pixels a row, mirrored left to right.
fn mirrored(pixels: &[u8], width: usize) -> Vec<u8> {
    let turned = |row: &[u8]| row.chunks_exact(3).rev().flatten().copied().collect::<Vec<u8>>();
    pixels.chunks_exact(width * 3).flat_map(turned).collect()
}

#[cfg(test)]
mod tests {
    use super::mirrored;

    #[test]
    fn a_mirror_turns_pixels_and_keeps_colours() {
        let rows = [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]].concat();
        assert_eq!(mirrored(&rows, 2), [[4, 5, 6, 1, 2, 3], [10, 11, 12, 7, 8, 9]].concat());
        assert_eq!(mirrored(&rows, 1), rows);
    }
}
