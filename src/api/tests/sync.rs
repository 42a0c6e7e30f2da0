//! Lists fetched from a server that does everything wrong.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What the server does with a request.
#[derive(Clone)]
enum Reply {
    /// These bytes, then the connection is closed.
    Bytes(Vec<u8>),
    /// Nothing, ever.
    Silence,
}

/// A sync server over plain TCP, so that it can cut an answer short.
struct SyncServer {
    url: String,
    reply: Arc<Mutex<Reply>>,
    /// Heads of the requests.
    requests: mpsc::UnboundedReceiver<String>,
}

impl SyncServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reply = Arc::new(Mutex::new(ok("{}")));
        let (sender, requests) = mpsc::unbounded_channel();
        let scripted = reply.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (reply, sender) = (scripted.clone(), sender.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    let _ = sender.send(String::from_utf8(head).unwrap());
                    let reply = reply.lock().unwrap().clone();
                    match reply {
                        Reply::Bytes(bytes) => {
                            let _ = stream.write_all(&bytes).await;
                            let _ = stream.shutdown().await;
                        }
                        Reply::Silence => std::future::pending().await,
                    }
                });
            }
        });
        SyncServer {
            url: format!("http://{address}/numbers?key=hush"),
            reply,
            requests,
        }
    }

    fn answers(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    async fn next_request(&mut self) -> String {
        soon("a request", self.requests.recv()).await.unwrap()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    Reply::Bytes(text.into_bytes())
}

fn ok(body: &str) -> Reply {
    answer("200 OK", "", body)
}

fn good(numbers: &[&str]) -> String {
    let numbers: Vec<Value> = numbers
        .iter()
        .map(|number| json!({ "number": number, "subnets": ["127.0.0.0/8"] }))
        .collect();
    json!({ "numbers": numbers }).to_string()
}

async fn gateway(data: tempfile::TempDir, url: &str) -> Gateway {
    let mut config = config(data.path());
    config.sync.numbers_url = Some(url.to_string());
    // The test asks for each fetch after the first one itself.
    config.sync.interval = Duration::from_secs(86_400);
    config.sync.timeout = Duration::from_millis(300);
    config.sync.max_bytes = 4_096;
    config.sync.headers = vec![crate::config::SecretHeader {
        name: "authorization".to_string(),
        value: "Bearer hush".to_string(),
    }];
    Gateway::configured(data, config, settings(), Vec::new(), |_| None).await
}

/// The numbers in the book, and what is wrong with the last fetch.
async fn fetched(gateway: &Gateway) -> (Vec<String>, Value) {
    gateway.api.shared.sync.fetch_now(&gateway.api.shared).await;
    state(gateway)
}

fn state(gateway: &Gateway) -> (Vec<String>, Value) {
    let shared = &gateway.api.shared;
    let book = shared.directory.book();
    let mut numbers: Vec<String> = book.numbers().map(|n| n.number.clone()).collect();
    numbers.sort();
    (numbers, shared.sync.json()["numbers"].clone())
}

#[tokio::test]
async fn whatever_the_server_does_the_last_good_list_counts() {
    let mut server = SyncServer::start().await;
    server.answers(ok(&good(&["100", "200"])));
    let gateway = gateway(tempfile::tempdir().unwrap(), &server.url).await;
    let first = server.next_request().await;
    assert!(first.starts_with("GET /numbers?key=hush "), "{first}");
    assert!(first.contains("authorization: Bearer hush"), "{first}");
    let (numbers, told) = fetched(&gateway).await;
    assert_eq!(numbers, ["100", "200"]);
    assert_eq!(told["state"], "good", "{told}");
    assert!(!told.to_string().contains("hush"), "{told}");

    let cut = good(&["300"]);
    let cut = format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{cut}");
    for (reply, problem) in [
        (ok("garbage"), "no JSON"),
        (Reply::Bytes(cut.into_bytes()), "did not arrive whole"),
        (ok(&good(&[])), "is empty"),
        (ok(&json!({ "numbers": [{}] }).to_string()), "no record"),
        (answer("500 Internal Server Error", "", ""), "answers 500"),
        (
            answer("302 Found", "Location: http://192.0.2.1/\r\n", ""),
            "redirects elsewhere",
        ),
        (Reply::Silence, "no whole answer within"),
        (ok(&" ".repeat(5_000)), "longer than 4096 bytes"),
        (Reply::Bytes(b"rubbish\r\n\r\n".to_vec()), "failed"),
    ] {
        server.answers(reply);
        let (numbers, told) = fetched(&gateway).await;
        assert_eq!(numbers, ["100", "200"], "{problem}");
        assert_eq!(told["state"], "failing", "{problem}");
        let words = told["problem"].as_str().unwrap();
        assert!(words.contains(problem), "{words} is not {problem}");
        assert!(!words.contains("hush"), "{words}");
    }

    server.answers(ok(&good(&["300"])));
    let (numbers, told) = fetched(&gateway).await;
    assert_eq!(numbers, ["300"]);
    assert_eq!(
        (&told["state"], &told["failures"]),
        (&json!("good"), &json!(0))
    );
    gateway.end().await;
}

#[tokio::test]
async fn a_list_that_has_not_changed_is_not_sent_again() {
    let mut server = SyncServer::start().await;
    server.answers(answer("200 OK", "ETag: \"one\"\r\n", &good(&["100"])));
    let gateway = gateway(tempfile::tempdir().unwrap(), &server.url).await;
    server.next_request().await;
    fetched(&gateway).await;
    server.next_request().await;
    server.answers(Reply::Bytes(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()));
    let (numbers, told) = fetched(&gateway).await;
    let asked = server.next_request().await;
    assert!(asked.contains("if-none-match: \"one\""), "{asked}");
    assert_eq!(numbers, ["100"]);
    assert_eq!(told["last_result"], "unchanged", "{told}");
    gateway.end().await;
}

#[tokio::test]
async fn a_bad_record_is_named_and_the_others_count() {
    let server = SyncServer::start().await;
    let body = json!({ "numbers": [
        { "number": "100" },
        { "number": "200", "subnets": ["nowhere"] },
        { "number": "300", "app_id": "missing" },
    ]});
    server.answers(ok(&body.to_string()));
    let gateway = gateway(tempfile::tempdir().unwrap(), &server.url).await;
    let (numbers, told) = fetched(&gateway).await;
    assert_eq!(numbers, ["100"], "the app of 300 does not exist");
    assert_eq!(told["bad_records"], 1, "{told}");
    assert_eq!(told["bad"][0]["record"], "200");
    assert_eq!(told["bad"][0]["field"], "subnets");
    let (_, metrics) = (
        0,
        gateway
            .http
            .get(format!("http://{}/metrics", gateway.address))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
    );
    let line = "ringwire_sync_records{list=\"numbers\",usable=\"false\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    gateway.end().await;
}

#[tokio::test]
async fn after_a_restart_the_last_list_counts_before_the_server_answers() {
    let mut server = SyncServer::start().await;
    server.answers(ok(&good(&["100"])));
    let first = gateway(tempfile::tempdir().unwrap(), &server.url).await;
    assert_eq!(fetched(&first).await.0, ["100"]);
    let data = first.end().await;
    while server.requests.try_recv().is_ok() {}

    server.answers(Reply::Silence);
    let second = gateway(data, &server.url).await;
    // The first fetch is under way, and nothing has come of it.
    server.next_request().await;
    let (numbers, told) = state(&second);
    assert_eq!(numbers, ["100"]);
    assert_eq!(told["from_store"], true, "{told}");
    second.end().await;
}
