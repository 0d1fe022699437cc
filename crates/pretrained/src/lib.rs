//! Language models that somebody else trained: read from disk, frozen, with adapters whose gradients are routed.
//!
//! | to | use |
//! |---|---|
//! | read a folder in the layout of Hugging Face, or a GGUF file | [`Pretrained::open`] |
//! | say what a model is | [`Shape`] |
//! | run it, with hooks and adapters | [`Decoder`] |
//! | train adapters, each on its own examples or tokens | [`Adapters`], [`Gate`] |
//! | put neurons beside an MLP | [`AuxMlp`] |
//! | turn a network of this house into a GPT-2 | [`Decoder::of_network`] |
//! | write one for other programs | [`Decoder::save`], [`Adapters::save_peft`], [`Decoder::merged`] |
//! | continue a text, or many at once, with a key-value cache | [`continued`], [`continued_many`] |

mod adapters;
mod aux_mlp;
mod config;
mod decoder;
mod error;
mod files;
mod generate;
mod gguf;
mod gguf_header;
mod house;
mod load;
mod ops;
mod patterns;
mod peft;
mod plan;
mod save;
mod shape;
mod tokenizer;
mod tokenizer_file;

pub use adapters::{Adapters, Gate, Gates, Lora};
pub use aux_mlp::AuxMlp;
pub use decoder::{Cache, Decoder};
pub use error::Error;
pub use files::shard_names;
pub use generate::{Choice, continued, continued_many};
pub use load::Pretrained;
pub use patterns::TokenizerPatterns;
pub use shape::{Family, Projection, Shape};
pub use tokenizer_file::parse_tokenizer;
