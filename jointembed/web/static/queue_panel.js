// @ts-check
// The queue under the list: its songs with buttons that move and remove them, and what follows when it is empty.

import { byId, el, iconButton } from "./dom.js";
import { plainText } from "./format.js";

export class QueuePanel {
  /**
   * @param {import("./queue.js").Queue} queue
   * @param {(song: import("./queue.js").Song, at: number) => any} play
   * @param {any[]} modes the buttons of what follows
   */
  constructor(root, queue, play, modes) {
    this.root = root;
    this.queue = queue;
    this.play = play;
    this.clear = el("button", { class: "link", type: "button", onclick: () => this.empty() }, "Clear");
    this.list = el("ol", { "aria-label": "Queue" });
    this.hint = el("p", { class: "hint" });
    const heading = el("h2", { id: "queue-heading", tabindex: -1 }, "Up next");
    root.append(
      el("div", { class: "over" }, heading, this.clear),
      this.list,
      this.hint,
      el("div", { class: "modes" }, ...modes),
    );
    this.heading = heading;
    let dragged = 0;
    this.list.addEventListener("dragstart", (event) => {
      dragged = this.placeOf(event.target);
      event.dataTransfer.effectAllowed = "move";
    });
    this.list.addEventListener("drop", (event) => {
      const place = this.placeOf(event.target);
      if (place >= 0) this.queue.move(dragged, place);
    });
  }

  placeOf(node) {
    return [...this.list.children].indexOf(node.closest("li"));
  }

  empty() {
    this.queue.clear();
    this.heading.focus();
  }

  /** @param {string} hint what follows after the last song */
  show(hint) {
    const { songs } = this.queue;
    const focused = /** @type {any} */ (document.activeElement);
    const row = this.list.contains(focused) ? this.placeOf(focused) : -1;
    const name = focused?.dataset.action;
    this.list.replaceChildren(...songs.map((song, at) => this.item(song, at)));
    this.list.hidden = this.clear.hidden = !songs.length;
    this.hint.textContent = hint;
    if (row < 0) return;
    const action = this.list.children[Math.min(row, songs.length - 1)]?.querySelector(`[data-action="${name}"]`);
    (action ?? this.heading).focus();
  }

  item(song, at) {
    const { queue } = this;
    const title = plainText(song.title);
    const move = (step) => {
      if (at + step < 0 || at + step >= queue.songs.length) return;
      queue.move(at, at + step);
      // The focus stays with the song.
      const name = step < 0 ? "up" : "down";
      this.list.children[at + step].querySelector(`[data-action="${name}"]`).focus();
      byId("status").textContent = `${title}: place ${at + step + 1} of ${queue.songs.length}`;
    };
    const first = at === 0 ? "true" : null;
    const last = at === queue.songs.length - 1 ? "true" : null;
    return el(
      "li",
      { draggable: "true" },
      el(
        "button",
        { class: "song", type: "button", title: "Play now", dir: "auto", onclick: () => this.play(song, at) },
        title,
      ),
      iconButton("up", `Move ${title} up`, () => move(-1), { "data-action": "up", "aria-disabled": first }),
      iconButton("down", `Move ${title} down`, () => move(1), { "data-action": "down", "aria-disabled": last }),
      iconButton("close", `Remove ${title} from the queue`, () => queue.remove(at), { "data-action": "remove" }),
    );
  }
}
