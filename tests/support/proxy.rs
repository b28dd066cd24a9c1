//! A link to a broker that is slow, that breaks, or that loses answers.
//!
//! A broker tells its clients its own address, so that they would go past whoever stands between. Their port is put in the
//! place of the broker's in every answer on its way.
#![allow(dead_code, reason = "a suite takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// One that listens as long as the process runs.
pub struct Proxy {
    port: u16,
    link: Arc<Link>,
}

struct Link {
    to: u16,
    /// Of each direction.
    delay: Duration,
    /// Answers are thrown away.
    mute: AtomicBool,
    /// Answers are what one between says who does not reach the broker.
    at_a_loss: AtomicBool,
    /// Bytes towards the broker until a connection breaks; 0 never.
    breaks_after: AtomicUsize,
    broken: AtomicUsize,
    /// Both ends of each connection, the client's first.
    open: Mutex<Vec<TcpStream>>,
    /// Connections that were made, and of these the first that carry nothing any more.
    made: AtomicUsize,
    stranded: AtomicUsize,
}

impl Proxy {
    /// To the broker of this URL, each direction so slow.
    pub fn to(url: &str, delay: Duration) -> Proxy {
        let to = url.rsplit_once(':').unwrap().1.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mute, at_a_loss) = (AtomicBool::new(false), AtomicBool::new(false));
        let (breaks_after, broken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (made, stranded) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let link =
            Link { to, delay, mute, at_a_loss, breaks_after, broken, open: Mutex::default(), made, stranded };
        let link = Arc::new(link);
        let own = link.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                own.join(client, port);
            }
        });
        Proxy { port, link }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("kafka://127.0.0.1:{}", self.port)
    }

    /// The same without a scheme.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on requests arrive and answers do not.
    pub fn mute(&self) {
        self.link.mute.store(true, Relaxed);
    }

    /// Answers arrive again, on connections that are made from now on: those there are missed some.
    pub fn unmute(&self) {
        self.hang_up();
        self.link.mute.store(false, Relaxed);
    }

    /// The connections there are carry nothing any more. The broker knows, and its clients are not told.
    pub fn strand(&self) {
        self.link.stranded.store(self.link.made.load(Relaxed), Relaxed);
        for ends in self.link.open.lock().unwrap().chunks(2) {
            let _ = ends[1].shutdown(Shutdown::Both);
        }
    }

    /// Whether answers are nonsense from now on.
    pub fn at_a_loss(&self, is: bool) {
        self.link.at_a_loss.store(is, Relaxed);
    }

    /// Breaks all connections.
    pub fn hang_up(&self) {
        for connection in self.link.open.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// From now on each connection breaks when it has carried so many bytes to the broker.
    pub fn break_after(&self, bytes: usize) {
        self.link.breaks_after.store(bytes, Relaxed);
    }

    /// How often that happened.
    pub fn broken(&self) -> usize {
        self.link.broken.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.hang_up();
    }
}

impl Link {
    fn join(self: &Arc<Link>, client: TcpStream, port: u16) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.to)) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        self.open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        let (up, down, number) = (self.clone(), self.clone(), self.made.fetch_add(1, Relaxed));
        let mut carried = 0;
        self.pipe(number, client.try_clone().unwrap(), server.try_clone().unwrap(), move |bytes| {
            carried += bytes.len();
            let most = up.breaks_after.load(Relaxed);
            let goes_on = most == 0 || carried < most;
            if !goes_on {
                up.broken.fetch_add(1, Relaxed);
            }
            goes_on
        });
        self.pipe(number, server, client, move |bytes| {
            if down.mute.load(Relaxed) {
                bytes.clear();
            }
            if down.at_a_loss.load(Relaxed) {
                *bytes = b"HTTP/1.1 502 Bad Gateway\r\n\r\n".to_vec();
            }
            let (own, theirs) = (address(port), address(down.to));
            for at in 0..bytes.len().saturating_sub(theirs.len() - 1) {
                if bytes[at..].starts_with(&theirs) {
                    bytes[at..at + own.len()].copy_from_slice(&own);
                }
            }
            true
        });
    }

    /// Carries bytes one way, each so much later, until `pass` says no or somebody hangs up.
    fn pipe(
        self: &Arc<Link>,
        number: usize,
        mut from: TcpStream,
        mut to: TcpStream,
        mut pass: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static,
    ) {
        let delay = self.delay;
        // A client of a stranded connection is not told, by whichever side.
        let hang_up = move |link: &Link, stream: &TcpStream| {
            if number >= link.stranded.load(Relaxed) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        };
        let (reads, writes) = (self.clone(), self.clone());
        let (sender, receiver): (Sender<(Instant, Vec<u8>)>, Receiver<_>) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 18];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let mut bytes = buffer[..n].to_vec();
                if !pass(&mut bytes) || sender.send((Instant::now() + delay, bytes)).is_err() {
                    break;
                }
            }
            hang_up(&reads, &from);
        });
        thread::spawn(move || {
            for (due, bytes) in receiver {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            hang_up(&writes, &to);
        });
    }
}

/// Host and port as answers have them.
fn address(port: u16) -> Vec<u8> {
    [b"127.0.0.1", &[0; 2][..], &port.to_be_bytes()].concat()
}
