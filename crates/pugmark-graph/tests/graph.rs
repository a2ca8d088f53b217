//! Architectures, shapes and initial values.

use pugmark_graph::{Architecture, Builder, Graph, GraphSettings, Op, Role, Shape};

#[test]
fn parameter_counts_equal_torchvisions() {
    struct Case {
        architecture: Architecture,
        classes: usize,
        parameters: usize,
        /// Entries of `state_dict()` without `num_batches_tracked`.
        tensors: usize,
    }
    // `sum(p.numel() for p in torchvision.models.NAME().parameters())`, as its documentation states them.
    let cases = [
        Case { architecture: Architecture::ResNet18, classes: 1000, parameters: 11_689_512, tensors: 102 },
        Case { architecture: Architecture::ResNet34, classes: 1000, parameters: 21_797_672, tensors: 182 },
        Case { architecture: Architecture::ResNet50, classes: 1000, parameters: 25_557_032, tensors: 267 },
        Case { architecture: Architecture::ResNet18, classes: 2, parameters: 11_177_538, tensors: 102 },
        Case {
            architecture: Architecture::ConvNextTiny,
            classes: 1000,
            parameters: 28_589_128,
            tensors: 182,
        },
        Case {
            architecture: Architecture::ConvNextSmall,
            classes: 1000,
            parameters: 50_223_688,
            tensors: 344,
        },
        Case {
            architecture: Architecture::EfficientNetB0,
            classes: 1000,
            parameters: 5_288_548,
            tensors: 311,
        },
        // 27 * 32 + 9 * (32 * 64 + 64 * 128 + 128 * 256), 2 * 480 in the norms, 257 * 8 in the head.
        Case { architecture: Architecture::SimpleCnn, classes: 8, parameters: 390_952, tensors: 22 },
    ];
    for Case { architecture, classes, parameters, tensors } in cases {
        let graph = architecture.graph(classes);
        assert_eq!(graph.parameter_count(), parameters, "{architecture}");
        assert_eq!(graph.params().len(), tensors, "{architecture}");
    }
}

#[test]
fn names_and_order_are_torchvisions() {
    let bn =
        |name: &str| ["weight", "bias", "running_mean", "running_var"].map(|part| format!("{name}.{part}"));
    let names = |graph: &Graph| graph.params().iter().map(|param| param.name.clone()).collect::<Vec<_>>();
    let block = |name: &str, convs: usize, downsample: bool| {
        let mut expected = Vec::new();
        for index in 1..=convs {
            expected.push(format!("{name}.conv{index}.weight"));
            expected.extend(bn(&format!("{name}.bn{index}")));
        }
        if downsample {
            expected.push(format!("{name}.downsample.0.weight"));
            expected.extend(bn(&format!("{name}.downsample.1")));
        }
        expected
    };
    let model = |convs: usize, depths: [usize; 4]| {
        let mut expected = vec!["conv1.weight".to_string()];
        expected.extend(bn("bn1"));
        for (stage, depth) in depths.into_iter().enumerate() {
            for index in 0..depth {
                let downsample = index == 0 && (convs == 3 || stage > 0);
                expected.extend(block(&format!("layer{}.{index}", stage + 1), convs, downsample));
            }
        }
        expected.extend(["fc.weight".into(), "fc.bias".into()]);
        expected
    };
    assert_eq!(names(&Architecture::ResNet18.graph(10)), model(2, [2, 2, 2, 2]));
    assert_eq!(names(&Architecture::ResNet34.graph(10)), model(2, [3, 4, 6, 3]));
    assert_eq!(names(&Architecture::ResNet50.graph(10)), model(3, [3, 4, 6, 3]));
}

#[test]
fn convnexts_names_and_order_are_torchvisions() {
    let layer = |name: String| ["weight", "bias"].map(|part| format!("{name}.{part}"));
    for (architecture, depths) in
        [(Architecture::ConvNextTiny, [3, 3, 9, 3]), (Architecture::ConvNextSmall, [3, 3, 27, 3])]
    {
        let mut expected = Vec::new();
        expected.extend(["0.0", "0.1"].map(|n| layer(format!("features.{n}"))).concat());
        for (stage, depth) in depths.into_iter().enumerate() {
            if stage > 0 {
                expected.extend(["0", "1"].map(|n| layer(format!("features.{}.{n}", 2 * stage))).concat());
            }
            for index in 0..depth {
                let block = format!("features.{}.{index}", 2 * stage + 1);
                expected.push(format!("{block}.layer_scale"));
                expected.extend([0, 2, 3, 5].map(|n| layer(format!("{block}.block.{n}"))).concat());
            }
        }
        expected.extend(["0", "2"].map(|n| layer(format!("classifier.{n}"))).concat());
        let graph = architecture.graph(10);
        let names: Vec<String> = graph.params().iter().map(|param| param.name.clone()).collect();
        assert_eq!(names, expected, "{architecture}");
    }
}

