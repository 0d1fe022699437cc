//! What a table must be before anything is trained by it.

use super::{Class, Group, Profile, RouteTableError, names_parameter};

pub(super) fn groups(groups: &[Group]) -> Result<(), RouteTableError> {
    names("group", groups.iter().map(|group| group.name.as_str()))?;
    for group in groups {
        if let Some(index) = group.parameters.iter().position(String::is_empty) {
            return Err(RouteTableError::EmptyName {
                what: format!("of group `{}` the parameter prefix", group.name),
                index,
            });
        }
    }
    let owned = || {
        let numbered = groups.iter().enumerate();
        numbered.flat_map(|(index, group)| group.parameters.iter().map(move |prefix| (index, prefix)))
    };
    for (group, prefix) in owned() {
        let shared = owned().find(|(other, longer)| *other != group && names_parameter(prefix, longer));
        if let Some((other, other_prefix)) = shared {
            return Err(RouteTableError::SharedParameters {
                prefix: prefix.clone(),
                group: groups[group].name.clone(),
                other_prefix: other_prefix.clone(),
                other: groups[other].name.clone(),
            });
        }
    }
    Ok(())
}

pub(super) fn classes(classes: &[Class], groups: &[Group]) -> Result<(), RouteTableError> {
    if classes.is_empty() {
        return Err(RouteTableError::NoClass);
    }
    names("class", classes.iter().map(|class| class.name.as_str()))?;
    classes.iter().try_for_each(|class| self::class(class, groups))
}

fn class(class: &Class, groups: &[Group]) -> Result<(), RouteTableError> {
    let name = || class.name.clone();
    for (row, weights) in [("forward", &class.forward), ("gradient", &class.gradient)] {
        if weights.len() != groups.len() {
            let (found, groups) = (weights.len(), groups.len());
            return Err(RouteTableError::RowLength { class: name(), row, found, groups });
        }
        if let Some((weight, group)) = weights.iter().zip(groups).find(|(weight, _)| !weight.is_finite()) {
            let what = format!("{row} weight of group `{}`", group.name);
            return Err(RouteTableError::NotFinite { class: name(), what, value: *weight });
        }
    }
    let loss_weight = class.loss_weight;
    if !loss_weight.is_finite() {
        let what = "loss weight".to_owned();
        return Err(RouteTableError::NotFinite { class: name(), what, value: loss_weight });
    }
    let trains = |group| class.trains(group);
    if loss_weight != 0.0 && !groups.is_empty() && !(0..groups.len()).any(trains) {
        return Err(RouteTableError::TrainsNothing { class: name(), loss_weight });
    }
    Ok(())
}

pub(super) fn profiles(profiles: &[Profile], groups: &[Group]) -> Result<(), RouteTableError> {
    names("profile", profiles.iter().map(|profile| profile.name.as_str()))?;
    for profile in profiles {
        for (position, &index) in profile.keep.iter().enumerate() {
            let Some(group) = groups.get(index) else {
                let (profile, groups) = (profile.name.clone(), groups.len());
                return Err(RouteTableError::NoSuchGroup { profile, index, groups });
            };
            if profile.keep[..position].contains(&index) {
                let (profile, group) = (profile.name.clone(), group.name.clone());
                return Err(RouteTableError::GroupTwice { profile, group });
            }
        }
    }
    Ok(())
}

/// Refuses names that are empty or there twice.
fn names<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), RouteTableError> {
    let mut seen: Vec<&str> = Vec::new();
    for (index, name) in names.enumerate() {
        if name.is_empty() {
            return Err(RouteTableError::EmptyName { what: what.to_owned(), index });
        }
        if seen.contains(&name) {
            return Err(RouteTableError::DuplicateName { what, name: name.to_owned() });
        }
        seen.push(name);
    }
    Ok(())
}
