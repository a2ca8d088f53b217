//! A contact sheet: photos as a training would see them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pugmark_data::check::subject;
use pugmark_data::{
    Augment, Batch, Dataset, Item, Limits, Loader, LoaderSettings, Mixed, Part, Photo, Random, Sample,
    decode_stored,
};
use pugmark_page::{Align, Figure, Html, fold, page, paragraph, section, strip, table};
use pugmark_train::TrainSettings;
use toml::{Table, Value};

use super::{counted, free, write};
use crate::arguments::{CheckArguments, TrainFlags};
use crate::error::{ExitStatus, WrongCall};
use crate::printer::Printer;
use crate::settings::Sources;

/// Photos on the sheet.
const PHOTOS: usize = 8;

/// Epochs of each.
const EPOCHS: u64 = 7;

/// Hardly any loss: it is the augmentation that is looked at.
const QUALITY: u8 = 92;

/// What changes the pictures: the settings the sheet names.
const SETTINGS: [&str; 22] = [
    "image_size",
    "resize",
    "resize_short_side",
    "grayscale",
    "random_crop",
    "random_crop_ratio",
    "flip",
    "vertical_flip",
    "rotation",
    "jitter",
    "hue",
    "random_grayscale",
    "auto_augment",
    "randaugment_ops",
    "randaugment_magnitude",
    "erasing",
    "keep_augment",
    "keep_share",
    "mixup",
    "cutmix",
    "seed",
    "model",
];

/// Writes the sheet of a recipe, a NAME or a file, to `out`.
pub(super) fn run(
    arguments: &CheckArguments,
    recipe: &str,
    out: &Path,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    free(out, arguments.overwrite)?;
    let sources = Sources::default().with_recipe(Some(recipe))?;
    let settings: TrainSettings = sources.resolve(&TrainFlags::default())?.settings;
    settings.validate().map_err(|error| WrongCall::new(format!("{recipe}: {error}")))?;
    let dataset = subject(&arguments.data, arguments.photos.as_deref(), true)?.dataset;
    let chosen = chosen(&dataset, arguments.seed);
    if chosen.is_empty() {
        return Err(WrongCall::new(format!("no photo of {} can be decoded", arguments.data.display()))
            .with_hint("`pugmark check` without `--preview` says what is wrong with each")
            .into());
    }
    let names = named(&settings);
    let mut pieces = vec![paragraph(&intro(&settings)), section("Settings", &[names])];
    for (sample, photo) in &chosen {
        let title = match sample.class.map(|class| &dataset.classes[class]) {
            Some(class) => format!("{class}: {}", sample.id),
            None => sample.id.clone(),
        };
        pieces.push(section(&title, &[strip(&views(photo, &sample.id, &settings)?)]));
    }
    let samples: Vec<&Sample> = chosen.iter().map(|(sample, _)| *sample).collect();
    pieces.extend(mixes(&samples, &dataset, &settings)?);
    let subtitle = format!("{} with {recipe}", arguments.data.display());
    let footer = format!("pugmark {}", env!("CARGO_PKG_VERSION"));
    write(out, page("As a training sees it", &subtitle, &pieces, &footer).as_bytes())?;
    printer.note(&format!("{} on the sheet {}", counted(chosen.len(), "photo"), out.display()));
    Ok(ExitStatus::Done)
}

/// Photos of every class in turn, drawn by the seed, that can be decoded and may be trained on.
fn chosen(dataset: &Dataset, seed: u64) -> Vec<(&Sample, Photo)> {
    let mut of_class: BTreeMap<Option<usize>, Vec<(u64, &Sample)>> = BTreeMap::new();
    for sample in dataset.samples.iter().filter(|sample| matches!(sample.part, None | Some(Part::Train))) {
        let draw = Random::new(seed, 0, &format!("preview {}", sample.id)).next_u64();
        of_class.entry(sample.class).or_default().push((draw, sample));
    }
    let mut order: Vec<(usize, Option<usize>, &Sample)> = Vec::new();
    for (class, mut samples) in of_class {
        samples.sort_by_key(|(draw, sample)| (*draw, &sample.id));
        order.extend(samples.into_iter().enumerate().map(|(turn, (_, sample))| (turn, class, sample)));
    }
    order.sort_by_key(|&(turn, class, _)| (turn, class));
    let decoded =
        |sample: &Sample| decode_stored(&sample.path, sample.stored.as_ref(), &Limits::default()).ok();
    order.into_iter().filter_map(|(_, _, sample)| Some((sample, decoded(sample)?))).take(PHOTOS).collect()
}

