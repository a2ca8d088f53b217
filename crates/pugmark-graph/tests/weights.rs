//! Weight files against those that PyTorch wrote (`fixtures/`), and against published weights where the test data is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pugmark_graph::{
    Architecture, FileProblem, HeadFit, HeadPolicy, Tensor, Tensors, WeightsError, fit, read_metadata,
    read_weights, write_safetensors,
};
use safetensors::{Dtype, SafeTensors};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(name)
}

/// A file of the test data, or None with a line that says so.
fn test_data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PUGMARK_TEST_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

/// The f32 tensors of a safetensors file as the format's own library reads them.
fn reference(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).expect("the fixture is there");
    let file = SafeTensors::deserialize(&bytes).expect("the fixture is sound");
    let f32s = file.iter().filter(|(_, view)| view.dtype() == Dtype::F32);
    f32s.map(|(name, view)| {
        let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        (name.to_string(), Tensor { shape: view.shape().to_vec(), values })
    })
    .collect()
}

#[test]
fn pth_files_hold_what_pytorch_put_there() {
    for name in ["weights_module", "weights_views"] {
        let expected = reference(&fixture(&format!("{name}.safetensors")));
        assert!(expected.len() > 5);
        for extension in ["pth", "safetensors"] {
            assert_eq!(read_weights(&fixture(&format!("{name}.{extension}"))).unwrap(), expected, "{name}");
        }
    }
}

#[test]
fn checkpoints_and_prefixes_are_unwrapped() {
    let stored = reference(&fixture("weights_nested.safetensors"));
    let expected: Tensors = stored
        .into_iter()
        .map(|(name, tensor)| (name.strip_prefix("module.").unwrap().to_string(), tensor))
        .collect();
    assert!(expected.contains_key("conv1.weight"));
    for extension in ["pth", "safetensors"] {
        assert_eq!(read_weights(&fixture(&format!("weights_nested.{extension}"))).unwrap(), expected);
    }
}

