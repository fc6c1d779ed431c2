//! The payment as it would be if one call came after another: no network, no concurrency, no
//! faults.

use shared::provider::Statuses;
use stateright::semantics::SequentialSpec;

use super::{Cancellation, Id, Item, Number, Operation, Outcome};

/// One payment, or none.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The provider's statuses.
    pub statuses: Statuses,
    /// Whose a cancellation is cannot be seen.
    pub anonymous: bool,
    /// As it is now.
    pub item: Option<Item>,
    /// Those that were undone by re-opening it.
    pub undone: Vec<Cancellation>,
    /// How many times it may still be re-opened.
    pub reopens: usize,
}

impl SequentialSpec for Payment {
    type Op = (Number, Operation);
    type Ret = Outcome;

    fn invoke(&mut self, (number, operation): &Self::Op) -> Outcome {
        match *operation {
            Operation::Cancel { token, fingerprint } => self.cancel(Cancellation {
                id: if self.anonymous { Id::Other } else { Id::Of(*number) },
                token,
                fingerprint,
            }),
            Operation::Capture | Operation::Fail | Operation::Expire | Operation::Reopen => {
                self.move_on(*operation)
            }
        }
    }

    /// A call that reported that nothing was written may stand anywhere, and changes nothing.
    fn is_valid_step(&mut self, op: &Self::Op, ret: &Outcome) -> bool {
        *ret == Outcome::Unavailable || self.invoke(op) == *ret
    }
}

impl Payment {
    fn is_open(&self, item: &Item) -> bool {
        self.statuses.cancelable.contains(&item.status)
    }

    fn cancel(&mut self, ours: Cancellation) -> Outcome {
        let Some(item) = self.item else {
            return Outcome::NotFound;
        };
        let open = self.is_open(&item) && !item.manual;
        let undone = self.undone.iter().copied().filter(|_| open);
        let own = item.cancellation.into_iter().chain(undone).find(|it| it.token == ours.token);
        if open && own.is_none() {
            let item = Item { status: self.statuses.canceled, cancellation: Some(ours), ..item };
            self.item = Some(item);
            return Outcome::Canceled { item, replayed: false };
        }
        let canceled = item.status == self.statuses.canceled;
        match own.filter(|_| open || canceled) {
            Some(made) if made.fingerprint != ours.fingerprint => Outcome::KeyReused,
            Some(_) if open => Outcome::Reopened(self.seen(item)),
            Some(_) => Outcome::Canceled { item, replayed: true },
            None => Outcome::NotCancelable(self.seen(item)),
        }
    }

    /// A refusal does not say what canceled the payment.
    fn seen(&self, item: Item) -> Item {
        let cancellation = item.cancellation.filter(|_| !self.anonymous);
        Item { cancellation, ..item }
    }

    fn move_on(&mut self, operation: Operation) -> Outcome {
        match (self.item, operation.words(&self.statuses)) {
            (Some(item), Some((from, status)))
                if from.contains(&item.status)
                    && (operation != Operation::Reopen || self.reopens > 0) =>
            {
                if operation == Operation::Reopen {
                    self.reopens -= 1;
                    self.undone.extend(item.cancellation);
                }
                self.item = Some(Item { status, ..item });
                Outcome::Moved
            }
            (item, _) => Outcome::Refused(item),
        }
    }
}
