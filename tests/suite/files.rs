//! The files of a run, read without the code that wrote them.
use std::path::Path;

use serde_json::{Map, Value};

use crate::workspace::Tree;

/// A file of a tree as text.
pub(crate) fn text<'a>(tree: &'a Tree, name: &str) -> &'a str {
    let bytes = tree.get(Path::new(name)).unwrap_or_else(|| panic!("no {name} among {:?}", tree.keys()));
    std::str::from_utf8(bytes).unwrap()
}

/// A file of a tree as a JSON object.
pub(crate) fn object(tree: &Tree, name: &str) -> Map<String, Value> {
    serde_json::from_str(text(tree, name)).unwrap()
}

/// The records of `metrics.jsonl`, which are one object a line.
pub(crate) fn metrics(tree: &Tree) -> Vec<Map<String, Value>> {
    let text = text(tree, "metrics.jsonl");
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The bytes of `metrics.jsonl` but for the one value that the clock has a part in.
pub(crate) fn timeless_metrics(tree: &Tree) -> String {
    const CLOCK: &str = "\"charts/SPS\":";
    let mut out = String::new();
    for line in text(tree, "metrics.jsonl").split_inclusive('\n') {
        match line.split_once(CLOCK) {
            Some((before, after)) => {
                let end = after.find([',', '}']).unwrap();
                assert!(after[..end].parse::<f64>().unwrap() > 0.0);
                out.extend([before, CLOCK, &after[end..]]);
            }
            None => out.push_str(line),
        }
    }
    out
}

/// A checkpoint taken apart: its header without the seconds it took, the table of its tensors, their bytes.
#[derive(Debug, PartialEq)]
pub(crate) struct Checkpoint {
    pub name: String,
    pub header: Value,
    pub table: Value,
    pub data: Vec<u8>,
}

/// The newest checkpoint of a run.
pub(crate) fn newest_checkpoint(tree: &Tree) -> Checkpoint {
    let (path, bytes) = tree.iter().rfind(|(path, _)| path.starts_with("checkpoints")).unwrap();
    assert_eq!(path.extension().unwrap(), "safetensors");
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut table: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let metadata = table.as_object_mut().unwrap().remove("__metadata__").unwrap();
    let envelope: Value = serde_json::from_str(metadata["signalbox"].as_str().unwrap()).unwrap();
    let mut header = envelope["header"].clone();
    assert!(header.as_object_mut().unwrap().remove("seconds").unwrap().as_f64().unwrap() > 0.0);
    Checkpoint {
        name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        header,
        table,
        data: bytes[8 + length..].to_vec(),
    }
}

/// Two runs of the same settings that did the same, whatever happened to them on the way.
pub(crate) fn assert_same_run(a: &Tree, b: &Tree) {
    assert_eq!(text(a, "config.toml"), text(b, "config.toml"));
    for (number, (a, b)) in timeless_metrics(a).lines().zip(timeless_metrics(b).lines()).enumerate() {
        assert_eq!(a, b, "line {} of the metrics", number + 1);
    }
    assert_eq!(timeless_metrics(a).len(), timeless_metrics(b).len());
    assert_eq!(text(a, "snapshots.jsonl"), text(b, "snapshots.jsonl"));
    let (a, b) = (newest_checkpoint(a), newest_checkpoint(b));
    assert_eq!((&a.name, &a.header, &a.table), (&b.name, &b.header, &b.table));
    assert!(a.data == b.data, "the tensors of {} differ", a.name);
}
