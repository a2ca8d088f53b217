//! What the model finds important in the training photos, for KeepAugment.

use pugmark_data::augment::{SALIENCY_SIDE, Saliency};
use pugmark_data::{Augment, Batch, Item, Loader, LoaderSettings};
use pugmark_engine::{Engine, EngineError, Freeze, Loss, Optimiser, TrainBatch, Training, TrainingSpec};
use pugmark_graph::{Graph, GraphSettings, NodeId, Op, Tensor, Tensors};
use pugmark_model::ModelCard;

use crate::TrainSettings;

/// Of the image size, in pixels: half of it makes a quarter of the work.
const SMALLER: usize = 2;

/// The name of the grids in a checkpoint.
const GRIDS: &str = "grids";

/// Asks a model for the gradient of its loss with respect to the photos, small ones, as it would see them in validation:
/// with running statistics and nothing random. No parameter moves.
pub(super) struct SaliencyPass {
    plan: Box<dyn Training>,
    input: NodeId,
    loader: Loader,
}

/// How the photos of the pass are loaded; `cache` is the memory there is for photos. A quarter of it at most.
pub(super) fn loader_settings(
    train: &LoaderSettings,
    graph: &Graph,
    cache: u64,
    photos: usize,
) -> LoaderSettings {
    let size = train.recipe.width.max(train.recipe.height);
    let small = size.div_ceil(SMALLER);
    let size = if graph.shapes(small, small).is_ok() { small } else { size };
    let recipe = train.augment.saliency_recipe(&train.recipe, size);
    let bytes = (photos * recipe.width * recipe.height * 3) as u64;
    LoaderSettings {
        shuffle: false,
        balanced: false,
        augment: Augment::default(),
        cache_bytes: bytes.min(cache / 4),
        recipe,
        ..train.clone()
    }
}

impl SaliencyPass {
    pub(super) fn new(
        engine: &dyn Engine,
        tensors: &Tensors,
        card: &ModelCard,
        settings: &TrainSettings,
        (items, loading): (Vec<Item>, LoaderSettings),
    ) -> Result<Self, EngineError> {
        let certain = GraphSettings { stochastic_depth: Some(0.0), dropout: Some(0.0) };
        let graph = settings.model.graph_with(card.classes.len(), certain);
        // Every graph begins with its input.
        let input = graph
            .nodes()
            .iter()
            .position(|node| matches!(node.op, Op::Input { .. }))
            .map_or(NodeId(0), NodeId);
        let small = ModelCard { recipe: loading.recipe.clone(), ..card.clone() };
        let spec = TrainingSpec {
            freeze: Freeze::Backbone,
            // Of a photo whose class is certain the plain loss has no gradient left.
            loss: Loss { label_smoothing: 0.1, class_weights: None },
            optimiser: Optimiser::Sgd { momentum: 0.0, nesterov: false },
            taps: vec![input],
            ..TrainingSpec::default()
        };
        let plan = engine.training(&graph, tensors, &small.input(loading.batch_size), &spec)?;
        Ok(Self { plan, input, loader: Loader::new(items, loading) })
    }

