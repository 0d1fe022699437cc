//! `report` and `compare`: a page that stands alone, and runs side by side.
use std::path::Path;
use std::process::Command;

use crate::outputs::png_size;
use crate::workspace::{FINISHED, Workspace};

/// Elements that have no end.
const VOID: [&str; 5] = ["meta", "link", "img", "br", "hr"];

/// Refuses HTML whose elements are not closed in their order, and returns the text between them.
fn parse(html: &str) -> String {
    let (mut open, mut text) = (Vec::new(), String::new());
    let mut rest = html.strip_prefix("<!doctype html>").unwrap();
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
        assert!(
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
            "<{tag}>"
        );
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.to_owned()), "</{tag}>");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name.to_owned());
            if name == "script" || name == "style" {
                // what is in them is no markup
                rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
            }
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    text
}

/// That a page needs nothing but itself.
fn assert_alone(html: &str) {
    assert!(html.contains("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';"));
    for outside in ["src=\"http", "href=\"http", "src=\"/", "url(", "@import", "fetch(", "XMLHttp", "<iframe"]
    {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn the_report_of_a_run_is_one_file_with_everything_in_it() {
    let ws = Workspace::new();
    ws.lay("a<i>&run", &FINISHED);
    assert_eq!(ws.done("report a<i>&run"), "a<i>&run/report.html\n");
    let html = ws.read("a<i>&run/report.html");
    assert_alone(&html);
    let text = parse(&html);
    assert!(html.contains("<h1>a&lt;i&gt;&amp;run</h1>") && !text.contains("<i>"));
    let summary: serde_json::Value = serde_json::from_str(&ws.read("a<i>&run/summary.json")).unwrap();
    let score = summary["policies"]["diamond"]["final"].as_f64().unwrap();
    assert!(text.contains(&experiment::decimals(score, 3)), "{score}");
    for part in
        ["eval&#x2f;…&#x2f;return", "losses&#x2f;entropy", "env.oversight_prob", "ppo-routed train --config"]
    {
        assert!(text.contains(part), "{part}");
    }
    for part in [
        "data:image/png;base64,iVBOR",
        "data:image/gif;base64,R0lGOD",
        "prefers-color-scheme: dark",
        "@media print",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // the same runs give the same page
    assert_eq!(ws.done("report a<i>&run --out again.html"), "again.html\n");
    assert!(ws.read("again.html") == html);
}

#[test]
fn the_report_of_many_runs_says_what_differs_and_stays_small() {
    let ws = Workspace::new();
    let mut run = FINISHED.clone();
    run.retain(|path, _| path.parent() == Some(Path::new("")) && path.extension().is_some());
    run.remove(Path::new("snapshots.jsonl"));
    for method in ["routing", "no_routing", "no_gate", "leaky_routing"] {
        for (level, p) in [0.001, 0.003, 0.01, 0.03, 0.1, 0.3].into_iter().enumerate() {
            for seed in 0..6 {
                let mut run = run.clone();
                let mut change = |file: &str, from: &str, to: &str| {
                    let bytes = run.get_mut(Path::new(file)).unwrap();
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    assert!(text.contains(from), "{from} in {file}");
                    *bytes = text.replace(from, to).into_bytes();
                };
                change("config.toml", "oversight_prob = 0.1\n", &format!("oversight_prob = {p}\n"));
                change("config.toml", "method = \"routing\"", &format!("method = \"{method}\""));
                change("manifest.json", "\"seed\": 7", &format!("\"seed\": {seed}"));
                ws.lay(&format!("sweep/{method}-{level}-{seed}"), &run);
            }
        }
    }
    assert_eq!(ws.done("report sweep --out page.html"), "page.html\n");
    let html = ws.read("page.html");
    assert_alone(&html);
    let text = parse(&html);
    for part in ["144 runs: 144 done", "24 settings, told apart by ", "score against env.oversight_prob"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(html.len() < 5 << 20, "{} bytes", html.len());
    assert_eq!(html.matches("<tr>").count(), 2 + 24 + 144 + html.matches("<tr><td><code>").count());
    in_a_browser(&ws, "page.html");
}

/// What a reader does: points at the middle of the first chart and sorts the first table by its second column. The title
/// says how wide the page has become.
const READER: &str = r##"<script>
const chart = document.querySelector(".chart > svg"), box = chart.getBoundingClientRect();
const [clientX, clientY] = [box.left + box.width / 2, box.top + box.height / 2];
chart.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY }));
document.querySelector("#results th:nth-child(2) button").click();
document.title = `${document.documentElement.scrollWidth} wide`;
</script></body>"##;

/// Opens a page at a phone's width where there is a Chromium, which must have nothing to complain of.
fn in_a_browser(ws: &Workspace, page: &str) {
    ws.write("read.html", ws.read(page).replace("</body>", READER));
    let open = |file: &str, what: &str| {
        let mut browser = Command::new("chromium");
        browser.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
        ]);
        browser.args(["--window-size=500,900", what]);
        browser.arg(format!("--user-data-dir={}", ws.path("browser").display()));
        browser.arg(format!("file://{}", ws.path(file).display())).output()
    };
    let Ok(read) = open("read.html", "--dump-dom") else {
        experiment::say("not looked at: there is no chromium");
        return;
    };
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(!said.contains(":CONSOLE"), "{said}");
    let html = String::from_utf8(read.stdout).unwrap();
    let after = |start: &str| &html[html.find(start).unwrap_or_else(|| panic!("no {start}")) + start.len()..];
    assert!(after("<title>").starts_with("500 wide"), "{}", &after("<title>")[..20]);
    assert!(html.contains("<th scope=\"col\" aria-sort=\"ascending\">"));
    assert!(after("<div id=\"tip\"").contains("<div class=\"c0\">"), "nothing to read at a chart");
    let picture = format!("--screenshot={}", ws.path("page.png").display());
    open(page, &picture).unwrap();
    assert_eq!(png_size(&std::fs::read(ws.path("page.png")).unwrap()), (500, 900));
}

