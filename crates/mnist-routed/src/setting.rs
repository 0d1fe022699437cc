//! The ten settings of the paper's Table 2, as values: a name, and the defaults that it brings to a config.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{LossSection, RouteSection};

/// A row of Table 2: whether gradients are routed, and what else the training does to split the encoding.
///
/// To add one, name it here and list it in [`Setting::ALL`]: configs, the command line, tables and pictures take it
/// from there.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    name: &'static str,
    title: &'static str,
    paper: (f64, f64),
    route: RouteSection,
    loss: LossSection,
}

/// What most settings start from: a digit's gradient reaches its own part of the encoding only.
const ROUTED: RouteSection =
    RouteSection { routing: true, separate_decoders: false, open_last: false, last_only: false };
const FREE: RouteSection = RouteSection { routing: false, ..ROUTED };
const SEPARATE: RouteSection = RouteSection { separate_decoders: true, ..ROUTED };
const LAST_ONLY: RouteSection = RouteSection { last_only: true, ..FREE };

/// The paper's penalties, and none.
const PENALTIES: LossSection = LossSection { l1: 3e-3, l1_last: 3e-3, correlation: 0.1 };
const NONE: LossSection = LossSection { l1: 0.0, l1_last: 0.0, correlation: 0.0 };

impl Setting {
    /// 1: gradient routing, L1 and correlation penalties.
    pub const ROUTING: Self = Self {
        name: "routing",
        title: "gradient routing",
        paper: (0.32, 0.08),
        route: ROUTED,
        loss: PENALTIES,
    };
    /// 2: with one decoder for each part of the digits.
    pub const SEPARATE_DECODERS: Self = Self {
        name: "separate-decoders",
        title: "routing, separate decoders",
        paper: (0.33, 0.07),
        route: SEPARATE,
        loss: PENALTIES,
    };
    /// 3: without the correlation penalty.
    pub const NO_CORRELATION: Self = Self {
        name: "no-correlation",
        title: "routing, no correlation penalty",
        paper: (0.28, 0.11),
        route: ROUTED,
        loss: LossSection { correlation: 0.0, ..PENALTIES },
    };
    /// 4: without any penalty.
    pub const NO_REGULARISATION: Self = Self {
        name: "no-regularisation",
        title: "routing, no regularisation",
        paper: (0.32, 0.32),
        route: ROUTED,
        loss: NONE,
    };
    /// 5: without any penalty, with one decoder for each part.
    pub const NO_REGULARISATION_SEPARATE_DECODERS: Self = Self {
        name: "no-regularisation-separate-decoders",
        title: "routing, no regularisation, separate decoders",
        paper: (0.09, 0.08),
        route: SEPARATE,
        loss: NONE,
    };
    /// 6: the last part of the encoding learns from all digits, under a larger L1 penalty.
    pub const BOTTOM_ON_ALL: Self = Self {
        name: "bottom-on-all",
        title: "routing, bottom half trained on all digits",
        paper: (0.23, 0.13),
        route: RouteSection { open_last: true, ..ROUTED },
        loss: LossSection { l1_last: 2e-2, ..PENALTIES },
    };
    /// 7: no routing; only the last part's digits are reconstructed, under a small L1 penalty.
    pub const LAST_DIGITS_L1: Self = Self {
        name: "last-digits-l1",
        title: "no routing, L1 1e-3, trained on 5-9 only",
        paper: (0.27, 0.11),
        route: LAST_ONLY,
        loss: LossSection { l1: 1e-3, l1_last: 1e-3, ..NONE },
    };
    /// 8: no routing; only the last part's digits are reconstructed, without any penalty.
    pub const LAST_DIGITS: Self = Self {
        name: "last-digits",
        title: "no routing, no regularisation, 5-9 only",
        paper: (0.08, 0.08),
        route: LAST_ONLY,
        loss: NONE,
    };
    /// 9: no routing, with both penalties.
    pub const NO_ROUTING: Self = Self {
        name: "no-routing",
        title: "no routing, with regularisation",
        paper: (0.13, 0.13),
        route: FREE,
        loss: PENALTIES,
    };
    /// 10: no routing and no penalty: a plain autoencoder.
    pub const PLAIN: Self = Self {
        name: "plain",
        title: "no routing, no regularisation",
        paper: (0.08, 0.09),
        route: FREE,
        loss: NONE,
    };

    /// All ten, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::ROUTING,
        Self::SEPARATE_DECODERS,
        Self::NO_CORRELATION,
        Self::NO_REGULARISATION,
        Self::NO_REGULARISATION_SEPARATE_DECODERS,
        Self::BOTTOM_ON_ALL,
        Self::LAST_DIGITS_L1,
        Self::LAST_DIGITS,
        Self::NO_ROUTING,
        Self::PLAIN,
    ];

    /// The names of all of them.
    const NAMES: [&'static str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut row = 0;
        while row < names.len() {
            names[row] = Self::ALL[row].name;
            row += 1;
        }
        names
    };

    /// The setting of that name; underscores do for hyphens.
    pub fn by_name(name: &str) -> Option<Self> {
        let name = name.replace('_', "-");
        Self::ALL.into_iter().find(|setting| setting.name == name)
    }

    /// Its row in the table, from 1.
    pub fn number(self) -> usize {
        Self::ALL.iter().position(|setting| *setting == self).map_or(0, |row| row + 1)
    }

    /// The name in configs and on the command line.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The name in tables and pictures.
    pub fn title(self) -> &'static str {
        self.title
    }

    /// The validation loss of the bottom certificate on 0–4 and 5–9 that the paper reports after 200 epochs, mean
    /// squared error.
    ///
    /// # Source
    /// Cloud et al. 2024, Table 2.
    pub fn paper(self) -> (f64, f64) {
        self.paper
    }

    /// Where gradients go: the defaults of a config's `[route]`, of which [`RouteSection::table`] makes the table.
    pub fn route(self) -> RouteSection {
        self.route
    }

    /// The penalties: the defaults of a config's `[loss]`.
    pub fn loss(self) -> LossSection {
        self.loss
    }
}

/// Settings are told apart by their names.
impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Setting {}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::by_name(&name).ok_or_else(|| de::Error::unknown_variant(&name, &Self::NAMES))
    }
}

impl std::str::FromStr for Setting {
    type Err = String;

    /// By number or by name.
    fn from_str(text: &str) -> Result<Self, String> {
        let by_number = text.parse().ok().and_then(|row: usize| Self::ALL.get(row.wrapping_sub(1)));
        by_number
            .copied()
            .or_else(|| Self::by_name(text))
            .ok_or_else(|| format!("use a row of Table 2, 1 to 10, or its name: {}", Self::NAMES.join(", ")))
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
            let written = serde_json::to_value(setting).unwrap();
            assert_eq!(written, setting.name());
            assert_eq!(serde_json::from_value::<Setting>(written).unwrap(), setting);
        }
        assert_eq!("bottom_on_all".parse(), Ok(Setting::BOTTOM_ON_ALL));
        for wrong in ["0", "11", "", "rooting"] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_two_settings_are_the_same() {
        for (i, a) in Setting::ALL.iter().enumerate() {
            let same = |b: &Setting| a.name == b.name || (a.route(), a.loss()) == (b.route(), b.loss());
            assert!(!Setting::ALL[i + 1..].iter().any(same), "{a:?}");
        }
    }
}