    /// One pass with these parameters: what is important in each photo, none where that can't be told. None at all if `go_on`,
    /// which is told how many photos are done, says so.
    pub(super) fn run<E: From<EngineError>>(
        &mut self,
        tensors: &Tensors,
        mut go_on: impl FnMut(usize) -> Result<bool, E>,
    ) -> Result<Option<Vec<Option<Saliency>>>, E> {
        self.plan.restore(tensors, &self.plan.state()?, self.plan.steps())?;
        let mut saliency = Vec::new();
        for batch in self.loader.epoch(0, 0) {
            let Batch { pixels, labels, items, broken, .. } = batch;
            saliency.resize(saliency.len() + items.len() + broken.len(), None);
            if !go_on(saliency.len())? {
                return Ok(None);
            }
            if labels.is_empty() {
                continue;
            }
            let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 0 };
            match self.plan.step(&batch, 0.0, 0.0) {
                Ok(_) => {}
                // The training itself will meet it, and say where.
                Err(EngineError::NonFiniteLoss { .. } | EngineError::NonFiniteGradient { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            if let Some((_, gradient)) = self.plan.tap(self.input)? {
                for (item, grid) in items.into_iter().zip(grids(&gradient)) {
                    saliency[item] = Saliency::new(&grid);
                }
            }
        }
        Ok(Some(saliency))
    }
}

/// Of each picture of `[images, colours, height, width]`, the largest absolute value of the colours summed over the cells of
/// a grid. A pixel on the border of two cells counts in both.
fn grids(gradient: &Tensor) -> impl Iterator<Item = Vec<f32>> {
    let [_, colours, height, width] = gradient.shape[..] else {
        unreachable!("pictures have four dimensions")
    };
    let cell = |at: usize, side: usize| at * side / SALIENCY_SIDE..((at + 1) * side).div_ceil(SALIENCY_SIDE);
    gradient.values.chunks_exact(colours * height * width).map(move |picture| {
        let strength = |pixel: usize| {
            picture[pixel..].iter().step_by(height * width).fold(0.0_f32, |most, value| most.max(value.abs()))
        };
        let sum = |at: usize| {
            let columns = cell(at % SALIENCY_SIDE, width);
            cell(at / SALIENCY_SIDE, height)
                .flat_map(|row| columns.clone().map(move |column| row * width + column))
                .map(strength)
                .sum()
        };
        (0..SALIENCY_SIDE * SALIENCY_SIDE).map(sum).collect()
    })
}

/// For a checkpoint; photos of which nothing is known are zeros.
pub(super) fn to_tensors(saliency: &[Option<Saliency>]) -> Tensors {
    let none = [0; SALIENCY_SIDE * SALIENCY_SIDE];
    let cells = |saliency: &Option<Saliency>| saliency.as_ref().map_or(none, |s| *s.cells()).map(f32::from);
    let values = saliency.iter().flat_map(cells).collect();
    let shape = vec![saliency.len(), SALIENCY_SIDE, SALIENCY_SIDE];
    [(GRIDS.to_owned(), Tensor { shape, values })].into()
}

/// From a checkpoint; none if it has none for so many photos.
pub(super) fn from_tensors(tensors: &Tensors, photos: usize) -> Option<Vec<Option<Saliency>>> {
    let grids = tensors.get(GRIDS)?;
    let saliency: Vec<_> =
        grids.values.chunks_exact(SALIENCY_SIDE * SALIENCY_SIDE).map(Saliency::new).collect();
    (saliency.len() == photos).then_some(saliency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_the_strongest_colour_of_their_pixels() {
        // 32 x 16 pixels: a cell is two rows of one column.
        let (height, width) = (32, 16);
        let mut values = vec![0.0; 2 * 3 * height * width];
        let mut set = |picture: usize, colour: usize, row: usize, column: usize, value: f32| {
            values[((picture * 3 + colour) * height + row) * width + column] = value;
        };
        set(0, 0, 4, 5, 1.0);
        set(0, 2, 4, 5, -3.0);
        set(0, 1, 5, 5, 0.5);
        set(1, 1, 31, 15, -2.0);
        let gradient = Tensor { shape: vec![2, 3, height, width], values };
        let grids: Vec<Vec<f32>> = grids(&gradient).collect();
        let mut expected = vec![vec![0.0; 256]; 2];
        expected[0][2 * 16 + 5] = 3.5;
        expected[1][255] = 2.0;
        assert_eq!(grids, expected);
    }

    #[test]
    fn pictures_smaller_than_the_grid_fill_every_cell() {
        let gradient = Tensor { shape: vec![1, 3, 8, 8], values: vec![1.0; 192] };
        assert!(grids(&gradient).flatten().all(|cell| cell == 1.0));
    }

    #[test]
    fn checkpoints_keep_every_bit() {
        let grid = |at: usize| Saliency::new(&(0..256).map(|i| (i * at % 97) as f32).collect::<Vec<_>>());
        let saliency = vec![grid(3), None, grid(11)];
        let tensors = to_tensors(&saliency);
        assert_eq!(from_tensors(&tensors, 3), Some(saliency));
        assert_eq!((from_tensors(&tensors, 2), from_tensors(&Tensors::new(), 3)), (None, None));
    }
}
