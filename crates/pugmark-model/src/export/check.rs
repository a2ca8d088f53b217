//! An export against the model it was made of.

use pugmark_data::{Photo, Recipe};
use pugmark_engine::Engine;
use pugmark_graph::onnx::{self, Array, Element};
use pugmark_graph::{Tensors, read_weights_from};

use super::{DIFFERENT_BYTES, DIFFERENT_LEVELS, Difference, ExportError};
use crate::{Classifier, Model, softmax};

/// Whether a file of tensors holds the model's, bit for bit.
pub(super) fn tensors(model: &Model, bytes: &[u8]) -> Result<(), ExportError> {
    let read = read_weights_from(bytes)?;
    for (name, tensor) in &model.tensors {
        let same = read.get(name).is_some_and(|there| {
            there.shape == tensor.shape
                && there.values.iter().map(|v| v.to_bits()).eq(tensor.values.iter().map(|v| v.to_bits()))
        });
        if !same {
            return Err(ExportError::OtherTensor(name.clone()));
        }
    }
    match read.into_keys().find(|name| !model.tensors.contains_key(name)) {
        Some(name) => Err(ExportError::OtherTensor(name)),
        None => Ok(()),
    }
}

/// How far an ONNX file's answers are from the engine's.
pub(super) fn logits(
    model: &Model,
    bytes: &[u8],
    with_preprocessing: bool,
    engine: &dyn Engine,
    on: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Difference, ExportError> {
    let mut file = onnx::Model::decode(bytes)?;
    same_constants(&model.tensors, &file)?;
    let recipe = &model.card.recipe;
    let (width, height) = (recipe.width, recipe.height);
    // Two at a time, because a mistake in the batch dimension shows in the second; wide and high photos are framed
    // differently.
    let batches = match with_preprocessing {
        false => vec![(2, width, height)],
        true => vec![(2, width * 3 / 2 + 3, height * 5 / 4 + 1), (1, width * 4 / 5 + 1, height * 5 / 3 + 2)],
    };
    if with_preprocessing && let Some(output) = file.outputs.first().cloned() {
        file.outputs.push(onnx::ValueInfo { name: onnx::PICTURES.into(), ..output });
    }
    let all = batches.len();
    let mut classifier = Classifier::from_model(model.clone(), engine, 2)?;
    let (mut logit, mut probability, mut largest) = (0.0, 0.0, 0.0);
    let (mut different, mut compared) = (0, 0);
    for (index, (images, width, height)) in batches.into_iter().enumerate() {
        let photos: Vec<Photo> = (0..images).map(|image| drawn(width, height, 10 * index + image)).collect();
        let mut pixels: Vec<u8> = photos.iter().flat_map(|photo| recipe.apply(photo)).collect();
        let input = if with_preprocessing {
            let values = photos.iter().flat_map(|photo| &photo.rgb).map(|&byte| byte.into()).collect();
            Array { shape: vec![images, height, width, 3], element: Element::U8, values }
        } else {
            normalised(recipe, images, &pixels)
        };
        let answer = onnx::run(&file, input, &mut |done, nodes| on(index * nodes + done, all * nodes));
        let answer = answer.map_err(|error| match error {
            onnx::OnnxError::Interrupted => ExportError::Interrupted,
            error => error.into(),
        })?;
        let found = |name: &str| answer.get(name).ok_or_else(|| ExportError::OtherTensor(name.to_owned()));
        if with_preprocessing {
            let made = picture_bytes(recipe, found(onnx::PICTURES)?);
            different += different_bytes(&made, &pixels)?;
            compared += pixels.len();
            pixels = made;
        }
        let expected = classifier.logits(images, &pixels)?;
        let mut shares = expected.clone();
        softmax(&mut shares, model.card.classes.len(), model.card.temperature);
        logit = larger(logit, difference(found("logits")?, &expected));
        probability = larger(probability, difference(found("probabilities")?, &shares));
        largest = expected.iter().fold(largest, |most, logit| larger(most, logit.abs().into()));
    }
    // Logits that are all 0 leave nothing to divide by.
    let share = if logit == 0.0 { 0.0 } else { logit / largest };
    let bytes = with_preprocessing.then(|| different as f64 / compared as f64);
    Ok(Difference { logits: larger(share, probability), bytes })
}

/// The bytes of pictures as the network takes them: [`normalised`] undone.
fn picture_bytes(recipe: &Recipe, pictures: &Array) -> Vec<u8> {
    let Recipe { width, height, mean, std, .. } = recipe;
    let plane = width * height;
    let mut bytes = vec![0; pictures.values.len()];
    for (at, value) in pictures.values.iter().enumerate() {
        let (image, channel, pixel) = (at / plane / 3, at / plane % 3, at % plane);
        let byte = 255.0 * (value * f64::from(std[channel]) + f64::from(mean[channel]));
        bytes[(image * plane + pixel) * 3 + channel] = byte.round() as u8;
    }
    bytes
}

/// How many bytes are not the recipe's.
fn different_bytes(made: &[u8], expected: &[u8]) -> Result<usize, ExportError> {
    let pairs = || made.iter().zip(expected);
    let different = pairs().filter(|(a, b)| a != b).count() + made.len().abs_diff(expected.len());
    let levels = pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    let share = different as f64 / expected.len() as f64;
    if levels > DIFFERENT_LEVELS || share > DIFFERENT_BYTES {
        return Err(ExportError::OtherPictures { share, levels });
    }
    Ok(different)
}

/// The larger of two; what is not a number wins, so that it is not overlooked.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The largest difference of a value; infinite where there are not as many.
fn difference(found: &Array, expected: &[f32]) -> f64 {
    if found.values.len() != expected.len() {
        return f64::INFINITY;
    }
    let pairs = found.values.iter().zip(expected);
    pairs.fold(0.0, |worst, (found, &expected)| larger(worst, (found - f64::from(expected)).abs()))
}

/// Whether the constants that are called as the model's tensors are those, bit for bit. Tables of relative positions are in the
/// file as what is looked up in them.
fn same_constants(tensors: &Tensors, file: &onnx::Model<'_>) -> Result<(), ExportError> {
    for constant in &file.initializers {
        let Some(tensor) = tensors.get(&constant.name) else { continue };
        let bytes = tensor.values.iter().flat_map(|value| value.to_le_bytes());
        let same = constant.element == Element::F32 && constant.shape == tensor.shape;
        if !(same && constant.bytes.iter().copied().eq(bytes)) {
            return Err(ExportError::OtherTensor(constant.name.clone()));
        }
    }
    Ok(())
}

/// Pictures of the recipe as the network takes them, `[images, 3, height, width]`.
fn normalised(recipe: &Recipe, images: usize, pixels: &[u8]) -> Array {
    let Recipe { width, height, mean, std, .. } = recipe;
    let mut values = Vec::with_capacity(pixels.len());
    for picture in pixels.chunks_exact(width * height * 3) {
        for ((channel, &mean), &std) in mean.iter().enumerate().zip(std) {
            let bytes = picture[channel..].iter().step_by(3);
            values.extend(bytes.map(|&byte| (f64::from(byte) / 255.0 - f64::from(mean)) / f64::from(std)));
        }
    }
    Array { shape: vec![images, 3, *height, *width], element: Element::F32, values }
}

/// A picture of waves in each channel with some noise, another for each number: photos have both, and noise alone would be
/// gray once it is resized.
fn drawn(width: usize, height: usize, number: usize) -> Photo {
    // The upper bits of a multiplicative hash (Knuth).
    let noise = |at: usize| (((at + 7919 * number) as u32).wrapping_mul(2_654_435_761) >> 26) as f64 - 32.0;
    let value = |at: usize| {
        let (channel, pixel) = (at % 3, at / 3);
        let (x, y) = ((pixel % width) as f64 / width as f64, (pixel / width) as f64 / height as f64);
        let (across, down) = ((3 + channel + number) as f64, (7 - channel + 2 * number) as f64);
        (128.0 + 90.0 * (across * x + down * y).sin() + noise(at)).clamp(0.0, 255.0) as u8
    };
    Photo { width, height, rgb: (0..width * height * 3).map(value).collect(), truncated: false }
}
