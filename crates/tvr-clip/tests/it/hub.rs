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
    //! A hub of three files.

    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use tvr_clip::hub::{Fetched, Hub};

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    struct Server {
        address: String,
        gets: Arc<Mutex<Vec<String>>>,
    }

    fn serve(files: BTreeMap<&'static str, Vec<u8>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let gets = Arc::new(Mutex::new(Vec::new()));
        let seen = gets.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, seen) = (files.clone(), seen.clone());
                std::thread::spawn(move || answer(stream, &files, &seen));
            }
        });
        Server { address, gets }
    }

    fn answer(mut stream: TcpStream, files: &BTreeMap<&str, Vec<u8>>, seen: &Mutex<Vec<String>>) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let request = lines.next().unwrap_or_default();
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let file = path.rsplit('/').next().unwrap_or("");
        let head = match files.get(file) {
            Some(bytes) if path.starts_with("/owner/model/resolve/") => format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\netag: \"{file}-1\"\r\nx-repo-commit: {COMMIT}\r\n\
                 connection: close\r\n\r\n",
                bytes.len()
            ),
            _ => "HTTP/1.1 404 Not Found\r\nx-error-code: EntryNotFound\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                .to_owned(),
        };
        stream.write_all(head.as_bytes()).unwrap();
        if let (Some(bytes), "GET") = (files.get(file), method) {
            seen.lock().unwrap().push(file.to_owned());
            stream.write_all(bytes).unwrap();
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

    #[test]
    fn a_repository_is_fetched_once_and_then_comes_from_the_cache() {
        let server = serve(files());
        let cache = tempfile::tempdir().unwrap();
        let hub = Hub {
            endpoint: Some(server.address.clone()),
            cache: Some(cache.path().to_owned()),
            offline: false,
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        let progress = Arc::new(move |at: &Fetched<'_>| {
            tell.lock().unwrap().push((at.file.to_owned(), at.done, at.total))
        });
        let folder = hub.folder("owner/model", progress).unwrap();
        assert!(folder.ends_with(COMMIT), "{}", folder.display());
        for (name, bytes) in files() {
            assert_eq!(std::fs::read(folder.join(name)).unwrap(), bytes, "{name}");
        }
        assert!(
            told.lock().unwrap().iter().any(|(file, done, _)| file == "one.safetensors" && *done == 70_000)
        );

        let before = server.gets.lock().unwrap().len();
        assert_eq!(hub.folder("owner/model", Arc::new(|_| ())).unwrap(), folder);
        assert_eq!(server.gets.lock().unwrap().len(), before, "a file was fetched twice");
        // What is gone from the cache is fetched again, and nothing else: this is how an interrupted download goes on.
        std::fs::remove_file(folder.join("two.safetensors")).unwrap();
        std::fs::read_dir(cache.path()).unwrap().for_each(drop);
        assert_eq!(hub.folder("owner/model", Arc::new(|_| ())).unwrap(), folder);
        assert!(server.gets.lock().unwrap()[before..].iter().all(|file| file == "two.safetensors"));

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
    fn a_repository_without_safetensors_says_so() {
        let server = serve(BTreeMap::from([("config.json", b"{}".to_vec())]));
        let cache = tempfile::tempdir().unwrap();
        let hub =
            Hub { endpoint: Some(server.address), cache: Some(cache.path().to_owned()), offline: false };
        let message = hub.folder("owner/model", Arc::new(|_| ())).unwrap_err().to_string();
        assert!(message.starts_with("owner/model: it has no safetensors (model.safetensors, "), "{message}");
    }
}
