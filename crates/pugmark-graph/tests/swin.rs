//! Swin as torchvision builds it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use pugmark_graph::{
    Architecture, Builder, Graph, GraphSettings, HeadPolicy, Op, Role, Scheme, Shape, fit, read_weights,
};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

fn place(graph: &Graph, name: &str) -> (usize, usize) {
    let param = graph.params().iter().find(|param| param.name == name).unwrap();
    (param.stage, param.block)
}

#[test]
fn parameter_counts_equal_torchvisions() {
    // `sum(p.numel() for p in torchvision.models.NAME().parameters())`, as its documentation states them, and the entries
    // of `state_dict()` without `relative_position_index`.
    for (architecture, classes, parameters, tensors) in [
        (Architecture::SwinT, 1000, 28_288_354, 173),
        (Architecture::SwinS, 1000, 49_606_258, 329),
        (Architecture::SwinT, 8, 27_525_506, 173),
    ] {
        let graph = architecture.graph(classes);
        assert_eq!(graph.parameter_count(), parameters, "{architecture}");
        assert_eq!(graph.params().len(), tensors, "{architecture}");
    }
}

#[test]
fn names_and_order_are_torchvisions() {
    let model = |depths: [usize; 4]| {
        let mut expected: Vec<String> = Vec::new();
        let mut add = |module: &str, parts: &[&str]| {
            expected.extend(parts.iter().map(|part| format!("{module}.{part}")));
        };
        let both = ["weight", "bias"];
        add("features.0.0", &both);
        add("features.0.2", &both);
        for (stage, depth) in depths.into_iter().enumerate() {
            if stage > 0 {
                add(&format!("features.{}", 2 * stage), &["reduction.weight", "norm.weight", "norm.bias"]);
            }
            for index in 0..depth {
                let block = format!("features.{}.{index}", 2 * stage + 1);
                add(&format!("{block}.norm1"), &both);
                add(&format!("{block}.attn"), &["relative_position_bias_table"]);
                for module in ["attn.qkv", "attn.proj", "norm2", "mlp.0", "mlp.3"] {
                    add(&format!("{block}.{module}"), &both);
                }
            }
        }
        add("norm", &both);
        add("head", &both);
        expected
    };
    let names = |graph: &Graph| graph.params().iter().map(|param| param.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&Architecture::SwinT.graph(10)), model([2, 2, 6, 2]));
    assert_eq!(names(&Architecture::SwinS.graph(10)), model([2, 2, 18, 2]));
}

#[test]
fn stages_and_blocks_count_from_stem_to_head() {
    let graph = Architecture::SwinT.graph(3);
    assert_eq!((graph.stages(), graph.blocks()), (6, 14));
    assert_eq!(place(&graph, "features.0.2.bias"), (0, 0));
    assert_eq!(place(&graph, "features.1.1.mlp.3.bias"), (1, 2));
    assert_eq!(place(&graph, "features.2.reduction.weight"), (2, 3));
    assert_eq!(place(&graph, "features.3.0.norm1.weight"), (2, 3));
    assert_eq!(place(&graph, "features.7.1.attn.relative_position_bias_table"), (4, 12));
    assert_eq!(place(&graph, "head.weight"), (5, 13));
}

#[test]
fn stochastic_depth_grows_evenly_to_the_default_or_the_setting() {
    let depths = |architecture: Architecture, stochastic_depth: Option<f32>| -> Vec<f32> {
        let graph =
            architecture.graph_with(2, GraphSettings { stochastic_depth, ..GraphSettings::default() });
        let p = |op: &Op| if let Op::StochasticDepth { p } = *op { Some(p) } else { None };
        graph.nodes().iter().filter_map(|node| p(&node.op)).collect()
    };
    // Twice a block, after torchvision's formula.
    let expected = |blocks: usize, last: f32| -> Vec<f32> {
        (0..2 * blocks).map(|i| last * (i / 2) as f32 / (blocks - 1) as f32).collect()
    };
    assert_eq!(depths(Architecture::SwinT, None), expected(12, 0.2));
    assert_eq!(depths(Architecture::SwinS, None), expected(24, 0.3));
    assert_eq!(depths(Architecture::SwinT, Some(0.5)), expected(12, 0.5));
    assert!(Architecture::SwinT.has_stochastic_depth());
}

