//! The page and the text of a report, made of a realistic sample.

mod sample;

use std::path::Path;

use postrider_loadtest::report::data::Report;
use postrider_loadtest::report::page::Page;
use postrider_loadtest::report::text::Text;

/// The pages stay where a person can open them: `target/tmp/report-*.html`.
fn keep(name: &str, content: &str) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(path, content).expect("the target directory is writable");
}

#[test]
fn a_run_of_ten_minutes_makes_a_small_page_that_needs_nothing_else() {
    let report = sample::report(false);
    let page = Page(&report).to_string();
    keep("report-kept.html", &page);
    keep(
        "report-kept.json",
        &serde_json::to_string(&report).expect("it serialises"),
    );
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    for foreign in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("Every promise was kept."));
    assert!(page.contains("<b>96,401</b> promised"));
    assert!(
        page.contains("Postrider 0.1.0 &lt;embedded&gt;"),
        "names are escaped"
    );
    for absent in ["NaN", "inf\"", "inf "] {
        assert!(!page.contains(absent), "{absent}");
    }
}

#[test]
fn every_embedded_json_is_json() {
    let page = Page(&sample::report(false)).to_string();
    let embedded: Vec<&str> = page
        .split("<script type=\"application/json\">")
        .skip(1)
        .filter_map(|rest| rest.split("</script>").next())
        .collect();
    assert_eq!(embedded.len(), page.matches("<figure").count());
    assert!(embedded.len() > 30, "{}", embedded.len());
    for json in embedded {
        serde_json::from_str::<serde_json::Value>(json).expect("JSON");
    }
}

#[test]
fn a_loss_is_what_one_sees_first() {
    let mut report = sample::report(true);
    if let Some(verdict) = &mut report.ledger {
        verdict.lost.examples[0] = "<img src=x onerror=alert(1)>".into();
    }
    let page = Page(&report).to_string();
    keep("report-broken.html", &page);
    let verdict = page
        .find("Promises were broken: 1,003 lost.")
        .expect("the verdict");
    assert!(verdict < page.find("<figure").expect("plots"));
    assert!(page.contains("section class=\"verdict broken\""));
    assert!(page.contains("&lt;img src=x"));
    assert!(!page.contains("<img"));
}

#[test]
fn a_report_of_nothing_is_still_a_page_and_a_text() {
    let full = sample::report(false);
    let empty = Report {
        operations: Default::default(),
        processes: Vec::new(),
        gauges: Default::default(),
        marks: Vec::new(),
        ledger: None,
        knee: None,
        environment: Default::default(),
        ..full
    };
    let page = Page(&empty).to_string();
    keep("report-empty.html", &page);
    assert!(page.contains("this run says nothing about loss"));
    assert!(
        Text(&empty)
            .to_string()
            .contains("this run says nothing about loss")
    );
}

#[test]
fn a_terminal_sees_the_verdict_last_and_no_line_is_wide() {
    let kept = Text(&sample::report(false)).to_string();
    assert!(kept.ends_with("OK: Every promise was kept.\n"), "{kept}");
    let broken = Text(&sample::report(true)).to_string();
    assert!(
        broken.ends_with("FAILED: Promises were broken: 1,003 lost.\n"),
        "{broken}"
    );
    assert!(broken.contains("and 998 more, see the report"));
    for line in kept.lines().chain(broken.lines()) {
        assert!(line.chars().count() <= 110, "{line}");
    }
    println!("{broken}");
}
