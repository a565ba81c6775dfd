// The bot's commands above the text: all of them, or those that begin as the text does.

import { $, h, show } from "./dom.js";

export class Menu {
  #box = $("menu");
  #text = $("text");
  #shown = [];
  #chosen = -1;
  #asked = 0;
  #fetch;

  /** `fetch()` gives the commands of the open chat, as a promise of Bot API BotCommands, or of undefined. */
  constructor(fetch) {
    this.#fetch = fetch;
    this.#text.addEventListener("blur", () => this.close());
    $("commands").addEventListener("mousedown", (event) => event.preventDefault()); // The text keeps the focus.
    $("commands").addEventListener("click", () => this.#toggle());
  }

  get open() {
    return !this.#box.hidden;
  }

  /** Follow what is being written. */
  async follow() {
    const begun = /^\/(\w*)$/.exec(this.#text.value);
    if (!begun) return this.close();
    await this.#offer(({ command }) => command.startsWith(begun[1].toLowerCase()));
  }

  /** Takes arrow keys, Tab, Enter and Escape while open; returns whether it did. */
  press(event) {
    if (!this.open) return false;
    const { key } = event;
    if (key === "Tab" && event.shiftKey) return false;
    if (key === "Escape") this.close();
    else if (key === "ArrowDown" || key === "ArrowUp") this.#choose(this.#chosen + (key === "ArrowDown" ? 1 : -1));
    else if (key === "Tab" || (key === "Enter" && !this.#isWritten())) this.#take(this.#shown[Math.max(this.#chosen, 0)]);
    else return false;
    event.preventDefault();
    return true;
  }

  close() {
    this.#asked += 1;
    show(this.#box, false);
    $("commands").setAttribute("aria-expanded", "false");
    this.#text.removeAttribute("aria-activedescendant");
  }

  async #toggle() {
    if (this.open) return this.close();
    this.#text.focus();
    await this.#offer(() => true);
  }

  async #offer(fits) {
    const turn = ++this.#asked;
    const found = (await this.#fetch()) ?? [];
    if (turn !== this.#asked) return;
    this.#shown = found.filter(fits);
    if (!this.#shown.length) return this.close();
    this.#box.replaceChildren(...this.#shown.map((one, place) => this.#option(one, place)));
    show(this.#box, true);
    $("commands").setAttribute("aria-expanded", "true");
    this.#choose(0);
  }

  #option(one, place) {
    const words = [h("b", {}, `/${one.command}`), h("span", { dir: "auto" }, one.description)];
    const option = h("li", { id: `option-${place}`, role: "option" }, ...words);
    option.addEventListener("mousedown", (event) => event.preventDefault());
    option.addEventListener("click", () => this.#take(one));
    return option;
  }

  #choose(place) {
    const count = this.#shown.length;
    this.#chosen = (place + count) % count;
    [...this.#box.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === this.#chosen)));
    this.#box.children[this.#chosen].scrollIntoView({ block: "nearest" });
    this.#text.setAttribute("aria-activedescendant", `option-${this.#chosen}`);
  }

  #isWritten() {
    return this.#text.value === `/${this.#shown[Math.max(this.#chosen, 0)].command}`;
  }

  #take({ command }) {
    this.#text.value = `/${command} `;
    this.close();
    this.#text.focus();
  }
}
