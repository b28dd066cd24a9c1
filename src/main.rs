//! Parse, run, turn the result into an exit code.

fn main() -> std::process::ExitCode {
    evcat::run::main(std::env::args_os().collect())
}

/// All that the progress bar and the big numbers of jq want of the C library's `libm.so`: without it that library is not
/// loaded, which would be a fiftieth of the time of a publish of one event.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod math {
    // SAFETY: both are the functions that C means by these names.
    #[unsafe(no_mangle)]
    extern "C" fn pow(base: f64, exponent: f64) -> f64 {
        libm::pow(base, exponent)
    }

    #[unsafe(no_mangle)]
    extern "C" fn log2(x: f64) -> f64 {
        libm::log2(x)
    }
}
