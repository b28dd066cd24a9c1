//! One who stands between evcat and a stand-in for AWS, hands requests on, and answers some of them himself as AWS would.
#![allow(dead_code, reason = "a suite takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// What is done with a request instead of handing it on.
#[derive(Clone)]
pub enum Instead {
    /// It fails, with this HTTP status, code and message.
    Say(u16, &'static str, &'static str),
    /// The first entry of this batch fails with this code; the rest is handed on.
    FailFirst(&'static str),
    /// The answer is what this has of it: a JSON body of SQS.
    Answer(Value),
}

struct Rule {
    action: &'static str,
    times: usize,
    instead: Instead,
}

/// He listens as long as the process runs.
pub struct Between {
    port: u16,
    rules: Arc<Mutex<Vec<Rule>>>,
    /// Every action that was asked for, in order.
    asked: Arc<Mutex<Vec<String>>>,
}

struct Request {
    /// All lines before the body.
    head: Vec<String>,
    body: Vec<u8>,
}

impl Between {
    /// In front of the stand-in at this address.
    pub fn new(to: &str) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let between = Between { port, rules: Arc::default(), asked: Arc::default() };
        let (rules, asked, to) = (between.rules.clone(), between.asked.clone(), to.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (rules, asked, to) = (rules.clone(), asked.clone(), to.clone());
                thread::spawn(move || serve(client, &to, &rules, &asked));
            }
        });
        between
    }

    /// His endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// So many of the next requests for this action are not answered by the stand-in alone.
    pub fn next(&self, action: &'static str, times: usize, instead: Instead) {
        self.rules.lock().unwrap().push(Rule { action, times, instead });
    }

    /// How often this action was asked for.
    pub fn asked(&self, action: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == action).count()
    }
}

fn serve(client: TcpStream, to: &str, rules: &Mutex<Vec<Rule>>, asked: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut client = client;
    // One request for each connection: an answer says so.
    let Some(mut request) = read(&mut reader) else { return };
    let (action, is_json) = action(&request);
    asked.lock().unwrap().push(action.clone());
    let instead = {
        let mut rules = rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && rule.action == action);
        rule.map(|rule| {
            rule.times -= 1;
            rule.instead.clone()
        })
    };
    let answer = match instead {
        None => hand_on(&request, to),
        Some(Instead::Say(status, code, message)) => said(status, code, message, is_json),
        Some(Instead::Answer(value)) => {
            answer(200, "application/x-amz-json-1.0", value.to_string().as_bytes())
        }
        Some(Instead::FailFirst(code)) => {
            let mut body: Value = serde_json::from_slice(&request.body).unwrap();
            let first = body["Entries"].as_array_mut().unwrap().remove(0);
            let failed =
                json!({"Id": first["Id"], "SenderFault": false, "Code": code, "Message": "try again"});
            let mut told = json!({"Successful": [], "Failed": []});
            if body["Entries"] != json!([]) {
                request.body = body.to_string().into_bytes();
                let answered = hand_on(&request, to);
                let at = answered.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                told = serde_json::from_slice(&answered[at..]).unwrap();
            }
            match told["Failed"].as_array_mut() {
                Some(all) => all.push(failed),
                None => told["Failed"] = json!([failed]),
            }
            answer(200, "application/x-amz-json-1.0", told.to_string().as_bytes())
        }
    };
    let _ = client.write_all(&answer);
    let _ = client.shutdown(Shutdown::Both);
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { head, body })
}

fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    let of = |line: &'a String| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name));
    head.iter().find_map(of).map(|(_, value)| value.trim())
}

/// What is asked for, and whether in JSON: SQS by a header, SNS in a form.
fn action(request: &Request) -> (String, bool) {
    if let Some((_, action)) = header(&request.head, "x-amz-target").and_then(|target| target.split_once('.'))
    {
        return (action.to_owned(), true);
    }
    let form = String::from_utf8_lossy(&request.body);
    let action = form.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default();
    (action.to_owned(), false)
}

fn hand_on(request: &Request, to: &str) -> Vec<u8> {
    let mut server = TcpStream::connect(to).unwrap();
    let own = |line: &&String| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !matches!(name.as_str(), "connection" | "content-length")
    };
    let head: String = request.head.iter().filter(own).map(|line| format!("{line}\r\n")).collect();
    let more = format!("connection: close\r\ncontent-length: {}\r\n\r\n", request.body.len());
    server.write_all(&[head.as_bytes(), more.as_bytes(), &request.body].concat()).unwrap();
    let mut all = Vec::new();
    let _ = server.read_to_end(&mut all);
    all
}

fn said(status: u16, code: &str, message: &str, is_json: bool) -> Vec<u8> {
    if is_json {
        let body = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": message});
        return answer(status, "application/x-amz-json-1.0", body.to_string().as_bytes());
    }
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>r</RequestId></ErrorResponse>"
    );
    answer(status, "text/xml", body.as_bytes())
}

fn answer(status: u16, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
