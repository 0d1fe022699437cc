//! The life of a run: config, seed streams, run folder, metrics, checkpoints, progress
