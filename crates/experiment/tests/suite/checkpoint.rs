//! Checkpoints: what is saved comes back, and nothing else is taken for one.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use experiment::{Checkpoint, CheckpointStore, RunError, SeedStreams, Xoshiro256PlusPlus};
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    (folder, path)
}

fn small() -> Checkpoint {
    let cpu = Device::Cpu;
    let tensors = [
        ("weight", Tensor::new(&[[1f32, -0.0, f32::NAN], [f32::INFINITY, 1e-45, 3.0]], &cpu)),
        ("moment", Tensor::new(&[1.0 / 3.0, 2.0], &cpu)),
        ("mask", Tensor::new(&[1u8, 0, 1], &cpu)),
        ("index", Tensor::new(&[u32::MAX], &cpu)),
        ("count", Tensor::new(i64::MIN, &cpu)),
        ("none", Tensor::zeros((0, 4), DType::F32, &cpu)),
        ("turned", Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &cpu).and_then(|tensor| tensor.t())),
    ];
    Checkpoint {
        header: json!({"update": 12, "rate": 0.1, "nested": {"z": [1, null, "x"], "a": u64::MAX}}),
        tensors: tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor.unwrap())).collect(),
    }
}

fn bits(tensor: &Tensor) -> (DType, Vec<usize>, Vec<u64>) {
    let flat = tensor.flatten_all().unwrap();
    let values = match tensor.dtype() {
        DType::F32 => flat.to_vec1::<f32>().unwrap().iter().map(|x| u64::from(x.to_bits())).collect(),
        DType::F64 => flat.to_vec1::<f64>().unwrap().iter().map(|x| x.to_bits()).collect(),
        DType::U8 => flat.to_vec1::<u8>().unwrap().iter().map(|x| u64::from(*x)).collect(),
        DType::U32 => flat.to_vec1::<u32>().unwrap().iter().map(|x| u64::from(*x)).collect(),
        _ => flat.to_vec1::<i64>().unwrap().iter().map(|x| *x as u64).collect(),
    };
    (tensor.dtype(), tensor.dims().to_vec(), values)
}

fn load(path: &Path) -> Result<Checkpoint, RunError> {
    Checkpoint::load(path, &Device::Cpu)
}

fn message(path: &Path) -> String {
    load(path).unwrap_err().to_string().replace(path.to_str().unwrap(), "FILE")
}

#[test]
fn what_is_saved_comes_back_to_the_bit() {
    let (folder, path) = scratch();
    let saved = small();
    saved.save(&path).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.header, saved.header);
    assert!(loaded.tensors.keys().eq(saved.tensors.keys()));
    for (name, tensor) in &saved.tensors {
        assert_eq!(bits(&loaded.tensors[name]), bits(tensor), "{name}");
    }
    let again = folder.path().join("b.safetensors");
    loaded.save(&again).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn other_programs_can_read_the_tensors() {
    let (_folder, path) = scratch();
    small().save(&path).unwrap();
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    assert_eq!(bits(&tensors["weight"]), bits(&small().tensors["weight"]));
}

