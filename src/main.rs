//! `theater`: see [`theater::cli`] for what it does.

fn main() -> std::process::ExitCode {
    theater::cli::main()
}