#[test]
fn settings_change_stochastic_depth_and_dropout() {
    let chances = |graph: &Graph| -> Vec<f32> {
        let of = |op: &Op| if let Op::StochasticDepth { p } = op { Some(*p) } else { None };
        graph.nodes().iter().filter_map(|node| of(&node.op)).collect()
    };
    let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
    for (architecture, blocks, default) in
        [(Architecture::ConvNextTiny, 18, 0.1), (Architecture::ConvNextSmall, 36, 0.4)]
    {
        for (set, last) in [(None, default), (Some(0.2), 0.2), (Some(0.0), 0.0)] {
            let settings = GraphSettings { stochastic_depth: set, dropout: None };
            let p = chances(&architecture.graph_with(2, settings));
            assert_eq!(p.len(), blocks);
            // torchvision: the last block's, times index / (blocks - 1).
            assert!(p.iter().enumerate().all(|(i, &p)| near(p, last * i as f32 / (blocks - 1) as f32)));
        }
    }
    let p = chances(&Architecture::EfficientNetB0.graph(2));
    // Of 16 blocks the nine with a residual; torchvision divides by the number of blocks.
    let expected = [2.0, 4.0, 6.0, 7.0, 9.0, 10.0, 12.0, 13.0, 14.0].map(|block| 0.2 * block / 16.0);
    assert!(p.len() == 9 && p.iter().zip(expected).all(|(&p, e)| near(p, e)), "{p:?}");
    for architecture in Architecture::ALL {
        let dropout = |dropout| {
            let graph = architecture.graph_with(2, GraphSettings { stochastic_depth: None, dropout });
            let of = |op: &Op| if let Op::Dropout { p } = op { Some(*p) } else { None };
            graph.nodes().iter().filter_map(|node| of(&node.op)).filter(|&p| p > 0.0).collect::<Vec<_>>()
        };
        assert_eq!(dropout(Some(0.3)), [0.3], "{architecture}");
        assert!(dropout(Some(0.0)).is_empty(), "{architecture}");
    }
}

/// Weights normal with deviation 0.02, biases 0, layer scales 1e-6.
#[test]
fn convnext_starts_as_torchvisions() {
    let graph = Architecture::ConvNextTiny.graph(10);
    let tensors = graph.initialise(3);
    for param in graph.params() {
        let values = &tensors[&param.name].values;
        match param.role {
            Role::ConvWeight | Role::LinearWeight => {
                let count = values.len() as f64;
                let square = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / count;
                let error = 5.0 * (2.0 / count).sqrt();
                assert!((square / 4e-4 - 1.0).abs() < error, "{}: {square}", param.name);
            }
            Role::LayerScale => assert!(values.iter().all(|&v| v == 1e-6), "{}", param.name),
            Role::NormWeight => assert!(values.iter().all(|&v| v == 1.0), "{}", param.name),
            _ => assert!(values.iter().all(|&v| v == 0.0), "{}", param.name),
        }
    }
}

#[test]
fn only_the_last_layer_is_head() {
    for architecture in Architecture::ALL {
        let graph = architecture.graph(8);
        let head: Vec<&str> = graph.params().iter().filter(|p| p.head).map(|p| p.name.as_str()).collect();
        let layer = match architecture.name() {
            name if name.starts_with("convnext") => "classifier.2",
            name if name.starts_with("efficientnet") => "classifier.1",
            name if name.starts_with("swin") => "head",
            _ => "fc",
        };
        assert_eq!(head, ["weight", "bias"].map(|part| format!("{layer}.{part}")), "{architecture}");
    }
}

#[test]
fn stages_and_blocks_count_from_stem_to_head() {
    let place = |graph: &Graph, name: &str| {
        let param = graph.params().iter().find(|param| param.name == name).unwrap();
        (param.stage, param.block)
    };
    let graph = Architecture::ResNet50.graph(3);
    assert_eq!((graph.stages(), graph.blocks()), (6, 18));
    assert_eq!(place(&graph, "conv1.weight"), (0, 0));
    assert_eq!(place(&graph, "layer1.0.conv1.weight"), (1, 1));
    assert_eq!(place(&graph, "layer2.0.downsample.0.weight"), (2, 4));
    assert_eq!(place(&graph, "layer4.2.bn3.bias"), (4, 16));
    assert_eq!(place(&graph, "fc.weight"), (5, 17));
    let graph = Architecture::SimpleCnn.graph(3);
    assert_eq!(place(&graph, "block1.conv.weight"), (0, 0));
    assert_eq!(place(&graph, "block4.bn.bias"), (3, 3));
    assert_eq!(place(&graph, "fc.bias"), (4, 4));
    let graph = Architecture::EfficientNetB0.graph(3);
    assert_eq!((graph.stages(), graph.blocks()), (7, 19));
    assert_eq!(place(&graph, "features.5.0.block.2.fc1.bias"), (4, 9));
    assert_eq!(place(&graph, "features.8.0.weight"), (5, 17));
    let graph = Architecture::ConvNextTiny.graph(3);
    assert_eq!((graph.stages(), graph.blocks()), (6, 20));
    assert_eq!(place(&graph, "features.0.1.bias"), (0, 0));
    assert_eq!(place(&graph, "features.2.1.weight"), (2, 4));
    assert_eq!(place(&graph, "features.3.0.layer_scale"), (2, 4));
    assert_eq!(place(&graph, "features.7.2.block.5.bias"), (4, 18));
    assert_eq!(place(&graph, "classifier.2.bias"), (5, 19));
}

