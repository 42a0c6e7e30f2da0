use super::*;

fn layer(apps: &[(&str, &str)], numbers: &[(&str, &str)]) -> Layer {
    let app = |(id, secret): &(&str, &str)| App {
        id: AppId::new(id),
        secret: (*secret).to_string(),
        limits: crate::book::CallLimits::default(),
    };
    let number = |(number, app): &(&str, &str)| {
        let record = NumberRecord {
            number: (*number).to_string(),
            app_id: Some((*app).to_string()),
            ..NumberRecord::default()
        };
        Arc::new(record.to_number().unwrap())
    };
    Layer {
        apps: apps.iter().map(app).collect(),
        numbers: numbers.iter().map(number).collect(),
    }
}

fn stored(app_id: &str, secret: &str) -> StoredApp {
    StoredApp {
        app_id: app_id.to_string(),
        secret: secret.to_string(),
        previous: None,
        created_ms: 0,
        limits: CallLimits::default(),
    }
}

/// `number origin`, and why it is ignored.
fn listed(view: &View) -> Vec<String> {
    let line = |listed: &Listed<Arc<Number>>| {
        let (number, origin) = (&listed.record.number, listed.origin.name());
        match &listed.ignored {
            Some(why) => format!("{number} {origin}: {why}"),
            None => format!("{number} {origin}"),
        }
    };
    view.numbers.iter().map(line).collect()
}

#[test]
fn the_stronger_origin_of_a_number_counts_however_it_is_written() {
    let layers = Layers {
        config: layer(&[("root", "r")], &[("+49 30 1", "root")]),
        admin_apps: vec![stored("acme", "a")],
        admin_numbers: layer(&[], &[("49301", "acme"), ("200", "acme")]).numbers,
        sync: layer(&[], &[("2-00", "root"), ("300", "root")]),
    };
    let view = layers.merged();
    assert_eq!(
        listed(&view),
        [
            "+49 30 1 config",
            "49301 admin: the config record of this number counts",
            "200 admin",
            "2-00 sync: the admin record of this number counts",
            "300 sync",
        ]
    );
    assert_eq!(view.book.len(), 3);
    assert_eq!(view.book.number("200").unwrap().app, AppId::new("acme"));
}

#[test]
fn a_number_of_an_app_that_is_not_there_does_not_count_until_it_is() {
    let mut layers = Layers {
        config: layer(&[("root", "r")], &[]),
        sync: layer(&[], &[("300", "late")]),
        ..Layers::default()
    };
    let view = layers.merged();
    assert_eq!(listed(&view), ["300 sync: there is no app \"late\""]);
    assert!(view.book.number("300").is_none());
    layers.admin_apps.push(stored("late", "l"));
    assert!(layers.merged().book.number("300").is_some());
}

#[test]
fn two_apps_never_share_a_secret() {
    let layers = Layers {
        config: layer(&[("root", "r")], &[]),
        sync: layer(&[("copy", "r"), ("root", "other"), ("fine", "f")], &[]),
        ..Layers::default()
    };
    let view = layers.merged();
    let ignored: Vec<_> = view.apps.iter().map(|app| app.ignored.is_some()).collect();
    assert_eq!(ignored, [false, true, true, false]);
    assert_eq!(view.book.app(&AppId::new("root")).unwrap().secret, "r");
    assert!(matches!(
        layers.free_secret("f"),
        Err(ChangeError::SecretTaken)
    ));
    assert!(matches!(
        layers.free_secret("two words"),
        Err(ChangeError::Secret(_))
    ));
    assert_eq!(layers.free_secret("new").unwrap(), "new");
}
