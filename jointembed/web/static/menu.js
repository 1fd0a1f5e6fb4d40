// @ts-check
// A menu that opens beside a button.

import { byId, el } from "./dom.js";

const MARGIN = 8; // pixels to the edges of the window

/**
 * Open a menu beside a button.
 * @param {HTMLElement} button
 * @param {[string, () => any][]} entries their texts, and what each does
 */
export function openMenu(button, entries) {
  const menu = byId("menu");
  const close = () => {
    menu.hidePopover();
    button.focus();
  };
  const items = entries.map(([text, run]) => {
    const choose = () => {
      close();
      run();
    };
    return el("button", { type: "button", role: "menuitem", tabindex: -1, onclick: choose }, text);
  });
  menu.replaceChildren(...items);
  menu.setAttribute("aria-label", button.getAttribute("aria-label"));
  menu.onkeydown = (event) => {
    const at = items.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) items.at((at + step) % items.length).focus();
    else if (event.key === "Home") items[0].focus();
    else if (event.key === "End") items.at(-1).focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  menu.showPopover();
  const { left, right, top, bottom } = button.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  menu.style.left = `${Math.max(MARGIN, Math.min(innerWidth - width - MARGIN, right - width > 0 ? right - width : left))}px`;
  menu.style.top = `${bottom + height + MARGIN > innerHeight ? top - height : bottom}px`;
  items[0].focus();
}
