//! What is minimised, and where in the encoding each digit's gradient may go.

use std::ops::Range;

use gradient_routing::{Class, Group, RouteTable, RoutingError, Site};

use crate::{Config, Error, RouteSection, Split};

/// The losses of a run in numbers, ready for either way of computing them.
///
/// With parts p of the digits, images i of part p(i), an encoding z whose columns are shared out among the parts,
/// ∑ₚ over the parts, and wₚ and maskₚ the loss weight and the gradient weights of p in [`Objective::routes`]:
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
    /// Which part's images train what by their reconstruction: see [`RouteSection::table`].
    pub routes: RouteTable,
    /// l1ᵩ.
    pub l1: Vec<f64>,
    /// c.
    pub correlation: f64,
    /// Whether each part has a decoder of its own.
    pub separate_decoders: bool,
}

/// The least standard deviation by which a column is divided before the correlations are taken. It only keeps the
/// quotient finite: anything larger would make the penalty vanish together with a small encoding, and an encoding of
/// zero would be a place from which no gradient leads away.
pub(crate) const LEAST_DEVIATION: f64 = 1e-8;

impl Objective {
    /// The objective of a config.
    ///
    /// # Errors
    /// Fails where the routes make no table.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let (split, loss) = (config.train.split.clone(), &config.loss);
        let parts = split.parts();
        Ok(Self {
            routes: config.route.table(&split, config.model.latent)?,
            l1: (0..parts).map(|q| if q + 1 == parts { loss.l1_last } else { loss.l1 }).collect(),
            correlation: loss.correlation,
            separate_decoders: config.route.separate_decoders,
            split,
        })
    }

    /// The number of parts.
    pub fn parts(&self) -> usize {
        self.split.parts()
    }

    /// The size of the encoding.
    pub fn latent(&self) -> usize {
        self.routes.channels()
    }

    /// The columns of the encoding that belong to a part.
    pub fn columns(&self, part: usize) -> Range<usize> {
        let ends = self.routes.channel_ends();
        part.checked_sub(1).map_or(0, |before| ends[before])..ends[part]
    }

    /// The part of each column of the encoding.
    pub fn part_of_columns(&self) -> Vec<usize> {
        (0..self.parts()).flat_map(|part| std::iter::repeat_n(part, self.columns(part).len())).collect()
    }

    /// wₚ: the weight of the reconstruction of a part's images; 0 where they are not reconstructed.
    pub fn weight(&self, part: usize) -> f64 {
        f64::from(self.routes.loss_weight(part))
    }

    /// Whether a penalty trains the encoder.
    pub fn has_penalty(&self) -> bool {
        self.correlation > 0.0 || self.l1.iter().any(|weight| *weight > 0.0)
    }

    /// The parts whose images a decoder reconstructs; those without weight are left out.
    pub fn parts_of_decoder(&self, decoder: usize) -> Range<usize> {
        let first = (0..self.parts()).find(|part| self.weight(*part) > 0.0).unwrap_or(0);
        match (self.separate_decoders, decoder < first) {
            (false, _) => first..self.parts(),
            (true, true) => decoder..decoder,
            (true, false) => decoder..decoder + 1,
        }
    }
}

impl RouteSection {
    /// Which part's images train what by their reconstruction.
    ///
    /// Classes are the parts of the digits. Groups are the parts of an encoding of `latent` columns, and then the
    /// decoders, where each part has its own. A part whose images also go through the route of the last part has
    /// two routes with one forward pass: one route with weight ½ and a loss weight of 2.
    ///
    /// # Errors
    /// Fails where a name is there twice.
    pub fn table(&self, split: &Split, latent: usize) -> Result<RouteTable, Error> {
        let parts = split.parts();
        let last = parts - 1;
        let share = |part: usize| (part + 1) * latent / parts - part * latent / parts;
        let decoders = if self.separate_decoders { 0..parts } else { 0..0 };
        let decoder_name = |part| format!("decoder_{}", split.part_name(part));
        let groups = (0..parts).map(|part| Group::of_channels(split.part_name(part), share(part)));
        let groups = groups.chain(
            decoders.clone().map(|part| Group::of_parameters(decoder_name(part), [decoder_name(part)])),
        );

        let class = |part: usize| {
            let opened = self.routing && self.open_last && part != last;
            let column = |group: usize| match (self.routing, opened) {
                (false, _) => 1.0,
                (true, true) if group == part || group == last => 0.5,
                (true, _) => f32::from(u8::from(group == part)),
            };
            let decoder = |group: usize| f32::from(u8::from(group == part));
            let weights = (0..parts).map(column).chain(decoders.clone().map(decoder));
            let routes = if opened { 2.0 } else { 1.0 };
            let loss_weight = if self.last_only && part != last { 0.0 } else { routes };
            Class { loss_weight, ..Class::new(split.digits_label(part), weights.collect::<Vec<_>>()) }
        };
        let classes = (0..parts).map(class).collect();
        Ok(RouteTable::new(Site::Activations, groups.collect(), classes).map_err(RoutingError::from)?)
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

    fn objective(setting: Setting, split: &Split) -> Objective {
        Objective::new(&Config::for_setting(setting, split)).unwrap()
    }

    #[test]
    fn each_setting_sends_each_digits_gradient_where_table_2_says() {
        for setting in Setting::ALL {
            let objective = objective(setting, &Split::default());
            let (mask, weight) = match setting.name() {
                "bottom-on-all" => ([[0.5, 0.5], [0.0, 1.0]], [2.0, 1.0]),
                "last-digits" | "last-digits-l1" => ([[1.0, 1.0], [1.0, 1.0]], [0.0, 1.0]),
                "no-routing" | "plain" => ([[1.0, 1.0], [1.0, 1.0]], [1.0, 1.0]),
                _ => ([[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0]),
            };
            for (part, (mask, weight)) in mask.into_iter().zip(weight).enumerate() {
                assert_eq!(objective.routes.gradient(part)[..2], mask, "{}", setting.name());
                assert!((objective.weight(part) - weight).abs() < 1e-12, "{}", setting.name());
            }
        }
        assert_eq!(objective(Setting::BOTTOM_ON_ALL, &Split::default()).l1, [3e-3, 2e-2]);
    }

    #[test]
    fn the_page_shows_the_table_of_each_setting() {
        let page = include_str!("../../../docs/mnist.md");
        for setting in Setting::ALL {
            let table = objective(setting, &Split::default()).routes.to_markdown();
            assert!(page.contains(&table), "docs/mnist.md lacks the table of {}:\n{table}", setting.name());
        }
    }

    #[test]
    fn ten_parts_share_the_encoding_without_a_gap() {
        let split: Split = "0|1|2|3|4|5|6|7|8|9".parse().unwrap();
        let objective = objective(Setting::ROUTING, &split);
        let starts: Vec<usize> = (0..10).map(|part| objective.columns(part).start).collect();
        assert_eq!(starts, [0, 3, 6, 9, 12, 16, 19, 22, 25, 28]);
        assert_eq!((objective.columns(9).end, objective.latent()), (32, 32));
        assert_eq!(objective.part_of_columns()[8..13], [2, 3, 3, 3, 4]);
        assert!((0..10).all(|part| objective.routes.loss_weight(part).to_bits() == 1f32.to_bits()));
    }
}
