//! What the files of a run say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pugmark_data::{Part, ReadOptions, read};
use pugmark_eval::{Detail, Evaluation, Origins, SiteAlone, detail, evaluate, site_alone};
use pugmark_model::{Model, ModelCard, ModelError, RunFolder};
use pugmark_train::{EpochMetrics, Profile, Thresholds, TrainSettings, Watched, read_watch};

use super::super::predictions;

/// A run, read.
pub(super) struct Run {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) card: ModelCard,
    pub(super) settings: TrainSettings,
    pub(super) epochs: Vec<EpochMetrics>,
    /// The part that the best model was shown, and what came of it.
    pub(super) part: Part,
    pub(super) evaluation: Evaluation,
    pub(super) detail: Detail,
    pub(super) site_alone: Option<SiteAlone>,
    /// The surest wrong answers, the surest first.
    pub(super) mistakes: Vec<Mistake>,
    /// Photos that cannot be decoded.
    pub(super) broken: usize,
    /// Photos of the training part, and those of each class.
    pub(super) trained_on: usize,
    pub(super) trained_of_class: Vec<usize>,
    /// Classes and probabilities of the photos that were shown, as [`evaluate`] takes them.
    pub(super) labels: Vec<usize>,
    pub(super) probabilities: Vec<f32>,
    /// What the watch says of it, where it was watched.
    pub(super) watched: Option<Watched>,
    /// Its settings as they are written.
    pub(super) config: String,
    /// Where its time went, if that was measured.
    pub(super) profile: Option<Profile>,
    /// Files that can't be read, in words.
    pub(super) left_out: Vec<String>,
}

pub(super) struct Mistake {
    pub(super) id: String,
    pub(super) truth: usize,
    pub(super) predicted: usize,
    pub(super) probability: f32,
    /// Where the photo is, if it is still there.
    pub(super) path: Option<PathBuf>,
}

/// Mistakes that are shown.
const MISTAKES: usize = 12;

impl Run {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let folder = RunFolder::open(path)?;
        if !folder.best().exists() {
            return Err(ModelError::NoBest { path: path.to_owned() }.into());
        }
        let card = Model::read(&folder.best())?.card;
        let settings = TrainSettings::read(&folder.config())?;
        let text = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let metrics = folder.metrics_json();
        let epochs: Vec<EpochMetrics> = serde_json::from_str(&text(&metrics)?)
            .with_context(|| format!("cannot read {}", metrics.display()))?;
        let (part, rows) = predictions::read(&folder.predictions(), &card.classes)?;
        let places = Places::read(&folder.split(), &card)?;

        let (mut labels, mut probabilities, mut sites, mut photos) = (vec![], vec![], vec![], vec![]);
        let (mut mistakes, mut broken) = (Vec::new(), 0);
        for row in &rows {
            let (Ok(values), Some(truth)) = (&row.outcome, row.class) else {
                broken += usize::from(row.outcome.is_err());
                continue;
            };
            let predicted =
                (1..values.len()).fold(0, |best, c| if values[c] > values[best] { c } else { best });
            if predicted != truth {
                let probability = values[predicted];
                mistakes.push(Mistake { id: row.id.clone(), truth, predicted, probability, path: None });
            }
            let site = places.sites.get(&row.id).cloned();
            photos.push((site.clone(), truth));
            sites.push(site);
            labels.push(truth);
            probabilities.extend_from_slice(values);
        }
        mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability).then_with(|| a.id.cmp(&b.id)));
        mistakes.truncate(MISTAKES);
        find(&mut mistakes, &settings);
        // What only tells more of a run does not keep its page from being made.
        let mut left_out = Vec::new();
        let watched = read_watch(&folder, &Thresholds::default()).unwrap_or_else(|error| {
            left_out.push(format!("{error}: the page says nothing of it"));
            None
        });
        let profile = Some(folder.profile()).filter(|path| path.exists()).and_then(|path| {
            Profile::read(&path)
                .map_err(|error| left_out.push(format!("{error}: the page says nothing of it")))
                .ok()
        });
        let origins = Origins { sites, ..Origins::default() };
        let classes = card.classes.len();
        let of_class = |class| places.trained.iter().filter(|(_, other)| *other == class).count();
        Ok(Self {
            name: path
                .file_name()
                .map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned()),
            folder: path.to_owned(),
            evaluation: evaluate(&card.classes, &labels, &probabilities)?,
            detail: detail(&card.classes, &labels, &probabilities, &origins)?,
            site_alone: site_alone(classes, &borrowed(&places.trained), &borrowed(&photos)),
            trained_of_class: (0..classes).map(of_class).collect(),
            labels,
            probabilities,
            part: part.unwrap_or(Part::Val),
            mistakes,
            broken,
            trained_on: places.trained.len(),
            watched,
            profile,
            left_out,
            config: text(&folder.config())?,
            settings,
            epochs,
            card,
        })
    }

    /// The epoch whose model is the best one.
    pub(super) fn best(&self) -> Option<&EpochMetrics> {
        self.epochs.iter().find(|row| row.epoch == self.card.epoch)
    }
}

/// Where photos were taken, from `split.csv`.
struct Places {
    sites: HashMap<String, String>,
    /// Site and class of each photo that was trained on.
    trained: Vec<(Option<String>, usize)>,
}

impl Places {
    fn read(path: &Path, card: &ModelCard) -> anyhow::Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let mut csv = csv::Reader::from_path(path).with_context(context)?;
        let (mut sites, mut trained) = (HashMap::new(), Vec::new());
        for row in csv.records() {
            let row = row.with_context(context)?;
            // id, split, class, site
            let cell = |at: usize| row.get(at).unwrap_or_default();
            let site = Some(cell(3)).filter(|site| !site.is_empty()).map(str::to_owned);
            if let Some(site) = &site {
                sites.insert(cell(0).to_owned(), site.clone());
            }
            let class = card.classes.iter().position(|class| class == cell(2));
            if cell(1) == Part::Train.name() {
                trained.extend(class.map(|class| (site, class)));
            }
        }
        Ok(Self { sites, trained })
    }
}

fn borrowed(photos: &[(Option<String>, usize)]) -> Vec<(Option<&str>, usize)> {
    photos.iter().map(|(site, class)| (site.as_deref(), *class)).collect()
}

/// Looks for the photos in the data set, which may have gone.
fn find(mistakes: &mut [Mistake], settings: &TrainSettings) {
    let Some(data) = settings.data.as_ref().filter(|data| !mistakes.is_empty() && data.exists()) else {
        return;
    };
    let photos = settings.photos.clone();
    let options = ReadOptions { photos, skip_missing: true, allow_empty_class: true, crop: None };
    let Ok(dataset) = read(data, &options) else { return };
    let paths: HashMap<&str, &Path> = dataset
        .samples
        .iter()
        .filter(|sample| sample.stored.is_none())
        .map(|sample| (sample.id.as_str(), sample.path.as_path()))
        .collect();
    for mistake in mistakes {
        mistake.path = paths.get(mistake.id.as_str()).map(|path| path.to_path_buf());
    }
}
