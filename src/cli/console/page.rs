//! The files of the page. They are part of the program, and what the browser runs is what lies in `page/`.

/// A file of the page.
pub(super) struct File {
    pub(super) content_type: &'static str,
    pub(super) bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal: $content_type:expr),* $(,)?) => {
        [$((concat!("/", $name), File { content_type: $content_type, bytes: include_bytes!(concat!("page/", $name)) })),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

static FILES: [(&str, File); 21] = files! {
    "index.html": HTML,
    "console.css": CSS,
    "icon.svg": IMAGE,
    "main.js": SCRIPT,
    "dom.js": SCRIPT,
    "api.js": SCRIPT,
    "known.js": SCRIPT,
    "live.js": SCRIPT,
    "live-worker.js": SCRIPT,
    "stream.js": SCRIPT,
    "tree.js": SCRIPT,
    "actor.js": SCRIPT,
    "history.js": SCRIPT,
    "travel.js": SCRIPT,
    "trace.js": SCRIPT,
    "actions.js": SCRIPT,
    "selection.js": SCRIPT,
    "messages.js": SCRIPT,
    "journal.js": SCRIPT,
    "events.js": SCRIPT,
    "format.js": SCRIPT,
};

/// The file at a path.
pub(super) fn file(path: &str) -> Option<&'static File> {
    let path = if path == "/" { "/index.html" } else { path };
    FILES.iter().find(|(name, _)| *name == path).map(|(_, file)| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_that_the_page_imports_is_one_of_its_files() {
        for (name, File { bytes, .. }) in &FILES {
            let text = std::str::from_utf8(bytes).expect("text");
            for import in text.lines().filter_map(|line| line.split_once(" from './")).map(|(_, rest)| rest) {
                let import = import.split('\'').next().expect("a name");
                assert!(file(&format!("/{import}")).is_some(), "{name} imports {import}");
            }
        }
    }

    #[test]
    fn no_text_of_an_actor_can_become_markup() {
        for (name, File { bytes, .. }) in &FILES {
            let text = std::str::from_utf8(bytes).expect("text");
            for way in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"]
            {
                assert!(!text.contains(way), "{name} uses {way}");
            }
        }
        let page = std::str::from_utf8(file("/").expect("the page").bytes).expect("text");
        assert!(!page.contains("style=") && !page.contains(" on") && page.matches("<script").count() == 1, "{page}");
    }
}
