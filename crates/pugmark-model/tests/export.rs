//! Exports say what the model says, and those that do not are found out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use pugmark_data::{Colour, Photo, Recipe, Resize};
use pugmark_engine::Cpu;
use pugmark_graph::onnx;
use pugmark_graph::{Architecture, Tensors};
use pugmark_model::{Difference, ExportError, ExportFormat, FORMAT, Model, ModelCard, check_export, export};

const PLAIN: ExportFormat = ExportFormat::Onnx { with_preprocessing: false };
const WHOLE: ExportFormat = ExportFormat::Onnx { with_preprocessing: true };

/// A model whose norms, statistics and biases are not what they begin with, so that each of them counts.
fn model(architecture: Architecture, recipe: Recipe) -> Model {
    let classes: Vec<String> = ["bird", "blank", "hog"].map(String::from).to_vec();
    let mut tensors = architecture.graph(classes.len()).initialise(7);
    for (number, (name, tensor)) in tensors.iter_mut().enumerate() {
        let wave = |at: usize| ((at + 3 * number) as f32 * 0.7).sin();
        for (at, value) in tensor.values.iter_mut().enumerate().filter(|_| tensor.shape.len() != 2) {
            match name.rsplit('.').next() {
                Some("running_var") => *value = 1.0 + 0.4 * wave(at),
                Some("running_mean" | "bias") => *value = 0.2 * wave(at),
                Some("layer_scale") => *value = 0.3 * wave(at),
                Some("weight") if tensor.shape.len() == 1 => *value = 1.0 + 0.2 * wave(at),
                _ => {}
            }
        }
        if name.ends_with("relative_position_bias_table") {
            tensor.values.iter_mut().enumerate().for_each(|(at, value)| *value = wave(at));
        }
    }
    let card = ModelCard {
        format: FORMAT,
        version: "0.1.0".into(),
        architecture,
        classes,
        recipe,
        temperature: 1.5,
        calibration: None,
        data_hash: String::new(),
        split_hash: String::new(),
        split_how: String::new(),
        metrics: Default::default(),
        epoch: 1,
    };
    Model { card, tensors }
}

fn small() -> Model {
    model(Architecture::SimpleCnn, Recipe::imagenet(32))
}

fn engine() -> Cpu {
    Cpu::new(2).unwrap()
}

fn exported(model: &Model, format: ExportFormat) -> (Vec<u8>, Difference) {
    let exported = export(model, format, &engine(), &mut |_, _| true).unwrap();
    (exported.bytes, exported.difference)
}

fn check(model: &Model, format: ExportFormat, bytes: &[u8]) -> Result<Difference, ExportError> {
    check_export(model, format, bytes, &engine(), &mut |_, _| true)
}

/// Sides that windows of 7 do and do not fill, and that are odd after the stem; a picture of one window; one that is not square.
#[test]
fn onnx_says_what_the_model_says() {
    for (architecture, height, width) in [
        (Architecture::SimpleCnn, 32, 40),
        (Architecture::ResNet18, 64, 33),
        (Architecture::ResNet50, 32, 32),
        (Architecture::EfficientNetB0, 64, 64),
        (Architecture::ConvNextTiny, 64, 32),
        (Architecture::SwinT, 28, 28),
        (Architecture::SwinT, 60, 84),
        (Architecture::SwinT, 100, 56),
    ] {
        let recipe = Recipe { height, width, ..Recipe::imagenet(32) };
        let (bytes, difference) = exported(&model(architecture, recipe), PLAIN);
        println!("{architecture} at {height} x {width}: {:.1e}, {} bytes", difference.logits, bytes.len());
        assert!(difference.logits > 0.0 && difference.logits < 1e-4, "{architecture}: {difference:?}");
        assert_eq!(difference.bytes, None);
    }
}

