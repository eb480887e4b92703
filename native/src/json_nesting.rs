//! Which containers are open around a value, and the way to it.

use crate::json_problem::Step;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Array,
    Object,
}

/// Levels beyond `max_depth` are counted, at a byte each, but have no steps.
pub struct Nesting {
    max_depth: usize,
    open: Vec<Container>,
    path: Vec<Step>,
}

impl Nesting {
    pub fn new(max_depth: usize) -> Self {
        Self {
            max_depth,
            open: Vec::new(),
            path: Vec::new(),
        }
    }

    pub fn depth(&self) -> usize {
        self.open.len()
    }

    pub fn max_depth(&self) -> usize {
        self.max_depth
    }

    pub fn innermost(&self) -> Option<Container> {
        self.open.last().copied()
    }

    /// The way to the current value, or to its ancestor on the deepest level allowed.
    pub fn path(&self) -> &[Step] {
        &self.path
    }

    /// Whether one more level is one too many.
    pub fn is_full(&self) -> bool {
        self.open.len() == self.max_depth
    }

    pub fn is_too_deep(&self) -> bool {
        self.open.len() > self.max_depth
    }

    /// Goes into a container, to its first element if it is an array.
    pub fn enter(&mut self, container: Container) {
        self.open.push(container);
        if !self.is_too_deep() {
            self.path.push(Step::Element(0));
        }
    }

    /// Goes into the outermost object without counting it as a level.
    pub fn enter_envelope(&mut self) {
        self.path.push(Step::Element(0));
    }

    pub fn leave(&mut self) {
        if !self.is_too_deep() {
            self.path.pop();
        }
        self.open.pop();
    }

    pub fn next_element(&mut self) {
        if !self.is_too_deep()
            && let Some(Step::Element(index)) = self.path.last_mut()
        {
            *index += 1;
        }
    }

    /// Goes to the member whose name's opening quote is at this offset.
    pub fn point_at_member(&mut self, quote: usize) {
        if !self.is_too_deep()
            && let Some(step) = self.path.last_mut()
        {
            *step = Step::Member(quote);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Container, Nesting};
    use crate::json_problem::Step;

    #[test]
    fn the_path_stops_at_the_deepest_level() {
        let mut nesting = Nesting::new(1);
        nesting.enter(Container::Array);
        nesting.next_element();
        assert!(nesting.is_full() && !nesting.is_too_deep());
        nesting.enter(Container::Object);
        nesting.point_at_member(7);
        assert!(nesting.is_too_deep());
        assert_eq!(nesting.path(), [Step::Element(1)]);
        nesting.leave();
        assert_eq!(nesting.innermost(), Some(Container::Array));
        nesting.next_element();
        assert_eq!(nesting.path(), [Step::Element(2)]);
        nesting.leave();
        assert_eq!((nesting.depth(), nesting.path().len()), (0, 0));
    }

    #[test]
    fn an_envelope_is_a_step_but_no_level() {
        let mut nesting = Nesting::new(1);
        nesting.enter_envelope();
        nesting.point_at_member(1);
        nesting.enter(Container::Array);
        assert!(!nesting.is_too_deep());
        assert_eq!(nesting.path(), [Step::Member(1), Step::Element(0)]);
    }
}
