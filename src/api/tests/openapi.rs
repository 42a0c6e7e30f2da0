use super::*;

#[tokio::test]
async fn every_described_operation_answers_with_a_status_it_describes() {
    let mut gateway = Gateway::start(Vec::new()).await;
    gateway.http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let (status, description) = gateway.get("/openapi.json", "").await;
    assert_eq!(status, 200);
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{} paths", paths.len());
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            // The placeholders are names of nothing; nobody says who asks.
            let (status, answer) = gateway.request(method, path, "", None).await;
            let described = operation["responses"].get(status.to_string());
            assert!(described.is_some(), "{what}: {status} {answer}");
            if operation.get("security").is_some() {
                assert_eq!(status, 401, "{what}: {answer}");
            }
            assert_ne!(status, 405, "{what}");
        }
    }
    gateway.end().await;
}

#[tokio::test]
async fn the_pages_link_leads_to_the_description_and_loads_nothing_from_elsewhere() {
    let gateway = Gateway::start(Vec::new()).await;
    let (status, _) = gateway.get("/docs", "").await;
    assert_eq!(status, 200, "the redirect leads to the page");
    for file in ["", "docs.js", "schema.js", "docs.css"] {
        let url = format!("http://{}/docs/{file}", gateway.address);
        let response = gateway.http.get(&url).send().await.unwrap();
        assert_eq!(response.status(), 200, "{url}");
        let text = response.text().await.unwrap();
        for elsewhere in ["https://", "http://", "//cdn", "@import"] {
            assert!(!text.contains(elsewhere), "{url}: {elsewhere}");
        }
    }
    gateway.end().await;
}
