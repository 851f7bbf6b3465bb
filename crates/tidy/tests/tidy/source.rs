//! A Rust file as the rules see it: with and without comments and strings, and where its tests are.

/// One file, line by line.
pub struct Source {
    /// Its path from the repository's root, with `/`.
    pub path: String,
    /// The lines as written.
    pub lines: Vec<String>,
    /// The lines with comments blanked.
    pub worded: Vec<String>,
    /// The lines with comments and the insides of strings blanked.
    pub code: Vec<String>,
    /// Whether a line belongs to a `#[cfg(test)]` item.
    pub test: Vec<bool>,
}

impl Source {
    /// Takes a file apart.
    pub fn new(path: &str, text: &str) -> Self {
        let (worded, code) = blank(text);
        let split = |text: &str| text.split('\n').map(String::from).collect::<Vec<_>>();
        let code = split(&code);
        let test = test_lines(&code);
        let mut lines = split(text);
        // A final line break ends the last line; it does not open another.
        let mut worded = split(&worded);
        let (mut code, mut test) = (code, test);
        if lines.last().is_some_and(String::is_empty) {
            lines.pop();
            worded.pop();
            code.pop();
            test.pop();
        }
        Self { path: path.into(), lines, worded, code, test }
    }

    /// Numbers (from 1) and texts of the lines outside tests, without comments and strings.
    pub fn live_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.live(&self.code)
    }

    /// The same with strings.
    pub fn live_words(&self) -> impl Iterator<Item = (usize, &str)> {
        self.live(&self.worded)
    }

    fn live<'a>(&'a self, lines: &'a [String]) -> impl Iterator<Item = (usize, &'a str)> {
        lines
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.test[*index])
            .map(|(index, line)| (index + 1, line.as_str()))
    }

    /// The module's own doc comment, without its `//!`.
    pub fn module_doc(&self) -> String {
        let inner = |line: &&String| line.trim_start().starts_with("//!");
        self.lines.iter().take_while(inner).map(|line| format!("{}\n", &line.trim_start()[3..])).collect()
    }

    /// The file's name without `.rs`.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or("");
        name.strip_suffix(".rs").unwrap_or(name)
    }
}

/// The text twice, every line kept: without comments; and without comments and strings.
fn blank(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut worded, mut code) = (String::new(), String::new());
    let mut at = 0;
    let white = |c: char| if c == '\n' { '\n' } else { ' ' };
    while at < chars.len() {
        let rest = &chars[at..];
        let end = if rest.starts_with(&['/', '/']) {
            rest.iter().position(|&c| c == '\n').map_or(chars.len(), |length| at + length)
        } else if rest.starts_with(&['/', '*']) {
            at + block_comment(rest)
        } else if let Some(length) = literal(rest, at.checked_sub(1).map(|before| chars[before])) {
            for (index, &c) in rest[..length].iter().enumerate() {
                worded.push(c);
                code.push(if index == 0 || index + 1 == length { c } else { white(c) });
            }
            at += length;
            continue;
        } else {
            worded.push(chars[at]);
            code.push(chars[at]);
            at += 1;
            continue;
        };
        for &c in &chars[at..end] {
            worded.push(white(c));
            code.push(white(c));
        }
        at = end;
    }
    (worded, code)
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(&['*', '/']) {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of the string or character literal that begins here.
fn literal(rest: &[char], before: Option<char>) -> Option<usize> {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match rest[0] {
        '"' => Some(quoted(rest)),
        'r' if !in_word || before == Some('b') => {
            let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
            if rest.get(1 + hashes) != Some(&'"') {
                return None;
            }
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let body = 2 + hashes;
            (body..rest.len()).find(|&at| rest[at..].starts_with(&end)).map(|at| at + end.len())
        }
        '\'' if rest.get(1) == Some(&'\\') => {
            rest[3..].iter().position(|&c| c == '\'').map(|length| length + 4)
        }
        '\'' if rest.get(2) == Some(&'\'') => Some(3),
        _ => None,
    }
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn test_lines(code: &[String]) -> Vec<bool> {
    let whole = code.iter().any(|line| line.contains("#![cfg(test)]"));
    let mut test = vec![whole; code.len()];
    let opens = |line: &String| line.contains("#[cfg(test)]") || line.contains("#[cfg(all(test");
    for start in (0..code.len()).filter(|&index| opens(&code[index])) {
        let (mut depth, mut begun) = (0usize, false);
        'item: for index in start..code.len() {
            test[index] = true;
            let line = &code[index];
            let from = if index == start { line.find("]").map_or(0, |at| at + 1) } else { 0 };
            for c in line[from..].chars() {
                match c {
                    '{' => (depth, begun) = (depth + 1, true),
                    '}' => depth = depth.saturating_sub(1),
                    ';' if !begun => break 'item,
                    _ => {}
                }
                if begun && depth == 0 {
                    break 'item;
                }
            }
        }
    }
    test
}

/// The words of a line: identifiers, and the parts of `snake_case` and `CamelCase` ones, in small letters.
pub fn small_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for name in line.split(|c: char| !c.is_alphanumeric()) {
        let mut word = String::new();
        let mut was_small = false;
        for c in name.chars() {
            if c.is_uppercase() && was_small {
                words.push(std::mem::take(&mut word));
            }
            was_small = c.is_lowercase() || c.is_ascii_digit();
            word.extend(c.to_lowercase());
        }
        words.push(word);
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether `name` stands in `line` as a whole identifier.
pub fn names(line: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(part)
            && !line[at + name.len()..].chars().next().is_some_and(part)
    })
}

#[test]
fn comments_and_strings_are_blanked_and_lines_are_kept() {
    let text = "let a = \"panic!(\\\" // no\"; // panic!()\n/* a\n/* b */ */ let c = 'x'; let d: &'static str = r#\"\"//\"#;\n";
    let source = Source::new("a.rs", text);
    assert_eq!(source.lines.len(), 3);
    assert!(!source.code.concat().contains("panic"));
    assert!(source.worded[0].contains("panic!(") && !source.worded[0].contains("panic!()"));
    assert!(source.code[2].contains("let c = ' '; let d: &'static str ="), "{:?}", source.code[2]);
}

#[test]
fn items_for_tests_are_told_from_live_code() {
    let source = Source::new("a.rs", "fn a() {}\n#[cfg(test)]\nmod t {\n    fn b() { }\n}\nfn c() {}\n");
    assert_eq!(source.test, [false, true, true, true, true, false]);
}

#[test]
fn words_are_found_inside_names() {
    assert_eq!(
        small_words("Device::libtorch_cuda(FlexTensor)"),
        ["device", "libtorch", "cuda", "flex", "tensor"]
    );
    assert!(small_words("flexible").contains(&"flexible".to_string()));
    assert!(names("Instant::now()", "Instant") && !names("Instantly", "Instant"));
}
