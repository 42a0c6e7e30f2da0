//! The number book as it is now: what the configuration, the administrators
//! and the sync answers say, merged, and told to everybody who goes by it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tokio::sync::Mutex;

use crate::book::{App, Book, CallLimits, Number, NumberRecord, RecordError, comparable, values};
use crate::call::request::CallRequest;
use crate::ids::AppId;
use crate::shard::mailbox::Shards;
use crate::store::apps::StoredApp;
use crate::store::{Store, StoreError, apps, numbers};

use super::auth::{FormerSecret, unix_ms};

/// Where a record comes from, the strongest first: where two say something of
/// one number or app, the stronger one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The configuration file.
    Config,
    /// The admin API or panel.
    Admin,
    /// A sync answer.
    Sync,
}

impl Origin {
    /// The word of API and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Config => "config",
            Origin::Admin => "admin",
            Origin::Sync => "sync",
        }
    }
}

/// What one origin says.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    /// Its apps.
    pub apps: Vec<App>,
    /// Its numbers.
    pub numbers: Vec<Arc<Number>>,
}

/// A record of some origin, and whether it counts.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// What it says.
    pub record: T,
    /// Where it comes from.
    pub origin: Origin,
    /// Why it does not count, if it does not.
    pub ignored: Option<String>,
}

/// Everything that the origins say, merged.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// What counts.
    pub book: Arc<Book>,
    /// All apps.
    pub apps: Vec<Listed<App>>,
    /// All numbers.
    pub numbers: Vec<Listed<Arc<Number>>>,
}

/// Why a change was refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A field of a number's record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The record belongs to the configuration file.
    #[error("{0} is in the configuration file; change it there, and reload")]
    Configured(String),
    /// There is no such app.
    #[error("app_id: there is no app {0:?}; add it first")]
    UnknownApp(String),
    /// An app or number is there already.
    #[error("{0} is there already")]
    Exists(String),
    /// There is none like it among those that an administrator added.
    #[error("{0} is not among those added here")]
    NotFound(String),
    /// Numbers still belong to the app.
    #[error("app {app:?} still has {numbers} numbers; remove or move them first")]
    AppInUse {
        /// Which.
        app: String,
        /// How many.
        numbers: usize,
    },
    /// Another app has the secret.
    #[error("app_secret: another app has this secret; each needs its own, for it names the app")]
    SecretTaken,
    /// The secret cannot be used.
    #[error("app_secret: {0}")]
    Secret(String),
    /// The app's id cannot be used.
    #[error("app_id: {0}")]
    AppId(String),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Told of every new view, before the shards are.
type Listener = Box<dyn Fn(&View, &[FormerSecret]) + Send + Sync>;

/// The directory.
pub struct Directory {
    view: RwLock<Arc<View>>,
    layers: Mutex<Layers>,
    store: Store,
    followers: OnceLock<Followers>,
}

/// Who goes by the book.
struct Followers {
    shards: Shards,
    listener: Listener,
    /// Who acts upon the book once it counts everywhere.
    settled: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Layers {
    config: Layer,
    admin_apps: Vec<StoredApp>,
    admin_numbers: Vec<Arc<Number>>,
    sync: Layer,
}

impl Directory {
    /// With what the configuration and the store say. Nobody goes by it before
    /// [`Directory::follow`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(config: &Book, store: Store) -> Result<Directory, StoreError> {
        let records = store.read_blocking(numbers::all)?;
        let layers = Layers {
            config: Layer::of_book(config),
            admin_apps: store.read_blocking(apps::all)?,
            admin_numbers: readable(&records),
            sync: Layer::default(),
        };
        let view = layers.merged();
        Ok(Directory {
            view: RwLock::new(Arc::new(view)),
            layers: Mutex::new(layers),
            store,
            followers: OnceLock::new(),
        })
    }

    /// From now on these hear of every change. The shards have started with
    /// the book as it is; the listener is told it now. `settled` is called once
    /// a change counts everywhere.
    pub fn follow(
        &self,
        shards: Shards,
        listener: impl Fn(&View, &[FormerSecret]) + Send + Sync + 'static,
        settled: impl Fn() + Send + Sync + 'static,
    ) {
        // Nobody changes the book before somebody follows it.
        if let Ok(layers) = self.layers.try_lock() {
            listener(&self.view(), &layers.former_secrets());
        }
        let listener = Box::new(listener);
        let settled = Box::new(settled);
        let _ = self.followers.set(Followers {
            shards,
            listener,
            settled,
        });
    }

