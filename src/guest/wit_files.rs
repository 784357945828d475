//! The files of `wit/`: the interfaces of guests' exports and of host functions, as texts in this program.

macro_rules! wit {
    ($($file:literal),* $(,)?) => {
        /// Each file with its name.
        pub(crate) const WIT_FILES: &[(&str, &str)] =
            &[$((concat!($file, ".wit"), include_str!(concat!("../../wit/", $file, ".wit")))),*];
    };
}

wit! {
    "actor", "async-requests", "clock", "config", "connection-handlers", "connections", "deferred-replies", "filesystem",
    "http-client", "http-server", "http-types", "labels", "message-server-client", "message-server-host", "migration",
    "monitor-handlers", "monitors", "random", "reply-handlers", "runtime", "stream-handlers", "streams", "supervisor",
    "supervisor-handlers", "table", "timer", "timer-handlers", "types", "websocket-server", "websocket-types",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_that_has_an_interface_is_listed() {
        let there = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("wit")).expect("a directory");
        let there: BTreeSet<String> = there.map(|it| it.expect("a file").file_name().display().to_string()).collect();
        let listed: BTreeSet<String> = WIT_FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        let missing: Vec<_> = there.difference(&listed).collect();
        assert_eq!(missing, ["worlds.wit"], "the files of `wit/` that are not listed in src/guest/wit_files.rs");
    }
}
