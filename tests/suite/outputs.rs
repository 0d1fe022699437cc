//! Pictures, tables and event files.
use std::io::BufReader;
use std::path::Path;

use crate::files::{metrics, timeless_metrics};
use crate::workspace::{FINISHED, Tree, Workspace};

/// Width and height of a PNG, all of whose pixels can be read and are not all the same.
pub(crate) fn png_size(bytes: &[u8]) -> (u32, u32) {
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let mut reader = png::Decoder::new(BufReader::new(std::io::Cursor::new(bytes))).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert!(pixels.iter().any(|byte| *byte != pixels[0]), "an empty picture");
    (frame.width, frame.height)
}

/// Width, height and frames of a GIF.
fn gif_size(bytes: &[u8]) -> (u16, u16, usize) {
    assert_eq!(&bytes[..6], b"GIF89a");
    let mut decoder = gif::Decoder::new(bytes).unwrap();
    let (width, height, mut frames) = (decoder.width(), decoder.height(), 0);
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        assert!(frame.width <= width && frame.height <= height && frame.delay > 0);
        frames += 1;
    }
    (width, height, frames)
}

#[test]
fn pictures_decode_to_sizes_that_can_be_looked_at() {
    for picture in ["reward_curve", "routing", "policy"] {
        let (width, height) = png_size(&FINISHED[Path::new(&format!("plots/{picture}.png"))]);
        for side in [width, height] {
            assert!((200..=4000).contains(&side), "{picture}: {width} × {height}");
        }
    }
    let (width, height, frames) = gif_size(&FINISHED[Path::new("plots/policy.gif")]);
    assert!(width >= 200 && height >= 100, "{width} × {height}");
    assert_eq!(frames, 5, "one for each evaluation");
}

#[test]
fn csv_has_the_metrics_as_a_table() {
    let ws = Workspace::new();
    ws.done("--csv --out run");
    let tree = ws.tree("run");
    let table = crate::files::text(&tree, "metrics.csv");
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(header[..2], ["step", "update"]);
    assert!(header.contains(&"losses/policy_loss") && header.contains(&"eval/diamond/return"));
    for record in metrics(&tree) {
        let cells: Vec<&str> = lines.next().unwrap().split(',').collect();
        assert_eq!(cells.len(), header.len());
        for (name, cell) in header.iter().zip(cells) {
            let value = record.get(*name).and_then(serde_json::Value::as_f64);
            assert_eq!(cell.parse::<f64>().ok(), value, "{name}");
        }
    }
    assert_eq!(lines.next(), None);
    assert!(!FINISHED.contains_key(Path::new("metrics.csv")), "only on request");
}

/// CRC-32C bit by bit.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1)))
    })
}

/// The data of each record of an event file, whose lengths and checksums are right.
fn events(mut bytes: &[u8]) -> Vec<&[u8]> {
    let masked = |data: &[u8]| crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at(8);
        let (checksum, rest) = rest.split_at(4);
        assert_eq!(checksum, masked(length));
        let (data, rest) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        let (checksum, rest) = rest.split_at(4);
        assert_eq!(checksum, masked(data));
        events.push(data);
        bytes = rest;
    }
    events
}

fn event_files(tree: &Tree) -> Vec<&[u8]> {
    let named = tree.iter().filter(|(path, _)| path.to_string_lossy().contains("events.out.tfevents"));
    named.map(|(_, bytes)| bytes.as_slice()).collect()
}

#[test]
fn tensorboard_gets_every_number() {
    let ws = Workspace::new();
    ws.done("train --tensorboard --out run");
    let tree = ws.tree("run");
    let files = event_files(&tree);
    assert_eq!(files.len(), 1);
    let events = events(files[0]);
    assert!(events[0].ends_with(b"brain.Event:2"));
    let numbers =
        metrics(&tree).iter().flat_map(|record| record.values()).filter(|value| value.is_number()).count();
    let steps_and_updates = 2 * metrics(&tree).len();
    assert_eq!(events.len() - 1, numbers - steps_and_updates);
    for tag in ["charts/SPS", "losses/value_loss", "routing/share_both", "eval/ghost/return"] {
        assert!(
            events.iter().any(|event| event.windows(tag.len()).any(|part| part == tag.as_bytes())),
            "{tag}"
        );
    }
    assert!(event_files(&FINISHED).is_empty(), "only on request");
}

#[test]
fn curves_in_the_terminal_need_one_and_change_nothing() {
    let ws = Workspace::new();
    ws.done("train --out plain --seed 7");
    ws.done("train --out watched --seed 7 --watch");
    assert_eq!(timeless_metrics(&ws.tree("plain")), timeless_metrics(&ws.tree("watched")));
    let ended = ws.run("eval plain --watch");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("error: `eval` does not take --watch"), "{}", ended.stderr);
}
