//! The largest batch that fits into memory.

use pugmark_engine::{Engine, Freeze, TrainingSpec};
use pugmark_model::loader_threads;

use super::prepare::Prepared;
use crate::{TrainError, TrainSettings, memory};

/// A larger batch wants another learning rate and more epochs than those that people try first.
const MOST: usize = 256;
/// Share of the memory left that is taken where nobody says how much: the system and other programs need some too.
const SHARE: f64 = 0.8;
/// What NVIDIA's libraries take of a GPU's memory for themselves.
const LIBRARIES: u64 = 3 << 29;
/// Assumed where the system does not say what is left.
const UNKNOWN: u64 = 2 << 30;

impl Prepared {
    /// The largest power of two, up to 256 and to the photos there are, whose plans fit into memory; and what to say of it.
    pub(super) fn choose_batch_size(
        &self,
        settings: &TrainSettings,
        engine: &dyn Engine,
    ) -> Result<(usize, String), TrainError> {
        let given = match settings.memory {
            0 => {
                let left = engine.free_memory().or_else(memory::available);
                left.map_or(UNKNOWN, |bytes| (bytes as f64 * SHARE) as u64)
            }
            mib => mib << 20,
        };
        let mut size = 1 << self.train.len().min(MOST).ilog2();
        loop {
            let needed = self.bytes(settings, engine, size)?;
            if needed <= given {
                let note = format!(
                    "batch size {size}: the training needs {} MiB with it, and {} MiB can be used",
                    needed >> 20,
                    given >> 20
                );
                return Ok((size, note));
            }
            if size == 1 {
                return Err(TrainError::Memory { needed: needed.div_ceil(1 << 20), given: given >> 20 });
            }
            size /= 2;
        }
    }

    /// Bytes that the training takes: both plans, and where those lie in the machine's memory also models on their way to a
    /// file and photos on their way to the engine.
    fn bytes(&self, settings: &TrainSettings, engine: &dyn Engine, size: usize) -> Result<u64, TrainError> {
        let input = self.state.card.input(size);
        // What is frozen at first may be thawed later.
        let freeze = if settings.unfreeze_after > 0 { Freeze::None } else { self.spec.freeze };
        let spec = TrainingSpec { freeze, ..self.spec.clone() };
        let plans = engine.training_bytes(&self.graph, &input, &spec)?
            + engine.inference_bytes(&self.graph, &input)?;
        if engine.free_memory().is_some() {
            // What is frozen at first lies there when the rest is thawed.
            let frozen = TrainingSpec { freeze: self.spec.freeze, ..spec };
            let frozen = if settings.unfreeze_after > 0 {
                engine.training_bytes(&self.graph, &input, &frozen)?
            } else {
                0
            };
            return Ok((plans + frozen) as u64 + LIBRARIES);
        }
        let parameters: usize = self.graph.params().iter().map(pugmark_graph::Param::len).sum();
        // A checkpoint holds the model, the optimiser's two moments and perhaps the average, as copies.
        let models = 4 * parameters * size_of::<f32>();
        let picture = settings.image_size * settings.image_size * 3;
        let batches = 2 * loader_threads(settings.loader_threads) + settings.accumulate;
        let photos = (self.train.len() + self.val.len()) * picture;
        let cache = (settings.cache_mib << 20).min(photos as u64);
        Ok((plans + models + batches * size * picture) as u64 + cache)
    }
}
