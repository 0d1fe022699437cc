//! The metrics file: what is written, what is read back, what is cut off.
use std::fs;
use std::path::PathBuf;

use experiment::{MetricsWriter, Record, RunError, read_metrics, write_csv};
use insta::assert_snapshot;
use proptest::prelude::*;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    (folder, path)
}

fn record(step: u64, update: u64, values: &[(&str, f64)]) -> Record {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    Record { step, update, values }
}

#[test]
fn one_object_a_line_in_the_order_given() {
    let (_folder, path) = scratch();
    let mut metrics = MetricsWriter::create(&path).unwrap();
    metrics.log(128, 1, &[("losses/policy_loss", -0.1), ("charts/SPS", 1e6), ("a \"b\"", f64::NAN)]).unwrap();
    metrics.log(u64::MAX, 2, &[("third", 1.0 / 3.0), ("tiny", 5e-324), ("gone", f64::NEG_INFINITY)]).unwrap();
    metrics.log(256, 3, &[]).unwrap();
    metrics.sync().unwrap();
    assert_snapshot!(fs::read_to_string(&path).unwrap(), @r#"
    {"step":128,"update":1,"losses/policy_loss":-0.1,"charts/SPS":1000000.0,"a \"b\"":null}
    {"step":18446744073709551615,"update":2,"third":0.3333333333333333,"tiny":5e-324,"gone":null}
    {"step":256,"update":3}
    "#);
    let records = read_metrics(&path).unwrap();
    assert_eq!(records.len(), 3);
    assert_eq!((records[1].step, records[1].values["third"]), (u64::MAX, 1.0 / 3.0));
    assert!(records[0].values["a \"b\""].is_nan());
}

#[test]
fn metrics_are_never_overwritten() {
    let (_folder, path) = scratch();
    MetricsWriter::create(&path).unwrap();
    assert!(matches!(MetricsWriter::create(&path), Err(RunError::Write { .. })));
}

#[test]
fn step_and_update_are_taken() {
    let (_folder, path) = scratch();
    let mut metrics = MetricsWriter::create(&path).unwrap();
    let error = metrics.log(1, 1, &[("fine", 0.0), ("step", 1.0)]).unwrap_err();
    assert!(error.to_string().contains("`step`"), "{error}");
    metrics.flush().unwrap();
    assert_eq!(read_metrics(&path).unwrap(), []);
}

/// However much of the last line is there, it is left out in reading and cut off in writing.
#[test]
fn a_torn_last_line_is_no_record() {
    let whole = "{\"step\":1,\"update\":1,\"a\":0.5}\n";
    for torn in 0..whole.len() {
        let (_folder, path) = scratch();
        fs::write(&path, format!("{whole}{}", &whole[..torn])).unwrap();
        assert_eq!(read_metrics(&path).unwrap(), [record(1, 1, &[("a", 0.5)])]);
        let mut metrics = MetricsWriter::append(&path).unwrap();
        metrics.log(2, 2, &[]).unwrap();
        metrics.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{whole}{{\"step\":2,\"update\":2}}\n"));
    }
}

#[test]
fn a_long_torn_tail_is_found_from_behind() {
    let (_folder, path) = scratch();
    let mut content = b"{\"step\":1,\"update\":1}\n".to_vec();
    content.extend(vec![0; 200_000]);
    fs::write(&path, content).unwrap();
    drop(MetricsWriter::append(&path).unwrap());
    assert_eq!(fs::read(&path).unwrap().len(), 22);
    fs::write(&path, vec![b'x'; 200_000]).unwrap();
    drop(MetricsWriter::append(&path).unwrap());
    assert_eq!(fs::read(&path).unwrap().len(), 0);
}

/// A run cut off anywhere and resumed from a checkpoint has the file of the undisturbed run.
#[test]
fn resume_cuts_back_to_the_checkpoint() {
    let (_folder, path) = scratch();
    let write = |metrics: &mut MetricsWriter, updates: std::ops::RangeInclusive<u64>| {
        for update in updates {
            metrics.log(update * 10, update, &[("a", update as f64)]).unwrap();
        }
        metrics.flush().unwrap();
    };
    write(&mut MetricsWriter::append(&path).unwrap(), 1..=6);
    let undisturbed = fs::read(&path).unwrap();
    let third_line_end =
        undisturbed.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0 + 1;
    for cut in third_line_end..=undisturbed.len() {
        fs::write(&path, &undisturbed[..cut]).unwrap();
        write(&mut MetricsWriter::resume(&path, 3).unwrap(), 4..=6);
        assert_eq!(fs::read(&path).unwrap(), undisturbed, "cut at {cut}");
    }
    write(&mut MetricsWriter::resume(&path, 0).unwrap(), 1..=6);
    assert_eq!(fs::read(&path).unwrap(), undisturbed);
}

#[test]
fn any_other_bad_line_is_named() {
    let cases = [
        "{\"step\":1,\"update\":1}\n{\"step\":1\n{\"step\":1,\"update\":1}\n",
        "{\"step\":1,\"update\":1}\n\n",
        "{\"step\":1}\n",
        "{\"step\":-1,\"update\":1}\n",
        "{\"step\":1,\"update\":1,\"a\":\"b\"}\n",
        "[1]\n",
        "{\"step\":1,\"update\":1,\"a\":1e999}\n",
    ];
    let messages: Vec<String> = cases
        .iter()
        .map(|content| {
            let (_folder, path) = scratch();
            fs::write(&path, content).unwrap();
            let error = read_metrics(&path).unwrap_err();
            assert!(error.hint().is_some());
            error.to_string().replace(path.to_str().unwrap(), "metrics.jsonl")
        })
        .collect();
    assert_snapshot!(messages.join("\n"), @r#"
    metrics.jsonl line 2: not a JSON object, see column 9
    metrics.jsonl line 2: not a JSON object, see column 0
    metrics.jsonl line 1: `update` is missing
    metrics.jsonl line 1: `step` is not a count: -1
    metrics.jsonl line 1: "a" is not a number
    metrics.jsonl line 1: not a JSON object, see column 0
    metrics.jsonl line 1: not a JSON object, see column 30
    "#);
}

#[test]
fn a_line_without_end_is_not_read_into_memory() {
    let (_folder, path) = scratch();
    let file = fs::File::create(&path).unwrap();
    // a hole of 1 TiB takes no space on the disk
    if file.set_len(1 << 40).is_ok() {
        let error = read_metrics(&path).unwrap_err().to_string();
        assert!(error.contains("line 1: longer than 1048576 bytes"), "{error}");
    }
}

#[test]
fn csv_has_every_column_sorted() {
    let (folder, _) = scratch();
    let path = folder.path().join("metrics.csv");
    let records = [
        record(10, 1, &[("losses/value", 0.5), ("a,b", 1.0)]),
        record(20, 2, &[("eval/return", f64::NAN), ("\"quoted\"", 1e-7)]),
    ];
    write_csv(&records, &path).unwrap();
    assert_snapshot!(fs::read_to_string(&path).unwrap(), @r#"
    step,update,"""quoted""","a,b",eval/return,losses/value
    10,1,,1.0,,0.5
    20,2,1e-7,,,
    "#);
    write_csv(&[], &path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "step,update\n");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), update in 0..5_u64) {
        let (_folder, path) = scratch();
        fs::write(&path, bytes).unwrap();
        read_metrics(&path).ok();
        if MetricsWriter::resume(&path, update).is_ok() {
            prop_assert!(read_metrics(&path).unwrap().iter().all(|record| record.update <= update));
        }
        drop(MetricsWriter::append(&path).unwrap());
    }

    #[test]
    fn what_is_written_is_read(
        step in any::<u64>(), update in any::<u64>(),
        values in prop::collection::btree_map("[^s].{0,8}", any::<f64>(), 0..6),
    ) {
        let values: Vec<(&str, f64)> =
            values.iter().filter(|(k, v)| *k != "update" && v.is_finite()).map(|(k, v)| (k.as_str(), *v)).collect();
        let (_folder, path) = scratch();
        let mut metrics = MetricsWriter::create(&path).unwrap();
        metrics.log(step, update, &values).unwrap();
        metrics.flush().unwrap();
        prop_assert_eq!(read_metrics(&path).unwrap(), [record(step, update, &values)]);
    }
}
