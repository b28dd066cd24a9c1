//! Takes members out of a group of Kafka behind their backs, as an administrator can and as the end of a session does.
//!
//! No client library that the tests have can do it, so these are the three requests themselves
//! (<https://kafka.apache.org/protocol>): FindCoordinator 1, DescribeGroups 1, LeaveGroup 3.

use std::io::{Read, Result, Write};
use std::net::TcpStream;

/// Ends the membership of all members. `address`: any broker, without TLS or a login.
pub fn all_members(address: &str, group: &str) -> Result<()> {
    let mut any = TcpStream::connect(address)?;
    let mut found = Reply(ask(&mut any, 10, 1, &[text(group), vec![0]].concat())?);
    found.skip(4);
    assert_eq!(found.number::<2>(), 0, "the coordinator is known");
    let (_, _) = (found.text(), found.skip(4));
    let (host, port) = (found.text(), found.number::<4>());
    let mut coordinator = TcpStream::connect((host.as_str(), port as u16))?;

    let mut described = Reply(ask(&mut coordinator, 15, 1, &list(&[text(group)]))?);
    described.skip(4 + 4 + 2);
    (0..4).for_each(|_| drop(described.text()));
    let members = described.number::<4>();
    let mut leaving = Vec::new();
    for _ in 0..members {
        leaving.push([text(&described.text()), (-1_i16).to_be_bytes().to_vec()].concat());
        (0..2).for_each(|_| drop(described.text()));
        for _metadata_then_assignment in 0..2 {
            let len = described.number::<4>();
            described.skip(len as usize);
        }
    }
    assert!(!leaving.is_empty(), "{group} has members");
    let mut left = Reply(ask(&mut coordinator, 13, 3, &[text(group), list(&leaving)].concat())?);
    left.skip(4);
    assert_eq!(left.number::<2>(), 0, "they have left");
    Ok(())
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [(items.len() as i32).to_be_bytes().to_vec(), items.concat()].concat()
}

/// The body of the answer.
fn ask(to: &mut TcpStream, request: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    let head = [&request.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes()].concat();
    let all = [head, text("kick"), body.to_vec()].concat();
    to.write_all(&[&(all.len() as i32).to_be_bytes()[..], &all].concat())?;
    let mut len = [0; 4];
    to.read_exact(&mut len)?;
    let mut answer = vec![0; i32::from_be_bytes(len) as usize];
    to.read_exact(&mut answer)?;
    // Behind the number that the request had.
    Ok(answer.split_off(4))
}

/// What is left of an answer.
struct Reply(Vec<u8>);

impl Reply {
    fn skip(&mut self, n: usize) {
        self.0.drain(..n);
    }

    fn number<const N: usize>(&mut self) -> i64 {
        let bytes: Vec<u8> = self.0.drain(..N).collect();
        let negative = bytes[0] & 128 != 0;
        bytes.iter().fold(if negative { -1 } else { 0 }, |number, byte| number << 8 | i64::from(*byte))
    }

    /// Null is read as nothing.
    fn text(&mut self) -> String {
        let len = self.number::<2>().max(0) as usize;
        String::from_utf8(self.0.drain(..len).collect()).unwrap()
    }
}
