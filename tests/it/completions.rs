//! Shells complete commands, options and the names of hooks.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::write_hook;

fn script(shell: &str) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_postrider")).args(["completions", shell]).output();
    let run = run.expect("the program runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("text")
}

/// What bash offers for the last of these words.
fn offered(folder: &Path, words: &[&str]) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_postrider")).parent().expect("a folder");
    let text = format!(
        "{}\nCOMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9\n_clap_complete_postrider postrider {}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        script("bash"),
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words.len() - 1,
        words.last().map(|word| format!("'{word}'")).expect("a word"),
    );
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let run = Command::new("bash")
        .args(["--norc", "-c", &text])
        .current_dir(folder)
        .env("PATH", path)
        .env("XDG_CONFIG_HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .env("XDG_STATE_HOME", folder)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let text = String::from_utf8(run.stdout).expect("text");
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn bash_completes_commands_and_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    // As if a daemon ran here.
    std::fs::create_dir_all(folder.join(".postrider")).expect("a folder");
    std::fs::write(folder.join(".postrider/admin.sock"), "").expect("a file");
    for name in ["10-release-to-ops", "release-to-lark", "mirror"] {
        write_hook(folder, name, "events: t\n");
    }
    std::fs::write(folder.join("hooks.d/release-masked.yaml"), "").expect("a file");
    std::fs::create_dir_all(folder.join("scripts/platforms")).expect("a folder");
    std::fs::write(folder.join("scripts/platforms/pager.rhai"), "fn x() {}").expect("a script");

    assert_eq!(offered(folder, &["postrider", "rel"]), ["release", "reload"]);
    for command in ["test", "hold", "render"] {
        assert_eq!(offered(folder, &["postrider", command, "re"]), ["release-to-lark", "release-to-ops"], "{command}");
    }
    assert_eq!(offered(folder, &["postrider", "log", "--hook", "mi"]), ["mirror"]);
    assert_eq!(offered(folder, &["postrider", "platforms", "pa"]), ["pager", "pagerduty"]);
    assert_eq!(offered(folder, &["postrider", "sources", "git"]), ["github", "gitlab"]);
    assert_eq!(offered(folder, &["postrider", "help", "unknown-k"]), ["unknown-key"]);
    assert!(offered(folder, &["postrider", "emit", "--dry"]).contains(&"--dry-run".to_owned()));
    assert!(offered(folder, &["postrider", "schema", ""]).contains(&"main".to_owned()));
}

#[test]
fn fish_completes_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::create_dir_all(folder.join(".postrider")).expect("a folder");
    std::fs::write(folder.join(".postrider/admin.sock"), "").expect("a file");
    write_hook(folder, "10-release-to-ops", "events: t\n");
    write_hook(folder, "mirror", "events: t\n");
    let program = Path::new(env!("CARGO_BIN_EXE_postrider")).parent().expect("a folder");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let offered = |line: &str| -> std::io::Result<Vec<String>> {
        let run = Command::new("fish")
            .args(["--no-config", "-c", &format!("{}\ncomplete -C '{line}'", script("fish"))])
            .current_dir(folder)
            .env("PATH", &path)
            .env("HOME", folder)
            .env("XDG_CONFIG_HOME", folder)
            .env("XDG_RUNTIME_DIR", folder)
            .env("XDG_STATE_HOME", folder)
            .stdin(Stdio::null())
            .output()?;
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let text = String::from_utf8(run.stdout).expect("text");
        // A name, and what it is behind a tab.
        let names = text.lines().filter_map(|line| line.split('\t').next());
        Ok(names.map(str::to_owned).collect())
    };
    let names = match offered("postrider hold re") {
        Ok(names) => names,
        Err(_) if std::env::var_os("CI").is_none() => return,
        Err(error) => panic!("fish: {error}"),
    };
    assert_eq!(names, ["release-to-ops"]);
    assert_eq!(offered("postrider rel").expect("fish runs"), ["release", "reload"]);
}

#[test]
fn every_shell_can_read_its_script() {
    let mut read = 0;
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("script");
        std::fs::write(&file, script(shell)).expect("a file");
        let run = match Command::new(shell).arg(check).arg(&file).output() {
            Ok(run) => run,
            // Where shells are checked, `.ci/run` installs them.
            Err(_) if std::env::var_os("CI").is_none() => continue,
            Err(error) => panic!("{shell}: {error}"),
        };
        assert!(run.status.success(), "{shell}: {}", String::from_utf8_lossy(&run.stderr));
        read += 1;
    }
    assert!(read > 0);
}