    /// Everything as it counts now.
    pub fn view(&self) -> Arc<View> {
        self.view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The book as it counts now.
    pub fn book(&self) -> Arc<Book> {
        self.view().book.clone()
    }

    /// The configuration was read anew: whether its apps and whether its
    /// numbers differ from those before.
    pub async fn use_config(&self, config: &Book) -> (bool, bool) {
        let mut layers = self.layers.lock().await;
        let fresh = Layer::of_book(config);
        let apps = fresh.apps != layers.config.apps;
        let numbers = fresh.numbers != layers.config.numbers;
        if apps || numbers {
            layers.config = fresh;
            self.apply(&layers).await;
        }
        (apps, numbers)
    }

    /// The apps that an administrator has added, with what is kept of them.
    pub async fn stored_apps(&self) -> Vec<StoredApp> {
        self.layers.lock().await.admin_apps.clone()
    }

    /// A sync answer came: what it holds takes the place of the last one's.
    /// `None` leaves the last one's.
    pub async fn use_sync(&self, apps: Option<Vec<App>>, numbers: Option<Vec<Arc<Number>>>) {
        let mut layers = self.layers.lock().await;
        if let Some(apps) = apps {
            layers.sync.apps = apps;
        }
        if let Some(numbers) = numbers {
            layers.sync.numbers = numbers;
        }
        self.apply(&layers).await;
    }

    /// Adds a number. It counts from the next call on.
    ///
    /// # Errors
    /// What is wrong with the record, or why it could not be kept.
    pub async fn add_number(&self, record: NumberRecord) -> Result<Arc<Number>, ChangeError> {
        let mut layers = self.layers.lock().await;
        let key = comparable(&record.number);
        if layers.admin_number(&key).is_some() {
            return Err(ChangeError::Exists(format!("number {:?}", record.number)));
        }
        self.keep_number(&mut layers, record, None).await
    }

    /// Puts a record in place of that of a number that was added by
    /// [`Directory::add_number`]; passwords that it leaves out stay as they
    /// are. It counts from the next call on.
    ///
    /// # Errors
    /// There is no such number, what is wrong with the record, or why it could
    /// not be kept.
    pub async fn change_number(
        &self,
        number: &str,
        mut record: NumberRecord,
    ) -> Result<Arc<Number>, ChangeError> {
        let mut layers = self.layers.lock().await;
        let old_key = comparable(number);
        let Some(old) = layers.admin_number(&old_key).cloned() else {
            return Err(layers.no_number(number));
        };
        let new_key = comparable(&record.number);
        if new_key != old_key && layers.admin_number(&new_key).is_some() {
            return Err(ChangeError::Exists(format!("number {:?}", record.number)));
        }
        record.keep_passwords(&old);
        self.keep_number(&mut layers, record, Some(old.number.clone()))
            .await
    }

    /// Keeps a record, in place of that of `old`.
    async fn keep_number(
        &self,
        layers: &mut Layers,
        record: NumberRecord,
        old: Option<String>,
    ) -> Result<Arc<Number>, ChangeError> {
        let number = Arc::new(record.to_number()?);
        let key = comparable(&number.number);
        if layers.config.has_number(&key) {
            return Err(ChangeError::Configured(format!(
                "number {:?}",
                number.number
            )));
        }
        if self.book().app(&number.app).is_none() {
            return Err(ChangeError::UnknownApp(number.app.to_string()));
        }
        let old_key = old.as_deref().map(comparable);
        self.store
            .write(move |connection| {
                if let Some(old) = &old {
                    numbers::delete(connection, old)?;
                }
                numbers::put(connection, &record, unix_ms())
            })
            .await?;
        layers.admin_numbers.retain(|kept| {
            let kept = comparable(&kept.number);
            kept != key && Some(&kept) != old_key.as_ref()
        });
        layers.admin_numbers.push(number.clone());
        self.apply(layers).await;
        Ok(number)
    }

    /// Removes a number that was added by [`Directory::add_number`].
    ///
    /// # Errors
    /// When there is none, or it could not be removed.
    pub async fn remove_number(&self, number: &str) -> Result<(), ChangeError> {
        let mut layers = self.layers.lock().await;
        let key = comparable(number);
        if layers.admin_number(&key).is_none() {
            return Err(layers.no_number(number));
        }
        let gone = number.to_string();
        self.store
            .write(move |connection| numbers::delete(connection, &gone))
            .await?;
        layers
            .admin_numbers
            .retain(|old| comparable(&old.number) != key);
        self.apply(&layers).await;
        Ok(())
    }

    /// Adds an app.
    ///
    /// # Errors
    /// When it is there already, its secret is taken, or it could not be kept.
    pub async fn add_app(
        &self,
        app_id: &str,
        secret: &str,
        limits: CallLimits,
    ) -> Result<(), ChangeError> {
        let mut layers = self.layers.lock().await;
        values::app_id(app_id).map_err(ChangeError::AppId)?;
        if self.book().app(&AppId::new(app_id)).is_some() {
            return Err(ChangeError::Exists(format!("app {app_id:?}")));
        }
        let app = StoredApp {
            app_id: app_id.to_string(),
            secret: layers.free_secret(secret)?,
            previous: None,
            created_ms: unix_ms(),
            limits,
        };
        self.keep_app(&mut layers, app).await
    }

    /// Gives an app that was added by [`Directory::add_app`] other limits. They
    /// count from the next call on.
    ///
    /// # Errors
    /// When there is no such app here, or it could not be kept.
    pub async fn limit_app(&self, app_id: &str, limits: CallLimits) -> Result<(), ChangeError> {
        let mut layers = self.layers.lock().await;
        let app = StoredApp {
            limits,
            ..layers.admin_app(app_id)?.clone()
        };
        self.keep_app(&mut layers, app).await
    }

    /// Gives an app another secret; the one it has still opens it until then
    /// (milliseconds since the Unix epoch).
    ///
    /// # Errors
    /// When there is no such app here, or it could not be kept.
    pub async fn rotate_secret(
        &self,
        app_id: &str,
        secret: &str,
        until_ms: u64,
    ) -> Result<(), ChangeError> {
        let mut layers = self.layers.lock().await;
        let old = layers.admin_app(app_id)?.clone();
        let app = StoredApp {
            secret: layers.free_secret(secret)?,
            previous: Some((old.secret, until_ms)),
            ..old
        };
        self.keep_app(&mut layers, app).await
    }

    /// Removes an app that was added by [`Directory::add_app`].
    ///
    /// # Errors
    /// When there is none, it has numbers, or it could not be removed.
    pub async fn remove_app(&self, app_id: &str) -> Result<(), ChangeError> {
        let mut layers = self.layers.lock().await;
        layers.admin_app(app_id)?;
        let numbers = layers.numbers_of(app_id);
        if numbers > 0 {
            return Err(ChangeError::AppInUse {
                app: app_id.to_string(),
                numbers,
            });
        }
        let gone = app_id.to_string();
        self.store
            .write(move |connection| apps::delete(connection, &gone))
            .await?;
        layers.admin_apps.retain(|app| app.app_id != app_id);
        self.apply(&layers).await;
        Ok(())
    }

    async fn keep_app(&self, layers: &mut Layers, app: StoredApp) -> Result<(), ChangeError> {
        let row = app.clone();
        self.store
            .write(move |connection| apps::put(connection, &row))
            .await?;
        layers.admin_apps.retain(|old| old.app_id != app.app_id);
        layers.admin_apps.push(app);
        self.apply(layers).await;
        Ok(())
    }

    /// Merges, and tells everybody. A shard that does not answer in time takes
    /// the book later: it is in its mailbox.
    async fn apply(&self, layers: &Layers) {
        let view = Arc::new(layers.merged());
        let followers = self.followers.get();
        if let Some(followers) = followers {
            (followers.listener)(&view, &layers.former_secrets());
        }
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view.clone();
        let Some(Followers {
            shards, settled, ..
        }) = followers
        else {
            return;
        };
        for shard in shards.all() {
            let request = CallRequest::UseBook(view.book.clone());
            let told = shards.request(shard, request);
            match tokio::time::timeout(super::SHARD_TIMEOUT, told).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => {
                    tracing::error!(shard = shard.0, "a shard did not take the new number book");
                }
            }
        }
        settled();
    }
}

