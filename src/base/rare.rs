//! A collection that is nearly always empty, of which there may be a hundred thousand: while it is empty it takes the room of
//! a pointer.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A collection that is nearly always empty. To change it makes room for it.
pub(crate) struct Rare<T>(Option<Box<T>>);

/// A collection with an empty value that everyone can look at.
pub(crate) trait Empty: Default + 'static {
    const EMPTY: &'static Self;
}

impl<E: 'static> Empty for Vec<E> {
    const EMPTY: &'static Self = &Vec::new();
}

impl<E: 'static> Empty for VecDeque<E> {
    const EMPTY: &'static Self = &VecDeque::new();
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Empty> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Empty> Rare<T> {
    /// Takes out what is in it.
    pub(crate) fn take(&mut self) -> T {
        self.0.take().map(|whole| *whole).unwrap_or_default()
    }
}

impl<E> From<Vec<E>> for Rare<Vec<E>> {
    fn from(whole: Vec<E>) -> Self {
        Self((!whole.is_empty()).then(|| Box::new(whole)))
    }
}

impl<E> From<VecDeque<E>> for Rare<VecDeque<E>> {
    fn from(whole: VecDeque<E>) -> Self {
        Self((!whole.is_empty()).then(|| Box::new(whole)))
    }
}

impl<T: Empty + fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_small_as_a_pointer_while_it_is_empty_and_else_what_it_holds() {
        let mut rare = Rare::<Vec<u8>>::default();
        assert!(rare.is_empty() && rare.0.is_none() && size_of_val(&rare) == size_of::<usize>());
        rare.push(7);
        assert_eq!((rare.len(), rare.take(), rare.is_empty()), (1, vec![7], true));
        assert!(Rare::from(Vec::<u8>::new()).0.is_none());
        assert_eq!(*Rare::from(VecDeque::from([1, 2])), [1, 2]);
    }
}
