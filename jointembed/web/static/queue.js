// @ts-check
// The songs to play next, in their order, and those that were played.

const MAX_HISTORY = 200;

/** @typedef {{id: string, title: string, audio: string}} Song */

export class Queue {
  /** @type {Song[]} */
  songs = [];
  /** @type {string[]} */
  history = []; // ids, the latest last

  /** @param {() => any} onChange */
  constructor(onChange) {
    this.onChange = onChange;
  }

  /** @param {...Song} songs */
  add(...songs) {
    this.songs.push(...songs);
    this.onChange();
  }

  /** Add songs before all others. @param {...Song} songs */
  addNext(...songs) {
    this.songs.unshift(...songs);
    this.onChange();
  }

  /** Take the next song out. @returns {Song | undefined} */
  shift() {
    const song = this.songs.shift();
    if (song) this.onChange();
    return song;
  }

  remove(at) {
    this.songs.splice(at, 1);
    this.onChange();
  }

  /** Move a song to another place. */
  move(from, to) {
    const place = Math.min(this.songs.length - 1, Math.max(0, to));
    this.songs.splice(place, 0, ...this.songs.splice(from, 1));
    this.onChange();
  }

  clear() {
    this.songs = [];
    this.onChange();
  }

  /** Remember that a song was played. */
  remember(id) {
    this.history = [...this.history.filter((each) => each !== id), id].slice(-MAX_HISTORY);
  }

  /** Whether a song is in the queue or was played. */
  has(id) {
    return this.history.includes(id) || this.songs.some((song) => song.id === id);
  }

  toJSON() {
    return { songs: this.songs, history: this.history };
  }

  /** Take over what `toJSON` gave. @param {any} saved */
  restore({ songs, history }) {
    const isSong = (song) => [song?.id, song?.title, song?.audio].every((each) => typeof each === "string");
    this.songs = Array.isArray(songs) ? songs.filter(isSong) : [];
    this.history = Array.isArray(history) ? history.filter((id) => typeof id === "string") : [];
    this.onChange();
  }
}

/**
 * Some of the first ones of a list, at random.
 * @template T
 * @param {T[]} list in the order of nearness
 * @param {number} count of those that are drawn
 * @param {number} among how many of the first
 * @returns {T[]}
 */
export function drawNearest(list, count, among, random = Math.random) {
  const nearest = list.slice(0, among);
  const drawn = [];
  while (nearest.length && drawn.length < count) drawn.push(...nearest.splice(Math.floor(random() * nearest.length), 1));
  return drawn;
}
