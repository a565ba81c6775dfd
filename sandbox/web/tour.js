// A guided tour above the writing box. A step is done when the bot says what it waits for; the reader may go on sooner.

import { $, h, show } from "./dom.js";
import { thumbnail } from "./samples.js";

export class Tour {
  #store;
  #actions;
  #steps = [];
  #me = 0;
  #state = { step: 0, since: 0 };
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
    this.#state = JSON.parse(localStorage.getItem(this.#key) ?? '{"step":0,"since":0}');
    this.#draw();
    await this.#lookBack();
  }

  /** The tour belongs to one person's private chat. */
  showIn(chat, me) {
    this.#place = { chat, me };
    this.#draw();
  }

  get #here() {
    const { chat, me } = this.#place;
    return Boolean(chat) && me.id === this.#me && chat.info.id === this.#me;
  }

  get #key() {
    return `tour ${this.#store.world}`;
  }

  get #step() {
    return this.#steps[this.#state.step];
  }

  /** What the bot said before this page was open may have settled the step. */
  async #lookBack() {
    const watched = this.#step?.until ? this.#watched(this.#step) : undefined;
    const chat = [...this.#store.chats.values()].find(({ info }) => info.id === watched);
    if (!chat) return;
    if (!chat.loaded) await this.#store.load(chat);
    for (const message of chat.messages.values()) this.#heard(chat, message);
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
    this.#state = { step: this.#state.step + 1, since };
    localStorage.setItem(this.#key, JSON.stringify(this.#state));
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
    const samples = step.samples.map((path) => thumbnail(path, this.#actions.attach));
    const act = this.#act(step);
    $("tour").replaceChildren(
      title,
      h("p", {}, step.text),
      ...(samples.length ? [h("div", { class: "strip" }, ...samples)] : []),
      h("div", { class: "actions" }, act, next),
    );
  }

  #act(step) {
    if (step.chat && step.chat !== this.#me) {
      const name = this.#store.people.get(step.chat)?.first_name ?? "that person";
      return h("button", { type: "button", class: "primary", onclick: () => this.#actions.visit(step.chat) }, `Look at ${name}’s chat`);
    }
    if (!step.say && !step.samples.length) return null;
    const label = step.say ? `Send ${step.say}` : step.caption ? `Send as “${step.caption}”` : "Send";
    return h("button", { type: "button", class: "primary", onclick: ({ target }) => this.#send(step, target) }, label);
  }

  async #send(step, button) {
    if (this.#busy) return;
    this.#busy = button.disabled = true;
    await (step.say ? this.#actions.say(step.say) : this.#actions.sendSamples(step.samples, step.caption));
    this.#busy = button.disabled = false;
  }

  #latest() {
    return Math.max(0, ...[...this.#store.chats.values()].map(({ latest }) => latest?.message_id ?? 0));
  }
}
