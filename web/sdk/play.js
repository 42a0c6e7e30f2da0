// How a sound to be played is written.

/** `{ asset }`, `{ url }` or `{ tone }`, with `repeat`, `volumeDb`, `bargeIn`. */
export function playBody({ asset, url, tone, repeat, volumeDb, bargeIn }) {
  return { asset, url, tone, repeat: repeat === Infinity ? 'forever' : repeat, volume_db: volumeDb, barge_in: bargeIn };
}
