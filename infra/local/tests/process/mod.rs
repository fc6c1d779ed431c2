//! Processes that end with their test, and never outlast its timeout.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(60);

/// The binary, without what the surroundings may say about colors, logs and AWS.
fn binary(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    for (name, _) in std::env::vars() {
        let meant = ["AWS_", "CLICOLOR", "NO_COLOR", "RUST_LOG"];
        if meant.iter().any(|prefix| name.starts_with(prefix)) || name.ends_with("_TABLE") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a process printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary, run to its end.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    finish(&mut binary(arguments, environment))
}

/// `--demo`, which takes free ports by itself.
pub(crate) fn demo(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    run(&[&["--demo"], arguments].concat(), environment)
}

/// What a pasted command prints.
pub(crate) fn bash(command: &str, environment: &[(&str, &str)]) -> String {
    let output = finish(
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .env("no_proxy", "*")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    assert_eq!(output.code, Some(0), "{command}\n{output:?}");
    output.stdout
}

fn finish(command: &mut Command) -> Output {
    let mut child = KillOnDrop(command.spawn().unwrap());
    let stdout = Collected::of(child.0.stdout.take().unwrap());
    let stderr = Collected::of(child.0.stderr.take().unwrap());
    Output { code: child.wait(), stdout: stdout.all(), stderr: stderr.all() }
}

/// A child that is killed, by its id, where the test ends before it.
struct KillOnDrop(Child);

impl KillOnDrop {
    fn wait(&mut self) -> Option<i32> {
        let until = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "the process does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stream's lines, as they come.
struct Collected {
    text: Arc<Mutex<String>>,
    lines: Receiver<String>,
}

impl Collected {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let kept = Arc::clone(&text);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
                let _ = sender.send(line);
            }
        });
        Self { text, lines }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// All of it: waits for the stream's end.
    fn all(&self) -> String {
        while self.lines.recv_timeout(TIMEOUT).is_ok() {}
        self.so_far()
    }
}

/// A running stack, up to its ready line.
pub(crate) struct Stack {
    child: KillOnDrop,
    lines: Collected,
    errors: Collected,
    /// What it printed up to then.
    pub(crate) output: String,
    /// Each provider with its command, where `--commands` was given.
    pub(crate) commands: Vec<(String, String)>,
    /// From the ready line.
    pub(crate) url: String,
    /// From the ready line.
    pub(crate) dynamodb: String,
}

impl Stack {
    /// On free ports.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let free = ["--port", "0", "--dynamodb-port", "0"];
        Self::run(&[&free, arguments].concat(), &[])
    }

    pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = KillOnDrop(binary(arguments, environment).spawn().unwrap());
        let lines = Collected::of(child.0.stdout.take().unwrap());
        let errors = Collected::of(child.0.stderr.take().unwrap());
        let (url, dynamodb) = loop {
            let Ok(line) = lines.lines.recv_timeout(TIMEOUT) else {
                panic!("not ready: {}{}", lines.so_far(), errors.so_far());
            };
            if let Some(ready) = plain(&line).strip_prefix("ready  ") {
                let (url, rest) = ready.split_once("  (DynamoDB on ").unwrap();
                break (url.to_owned(), rest.trim_end_matches(')').to_owned());
            }
        };
        let output = lines.so_far();
        let commands = output
            .split("\n\n")
            .filter_map(|block| {
                let (name, _) = block.strip_prefix("# ")?.split_once(':')?;
                Some((name.to_owned(), block.to_owned()))
            })
            .collect();
        Self { child, lines, errors, output, commands, url, dynamodb }
    }

    /// The next line that it prints.
    pub(crate) fn line(&self) -> String {
        self.lines.lines.recv_timeout(TIMEOUT).unwrap()
    }

    /// Its standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.errors.so_far()
    }

    /// Ctrl-C; how it ended.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        let id = self.child.0.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
        let code = self.child.wait();
        self.errors.all();
        code
    }

    /// One request, byte for byte, and its response.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> HttpResponse {
        exchange(&self.url, method, path, headers, body)
    }

    /// One operation of DynamoDB's API.
    pub(crate) fn dynamodb(&self, operation: &str, input: &Value) -> Value {
        let target = format!("X-Amz-Target: DynamoDB_20120810.{operation}");
        let headers = [
            "Content-Type: application/x-amz-json-1.0",
            &target,
            "Authorization: AWS4-HMAC-SHA256 \
             Credential=local/20240101/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host, Signature=0",
            "X-Amz-Date: 20240101T000000Z",
        ];
        let body = input.to_string();
        let response = exchange(&self.dynamodb, "POST", "/", &headers, body.as_bytes());
        assert_eq!(response.status, 200, "{}", response.body);
        response.json()
    }

    /// One request to the DynamoDB's port.
    pub(crate) fn send_to_dynamodb(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
    ) -> HttpResponse {
        exchange(&self.dynamodb, method, path, headers, b"")
    }
}

/// An HTTP response.
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl HttpResponse {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }
}

fn exchange(url: &str, method: &str, path: &str, headers: &[&str], body: &[u8]) -> HttpResponse {
    let authority = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    for line in headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    HttpResponse { status: status.expect("a status"), head: head.to_owned(), body: body.to_owned() }
}

/// A DynamoDB like the one at that URL, but for the item of a failed condition, which it does not
/// return, as an older emulator. Where it listens.
pub(crate) fn forgetful(store: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let store = store.to_owned();
    thread::spawn(move || {
        for client in listener.incoming() {
            let store = store.clone();
            thread::spawn(move || forget(&mut client.unwrap(), &store));
        }
    });
    url
}

/// One request of the client, with the response's item forgotten, and the end of the connection.
fn forget(client: &mut TcpStream, store: &str) {
    let mut request = BufReader::new(client.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if request.read_line(&mut line).unwrap_or_default() <= 2 {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let length = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    request.read_exact(&mut body).unwrap();
    let kept = ["content-type", "x-amz-", "authorization"];
    let headers = lines.iter().map(String::as_str).filter(|line| {
        let line = line.to_lowercase();
        kept.iter().any(|name| line.starts_with(name))
    });
    let headers: Vec<_> = headers.collect();
    let response = exchange(store, "POST", "/", &headers, &body);
    let mut body = response.json();
    if response.status == 400 {
        body.as_object_mut().unwrap().remove("Item");
    }
    let body = body.to_string();
    let status = response.status;
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).unwrap();
}

/// The text without its colors.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
}
