//! What the network layer uses of Theater's layer `base`.

#[path = "../../../src/base/clock.rs"]
#[allow(dead_code)]
pub(crate) mod clock;
#[path = "../../../src/base/fail.rs"]
#[allow(dead_code, unexpected_cfgs, reason = "the fail points of tests are not compiled in")]
pub(crate) mod fail;
#[path = "../../../src/base/limits/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only the bounds of listeners are used here")]
pub(crate) mod limits;
#[path = "../../../src/base/opened.rs"]
#[allow(dead_code)]
pub(crate) mod opened;
#[path = "../../../src/base/seldom.rs"]
pub(crate) mod seldom;
#[path = "../../../src/base/stack.rs"]
#[allow(dead_code)]
mod stack;
#[path = "../../../src/base/thread.rs"]
#[allow(dead_code)]
pub(crate) mod thread;
#[path = "../../../src/base/wait.rs"]
#[allow(dead_code)]
pub(crate) mod wait;