impl Layer {
    /// In a fixed order, the root app first: where two apps have one secret,
    /// it is the root app's.
    fn of_book(book: &Book) -> Layer {
        let mut apps: Vec<App> = book.apps().cloned().collect();
        apps.sort_by_key(|app| (app.id.as_str() != AppId::ROOT, app.id.to_string()));
        let mut numbers: Vec<Arc<Number>> = book.numbers().cloned().collect();
        numbers.sort_by(|a, b| a.number.cmp(&b.number));
        Layer { apps, numbers }
    }

    fn has_number(&self, key: &str) -> bool {
        self.numbers
            .iter()
            .any(|number| comparable(&number.number) == key)
    }
}

impl Layers {
    fn merged(&self) -> View {
        let admin = Layer {
            apps: self.admin_apps.iter().map(StoredApp::app).collect(),
            numbers: self.admin_numbers.clone(),
        };
        let layers = [
            (Origin::Config, &self.config),
            (Origin::Admin, &admin),
            (Origin::Sync, &self.sync),
        ];
        let mut book = Book::default();
        let mut origins: HashMap<String, Origin> = HashMap::new();
        let mut secrets = HashSet::new();
        let mut view = View::default();
        for (origin, layer) in layers {
            for app in &layer.apps {
                let ignored = if book.app(&app.id).is_some() {
                    Some("a stronger origin has an app of this id".to_string())
                } else if !secrets.insert(app.secret.clone()) {
                    Some("another app has its secret; each needs its own".to_string())
                } else {
                    book.add_app(app.clone());
                    None
                };
                view.apps.push(Listed {
                    record: app.clone(),
                    origin,
                    ignored,
                });
            }
        }
        for (origin, layer) in layers {
            for number in &layer.numbers {
                let key = comparable(&number.number);
                let ignored = if book.app(&number.app).is_none() {
                    Some(format!("there is no app {:?}", number.app.as_str()))
                } else if book.add_number(number.clone()) {
                    origins.insert(key, origin);
                    None
                } else {
                    let stronger = origins.get(&key).map_or("another", |origin| origin.name());
                    Some(format!("the {stronger} record of this number counts"))
                };
                view.numbers.push(Listed {
                    record: number.clone(),
                    origin,
                    ignored,
                });
            }
        }
        view.book = Arc::new(book);
        view
    }

