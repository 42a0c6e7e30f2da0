//! A server that hooks are posted to.

use super::*;

/// What a hook receiver got.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Posted {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// Status, content type and body of an answer; no answer at all if none.
pub(super) type HookReply = Option<(u16, &'static str, Vec<u8>)>;

/// A server that hooks are posted to: gives the replies in turn, then 204s.
pub(super) struct Receiver {
    pub(super) url: String,
    pub(super) replies: Arc<Mutex<VecDeque<HookReply>>>,
    pub(super) posts: mpsc::UnboundedReceiver<Posted>,
}

impl Receiver {
    pub(super) async fn start(replies: Vec<HookReply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Receiver::serve(listener, replies)
    }

    pub(super) fn serve(listener: TcpListener, replies: Vec<HookReply>) -> Self {
        let replies = Arc::new(Mutex::new(VecDeque::from(replies)));
        let (sender, posts) = mpsc::unbounded_channel();
        let script = replies.clone();
        let answer = move |headers: axum::http::HeaderMap, body: axum::body::Bytes| {
            let (replies, sender) = (script.clone(), sender.clone());
            async move {
                let _ = sender.send(Posted {
                    headers,
                    body: body.to_vec(),
                });
                let reply = replies.lock().unwrap().pop_front();
                let (status, content_type, body) = match reply {
                    Some(Some(reply)) => reply,
                    Some(None) => std::future::pending().await,
                    None => (204, "text/plain", Vec::new()),
                };
                axum::http::Response::builder()
                    .status(status)
                    .header("Content-Type", content_type)
                    .header("Location", "/elsewhere")
                    .body(axum::body::Body::from(body))
                    .unwrap()
            }
        };
        let url = format!("http://{}/hook?key=1", listener.local_addr().unwrap());
        let router = axum::Router::new().route("/hook", axum::routing::post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver {
            url,
            replies,
            posts,
        }
    }

    /// From now on everything is taken.
    pub(super) fn recovers(&self) {
        self.replies.lock().unwrap().clear();
    }

    pub(super) fn hook(&self, content_type: HookContentType) -> Hook {
        Hook {
            url: Arc::from(self.url.as_str()),
            content_type,
            trusted: false,
        }
    }

    pub(super) async fn next(&mut self) -> Posted {
        soon("a hook", self.posts.recv()).await.unwrap()
    }
}
