//! Hostile and damaged files: whatever the bytes, reading ends in tensors or an error.

use std::io::{Cursor, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::pickle::Pickle;
use super::*;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(name)).unwrap()
}

/// An archive as `torch.save` lays it out, with sound checksums.
fn archive(pickle: &[u8], storages: &[&[u8]]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("x/data.pkl", options).unwrap();
    zip.write_all(pickle).unwrap();
    for (key, bytes) in storages.iter().enumerate() {
        zip.start_file(format!("x/data/{key}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn unpack(file: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut zip = zip::ZipArchive::new(Cursor::new(file)).unwrap();
    let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    let mut entry = |suffix: &str| {
        let name = names.iter().find(|name| name.ends_with(suffix))?;
        let mut bytes = Vec::new();
        zip.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        Some(bytes)
    };
    let pickle = entry("/data.pkl").unwrap();
    (pickle, (0..).map_while(|key| entry(&format!("/data/{key}"))).collect())
}

/// Each bit of each byte flipped in turn.
fn mutations(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut mutated = bytes.to_vec();
        mutated[bit / 8] ^= 1 << (bit % 8);
        mutated
    })
}

fn assert_sound(result: Result<Tensors, FileProblem>) {
    for (name, tensor) in result.unwrap_or_default() {
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.values.len(), "{name}");
    }
}

#[test]
fn no_prefix_of_a_file_is_read() {
    for name in
        ["weights_module.pth", "weights_views.pth", "weights_module.safetensors", "weights_views.safetensors"]
    {
        let file = fixture(name);
        assert!(read_weights_from(&file).is_ok(), "{name}");
        for end in 0..file.len() {
            assert!(read_weights_from(&file[..end]).is_err(), "{end} bytes of {name}");
        }
    }
}

#[test]
fn mutated_files_are_read_or_refused() {
    for name in ["weights_views.pth", "weights_views.safetensors", "weights_legacy.pth"] {
        mutations(&fixture(name)).for_each(|file| assert_sound(read_weights_from(&file)));
    }
}

/// Checksums catch most mutations of a file, so these get new ones.
#[test]
fn mutated_pickles_are_read_or_refused() {
    let (pickle, storages) = unpack(&fixture("weights_views.pth"));
    let storages: Vec<&[u8]> = storages.iter().map(Vec::as_slice).collect();
    assert!(read_weights_from(&archive(&pickle, &storages)).is_ok());
    for mutated in mutations(&pickle) {
        assert_sound(read_weights_from(&archive(&mutated, &storages)));
    }
    for end in 0..pickle.len() {
        assert!(read_weights_from(&archive(&pickle[..end], &storages)).is_err(), "{end}");
        for opcode in 0..=u8::MAX {
            let mut mutated = pickle.clone();
            mutated[end] = opcode;
            let _ = Pickle::read(&mutated);
        }
    }
}

/// `{"a": tensor}` over storage 0 with the given arguments after the storage.
fn tensor(arguments: &[u8]) -> Vec<u8> {
    let mut pickle =
        b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage\
        ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
            .to_vec();
    pickle.extend(arguments);
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    pickle
}