#[test]
fn what_no_report_can_be_made_of_is_refused_in_a_line() {
    let ws = Workspace::with_finished_run();
    std::fs::create_dir(ws.path("empty")).unwrap();
    let mnist = Workspace::for_mnist();
    mnist.lay("run", &FINISHED);
    for (ws, line, stderr) in [
        (&ws, "report nowhere", "error: nowhere is not a run folder: there is no such folder\nhint: "),
        (&ws, "report empty", "error: empty is not a run folder: it has no config.toml\nhint: "),
        (
            &ws,
            "report run run",
            "error: the report of several folders needs a name\nhint: name it with --out FILE.html\n",
        ),
        (&ws, "report run --out empty", "error: empty is a folder\nhint: "),
        (&ws, "report run --seed 1", "error: `report` does not take --seed\nhint: "),
        (
            &ws,
            "compare run",
            "error: there is nothing to compare: the runs differ in their seeds alone\nhint: ",
        ),
        (
            &mnist,
            "report run",
            "error: run holds a run of ppo-routed, not of mnist-routed\nhint: give it to ppo-routed\n",
        ),
    ] {
        let ended = ws.run(line);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{line}");
        assert!(ended.stderr.starts_with(stderr), "{line}: {}", ended.stderr);
    }
    assert!(!ws.path("run/report.html").exists() && !ws.path("compare").exists());
}

#[test]
fn runs_of_different_methods_stand_side_by_side() {
    let ws = Workspace::with_finished_run();
    ws.done("--set train.updates=4 --set checkpoint.keep=1 --set train.method=naive --out other --seed 7");
    let said = ws.done("compare run other --out side");
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["routing", "naive"]);
    let score = |run: &str, policy: &str| {
        let summary: serde_json::Value =
            serde_json::from_str(&ws.read(&format!("{run}/summary.json"))).unwrap();
        experiment::decimals(summary["policies"][policy]["final"].as_f64().unwrap(), 3)
    };
    let row = rows.iter().find(|row| row[0] == "score").unwrap();
    assert_eq!(row[1..], [score("run", "diamond"), score("other", "full")]);
    assert!(said.ends_with("side/compare.png\nside/compare.md\n"), "{said}");
    png_size(&ws.tree("side")[Path::new("compare.png")]);
    assert!(ws.read("side/compare.md").contains("|  | routing | naive |\n"));
}

#[test]
fn the_other_programs_report_and_compare_too() {
    let mnist = Workspace::for_mnist();
    let lm = crate::language::ws();
    mnist.done("--out a");
    mnist.done("--out b --set train.setting=plain");
    lm.done("--out a --set experiment.methods=[\"base\",\"era\"]");
    lm.done("--out b --set experiment.methods=[\"base\",\"era\"] --set train.steps=10");
    for (ws, measure, again) in [
        (&mnist, "factor", "mnist-routed train --config"),
        (&lm, "era coherent, forget", "lm-routed era --config"),
    ] {
        ws.done("report a b --out both.html");
        let html = ws.read("both.html");
        assert_alone(&html);
        let text = parse(&html);
        assert!(text.contains(measure) && text.contains(again), "{measure}");
        assert!(html.contains("data:image/png;base64,"));
        let said = ws.done("compare a b");
        assert!(
            said.contains(measure) && said.ends_with("compare/compare.png\ncompare/compare.md\n"),
            "{said}"
        );
        let list = ws.done("list .");
        assert!(list.contains(measure), "{list}");
    }
}
