//! The park protocol of Theater's `base::wait`, with a parker that loom knows of, and without time: a wait that has a
//! deadline never reaches it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use loom::sync::{Condvar, Mutex};

loom::thread_local! {
    static PARKER: RefCell<Parker> = RefCell::new(Parker::new());
}

/// One token, as `crossbeam_utils::sync::Parker` keeps it.
#[derive(Debug)]
pub struct Parker(Unparker);

#[derive(Clone, Debug)]
pub struct Unparker(Arc<(Mutex<bool>, Condvar)>);

impl Parker {
    pub fn new() -> Self {
        Self(Unparker(Arc::new((Mutex::new(false), Condvar::new()))))
    }

    pub fn unparker(&self) -> &Unparker {
        &self.0
    }
}

impl Unparker {
    pub fn unpark(&self) {
        *self.0.0.lock().expect("no panic") = true;
        self.0.1.notify_one();
    }
}

pub fn adopt(parker: Parker) {
    PARKER.with(|own| _ = own.replace(parker));
}

pub fn abandon() -> Parker {
    PARKER.with(|own| own.replace(Parker::new()))
}

pub fn unparker() -> Unparker {
    PARKER.with(|own| own.borrow().0.clone())
}

pub fn park() {
    let Unparker(own) = unparker();
    let mut token = own.0.lock().expect("no panic");
    while !*token {
        token = own.1.wait(token).expect("no panic");
    }
    *token = false;
}

pub fn park_until(_deadline: Instant) {
    park();
}
