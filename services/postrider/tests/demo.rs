//! The demonstration works, shows what it says it shows, and leaves nothing behind.

use std::process::Command;

#[test]
fn every_step_of_the_demonstration_works_and_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(["demo", "--once"])
        .env("TMPDIR", folder.path())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}\n{shown}");
    // In this order: each dialogue by what only it says.
    let steps = [
        "C: AUTH ",
        "S: 250 2.1.0 alice@crepes.fr ... Sender ok",
        "C: How about pickles?",
        "C: QUIT",
        "C: EHLO crepes.fr",
        "C: DATA",
        "C: Received: from ",
        "C: .",
        "C: USER bob",
        "C: RETR 1",
        "S: How about pickles?",
        "C: a1 LOGIN",
        "S: * 1 EXISTS",
        "S: How about pickles?",
        "as crepes.fr recorded it",
        "delivered to bob@hamburger.edu",
        "as hamburger.edu recorded it",
        "INBOX, UID 1",
        "Every step worked",
    ];
    let mut rest = &*shown;
    for step in steps {
        let at = rest.find(step);
        assert!(at.is_some(), "`{step}` is missing or too early in\n{shown}");
        rest = rest.split_at(at.unwrap_or_default()).1.split_at(step.len()).1;
    }
    let left: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
