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
mod server {
    //! A hub of a few files.

    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;
    use std::process::Command;
    use std::sync::{Arc, Mutex};

    use tvr_clip::hub::{Fetched, Hub};

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// What happens to the first GET of a file.
    #[derive(Clone, Copy, PartialEq)]
    enum Accident {
        /// Half of it comes, then the line is cut.
        Cut(&'static str),
        /// It is refused, after it was announced.
        Refused(&'static str),
    }

    #[derive(Default)]
    struct Log {
        /// Files, in the order of their GETs.
        gets: Vec<String>,
        /// `authorization` of every request, empty where it had none.
        tokens: Vec<String>,
        accident: Option<Accident>,
    }

    struct Server {
        address: String,
        log: Arc<Mutex<Log>>,
    }

    impl Server {
        fn gets(&self) -> Vec<String> {
            self.log.lock().unwrap().gets.clone()
        }

        fn hub(&self, cache: &Path) -> Hub {
            Hub { endpoint: Some(self.address.clone()), cache: Some(cache.to_owned()), offline: false }
        }
    }

    fn serve(files: BTreeMap<&'static str, Vec<u8>>, accident: Option<Accident>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Log { accident, ..Log::default() }));
        let seen = log.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, seen) = (files.clone(), seen.clone());
                std::thread::spawn(move || answer(stream, &files, &seen));
            }
        });
        Server { address, log }
    }

    fn answer(mut stream: TcpStream, files: &BTreeMap<&str, Vec<u8>>, log: &Mutex<Log>) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let request = lines.next().unwrap_or_default();
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let token = head.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
        });
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let file = path.rsplit('/').next().unwrap_or("");
        let mut log = log.lock().unwrap();
        log.tokens.push(token.unwrap_or_default());
        let Some(bytes) = files.get(file).filter(|_| path.starts_with("/owner/model/resolve/")) else {
            let head = "HTTP/1.1 404 Not Found\r\nx-error-code: EntryNotFound\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            return stream.write_all(head.as_bytes()).unwrap();
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\netag: \"{file}-1\"\r\nx-repo-commit: {COMMIT}\r\n\
             connection: close\r\n\r\n",
            bytes.len()
        );
        if method != "GET" {
            return stream.write_all(head.as_bytes()).unwrap();
        }
        log.gets.push(file.to_owned());
        match log.accident {
            Some(Accident::Cut(cut)) if cut == file => {
                log.accident = None;
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&bytes[..bytes.len() / 2]).unwrap();
            }
            Some(Accident::Refused(refused)) if refused == file => {
                log.accident = None;
                let head = "HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnay!";
                stream.write_all(head.as_bytes()).unwrap();
            }
            _ => {
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(bytes).unwrap();
            }
        }
    }

    fn files() -> BTreeMap<&'static str, Vec<u8>> {
        let index =
            br#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}}"#;
        BTreeMap::from([
            ("config.json", b"{}".to_vec()),
            ("tokenizer.json", b"{}".to_vec()),
            ("model.safetensors.index.json", index.to_vec()),
            ("one.safetensors", vec![1; 70_000]),
            ("two.safetensors", vec![2; 10]),
        ])
    }

    fn assert_whole(folder: &Path) {
        for (name, bytes) in files() {
            assert_eq!(std::fs::read(folder.join(name)).unwrap(), bytes, "{name}");
        }
    }

    #[test]
    fn a_repository_is_fetched_once_and_then_comes_from_the_cache() {
        let (server, cache) = (serve(files(), None), tempfile::tempdir().unwrap());
        let hub = server.hub(cache.path());
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        let progress = Arc::new(move |at: &Fetched<'_>| {
            tell.lock().unwrap().push((at.file.to_owned(), at.done, at.total))
        });
        let folder = hub.folder("owner/model", progress).unwrap();
        assert!(folder.ends_with(COMMIT), "{}", folder.display());
        assert_whole(&folder);
        let end = ("one.safetensors".to_owned(), 70_000, 70_000);
        assert!(told.lock().unwrap().contains(&end), "the end of a download is told");

        let before = server.gets();
        assert_eq!(hub.folder("owner/model", Arc::new(|_| ())).unwrap(), folder);
        assert_eq!(server.gets(), before, "a file was fetched twice");

        let offline = Hub { endpoint: Some("http://127.0.0.1:9".into()), offline: true, ..hub };
        assert_eq!(offline.folder("owner/model", Arc::new(|_| ())).unwrap(), folder);
        let message = offline.folder("owner/other", Arc::new(|_| ())).unwrap_err().to_string();
        assert_eq!(
            message,
            "owner/other: it has neither config.json nor open_clip_config.json (HF_HUB_OFFLINE is set: the cache \
             alone was asked)"
        );
    }

    #[test]
    fn an_interrupted_download_goes_on_with_the_file_it_was_at() {
        for accident in [Accident::Cut("one.safetensors"), Accident::Refused("one.safetensors")] {
            let (server, cache) = (serve(files(), Some(accident)), tempfile::tempdir().unwrap());
            let hub = server.hub(cache.path());
            let message = hub.folder("owner/model", Arc::new(|_| ())).unwrap_err().to_string();
            assert!(message.starts_with("owner/model: one.safetensors: "), "{message}");
            if accident == Accident::Refused("one.safetensors") {
                assert!(message.ends_with("4 bytes came in place of 70000; ask again"), "{message}");
            }
            let before = server.gets().len();
            let folder = hub.folder("owner/model", Arc::new(|_| ())).unwrap();
            assert_eq!(server.gets()[before..], ["one.safetensors", "two.safetensors"]);
            assert_whole(&folder);
        }
    }

    /// The environment belongs to all tests of a process, so it is read in one of its own.
    #[test]
    fn the_environment_names_endpoint_cache_token_and_offline() {
        let (server, home) = (serve(files(), None), tempfile::tempdir().unwrap());
        let child = |endpoint: &str, offline: &str| {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "hub::server::child", "--ignored", "--nocapture"])
                .env("HF_ENDPOINT", endpoint)
                .env("HF_HOME", home.path())
                .env("HF_TOKEN", "secret")
                .env("HF_HUB_OFFLINE", offline)
                .env_remove("HF_HUB_CACHE")
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{text}");
            text
        };
        let folder = home.path().join("hub/models--owner--model/snapshots").join(COMMIT);
        let said = format!("folder {}\n", folder.display());
        assert!(child(&server.address, "0").contains(&said));
        assert_whole(&folder);
        let log = server.log.lock().unwrap();
        assert!(!log.tokens.is_empty() && log.tokens.iter().all(|token| token == "Bearer secret"));
        drop(log);
        let before = server.log.lock().unwrap().tokens.len();
        assert!(child(&server.address, "1").contains(&said));
        assert_eq!(server.log.lock().unwrap().tokens.len(), before, "nobody is asked");
    }

    #[test]
    #[ignore = "run by the test of the environment, in a process of its own"]
    fn child() {
        let folder = Hub::from_environment().folder("owner/model", Arc::new(|_| ())).unwrap();
        println!("folder {}", folder.display());
    }

    #[test]
    fn a_repository_without_safetensors_says_so() {
        let server = serve(BTreeMap::from([("config.json", b"{}".to_vec())]), None);
        let cache = tempfile::tempdir().unwrap();
        let message =
            server.hub(cache.path()).folder("owner/model", Arc::new(|_| ())).unwrap_err().to_string();
        assert!(message.starts_with("owner/model: it has no safetensors (model.safetensors, "), "{message}");
    }
}
