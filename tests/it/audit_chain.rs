//! Whether an audit log is whole: what is missing from it is found, and no token is, whatever ends the service.

use std::fs;

use metabase_token_service::transport::proto::{IssueMetabaseTokenRequest, User};

use crate::{
    audited::{Folder, client, issue, stop, verify},
    harness::{ada, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_flipped_byte_a_removed_line_and_a_swapped_pair() {
    let folder = Folder::file();
    let served = folder.serve();
    for _ in 0..5 {
        issue(&served).await.unwrap();
    }
    stop(served);
    let whole = fs::read(folder.log()).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 7);
    let other = folder.0.path().join("changed.jsonl");
    let assert_broken = |changed: &[u8], what: &str| {
        fs::write(&other, changed).unwrap();
        let (code, out, err) = verify(&other);
        assert_eq!((code, out.as_str()), (Some(3), ""), "{what}: {err}");
        assert!(err.contains("line "), "{what}: {err}");
    };
    for at in 0..whole.len() {
        // Every 97th byte, and all of the last line, which no other vouches for.
        if at % 97 == 0 || at + lines[6].len() >= whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_broken(&changed, &format!("byte {at}"));
        }
    }
    for removed in 0..6 {
        let rest: Vec<&[u8]> =
            lines.iter().enumerate().filter(|(at, _)| *at != removed).map(|(_, line)| *line).collect();
        assert_broken(&rest.concat(), &format!("line {removed} removed"));
    }
    for first in 0..6 {
        let mut swapped = lines.clone();
        swapped.swap(first, first + 1);
        assert_broken(&swapped.concat(), &format!("lines from {first} swapped"));
    }
    assert_broken(&whole[..whole.len() - 1], "cut");
    // What nobody can see from the log alone, it says at least.
    fs::write(&other, lines[..6].concat()).unwrap();
    let (code, out, _) = verify(&other);
    assert!(code == Some(0) && out.contains("does not end with log_closed"), "{out}");
    fs::write(&other, "").unwrap();
    assert_eq!(verify(&other).0, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_token_that_anybody_received_is_in_the_log_of_a_killed_service() {
    for (round, durability) in (0..).zip(["written", "synced", "written"]) {
        let sink = format!("sink = {{ file = \"AUDIT_FILE\" }}\nsubject = \"plain\"\ndurability = \"{durability}\"");
        let folder = Folder::new(&sink);
        let served = folder.serve();
        // Alone on their connection, and many on one.
        let (one, two, many) = (client(&served).await, client(&served).await, client(&served).await);
        let clients = [one, two].into_iter().chain(std::iter::repeat_n(many, 16));
        let clients: Vec<_> = clients
            .enumerate()
            .map(|(number, mut client)| {
                tokio::spawn(async move {
                    let mut received = Vec::new();
                    // No two tokens are the same: one in the log would stand for another that is not.
                    let request = |count| IssueMetabaseTokenRequest {
                        user: Some(User { last_name: format!("{number}-{count}"), ..ada() }),
                        ..Default::default()
                    };
                    while let Ok(issued) = client.issue_metabase_token(request(received.len())).await {
                        received.push(issued.into_inner().token_fingerprint);
                    }
                    received
                })
            })
            .collect();
        let enough = 200_000 * (round + 1);
        until("a log of some length", async || fs::metadata(folder.log()).unwrap().len() >= enough).await;
        served.signal("-KILL");
        let mut received = Vec::new();
        for client in clients {
            received.extend(client.await.unwrap());
        }
        drop(served);
        assert!(received.len() > 100, "{}", received.len());
        let text = fs::read_to_string(folder.log()).unwrap();
        let missing = received.iter().filter(|fingerprint| !text.contains(*fingerprint)).count();
        assert_eq!(missing, 0, "of {}", received.len());
        // The next process goes on, whatever the last left behind.
        stop(folder.serve());
        let (code, out, err) = verify(&folder.log());
        assert_eq!(code, Some(0), "{out}{err}");
    }
}
