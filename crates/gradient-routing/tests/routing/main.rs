//! The crate as its users see it: one binary, a module for each promise.

mod activation_routing;
mod channels;
mod finite_differences;
mod gradient_flow;
mod parameter_routing;
mod properties;
mod route_table;
mod table_routing;

use candle_core::{Tensor, Var};

/// Any error; a test that meets one fails with its message.
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The gradient of the sum of `y` at `x`, as numbers in row-major order.
fn gradient_of_sum(y: &Tensor, x: &Var) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let gradients = y.sum_all()?.backward()?;
    let gradient = gradients.get(x).ok_or("no gradient")?;
    assert_eq!(gradient.shape(), x.shape());
    numbers(gradient)
}

/// The elements in row-major order.
fn numbers(x: &Tensor) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    Ok(x.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()?)
}
