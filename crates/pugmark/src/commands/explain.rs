//! Where a model looks, and whether that is what it goes by.

mod explainer;
mod folder;
mod method;
mod row;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_data::{Batch, Item, Loader, StorageOptions};
use pugmark_engine::Engine;
use pugmark_eval::explain::{Picture, beside, faithfulness, overlay};
use pugmark_model::{Model, ModelCard, loader_settings};

use super::{data, photos};
use crate::arguments::ExplainArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt;
use crate::printer::Printer;
use crate::settings::{InferenceSettings, Sources, nearest_name};
use explainer::Explainer;
use folder::Folder;
use method::Method;
use row::{Row, Sanity, Totals};

/// Pixels on the shorter side of a heat map, at least: smaller pictures are drawn larger.
const SHOWN: usize = 224;

/// Of the random models: a head hardly moves in a short training, and seed 0 is where most begin.
const OTHER_SEED: u64 = 0x6578_706c_6169_6e21;

pub(crate) fn run(arguments: &ExplainArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let sources = Sources::new(arguments.config.config.as_deref())?;
    let inference: InferenceSettings = sources.resolve(&arguments.inference)?.settings;
    data::exists(&arguments.run, "run or model")?;
    let folder = Folder::check(&arguments.out, arguments.overwrite)?;
    let storage: StorageOptions = sources.resolve(&arguments.storage)?.settings;
    let photos::Found { items, .. } = photos::find(&arguments.sources, &storage, printer)?;
    let model = Model::open(&arguments.run)?;
    let card = model.card.clone();
    let class = arguments.class.as_deref().map(|name| class(name, &card)).transpose()?;
    let method = Method::new(arguments, &card)?;
    let stop = interrupt::stop_flag()?;
    let engine = inference.engine(printer)?;
    let mut work =
        Work::new(model, method, arguments, class, &*engine, inference.batch_size, Arc::clone(&stop))?;
    let mut folder = folder.begin()?;

    let loading = loader_settings(&card.recipe, 1, inference.loader_threads());
    let loader = Loader::new(items.clone(), loading);
    let mut progress = printer.progress("photos", items.len() as u64);
    let mut totals = Totals::default();
    for batch in loader.epoch(0, 0) {
        let row = match work.row(&items, batch, &mut folder) {
            // What it was asked last is not to be answered any more.
            Err(_) if stop.load(Ordering::Relaxed) => break,
            row => row?,
        };
        folder.add(&row)?;
        if arguments.json {
            printer.result(&serde_json::to_string(&row)?)?;
        } else {
            printer.result(&row.line())?;
        }
        totals.add(&row);
        progress.set_with_rate(totals.photos as u64, "photos");
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    drop(progress);
    folder.finish()?;
    if !arguments.json && totals.explained > 1 {
        printer.result(&totals.text())?;
    }
    if totals.photos < items.len() {
        printer.warning(&format!(
            "interrupted: {} of {} photos are done, and in {}",
            totals.photos,
            items.len(),
            arguments.out.display()
        ));
        return Ok(ExitStatus::Interrupted);
    }
    printer.note(&format!(
        "{} photos, {} cannot be read; pictures and explain.jsonl are in {}",
        totals.photos,
        totals.photos - totals.explained,
        arguments.out.display()
    ));
    Ok(if totals.explained == 0 { ExitStatus::Failed } else { ExitStatus::Done })
}

/// The class of that name.
fn class(name: &str, card: &ModelCard) -> Result<usize, WrongCall> {
    card.classes.iter().position(|known| known == name).ok_or_else(|| {
        let error = WrongCall::new(format!("the model knows no class `{name}`"));
        match nearest_name(name, card.classes.iter().cloned()) {
            Some(nearest) => error.with_hint(format!("is `{nearest}` meant?")),
            None => error.with_hint(format!("it knows {}", data::some(&card.classes))),
        }
    })
}

/// The model, its random twins where they are asked for, and what is to be done with each photo.
struct Work {
    card: ModelCard,
    explainer: Explainer,
    /// With a random head, and with all weights random.
    random: Option<[Explainer; 2]>,
    class: Option<usize>,
    random_orders: usize,
}

impl Work {
    fn new(
        model: Model,
        method: Method,
        arguments: &ExplainArguments,
        class: Option<usize>,
        engine: &dyn Engine,
        batch: usize,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let card = model.card.clone();
        let open = |model: Model| Explainer::new(model, method, engine, batch, Arc::clone(&stop));
        let random = match arguments.sanity {
            true => Some([open(randomised(&model, true))?, open(randomised(&model, false))?]),
            false => None,
        };
        let random_orders = arguments.random_orders.into();
        Ok(Self { card, explainer: open(model)?, random, class, random_orders })
    }

    /// Explains the photo of a batch of one, and saves its picture.
    fn row(&mut self, items: &[Item], batch: Batch, folder: &mut Folder) -> anyhow::Result<Row> {
        if let Some((index, reason)) = batch.broken.into_iter().next() {
            return Ok(Row::broken(items[index].id.clone(), reason));
        }
        let index = batch.items[0];
        let picture = Picture::new(batch.pixels, self.card.recipe.width, self.card.recipe.height);
        let probabilities = self.explainer.probabilities(&picture)?;
        let most = |best: usize, k: usize| if probabilities[k] > probabilities[best] { k } else { best };
        let predicted = (1..probabilities.len()).fold(0, most);
        let class = self.class.unwrap_or(predicted);
        let explained = self.explainer.explain(&picture, class)?;
        let faithfulness = match self.random_orders {
            0 => None,
            random => Some(
                self.explainer
                    .ask(class, |model| faithfulness(&picture, &explained.pixels, random, model))?,
            ),
        };
        let sanity = match &mut self.random {
            Some([head, all]) => Some(Sanity {
                random_head: explained.likeness(&head.explain(&picture, class)?),
                random_weights: explained.likeness(&all.explain(&picture, class)?),
            }),
            None => None,
        };
        let drawn = beside(&picture, &overlay(&picture, &explained.pixels, explained.scale()));
        let factor = SHOWN.div_ceil(picture.width.min(picture.height));
        let name = folder.draw(index, &items[index].id, &drawn.magnified(factor))?;
        Ok(Row {
            id: items[index].id.clone(),
            class: Some(self.card.classes[class].clone()),
            probability: Some(probabilities[class]),
            predicted: Some(self.card.classes[predicted].clone()),
            picture: Some(name),
            map: Some(explained.map),
            faithfulness,
            sanity,
            truncated: !batch.truncated.is_empty(),
            reason: None,
        })
    }
}

/// The model with first values again: those of its head, or all.
fn randomised(model: &Model, head_alone: bool) -> Model {
    let graph = model.card.architecture.graph(model.card.classes.len());
    let mut tensors = graph.initialise(OTHER_SEED);
    for param in graph.params().iter().filter(|param| head_alone && !param.head) {
        tensors.insert(param.name.clone(), model.tensors[&param.name].clone());
    }
    Model { card: model.card.clone(), tensors }
}
