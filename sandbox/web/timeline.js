// The messages of the open chat: kept in step with the store, at the end unless the reader scrolled up.

import { bubble } from "./bubble.js";
import { $, day, h, show } from "./dom.js";

const NEAR = 80; // pixels from an edge that count as being there

const sameAlbum = (one, other) =>
  one.media_group_id !== undefined && one.media_group_id === other.media_group_id && one.from.id === other.from.id;

export class Timeline {
  #store;
  #actions;
  #list = $("messages");
  #scroller = $("scroller");
  #units = []; // what is shown: {messages, element}, an album being one
  #chat = null;
  #me = null;
  #active = null;
  #fresh = 0; // messages that came while the reader was further up
  #turn = 0; // how often a chat was opened
  #stick = true; // to the end, as messages come and the window changes
  #seen = {}; // the scroller's place and sizes in pixels, when last looked

  constructor(store, actions) {
    this.#store = store;
    this.#actions = { ...actions, go: (id) => this.#go(id) };
    store.addEventListener("sent", ({ detail }) => this.#sent(detail));
    store.addEventListener("edited", ({ detail }) => this.#edited(detail));
    store.addEventListener("deleted", ({ detail }) => this.#deleted(detail));
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#list.addEventListener("keydown", (event) => this.#walk(event));
    this.#list.addEventListener("focusin", ({ target }) => this.#activate(this.#unitOf(target)));
    $("newest").addEventListener("click", () => this.#toEnd());
    $("earlier").addEventListener("click", () => this.#loadEarlier());
    const sizes = new ResizeObserver(() => this.#stick && this.#toEnd());
    for (const element of [this.#scroller, this.#list]) sizes.observe(element);
  }

  /** Show a chat as this person sees it. */
  async open(chat, me) {
    const turn = ++this.#turn;
    this.#chat = chat;
    this.#me = me;
    this.#units = [];
    this.#list.replaceChildren();
    show($("earlier"), false);
    this.#list.setAttribute("aria-busy", "true");
    if (!chat.loaded) await this.#store.load(chat);
    if (turn !== this.#turn) return;
    this.#append([...chat.messages.values()]);
    this.#settle();
    this.#toEnd();
  }

  #settle() {
    this.#list.removeAttribute("aria-busy");
    show($("earlier"), !this.#chat.complete);
  }

  #sent({ chat, message }) {
    if (chat !== this.#chat || !chat.loaded || this.#unit(message.message_id)) return;
    const mine = message.from.id === this.#me.id;
    const follow = this.#stick || mine;
    this.#append([message]);
    if (follow) this.#toEnd();
    else this.#tellFresh(this.#fresh + 1);
  }

  #edited({ chat, message }) {
    const unit = chat === this.#chat && this.#unit(message.message_id);
    if (!unit) return;
    unit.messages = unit.messages.map((known) => (known.message_id === message.message_id ? message : known));
    this.#redraw(unit);
    if (this.#stick) this.#toEnd();
  }

  #deleted({ chat, message_id: id }) {
    const unit = chat === this.#chat && this.#unit(id);
    if (!unit) return;
    unit.messages = unit.messages.filter((message) => message.message_id !== id);
    if (unit.messages.length) return this.#redraw(unit);
    if (unit.element.contains(document.activeElement)) $("text").focus();
    unit.element.remove();
    this.#units.splice(this.#units.indexOf(unit), 1);
    for (const line of this.#list.querySelectorAll("h2")) if (line.nextElementSibling?.tagName !== "ARTICLE") line.remove();
    if (this.#active === unit) this.#activate(this.#units.at(-1));
  }

  /** Add messages at the end. */
  #append(messages) {
    const added = this.#group(messages, this.#units.at(-1));
    let before = this.#units.at(-1);
    for (const unit of added) {
      this.#list.append(...this.#dateLine(before, unit), unit.element);
      this.#units.push(unit);
      before = unit;
    }
    if (!this.#list.contains(document.activeElement)) this.#activate(this.#units.at(-1));
  }

  /** Messages as units; those of the album `open` are added to it. */
  #group(messages, open) {
    const added = [];
    for (const message of messages) {
      const last = added.at(-1) ?? open;
      if (last && sameAlbum(last.messages[0], message)) {
        last.messages.push(message);
        if (last === open) this.#redraw(last);
      } else added.push({ messages: [message] });
    }
    return added.map((unit) => this.#draw(unit));
  }

  #draw(unit) {
    const [{ from, chat }] = unit.messages;
    const mine = from.id === this.#me.id;
    unit.element = bubble(unit.messages, { mine, named: !mine && chat.type !== "private", actions: this.#actions });
    this.#reach(unit, unit === this.#active);
    return unit;
  }

  /** Draw a unit again, leaving the reader's focus where it was. */
  #redraw(unit) {
    const old = unit.element;
    const focusable = (element) => [element, ...element.querySelectorAll("button, a")];
    const place = focusable(old).indexOf(document.activeElement);
    this.#draw(unit);
    old.replaceWith(unit.element);
    if (place >= 0) (focusable(unit.element)[place] ?? unit.element).focus({ preventScroll: true });
  }

  #dateLine(before, { messages: [{ date }] }) {
    const words = day(date);
    return before && day(before.messages[0].date) === words ? [] : [h("h2", { class: "day" }, words)];
  }

  #unit(id) {
    return this.#units.findLast(({ messages }) => messages.some((message) => message.message_id === id));
  }

  #unitOf(element) {
    const article = element.closest("article");
    return this.#units.find((unit) => unit.element === article);
  }

  // One message at a time can be reached with Tab, with what is in it; the arrow keys lead to the others.
  #activate(unit) {
    if (!unit || unit === this.#active) return;
    if (this.#active) this.#reach(this.#active, false);
    this.#active = unit;
    this.#reach(unit, true);
  }

  #reach(unit, yes) {
    const index = yes ? 0 : -1;
    unit.element.tabIndex = index;
    for (const inner of unit.element.querySelectorAll("button, a")) inner.tabIndex = index;
  }

  #walk(event) {
    const step = { ArrowUp: -1, ArrowDown: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!step || event.target.tagName === "TEXTAREA") return;
    event.preventDefault();
    const place = this.#units.indexOf(this.#unitOf(event.target)) + step;
    this.#units[Math.max(0, Math.min(place, this.#units.length - 1))]?.element.focus();
  }

  #go(id) {
    const unit = this.#unit(id);
    if (!unit) return;
    unit.element.scrollIntoView({ block: "center" });
    unit.element.focus({ preventScroll: true });
    unit.element.classList.add("found");
    unit.element.addEventListener("animationend", () => unit.element.classList.remove("found"), { once: true });
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    // Where the sizes have changed meanwhile, it may be they that moved the place, and not the reader.
    const isReader = scrollHeight === this.#seen.scrollHeight && clientHeight === this.#seen.clientHeight;
    if (scrollHeight - clientHeight - scrollTop < NEAR) this.#stick = true;
    else if (isReader && scrollTop < this.#seen.scrollTop) this.#stick = false;
    this.#seen = { scrollTop, scrollHeight, clientHeight };
    if (this.#stick) this.#tellFresh(0);
    if (scrollTop < NEAR) this.#loadEarlier();
  }

  async #loadEarlier() {
    const chat = this.#chat;
    if (!chat?.loaded || chat.loading || chat.complete) return;
    this.#list.setAttribute("aria-busy", "true");
    try {
      const found = await this.#store.load(chat);
      if (chat === this.#chat) this.#prepend(found);
    } finally {
      if (chat === this.#chat) this.#settle();
    }
  }

  /** Add messages at the beginning, and keep what the reader sees in its place. */
  #prepend(messages) {
    const height = this.#scroller.scrollHeight;
    const [oldest] = this.#units;
    const added = this.#group(messages);
    if (oldest && added.length && sameAlbum(added.at(-1).messages[0], oldest.messages[0])) {
      oldest.messages.unshift(...added.pop().messages);
      this.#redraw(oldest);
    }
    const nodes = added.flatMap((unit, place) => [...this.#dateLine(added[place - 1], unit), unit.element]);
    if (oldest && added.length && !this.#dateLine(added.at(-1), oldest).length) this.#list.firstElementChild.remove();
    this.#list.prepend(...nodes);
    this.#units.unshift(...added);
    this.#scroller.scrollTop += this.#scroller.scrollHeight - height;
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#stick = true;
    this.#tellFresh(0);
  }

  #tellFresh(count) {
    this.#fresh = count;
    $("newest").textContent = `↓ ${count} new`;
    show($("newest"), count > 0);
  }
}
