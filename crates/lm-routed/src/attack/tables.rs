//! The numbers of an attack as tables, a row a model.

use super::{ANCHOR, Measure};
use crate::methods::Method;
use crate::report::Table;

/// What a table is about, and which numbers it shows.
type Kind = (&'static str, fn(&str) -> bool);

const KINDS: [Kind; 3] = [
    ("What each model knows", |name| !is_lesson(name) && !is_look(name)),
    ("Taught back", is_lesson),
    ("Looked for without teaching the concept", is_look),
];

/// What pages call them.
const NAMES: [&str; 3] = ["attack", "attack_taught", "attack_found"];

fn is_lesson(name: &str) -> bool {
    name.starts_with("relearned ") || name.starts_with("LoRA ")
}

fn is_look(name: &str) -> bool {
    ["from ", "probe "].iter().any(|start| name.starts_with(start))
        || [" bits", " pruned"].iter().any(|end| name.ends_with(end))
}

/// Every number on a line of its own.
pub(super) fn long(measures: &[Measure]) -> Table {
    let mut table = Table::new(&["model", "measure", "value", "anchor", "standard_error"]);
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    table.rows.extend(measures.iter().map(|measure| {
        let Measure { what, value, anchor, standard_error, .. } = measure.clone();
        vec![measure.row(), what, value.to_string(), number(anchor), number(standard_error)]
    }));
    table
}

/// The table of a name that pages have for it; nothing where there is none.
pub(crate) fn named(measures: &[Measure], name: &str) -> Option<Table> {
    let kind = KINDS.iter().zip(NAMES).find(|(_, other)| *other == name)?;
    Some(wide(measures, kind.0.1))
}

/// A table of each kind that has a number.
pub(super) fn all(measures: &[Measure]) -> Vec<(&'static str, Table)> {
    let tables = KINDS.iter().map(|(heading, shows)| (*heading, wide(measures, shows)));
    tables.filter(|(_, table)| table.head.len() > 1).collect()
}

/// The numbers for which `shows` says so, a row a model and a column a number.
fn wide(measures: &[Measure], shows: impl Fn(&str) -> bool) -> Table {
    let mut columns: Vec<&str> = Vec::new();
    let mut rows: Vec<(&Measure, String)> = Vec::new();
    for measure in measures {
        if shows(&measure.what) && !columns.contains(&measure.what.as_str()) {
            columns.push(&measure.what);
        }
        let row = measure.row();
        if rows.iter().all(|(_, other)| *other != row) {
            rows.push((measure, row));
        }
    }
    // concepts stay in their order
    let concepts: Vec<Option<&str>> = rows.iter().map(|(first, _)| first.concept.as_deref()).collect();
    rows.sort_by_key(|(first, _)| {
        (concepts.iter().position(|one| *one == first.concept.as_deref()), place(&first.model))
    });
    let mut table = Table::new(&["model"]);
    table.head.extend(columns.iter().map(|name| (*name).to_owned()));
    for (first, row) in rows {
        let of_concept = measures.iter().filter(|one| one.concept == first.concept);
        let find =
            |model: &str, name: &str| of_concept.clone().find(|one| one.model == model && one.what == name);
        let cell = |name: &&str| match find(&first.model, name) {
            Some(measure) => shown(measure),
            // the anchor comes down there, and this model does not
            None if name.contains(" steps") && find(ANCHOR, name).is_some() => "never".to_owned(),
            None => "-".to_owned(),
        };
        table.rows.push(std::iter::once(row).chain(columns.iter().map(cell)).collect());
    }
    table
}

/// The place of a model: that of its method, then fewer labels after more.
fn place(model: &str) -> (usize, std::cmp::Reverse<u64>) {
    let (files, share) = model.split_once("-p").unwrap_or((model, "100"));
    let method = Method::all().position(|method| method.files == files).unwrap_or(usize::MAX);
    let share = share.parse::<f64>().unwrap_or(0.0);
    (method, std::cmp::Reverse((share * 1e4) as u64))
}

fn shown(measure: &Measure) -> String {
    let Measure { model, what: name, value, anchor, standard_error, .. } = measure;
    if name.ends_with(" times the steps") {
        return format!("{value:.1}");
    }
    if name.ends_with(" steps") {
        return format!("{value:.0}");
    }
    if name.starts_with("compute ratio") {
        return format!("{value:.2}");
    }
    let error = standard_error.map(|error| format!(" ± {error:.3}")).unwrap_or_default();
    if name.ends_with("leakage") || name.ends_with("cost") {
        return format!("{}{error}", experiment::signed_decimals(*value, 3)).replace('-', "−");
    }
    let above =
        anchor.filter(|_| model != ANCHOR).map(|anchor| experiment::signed_decimals(value - anchor, 3));
    let above = above.map(|above| format!(" ({above})").replace('-', "−")).unwrap_or_default();
    format!("{value:.3}{error}{above}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(model: &str, name: &str, value: f64, anchor: Option<f64>) -> Measure {
        let (model, what) = (model.to_owned(), name.to_owned());
        Measure { concept: None, model, what, value, anchor, standard_error: None }
    }

    #[test]
    fn each_concept_has_its_own_anchor() {
        let of = |concept: &str, one: Measure| Measure { concept: Some(concept.to_owned()), ..one };
        let measures = [
            of("sea", measure("gram", "forget", 2.3, Some(2.4))),
            of("sea", measure("pure", "relearned 4 steps", 8.0, Some(8.0))),
            of("birds", measure("gram", "forget", 2.5, Some(2.6))),
        ];
        let [(_, knows), (_, taught)] = &all(&measures)[..] else { panic!("two tables") };
        assert_eq!(
            knows.text(),
            "model                forget\nsea: pure                 -\nsea: gram    2.300 (−0.100)\n\
             birds: gram  2.500 (−0.100)\n"
        );
        // the birds have no anchor that comes down, so that nobody can say never
        assert_eq!(
            taught.text(),
            "model        relearned 4 steps\nsea: pure                    8\nsea: gram                never\n\
             birds: gram                  -\n"
        );
    }

    #[test]
    fn a_number_stands_beside_that_of_the_anchor() {
        let measures = [
            measure("era-p50", "forget", 2.1, Some(2.4)),
            measure("era", "forget", 2.3, Some(2.4)),
            measure("pure", "forget", 2.4, Some(2.4)),
            Measure { standard_error: Some(0.02), ..measure("era", "leakage", -0.1, None) },
            measure("pure", "relearned 4 steps", 8.0, Some(8.0)),
            measure("era", "probe 1", 0.75, None),
        ];
        let tables = all(&measures);
        let texts: Vec<String> = tables.iter().map(|(_, table)| table.text()).collect();
        assert_eq!(
            texts[0],
            "model            forget         leakage\npure              2.400               -\n\
             era      2.300 (−0.100)  −0.100 ± 0.020\nera-p50  2.100 (−0.300)               -\n"
        );
        assert_eq!(
            texts[1],
            "model    relearned 4 steps\npure                     8\nera                  never\nera-p50              never\n"
        );
        assert_eq!(texts[2].lines().nth(2), Some("era        0.750"));
        let csv = long(&measures).csv();
        assert!(csv.contains("era,leakage,-0.1,,0.02\n"), "{csv}");
    }
}
