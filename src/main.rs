//! Parse, run, turn the result into an exit code.

fn main() -> std::process::ExitCode {
    evcat::run::main(std::env::args_os().collect())
}