#[test]
fn a_prefix_that_some_names_lack_stays() {
    let one = Tensor { shape: vec![1], values: vec![1.0] };
    for (names, expected) in [
        (["module.backbone.a", "module.backbone.b"], ["a", "b"]),
        (["backbone.a", "head.b"], ["backbone.a", "head.b"]),
        (["module.", "module.b"], ["module.", "module.b"]),
    ] {
        let tensors: Tensors = names.into_iter().map(|name| (name.to_string(), one.clone())).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        write_safetensors(&file, &tensors, &BTreeMap::new()).unwrap();
        assert_eq!(read_weights(file.path()).unwrap().into_keys().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn every_float_type_becomes_f32_and_integers_are_left_out() {
    for extension in ["pth", "safetensors"] {
        let tensors = read_weights(&fixture(&format!("weights_dtypes.{extension}"))).unwrap();
        let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        assert_eq!(names, ["bfloat16", "empty", "float16", "float32", "float64"]);
        assert_eq!(tensors["empty"], Tensor { shape: vec![0, 3], values: vec![] });
        let exact = &tensors["float32"];
        assert_eq!(&tensors["float64"], exact);
        // Half of the last place: f16 has 11 significant bits, bf16 has 8.
        for (name, tolerance) in [("float16", 2.0_f32.powi(-11)), ("bfloat16", 2.0_f32.powi(-8))] {
            assert_eq!(tensors[name].shape, [2, 3]);
            assert_ne!(&tensors[name], exact);
            for (value, exact) in tensors[name].values.iter().zip(&exact.values) {
                assert!((value - exact).abs() <= tolerance * exact.abs(), "{name}: {value} for {exact}");
            }
        }
    }
}

#[test]
fn unreadable_files_say_why_and_what_to_do() {
    struct Case {
        path: PathBuf,
        message: &'static str,
        hint: &'static str,
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let empty_header = [&2_u64.to_le_bytes()[..], b"{}"].concat();
    let cases = [
        Case {
            path: fixture("weights_hostile.pth"),
            message: "refuses `posix.system`: a weight file may only hold tensors and dictionaries",
            hint: "torch.save(model.float().state_dict()",
        },
        Case {
            path: fixture("weights_whole_model.pth"),
            message: "refuses `torch.nn.modules.container.Sequential`",
            hint: "torch.save(model.float().state_dict()",
        },
        Case {
            path: fixture("weights_legacy.pth"),
            message: "PyTorch's format of before version 1.6",
            hint: "torch.save(torch.load('old.pth'",
        },
        Case {
            path: file("photo.pth", b"\xff\xd8\xff\xe0"),
            message: "neither a PyTorch .pth file",
            hint: ".safetensors",
        },
        Case { path: file("empty.pth", b""), message: "neither a PyTorch .pth file", hint: ".safetensors" },
        Case { path: file("login.pth", b"\n<!DOCTYPE html>"), message: "a web page", hint: "download" },
        Case {
            path: file("pointer.pth", b"version https://git-lfs.github.com/spec/v1\n"),
            message: "git-lfs's pointer",
            hint: "git lfs pull",
        },
        Case {
            path: file("no.safetensors", &empty_header),
            message: "holds no floating-point tensor",
            hint: "state_dict",
        },
        Case {
            path: file("long.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\xff{"),
            message: "its header should have 18446744073709551615 bytes and the file has 9",
            hint: "again",
        },
    ];
    for Case { path, message, hint } in cases {
        let error = read_weights(&path).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(message) && text.starts_with(&path.display().to_string()), "{text}");
        assert!(error.hint().unwrap().contains(hint), "{text}");
    }
    let absent = read_weights(&folder.path().join("absent.pth")).unwrap_err();
    assert!(matches!(absent, WeightsError::File { problem: FileProblem::Io(_), .. }), "{absent}");
}

fn metadata() -> BTreeMap<String, String> {
    (0..20).map(|i| (format!("key {i}"), format!("\"quoted\" and ünïcode {i}\n"))).collect()
}

#[test]
fn written_files_are_read_back_by_us_and_by_the_formats_library() {
    let mut tensors = Architecture::SimpleCnn.graph(3).initialise(1);
    tensors.insert("scalar".into(), Tensor { shape: vec![], values: vec![f32::MIN_POSITIVE / 2.0] });
    tensors.insert("empty".into(), Tensor { shape: vec![0, 3], values: vec![] });
    tensors.insert(
        "odd \"name\"\n".into(),
        Tensor { shape: vec![3], values: vec![f32::INFINITY, -0.0, f32::MAX] },
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    write_safetensors(&file, &tensors, &metadata()).unwrap();
    assert_eq!(read_weights(file.path()).unwrap(), tensors);
    assert_eq!(reference(file.path()), tensors);
    assert_eq!(read_metadata(file.path()).unwrap(), metadata());
    let bytes = std::fs::read(file.path()).unwrap();
    let (header, _) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header % 8, 0);
}

#[test]
fn equal_contents_give_equal_bytes() {
    let write = |metadata: BTreeMap<String, String>| {
        let mut bytes = Vec::new();
        write_safetensors(&mut bytes, &Architecture::SimpleCnn.graph(3).initialise(1), &metadata).unwrap();
        bytes
    };
    assert_eq!(write(metadata()), write(metadata()));
    assert_ne!(write(metadata()), write(BTreeMap::new()));
    let header = String::from_utf8_lossy(&write(metadata())[8..1000]).into_owned();
    assert!(
        header.find("key 0") < header.find("key 1") && header.find("key 1") < header.find("key 10"),
        "{header}"
    );
}

#[test]
fn tensors_that_contradict_themselves_are_not_written() {
    for (name, shape) in [("a", vec![2, 3]), ("__metadata__", vec![1])] {
        let tensors = Tensors::from([(name.to_string(), Tensor { shape, values: vec![0.0] })]);
        let error = write_safetensors(Vec::new(), &tensors, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn metadata_is_that_of_the_file() {
    assert_eq!(read_metadata(&fixture("weights_module.pth")).unwrap(), BTreeMap::new());
    assert_eq!(read_metadata(&fixture("weights_module.safetensors")).unwrap(), BTreeMap::new());
    assert!(read_metadata(&fixture("weights_legacy.pth")).is_err());
}

#[test]
fn weights_of_the_same_head_are_taken_whole() {
    let graph = Architecture::SimpleCnn.graph(8);
    let loaded = graph.initialise(1);
    for policy in [HeadPolicy::Exact, HeadPolicy::Replace] {
        let (tensors, report) = fit(&graph, &loaded, graph.initialise(2), policy).unwrap();
        assert_eq!(tensors, loaded);
        assert_eq!(report.head, HeadFit::Loaded);
        assert_eq!(report.to_string(), "all 22 tensors loaded");
    }
}

#[test]
fn another_head_is_replaced_and_reported() {
    let graph = Architecture::ResNet18.graph(2);
    let initial = graph.initialise(2);
    let mut loaded = Architecture::ResNet18.graph(1000).initialise(1);
    let check = |loaded: &Tensors, expected: &str| {
        let (tensors, report) = fit(&graph, loaded, initial.clone(), HeadPolicy::Replace).unwrap();
        assert_eq!(report.to_string(), expected);
        assert_eq!(report.loaded, 100);
        assert_eq!(tensors.len(), 102);
        for (name, tensor) in &tensors {
            let source = if name.starts_with("fc.") { &initial } else { loaded };
            assert_eq!(tensor, &source[name], "{name}");
        }
    };
    check(&loaded, "100 tensors loaded, new head for 2 classes; the file has 1000");
    loaded.retain(|name, _| !name.starts_with("fc."));
    check(&loaded, "100 tensors loaded, new head for 2 classes; the file has no head");
}

/// Tensors that a graph of this architecture takes.
fn zeros(architecture: Architecture, classes: usize) -> Tensors {
    let zero =
        |shape: &Vec<usize>| Tensor { shape: shape.clone(), values: vec![0.0; shape.iter().product()] };
    architecture
        .graph(classes)
        .params()
        .iter()
        .map(|param| (param.name.clone(), zero(&param.shape)))
        .collect()
}

#[test]
fn mismatches_list_names_and_shapes() {
    struct Case {
        graph: Architecture,
        classes: usize,
        loaded: Tensors,
        policy: HeadPolicy,
        message: &'static str,
        hint: Option<&'static str>,
    }
    let mut renamed = zeros(Architecture::SimpleCnn, 8);
    let tensor = renamed.remove("block1.bn.bias").unwrap();
    renamed.insert("block1.bn.beta".into(), tensor);
    let mut reshaped = zeros(Architecture::SimpleCnn, 8);
    reshaped.insert("block1.conv.weight".into(), Tensor { shape: vec![32, 1, 3, 3], values: vec![0.0; 288] });
    let cases = [
        Case {
            graph: Architecture::SimpleCnn,
            classes: 2,
            loaded: zeros(Architecture::SimpleCnn, 8),
            policy: HeadPolicy::Exact,
            message: "the weights do not fit the model; 2 of another shape: fc.weight [8, 256] in the file, [2, 256] in \
                      the model, fc.bias [8] in the file, [2] in the model",
            hint: None,
        },
        Case {
            graph: Architecture::SimpleCnn,
            classes: 8,
            loaded: renamed,
            policy: HeadPolicy::Replace,
            message: "the weights do not fit the model; 1 missing from the file: block1.bn.bias [32]; 1 unknown to the \
                      model: block1.bn.beta [32]",
            hint: None,
        },
        Case {
            graph: Architecture::SimpleCnn,
            classes: 8,
            loaded: reshaped,
            policy: HeadPolicy::Replace,
            message: "the weights do not fit the model; 1 of another shape: block1.conv.weight [32, 1, 3, 3] in the file, \
                      [32, 3, 3, 3] in the model",
            hint: None,
        },
        Case {
            graph: Architecture::ResNet18,
            classes: 2,
            loaded: zeros(Architecture::ResNet34, 1000),
            policy: HeadPolicy::Replace,
            message: "the weights do not fit the model; 80 unknown to the model: layer1.2.bn1.bias [64], \
                      layer1.2.bn1.running_mean [64], layer1.2.bn1.running_var [64], layer1.2.bn1.weight [64], \
                      layer1.2.bn2.bias [64], ...",
            hint: Some("these look like resnet34 weights: use `--model resnet34`"),
        },
        Case {
            graph: Architecture::ResNet18,
            classes: 1000,
            loaded: zeros(Architecture::ResNet50, 1000),
            policy: HeadPolicy::Exact,
            message: "the weights do not fit the model; 165 unknown to the model: layer1.0.bn3.bias [256], \
                      layer1.0.bn3.running_mean [256], layer1.0.bn3.running_var [256], layer1.0.bn3.weight [256], \
                      layer1.0.conv3.weight [256, 64, 1, 1], ...; 24 of another shape: layer1.0.conv1.weight \
                      [64, 64, 1, 1] in the file, [64, 64, 3, 3] in the model, ",
            hint: Some("these look like resnet50 weights: use `--model resnet50`"),
        },
    ];
    for Case { graph, classes, loaded, policy, message, hint } in cases {
        let graph = graph.graph(classes);
        let error = fit(&graph, &loaded, Tensors::new(), policy).unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
        assert_eq!(error.hint().as_deref(), hint);
    }
}

#[test]
fn published_weights_fit_their_architectures() {
    for (name, architecture, tensors) in [
        ("weights/resnet18-pqf-fp16.pth", Architecture::ResNet18, 102),
        ("weights/resnet50-pqf-fp16.safetensors", Architecture::ResNet50, 267),
    ] {
        let Some(path) = test_data(name) else { continue };
        let loaded = read_weights(&path).unwrap();
        let graph = architecture.graph(1000);
        let (fitted, report) = fit(&graph, &loaded, Tensors::new(), HeadPolicy::Exact).unwrap();
        assert_eq!(report.loaded, tensors);
        assert_eq!(fitted, loaded);
        // Read at a wrong offset or as another type, a good part would be beyond 1e4, NaN or a negative variance.
        for (name, tensor) in &fitted {
            assert!(tensor.values.iter().all(|v| v.abs() < 1e4), "{name}");
            assert!(!name.ends_with("running_var") || tensor.values.iter().all(|&v| v > 0.0), "{name}");
        }
        let graph = architecture.graph(2);
        let (_, report) = fit(&graph, &loaded, Tensors::new(), HeadPolicy::Replace).unwrap();
        assert_eq!(report.head, HeadFit::New { classes: 2, file: Some(1000) });
        let other = if architecture == Architecture::ResNet18 {
            Architecture::ResNet50
        } else {
            Architecture::ResNet18
        };
        let graph = other.graph(2);
        let error = fit(&graph, &loaded, Tensors::new(), HeadPolicy::Replace).unwrap_err();
        assert!(error.hint().unwrap().contains(&format!("--model {architecture}")), "{error}");
    }
}
