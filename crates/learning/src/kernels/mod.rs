//! The products and passes of which fused forward and backward passes of dense nets are made.
//!
//! Everything here works on row-major `f32` slices on the calling thread and keeps no state: the caller
//! splits a batch over threads and adds the parts up in a fixed order, so that results repeat. The loops are
//! compiled for several instruction sets and the best is chosen at run time. None reorders a sum by the
//! instruction set, so an element-wise pass gives the same bits on every machine.

mod elementwise;
mod head;
mod matmul;
mod sparse;
mod transpose;

pub use elementwise::{
    AdamStep, adam_step, adamw_step, add_assign, add_column_sums, bias_absolute_error, bias_relu,
    decay_moment, descend, relu_backward, sum_of_squares,
};
pub use head::{head_backward, head_forward, head_weight_gradient};
pub use matmul::{Matrix, Write, matmul};
pub use sparse::{SparseRows, gather_relu, scatter_add};
pub use transpose::transpose;
