// A guided tour above the writing box. A step is done when the bot says what it waits for; the reader may go on sooner.

import * as api from "./api.js";
import { $, h, show } from "./dom.js";
import { thumbnail } from "./samples.js";

const PLACE = "tour"; // how far this browser came, in which world
const LOOK_BACK = 1000; // messages

export class Tour {
  #store;
  #actions;
  #steps = [];
  #me = 0;
  #state = { world: null, step: 0, since: 0 };
  #busy = false;
  #place = { chat: null, me: null };

  /** `actions` are `say(text)`, `sendSamples(paths, caption)`, `attach(path)` and `visit(chatId)`. */
  constructor(store, actions) {
    this.#store = store;
    this.#actions = actions;
    for (const kind of ["sent", "edited"]) store.addEventListener(kind, ({ detail }) => this.#heard(detail.chat, detail.message));
  }

  /** Begin, or go on where this browser left off in this world. */
  async start() {
    const { people, steps } = this.#store.guide;
    this.#steps = steps;
    this.#me = people[0]?.id;
    const { world } = this.#store;
    const kept = JSON.parse(localStorage.getItem(PLACE));
    this.#state = kept?.world === world ? kept : { world, step: 0, since: 0 };
    this.#draw();
    await this.#lookBack();
  }

  /** The tour belongs to one person's private chat, and to those that are watched in it. */
  showIn(chat, me) {
    this.#place = { chat, me };
    this.#draw();
  }

  get #here() {
    const { chat, me } = this.#place;
    return Boolean(chat) && chat.info.id === me.id && [this.#me, ...this.#steps.map((step) => step.chat)].includes(me.id);
  }

  get #step() {
    return this.#steps[this.#state.step];
  }

  /** What the bot said before this page was open may have settled the step. */
  async #lookBack() {
    const watched = this.#step?.until ? this.#watched(this.#step) : undefined;
    const chat = [...this.#store.chats.values()].find(({ info }) => info.id === watched);
    if (!chat) return;
    for (const message of await api.messages(chat.place, LOOK_BACK)) this.#heard(chat, message);
  }

  #watched(step) {
    return step.chat ?? this.#me;
  }

  #heard(chat, message) {
    const step = this.#step;
    if (!step?.until || !message.from.is_bot || chat.info.id !== this.#watched(step)) return;
    if (message.message_id <= this.#state.since) return;
    if (new RegExp(step.until).test(message.text ?? message.caption ?? "")) this.#goOn(message.message_id);
  }

  #goOn(since) {
    this.#state = { ...this.#state, step: this.#state.step + 1, since };
    localStorage.setItem(PLACE, JSON.stringify(this.#state));
    this.#draw();
  }

  #draw() {
    const step = this.#step;
    show($("tour"), Boolean(step) && this.#here);
    if (!step) return;
    const number = this.#state.step + 1;
    const isLast = number === this.#steps.length;
    const title = h("h2", {}, h("small", {}, `${number} of ${this.#steps.length}`), step.title);
    const skip = () => this.#goOn(this.#latest());
    const next = h("button", { type: "button", class: "quiet", onclick: skip }, isLast ? "Done" : step.until ? "Skip" : "Next");
    const isIts = this.#watched(step) === this.#place.me?.id;
    const samples = isIts ? step.samples.map((path) => thumbnail(path, this.#actions.attach)) : [];
    const act = isIts ? this.#act(step) : this.#way(this.#watched(step));
    const isFocused = $("tour").contains(document.activeElement);
    $("tour").replaceChildren(
      title,
      h("p", {}, step.text),
      ...(samples.length ? [h("div", { class: "strip" }, ...samples)] : []),
      h("div", { class: "actions" }, act, next),
    );
    if (isFocused) (act ?? next).focus();
  }

  #act(step) {
    if (!step.say && !step.samples.length) return null;
    const label = step.say ? `Send ${step.say}` : step.caption ? `Send as “${step.caption}”` : "Send";
    return primary(label, ({ currentTarget }) => this.#send(step, currentTarget));
  }

  #way(id) {
    const name = this.#store.people.get(id)?.first_name ?? "that person";
    return primary(id === this.#me ? "Back to your own chat" : `Look at ${name}’s chat`, () => this.#actions.visit(id));
  }

  async #send(step, button) {
    if (this.#busy) return;
    this.#busy = true;
    button.ariaBusy = "true";
    await (step.say ? this.#actions.say(step.say) : this.#actions.sendSamples(step.samples, step.caption));
    this.#busy = false;
    button.ariaBusy = null;
  }

  #latest() {
    return Math.max(0, ...[...this.#store.chats.values()].map(({ latest }) => latest?.message_id ?? 0));
  }
}

const primary = (words, onclick) => h("button", { type: "button", class: "primary", onclick }, words);
