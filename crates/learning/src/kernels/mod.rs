//! The products and passes of which fused forward and backward passes of dense nets and transformers are made.
//!
//! Everything here works on row-major `f32` slices on the calling thread and keeps no state: the caller
//! splits a batch over threads and adds the parts up in a fixed order (see [`crate::lanes`]), so that results
//! repeat. The loops are compiled for several instruction sets and the best is chosen at run time. None reorders
//! a sum by the instruction set, so an element-wise pass gives the same bits on every machine.
//!
//! | layer | forward | backward |
//! |---|---|---|
//! | dense | [`Dense::forward`], [`add_bias`] | [`Dense::input_grad`], [`Dense::weight_grad`], [`add_column_sums`] |
//! | a few outputs | [`head_forward`] | [`head_backward`], [`head_weight_gradient`] |
//! | sparse inputs | [`gather_relu`] | [`scatter_add`] |
//! | ReLU | [`bias_relu`] | [`relu_backward`] |
//! | GELU | [`bias_gelu`] | its derivative, [`multiply`] |
//! | gated SiLU | [`silu_times`] | [`silu_times_backward`] |
//! | layer norm, RMS norm | [`norm_forward`] | [`norm_backward`] |
//! | causal softmax | [`causal_softmax`] | [`softmax_backward`] |
//! | losses | [`cross_entropy`] | [`cross_entropy_gradient`], [`bias_absolute_error`] |
//! | optimiser | | [`adam_step`] |

/// Compiles each function for AVX-512, for AVX2 and for the baseline of the target, and picks one at run time.
macro_rules! vectorised {
    ($($function:item)*) => {$(
        #[multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw", "x86_64+avx2+fma"))]
        $function
    )*};
}

mod adam;
mod dense;
mod elementwise;
mod exponential;
mod gelu;
mod head;
mod matmul;
mod norms;
mod peak;
mod reductions;
mod silu;
mod softmax;
mod sparse;
mod transpose;

pub use adam::{AdamStep, adam_step};
pub use dense::Dense;
pub use elementwise::{
    add_assign, add_bias, add_column_sums, add_sign, bias_absolute_error, bias_relu, copy_with_bias,
    multiply, relu_backward,
};
pub use gelu::bias_gelu;
pub use head::{head_backward, head_forward, head_weight_gradient};
pub use matmul::{Matrix, Write, matmul};
pub use norms::{Norm, NormGradients, norm_backward, norm_forward};
pub use peak::peak_gflops;
pub use reductions::sum_of_squares;
pub use silu::{silu_times, silu_times_backward};
pub use softmax::{causal_softmax, cross_entropy, cross_entropy_gradient, softmax_backward};
pub use sparse::{SparseRows, gather_relu, scatter_add};
pub use transpose::{transpose, transpose_columns};
