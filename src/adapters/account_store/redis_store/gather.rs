//! Gathers what is asked at the same time, so that one command, one write and one answer serve all of it, and hands everyone their answer.
//!
//! A question that has been sent is not called back when nobody waits for its answer any more: others are on their way with it.

use std::sync::Arc;

use redis::RedisError;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::yield_now,
};

use super::{
    connect::Connection,
    script::{self, Answer, Question},
};
use crate::domain::account::AccountRules;

/// Questions that are gathered at once. Redis does nothing else while it answers them, which takes some 0.1 ms.
const MAX_GATHERED: usize = 64;

/// What became of a question, see [`script::run`]. Those that went together fail together.
pub(super) type Outcome = Result<Option<Answer>, Arc<RedisError>>;

/// Somebody who waits for an answer, or has stopped to.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) question: Question,
    pub(super) rules: AccountRules,
    pub(super) answered: oneshot::Sender<Outcome>,
}

/// Until nobody can ask any more.
pub(super) async fn gather(connection: Connection, mut questions: mpsc::Receiver<Waiting>) {
    let on_their_way = Arc::new(Semaphore::new(connection.most_on_their_way()));
    let mut gathered = Vec::with_capacity(MAX_GATHERED);
    while questions.recv_many(&mut gathered, MAX_GATHERED).await > 0 {
        // Behind all requests that are ready to bring their questions.
        yield_now().await;
        while let Some(first) = gathered.first() {
            let rules = first.rules;
            let Ok(permit) = Arc::clone(&on_their_way).acquire_owned().await else { return };
            while gathered.len() < MAX_GATHERED
                && let Ok(waiting) = questions.try_recv()
            {
                gathered.push(waiting);
            }
            let alike = gathered.iter().take(connection.most_at_once()).take_while(|waiting| waiting.rules == rules);
            let together = gathered.drain(..alike.count()).filter(|waiting| !waiting.answered.is_closed());
            let (questions, waiting): (Vec<_>, Vec<_>) =
                together.map(|Waiting { question, answered, .. }| (question, answered)).unzip();
            if questions.is_empty() {
                continue;
            }
            let mut connection = connection.clone();
            tokio::spawn(async move {
                let answers = script::run(&mut connection, &questions, rules).await;
                drop(permit);
                hand_out(answers, waiting);
            });
        }
    }
}

/// Whoever does not wait any more has been told so.
fn hand_out(answers: Result<Vec<Option<Answer>>, RedisError>, waiting: Vec<oneshot::Sender<Outcome>>) {
    match answers {
        Ok(answers) => {
            for (waiting, answer) in waiting.into_iter().zip(answers) {
                let _ = waiting.send(Ok(answer));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for waiting in waiting {
                let _ = waiting.send(Err(Arc::clone(&error)));
            }
        }
    }
}
