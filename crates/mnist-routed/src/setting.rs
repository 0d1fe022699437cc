//! The ten settings of the paper's Table 2.

use serde::{Deserialize, Serialize};

/// A row of Table 2: whether gradients are routed, and what else the training does to split the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// 1: gradient routing, L1 and correlation penalties.
    Routing,
    /// 2: with one decoder for each part of the digits.
    SeparateDecoders,
    /// 3: without the correlation penalty.
    NoCorrelation,
    /// 4: without any penalty.
    NoRegularisation,
    /// 5: without any penalty, with one decoder for each part.
    NoRegularisationSeparateDecoders,
    /// 6: the last part of the encoding learns from all digits, under a larger L1 penalty.
    BottomOnAll,
    /// 7: no routing; only the last part's digits are reconstructed, under a small L1 penalty.
    LastDigitsL1,
    /// 8: no routing; only the last part's digits are reconstructed, without any penalty.
    LastDigits,
    /// 9: no routing, with both penalties.
    NoRouting,
    /// 10: no routing and no penalty: a plain autoencoder.
    Plain,
}

/// What a setting sets; each is a key of the config.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Gradients of a digit's reconstruction reach its own part of the encoding only.
    pub routing: bool,
    /// One decoder for each part.
    pub separate_decoders: bool,
    /// The last part of the encoding also learns from the other digits.
    pub open_last: bool,
    /// Only the last part's digits are reconstructed.
    pub last_only: bool,
    /// Weight of the L1 penalty.
    pub l1: f64,
    /// Its weight on the last part of the encoding.
    pub l1_last: f64,
    /// Weight of the correlation penalty.
    pub correlation: f64,
}

impl Setting {
    /// All ten, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::Routing,
        Self::SeparateDecoders,
        Self::NoCorrelation,
        Self::NoRegularisation,
        Self::NoRegularisationSeparateDecoders,
        Self::BottomOnAll,
        Self::LastDigitsL1,
        Self::LastDigits,
        Self::NoRouting,
        Self::Plain,
    ];

    /// Its row in the table, from 1.
    pub fn number(self) -> usize {
        Self::ALL.iter().position(|setting| *setting == self).map_or(0, |row| row + 1)
    }

    /// The name in configs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Routing => "routing",
            Self::SeparateDecoders => "separate-decoders",
            Self::NoCorrelation => "no-correlation",
            Self::NoRegularisation => "no-regularisation",
            Self::NoRegularisationSeparateDecoders => "no-regularisation-separate-decoders",
            Self::BottomOnAll => "bottom-on-all",
            Self::LastDigitsL1 => "last-digits-l1",
            Self::LastDigits => "last-digits",
            Self::NoRouting => "no-routing",
            Self::Plain => "plain",
        }
    }

    /// The name in tables and pictures.
    pub fn title(self) -> &'static str {
        match self {
            Self::Routing => "gradient routing",
            Self::SeparateDecoders => "routing, separate decoders",
            Self::NoCorrelation => "routing, no correlation penalty",
            Self::NoRegularisation => "routing, no regularisation",
            Self::NoRegularisationSeparateDecoders => "routing, no regularisation, separate decoders",
            Self::BottomOnAll => "routing, bottom half trained on all digits",
            Self::LastDigitsL1 => "no routing, L1 1e-3, trained on 5-9 only",
            Self::LastDigits => "no routing, no regularisation, 5-9 only",
            Self::NoRouting => "no routing, with regularisation",
            Self::Plain => "no routing, no regularisation",
        }
    }

    /// The validation loss of the bottom certificate on 0–4 and 5–9 that the paper reports after 200 epochs, mean
    /// squared error.
    ///
    /// # Source
    /// Cloud et al. 2024, Table 2.
    pub fn paper(self) -> (f64, f64) {
        match self {
            Self::Routing => (0.32, 0.08),
            Self::SeparateDecoders => (0.33, 0.07),
            Self::NoCorrelation => (0.28, 0.11),
            Self::NoRegularisation => (0.32, 0.32),
            Self::NoRegularisationSeparateDecoders => (0.09, 0.08),
            Self::BottomOnAll => (0.23, 0.13),
            Self::LastDigitsL1 => (0.27, 0.11),
            Self::LastDigits => (0.08, 0.08),
            Self::NoRouting => (0.13, 0.13),
            Self::Plain => (0.08, 0.09),
        }
    }

    /// What it sets.
    pub fn recipe(self) -> Recipe {
        let routing = Recipe {
            routing: true,
            separate_decoders: false,
            open_last: false,
            last_only: false,
            l1: 3e-3,
            l1_last: 3e-3,
            correlation: 0.1,
        };
        let free = Recipe { l1: 0.0, l1_last: 0.0, correlation: 0.0, ..routing };
        match self {
            Self::Routing => routing,
            Self::SeparateDecoders => Recipe { separate_decoders: true, ..routing },
            Self::NoCorrelation => Recipe { correlation: 0.0, ..routing },
            Self::NoRegularisation => free,
            Self::NoRegularisationSeparateDecoders => Recipe { separate_decoders: true, ..free },
            Self::BottomOnAll => Recipe { open_last: true, l1_last: 2e-2, ..routing },
            Self::LastDigitsL1 => Recipe { routing: false, last_only: true, l1: 1e-3, l1_last: 1e-3, ..free },
            Self::LastDigits => Recipe { routing: false, last_only: true, ..free },
            Self::NoRouting => Recipe { routing: false, ..routing },
            Self::Plain => Recipe { routing: false, ..free },
        }
    }
}

impl std::str::FromStr for Setting {
    type Err = String;

    /// By number or by name.
    fn from_str(text: &str) -> Result<Self, String> {
        let by_number = text.parse().ok().and_then(|row: usize| Self::ALL.get(row.wrapping_sub(1)));
        let by_name = || Self::ALL.iter().find(|setting| setting.name() == text);
        by_number.or_else(by_name).copied().ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|setting| setting.name()).collect();
            format!("use a row of Table 2, 1 to 10, or its name: {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_found_by_number_and_by_name() {
        for (index, setting) in Setting::ALL.into_iter().enumerate() {
            assert_eq!(setting.number(), index + 1);
            assert_eq!((index + 1).to_string().parse(), Ok(setting));
            assert_eq!(setting.name().parse(), Ok(setting));
            assert_eq!(serde_json::to_value(setting).unwrap(), setting.name());
        }
        for wrong in ["0", "11", "", "rooting"] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_two_settings_are_the_same() {
        for (i, a) in Setting::ALL.iter().enumerate() {
            assert!(Setting::ALL[i + 1..].iter().all(|b| a.recipe() != b.recipe()), "{a:?}");
        }
    }
}