/// Every way to frame a photo, also where the short side is smaller than what is cut out.
#[test]
fn photos_are_prepared_in_the_file() {
    let centre_crop = |short_side| Resize::CentreCrop { short_side };
    for (resize, colour) in [
        (Resize::Squash, Colour::Rgb),
        (Resize::Squash, Colour::Grayscale),
        (centre_crop(40), Colour::Rgb),
        (centre_crop(36), Colour::Rgb),
        (centre_crop(33), Colour::Grayscale),
        (Resize::Letterbox, Colour::Rgb),
        (Resize::Letterbox, Colour::Grayscale),
    ] {
        let recipe = Recipe { resize, colour, height: 34, width: 40, ..Recipe::imagenet(32) };
        let model = model(Architecture::SimpleCnn, recipe.clone());
        let (bytes, difference) = exported(&model, WHOLE);
        println!("{resize:?}, {colour:?}: {difference:?}");
        assert!(difference.logits < 1e-4 && difference.bytes.unwrap() < 0.01, "{difference:?}");
        let sizes = [(60, 45), (45, 61), (40, 34), (20, 17), (203, 11), (9, 150), (1, 1), (80, 68), (37, 35)];
        let worst = sizes.into_iter().map(|size| different_bytes(&bytes, &recipe, size)).fold(0.0, f64::max);
        println!("{:.2} % of the bytes of a photo are another at most", 100.0 * worst);
        assert!(worst < 0.12, "{resize:?} {colour:?}: {worst}");

        // A file that frames photos in another way is found out.
        let other = if resize == Resize::Squash { Resize::Letterbox } else { Resize::Squash };
        let wrong = self::model(Architecture::SimpleCnn, Recipe { resize: other, ..recipe });
        let found = check(&model, WHOLE, &exported(&wrong, WHOLE).0);
        assert!(matches!(found, Err(ExportError::OtherPictures { .. })), "{resize:?} {colour:?}: {found:?}");
    }
}

/// The share of bytes of a photo's picture in which the file's nodes and the recipe differ. The one sums weights in f64, the
/// other in Pillow's fixed point, which rounds some sums near a half to the other side: by one level in each direction at most.
fn different_bytes(bytes: &[u8], recipe: &Recipe, (width, height): (usize, usize)) -> f64 {
    let mut file = onnx::Model::decode(bytes).unwrap();
    let nodes = file.nodes.iter().take_while(|node| node.name.starts_with("preprocessing/")).count();
    file.nodes.truncate(nodes);
    file.outputs.truncate(1);
    file.outputs[0].name.clone_from(&file.nodes[nodes - 1].output);
    // Steps and noise: edges show which pixels were taken.
    let value = |at: usize| ((at / 3 % width * 7 / width * 40) ^ ((at * 97 + at / width * 31) % 61)) as u8;
    let rgb: Vec<u8> = (0..width * height * 3).map(value).collect();
    let values = rgb.iter().map(|&byte| byte.into()).collect();
    let input = onnx::Array { shape: vec![1, height, width, 3], element: onnx::Element::U8, values };
    let found = onnx::run(&file, input, &mut |_, _| true).unwrap().into_values().next().unwrap();
    let expected = recipe.apply(&Photo { width, height, rgb, truncated: false });
    let plane = recipe.width * recipe.height;
    assert_eq!(found.shape, [1, 3, recipe.height, recipe.width]);
    let mut different = 0;
    for (at, value) in found.values.iter().enumerate() {
        let (channel, pixel) = (at / plane, at % plane);
        let byte = 255.0 * (value * f64::from(recipe.std[channel]) + f64::from(recipe.mean[channel]));
        let expected = f64::from(expected[3 * pixel + channel]);
        assert!((byte - byte.round()).abs() < 1e-9, "{byte} is no byte");
        assert!(
            (byte - expected).abs() < 2.5,
            "{width} x {height}: {byte} and {expected} at {channel}, {pixel}"
        );
        different += usize::from((byte - expected).abs() > 0.5);
    }
    different as f64 / found.values.len() as f64
}

