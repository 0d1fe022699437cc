//! Gradient routing for candle: masks on the backward pass, at activations or at parameters