#[test]
fn shapes_follow_the_picture() {
    struct Case {
        architecture: Architecture,
        size: (usize, usize),
        /// Before the global pooling.
        features: (usize, usize, usize),
    }
    let cases = [
        Case { architecture: Architecture::ResNet18, size: (224, 224), features: (512, 7, 7) },
        Case { architecture: Architecture::ResNet34, size: (225, 320), features: (512, 8, 10) },
        Case { architecture: Architecture::ResNet50, size: (480, 640), features: (2048, 15, 20) },
        Case { architecture: Architecture::ResNet50, size: (1, 1), features: (2048, 1, 1) },
        Case { architecture: Architecture::SimpleCnn, size: (64, 48), features: (256, 4, 3) },
        Case { architecture: Architecture::ConvNextTiny, size: (224, 224), features: (768, 7, 7) },
        Case { architecture: Architecture::ConvNextTiny, size: (160, 256), features: (768, 5, 8) },
        Case { architecture: Architecture::ConvNextSmall, size: (320, 384), features: (768, 10, 12) },
        Case { architecture: Architecture::ConvNextTiny, size: (227, 63), features: (768, 7, 1) },
        Case { architecture: Architecture::EfficientNetB0, size: (224, 160), features: (1280, 7, 5) },
        Case { architecture: Architecture::EfficientNetB0, size: (320, 33), features: (1280, 10, 2) },
    ];
    for Case { architecture, size, features } in cases {
        let graph = architecture.graph(8);
        let shapes = graph.shapes(size.0, size.1).unwrap();
        let pool = graph.nodes().iter().rposition(|node| node.op == Op::GlobalAvgPool).unwrap();
        let (channels, height, width) = features;
        assert_eq!(shapes[pool - 1], Shape::Image { channels, height, width }, "{architecture} {size:?}");
        assert_eq!(*shapes.last().unwrap(), Shape::Vector { features: 8 });
    }
}

#[test]
fn shape_errors_name_the_node() {
    let start = || {
        let mut b = Builder::new();
        let input = b.push("input", Op::Input { channels: 3 }, &[]);
        (b, input)
    };
    struct Case {
        graph: Graph,
        expected: &'static str,
    }
    let cases = [
        Case {
            graph: {
                let (mut b, x) = start();
                b.conv2d("stem.conv", x, (4, 8), (3, 1, 1), false);
                b.finish()
            },
            expected: "node `stem.conv` (Conv2d): takes 4 channels and is given 3",
        },
        Case {
            graph: {
                let (mut b, x) = start();
                b.conv2d("stem.conv", x, (3, 8), (11, 1, 1), false);
                b.finish()
            },
            expected: "node `stem.conv` (Conv2d): its 11 x 11 kernel is larger than the padded 8 x 6 input",
        },
        Case {
            graph: {
                let (mut b, x) = start();
                b.push("pool", Op::MaxPool2d { kernel: 7, stride: 2, padding: 0 }, &[x]);
                b.finish()
            },
            expected: "node `pool` (MaxPool2d): its 7 x 7 window is larger than the padded 8 x 6 input",
        },
        Case {
            graph: {
                let (mut b, x) = start();
                b.batch_norm2d("bn", x, 5);
                b.finish()
            },
            expected: "node `bn` (BatchNorm2d): takes 5 channels and is given 3",
        },
        Case {
            graph: {
                let (mut b, x) = start();
                let y = b.conv2d("conv", x, (3, 3), (3, 2, 1), false);
                b.push("layer.add", Op::Add, &[x, y]);
                b.finish()
            },
            expected: "node `layer.add` (Add): adds tensors of different shapes: 3 x 8 x 6 and 3 x 4 x 3",
        },
        Case {
            graph: {
                let (mut b, x) = start();
                let y = b.push("avgpool", Op::GlobalAvgPool, &[x]);
                b.linear("fc", y, 4, 2);
                b.finish()
            },
            expected: "node `fc` (Linear): takes 4 features and is given 3",
        },
        Case {
            graph: {
                let (mut b, x) = start();
                b.linear("fc", x, 4, 2);
                b.finish()
            },
            expected: "node `fc` (Linear): takes 4 features and is given 3",
        },
        Case {
            graph: {
                let (mut b, x) = start();
                b.layer_norm("norm", x, 5, 1e-6);
                b.finish()
            },
            expected: "node `norm` (LayerNorm): takes 5 channels and is given 3",
        },
        Case {
            graph: {
                let (mut b, x) = start();
                let x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
                b.conv2d("conv", x, (3, 4), (3, 1, 1), true);
                b.finish()
            },
            expected: "node `conv` (Conv2d): can't take 1 input(s) of shape [3]",
        },
        Case {
            graph: {
                let (mut b, x) = start();
                let y = b.push("avgpool", Op::GlobalAvgPool, &[x]);
                let y = b.conv2d("fc", y, (3, 4), (1, 1, 0), true);
                b.push("gate", Op::Gate, &[x, y]);
                b.finish()
            },
            expected: "node `gate` (Gate): gates 3 channels with 4 factors",
        },
        Case {
            graph: {
                let (mut b, x) = start();
                b.depthwise_conv2d("depthwise", x, 3, (9, 1, 0), true);
                b.finish()
            },
            expected: "node `depthwise` (DepthwiseConv2d): its 9 x 9 kernel is larger than the padded 8 x 6 input",
        },
    ];
    for Case { graph, expected } in cases {
        assert_eq!(graph.shapes(8, 6).unwrap_err().to_string(), expected);
    }
}

