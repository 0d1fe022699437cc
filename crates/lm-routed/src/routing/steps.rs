//! Steps of which each is on documents of one class: what it runs, what it trains, and which documents it takes.

use std::collections::BTreeMap;

use experiment::SeedStreams;
use gradient_routing::{RouteTable, Semantics, Site};
use learning::{Moves, Partition};
use rand::RngExt as _;
use transformer::Architecture;

use super::routes::Routes;

/// A row of the table that a step can take, and how likely it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The class of the table.
    pub class: usize,
    /// Its probability among the choices of a label.
    pub probability: f64,
}

/// How documents are put into steps: each step has documents of one label, and runs as one of the label's classes.
#[derive(Clone, Debug, PartialEq)]
pub struct StepLabels {
    /// The label of every training document: an index into `choices`.
    pub of: Vec<usize>,
    /// For each label the classes that a step on it can take; their probabilities add up to 1.
    pub choices: Vec<Vec<Choice>>,
}

impl StepLabels {
    /// A label that is always the class of that number.
    pub fn always(class: usize) -> Vec<Choice> {
        vec![Choice { class, probability: 1.0 }]
    }

    /// The class that step `step` takes on documents of a label. It depends on the seed and the step alone, so that a
    /// run that goes on takes the same.
    pub fn class_of(&self, label: usize, step: u64, streams: SeedStreams) -> usize {
        let choices = &self.choices[label];
        let mut left: f64 = streams.stream(&format!("class.{step}")).random();
        for Choice { class, probability } in choices {
            left -= probability;
            if left < 0.0 {
                return *class;
            }
        }
        // rounding may leave a rest above the sum of the probabilities
        choices.iter().rev().find(|choice| choice.probability > 0.0).map_or(0, |choice| choice.class)
    }
}

/// Which parameters, and which channels of them, a step on each class of a table trains.
#[derive(Clone, Debug, PartialEq)]
pub struct StepMasks {
    /// The parameters of which channels belong to several groups.
    pub partitions: BTreeMap<String, Partition>,
    /// For each class, the parts that are trained.
    pub trained: Vec<Moves>,
    /// What happens to the others.
    pub semantics: Semantics,
}

impl StepMasks {
    /// The masks of routes whose table applies to parameters. A parameter of which not all channels have a group belongs
    /// to the group that names it, or else to the first one, which is the network without any module.
    ///
    /// # Errors
    /// Fails where the routes' channels are not those of the network.
    pub fn new(routes: &Routes, architecture: &Architecture) -> Result<Self, transformer::Error> {
        let partitions = routes.groups(architecture).partitions(architecture)?;
        let table = &routes.table;
        let semantics = match table.site() {
            Site::Parameters(semantics) => semantics,
            Site::Activations => Semantics::Frozen,
        };
        let of_class = |class: usize| -> Moves {
            let groups = trained_groups(table, class);
            let of = |(name, _): (String, Vec<usize>)| {
                let moves = match partitions.get(&name) {
                    Some(_) => groups.clone(),
                    None => vec![groups[table.groups().iter().position(|g| g.owns(&name)).unwrap_or(0)]],
                };
                (name, moves)
            };
            architecture.parameters().into_iter().map(of).collect()
        };
        let trained = (0..table.classes().len()).map(of_class).collect();
        Ok(Self { partitions, trained, semantics })
    }
}

/// Whether a step on a class trains each group.
fn trained_groups(table: &RouteTable, class: usize) -> Vec<bool> {
    let weights = table.gradient(class).iter().zip(table.forward(class));
    weights.map(|(gradient, forward)| *gradient != 0.0 && *forward != 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_each_class_as_often_as_it_is_likely_and_the_same_again() {
        let choices = vec![
            StepLabels::always(2),
            vec![Choice { class: 0, probability: 0.25 }, Choice { class: 1, probability: 0.75 }],
        ];
        let labels = StepLabels { of: vec![0, 1], choices };
        let streams = SeedStreams::new(7);
        let drawn = |label| (0..2000).map(|step| labels.class_of(label, step, streams)).collect::<Vec<_>>();
        assert!(drawn(0).iter().all(|class| *class == 2));
        let ones = drawn(1).iter().filter(|class| **class == 1).count();
        assert!((1400..1600).contains(&ones), "{ones}");
        assert_eq!(drawn(1), drawn(1));
    }
}