/// So many tensors of 64 dimensions, each of which is five bytes that name the same tuples.
fn crowd(tensors: usize) -> Vec<u8> {
    let mut pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\x00\x00\x00storage\
        ctorch\nFloatStorage\nX\x01\x00\x00\x000tQK\x00("
        .to_vec();
    pickle.extend(b"K\x01".repeat(64));
    pickle.extend(b"tq\x01h\x01tq\x02");
    pickle.extend(b"h\x00h\x02R".repeat(tensors));
    pickle.push(b'.');
    pickle
}

/// Offset and strides of a 2 x 2 tensor over four values.
fn square(offset: &[u8], strides: [u8; 2]) -> Vec<u8> {
    tensor(&[offset, b"K\x02K\x02\x86K", &strides[..1], b"K", &strides[1..], b"\x86"].concat())
}

const FOUR: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

fn four() -> Vec<u8> {
    FOUR.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn strides_within_the_storage_are_followed() {
    for (offset, strides, expected) in [
        (b"K\x00", [2, 1], [1.0, 2.0, 3.0, 4.0]),
        (b"K\x00", [1, 2], [1.0, 3.0, 2.0, 4.0]),
        (b"K\x01", [1, 1], [2.0, 3.0, 3.0, 4.0]),
        (b"K\x03", [0, 0], [4.0, 4.0, 4.0, 4.0]),
    ] {
        let tensors = read_weights_from(&archive(&square(offset, strides), &[&four()])).unwrap();
        assert_eq!(tensors["a"].values, expected, "{strides:?}");
    }
}

#[test]
fn hostile_pickles_are_refused() {
    struct Case {
        pickle: Vec<u8>,
        expected: &'static str,
    }
    let deep = |levels: usize| [b"\x80\x02)".to_vec(), vec![b'\x85'; levels], b".".to_vec()].concat();
    let bytes = |pickle: &[u8]| pickle.to_vec();
    let cases = [
        Case { pickle: square(b"K\x01", [2, 1]), expected: "tensor `a` reaches beyond its storage" },
        Case { pickle: square(b"K\x00", [3, 1]), expected: "tensor `a` reaches beyond its storage" },
        Case {
            pickle: square(b"J\xff\xff\xff\x7f", [2, 1]),
            expected: "tensor `a` reaches beyond its storage",
        },
        Case { pickle: square(b"J\xff\xff\xff\xff", [2, 1]), expected: "a negative offset" },
        Case {
            // 2^62 x 2^62 values, the product beyond 64 bits.
            pickle: tensor(
                &[b"K\x00", &b"\x8a\x08\0\0\0\0\0\0\0\x40".repeat(2)[..], b"\x86K\x00K\x00\x86"].concat(),
            ),
            expected: "tensor `a` has more values than the file can hold",
        },
        Case {
            // 2^31 - 1 times the same value.
            pickle: tensor(b"K\x00J\xff\xff\xff\x7f\x85K\x00\x85"),
            expected: "tensor `a` has more values than the file can hold",
        },
        Case {
            // A stride that overflows when multiplied.
            pickle: tensor(b"K\x00K\x03\x85\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"),
            expected: "tensor `a` reaches beyond its storage",
        },
        Case {
            pickle: tensor(b"K\x00J\xff\xff\xff\xff\x85K\x01\x85"),
            expected: "a dimension that is no length",
        },
        Case { pickle: tensor(b"K\x00K\x04\x85)"), expected: "shape and strides differ in length" },
        Case {
            pickle: tensor(&[b"K\x00(", &b"K\x01".repeat(65)[..], b"tq\x00h\x00"].concat()),
            expected: "a tensor of 65 dimensions",
        },
        Case { pickle: crowd(1000), expected: "more dimensions than bytes" },
        Case { pickle: bytes(b"\x80\x02}X\xff\xff\xff\xffa"), expected: "an early end" },
        Case { pickle: bytes(b"\x80\x02\x8b\xff\xff\xff\x7f"), expected: "an early end" },
        Case { pickle: bytes(b"\x80\x04."), expected: "pickle protocol 4 can't be read" },
        Case { pickle: bytes(b"\x80\x02tu."), expected: "no mark" },
        Case { pickle: bytes(b"\x80\x02(K\x01\x85(\x86t."), expected: "a tuple of too few values" },
        Case { pickle: bytes(b"\x80\x02h\x07."), expected: "a reference to nothing" },
        Case { pickle: bytes(b"\x80\x02KK\x01."), expected: "opcode 0x01" },
        Case {
            pickle: bytes(b"\x80\x02)K\x01K\x02s."),
            expected: "an entry for something that is no dictionary",
        },
        Case { pickle: bytes(b"\x80\x02K\x01)R."), expected: "a call of something that is no function" },
        Case { pickle: bytes(b"\x80\x02)}b."), expected: "attributes for something that is no dictionary" },
        Case { pickle: bytes(b"\x80\x02cos\nsystem\n"), expected: "refuses `os.system`" },
        Case { pickle: bytes(b"\x80\x02c\x1b[2Jos\nsystem\n"), expected: "refuses `\\u{1b}[2Jos.system`" },
        Case { pickle: bytes(b"\x80\x02K\x01."), expected: "holds no floating-point tensor" },
        // A dictionary that is its own state_dict, a list in itself, tuples a million deep.
        Case {
            pickle: bytes(b"\x80\x02}q\x00X\x0a\x00\x00\x00state_dicth\x00s."),
            expected: "holds no floating-point tensor",
        },
        Case { pickle: bytes(b"\x80\x02]q\x00h\x00a."), expected: "holds no floating-point tensor" },
        Case { pickle: deep(1_000_000), expected: "holds no floating-point tensor" },
    ];
    for Case { pickle, expected } in cases {
        let message = read_weights_from(&archive(&pickle, &[&four()])).unwrap_err().to_string();
        assert!(message.contains(expected), "{message:?} is not {expected:?}");
    }
}

#[test]
fn other_archives_are_refused() {
    let square = square(b"K\x00", [2, 1]);
    let message = read_weights_from(&archive(&square, &[])).unwrap_err().to_string();
    assert!(message.contains("entry `data/0`"), "{message}");
    let message = read_weights_from(&archive(&square, &[&four()[..12]])).unwrap_err().to_string();
    assert!(message.contains("tensor `a` reaches beyond its storage"), "{message}");
}

/// As `torch.save` lays it out: values at multiples of 64 bytes, integers beside the tensors, which are the same bits.
#[test]
fn a_written_archive_is_torchs() {
    let graph = crate::Architecture::SimpleCnn.graph(3);
    let mut tensors = graph.initialise(3);
    let first = tensors.get_mut("fc.bias").unwrap();
    first.values = vec![f32::NAN, -0.0, f32::MIN_POSITIVE / 8.0];
    let mut file = Cursor::new(Vec::new());
    write_pth(&mut file, &graph, &tensors).unwrap();
    let bytes = file.into_inner();
    let bits = |tensors: &Tensors| -> Vec<_> {
        let bits = |tensor: &crate::Tensor| tensor.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone(), bits(tensor))).collect()
    };
    assert_eq!(bits(&read_weights_from(&bytes).unwrap()), bits(&tensors));

    let mut zip = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    for index in 0..zip.len() {
        let entry = zip.by_index(index).unwrap();
        assert_eq!(entry.compression(), CompressionMethod::Stored);
        assert_eq!(entry.data_start().unwrap() % 64, 0, "entry {index}");
    }
    let (_, storages) = unpack(&bytes);
    assert_eq!(storages.len(), graph.params().len() + 4, "four batch norms count their batches");
    assert!(storages[graph.params().len()..].iter().all(|counter| counter == &[0; 8]));

    tensors.remove("fc.bias");
    let error = write_pth(Cursor::new(Vec::new()), &graph, &tensors).unwrap_err();
    assert!(error.to_string().contains("fc.bias"), "{error}");
}
