//! What the binding rules ought to say, by a model that keeps all of the past and no state. It shares nothing with the code that it
//! judges, not even a type: the suite of the Redis store includes this file as it is.

/// One thing that happens in a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Seconds since the step before.
    pub(crate) after: i64,
    /// Which account.
    pub(crate) account: u8,
    /// Who wants a token for it.
    pub(crate) person: u8,
    /// Whether findings refuse the token.
    pub(crate) is_enforced: bool,
}

/// The rules and the past.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// Seconds after which an unused account is free.
    pub(crate) window: i64,
    /// Tokens of an hour above which an account is taken for a shared one.
    pub(crate) most: Option<usize>,
    past: Vec<Past>,
}

#[derive(Clone, Copy, Debug)]
struct Past {
    at: i64,
    account: u8,
    person: u8,
    /// Whether the person held the account then.
    held: bool,
    issued: bool,
    /// Whether the account was free before.
    began: bool,
}

impl Model {
    /// Before anything happened.
    pub(crate) fn new(window: i64, most: Option<usize>) -> Self {
        Self { window, most, past: Vec::new() }
    }

    /// Whether somebody else holds the account, and whether it has had too many tokens.
    pub(crate) fn expect(&mut self, step: Step, at: i64) -> (bool, bool) {
        let Step { account, person, is_enforced, .. } = step;
        let holder = self.holder(account, at);
        let other_person = holder.is_some_and(|holder| holder != person);
        let before = if holder.is_some() { self.tokens(account, at) } else { 0 };
        let is_refused_already = other_person && is_enforced;
        let too_many = !is_refused_already && self.most.is_some_and(|most| before + 1 > most);
        let issued = !(is_enforced && (other_person || too_many));
        self.past.push(Past { at, account, person, held: !other_person, issued, began: holder.is_none() });
        (other_person, too_many)
    }

    /// The last one who held it, if that was within the window.
    fn holder(&self, account: u8, at: i64) -> Option<u8> {
        let last = self.past.iter().rev().find(|one| one.account == account && one.held)?;
        (at - last.at < self.window).then_some(last.person)
    }

    /// Those since the account was last free, in the ten minutes of `at` and the five times ten before.
    fn tokens(&self, account: u8, at: i64) -> usize {
        let mut count = 0;
        for one in self.past.iter().rev().filter(|one| one.account == account) {
            count += usize::from(one.issued && at / 600 - one.at / 600 < 6);
            if one.began {
                break;
            }
        }
        count
    }
}
