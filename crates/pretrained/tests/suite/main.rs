//! Models of every family against the library that made them; adapters; and folders that are none.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, as tests do")]

mod adapters;
mod gguf;
mod golden;
mod refused;
mod saved;