/// A photo as in validation, and as in the first epochs of training.
fn views(photo: &Photo, id: &str, settings: &TrainSettings) -> anyhow::Result<Vec<Figure>> {
    let (recipe, augment) = (settings.recipe(), settings.augment());
    let plain = Augment::default().prepare(photo.clone(), &recipe);
    let mut figures = vec![figure(&plain.rgb, plain.width, "as in validation".into())?];
    let prepared = augment.prepare(photo.clone(), &recipe);
    for epoch in 1..=EPOCHS {
        let mut random = Random::new(settings.seed, epoch, id);
        let rgb = augment.apply(prepared.clone(), &recipe, None, &mut random).rgb;
        figures.push(figure(&rgb, recipe.width, format!("epoch {epoch}"))?);
    }
    Ok(figures)
}

/// The chosen photos as one batch, mixed, where they are.
fn mixes(samples: &[&Sample], dataset: &Dataset, settings: &TrainSettings) -> anyhow::Result<Vec<Html>> {
    let (recipe, augment) = (settings.recipe(), settings.augment());
    if augment.mixup == 0.0 && augment.cutmix == 0.0 {
        return Ok(Vec::new());
    }
    let items = samples.iter().map(|&sample| Item::from(sample)).collect();
    let loading = LoaderSettings {
        batch_size: PHOTOS,
        threads: 1,
        seed: settings.seed,
        shuffle: true,
        balanced: false,
        recipe: recipe.clone(),
        augment,
        limits: Limits::default(),
        cache_bytes: 0,
    };
    let loader = Loader::new(items, loading);
    let class = |label: u32| dataset.classes.get(label as usize).map_or("no class", String::as_str);
    let mut strips = Vec::new();
    for epoch in 1..=4 {
        for batch in loader.epoch(epoch, 0) {
            let Batch { pixels, labels, mixed: Some(Mixed { labels: others, share }), .. } = batch else {
                continue;
            };
            let pictures = pixels.chunks_exact(recipe.width * recipe.height * 3);
            let figures =
                pictures.zip(labels.iter().zip(others).zip(share)).map(|(rgb, ((&own, other), share))| {
                    let percent = (share * 100.0).round();
                    let caption =
                        format!("{percent} % {}, {} % {}", class(own), 100.0 - percent, class(other));
                    figure(rgb, recipe.width, caption)
                });
            strips.push(strip(&figures.collect::<anyhow::Result<Vec<_>>>()?));
        }
    }
    Ok(vec![section("Mixed: four batches of these photos", &strips)])
}

fn figure(rgb: &[u8], width: usize, caption: String) -> anyhow::Result<Figure> {
    let mut jpeg = Vec::new();
    let height = rgb.len() / 3 / width;
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .write_image(rgb, width as u32, height as u32, ExtendedColorType::Rgb8)
        .context("cannot encode a picture of the sheet")?;
    Ok(Figure { jpeg, caption })
}

fn intro(settings: &TrainSettings) -> String {
    let keep = match settings.keep_augment {
        true => {
            " Without a model there is nothing that KeepAugment could find important: it spares nothing here."
        }
        false => "",
    };
    format!(
        "Each row is one photo: as the model sees it in validation, then as in the first {EPOCHS} epochs of a training with \
         these settings and this seed, if it is in the training part.{keep}"
    )
}

/// Those of the settings that are not the default, and the others folded up.
fn named(settings: &TrainSettings) -> Html {
    let values = |settings: &TrainSettings| Table::try_from(settings).unwrap_or_default();
    let (own, plain) = (values(settings), values(&TrainSettings::default()));
    let row =
        |name: &str| vec![name.to_owned(), own.get(name).map_or("not set".to_owned(), Value::to_string)];
    let (changed, same): (Vec<&str>, Vec<&str>) =
        SETTINGS.into_iter().partition(|name| own.get(*name) != plain.get(*name));
    let shown = |names: Vec<&str>| {
        table(
            &[("setting", Align::Left), ("value", Align::Left)],
            &names.into_iter().map(row).collect::<Vec<_>>(),
        )
    };
    Html::join(&[shown(changed), fold("Settings that are as by default", &[shown(same)])])
}
