//! One event, whole process.

use std::process::{Command, Stdio};

use crate::Sqs;
use crate::measure::{Bench, has};
use crate::spent::*;
use crate::table::Row;

/// Against a script of boto3, and against the `aws` command.
pub fn one_shot(bench: &Bench, sqs: &Sqs) -> Vec<Row> {
    let queue = sqs.queue();
    let payload = std::fs::read_to_string(bench.lines(1)).unwrap();
    let (payload, place) = (payload.trim_end(), format!("queue:{queue}"));
    let ours = || spend(evcat(&sqs.url).args(["publish", &place, payload]));
    let boto3 = || spend(&mut sqs.peer("one", &queue, payload));
    _ = (ours(), boto3());
    let any = (f64::MAX, 1.0);
    let mut rows =
        against("one event, whole process, against a boto3 script", [(0.10, 0.05), any], 10, ours, boto3);
    let work = "one event, whole process, against aws sqs send-message";
    if has("aws") {
        let (account, endpoint) = sqs.url.split_once("?endpoint=").unwrap();
        let (_, account) = account.split_once("://").unwrap();
        let (key, region) = account.split_once('@').unwrap();
        let (id, secret) = key.split_once(':').unwrap();
        let url = format!("{endpoint}/{id}/{queue}");
        let aws = || {
            let mut aws = Command::new("aws");
            aws.args(["sqs", "send-message", "--endpoint-url", endpoint, "--region", region]);
            aws.args(["--queue-url", &url, "--message-body", payload]);
            aws.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
            spend(aws.stdin(Stdio::null()).stdout(Stdio::null()))
        };
        rows.extend(against(work, [(0.10, 0.05), any], 5, ours, aws));
    } else {
        rows.push(Row::not_measured(work, "aws is not installed"));
    }
    sqs.delete(&queue);
    rows
}
