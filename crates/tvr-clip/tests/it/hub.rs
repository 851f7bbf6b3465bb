//! Names in place of folders. The downloads themselves run with the feature `hub`, against a server on loopback.

use std::sync::Arc;

use tvr_clip::hub::Hub;

fn refusal(hub: &Hub, name: &str) -> String {
    hub.folder(name, Arc::new(|_| ())).unwrap_err().to_string()
}

#[test]
fn a_folder_is_itself_and_a_path_is_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().to_str().unwrap();
    assert_eq!(Hub::default().folder(name, Arc::new(|_| ())).unwrap(), folder.path());
    for name in ["weights", "./weights/clip", "a/b/c", "../clip", ""] {
        assert_eq!(
            refusal(&Hub::default(), name),
            format!("{name}: no such folder, and no name of the form OWNER/NAME on the Hugging Face hub")
        );
    }
}

/// As Python's `huggingface_hub` reads it. The environment belongs to all tests of a process, so it is read in others.
#[test]
fn offline_is_what_python_takes_for_yes() {
    for (word, expected) in [
        ("1", true),
        ("true", true),
        ("Yes", true),
        ("ON", true),
        ("0", false),
        ("false", false),
        ("", false),
    ] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hub::says_whether_it_is_offline", "--ignored", "--nocapture"])
            .env("HF_HUB_OFFLINE", word)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("offline: {expected}\n")), "{word:?}: {text}");
    }
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn says_whether_it_is_offline() {
    println!("offline: {}", Hub::from_environment().offline);
}

#[cfg(not(feature = "hub"))]
#[test]
fn without_the_feature_the_error_names_it() {
    assert_eq!(
        refusal(&Hub::default(), "openai/clip-vit-base-patch32"),
        "openai/clip-vit-base-patch32: no such folder; to download it from the Hugging Face hub, build with \
         `--features hub`"
    );
}

#[cfg(feature = "hub")]
mod server;
