// What the page remembers: addresses for good, the key until the tab is closed.

const KEPT = ['server', 'from', 'client', 'waiting'];
const RECENT_MAX = 20;

/** Links may carry settings after the `#`, which never leaves the browser. */
export function load() {
  const fromLink = new URLSearchParams(location.hash.slice(1));
  if (fromLink.size > 0) history.replaceState(null, '', location.pathname + location.search);
  const settings = { key: fromLink.get('key') ?? sessionStorage.getItem('ringwire.key') ?? '' };
  const stored = read('ringwire.settings', {});
  for (const name of KEPT) settings[name] = fromLink.get(name) ?? stored[name] ?? '';
  settings.waiting = settings.waiting === true || settings.waiting === 'true' || settings.waiting === '1';
  save(settings);
  return { settings, number: fromLink.get('number') ?? '' };
}

export function save(settings) {
  sessionStorage.setItem('ringwire.key', settings.key);
  const kept = Object.fromEntries(KEPT.map((name) => [name, settings[name]]));
  localStorage.setItem('ringwire.settings', JSON.stringify(kept));
}

/** The call in progress, so that a reload of the page comes back to it. */
export const current = {
  get: () => read('ringwire.call', null, sessionStorage),
  set: (call) => sessionStorage.setItem('ringwire.call', JSON.stringify(call)),
  clear: () => sessionStorage.removeItem('ringwire.call'),
};

/** Calls made and taken, the latest first. */
export const recent = {
  get: () => read('ringwire.recent', []),
  add(call) {
    localStorage.setItem('ringwire.recent', JSON.stringify([call, ...recent.get()].slice(0, RECENT_MAX)));
  },
  clear: () => localStorage.removeItem('ringwire.recent'),
};

function read(name, otherwise, storage = localStorage) {
  try {
    return JSON.parse(storage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}