#[test]
fn unknown_architectures_are_told_the_known() {
    assert_eq!("resnet50".parse(), Ok(Architecture::ResNet50));
    let message = "resnet51".parse::<Architecture>().unwrap_err().to_string();
    assert_eq!(
        message,
        "no architecture is called `resnet51`; there are simple_cnn, resnet18, resnet34, resnet50, convnext_tiny, \
         convnext_small, swin_t, swin_s, efficientnet_b0"
    );
}

/// Means and variances within five standard errors of PyTorch's distributions: 1 in 10^6 by chance, and the seed is fixed.
#[test]
fn initial_values_have_torchvisions_distributions() {
    let graph = Architecture::ResNet18.graph(100);
    let tensors = graph.initialise(7);
    assert_eq!(tensors.len(), graph.params().len());
    for param in graph.params() {
        let tensor = &tensors[&param.name];
        assert_eq!(tensor.shape, param.shape, "{}", param.name);
        assert_eq!(tensor.values.len(), param.len(), "{}", param.name);
        let count = param.len() as f64;
        let mean = tensor.values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let square = tensor.values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / count;
        let uniform = |fan_in: usize| {
            let bound = 1.0 / (fan_in as f64).sqrt();
            assert!(
                tensor.values.iter().all(|&v| f64::from(v).abs() <= bound * (1.0 + 1e-6)),
                "{}",
                param.name
            );
            (bound * bound / 3.0, 1.8)
        };
        let (variance, kurtosis) = match param.role {
            Role::ConvWeight => (2.0 / (param.shape[0] * param.shape[2] * param.shape[3]) as f64, 3.0),
            Role::LinearWeight => uniform(param.shape[1]),
            Role::PositionBias => (0.02 * 0.02, 3.0),
            Role::Bias { fan_in } => uniform(fan_in),
            Role::NormWeight | Role::RunningVar | Role::LayerScale => {
                assert!(tensor.values.iter().all(|&v| v == 1.0), "{}", param.name);
                continue;
            }
            Role::NormBias | Role::RunningMean => {
                assert!(tensor.values.iter().all(|&v| v == 0.0), "{}", param.name);
                continue;
            }
        };
        assert!(mean.abs() < 5.0 * (variance / count).sqrt(), "{}: mean {mean}", param.name);
        let error = 5.0 * ((kurtosis - 1.0) / count).sqrt();
        assert!((square / variance - 1.0).abs() < error, "{}: variance {square}, not {variance}", param.name);
    }
}

#[test]
fn initial_values_depend_on_seed_and_name_alone() {
    let tensors = Architecture::ResNet18.graph(2).initialise(1);
    assert_eq!(tensors, Architecture::ResNet18.graph(2).initialise(1));
    let of_other_seed = Architecture::ResNet18.graph(2).initialise(2);
    let of_other_graph = Architecture::ResNet34.graph(5).initialise(1);
    for name in ["conv1.weight", "layer1.0.conv1.weight", "layer4.1.conv2.weight"] {
        assert_ne!(tensors[name], of_other_seed[name]);
        assert_eq!(tensors[name], of_other_graph[name]);
    }
    assert_ne!(tensors["layer1.0.conv1.weight"].values, tensors["layer1.0.conv2.weight"].values);
}
