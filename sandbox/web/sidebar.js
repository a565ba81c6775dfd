// Who the reader is, and the chats that this person has.

import { $, clock, h } from "./dom.js";
import { summary } from "./text.js";

const LOCAL = "people and groups"; // made here, and not yet known to the sandbox

export class Sidebar {
  #store;
  #onPick;
  #mine = JSON.parse(localStorage.getItem(LOCAL) ?? '{"people":[],"groups":[]}');
  #me = null;
  #open = null;

  /** `onPick(person, place)` is called with what the reader chose. */
  constructor(store, onPick) {
    this.#store = store;
    this.#onPick = onPick;
    store.addEventListener("chats", () => this.draw());
    $("person").addEventListener("change", () => this.#become(Number($("person").value)));
    $("new-person").addEventListener("click", () => $("introduce").showModal());
    $("introduce").addEventListener("close", () => this.#introduced());
    $("new-group").addEventListener("click", () => this.#addGroup());
  }

  /** Everybody whom the reader can be: of the tour, who spoke, and who was made here. */
  people() {
    const known = [...this.#store.people.values()];
    return [...known, ...this.#mine.people.filter(({ id }) => !this.#store.people.has(id))];
  }

  /** The chats of a person: with every bot, and every group. */
  chatsOf(person) {
    return this.#store.bots.flatMap(({ id: bot }) => {
      const groups = [...this.#store.chats.values()].filter((chat) => chat.bot === bot && chat.info.id < 0);
      const made = this.#mine.groups.filter((id) => !groups.some(({ info }) => info.id === id));
      return [
        this.#store.chat(bot, { id: person.id, type: "private", first_name: person.first_name }),
        ...groups,
        ...made.map((id) => this.#store.chat(bot, { id, type: "group", title: `Group ${-id}` })),
      ];
    });
  }

  /** Mark this person and chat as the ones that are shown. */
  show(me, chat) {
    this.#me = me;
    this.#open = chat;
    this.draw();
  }

  draw() {
    if (!this.#me) return;
    const options = this.people().map((person) => h("option", { value: person.id, selected: person.id === this.#me.id }, person.first_name));
    $("person").replaceChildren(...options);
    const focused = document.activeElement?.dataset?.place;
    $("chats").replaceChildren(...this.chatsOf(this.#me).map((chat) => this.#item(chat)));
    if (focused) $("chats").querySelector(`[data-place="${focused}"]`)?.focus();
  }

  #item(chat) {
    const { latest } = chat;
    const isOpen = chat === this.#open;
    if (isOpen) chat.unread = 0;
    const who = latest && latest.from.id === this.#me.id ? "You: " : "";
    return h(
      "li",
      {},
      h(
        "button",
        {
          type: "button",
          "aria-current": isOpen ? "true" : undefined,
          data: { place: `${chat.bot}:${chat.info.id}` },
          onclick: () => this.#onPick(this.#me, chat.place),
        },
        h("span", { class: "avatar", "aria-hidden": "true" }, [...name(chat, this.#store)][0]),
        h("bdi", { class: "name" }, name(chat, this.#store)),
        latest ? h("time", {}, clock(latest.date)) : null,
        h("span", { class: "preview", dir: "auto" }, latest ? who + summary(latest) : "Say something"),
        chat.unread ? h("span", { class: "unread", "aria-label": `${chat.unread} unread` }, String(chat.unread)) : null,
      ),
    );
  }

  #become(id) {
    const person = this.people().find((one) => one.id === id);
    const [first] = this.chatsOf(person);
    this.#onPick(person, first.place);
  }

  #introduced() {
    const name = $("new-name").value.trim();
    if ($("introduce").returnValue !== "add" || !name) return;
    const person = { id: newId(), first_name: name, language_code: $("new-language").value };
    this.#mine.people.push(person);
    this.#keep();
    $("new-name").value = "";
    this.#become(person.id);
  }

  #addGroup() {
    const id = -newId();
    this.#mine.groups.push(id);
    this.#keep();
    const bot = this.#open?.bot ?? this.#store.bots[0].id;
    this.#onPick(this.#me, { bot, chat: id });
  }

  #keep() {
    localStorage.setItem(LOCAL, JSON.stringify(this.#mine));
  }
}

/** A number that nobody else has. */
const newId = () => 10_000 + Math.floor(Math.random() * 2 ** 31);

/** What a chat is called in a person's list. */
export function name(chat, store) {
  const bot = store.bots.find(({ id }) => id === chat.bot);
  return chat.info.type === "private" ? (bot?.first_name ?? "Bot") : (chat.info.title ?? "Group");
}