#[test]
fn any_picture_size_fits() {
    let graph = Architecture::SwinT.graph(8);
    let pool = graph.nodes().iter().position(|node| node.op == Op::GlobalAvgPool).unwrap();
    for (size, features) in [
        ((160, 160), (5, 5)),
        ((224, 224), (7, 7)),
        ((256, 256), (8, 8)),
        ((320, 384), (10, 12)),
        // Odd sides are merged with zeros.
        ((100, 36), (4, 2)),
        ((4, 4), (1, 1)),
    ] {
        let shapes = graph.shapes(size.0, size.1).unwrap();
        let (height, width) = features;
        assert_eq!(shapes[pool - 1], Shape::Image { channels: 768, height, width }, "{size:?}");
    }
    let error = graph.shapes(3, 224).unwrap_err().to_string();
    assert_eq!(
        error,
        "node `features.0.0` (Conv2d): its 4 x 4 kernel is larger than the padded 3 x 224 input"
    );
}

#[test]
fn attention_takes_queries_keys_and_values() {
    let mut b = Builder::with_scheme(Scheme::Narrow);
    let x = b.push("input", Op::Input { channels: 6 }, &[]);
    let x = b.window_attention("attn", x, 6, 2, (7, 3));
    let graph = b.finish();
    let Op::WindowAttention { table, padding, .. } = graph.nodes()[2].op else { panic!() };
    assert_eq!(graph.param(table).shape, [169, 2]);
    assert_eq!(
        (graph.param(padding).name.as_str(), &graph.param(padding).shape[..]),
        ("attn.qkv.bias", &[18][..])
    );
    assert_eq!(graph.shapes(9, 5).unwrap()[x.0], Shape::Image { channels: 6, height: 9, width: 5 });

    let mut b = Builder::new();
    let x = b.push("input", Op::Input { channels: 6 }, &[]);
    b.push("attn", Op::WindowAttention { table, padding, channels: 6, heads: 2, window: 7, shift: 0 }, &[x]);
    let error = b.finish().shapes(7, 7).unwrap_err().to_string();
    assert_eq!(
        error,
        "node `attn` (WindowAttention): takes 18 channels, queries, keys and values, and is given 6"
    );
}

#[test]
fn initial_values_are_torchvisions() {
    let graph = Architecture::SwinT.graph(100);
    let tensors = graph.initialise(5);
    for param in graph.params() {
        let values = &tensors[&param.name].values;
        let all = |value: f32| assert!(values.iter().all(|&v| v == value), "{}", param.name);
        let square = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64;
        // Five standard deviations of an estimated variance; the kurtosis of a normal is 3, of a uniform 1.8.
        let variance = |expected: f64, kurtosis: f64| {
            let error = 5.0 * ((kurtosis - 1.0) / values.len() as f64).sqrt();
            assert!((square / expected - 1.0).abs() < error, "{}: {square}, not {expected}", param.name);
        };
        match param.role {
            // PyTorch's own for a convolution: +-1 / sqrt(48).
            Role::ConvWeight | Role::Bias { fan_in: 48 } => variance(1.0 / (3.0 * 48.0), 1.8),
            Role::LinearWeight | Role::PositionBias => variance(0.02 * 0.02, 3.0),
            Role::NormWeight => all(1.0),
            Role::Bias { .. } | Role::NormBias => all(0.0),
            other => panic!("{}: {other:?}", param.name),
        }
    }
}

/// torchvision's files hold which entry of the table belongs to which pair of tokens, whole numbers that never change.
#[test]
fn position_indices_in_a_file_are_passed_over() {
    let graph = Architecture::SwinT.graph(2);
    let tensors = graph.initialise(1);
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let mut rows: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), Dtype::F32, tensor.shape.clone(), bytes(&tensor.values)))
        .collect();
    for name in tensors.keys().filter_map(|name| name.strip_suffix("relative_position_bias_table")) {
        rows.push((format!("{name}relative_position_index"), Dtype::I64, vec![2401], vec![0; 8 * 2401]));
    }
    assert_eq!(rows.len(), 173 + 12);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swin_t.safetensors");
    let views = rows.iter().map(|(name, dtype, shape, bytes)| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, &path).unwrap();
    let (loaded, report) =
        fit(&graph, &read_weights(&path).unwrap(), graph.initialise(2), HeadPolicy::Exact).unwrap();
    assert_eq!(report.to_string(), "all 173 tensors loaded");
    assert_eq!(loaded, tensors);
}
