//! Weight files: PyTorch's archive and its pickle, safetensors, the card of a model file, ONNX.

#![no_main]

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use fuzz::{file, kind, of_kind, parts, seed, told, within};
use libfuzzer_sys::fuzz_target;
use pugmark_data::Recipe;
use pugmark_graph::onnx::{self, Export};
use pugmark_graph::{
    Architecture, Builder, Graph, Op, Tensor, Tensors, read_metadata, read_weights_from, write_pth,
    write_safetensors,
};
use pugmark_model::{FORMAT, Model, ModelCard};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fuzz_target!(init: seed(seeds()), |bytes: &[u8]| {
    match of_kind(bytes, 5) {
        Some((0, bytes)) => weights(bytes),
        Some((1, pickle)) => weights(&archive(pickle)),
        Some((2, bytes)) => {
            let [header, values] = parts(bytes);
            weights(&safetensors(header, values));
        }
        Some((3, bytes)) => onnx(bytes),
        Some((_, card)) => model(card),
        None => {}
    }
});

/// What is read takes no more than a part of what a file of its size may, and can be written and read again.
fn weights(bytes: &[u8]) {
    let read = within(256 * bytes.len() + (1 << 20), || read_weights_from(bytes));
    let tensors = match read {
        Ok(tensors) => tensors,
        Err(error) => return told(&error),
    };
    for (name, Tensor { shape, values }) in &tensors {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
    }
    let mut written = Vec::new();
    if tensors.contains_key("__metadata__") {
        return;
    }
    write_safetensors(&mut written, &tensors, &BTreeMap::new()).expect("it can be written to memory");
    let again = read_weights_from(&written).expect("what was written can be read");
    assert!(same(&again, &tensors));
}

/// To the bit, for values that are no numbers.
fn same(a: &Tensors, b: &Tensors) -> bool {
    let bits = |tensors: &Tensors| -> Vec<(String, Vec<usize>, Vec<u32>)> {
        let bits = |tensor: &Tensor| tensor.values.iter().map(|value| value.to_bits()).collect();
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone(), bits(tensor))).collect()
    };
    bits(a) == bits(b)
}

/// An archive as `torch.save` makes it around a pickle, whose storages are those of [`seeds`].
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [("a/data.pkl", pickle), ("a/data/0", &[0x3f; 216]), ("a/data/1", &[0; 8])] {
        zip.start_file(name, options).expect("memory");
        zip.write_all(bytes).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}

fn safetensors(header: &[u8], values: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, values].concat()
}

fn onnx(bytes: &[u8]) {
    match within(256 * bytes.len() + (1 << 20), || onnx::Model::decode(bytes)) {
        Ok(model) => {
            let written = model.encode();
            let again = onnx::Model::decode(&written).expect("what was written can be read");
            assert_eq!(again.encode(), written);
        }
        Err(error) => told(&error),
    }
}

/// A model file with this card and one tensor.
fn model(card: &[u8]) {
    let Ok(card) = std::str::from_utf8(card) else { return };
    let metadata = BTreeMap::from([("pugmark".to_owned(), card.to_owned())]);
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &tensors(), &metadata).expect("it can be written to memory");
    let path = file("model.safetensors", &bytes);
    assert_eq!(read_metadata(&path).expect("it was just written"), metadata);
    told(&Model::read(&path).expect_err("it has none of a model's tensors"));
    if let Ok(read) = serde_json::from_str::<ModelCard>(card) {
        let written = serde_json::to_string(&read).expect("it can be written");
        let again: ModelCard = serde_json::from_str(&written).expect("what was written can be read");
        assert_eq!(serde_json::to_string(&again).expect("it can be written"), written);
    }
}

fn tensors() -> Tensors {
    let tensor = |shape: &[usize]| Tensor {
        shape: shape.to_vec(),
        values: (0..shape.iter().product()).map(|value| value as f32).collect(),
    };
    BTreeMap::from([("a.weight".to_owned(), tensor(&[2, 3])), ("a.bias".to_owned(), tensor(&[2]))])
}

/// A convolution with batch norm, and a last layer.
fn graph() -> Graph {
    let mut b = Builder::new();
    let x = b.push("input", Op::Input { channels: 3 }, &[]);
    let x = b.conv2d("conv", x, (3, 2), (3, 1, 1), false);
    let x = b.batch_norm2d("bn", x, 2);
    let x = b.push("relu", Op::Relu, &[x]);
    let x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
    b.begin_head();
    b.linear("fc", x, 2, 2);
    b.finish()
}

fn seeds() -> Vec<Vec<u8>> {
    let (graph, mut memory) = (graph(), Cursor::new(Vec::new()));
    let parameters = graph.initialise(0);
    write_pth(&mut memory, &graph, &parameters).expect("memory");
    let pth = memory.into_inner();
    let mut pickle = Vec::new();
    let mut zip = zip::ZipArchive::new(Cursor::new(&pth)).expect("it is one");
    zip.by_name("archive/data.pkl")
        .and_then(|mut entry| Ok(entry.read_to_end(&mut pickle)?))
        .expect("it is there");
    let mut plain = Vec::new();
    let metadata = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    write_safetensors(&mut plain, &parameters, &metadata).expect("memory");
    let header = 8 + u64::from_le_bytes(plain[..8].try_into().expect("eight")) as usize;
    let (version, metadata) = ("0", BTreeMap::new());
    let export = Export { height: 8, width: 8, temperature: 1.5, preprocessing: None, metadata, version };
    let network = onnx::export(&graph, &parameters, &export).expect("it can be written");
    let card = ModelCard {
        format: FORMAT,
        version: "0".into(),
        architecture: Architecture::SimpleCnn,
        classes: vec!["hog".into(), "lion".into()],
        recipe: Recipe::imagenet(224),
        temperature: 1.5,
        calibration: Some("vector".into()),
        data_hash: "d".into(),
        split_hash: "s".into(),
        split_how: "site".into(),
        metrics: BTreeMap::from([("val_loss".into(), 0.5)]),
        epoch: 3,
    };
    vec![
        kind(0, &plain),
        kind(0, &pth),
        kind(1, pickle),
        kind(2, [&plain[8..header], &[0], &plain[header..]].concat()),
        kind(3, network),
        kind(4, serde_json::to_string(&card).expect("it can be written")),
    ]
}
