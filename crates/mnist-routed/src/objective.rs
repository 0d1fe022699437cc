//! What is minimised, and where in the encoding each digit's gradient may go.

use crate::{Config, Split};

/// The losses of a run in numbers, ready for either way of computing them.
///
/// With parts p of the digits, images i of part p(i), an encoding z whose columns are shared out among the parts,
/// and ∑ₚ over the parts:
///
/// ```text
/// L = ∑ₚ wₚ · mean over images of p, pixels of |decode(route(z, maskₚ)) − x|
///   + ∑ᵩ l1ᵩ · mean over images of ∑ over columns of part q of |z|
///   + c · mean over pairs of columns (k, h) of different parts of |corr(z_k, z_h)|
///   + ∑ᵩ mean over images, pixels of |certifyᵩ(stop_gradient(z of part q)) − x|
/// ```
///
/// `wₚ` is the number of routes that a digit of p takes, 1 as a rule: the reconstruction is the *sum* of the parts'
/// means, as in the authors' code, so that each part of the encoding has the same balance between the one class
/// that trains it and the penalties, however many parts there are. Where the last part is open, the other digits go
/// through the route of the last part as well as through their own: both have the same forward pass, so that it is
/// one route with weight ½ and w twice as large.
///
/// # Source
/// Cloud et al. 2024, app. B.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The part of each digit.
    pub split: Split,
    /// Columns of the encoding: those of part p are `columns[p]` to `columns[p + 1]`.
    pub columns: Vec<usize>,
    /// `mask[p][q]`: the weight of the gradient that an image of part p sends into the columns of part q.
    pub mask: Vec<Vec<f32>>,
    /// wₚ; 0 for images that are not reconstructed.
    pub weight: Vec<f64>,
    /// l1ᵩ.
    pub l1: Vec<f64>,
    /// c.
    pub correlation: f64,
    /// Whether each part has a decoder of its own.
    pub separate_decoders: bool,
}

/// Added to the variance of a column before the correlations are taken, as batch normalisation does: a column
/// that is the same for all images correlates with nothing.
pub const VARIANCE_EPS: f64 = 1e-5;

impl Objective {
    /// The objective of a config.
    pub fn new(config: &Config) -> Self {
        let (split, route, loss) = (config.train.split.clone(), &config.route, &config.loss);
        let parts = split.parts();
        let last = parts - 1;
        let opened = |p: usize| route.routing && route.open_last && p != last;
        let mask = |p: usize, q: usize| match (route.routing, opened(p)) {
            (false, _) => 1.0,
            (true, true) if q == p || q == last => 0.5,
            (true, _) => f32::from(u8::from(q == p)),
        };
        let weight = |p: usize| {
            let routes = if opened(p) { 2.0 } else { 1.0 };
            if route.last_only && p != last { 0.0 } else { routes }
        };
        Self {
            columns: (0..=parts).map(|p| p * config.model.latent / parts).collect(),
            mask: (0..parts).map(|p| (0..parts).map(|q| mask(p, q)).collect()).collect(),
            weight: (0..parts).map(weight).collect(),
            l1: (0..parts).map(|q| if q == last { loss.l1_last } else { loss.l1 }).collect(),
            correlation: loss.correlation,
            separate_decoders: route.separate_decoders,
            split,
        }
    }

    /// The number of parts.
    pub fn parts(&self) -> usize {
        self.split.parts()
    }

    /// The size of the encoding.
    pub fn latent(&self) -> usize {
        self.columns[self.parts()]
    }

    /// Whether a penalty trains the encoder.
    pub fn has_penalty(&self) -> bool {
        self.correlation > 0.0 || self.l1.iter().any(|weight| *weight > 0.0)
    }

    /// The parts whose images a decoder reconstructs; those without weight are left out.
    pub fn parts_of_decoder(&self, decoder: usize) -> std::ops::Range<usize> {
        let first = self.weight.iter().position(|weight| *weight > 0.0).unwrap_or(0);
        match (self.separate_decoders, decoder < first) {
            (false, _) => first..self.parts(),
            (true, true) => decoder..decoder,
            (true, false) => decoder..decoder + 1,
        }
    }
}

/// The losses of one batch, before the step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Losses {
    /// The weighted reconstruction error.
    pub reconstruction: f64,
    /// The sum over all columns of the mean |z|, without its weights.
    pub l1: f64,
    /// The mean absolute correlation of columns of different parts, without its weight.
    pub correlation: f64,
    /// Each certificate's mean absolute error.
    pub certificates: Vec<f64>,
}

impl Losses {
    /// All of it by name.
    pub fn named(&self, split: &Split) -> Vec<(String, f64)> {
        let certificates = self.certificates.iter().enumerate();
        let certificates =
            certificates.map(|(p, loss)| (format!("the {} certificate's loss", split.part_name(p)), *loss));
        [("the reconstruction loss", self.reconstruction), ("the L1 penalty", self.l1)]
            .into_iter()
            .chain([("the correlation penalty", self.correlation)])
            .map(|(name, value)| (name.to_owned(), value))
            .chain(certificates)
            .collect()
    }
}

/// What a gradient step has found before it moved anything.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The losses of the batch.
    pub losses: Losses,
    /// The norm of the gradient of all networks together, without the weight decay.
    pub grad_norm: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Setting;

    #[test]
    fn each_setting_sends_each_digits_gradient_where_table_2_says() {
        let objective = |setting| Objective::new(&Config::for_setting(setting, &Split::default()));
        let own = [[1.0, 0.0], [0.0, 1.0]];
        for setting in Setting::ALL {
            let Objective { mask, weight, .. } = objective(setting);
            let (expected_mask, expected_weight) = match setting {
                Setting::BottomOnAll => ([[0.5, 0.5], [0.0, 1.0]], [2.0, 1.0]),
                Setting::LastDigits | Setting::LastDigitsL1 => ([[1.0, 1.0], [1.0, 1.0]], [0.0, 1.0]),
                Setting::NoRouting | Setting::Plain => ([[1.0, 1.0], [1.0, 1.0]], [1.0, 1.0]),
                _ => (own, [1.0, 1.0]),
            };
            assert_eq!(mask, expected_mask, "{setting:?}");
            assert_eq!(weight, expected_weight, "{setting:?}");
        }
        assert_eq!(objective(Setting::BottomOnAll).l1, [3e-3, 2e-2]);
    }

    #[test]
    fn ten_parts_share_the_encoding_without_a_gap() {
        let split: Split = "0|1|2|3|4|5|6|7|8|9".parse().unwrap();
        let objective = Objective::new(&Config::for_setting(Setting::Routing, &split));
        assert_eq!(objective.columns, [0, 3, 6, 9, 12, 16, 19, 22, 25, 28, 32]);
        assert_eq!(objective.weight, [1.0; 10]);
    }
}
