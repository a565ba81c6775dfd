// Who the reader is, and the chats that this person has.

import { $, clock, h } from "./dom.js";
import { summary } from "./text.js";

const LOCAL = "people and groups"; // made in this browser, and perhaps not yet known to the sandbox

export class Sidebar {
  #store;
  #onPick;
  #me = null;
  #open = null;
  #items = new WeakMap(); // chat → its element, which stays while its content changes, so that no click is lost

  /** `onPick(person, place)` is called with what the reader chose; there is no place where there is no bot. */
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
    return [...known, ...made().people.filter(({ id }) => !this.#store.people.has(id))];
  }

  /** The chats of a person: with every bot, and every group. */
  chatsOf(person) {
    return this.#store.bots.flatMap(({ id: bot }) => {
      const groups = [...this.#store.chats.values()].filter((chat) => chat.bot === bot && chat.info.id < 0);
      const own = made().groups.filter((id) => !groups.some(({ info }) => info.id === id));
      return [
        this.#store.chat(bot, { id: person.id, type: "private", first_name: person.first_name }),
        ...groups,
        ...own.map((id) => this.#store.chat(bot, { id, type: "group", title: `Group ${-id}` })),
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
    const chats = this.chatsOf(this.#me);
    if (this.#open) this.#open.unread = 0;
    const people = this.people().map(({ id, first_name: words }) => new Option(words, id));
    place($("person"), people, (one, other) => one.isEqualNode(other));
    $("person").value = this.#me.id;
    place($("chats"), chats.map((chat) => this.#item(chat)));
    $("new-group").disabled = !this.#open;
    const unread = chats.reduce((sum, chat) => sum + chat.unread, 0);
    document.title = unread ? `(${unread}) Sandbox chat` : "Sandbox chat";
  }

  #item(chat) {
    if (!this.#items.has(chat)) {
      const button = h("button", { type: "button", onclick: () => this.#onPick(this.#me, chat.place) });
      this.#items.set(chat, h("li", {}, button));
    }
    const item = this.#items.get(chat);
    item.firstElementChild.ariaCurrent = chat === this.#open ? "true" : null;
    item.firstElementChild.replaceChildren(...this.#content(chat));
    return item;
  }

  #content(chat) {
    const { latest, unread } = chat;
    const words = name(chat, this.#store);
    const who = latest && latest.from.id === this.#me.id ? "You: " : "";
    return [
      h("span", { class: "avatar", "aria-hidden": "true" }, [...words][0]),
      h("bdi", { class: "name" }, words),
      ...(latest ? [h("time", {}, clock(latest.date))] : []),
      h("span", { class: "preview", dir: "auto" }, latest ? who + summary(latest) : "Say something"),
      ...(unread ? [h("span", { class: "unread" }, String(unread), h("span", { class: "unseen" }, " unread"))] : []),
    ];
  }

  #become(id) {
    const person = this.people().find((one) => one.id === id);
    this.#onPick(person, this.chatsOf(person)[0]?.place);
  }

  #introduced() {
    const name = $("new-name").value.trim();
    if ($("introduce").returnValue !== "add" || !name) return;
    const person = { id: newId(), first_name: name, language_code: $("new-language").value };
    keep(({ people }) => people.push(person));
    $("new-name").value = "";
    this.#become(person.id);
  }

  #addGroup() {
    const id = -newId();
    keep(({ groups }) => groups.push(id));
    this.#onPick(this.#me, { bot: this.#open.bot, chat: id });
  }
}

/** What was made in this browser, in whichever of its windows. */
const made = () => JSON.parse(localStorage.getItem(LOCAL) ?? '{"people":[],"groups":[]}');

function keep(change) {
  const all = made();
  change(all);
  localStorage.setItem(LOCAL, JSON.stringify(all));
}

/** Puts these children in, unless the `same` are there: what the reader is pressing or choosing from stays. */
function place(parent, children, same = (one, other) => one === other) {
  const there = [...parent.children];
  if (there.length === children.length && there.every((child, at) => same(child, children[at]))) return;
  parent.replaceChildren(...children);
}

/** A number that nobody else has. */
const newId = () => 10_000 + Math.floor(Math.random() * 2 ** 31);

/** What a chat is called in a person's list. */
export function name(chat, store) {
  const bot = store.bots.find(({ id }) => id === chat.bot);
  return chat.info.type === "private" ? (bot?.first_name ?? "Bot") : (chat.info.title ?? "Group");
}