    fn former_secrets(&self) -> Vec<FormerSecret> {
        let former = |app: &StoredApp| {
            let (secret, until_ms) = app.previous.clone()?;
            Some(FormerSecret {
                app: AppId::new(&app.app_id),
                secret,
                until_ms,
            })
        };
        self.admin_apps.iter().filter_map(former).collect()
    }

    fn admin_number(&self, key: &str) -> Option<&Arc<Number>> {
        let mut numbers = self.admin_numbers.iter();
        numbers.find(|number| comparable(&number.number) == key)
    }

    /// Why this number cannot be changed here.
    fn no_number(&self, number: &str) -> ChangeError {
        match self.config.has_number(&comparable(number)) {
            true => ChangeError::Configured(format!("number {number:?}")),
            false => ChangeError::NotFound(format!("number {number:?}")),
        }
    }

    fn admin_app(&self, app_id: &str) -> Result<&StoredApp, ChangeError> {
        let found = self.admin_apps.iter().find(|app| app.app_id == app_id);
        let configured = || self.config.apps.iter().any(|app| app.id.as_str() == app_id);
        found.ok_or_else(|| match configured() {
            true => ChangeError::Configured(format!("app {app_id:?}")),
            false => ChangeError::NotFound(format!("app {app_id:?}")),
        })
    }

    fn numbers_of(&self, app_id: &str) -> usize {
        let numbers = self.config.numbers.iter().chain(&self.admin_numbers);
        let numbers = numbers.chain(&self.sync.numbers);
        numbers
            .filter(|number| number.app.as_str() == app_id)
            .count()
    }

    /// The secret, if it can be one and no app has or had it.
    fn free_secret(&self, secret: &str) -> Result<String, ChangeError> {
        values::secret(secret).map_err(ChangeError::Secret)?;
        let current = self.config.apps.iter().chain(&self.sync.apps);
        let taken = current.map(|app| app.secret.as_str());
        let taken = taken.chain(self.admin_apps.iter().map(|app| app.secret.as_str()));
        let former = self
            .admin_apps
            .iter()
            .filter_map(|app| app.previous.as_ref());
        let mut taken = taken.chain(former.map(|(secret, _)| secret.as_str()));
        match taken.any(|other| other == secret) {
            true => Err(ChangeError::SecretTaken),
            false => Ok(secret.to_string()),
        }
    }
}

fn readable(records: &[NumberRecord]) -> Vec<Arc<Number>> {
    let read = |record: &NumberRecord| match record.to_number() {
        Ok(number) => Some(Arc::new(number)),
        Err(problem) => {
            tracing::error!(number = record.number, %problem, "a number in the database is left out");
            None
        }
    };
    records.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests;
