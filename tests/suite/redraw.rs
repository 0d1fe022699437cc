//! Pages that are made of result files, and what is said where they are not.
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use experiment::signed_decimals;

use crate::workspace::{Ended, Tree, Workspace};

const CONFIG: &str = "
[sweep]
methods = [\"routing\", \"naive\"]
oversight_probs = [0.1, 0.5]
seeds = [4, 5]
threshold = 0.01
[env]
num_envs = 4
[train]
updates = 6
num_steps = 8
[ppo]
update_epochs = 1
num_minibatches = 1
[eval]
every = 2
num_envs = 2
";

const BLOCKS: &str = "
[cells]
program = \"ppo-routed\"
files = [\"a.jsonl\", \"b.jsonl\"]
table = \"cells\"
config = \"small.toml\"

[differences]
program = \"ppo-routed\"
files = [\"a.jsonl\", \"b.jsonl\"]
table = \"differences\"

[returns]
program = \"ppo-routed\"
files = [\"a.jsonl\", \"b.jsonl\"]
figure = \"return_vs_oversight\"
alt = \"Return against oversight\"

[seeds]
program = \"ppo-routed\"
files = [\"a.jsonl\"]
where = { \"train.method\" = \"routing\", \"env.oversight_prob\" = [0.5], seed = 5 }
table = \"seeds\"

[number]
program = \"ppo-routed\"
files = [\"a.jsonl\"]
where = { \"train.method\" = \"routing\", \"env.oversight_prob\" = 0.5 }
value = \"diamond\"

[later]
program = \"ppo-routed\"
files = [\"not_here_yet.jsonl\"]
table = \"cells\"
";

const PAGE: &str = "# Words\n<!-- results: cells -->\n<!-- end -->\nmore\n<!-- results: differences -->\nold\n\
    <!-- end -->\n<!-- results: seeds -->\n<!-- end -->\nin words <!-- results: number -->9<!-- end -->.\n";

/// A sweep with what was gathered of it, its results in two files that overlap, and pages that were redrawn.
static REDRAWN: LazyLock<Tree> = LazyLock::new(|| {
    let ws = Workspace::new();
    ws.write("small.toml", CONFIG);
    ws.done("sweep --config small.toml --out swept --jobs 2");
    ws.done("sweep export swept all.jsonl");
    let all = ws.read("all.jsonl");
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 8);
    for folder in ["root", "root/docs", "root/docs/results"] {
        std::fs::create_dir(ws.path(folder)).unwrap();
    }
    ws.write("root/small.toml", CONFIG);
    ws.write("root/docs/results/a.jsonl", lines[..7].join("\n"));
    ws.write("root/docs/results/b.jsonl", lines[5..].join("\n"));
    ws.write("root/docs/results/blocks.toml", BLOCKS);
    ws.write("root/docs/page.md", PAGE);
    ws.write("root/README.md", "<!-- results: returns -->\n<!-- end -->\n");
    assert_eq!(redraw(&ws, "--check").code, Some(1));
    let ended = redraw(&ws, "");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let changed: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(changed, ["root/docs/images/returns.png", "root/README.md", "root/docs/page.md"]);
    ws.tree("")
});

fn redraw(ws: &Workspace, arguments: &str) -> Ended {
    ws.run_other(assert_cmd::cargo::cargo_bin!("redraw-under-test"), &format!("--root root {arguments}"))
}

fn redrawn() -> Workspace {
    let ws = Workspace::new();
    ws.lay("", &REDRAWN);
    ws
}

#[test]
fn pages_show_what_the_sweep_itself_gathers() {
    let ws = redrawn();
    let (page, table) = (ws.read("root/docs/page.md"), ws.read("swept/table.md"));
    let block = |name: &str| {
        let (_, rest) = page.split_once(&format!("<!-- results: {name} -->\n\n")).unwrap();
        rest.split_once("\n<!-- end -->").unwrap().0.to_owned()
    };
    let (cells, differences) = (block("cells"), block("differences"));
    assert_eq!(cells.lines().count(), 6, "{cells}");
    assert!(table.contains(&cells) && table.contains(&differences), "{table}\n{page}");
    assert!(page.starts_with("# Words\n<!--") && page.contains("<!-- end -->\nmore\n<!--"), "{page}");
    assert!(!page.contains("old"), "{page}");
    // the chosen run alone
    let seeds = block("seeds");
    let summary = ws.tree("swept/routing-p0.5-seed5");
    let policies = crate::files::object(&summary, "summary.json")["policies"].clone();
    let shown = |name: &str| format!("{:.3}", policies[name]["final"].as_f64().unwrap()).replace('-', "−");
    let wanted =
        format!("| routing | 50% | 5 | {} | {} | {} |", shown("diamond"), shown("ghost"), shown("full"));
    assert_eq!(seeds.lines().skip(2).collect::<Vec<_>>(), [wanted.as_str()]);
    // two seeds, as the sweep's own table has them
    let number = page.split_once("in words <!-- results: number -->").unwrap().1;
    let number = number.split_once("<!-- end -->.\n").unwrap().0;
    let line = table.lines().find(|line| line.starts_with("| routing | 50% | 2 | ")).unwrap();
    assert_eq!(line.split(" | ").nth(3), Some(number));
    let picture = |name: &str| REDRAWN[Path::new(name)].clone();
    assert!(picture("root/docs/images/returns.png") == picture("swept/plots/return_vs_oversight.png"));
    let readme =
        "<!-- results: returns -->\n\n![Return against oversight](docs/images/returns.png)\n\n<!-- end -->\n";
    assert_eq!(ws.read("root/README.md"), readme);
}

#[test]
fn results_alone_give_the_files_that_the_sweep_gives() {
    let ws = redrawn();
    let set = "--set sweep.threshold=0.01";
    ws.done(&format!("sweep collect root/docs/results/a.jsonl root/docs/results/b.jsonl --out alone {set}"));
    for (path, bytes) in ws.tree("alone") {
        assert!(REDRAWN[&Path::new("swept").join(&path)] == bytes, "{}", path.display());
    }
    assert!(ws.tree("alone").len() > 8);
}

#[test]
fn what_others_published_stands_beside_the_curves_of_its_level() {
    let ws = redrawn();
    let published = "[{label=\"others\",method=\"naive\",oversight_prob=0.1,points=[[64,0.2]]}]";
    let set = format!("--set sweep.threshold=0.01 --set sweep.published={published}");
    ws.done(&format!("sweep collect root/docs/results/a.jsonl root/docs/results/b.jsonl --out beside {set}"));
    let changed = ws
        .tree("beside")
        .into_iter()
        .filter(|(path, bytes)| REDRAWN[&Path::new("swept").join(path)] != *bytes);
    let changed: Vec<_> = changed.map(|(path, _)| path).collect();
    assert_eq!(changed, [Path::new("plots/learning_curves_p0.1.png")]);
}

#[test]
fn redrawing_again_changes_nothing() {
    let ws = redrawn();
    let checked = redraw(&ws, "--check");
    assert_eq!(
        (checked.code, checked.stdout.as_str()),
        (Some(0), "5 blocks are what their result files say\n")
    );
    assert_eq!(redraw(&ws, "").stdout, "");
    assert!(ws.tree("") == *REDRAWN);
}

/// What `--check` says on stderr after a change, which it leaves as it is.
fn found_after(change: impl FnOnce(&Workspace)) -> String {
    let ws = redrawn();
    change(&ws);
    let before = ws.tree("");
    let ended = redraw(&ws, "--check");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ws.tree("") == before, "a check has changed something");
    ended.stderr
}

#[test]
fn a_changed_number_or_picture_is_found_and_mended() {
    let (page, image) = ("root/docs/page.md", "root/docs/images/returns.png");
    let other_number = |ws: &Workspace| {
        let text = ws.read(page);
        let changed = text.replacen("| 2 | 0.", "| 2 | 1.", 1).replacen("| 2 | −0.", "| 2 | −1.", 1);
        assert!(changed != text, "{text}");
        ws.write(page, changed);
    };
    let said = found_after(other_number);
    let wanted = "error: not what the result files say: block cells of docs/page.md\nhint: `redraw` writes them anew\n";
    assert_eq!(said, wanted);
    let other_picture = |ws: &Workspace| {
        let mut bytes = std::fs::read(ws.path(image)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        ws.write(image, bytes);
    };
    let wanted = "error: not what the result files say: docs/images/returns.png\n";
    assert!(found_after(other_picture).starts_with(wanted));
    assert!(found_after(|ws| std::fs::remove_file(ws.path(image)).unwrap()).starts_with(wanted));
    let ws = redrawn();
    other_number(&ws);
    other_picture(&ws);
    assert_eq!(redraw(&ws, "").code, Some(0));
    assert!(ws.tree("") == *REDRAWN);
}

#[test]
fn a_page_cannot_say_what_no_file_holds() {
    let append =
        |name: &'static str, text: &'static str| move |ws: &Workspace| ws.write(name, ws.read(name) + text);
    for (name, text, wanted) in [
        (
            "root/docs/page.md",
            "<!-- results: later -->\n<!-- end -->\n",
            "error: block later of docs/page.md: cannot read root/docs/results/not_here_yet.jsonl: ",
        ),
        (
            "root/docs/page.md",
            "<!-- results: nowhere -->\n<!-- end -->\n",
            "error: block nowhere of docs/page.md: docs/results/blocks.toml has no such block\n",
        ),
        (
            "root/README.md",
            "<!-- results: cells -->\n",
            "error: README.md line 6: the block cells has no `<!-- end -->`\n",
        ),
        (
            "root/docs/results/blocks.toml",
            "[bad]\nprogram = \"ppo-routed\"\nfiles = [\"a.jsonl\"]\ntable = \"sells\"\n",
            "error: root/docs/results/blocks.toml: block bad: no table is called `sells`; there are cells, ",
        ),
        (
            "root/docs/results/blocks.toml",
            "[bad]\nprogram = \"ppo-routed\"\nfiles = [\"a.jsonl\"]\ntable = \"cells\"\nconfig = \"../a.toml\"\n",
            "error: root/docs/results/blocks.toml: block bad: ../a.toml is not below the root\n",
        ),
    ] {
        let said = found_after(append(name, text));
        assert!(said.starts_with(wanted), "{said}");
    }
    // numbers that contradict each other
    let said = found_after(|ws| {
        let line = ws.read("root/docs/results/b.jsonl").lines().last().unwrap().to_owned();
        ws.write("root/docs/results/a.jsonl", line.replacen("\"best\":", "\"best\":1", 1));
    });
    let wanted = "naive-p0.5-seed5 has other numbers than there are already: summary.policies.full.best\n";
    assert!(said.starts_with("error: block returns of README.md: ") && said.contains(wanted), "{said}");
}

#[test]
fn the_pages_of_this_repository_say_what_their_files_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    redraw::check(root).unwrap_or_else(|error| panic!("{error:#}"));
}

/// A workspace's results, exported from `folder`, in a page with these blocks; returns the page and the pictures.
fn page_of(ws: &Workspace, program: &str, folder: &str, blocks: &[(&str, &str)]) -> (String, Tree) {
    for folder in ["root", "root/docs", "root/docs/results"] {
        std::fs::create_dir(ws.path(folder)).unwrap();
    }
    ws.done(&format!("sweep export {folder} root/docs/results/all.jsonl"));
    let (mut registry, mut page) = (String::new(), String::new());
    for (name, shows) in blocks {
        let files = "files = [\"all.jsonl\"]\nalt = \"words\"";
        writeln!(registry, "[{name}]\nprogram = \"{program}\"\n{files}\n{shows}").unwrap();
        writeln!(page, "<!-- results: {name} --><!-- end -->").unwrap();
    }
    ws.write("root/docs/results/blocks.toml", registry);
    ws.write("root/docs/page.md", page);
    let ended = redraw(ws, "");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(redraw(ws, "--check").code, Some(0));
    (ws.read("root/docs/page.md"), ws.tree("root/docs/images"))
}

/// The cells of the lines of a table in a page, without its head.
fn cells(page: &str, block: &str) -> Vec<Vec<String>> {
    let (_, rest) = page.split_once(&format!("<!-- results: {block} -->\n\n")).unwrap();
    let lines = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn settings_of_mnist_stand_in_a_page() {
    let ws = Workspace::for_mnist();
    let small = "--threads 1 --quiet --set data.dataset=sample --set model.hidden=[16,8] --set model.latent=8 \
        --set train.epochs=2 --set train.batch_size=50";
    ws.done(&format!("table --settings 1,10 --seeds 2 --out table {small}"));
    let blocks = [
        ("rows", "table = \"settings\""),
        ("picture", "figure = \"settings\""),
        ("own", "where = { \"train.setting\" = \"plain\" }\nvalue = \"own\""),
    ];
    let (page, images) = page_of(&ws, "mnist-routed", "table", &blocks);
    let tree = ws.tree("table");
    assert!(images[Path::new("picture.png")] == tree[Path::new("table.png")]);
    let csv: Vec<&str> = crate::files::text(&tree, "table.csv").lines().skip(1).collect();
    let rows = cells(&page, "rows");
    assert_eq!(rows.len(), 2);
    for (row, csv) in rows.iter().zip(&csv) {
        let csv: Vec<&str> = csv.split(',').collect();
        let number = |cell: &str| cell.split(" ± ").next().unwrap().parse::<f64>().unwrap();
        assert_eq!((row[0].as_str(), row[2].as_str()), (csv[0], csv[2]));
        for (shown, exact) in [(&row[3], csv[3]), (&row[4], csv[5])] {
            assert!((number(shown) - exact.parse::<f64>().unwrap()).abs() <= 5e-4, "{row:?} {csv:?}");
        }
    }
    assert!(page.contains(&format!("<!-- results: own -->{}<!-- end -->", rows[1][4])), "{page}");
    // table and picture from the file alone
    ws.done("sweep collect root/docs/results/all.jsonl --out alone");
    for (path, bytes) in ws.tree("alone") {
        assert!(tree[&path] == bytes, "{}", path.display());
    }
}

#[test]
fn methods_of_a_language_model_stand_in_a_page() {
    let ws = crate::language::ws();
    ws.done("era --seed 3 --out run --set experiment.methods=[\"base\",\"era\"]");
    let blocks = [
        ("stages", "table = \"stages\""),
        ("methods", "table = \"methods\""),
        ("losses", "figure = \"losses\""),
        ("relearning", "figure = \"relearning\""),
        ("relearned", "figure = \"relearned\""),
    ];
    let (page, images) = page_of(&ws, "lm-routed", "run", &blocks);
    // of a single run they are the pictures that it drew itself
    for name in ["losses", "relearning", "relearned"] {
        let path = format!("run/plots/{name}.png");
        assert!(
            images[Path::new(&format!("{name}.png"))] == std::fs::read(ws.path(&path)).unwrap(),
            "{name}"
        );
    }
    let summary = crate::files::object(&ws.tree("run"), "summary.json");
    let loss = |part: usize, stage: &str, kind: &str| summary["parts"][part][stage][kind].as_f64().unwrap();
    let cell = |stage: &str, kind: &str| {
        let above = signed_decimals(loss(1, stage, kind) - loss(0, stage, kind), 3).replace('-', "−");
        format!("{:.3} ({above})", loss(1, stage, kind))
    };
    let rows = cells(&page, "stages");
    assert_eq!(rows.len(), 5, "{page}");
    for (row, stage) in rows.iter().zip(["trained", "ablated", "coherent"]) {
        let base = |kind: &str| format!("{:.3}", loss(0, stage, kind));
        let wanted =
            [stage.to_owned(), base("forget"), base("retain"), cell(stage, "forget"), cell(stage, "retain")];
        assert_eq!(*row, wanted);
    }
    let methods = cells(&page, "methods");
    assert_eq!((methods.len(), methods[1][1].as_str()), (2, "1"));
    assert_eq!(methods[1][2], cell("coherent", "forget"));
}
