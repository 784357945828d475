//! Shortages of the machine: memory, addresses or files that the operating system refused while a guest ran or was
//! about to run. The guest is not at fault, so a shortage ends the transition from outside, as a deadline does.

use std::io;

use rustix::io::Errno;
use wasmtime::Error;

/// What the operating system refused, if `error` comes from such a refusal. Guest code alone cannot cause such an
/// error: it can only trap, or exceed a limit of the actor.
pub(super) fn refused_by_the_system(error: &Error) -> Option<String> {
    if error.is::<wasmtime::OutOfMemory>() {
        return Some("out of memory".to_owned());
    }
    error.chain().find_map(|cause| {
        let errno = cause.downcast_ref::<Errno>().map(ToString::to_string);
        errno.or_else(|| cause.downcast_ref::<io::Error>().and_then(of_the_system))
    })
}

/// The text of an error that has an error number of the operating system, itself or in the error that it wraps.
fn of_the_system(error: &io::Error) -> Option<String> {
    if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::OutOfMemory {
        return Some(error.to_string());
    }
    let inner = error.get_ref()?;
    let errno = inner.downcast_ref::<Errno>().map(ToString::to_string);
    errno.or_else(|| inner.source()?.downcast_ref::<io::Error>().and_then(of_the_system))
}

/// The `detail` of a `failed` whose guest has used up its stack.
pub(super) const STACK_OVERFLOW: &str = "StackOverflow";

/// Whether a recorded `failed` with the reason `trap` was a shortage. Earlier versions recorded the words of the
/// operating system as the guest's trap. No real trap has a text that ends like these.
pub(crate) fn was_recorded_as_a_trap(detail: &str) -> bool {
    let number = detail.strip_suffix(')').and_then(|text| text.rsplit_once("(os error "));
    number.is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refused_is_found_however_deep_it_lies() {
        let refused = |error: Error| refused_by_the_system(&error);
        let no_memory = Some("Cannot allocate memory (os error 12)".to_owned());
        assert_eq!(refused(Error::new(Errno::NOMEM)), no_memory);
        assert_eq!(refused(Error::new(Errno::NOMEM).context("failed to reserve").context("instantiating")), no_memory);
        assert_eq!(refused(Error::new(io::Error::from_raw_os_error(12)).context("mmap failed")), no_memory);
        assert_eq!(refused(Error::new(io::Error::other(Errno::NOMEM))), no_memory);
        assert_eq!(format!("{:?}", wasmtime::Trap::StackOverflow), STACK_OVERFLOW);
        assert!(refused(Error::new(Errno::AGAIN)).is_some_and(|why| why.contains("unavailable")));
        assert!(refused(Error::new(io::Error::from(io::ErrorKind::OutOfMemory))).is_some());
    }

    #[test]
    fn what_a_guest_does_is_no_shortage() {
        assert_eq!(refused_by_the_system(&Error::new(wasmtime::Trap::MemoryOutOfBounds)), None);
        assert_eq!(refused_by_the_system(&Error::new(wasmtime::Trap::StackOverflow).context("in the guest")), None);
        assert_eq!(refused_by_the_system(&Error::msg("Cannot allocate memory")), None);
        assert_eq!(refused_by_the_system(&Error::new(io::Error::other("not a state"))), None);
    }

    #[test]
    fn a_shortage_that_an_earlier_version_recorded_as_a_trap_is_told_from_a_trap() {
        for detail in ["Cannot allocate memory (os error 12)", "Resource temporarily unavailable (os error 11)"] {
            assert!(was_recorded_as_a_trap(detail), "{detail}");
        }
        for detail in ["UnreachableCodeReached", "expected list found string", "(os error )", "(os error 1x)", ""] {
            assert!(!was_recorded_as_a_trap(detail), "{detail}");
        }
    }
}