#[test]
fn metadata_can_be_read_without_pugmark() {
    let model = small();
    for format in [PLAIN, WHOLE] {
        let (bytes, _) = exported(&model, format);
        let file = onnx::Model::decode(&bytes).unwrap();
        let metadata = &file.metadata;
        assert_eq!(serde_json::from_str::<ModelCard>(&metadata["pugmark"]).unwrap(), model.card);
        assert_eq!(metadata["classes"], r#"["bird","blank","hog"]"#);
        assert_eq!(metadata["temperature"], "1.5");
        assert_eq!(metadata["version"], "0.1.0");
        assert_eq!(serde_json::from_str::<Recipe>(&metadata["recipe"]).unwrap(), model.card.recipe);
        assert!(metadata["input"].starts_with(file.inputs[0].name.as_str()), "{}", metadata["input"]);
        let nodes: Vec<&str> = file.nodes.iter().map(|node| node.name.as_str()).collect();
        let graph = model.card.architecture.graph(3);
        let written = graph.nodes().iter().filter(|node| !["input", "dropout"].contains(&&*node.name));
        assert!(written.map(|node| node.name.as_str()).all(|name| nodes.contains(&name)), "{nodes:?}");
    }
}

/// One bit of one weight at a time, then an operator and an attribute that are not right.
#[test]
fn a_corrupted_onnx_file_is_found_out() {
    let model = small();
    let (bytes, _) = exported(&model, PLAIN);
    let file = onnx::Model::decode(&bytes).unwrap();
    let corrupted = |change: &dyn Fn(&mut onnx::Model<'_>)| {
        let mut file = file.clone();
        change(&mut file);
        check(&model, PLAIN, &file.encode())
    };
    assert!(corrupted(&|_| {}).is_ok(), "what is not changed is sound");
    for name in ["block1.conv.weight", "block3.bn.running_var", "fc.bias"] {
        let found = corrupted(&|file| {
            let constant = file.initializers.iter_mut().find(|constant| constant.name == name).unwrap();
            constant.bytes.to_mut()[4] ^= 1;
        });
        assert!(matches!(&found, Err(ExportError::OtherTensor(there)) if there == name), "{name}: {found:?}");
    }
    let node = |file: &mut onnx::Model<'_>, name: &str, op: &str| {
        file.nodes.iter_mut().find(|node| node.name == name).unwrap().op = op.into();
    };
    let found = corrupted(&|file| node(file, "block2.relu", "Sigmoid"));
    assert!(matches!(found, Err(ExportError::Differs { difference, .. }) if difference > 1e-2), "{found:?}");
    let found = corrupted(&|file| {
        let temperature = file.initializers.iter_mut().find(|constant| constant.name == "temperature");
        temperature.unwrap().bytes = 1.0_f32.to_le_bytes().to_vec().into();
    });
    assert!(matches!(found, Err(ExportError::Differs { .. })), "{found:?}");
    let found = corrupted(&|file| node(file, "block2.relu", "Softplus"));
    assert!(matches!(found, Err(ExportError::Onnx(_))), "{found:?}");
    let found = corrupted(&|file| {
        file.nodes.pop();
    });
    assert!(matches!(found, Err(ExportError::Onnx(_))), "{found:?}");
}

/// Whatever the bytes, reading a file ends in a model or an error.
#[test]
fn no_part_of_a_file_passes_for_it() {
    let (bytes, _) = exported(&small(), PLAIN);
    for end in (0..bytes.len()).step_by(bytes.len() / 200) {
        let found = check(&small(), PLAIN, &bytes[..end]);
        assert!(matches!(found, Err(ExportError::Onnx(_))), "{end} bytes of {}: {found:?}", bytes.len());
    }
}

#[test]
fn tensors_are_the_same_bits() {
    for format in [ExportFormat::Safetensors, ExportFormat::Pth] {
        let model = model(Architecture::SwinT, Recipe::imagenet(32));
        let (mut bytes, difference) = exported(&model, format);
        assert_eq!(difference, Difference::default());
        let mut other = model.clone();
        let first = other.tensors.get_mut("head.weight").unwrap();
        first.values[5] = f32::from_bits(first.values[5].to_bits() ^ 1);
        let found = check(&other, format, &bytes);
        assert!(matches!(&found, Err(ExportError::OtherTensor(name)) if name == "head.weight"), "{found:?}");
        let mut without: Tensors = model.tensors.clone();
        without.remove("norm.bias");
        let found = check(&Model { tensors: without, ..model.clone() }, format, &bytes);
        assert!(matches!(&found, Err(ExportError::OtherTensor(name)) if name == "norm.bias"), "{found:?}");
        bytes.truncate(bytes.len() - 1);
        assert!(matches!(check(&model, format, &bytes), Err(ExportError::Reading(_))));
    }
}

#[test]
fn equal_models_give_equal_bytes() {
    for format in [PLAIN, WHOLE, ExportFormat::Safetensors, ExportFormat::Pth] {
        assert_eq!(exported(&small(), format).0, exported(&small(), format).0, "{format:?}");
    }
}

#[test]
fn an_export_can_be_stopped() {
    let mut heard = Vec::new();
    let stopped = export(&small(), WHOLE, &engine(), &mut |done, all| {
        heard.push((done, all));
        done < 3
    });
    assert!(matches!(stopped, Err(ExportError::Interrupted)), "{stopped:?}");
    assert_eq!(heard.iter().map(|&(done, _)| done).collect::<Vec<_>>(), [1, 2, 3]);
}
