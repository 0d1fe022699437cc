"""Writes `events.tfevents`, the golden file of `src/tensorboard.rs`, with the library of TensorBoard itself.

    pip install tensorboard && python events.py
"""

from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

SCALARS = [
    (1700000001.25, "charts/SPS", 0, 123456.0),
    (1700000002.5, "losses/policy_loss", 128, -0.0123),
    (1700000003.0, "eval/" + "x" * 200, 1 << 40, float("nan")),
    (1700000003.0, "gewählt", 300, float("inf")),
]

with (Path(__file__).parent / "events.tfevents").open("wb") as file:
    writer = RecordWriter(file)
    writer.write(Event(wall_time=1700000000.0, file_version="brain.Event:2").SerializeToString())
    for wall_time, tag, step, value in SCALARS:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.write(Event(wall_time=wall_time, step=step, summary=summary).SerializeToString())
    writer.flush()