#[test]
fn a_random_stream_goes_on_from_the_header() {
    let (_folder, path) = scratch();
    let mut stream = SeedStreams::new(5).stream("env");
    let checkpoint = Checkpoint {
        header: json!({ "env": serde_json::to_value(&stream).unwrap() }),
        tensors: BTreeMap::new(),
    };
    checkpoint.save(&path).unwrap();
    let mut restored: Xoshiro256PlusPlus =
        serde_json::from_value(load(&path).unwrap().header["env"].clone()).unwrap();
    assert_eq!(restored.clone(), stream);
    assert_eq!(restored.next_u64(), stream.next_u64());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let (_folder, path) = scratch();
    small().save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = load(&path).unwrap_err();
        assert!(matches!(error, RunError::Checkpoint { .. }), "{length}: {error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
}

#[test]
fn a_byte_changed_anywhere_is_noticed() {
    let (_folder, path) = scratch();
    let saved = small();
    saved.save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        for change in [1, 0x80, 0x20] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            fs::write(&path, &bytes).unwrap();
            // white space in the padding of the header is the one thing that may differ
            if let Ok(loaded) = load(&path) {
                assert_eq!(loaded.header, saved.header, "byte {at}");
                assert!(
                    loaded.tensors.iter().all(|(name, tensor)| bits(tensor) == bits(&saved.tensors[name]))
                );
                assert_eq!(loaded.tensors.len(), saved.tensors.len(), "byte {at}");
            }
        }
    }
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn what_is_no_checkpoint_is_refused_in_one_line() {
    let ours = r#""__metadata__":{"signalbox":"{\"format\":1,\"crc32c\":\"00000000\",\"header\":{}}"}"#;
    let tensor = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let cases = [
        ("empty", vec![]),
        ("text", b"step,update\n1,2\n".to_vec()),
        ("header beyond the end", with_header("{}", b"")[..9].to_vec()),
        ("header of 2^63 bytes", [&(1_u64 << 63).to_le_bytes()[..], b"{}"].concat()),
        ("from elsewhere", with_header(&format!("{{{tensor}}}"), &[0; 4])),
        ("damaged header", with_header(r#"{"__metadata__":{"signalbox":"{\"format\""}}"#, b"")),
        ("later format", with_header(&format!("{{{}}}", ours.replace(":1", ":2")), b"")),
        ("no object", with_header(&format!("{{{}}}", ours.replace("{}}", "3}")), b"")),
        ("wrong checksum", with_header(&format!("{{{ours},{tensor}}}"), &[0; 4])),
        ("too long", with_header(&format!("{{{ours},{tensor}}}"), &[0; 5])),
        ("too short", with_header(&format!("{{{ours},{tensor}}}"), &[0; 3])),
        (
            "half floats",
            with_header(&format!("{{{ours},{}}}", tensor.replace("F32", "F16").replace(",4", ",2")), &[0; 2]),
        ),
        (
            "shape without elements that overflows",
            with_header(
                &format!(
                    "{{{ours},{}}}",
                    tensor.replace("[1]", "[0,1099511627776,1099511627776]").replace("4]", "0]")
                ),
                &[],
            ),
        ),
        (
            "shape that overflows",
            with_header(
                &format!("{{{ours},{}}}", tensor.replace("[1]", "[18446744073709551615,9]")),
                &[0; 4],
            ),
        ),
    ];
    let (_folder, path) = scratch();
    let messages: Vec<String> = cases
        .iter()
        .map(|(name, content)| {
            fs::write(&path, content).unwrap();
            format!("{name}: {}", message(&path))
        })
        .collect();
    assert_snapshot!(messages.join("\n"), @r#"
    empty: the checkpoint FILE is cut short: it has 0 bytes
    text: the checkpoint FILE is not a Signalbox checkpoint, which is a safetensors file with a header of its own
    header beyond the end: the checkpoint FILE is cut short: its header has 2 bytes, the file 9
    header of 2^63 bytes: the checkpoint FILE is not a Signalbox checkpoint, which is a safetensors file with a header of its own
    from elsewhere: the checkpoint FILE is not a Signalbox checkpoint, which is a safetensors file with a header of its own
    damaged header: the checkpoint FILE has a damaged header: EOF while parsing an object at line 1 column 9
    later format: the checkpoint FILE has format 2, this program reads format 1: use the version that wrote it
    no object: the checkpoint FILE has a damaged header: it is not a JSON object
    wrong checksum: the checkpoint FILE is damaged: its checksum does not match its content
    too long: the checkpoint FILE has something after its end: it has 151 bytes and should have 150
    too short: the checkpoint FILE is cut short: it has 149 bytes and should have 150
    half floats: the checkpoint FILE holds the tensor "a" of type F16; checkpoints hold f32, f64, u8, u32 and i64
    shape without elements that overflows: the checkpoint FILE is damaged: its tensor "a" has the shape [0, 1099511627776, 1099511627776]
    shape that overflows: the checkpoint FILE has a damaged header: overflow computing buffer size from shape and/or element type
    "#);
}

#[test]
fn a_huge_file_is_not_read_into_memory() {
    let (_folder, path) = scratch();
    let file = fs::File::create(&path).unwrap();
    // a hole of 1 TiB takes no space on the disk
    if file.set_len(1 << 40).is_ok() {
        assert!(message(&path).contains("is not a Signalbox checkpoint"));
    }
}

#[test]
fn what_cannot_be_kept_is_refused_in_saving() {
    let (_folder, path) = scratch();
    let half = Tensor::zeros(1, DType::F16, &Device::Cpu).unwrap();
    let single = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    let cases = [
        (json!({}), vec![("h", half)]),
        (json!({}), vec![("__metadata__", single)]),
        (json!([]), vec![]),
        (json!({ "state": "x".repeat(17 << 20) }), vec![]),
        ((0..200).fold(json!({}), |inner, _| json!({ "in": inner })), vec![]),
    ];
    let messages: Vec<String> = cases
        .into_iter()
        .map(|(header, tensors)| {
            let tensors = tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
            let error = Checkpoint { header, tensors }.save(&path).unwrap_err();
            assert!(!path.exists());
            error.to_string().replace(path.to_str().unwrap(), "FILE")
        })
        .collect();
    assert_snapshot!(messages.join("\n"), @"
    cannot save the checkpoint FILE: the tensor `h` is of type F16; checkpoints hold f32, f64, u8, u32 and i64
    cannot save the checkpoint FILE: a tensor cannot be named `__metadata__`, which the file format needs for itself
    cannot save the checkpoint FILE: its header must be a JSON object
    cannot save the checkpoint FILE: its header is longer than 16 MiB; keep large state in tensors
    cannot save the checkpoint FILE: its header could not be read back: recursion limit exceeded at line 1 column 798
    ");
}

/// A state of a run: all of it numbers.
fn at(update: u64) -> Checkpoint {
    let mut checkpoint = Checkpoint { header: json!({ "update": update }), ..small() };
    checkpoint.tensors.remove("weight");
    checkpoint
}

fn updates(store: &CheckpointStore) -> Vec<u64> {
    store.list().unwrap().into_iter().map(|(update, _)| update).collect()
}

#[test]
fn the_store_keeps_the_newest() {
    let (folder, _) = scratch();
    let store = CheckpointStore::new(folder.path().join("checkpoints"), 2);
    assert_eq!(updates(&store), [0; 0]);
    assert!(store.latest_intact(&Device::Cpu).is_none());
    for update in [1, 2, 10, 1_000_000] {
        let path = store.save(update, &at(update)).unwrap();
        assert!(path.ends_with(format!("update-{update:06}.safetensors")));
    }
    assert_eq!(updates(&store), [10, 1_000_000]);
    fs::write(folder.path().join("checkpoints/update-+00011.safetensors"), "not one of ours").unwrap();
    assert_eq!(updates(&store), [10, 1_000_000]);

    let all = CheckpointStore::new(folder.path().join("all"), 0);
    for update in 0..5 {
        all.save(update, &at(update)).unwrap();
    }
    assert_eq!(updates(&all), [0, 1, 2, 3, 4]);
}

#[test]
fn an_old_one_that_cannot_be_removed_stops_no_run() {
    let (folder, _) = scratch();
    let store = CheckpointStore::new(folder.path(), 1);
    // a folder cannot be removed as a file can
    fs::create_dir(folder.path().join("update-000001.safetensors")).unwrap();
    for update in [2, 3] {
        store.save(update, &at(update)).unwrap();
    }
    assert_eq!(updates(&store), [1, 3]);
    // nor can what is gone already
    fs::remove_dir(folder.path().join("update-000001.safetensors")).unwrap();
    store.save(4, &at(4)).unwrap();
    assert_eq!(updates(&store), [4]);
}

#[test]
fn the_newest_intact_one_is_found_and_never_pruned_by_damaged_ones() {
    let (folder, _) = scratch();
    let store = CheckpointStore::new(folder.path(), 1);
    store.save(5, &at(5)).unwrap();
    for damaged in [8, 9] {
        fs::write(folder.path().join(format!("update-{damaged:06}.safetensors")), "cut").unwrap();
    }
    let (path, found) = store.latest_intact(&Device::Cpu).unwrap();
    assert!(path.ends_with("update-000005.safetensors"));
    assert_eq!(found.header["update"], 5);
    // the resumed run saves: its own checkpoint is the one to stay
    store.save(6, &at(6)).unwrap();
    assert_eq!(store.latest_intact(&Device::Cpu).unwrap().1.header["update"], 6);
}

#[test]
fn a_state_that_is_no_number_is_not_saved() {
    let (folder, _) = scratch();
    let store = CheckpointStore::new(folder.path(), 1);
    store.save(5, &at(5)).unwrap();
    let f64s = Tensor::new(&[0.0, f64::INFINITY], &Device::Cpu).unwrap();
    let f32s = Tensor::new(&[[f32::NAN], [1.0]], &Device::Cpu).unwrap();
    for (name, tensor) in [("adam.first.weight", f32s), ("value", f64s)] {
        let mut spoiled = at(6);
        spoiled.tensors.insert(name.to_owned(), tensor);
        let error = store.save(6, &spoiled).unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with(&format!(
                "update-000006.safetensors is of no use: its tensor `{name}` holds NaN or infinity"
            )),
            "{text}"
        );
        assert!(error.hint().unwrap().contains("lower learning rate"));
    }
    assert_eq!(updates(&store), [5]);
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (_folder, path) = scratch();
        fs::write(&path, bytes).unwrap();
        prop_assert!(load(&path).is_err());
    }

    #[test]
    fn any_header_is_refused(
        metadata in prop::option::of("[\\PC\"{}]{0,20}"),
        dtype in prop::sample::select(vec!["F32", "F64", "U8", "I64", "BF16", "F4", "F6_E2M3", "X"]),
        shape in prop::collection::vec(prop_oneof![0..4_u64, any::<u64>()], 0..4),
        from in prop_oneof![0..40_u64, any::<u64>()],
        to in prop_oneof![0..40_u64, any::<u64>()],
        data in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let envelope = metadata.unwrap_or_else(|| json!({"format": 1, "crc32c": "0", "header": {}}).to_string());
        let header = json!({
            "__metadata__": {"signalbox": envelope},
            "a": {"dtype": dtype, "shape": shape, "data_offsets": [from, to]},
        });
        let (_folder, path) = scratch();
        fs::write(&path, with_header(&header.to_string(), &data)).unwrap();
        prop_assert!(load(&path).is_err());
    }
}

#[test]
fn the_checksum_in_every_file_is_the_castagnoli_one() {
    // RFC 3720, appendix B.4: another polynomial would make every older checkpoint unreadable
    assert_eq!(experiment::crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(experiment::crc32c(&[0; 32]), 0x8a91_36aa);
}
